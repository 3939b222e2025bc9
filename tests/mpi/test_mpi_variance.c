/* Variance of the training gradient: against the gradients training itself used, and its laws.
 *
 * Adam with lr = 0 and beta1 = 0 leaves the parameters alone and keeps each step's gradient as its
 * first moment, so a training that writes a checkpoint every step tells them all. */
#include <probflow/memory.h>
#include <probflow/train.h>
#include "train/loop.h"
#include "world.h"

#include <sys/stat.h>

enum { START = 6, N = 8, LAW = 48, IMAGES = 90, SIDE = 8, PIXELS = SIDE * SIDE };

typedef struct numbers { /* a measurement with its arrays */
    pf_variance v;
    double loss[LAW], grad_sq[LAW];
} numbers;

static pf_checkpoint start; /* after START steps of training */

static const char text[] =
    "name: tiny\nseed: 11\nshards: 4\n"
    "data: {path: %s/data.h5, uniform_dequantisation: yes, flip: yes}\n"
    "sde: {name: vp}\n"
    "model: {name: ddpmpp, width: 8, multipliers: [1, 2], blocks: 1, attention: [4], dropout: "
    "0.1, init_scale: 0.1}\n"
    "objective: {weight: likelihood, time: importance, t_min: 1e-3}\n"
    "train: {steps: 6, batch: 16, lr: 5e-3, warmup: 1, ema: 0.9, eval_every: 0, log_every: 1,"
    " checkpoint_every: 1, keep: 100}\n";

static pf_experiment experiment(void)
{
    char yaml[2048];
    pf_config *c = NULL;
    pf_experiment e;
    snprintf(yaml, sizeof yaml, text, root);
    must(pf_config_parse(yaml, "tiny", &c));
    must(pf_experiment_read(c, &e));
    pf_config_free(c);
    return e;
}

static void write_data(const char *name, int w)
{
    static uint8_t rows[IMAGES * PIXELS];
    draw_stripes(IMAGES, SIDE, rows);
    pf_dataset_info info = {.name = "stripes",
                            .source = "made here",
                            .space = {.kind = PF_LEVELS, .shape = {SIDE, w, 1}, .levels = 256}};
    pf_dataset_split split = {"train", IMAGES, rows, NULL};
    must(pf_dataset_write(in_root(name), &info, &split, 1));
}

static void make_data(void)
{
    write_data("data.h5", SIDE);
    write_data("narrow.h5", SIDE / 2);
}

static void train(const pf_experiment *e, const char *dir)
{
    must(pf_train(comm, e, in_root(dir)));
}

static pf_status measure(pf_comm *c, const pf_experiment *e, int batches, numbers *out)
{
    memset(out, 0, sizeof *out);
    out->v = (pf_variance){.batches = batches, .loss = out->loss, .grad_sq = out->grad_sq};
    return pf_train_variance(c, e, &start, &out->v);
}

static void measure_world(const pf_experiment *e, int batches, numbers *out)
{
    must(measure(comm, e, batches, out));
}

static void three_numbers_have_the_variance_of_the_textbook(void **state)
{
    (void)state;
    /* Gradients 1, 2, 4 of one parameter: mean 7/3, variance 7/3. */
    double loss[] = {3, 5, 10}, residual_sq[] = {-1, 1.0 / 2, 2.5 * 2.5 * 2 / 3};
    pf_variance v = {.batches = 3, .loss = loss};
    double tol = 1e-14; /* a few roundings of numbers near 1 */
    pf_variance_estimate(residual_sq, 49.0 / 9, &v);
    assert_near(v.loss_mean, 6, tol);
    assert_near(v.loss_variance, 13, 10 * tol);
    assert_near(v.variance, 7.0 / 3, tol);
    assert_near(v.mean_sq, 49.0 / 9 - 7.0 / 9, tol);
    assert_near(v.relative, 0.5, tol);
    assert_near(v.variance_se, (2.5 * 2.5 * 2 / 3 - 0.5) / 2, tol);
}

static void a_mean_lost_in_the_noise_has_infinite_relative_variance(void **state)
{
    (void)state;
    double loss[] = {1, 1}, residual_sq[] = {-1, 2}; /* gradients 1 and -1 */
    pf_variance v = {.batches = 2, .loss = loss};
    pf_variance_estimate(residual_sq, 0, &v);
    assert_true(v.variance == 2 && v.mean_sq == -1);
    assert_true(isinf(v.relative) && v.relative > 0);
    assert_true(isnan(v.variance_se));
}

/* Trains on from `start` with frozen parameters; g [N]: the gradients, owned by the caller. */
static void gradients_of_training(float *g[N], double *loss)
{
    pf_experiment e = experiment();
    pf_checkpoint c = {0};
    pf_array row = {0};
    char path[256];
    e.train.lr = e.train.beta1 = e.train.clip = 0;
    e.train.steps = START + N;
    pf_checkpoint_path(in_root("frozen"), START, path, sizeof path);
    pf_status st = PF_OK;
    if (pf_comm_rank(comm) == 0) {
        if (mkdir(in_root("frozen"), 0777)) st = pf_raise(PF_EIO, PF_WHERE, "no folder");
        if (!st) st = pf_checkpoint_write(path, &start);
    }
    must(pf_comm_agree(comm, st));
    train(&e, "frozen");
    for (int j = 0; j < N; j++) {
        pf_checkpoint_path(in_root("frozen"), START + j + 1, path, sizeof path);
        must(pf_checkpoint_read(path, 1, &c));
        assert_memory_equal(c.params, start.params, c.floats * sizeof(float));
        g[j] = c.adam_m;
        c.adam_m = NULL;
        pf_checkpoint_free(&c);
    }
    must(pf_store_read_array(in_root("frozen/metrics.h5"), "loss", &row));
    assert_int_equal(row.size, N);
    memcpy(loss, row.v, N * sizeof *loss);
    pf_array_free(&row);
}

