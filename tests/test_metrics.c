/* Metrics: no row twice, none lost or invented, whatever happens to the writer or the file. */
#include <probflow/log.h>
#include <probflow/store.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "scratch.h"

static const char *const metric_names[] = {"step", "loss", "lr"};

static void expect_metrics(const char *path, int n)
{
    pf_array s, l;
    assert_int_equal(pf_store_read_array(path, "step", &s), PF_OK);
    assert_int_equal(pf_store_read_array(path, "loss", &l), PF_OK);
    assert_int_equal(s.size, n);
    assert_int_equal(l.size, n);
    for (int i = 0; i < n; i++) {
        assert_true(s.v[i] == i);
        assert_true(l.v[i] == 0.5 * i);
    }
    pf_array_free(&s);
    pf_array_free(&l);
}

static void append_metrics(pf_metrics *m, int from, int to)
{
    for (int i = from; i < to; i++) {
        double row[3] = {i, 0.5 * i, 1e-3};
        assert_int_equal(pf_metrics_append(m, row), PF_OK);
    }
}

static void metrics_resume_without_a_step_twice(void **state)
{
    (void)state;
    pf_metrics *m = NULL;
    assert_int_equal(pf_metrics_open(in_dir("m.h5"), metric_names, 3, -1, &m), PF_OK);
    append_metrics(m, 0, 1500); /* more than two chunks */
    assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
    expect_metrics(in_dir("m.h5"), 1500);
    assert_int_equal(pf_metrics_open(in_dir("m.h5"), metric_names, 3, 1199, &m), PF_OK);
    append_metrics(m, 1200, 1300);
    assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
    expect_metrics(in_dir("m.h5"), 1300);
}

