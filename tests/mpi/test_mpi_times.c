/* Training whose indices are drawn by their losses: the same bits on any ranks and threads and after any
 * interruption, and what is remembered is what the steps found. */
#include <probflow/memory.h>
#include <probflow/train.h>
#include "train/loop.h"
#include "world.h"

#include <sys/stat.h>

enum { STEPS = 24, BATCH = 16, T = 8, WARM = 5, IMAGES = 90, SIDE = 8, PIXELS = SIDE * SIDE };

/* T divides the batch: each index comes BATCH/T times a step while all are alike, so that WARM steps give each
 * PF_TIMES_KEPT losses. */
static const char text[] =
    "name: tiny\nseed: 11\nshards: 4\n"
    "data: {path: %s/data.h5, flip: yes}\n"
    "method: {name: ddpm, steps: 8, beta_start: 0.01, beta_end: 0.5, times: %s}\n"
    "model: {name: ddpmpp, width: 8, multipliers: [1], blocks: 1, attention: [], dropout: "
    "0.1}\n"
    "train: {steps: 24, batch: 16, lr: 2e-3, warmup: 5, ema: 0.9, clip: 0.5, eval_every: 12,"
    " eval_images: 21, log_every: 1, checkpoint_every: 1, keep: 100}\n";

static pf_experiment experiment(const char *times, int64_t steps)
{
    char yaml[2048];
    pf_config *c = NULL;
    pf_experiment e;
    snprintf(yaml, sizeof yaml, text, root, times);
    must(pf_config_parse(yaml, "tiny", &c));
    must(pf_experiment_read(c, &e));
    pf_config_free(c);
    e.train.steps = steps;
    return e;
}

static void make_data(void)
{
    static uint8_t rows[IMAGES * PIXELS];
    draw_stripes(IMAGES, SIDE, rows);
    pf_dataset_info info = {
        .name = "stripes",
        .source = "made here",
        .space = {.kind = PF_LEVELS, .shape = {SIDE, SIDE, 1}, .levels = 256}};
    pf_dataset_split splits[] = {{.split = "train", .n = IMAGES, .values = rows},
                                 {.split = "test", .n = 25, .values = rows}};
    must(pf_dataset_write(in_root("data.h5"), &info, splits, 2));
}

static void train(const char *times, int64_t steps, const char *dir)
{
    pf_experiment e = experiment(times, steps);
    must(pf_train(comm, &e, in_root(dir)));
}

static void train_alone(int64_t steps, const char *dir)
{
    pf_experiment e = experiment("second_moment", steps);
    must(pf_comm_agree(comm,
                       pf_comm_rank(comm) == 0 ? pf_train(&solo, &e, in_root(dir)) : PF_OK));
}

static void read_state(const char *dir, int64_t step, pf_checkpoint *c)
{
    char path[256];
    pf_checkpoint_path(in_root(dir), step, path, sizeof path);
    must(pf_checkpoint_read(path, 1, c));
}

static void column(const char *dir, const char *name, double out[STEPS])
{
    char file[192];
    pf_array a = {0};
    snprintf(file, sizeof file, "%s/metrics.h5", in_root(dir));
    must(pf_store_read_array(file, name, &a));
    assert_true(a.size <= STEPS);
    memcpy(out, a.v, a.size * sizeof *out);
    pf_array_free(&a);
}

static void same_bits(const char *a, const char *b)
{
    if (pf_comm_rank(comm) != 0) return;
    pf_checkpoint x = {0}, y = {0};
    read_state(a, STEPS, &x);
    read_state(b, STEPS, &y);
    size_t bytes = x.floats * sizeof(float);
    assert_memory_equal(x.params, y.params, bytes);
    assert_memory_equal(x.ema, y.ema, bytes);
    assert_memory_equal(x.adam_v, y.adam_v, bytes);
    assert_true(x.times == T && y.times == T);
    assert_memory_equal(x.times_loss, y.times_loss, T * PF_TIMES_KEPT * sizeof(double));
    assert_memory_equal(x.times_count, y.times_count, T * sizeof(int32_t));
    pf_checkpoint_free(&x);
    pf_checkpoint_free(&y);
}

