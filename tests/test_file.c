/* Whole files and locks. */
#include <probflow/file.h>
#include <probflow/log.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
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
    assert_int_equal(count_in_dir("f."), 0);
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

static void put(const char *path, const char *text)
{
    assert_int_equal(pf_file_put(path, &(pf_bytes){text, strlen(text)}, 1), PF_OK);
}

static void only_stale_temporaries_of_our_own_are_removed(void **state)
{
    (void)state;
    const char *stale = in_dir("t.probflow-0123abcd.tmp");
    const char *const foreign[] = {in_dir("t.probflow-00000001.tmp"), in_dir("t.tmp"),
                                   in_dir("t.probflow-1.tmp"),
                                   in_dir("u.probflow-00000001.tmp")};
    const char *link = in_dir("t.probflow-00000002.tmp");
    for (int i = 0; i < 4; i++) spill(foreign[i], i < 3 ? "precious" : "our w", i < 3 ? 8 : 5);
    assert_int_equal(symlink("t.tmp", link), 0);
    spill(stale, "our w", 5); /* a killed write of "our words" */
    put(in_dir("t"), "our words");
    assert_int_equal(access(stale, F_OK), -1);
    for (int i = 0; i < 4; i++) expect_text(foreign[i], i < 3 ? "precious" : "our w");
    assert_int_equal(access(link, F_OK), 0);

    /* One that another still writes is locked. */
    spill(stale, "our w", 5);
    int fd = open(stale, O_RDWR);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &whole), 0);
    put(in_dir("t"), "our words");
    assert_int_equal(access(stale, F_OK), 0);
    close(fd);
    pf_file_tidy(scratch, NULL, "our", 3);
    assert_int_equal(access(stale, F_OK), -1);
    assert_int_equal(access(foreign[3], F_OK), -1);
    expect_text(foreign[0], "precious");
}

