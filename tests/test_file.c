/* Whole files and locks. */
#include <probflow/file.h>
#include <probflow/log.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include "scratch.h"

static void expect_text(const char *path, const char *want)
{
    size_t n = 0;
    unsigned char *b = slurp(path, &n);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(b, want, n);
    free(b);
}

static void a_file_that_cannot_be_written_whole_stays_as_it_was(void **state)
{
    (void)state;
    const char *path = in_dir("f");
    static const char big[10000];
    assert_int_equal(pf_file_put(path, (pf_bytes[]){{"ab", 2}, {"c", 1}}, 2), PF_OK);
    expect_text(path, "abc");
    limit_files(5000);
    assert_int_equal(pf_file_put(path, &(pf_bytes){big, sizeof big}, 1), PF_EIO);
    limit_files(RLIM_INFINITY);
    expect_text(path, "abc");
    assert_int_equal(access(in_dir("f.tmp"), F_OK), -1);
    assert_int_equal(pf_file_put(in_dir("no/such/f"), &(pf_bytes){"x", 1}, 1), PF_EIO);
}

static void a_lock_has_one_holder_and_ends_with_it(void **state)
{
    (void)state;
    const char *path = in_dir("lock");
    pf_lock *l = NULL, *other = NULL;
    assert_int_equal(pf_lock_take(path, "the thing", &l), PF_OK);
    assert_int_equal(pf_lock_take(path, "the thing", &other), PF_EIO);
    assert_null(other);
    char owner[64];
    snprintf(owner, sizeof owner, "the thing is being written by process %d on ",
             (int)getpid());
    assert_non_null(strstr(pf_error_message(), owner));
    close(open(path, O_RDONLY)); /* loses a lock of the older kind */
    assert_int_equal(pf_lock_take(path, "the thing", &other), PF_EIO);
    pf_lock_release(l);
    assert_int_equal(access(path, F_OK), -1);

    int held[2];
    char c = 0;
    assert_int_equal(pipe(held), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(held[0]);
        if (pf_lock_take(path, "the thing", &l)) _exit(1);
        (void)!write(held[1], "x", 1);
        for (;;) pause();
    }
    close(held[1]);
    assert_int_equal(read(held[0], &c, 1), 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(access(path, F_OK), 0); /* its file is left and holds nothing */
    assert_int_equal(pf_lock_take(path, "the thing", &l), PF_OK);
    pf_lock_release(l);
    assert_int_equal(pf_lock_take(in_dir("no/such/lock"), "it", &l), PF_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_cannot_be_written_whole_stays_as_it_was),
        cmocka_unit_test(a_lock_has_one_holder_and_ends_with_it),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
