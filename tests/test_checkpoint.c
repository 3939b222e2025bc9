/* Checkpoints: they come back to the last bit, damage of any byte is noticed and never crashes, a
 * failed write costs nothing that was there before, and a comparison finds what differs. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include <sys/wait.h>
#include "scratch.h"

static const pf_param views[] = {
    {.name = "all_modules.0.weight",
     .rank = 4,
     .dim = {2, 1, 3, 3},
     .offset = 0,
     .size = 18,
     .trainable = 1},
    {.name = "all_modules.0.bias",
     .rank = 1,
     .dim = {2},
     .offset = 32,
     .size = 2,
     .trainable = 1},
    {.name = "all_modules.10.W",
     .rank = 2,
     .dim = {2, 3},
     .offset = 48,
     .size = 6,
     .trainable = 0},
};
enum { FLOATS = 64, TIMES = 3, KEPT = 10 };
static float block[4][FLOATS];
static double losses[TIMES * KEPT];
static const int32_t counts[TIMES] = {10, 0, 7};

static pf_checkpoint example(void)
{
    for (int b = 0; b < 4; b++) {
        memset(block[b], 0, sizeof block[b]);
        for (size_t v = 0; v < 3; v++)
            for (size_t i = 0; i < views[v].size; i++)
                block[b][views[v].offset + i] =
                    (float)(b + 1) * 0.37f + (float)i * 1.7f - (float)v;
    }
    for (int i = 0; i < TIMES * KEPT; i++) losses[i] = 0.1 * i;
    return (pf_checkpoint){.n_views = 3,
                           .views = views,
                           .floats = FLOATS,
                           .params = block[0],
                           .ema = block[1],
                           .adam_m = block[2],
                           .adam_v = block[3],
                           .times = TIMES,
                           .times_kept = KEPT,
                           .times_loss = losses,
                           .times_count = counts,
                           .step = 1234567890123,
                           .seed = 0xfedcba9876543210u,
                           .shards = 8,
                           .space = {.kind = PF_LEVELS,
                                     .shape = {28, 27, 3},
                                     .levels = 17,
                                     .classes = 3,
                                     .conditions = 2},
                           .config = "seed: 42\nsde:\n  name: vp\n"};
}

static void expect_example(const pf_checkpoint *c, int with_state)
{
    pf_checkpoint e = example();
    assert_int_equal(c->n_views, 3);
    assert_int_equal(c->floats, FLOATS);
    for (int v = 0; v < 3; v++) {
        assert_string_equal(c->views[v].name, views[v].name);
        assert_int_equal(c->views[v].rank, views[v].rank);
        assert_memory_equal(c->views[v].dim, views[v].dim, sizeof views[v].dim);
        assert_int_equal(c->views[v].offset, views[v].offset);
        assert_int_equal(c->views[v].size, views[v].size);
        assert_int_equal(c->views[v].trainable, views[v].trainable);
    }
    assert_memory_equal(c->params, e.params, sizeof block[0]);
    assert_memory_equal(c->ema, e.ema, sizeof block[0]);
    if (with_state) {
        assert_memory_equal(c->adam_m, e.adam_m, sizeof block[0]);
        assert_memory_equal(c->adam_v, e.adam_v, sizeof block[0]);
    }
    assert_true(c->times == TIMES && c->times_kept == KEPT);
    assert_memory_equal(c->times_loss, losses, sizeof losses);
    assert_memory_equal(c->times_count, counts, sizeof counts);
    assert_int_equal(c->step, e.step);
    assert_true(c->seed == e.seed);
    assert_int_equal(c->shards, e.shards);
    assert_memory_equal(&c->space, &e.space, sizeof c->space);
    assert_string_equal(c->config, e.config);
}

static void checkpoint_comes_back_to_the_last_bit(void **state)
{
    (void)state;
    pf_checkpoint c = example(), r;
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    assert_int_equal(pf_checkpoint_read(in_dir("a.h5"), 1, &r), PF_OK);
    expect_example(&r, 1);
    pf_checkpoint_free(&r);
    assert_int_equal(pf_checkpoint_read(in_dir("a.h5"), 0, &r), PF_OK);
    assert_null(r.adam_m);
    pf_checkpoint_free(&r);

    c.ema = c.adam_m = c.adam_v = NULL;
    c.times = 0;
    assert_int_equal(pf_checkpoint_write(in_dir("bare.h5"), &c), PF_OK);
    assert_int_equal(pf_checkpoint_read(in_dir("bare.h5"), 1, &r), PF_OK);
    assert_null(r.ema);
    assert_null(r.adam_v);
    assert_true(r.times == 0 && !r.times_loss && !r.times_count);
    pf_checkpoint_free(&r);
}

static void same_checkpoint_gives_the_same_bytes_later(void **state)
{
    (void)state;
    size_t n = 0, m = 0;
    pf_checkpoint c = example();
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    usleep(1100000); /* time stamps count seconds */
    assert_int_equal(pf_checkpoint_write(in_dir("b.h5"), &c), PF_OK);
    unsigned char *a = slurp(in_dir("a.h5"), &n), *b = slurp(in_dir("b.h5"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

/* In a child, which may crash or hang: 0 clean error, 1 read the right content, else worse. */
static int read_in_child(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        pf_checkpoint r;
        alarm(10);
        if (pf_checkpoint_read(path, 1, &r)) _exit(pf_error_message()[0] ? 0 : 2);
        pf_checkpoint e = example();
        int same = r.n_views == 3 && r.floats == FLOATS && r.step == e.step && r.seed == e.seed;
        for (int b = 0; same && b < 4; b++)
            same = !memcmp((float *[]){r.params, r.ema, r.adam_m, r.adam_v}[b], block[b],
                           sizeof block[b]);
        same = same && r.times == TIMES && !memcmp(r.times_loss, losses, sizeof losses) &&
               !memcmp(r.times_count, counts, sizeof counts);
        _exit(same ? 1 : 3);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static void no_flipped_byte_of_a_checkpoint_is_believed(void **state)
{
    (void)state;
    size_t n = 0;
    pf_checkpoint c = example();
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    unsigned char *b = slurp(in_dir("a.h5"), &n);
    size_t step = getenv("PF_EVERY_BYTE") ? 1 : 13;
    for (size_t i = 0; i < n; i += step) {
        b[i] ^= 0x5a;
        spill(in_dir("flip.h5"), b, n);
        b[i] ^= 0x5a;
        int got = read_in_child(in_dir("flip.h5"));
        if (got > 1) fail_msg("byte %zu of %zu: outcome %d", i, n, got);
    }
    free(b);
}

static void damaged_parameter_is_named(void **state)
{
    (void)state;
    size_t n = 0, at = 0;
    pf_checkpoint c = example(), r;
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    unsigned char *b = slurp(in_dir("a.h5"), &n);
    /* The bytes of ema's second parameter. */
    while (at + 8 < n && memcmp(b + at, block[1] + 32, 8)) at++;
    b[at + 5] ^= 1;
    spill(in_dir("flip.h5"), b, n);
    free(b);
    assert_int_equal(pf_checkpoint_read(in_dir("flip.h5"), 1, &r), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "flip.h5"));
    assert_non_null(strstr(pf_error_message(), "/ema/all_modules.0.bias"));
}

static void truncated_checkpoint_is_an_io_error(void **state)
{
    (void)state;
    size_t n = 0;
    pf_checkpoint c = example(), r;
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    unsigned char *b = slurp(in_dir("a.h5"), &n);
    for (size_t keep = 0; keep < n; keep += keep < 64 || keep > n - 8 ? 1 : 97) {
        spill(in_dir("short.h5"), b, keep);
        pf_status st = pf_checkpoint_read(in_dir("short.h5"), 1, &r);
        if (keep >= 48) assert_int_equal(st, PF_EIO);
        else assert_true(st == PF_EIO || st == PF_EFORMAT);
        assert_non_null(strstr(pf_error_message(), "short.h5"));
    }
    free(b);
    assert_int_equal(pf_checkpoint_read(in_dir("absent.h5"), 1, &r), PF_EIO);
}

static void failed_write_leaves_the_old_checkpoint(void **state)
{
    (void)state;
    size_t n = 0, m = 0;
    pf_checkpoint c = example();
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    unsigned char *before = slurp(in_dir("a.h5"), &n);
    c.step++;
    limit_files(n / 2);
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_EIO);
    limit_files(RLIM_INFINITY);
    unsigned char *after = slurp(in_dir("a.h5"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    assert_int_equal(count_in_dir("a.h5."), 0); /* no temporary */
    free(before);
    free(after);
    assert_int_equal(pf_checkpoint_write(in_dir("no/such/folder.h5"), &c), PF_EIO);
}

static void exhausted_memory_is_a_clean_error_at_any_allocation(void **state)
{
    (void)state;
    pf_checkpoint c = example(), r;
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    pf_status st = PF_EMEM;
    size_t live = pf_alloc_live();
    for (int i = 1; st; i++) {
        pf_alloc_fail_at(i);
        st = pf_checkpoint_read(in_dir("a.h5"), 1, &r);
        pf_alloc_fail_at(0);
        assert_true(st == PF_OK || st == PF_EMEM);
        if (!st) pf_checkpoint_free(&r);
        assert_int_equal(pf_alloc_live(), live);
        assert_true(i < 1000);
    }
    st = PF_EMEM;
    for (int i = 1; st; i++) {
        pf_alloc_fail_at(i);
        st = pf_checkpoint_write(in_dir("a.h5"), &c);
        pf_alloc_fail_at(0);
        assert_true(st == PF_OK || st == PF_EMEM);
        assert_int_equal(pf_alloc_live(), live);
    }
}

static void info_tells_what_a_checkpoint_holds(void **state)
{
    (void)state;
    static const char *const words[] = {"checkpoint ",
                                        "1234567890123",
                                        "name: vp",
                                        "28 27 3",
                                        "up to 10 last losses of 3 indices",
                                        "HDF5"};
    static char text[8192];
    pf_checkpoint c = example();
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_int_equal(pf_store_info(in_dir("a.h5"), f), PF_OK);
    fclose(f);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(text, words[i])) fail_msg("info lacks '%s'", words[i]);
    spill(in_dir("text"), "no HDF5", 7);
    assert_int_equal(pf_store_info(in_dir("text"), stderr), PF_EFORMAT);
}

static void comparison_finds_the_one_changed_value(void **state)
{
    (void)state;
    int same = 0;
    pf_checkpoint c = example();
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    assert_int_equal(pf_checkpoint_write(in_dir("b.h5"), &c), PF_OK);
    static char text[8192];
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_int_equal(pf_store_compare(in_dir("a.h5"), in_dir("b.h5"), f, &same), PF_OK);
    assert_true(same);
    /* data that lie elsewhere are no other data; every other key is another run */
    static const char *const configs[] = {"seed: 1\ndata:\n  path: a.h5\n  flip: true\n",
                                          "seed: 1\ndata:\n  path: b.h5\n  flip: true\n",
                                          "seed: 2\ndata:\n  path: b.h5\n  flip: true\n",
                                          "seed: 1\ndata:\n  path: b.h5\n"};
    c.config = (char *)configs[0];
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    for (int i = 1; i < 4; i++) {
        c.config = (char *)configs[i];
        assert_int_equal(pf_checkpoint_write(in_dir("b.h5"), &c), PF_OK);
        assert_int_equal(pf_store_compare(in_dir("a.h5"), in_dir("b.h5"), f, &same), PF_OK);
        assert_int_equal(same, i == 1);
    }
    c = example();
    assert_int_equal(pf_checkpoint_write(in_dir("a.h5"), &c), PF_OK);
    c.config = "another text";
    assert_int_equal(pf_checkpoint_write(in_dir("b.h5"), &c), PF_OK);
    assert_int_equal(pf_store_compare(in_dir("a.h5"), in_dir("b.h5"), f, &same), PF_OK);
    assert_false(same);
    c.ema[33] += 1;
    assert_int_equal(pf_checkpoint_write(in_dir("b.h5"), &c), PF_OK);
    assert_int_equal(pf_store_compare(in_dir("a.h5"), in_dir("b.h5"), f, &same), PF_OK);
    assert_false(same);
    c = example();
    c.step++;
    assert_int_equal(pf_checkpoint_write(in_dir("b.h5"), &c), PF_OK);
    assert_int_equal(pf_store_compare(in_dir("a.h5"), in_dir("b.h5"), f, &same), PF_OK);
    assert_false(same);
    c = example();
    c.adam_m = c.adam_v = NULL;
    assert_int_equal(pf_checkpoint_write(in_dir("b.h5"), &c), PF_OK);
    for (int swap = 0; swap < 2; swap++) {
        assert_int_equal(pf_store_compare(in_dir(swap ? "b.h5" : "a.h5"),
                                          in_dir(swap ? "a.h5" : "b.h5"), f, &same),
                         PF_OK);
        assert_false(same);
    }
    fclose(f);
    assert_non_null(strstr(text, "identical"));
    assert_non_null(strstr(text, "/ema/all_modules.0.bias differs in 1 of 2 values"));
    assert_non_null(strstr(text, "step"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoint_comes_back_to_the_last_bit),
        cmocka_unit_test(same_checkpoint_gives_the_same_bytes_later),
        cmocka_unit_test(no_flipped_byte_of_a_checkpoint_is_believed),
        cmocka_unit_test(damaged_parameter_is_named),
        cmocka_unit_test(truncated_checkpoint_is_an_io_error),
        cmocka_unit_test(failed_write_leaves_the_old_checkpoint),
        cmocka_unit_test(exhausted_memory_is_a_clean_error_at_any_allocation),
        cmocka_unit_test(info_tells_what_a_checkpoint_holds),
        cmocka_unit_test(comparison_finds_the_one_changed_value),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