static void metrics_survive_a_kill_and_are_readable_meanwhile(void **state)
{
    (void)state;
    int to_parent[2], to_child[2];
    char c = 0;
    assert_int_equal(pipe(to_parent) | pipe(to_child), 0);
    unlink(in_dir("k.h5"));
    pid_t pid = fork();
    if (pid == 0) {
        close(to_parent[0]);
        close(to_child[1]);
        pf_metrics *m = NULL;
        if (pf_metrics_open(in_dir("k.h5"), metric_names, 3, -1, &m)) _exit(1);
        append_metrics(m, 0, 700);
        (void)!write(to_parent[1], "x", 1);
        (void)!read(to_child[0], &c, 1);
        for (int i = 700;; i++) append_metrics(m, i, i + 1);
    }
    close(to_parent[1]); /* so that a child that fails ends the wait */
    close(to_child[0]);
    assert_int_equal(read(to_parent[0], &c, 1), 1);
    static char text[8192];
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_int_equal(pf_store_info(in_dir("k.h5"), f), PF_OK); /* the writer has it open */
    fclose(f);
    assert_non_null(strstr(text, "700 rows"));
    assert_int_equal(write(to_child[1], "x", 1), 1);
    usleep(20000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    pf_metrics *m = NULL;
    assert_int_equal(pf_metrics_open(in_dir("k.h5"), metric_names, 3, 599, &m), PF_OK);
    append_metrics(m, 600, 650);
    assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
    expect_metrics(in_dir("k.h5"), 650);
    assert_int_equal(access(in_dir("k.h5.damaged"), F_OK), -1);
}

static void new_metrics_columns_join_old_rows(void **state)
{
    (void)state;
    static const char *const more[] = {"step", "eval_loss", "loss"};
    pf_metrics *m = NULL;
    unlink(in_dir("m.h5"));
    assert_int_equal(pf_metrics_open(in_dir("m.h5"), metric_names, 3, -1, &m), PF_OK);
    append_metrics(m, 0, 3);
    assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
    assert_int_equal(pf_metrics_open(in_dir("m.h5"), more, 3, 10, &m), PF_OK);
    assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
    expect_metrics(in_dir("m.h5"), 3);
    pf_array a;
    assert_int_equal(pf_store_read_array(in_dir("m.h5"), "eval_loss", &a), PF_OK);
    assert_true(isnan(a.v[2]));
    pf_array_free(&a);
}

static void damaged_metrics_never_stop_a_run_nor_show_false_rows(void **state)
{
    (void)state;
    size_t n = 0;
    pf_metrics *m = NULL;
    unlink(in_dir("m.h5"));
    assert_int_equal(pf_metrics_open(in_dir("m.h5"), metric_names, 3, -1, &m), PF_OK);
    append_metrics(m, 0, 5);
    assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
    unsigned char *b = slurp(in_dir("m.h5"), &n);
    for (size_t i = 0; i < 2 * n; i += 41) {
        if (i < n) b[i] ^= 0x11;
        spill(in_dir("f.h5"), b, i < n ? n : i - n);
        if (i < n) b[i] ^= 0x11;
        assert_int_equal(pf_metrics_open(in_dir("f.h5"), metric_names, 3, 100, &m), PF_OK);
        assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
        pf_array s, l;
        assert_int_equal(pf_store_read_array(in_dir("f.h5"), "step", &s), PF_OK);
        assert_int_equal(pf_store_read_array(in_dir("f.h5"), "loss", &l), PF_OK);
        for (size_t k = 0; k < s.size; k++) assert_true(l.v[k] == 0.5 * s.v[k]);
        pf_array_free(&s);
        pf_array_free(&l);
    }
    free(b);
}

/* As a kill leaves it: no seal, so HDF5 meets the wrong bit. */
static void damaged_metrics_without_a_seal_are_set_aside(void **state)
{
    (void)state;
    static const char *const many[] = {"step", "a", "b", "c", "d", "e", "f", "g", "h", "i"};
    double row[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    size_t n = 0;
    pf_metrics *m = NULL;
    assert_int_equal(pf_metrics_open(in_dir("u.h5"), many, 10, -1, &m), PF_OK);
    assert_int_equal(pf_metrics_append(m, row), PF_OK);
    unsigned char *b = slurp(in_dir("u.h5"), &n); /* of the moment */
    assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
    mallopt(M_PERTURB, 65); /* what HDF5 did not set points nowhere */
    for (size_t i = 8000; i < n && i < 14000; i += 97) {
        b[i] ^= (unsigned char)(1 << i % 8);
        spill(in_dir("v.h5"), b, n);
        b[i] ^= (unsigned char)(1 << i % 8);
        assert_int_equal(pf_metrics_open(in_dir("v.h5"), many, 10, 100, &m), PF_OK);
        assert_int_equal(pf_metrics_close(m, PF_OK), PF_OK);
    }
    mallopt(M_PERTURB, 0);
    free(b);
}

static void full_disk_stops_metrics_cleanly(void **state)
{
    (void)state;
    pid_t pid = fork(); /* HDF5 could fail when the process ends */
    if (pid == 0) {
        pf_metrics *m = NULL;
        pf_status st = PF_OK;
        unlink(in_dir("full.h5"));
        if (pf_metrics_open(in_dir("full.h5"), metric_names, 3, -1, &m)) _exit(1);
        struct stat sb;
        stat(in_dir("full.h5"), &sb);
        limit_files((rlim_t)sb.st_size + 300000);
        for (int i = 0; i < 20000 && !st; i++)
            st = pf_metrics_append(m, (double[]){i, 0.5 * i, 0});
        if (st != PF_EIO || pf_metrics_append(m, (double[]){0, 0, 0}) != PF_EIO) _exit(2);
        if (pf_metrics_close(m, PF_OK) != PF_EIO) _exit(6);
        limit_files(RLIM_INFINITY);
        /* The rows that were written are still there, and the file takes new ones. */
        if (pf_metrics_open(in_dir("full.h5"), metric_names, 3, 100, &m)) _exit(3);
        if (pf_metrics_close(m, PF_OK)) _exit(7);
        pf_array s;
        if (pf_store_read_array(in_dir("full.h5"), "step", &s)) _exit(4);
        exit(s.size == 101 ? 0 : 5);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_resume_without_a_step_twice),
        cmocka_unit_test(metrics_survive_a_kill_and_are_readable_meanwhile),
        cmocka_unit_test(new_metrics_columns_join_old_rows),
        cmocka_unit_test(damaged_metrics_never_stop_a_run_nor_show_false_rows),
        cmocka_unit_test(damaged_metrics_without_a_seal_are_set_aside),
        cmocka_unit_test(full_disk_stops_metrics_cleanly),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