static void ranks_threads_and_interruptions_change_no_bit(void **state)
{
    (void)state;
    train_alone(STEPS, "alone");
    train("second_moment", STEPS, "world");
    same_bits("alone", "world");
    setenv("OMP_NUM_THREADS", "2", 1);
    train("second_moment", STEPS, "threads");
    setenv("OMP_NUM_THREADS", "1", 1);
    same_bits("alone", "threads");
    train("second_moment", 3, "parts"); /* not all indices have their losses yet, ... */
    train_alone(11, "parts");           /* ... here they do */
    train("second_moment", STEPS, "parts");
    same_bits("alone", "parts");
}

static void until_all_indices_have_their_losses_they_are_uniform(void **state)
{
    (void)state;
    train("uniform", WARM + 1, "uniform");
    if (pf_comm_rank(comm) != 0) return;
    pf_checkpoint a = {0}, b = {0};
    double with[STEPS], without[STEPS];
    read_state("alone", WARM, &a);
    read_state("uniform", WARM, &b);
    assert_memory_equal(a.params, b.params, a.floats * sizeof(float));
    for (int i = 0; i < T; i++) assert_int_equal(a.times_count[i], PF_TIMES_KEPT);
    assert_int_equal(b.times, 0);
    assert_null(strstr(b.config, "times"));
    assert_non_null(strstr(a.config, "times: second_moment"));
    column("alone", "loss", with);
    column("uniform", "loss", without);
    assert_memory_equal(with, without, WARM * sizeof *with);
    assert_true(with[WARM] != without[WARM]);
    pf_checkpoint_free(&a);
    pf_checkpoint_free(&b);
}

/* The step from checkpoint `before` to `after`, drawn here: its losses are the youngest of their indices, in
 * the order of the samples; their weighted mean is what metrics call the loss. */
static double loss_of_step(const pf_checkpoint *before, const pf_checkpoint *after)
{
    enum { KEPT = PF_TIMES_KEPT };
    pf_times *law = NULL;
    int32_t index[BATCH];
    double weight[BATCH], loss[BATCH], sum = 0.0;
    int left[T] = {0};
    const pf_batch b = {
        .B = BATCH, .total = BATCH, .seed = after->seed, .step = (uint32_t)before->step};
    must(pf_times_create(T, PF_TIMES_LAST_TEN, &law));
    must(pf_times_set(law, "it", T, before->times_kept, before->times_loss,
                      before->times_count));
    pf_times_draw(law, &b, index, weight);
    for (int s = 0; s < BATCH; s++) left[index[s]]++;
    for (int s = 0; s < BATCH; s++) {
        int i = index[s], at = after->times_count[i] - left[i]--;
        assert_in_range(at, 0, KEPT - 1);
        loss[s] = after->times_loss[i * KEPT + at];
        sum += weight[s] * loss[s];
    }
    pf_times_add(law, BATCH, index, loss);
    assert_memory_equal(pf_times_losses(law), after->times_loss, T * KEPT * sizeof(double));
    pf_times_free(law);
    return sum / BATCH;
}

static void what_is_remembered_are_the_losses_of_the_steps(void **state)
{
    (void)state;
    double row[STEPS];
    if (pf_comm_rank(comm) != 0) return;
    column("world", "loss", row);
    for (int64_t step = 1; step < STEPS; step++) {
        pf_checkpoint before = {0}, after = {0};
        read_state("world", step, &before);
        read_state("world", step + 1, &after);
        /* the same 16 numbers in another order */
        assert_near(loss_of_step(&before, &after) / row[step], 1.0, 1e-14);
        pf_checkpoint_free(&before);
        pf_checkpoint_free(&after);
    }
}

static void a_step_that_fails_is_not_remembered(void **state)
{
    (void)state;
    pf_experiment e = experiment("second_moment", STEPS);
    pf_trainer *t = NULL;
    double loss[T * PF_TIMES_KEPT];
    must(pf_trainer_create(comm, &e, &t));
    must(pf_trainer_open(t));
    must(pf_trainer_open_state(t));
    must(pf_trainer_load(t, ""));
    must(pf_trainer_step(t));
    memcpy(loss, pf_times_losses(t->indices.law), sizeof loss);
    t->block.params[0] = NAN;
    assert_int_equal(pf_trainer_step(t), PF_ENUMERIC);
    assert_int_equal(t->step, 1);
    assert_memory_equal(loss, pf_times_losses(t->indices.law), sizeof loss);
    for (int i = 0; i < T; i++) assert_int_equal(pf_times_counts(t->indices.law)[i], BATCH / T);
    pf_trainer_free(t);
}