static void a_new_file_keeps_the_mode_of_the_old_one(void **state)
{
    (void)state;
    struct stat sb;
    mode_t was = umask(027);
    put(in_dir("m"), "1");
    assert_int_equal(stat(in_dir("m"), &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0640);
    chmod(in_dir("m"), 0604);
    put(in_dir("m"), "2");
    assert_int_equal(stat(in_dir("m"), &sb), 0);
    assert_int_equal(sb.st_mode & 0777, 0604);
    umask(was);
}

static void the_target_of_a_link_is_replaced_and_not_the_link(void **state)
{
    (void)state;
    struct stat sb;
    mkdir(in_dir("far"), 0777);
    assert_int_equal(symlink("hop", in_dir("link")), 0);
    assert_int_equal(symlink("far/real", in_dir("hop")), 0); /* leads to nothing yet */
    for (int i = 0; i < 2; i++) {
        put(in_dir("link"), i ? "second" : "first");
        expect_text(in_dir("far/real"), i ? "second" : "first");
        assert_true(!lstat(in_dir("link"), &sb) && S_ISLNK(sb.st_mode));
        assert_true(!lstat(in_dir("hop"), &sb) && S_ISLNK(sb.st_mode));
    }
    assert_int_equal(symlink("b", in_dir("a")), 0);
    assert_int_equal(symlink("a", in_dir("b")), 0);
    assert_int_equal(pf_file_put(in_dir("a"), &(pf_bytes){"x", 1}, 1), PF_EARG);
    assert_non_null(strstr(pf_error_message(), in_dir("a")));
    assert_int_equal(symlink(in_dir("far/real"), in_dir("absolute")), 0);
    put(in_dir("absolute"), "third");
    expect_text(in_dir("far/real"), "third");
}

static void what_is_no_regular_file_is_never_replaced(void **state)
{
    (void)state;
    struct stat sb;
    assert_int_equal(mkfifo(in_dir("fifo"), 0666), 0);
    mkdir(in_dir("folder"), 0777);
    assert_int_equal(symlink("fifo", in_dir("to-fifo")), 0);
    const char *const bad[] = {"fifo", "folder", "folder/", "to-fifo", "absent/", ""};
    for (int i = 0; i < 6; i++) {
        const char *path = bad[i][0] ? in_dir(bad[i]) : "";
        assert_int_not_equal(pf_file_put(path, &(pf_bytes){"x", 1}, 1), PF_OK);
        assert_non_null(strstr(pf_error_message(), path));
    }
    assert_true(!lstat(in_dir("fifo"), &sb) && S_ISFIFO(sb.st_mode));
    assert_true(!lstat(in_dir("to-fifo"), &sb) && S_ISLNK(sb.st_mode));
    assert_int_equal(pf_file_put("/dev/null", &(pf_bytes){"x", 1}, 1), PF_EARG);
    assert_true(!stat("/dev/null", &sb) && S_ISCHR(sb.st_mode));
}

/* Long enough that the writers meet; a mix would hold both letters. */
static void two_writers_of_one_file_never_mix(void **state)
{
    (void)state;
    static char text[200000];
    pid_t child = fork();
    memset(text, child ? 'a' : 'b', sizeof text);
    for (int i = 0; i < 40; i++)
        if (pf_file_put(in_dir("both"), (pf_bytes[]){{text, 100000}, {text, 100000}}, 2))
            _exit(1);
    if (!child) _exit(0);
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    size_t n = 0;
    unsigned char *b = slurp(in_dir("both"), &n);
    assert_int_equal(n, sizeof text);
    for (size_t i = 1; i < n; i++) assert_int_equal(b[i], b[0]);
    free(b);
    assert_int_equal(count_in_dir("both."), 0);
}

static void a_foreign_file_is_no_lock(void **state)
{
    (void)state;
    struct stat sb;
    pf_lock *l = NULL;
    const char *const texts[] = {"precious", "process", "process 12 on here\nand more",
                                 "process x on here\n", "\n"};
    const char *path = in_dir("mine.lock");
    for (int i = 0; i < 5; i++) {
        spill(path, texts[i], strlen(texts[i]));
        assert_int_equal(pf_lock_take(path, "it", &l), PF_EARG);
        assert_non_null(strstr(pf_error_message(), path));
        expect_text(path, texts[i]);
        assert_int_equal(unlink(path), 0);
    }
    spill(in_dir("victim"), "process 12 on here\n", 19);
    assert_int_equal(symlink("victim", path), 0);
    assert_int_equal(pf_lock_take(path, "it", &l), PF_EARG);
    expect_text(in_dir("victim"), "process 12 on here\n");
    unlink(path);
    assert_int_equal(mkfifo(path, 0666), 0);
    assert_int_equal(pf_lock_take(path, "it", &l), PF_EARG);
    assert_true(!lstat(path, &sb) && S_ISFIFO(sb.st_mode));
    unlink(path);

    spill(path, "", 0); /* an empty one serves, and stays */
    assert_int_equal(pf_lock_take(path, "it", &l), PF_OK);
    pf_lock_release(l);
    expect_text(path, "");
    spill(path, "process 12 on here\n",
          19); /* of a killed holder, by both its names: it goes */
    assert_int_equal(link(path, in_dir("mine.lock.probflow-00000003.tmp")), 0);
    assert_int_equal(pf_lock_take(path, "it", &l), PF_OK);
    pf_lock_release(l);
    assert_int_equal(count_in_dir("mine.lock"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_cannot_be_written_whole_stays_as_it_was),
        cmocka_unit_test(only_stale_temporaries_of_our_own_are_removed),
        cmocka_unit_test(a_new_file_keeps_the_mode_of_the_old_one),
        cmocka_unit_test(the_target_of_a_link_is_replaced_and_not_the_link),
        cmocka_unit_test(what_is_no_regular_file_is_never_replaced),
        cmocka_unit_test(two_writers_of_one_file_never_mix),
        cmocka_unit_test(a_foreign_file_is_no_lock),
        cmocka_unit_test(a_lock_has_one_holder_and_ends_with_it),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
