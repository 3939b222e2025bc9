/* Training: the same bits on any number of ranks and threads and after any interruption.
 *
 * Rank 0 first trains alone, through a communicator of its own; the world then trains the same
 * experiment and every number of the checkpoint is compared. */
#include <probflow/memory.h>
#include <probflow/stop.h>
#include <probflow/train.h>
#include "nn/kernel.h"
#include "train/loop.h"
#include "world.h"

#include <sys/stat.h>

enum { STEPS = 20, IMAGES = 90, SIDE = 8, PIXELS = SIDE * SIDE };

static const char text[] =
    "name: tiny\nseed: 11\nshards: 4\n"
    "data: {path: %s/data.h5, uniform_dequantisation: yes, flip: yes}\n"
    "sde: {name: vp}\n"
    "model: {name: ddpmpp, width: %d, multipliers: [1, 2], blocks: 1, attention: [4], dropout: "
    "0.1,"
    " init_scale: 0.1}\n"
    "objective: {weight: likelihood, time: importance, t_min: 1e-3}\n"
    "train: {steps: 20, batch: 16, lr: 2e-3, warmup: 5, ema: 0.9, clip: 0.5, eval_every: 10,"
    " eval_images: 21, log_every: 1, checkpoint_every: 6, keep: 3}\n";

static pf_experiment experiment_of(int64_t steps, int width)
{
    char yaml[2048];
    pf_config *c = NULL;
    pf_experiment e;
    snprintf(yaml, sizeof yaml, text, root, width);
    assert_int_equal(pf_config_parse(yaml, "tiny", &c), PF_OK);
    assert_int_equal(pf_experiment_read(c, &e), PF_OK);
    pf_config_free(c);
    e.train.steps = steps;
    return e;
}

static pf_experiment experiment(int64_t steps)
{
    return experiment_of(steps, 8);
}

static void write_data(void)
{
    static uint8_t train[IMAGES * PIXELS], test[25 * PIXELS];
    pf_draw d = {.seed = 1, .stream = PF_STREAM_TEST};
    float u[PIXELS];
    for (int i = 0; i < IMAGES + 25; i++) {
        uint8_t *to = i < IMAGES ? train + i * PIXELS : test + (i - IMAGES) * PIXELS;
        d.sample = (uint64_t)i;
        pf_draw_uniform(&d, 0, PIXELS, u);
        for (int j = 0; j < PIXELS; j++)
            to[j] = (uint8_t)(40 * (i % 3) + 2 * (j % SIDE) + (int)(50 * u[j]));
    }
    pf_dataset_info info = {
        .name = "stripes",
        .source = "made here",
        .space = {.kind = PF_LEVELS, .shape = {SIDE, SIDE, 1}, .levels = 256}};
    pf_dataset_split splits[] = {{"train", IMAGES, train, NULL}, {"test", 25, test, NULL}};
    assert_int_equal(pf_dataset_write(in_root("data.h5"), &info, splits, 2), PF_OK);
}

static void read_state(const char *dir, pf_checkpoint *c)
{
    char path[256];
    assert_int_equal(pf_checkpoint_find(in_root(dir), path, sizeof path), PF_OK);
    assert_int_equal(pf_checkpoint_read(path, 1, c), PF_OK);
}

static void same_bits(const char *a, const char *b)
{
    if (pf_comm_rank(comm) != 0) return;
    pf_checkpoint x = {0}, y = {0};
    read_state(a, &x);
    read_state(b, &y);
    size_t bytes = x.floats * sizeof(float);
    assert_int_equal(x.step, y.step);
    assert_int_equal(x.floats, y.floats);
    assert_memory_equal(x.params, y.params, bytes);
    assert_memory_equal(x.ema, y.ema, bytes);
    assert_memory_equal(x.adam_m, y.adam_m, bytes);
    assert_memory_equal(x.adam_v, y.adam_v, bytes);
    pf_checkpoint_free(&x);
    pf_checkpoint_free(&y);
}