static void the_variance_draws_by_what_the_checkpoint_remembers(void **state)
{
    (void)state;
    pf_experiment e = experiment("second_moment", STEPS);
    pf_checkpoint at = {0};
    double row[STEPS], loss[3], grad_sq[3];
    pf_variance v = {.batches = 3, .loss = loss, .grad_sq = grad_sq};
    read_state("alone", 2 * WARM, &at);
    must(pf_train_variance(comm, &e, &at, &v));
    if (pf_comm_rank(comm) == 0) {
        column("alone", "loss", row);
        assert_true(loss[0] == row[2 * WARM]);
    }
    at.times = 0;
    assert_int_equal(pf_train_variance(comm, &e, &at, &v), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "holds no losses"));
    e = experiment("uniform", STEPS); /* which needs none */
    must(pf_train_variance(comm, &e, &at, &v));
    assert_true(pf_comm_rank(comm) != 0 || loss[0] != row[2 * WARM]);
    pf_checkpoint_free(&at);
}

/* A run directory with nothing but this checkpoint. */
static pf_status go_on_from(const pf_checkpoint *c, const char *dir)
{
    char path[256];
    pf_experiment e = experiment("second_moment", c->step + 1);
    pf_status st = PF_OK;
    pf_checkpoint_path(in_root(dir), c->step, path, sizeof path);
    if (pf_comm_rank(comm) == 0) {
        if (mkdir(in_root(dir), 0777)) st = pf_raise(PF_EIO, PF_WHERE, "cannot create %s", dir);
        if (!st) st = pf_checkpoint_write(path, c);
    }
    must(pf_comm_agree(comm, st));
    return pf_train(comm, &e, in_root(dir));
}

static void losses_that_a_checkpoint_lacks_are_missed(void **state)
{
    (void)state;
    pf_checkpoint c = {0};
    read_state("alone", 2 * WARM, &c);
    int32_t *count = (int32_t *)(uintptr_t)c.times_count;
    must(go_on_from(&c, "whole"));
    c.times = T - 1;
    assert_int_equal(go_on_from(&c, "short"), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "last 10 losses of 7 indices"));
    c.times = T;
    count[3] = 11;
    assert_int_equal(go_on_from(&c, "many"), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "index 3 has 11 losses"));
    c.times = 0;
    assert_int_equal(go_on_from(&c, "none"), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "holds no losses that its indices"));
    c.step = 0; /* no step has been made, so none is missed */
    must(go_on_from(&c, "begin"));
    c.times = T;
    pf_checkpoint_free(&c);
}

static void nothing_leaks_where_memory_ends(void **state)
{
    (void)state;
    pf_experiment e = experiment("second_moment", 1);
    size_t before = pf_alloc_live();
    pf_status st = PF_EMEM;
    for (int n = 1; st; n += 1 + n / 8) {
        pf_trainer *t = NULL;
        pf_alloc_fail_at(n);
        st = pf_trainer_create(&solo, &e, &t);
        if (!st) st = pf_trainer_open(t);
        pf_alloc_fail_at(0);
        pf_trainer_free(t);
        assert_int_equal(pf_alloc_live(), before);
        assert_true(n < 100000);
    }
    must(pf_comm_agree(comm, PF_OK)); /* the data stay until all have read them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_threads_and_interruptions_change_no_bit),
        cmocka_unit_test(until_all_indices_have_their_losses_they_are_uniform),
        cmocka_unit_test(what_is_remembered_are_the_losses_of_the_steps),
        cmocka_unit_test(a_step_that_fails_is_not_remembered),
        cmocka_unit_test(the_variance_draws_by_what_the_checkpoint_remembers),
        cmocka_unit_test(losses_that_a_checkpoint_lacks_are_missed),
        cmocka_unit_test(nothing_leaks_where_memory_ends),
    };
    if (world_begin(make_data)) return 1;
    return world_end(cmocka_run_group_tests(tests, NULL, NULL));
}
