/* Real training steps under measurement. */
#include <probflow/memory.h>
#include <probflow/train.h>
#include "scratch.h"

#include <malloc.h>

enum { IMAGES = 64, SIDE = 8, PIXELS = SIDE * SIDE };

static const char text[] = "name: tiny\nseed: 11\nshards: 4\n"
                           "data: {path: %s, uniform_dequantisation: yes, flip: yes}\n"
                           "sde: {name: vp}\n"
                           "model: {name: ddpmpp, width: 16, multipliers: [1, 2], blocks: 1,"
                           " attention: [4], dropout: 0.1}\n"
                           "objective: {weight: likelihood, time: importance, t_min: 1e-3}\n"
                           "train: {steps: 20, batch: 16, clip: 0.5, ema: 0.9}\n";

static pf_experiment experiment(void)
{
    static uint8_t pixels[IMAGES * PIXELS];
    char yaml[2048];
    pf_config *c = NULL;
    pf_experiment e;
    for (int i = 0; i < IMAGES * PIXELS; i++) pixels[i] = (uint8_t)(3 * (i % 77));
    pf_dataset_info info = {
        .name = "stripes",
        .source = "made here",
        .space = {.kind = PF_LEVELS, .shape = {SIDE, SIDE, 1}, .levels = 256}};
    pf_dataset_split split = {.split = "train", .n = IMAGES, .values = pixels};
    must(pf_dataset_write(in_dir("data.h5"), &info, &split, 1));
    snprintf(yaml, sizeof yaml, text, in_dir("data.h5"));
    must(pf_config_parse(yaml, "tiny", &c));
    must(pf_experiment_read(c, &e));
    pf_config_free(c);
    return e;
}

static size_t held_by_libc(void)
{
#ifdef __GLIBC__
    return mallinfo2().uordblks + mallinfo2().hblkhd;
#else
    return 0;
#endif
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    pf_experiment e = experiment();
    pf_comm *c = NULL;
    pf_rehearsal *r = NULL;
    must(pf_comm_open(&c, NULL));
    must(pf_rehearsal_open(c, &e, &r));
    for (int i = 0; i < 2; i++) must(pf_rehearsal_step(r, NULL)); /* libraries settle */
    int64_t calls = pf_alloc_count();
    size_t ours = pf_alloc_live();
    /* Nor do the libraries keep anything, once they have settled, which a busy machine delays: what is
     * kept a step would be kept in every window. */
    int kept = 1;
    for (int window = 0; window < 5 && kept; window++) {
        size_t held = held_by_libc();
        for (int i = 0; i < 5; i++) must(pf_rehearsal_step(r, NULL));
        kept = held_by_libc() > held;
    }
    assert_false(kept);
    assert_int_equal(pf_alloc_count(), calls);
    assert_int_equal(pf_alloc_live(), ours);
    pf_rehearsal_free(r);
    pf_comm_close(c);
}

static void operators_are_a_part_of_the_step(void **state)
{
    (void)state;
    pf_experiment e = experiment();
    pf_comm *c = NULL;
    pf_rehearsal *r = NULL;
    int workers, shards, samples;
    must(pf_comm_open(&c, NULL));
    must(pf_rehearsal_open(c, &e, &r));
    pf_rehearsal_cut(r, &workers, &shards, &samples);
    assert_int_equal(workers * shards * samples, 16);
    for (int i = 0; i < 3; i++) {
        pf_rehearsal_time t;
        must(pf_rehearsal_step(r, &t));
        assert_true(t.kernels > 0.0);
        assert_true(t.kernels <= t.seconds);
        assert_true(t.idle >= 0.0 && t.kernels + t.idle <= t.seconds);
        assert_true(t.waited >= 0.0 && t.waited <= t.seconds);
    }
    for (int w = 0; w < workers; w++) {
        pf_op_time row;
        assert_true(pf_plan_profile_row(pf_rehearsal_plan(r, w), 0, &row));
    }
    pf_rehearsal_free(r);
    pf_comm_close(c);
}

static void a_closed_form_model_has_no_steps(void **state)
{
    (void)state;
    pf_experiment e = experiment();
    pf_config *cfg = NULL;
    pf_comm *c = NULL;
    pf_rehearsal *r = NULL;
    must(pf_config_parse("name: g\nsde: {name: vp}\nmodel: {name: gaussian}\n", "g", &cfg));
    pf_experiment g;
    must(pf_experiment_read(cfg, &g));
    pf_config_free(cfg);
    g.data = e.data;
    must(pf_comm_open(&c, NULL));
    size_t before = pf_alloc_live();
    assert_int_equal(pf_rehearsal_open(c, &g, &r), PF_ENOSUPP);
    assert_int_equal(pf_alloc_live(), before);
    pf_comm_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(operators_are_a_part_of_the_step),
        cmocka_unit_test(a_closed_form_model_has_no_steps),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