static void the_variance_is_that_of_the_gradients_training_used(void **state)
{
    (void)state;
    pf_experiment e = experiment();
    float *g[N];
    double loss[N], grad_sq[N] = {0}, mean_sq = 0, sq = 0;
    gradients_of_training(g, loss);
    for (size_t i = 0; i < start.floats; i++) {
        double mean = 0;
        for (int j = 0; j < N; j++) mean += (double)g[j][i] / N;
        for (int j = 0; j < N; j++) {
            double d = (double)g[j][i] - mean;
            sq += d * d;
            grad_sq[j] += (double)g[j][i] * (double)g[j][i];
        }
        mean_sq += mean * mean;
    }
    for (int j = 0; j < N; j++) pf_free(g[j]);

    numbers n;
    measure_world(&e, N, &n);
    assert_memory_equal(n.loss, loss, sizeof loss);
    /* The same doubles added in another order: thousands of roundings of 1e-16. */
    double tol = 1e-12;
    for (int j = 0; j < N; j++) assert_near(n.grad_sq[j] / grad_sq[j], 1, tol);
    assert_near(n.v.variance / (sq / (N - 1)), 1, tol);
    double unbiased = mean_sq - sq / (N - 1) / N;
    assert_near(n.v.mean_sq, unbiased, tol * mean_sq);
    if (unbiased > 0) assert_true(n.v.relative == n.v.variance / n.v.mean_sq);
}

static void ranks_and_threads_change_no_bit(void **state)
{
    (void)state;
    pf_experiment e = experiment();
    numbers alone = {0}, n;
    pf_status st = pf_comm_rank(comm) == 0 ? measure(&solo, &e, N, &alone) : PF_OK;
    must(pf_comm_agree(comm, st));
    must(pf_comm_bcast(comm, 0, &alone, sizeof alone));
    for (int k = 0; k < 3; k++) {
        e.train.overlap = k != 1 ? PF_OVERLAP_YES : PF_OVERLAP_NO;
        setenv("OMP_NUM_THREADS", k == 2 ? "2" : "1", 1);
        measure_world(&e, N, &n);
        alone.v.loss = n.v.loss; /* the pointers are each one's own */
        alone.v.grad_sq = n.v.grad_sq;
        assert_memory_equal(&n, &alone, sizeof n);
    }
    setenv("OMP_NUM_THREADS", "1", 1);
}

static void twice_the_batch_has_at_most_half_the_variance(void **state)
{
    (void)state;
    pf_experiment e = experiment();
    numbers one, two;
    measure_world(&e, LAW, &one);
    e.train.batch *= 2;
    measure_world(&e, LAW, &two);
    double a = one.v.variance_se / one.v.variance, b = two.v.variance_se / two.v.variance;
    double ratio = one.v.variance / two.v.variance, se = ratio * sqrt(a * a + b * b);
    /* Noise gives 2; times on one grid and images that do not repeat in an epoch give more.
     * Three standard errors for the sample of batches, and these are small enough to tell. */
    assert_true(ratio > 2 - 3 * se);
    assert_true(3 * se < 1);
}

static void misuse_is_refused_on_all_ranks(void **state)
{
    (void)state;
    pf_experiment e = experiment();
    numbers n;
    assert_int_equal(measure(comm, &e, 1, &n), PF_EARG);
    snprintf(e.data.path, sizeof e.data.path, "%s", in_root("narrow.h5"));
    assert_int_equal(measure(comm, &e, 2, &n), PF_ESHAPE);
    assert_non_null(strstr(pf_error_message(), "holds 8x4x1 values a row"));
    e = experiment();
    must(pf_model_init("gaussian", &e.model));
    assert_int_equal(measure(comm, &e, 2, &n), PF_ENOSUPP);
    e = experiment();
    e.train.batch = 18;
    assert_int_equal(measure(comm, &e, 2, &n), PF_EARG);
}

static void a_rank_without_memory_stops_all_ranks(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    pf_experiment e = experiment();
    pf_status st = PF_EMEM;
    numbers n;
    for (int k = 1; st; k += 1 + k / 8) {
        if (pf_comm_rank(comm) == pf_comm_size(comm) - 1) pf_alloc_fail_at(k);
        st = measure(comm, &e, 2, &n);
        pf_alloc_fail_at(0);
        assert_int_equal(pf_alloc_live(), before);
        assert_true(k < 100000);
    }
}

static int setup(void **state)
{
    (void)state;
    pf_experiment e = experiment();
    char path[256];
    train(&e, "trained");
    pf_checkpoint_path(in_root("trained"), START, path, sizeof path);
    must(pf_checkpoint_read(path, 1, &start));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pf_checkpoint_free(&start);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_numbers_have_the_variance_of_the_textbook),
        cmocka_unit_test(a_mean_lost_in_the_noise_has_infinite_relative_variance),
        cmocka_unit_test(the_variance_is_that_of_the_gradients_training_used),
        cmocka_unit_test(ranks_and_threads_change_no_bit),
        cmocka_unit_test(twice_the_batch_has_at_most_half_the_variance),
        cmocka_unit_test(misuse_is_refused_on_all_ranks),
        cmocka_unit_test(a_rank_without_memory_stops_all_ranks),
    };
    if (world_begin(make_data)) return 1;
    return world_end(cmocka_run_group_tests(tests, setup, teardown));
}