static void column(const char *dir, const char *name, double *out)
{
    char file[192];
    pf_array a = {0};
    snprintf(file, sizeof file, "%s/metrics.h5", in_root(dir));
    assert_int_equal(pf_store_read_array(file, name, &a), PF_OK);
    assert_int_equal(a.size, STEPS);
    memcpy(out, a.v, STEPS * sizeof *out);
    pf_array_free(&a);
}

static void train_world_with(int64_t steps, const char *dir, pf_overlap overlap)
{
    pf_experiment e = experiment(steps);
    e.train.overlap = overlap;
    pf_status st = pf_train(comm, &e, in_root(dir));
    if (st) pf_error_print(stderr);
    assert_int_equal(st, PF_OK);
}

static void train_world(int64_t steps, const char *dir)
{
    train_world_with(steps, dir, PF_OVERLAP_YES);
}

static void train_alone(int64_t steps, const char *dir)
{
    pf_status st = PF_OK;
    pf_experiment e = experiment(steps);
    if (pf_comm_rank(comm) == 0) st = pf_train(&solo, &e, in_root(dir));
    if (st) pf_error_print(stderr);
    assert_int_equal(pf_comm_agree(comm, st), PF_OK);
}

static void ranks_and_threads_change_no_bit(void **state)
{
    (void)state;
    train_alone(STEPS, "alone");
    train_world(STEPS, "world");
    same_bits("alone", "world");
    setenv("OMP_NUM_THREADS", "2", 1);
    train_world(STEPS, "threads");
    setenv("OMP_NUM_THREADS", "1", 1);
    same_bits("alone", "threads");
    double a[STEPS], b[STEPS];
    static const char *const columns[] = {"step", "loss", "grad_norm", "lr"};
    for (int i = 0; pf_comm_rank(comm) == 0 && i < 4; i++) {
        column("alone", columns[i], a);
        column("threads", columns[i], b);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void exchanging_during_backward_or_after_it_changes_no_bit(void **state)
{
    (void)state;
    train_world_with(STEPS, "after", PF_OVERLAP_NO);
    same_bits("alone", "after");
    /* and may change from one stretch to the next */
    train_world_with(5, "turns", PF_OVERLAP_YES);
    train_world_with(11, "turns", PF_OVERLAP_NO);
    train_world_with(STEPS, "turns", PF_OVERLAP_YES);
    same_bits("alone", "turns");
    if (pf_comm_rank(comm) != 0) return;
    pf_checkpoint c = {0};
    read_state("alone", &c);
    /* Without several buckets this would prove little. */
    assert_true(pf_bucket_floats(c.floats, 4 * PF_LANES) * 3 < c.floats);
    pf_checkpoint_free(&c);
}

static void computing_values_again_changes_no_bit_and_may_begin_in_any_run(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) { /* the second continues what was begun without */
        pf_experiment e = experiment(STEPS);
        const char *dir = k ? "begun" : "again";
        if (k) train_world(STEPS / 2, dir);
        e.train.recompute = k ? PF_RECOMPUTE_NORMS : PF_RECOMPUTE_BLOCKS;
        assert_int_equal(pf_train(comm, &e, in_root(dir)), PF_OK);
        same_bits("alone", dir);
    }
}

static void the_time_spent_waiting_is_part_of_the_time(void **state)
{
    (void)state;
    if (pf_comm_rank(comm) != 0) return;
    static const char *const dirs[] = {"world", "after"};
    for (int k = 0; k < 2; k++) {
        double waited[STEPS], seconds[STEPS], sum = 0;
        column(dirs[k], "comm_seconds", waited);
        column(dirs[k], "seconds", seconds);
        for (int i = 0; i < STEPS; i++) {
            assert_true(waited[i] > 0);
            sum += waited[i];
        }
        assert_true(sum < seconds[STEPS - 1]);
    }
}

/* A checkpoint at a step whose last samples no dropout key can number. */
static void write_last_possible_step(const char *dir, int64_t step)
{
    char path[256];
    pf_checkpoint c = {0};
    pf_status st = PF_OK;
    if (pf_comm_rank(comm) == 0) {
        read_state("alone", &c);
        c.step = step;
        pf_checkpoint_path(in_root(dir), step, path, sizeof path);
        if (mkdir(in_root(dir), 0777)) st = pf_raise(PF_EIO, PF_WHERE, "cannot create %s", dir);
        if (!st) st = pf_checkpoint_write(path, &c);
        pf_checkpoint_free(&c);
    }
    assert_int_equal(pf_comm_agree(comm, st), PF_OK);
}

static void a_gradient_that_fails_on_some_ranks_gives_all_the_same_verdict(void **state)
{
    (void)state;
    /* 24 does not divide 2^40: of the 24 samples of this step the last 8 are too large, so the
     * first two of four shards have their gradients and the others do not. */
    int64_t step = ((int64_t)1 << PF_DROPOUT_SAMPLE_BITS) / 24;
    pf_experiment e = experiment(step + 5);
    e.train.batch = 24;
    for (int k = 0; k < 4; k++) {
        char dir[16], path[256];
        snprintf(dir, sizeof dir, "edge%d", k);
        setenv("OMP_NUM_THREADS", k < 2 ? "1" : "2", 1);
        e.train.overlap = k % 2 ? PF_OVERLAP_YES : PF_OVERLAP_NO;
        write_last_possible_step(dir, step);
        assert_int_equal(pf_train(comm, &e, in_root(dir)), PF_EARG);
        assert_non_null(strstr(pf_error_message(), "is too large for dropout keys"));
        pf_checkpoint_path(in_root(dir), step + 1, path, sizeof path);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    setenv("OMP_NUM_THREADS", "1", 1);
}

static void training_moves_the_parameters_and_lowers_the_loss(void **state)
{
    (void)state;
    if (pf_comm_rank(comm) != 0) return;
    double loss[STEPS], eval[STEPS], lr[STEPS];
    column("alone", "loss", loss);
    column("alone", "eval_loss", eval);
    column("alone", "lr", lr);
    assert_true(lr[0] == 0 && lr[1] == 2e-3 / 5 && lr[5] == 2e-3 && lr[STEPS - 1] == 2e-3);
    for (int i = 0; i < STEPS; i++) assert_true(isnan(eval[i]) == (i != 9 && i != 19));
    /* The evaluation loss has fixed noise, so it shows the parameters alone. */
    assert_true(eval[19] < eval[9]);
    assert_true(loss[0] > 0);
}

static void only_the_last_checkpoints_are_kept(void **state)
{
    (void)state;
    if (pf_comm_rank(comm) != 0) return;
    static const int there[] = {12, 18, 20}, gone[] = {6, 1};
    char path[192];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/checkpoint-%08d.h5", in_root("world"), there[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/checkpoint-%08d.h5", in_root("world"), gone[i]);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

static void an_interrupted_run_continues_to_the_same_bits(void **state)
{
    (void)state;
    /* One rank is told to stop; all stop after that step and write a checkpoint. */
    pf_experiment e = experiment(STEPS);
    if (pf_comm_rank(comm) == pf_comm_size(comm) - 1) pf_stop();
    assert_int_equal(pf_train(comm, &e, in_root("stopped")), PF_ESTOP);
    if (pf_comm_rank(comm) == 0) {
        pf_checkpoint c = {0};
        read_state("stopped", &c);
        assert_int_equal(c.step, 1);
        pf_checkpoint_free(&c);
    }
    train_world(7, "stopped");     /* another stretch on all ranks, ... */
    train_alone(13, "stopped");    /* ... one on a single rank, ... */
    train_world(STEPS, "stopped"); /* ... and the rest */
    same_bits("alone", "stopped");
}

/* Full channel vectors and enough tiles for every bf16 kernel. */
static void train_bf16(int64_t steps, const char *dir, int all_ranks)
{
    pf_status st = PF_OK;
    pf_experiment e = experiment_of(steps, 16);
    e.train.precision = PF_BF16;
    if (all_ranks) st = pf_train(comm, &e, in_root(dir));
    else if (pf_comm_rank(comm) == 0) st = pf_train(&solo, &e, in_root(dir));
    if (st) pf_error_print(stderr);
    assert_int_equal(pf_comm_agree(comm, st), PF_OK);
}

static void ranks_that_read_other_data_are_told_by_name(void **state)
{
    (void)state;
    char hex[65], other[65];
    memset(hex, 'a', 64);
    hex[64] = 0;
    memcpy(other, hex, sizeof other);
    other[63] = 'b';
    assert_int_equal(pf_data_agree(comm, "d.h5", "train", hex), PF_OK);
    int last = pf_comm_size(comm) - 1;
    if (last == 0) return;
    pf_status st =
        pf_data_agree(comm, "d.h5", "train", pf_comm_rank(comm) == last ? other : hex);
    assert_int_equal(st, PF_EARG);
    char want[64];
    snprintf(want, sizeof want, "rank %d reads other data than rank 0", last);
    assert_non_null(strstr(pf_error_message(), want));
    assert_non_null(strstr(pf_error_message(), "train split of d.h5"));
}

static void bf16_gives_the_same_bits_on_any_ranks_and_after_a_restart(void **state)
{
    (void)state;
    train_bf16(STEPS, "half", 0);
    train_bf16(STEPS, "half_world", 1);
    same_bits("half", "half_world");
    train_bf16(7, "half_parts", 1);
    train_bf16(13, "half_parts", 0);
    train_bf16(STEPS, "half_parts", 1);
    same_bits("half", "half_parts");
}

/* At a rate of 0 both precisions keep the same parameters: their evaluation losses are the same
 * numbers, while the losses they train with are not. */
static void the_evaluation_loss_is_in_float_whatever_the_precision(void **state)
{
    (void)state;
    static const char *const dirs[] = {"still", "still_half"};
    double eval[2][STEPS], loss[2][STEPS];
    for (int k = 0; k < 2; k++) {
        pf_experiment e = experiment_of(STEPS, 16);
        e.train.lr = 0;
        e.train.precision = k ? PF_BF16 : PF_F32;
        assert_int_equal(pf_train(comm, &e, in_root(dirs[k])), PF_OK);
        if (pf_comm_rank(comm) != 0) continue;
        column(dirs[k], "eval_loss", eval[k]);
        column(dirs[k], "loss", loss[k]);
    }
    if (pf_comm_rank(comm) != 0) return;
    assert_true(isfinite(eval[0][STEPS - 1]));
    assert_memory_equal(eval[0], eval[1], sizeof eval[0]);
    assert_true(loss[0][0] != loss[1][0] && fabs(loss[0][0] / loss[1][0] - 1.0) < 0.1);
}

static void a_time_limit_on_one_rank_stops_all_ranks_with_a_checkpoint(void **state)
{
    (void)state;
    pf_experiment e = experiment(STEPS);
    if (pf_comm_rank(comm) == 0) pf_stop_after(1e-9);
    assert_int_equal(pf_train(comm, &e, in_root("limited")), PF_ESTOP);
    if (pf_comm_rank(comm) == 0) {
        pf_checkpoint c = {0};
        read_state("limited", &c);
        assert_int_equal(c.step, 1);
        pf_checkpoint_free(&c);
    }
    e.train.max_hours = 1e-12; /* the option does the same ... */
    assert_int_equal(pf_train(comm, &e, in_root("limited")), PF_ESTOP);
    train_world(STEPS, "limited"); /* ... and is gone with its call */
    same_bits("alone", "limited");
}

static void a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(void **state)
{
    (void)state;
    char path[192];
    snprintf(path, sizeof path, "%s/checkpoint-%08d.h5", in_root("stopped"), STEPS);
    pf_status st = PF_OK;
    if (pf_comm_rank(comm) == 0 && truncate(path, 5000))
        st = pf_raise(PF_EIO, PF_WHERE, "cannot damage %s", path);
    assert_int_equal(pf_comm_agree(comm, st), PF_OK);
    train_world(STEPS, "stopped");
    same_bits("alone", "stopped");
}

static void a_loss_that_is_not_finite_stops_all_ranks_with_the_step(void **state)
{
    (void)state;
    pf_experiment e = experiment(STEPS);
    e.train.lr = 1e30; /* beyond what a configuration may say: the second step blows up */
    e.train.warmup = 0;
    pf_status st = pf_train(comm, &e, in_root("wild"));
    assert_int_equal(st, PF_ENUMERIC);
    assert_non_null(strstr(pf_error_message(), "step 2: the "));
    assert_non_null(strstr(pf_error_message(), "the last checkpoint is intact"));
}

static void misuse_is_refused_on_all_ranks(void **state)
{
    (void)state;
    pf_experiment e = experiment(STEPS);
    assert_int_equal(pf_train(comm, &e, "/proc/no/such"), PF_EIO);
    e.train.lr = 0.5;
    assert_int_equal(pf_train(comm, &e, in_root("alone")), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "train.lr is 0.002, not 0.5"));
    e = experiment(STEPS);
    snprintf(e.data.path, sizeof e.data.path, "/no/such/data.h5");
    assert_int_equal(pf_train(comm, &e, in_root("nodata")), PF_EIO);
    e = experiment(STEPS);
    e.train.batch = 18;
    assert_int_equal(pf_train(comm, &e, in_root("batch")), PF_EARG);
}

static void a_closed_form_model_is_fitted_once(void **state)
{
    (void)state;
    pf_experiment e = experiment(STEPS);
    assert_int_equal(pf_model_init("gaussian", &e.model), PF_OK);
    for (int i = 0; i < 2; i++) {
        pf_status st = pf_train(comm, &e, in_root("gaussian"));
        if (st) pf_error_print(stderr);
        assert_int_equal(st, PF_OK);
    }
    if (pf_comm_rank(comm) != 0) return;
    pf_checkpoint c = {0};
    read_state("gaussian", &c);
    assert_int_equal(c.step, 1);
    pf_checkpoint_free(&c);
}

static void a_rank_without_memory_stops_all_ranks(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    pf_experiment e = experiment(1);
    pf_status st = PF_EMEM;
    for (int n = 1; st; n += 1 + n / 8) {
        char name[32];
        snprintf(name, sizeof name, "memory%d", n);
        if (pf_comm_rank(comm) == pf_comm_size(comm) - 1) pf_alloc_fail_at(n);
        st = pf_train(comm, &e, in_root(name));
        pf_alloc_fail_at(0);
        assert_int_equal(pf_alloc_live(), before);
        assert_true(n < 100000);
    }
}

static void nothing_leaks(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    train_world(2, "leak");
    assert_int_equal(pf_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_and_threads_change_no_bit),
        cmocka_unit_test(exchanging_during_backward_or_after_it_changes_no_bit),
        cmocka_unit_test(computing_values_again_changes_no_bit_and_may_begin_in_any_run),
        cmocka_unit_test(the_time_spent_waiting_is_part_of_the_time),
        cmocka_unit_test(a_gradient_that_fails_on_some_ranks_gives_all_the_same_verdict),
        cmocka_unit_test(training_moves_the_parameters_and_lowers_the_loss),
        cmocka_unit_test(only_the_last_checkpoints_are_kept),
        cmocka_unit_test(an_interrupted_run_continues_to_the_same_bits),
        cmocka_unit_test(ranks_that_read_other_data_are_told_by_name),
        cmocka_unit_test(bf16_gives_the_same_bits_on_any_ranks_and_after_a_restart),
        cmocka_unit_test(the_evaluation_loss_is_in_float_whatever_the_precision),
        cmocka_unit_test(a_time_limit_on_one_rank_stops_all_ranks_with_a_checkpoint),
        cmocka_unit_test(a_damaged_checkpoint_costs_only_the_steps_since_the_one_before),
        cmocka_unit_test(a_loss_that_is_not_finite_stops_all_ranks_with_the_step),
        cmocka_unit_test(misuse_is_refused_on_all_ranks),
        cmocka_unit_test(a_closed_form_model_is_fitted_once),
        cmocka_unit_test(a_rank_without_memory_stops_all_ranks),
        cmocka_unit_test(nothing_leaks),
    };
    if (world_begin(write_data)) return 1;
    return world_end(cmocka_run_group_tests(tests, NULL, NULL));
}
