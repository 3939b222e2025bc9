/* Experiments: reading, cross-field rules, canonical text and run directories. */
#include <probflow/experiment.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/train.h>
#include "method/dsm.h"
#include "train/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char base[] =
    "name: tiny\nseed: 7\nshards: 4\nsde: {name: vp}\nmodel: {name: mlp}\n";

static pf_status read_with(const char *more, pf_experiment *e)
{
    char text[2048];
    pf_config *c = NULL;
    snprintf(text, sizeof text, "%s%s", base, more);
    assert_int_equal(pf_config_parse(text, "test.yaml", &c), PF_OK);
    pf_status st = pf_experiment_read(c, e);
    pf_config_free(c);
    return st;
}

static void refused(const char *more, pf_status code, const char *sentence)
{
    pf_experiment e;
    assert_int_equal(read_with(more, &e), code);
    assert_string_equal(pf_error_message(), sentence);
}

static void sections_reach_their_structs(void **state)
{
    (void)state;
    pf_experiment e;
    assert_int_equal(read_with("data: {path: /d.h5, flip: yes}\n"
                               "train: {steps: 30, batch: 16, lr: 1e-3, clip: 0}\n"
                               "objective: {t_min: 1e-3}\nlikelihood: {group: 5}\n"
                               "sample: {name: ode, steps: 3}\n",
                               &e),
                     PF_OK);
    assert_string_equal(e.run.name, "tiny");
    assert_int_equal(e.run.seed, 7);
    assert_string_equal(((const pf_sde_method *)&e.method.opt)->sde.ops->name, "vp");
    assert_string_equal(e.model.ops->name, "mlp");
    assert_string_equal(e.data.path, "/d.h5");
    assert_int_equal(e.data.flip, 1);
    assert_int_equal(e.train.steps, 30);
    assert_true(e.train.lr == 1e-3);
    assert_true(e.train.beta1 == 0.9);
    assert_true(pf_method_t_min(&e.method) == 1e-3);
    assert_int_equal(e.likelihood.group, 5);
    assert_int_equal(e.sample.steps, 3);
    assert_string_equal(e.sampler, "ode");
}

static void fields_that_do_not_fit_each_other_are_refused(void **state)
{
    (void)state;
    refused("train: {batch: 6}\n", PF_EARG,
            "train.batch is 6, which does not divide by 4 shards");
    refused("train: {precision: f16}\n", PF_EARG,
            "train.precision is \"f16\"; want f32 or bf16");
    refused("train: {device: gpu}\n", PF_ENOSUPP,
            "train.device is gpu, which this build has no kernels for; use cpu");
    refused("train: {bach: 6}\n", PF_EARG,
            "unknown option train.bach; did you mean train.batch?");
    refused("trian: {batch: 8}\n", PF_EARG, "unknown section trian; did you mean train?");
    pf_config *c = NULL;
    pf_experiment e;
    assert_int_equal(
        pf_config_parse("shards: 6\nsde: {name: vp}\nmodel: {name: mlp}\n", "x", &c), PF_OK);
    assert_int_equal(pf_experiment_read(c, &e), PF_EARG);
    assert_string_equal(pf_error_message(), "shards is 6; want a power of two");
    pf_config_free(c);
    assert_int_equal(pf_config_parse("sde: {name: vp}\n", "x", &c), PF_OK);
    assert_int_equal(pf_experiment_read(c, &e), PF_EARG);
    assert_string_equal(pf_error_message(), "model.name is missing; a run must name it");
    pf_config_free(c);
}

static void canonical_text_reads_back_to_itself(void **state)
{
    (void)state;
    pf_experiment e, back;
    pf_text a, b;
    pf_config *c = NULL;
    assert_int_equal(read_with("data: {path: \"a b.h5\"}\ntrain: {lr: 0.1}\n", &e), PF_OK);
    assert_int_equal(pf_experiment_text(&e, &a), PF_OK);
    assert_int_equal(pf_config_parse(a.s, "canonical", &c), PF_OK);
    assert_int_equal(pf_experiment_read(c, &back), PF_OK);
    assert_int_equal(pf_experiment_text(&back, &b), PF_OK);
    assert_string_equal(a.s, b.s);
    pf_config_free(c);
    pf_free(a.s);
    pf_free(b.s);
}

static void choices_without_effect_are_refused(void **state)
{
    (void)state;
    pf_experiment e;
    refused("likelihood: {t_min: 1e-6}\n", PF_EARG,
            "likelihood.t_min is 1e-06, but the network is trained from objective.t_min, "
            "1e-05, on; "
            "want at least that");
    refused(
        "objective: {t_min: 1e-3}\nlikelihood: {t_min: 1e-4}\n", PF_EARG,
        "likelihood.t_min is 0.0001, but the network is trained from objective.t_min, 0.001, "
        "on; want at least that");
    assert_int_equal(read_with("objective: {t_min: 1e-3}\n", &e), PF_OK);
    assert_true(e.likelihood.ode.t_min == 1e-3); /* left out, it follows */
    assert_int_equal(read_with("objective: {t_min: 1e-6}\n", &e), PF_OK);
    assert_true(e.likelihood.ode.t_min == 1e-5);

    pf_model m; /* attention at a width that no level has */
    pf_shape s = {28, 28, 1};
    char text[PF_STR_MAX];
    assert_int_equal(pf_model_init("ddpmpp", &m), PF_OK);
    pf_opt o = pf_opt_find(m.ops->opts, "attention");
    assert_int_equal(m.ops->settle(&m.opt, s, 1), PF_EARG);
    assert_string_equal(pf_error_message(),
                        "model.attention has 16, the widths are 28, 14, 7 and 3");
    assert_int_equal(m.ops->settle(&m.opt, s, 0), PF_OK); /* the default: where there is one */
    pf_opt_text(&o, &m.opt, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(pf_opt_set(m.ops->opts, "model", "attention", "14,5", &m.opt), PF_OK);
    assert_int_equal(m.ops->settle(&m.opt, s, 1), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "has 5,"));
    assert_int_equal(m.ops->settle(&m.opt, s, 0), PF_OK);
    pf_opt_text(&o, &m.opt, text, sizeof text);
    assert_string_equal(text, "14");
    assert_int_equal(m.ops->settle(&m.opt, s, 1), PF_OK);
}

static pf_status read_text(const char *more, int stored, pf_experiment *e)
{
    char text[2048];
    pf_config *c = NULL;
    snprintf(text, sizeof text, "%s%s", base, more);
    assert_int_equal(pf_config_parse(text, "test.yaml", &c), PF_OK);
    if (stored) pf_config_stored(c);
    pf_status st = pf_experiment_read(c, e);
    pf_config_free(c);
    return st;
}

static void what_is_stored_means_what_it_meant(void **state)
{
    (void)state;
    pf_experiment e;
    assert_int_equal(read_text("", 0, &e), PF_OK);
    assert_true(e.train.ema_warmup && !e.given.ema_warmup);
    assert_int_equal(read_text("", 1, &e), PF_OK);
    assert_false(e.train.ema_warmup);
    assert_int_equal(read_text("train: {ema_warmup: true}\n", 1, &e), PF_OK);
    assert_true(e.train.ema_warmup);
    assert_int_equal(read_text("train: {ema_warmup: false}\n", 0, &e), PF_OK);
    assert_true(!e.train.ema_warmup && e.given.ema_warmup);
    assert_int_equal(read_text("likelihood: {t_min: 1e-6}\n", 1, &e), PF_OK);
    assert_true(e.likelihood.ode.t_min == 1e-6);

    pf_config *c = NULL; /* but what is set on it is a new choice */
    assert_int_equal(pf_config_parse(base, "stored", &c), PF_OK);
    pf_config_stored(c);
    assert_int_equal(pf_config_set(c, "likelihood.t_min=1e-6"), PF_OK);
    assert_int_equal(pf_experiment_read(c, &e), PF_EARG);
    pf_config_free(c);
}

/* Step by step: may a checkpoint of a step go on when train.steps changes? */
static void steps_made_keep_their_rate(void **state)
{
    (void)state;
    for (int64_t decay = 0; decay < 15; decay += 7)
        for (int64_t was = 5; was <= 20; was++)
            for (int64_t now = 5; now <= 20; now++) {
                pf_train_opt a = {.lr = 1, .steps = was, .decay = decay}, b = a;
                b.steps = now;
                int same = 1;
                for (int64_t step = 0; step <= was; step++) { /* steps 0 .. step-1 are made */
                    if (step > 0 && step - 1 < (was > now ? was : now))
                        same &=
                            pf_learning_rate(&a, step - 1) == pf_learning_rate(&b, step - 1);
                    assert_int_equal(pf_rate_stays(&a, was, now, step), same);
                }
            }
}

static pf_status open_dir(const char *dir, pf_experiment *e)
{
    pf_run_dir d = {0};
    pf_status st = pf_run_dir_open(dir, e, &d);
    pf_run_dir_close(dir, &d, st);
    return st;
}

static void a_run_directory_belongs_to_one_configuration(void **state)
{
    (void)state;
    char root[] = "/tmp/pf_experiment_XXXXXX", dir[64], want[512];
    assert_non_null(mkdtemp(root));
    snprintf(dir, sizeof dir, "%s/a/b", root);
    pf_experiment e;
    assert_int_equal(read_with("train: {steps: 10}\n", &e), PF_OK);
    assert_int_equal(open_dir(dir, &e), PF_OK);
    assert_int_equal(pf_run_dir_claim(dir, &e), PF_OK);
    e.train.steps = 20; /* when to stop, what to show and keep may change */
    e.train.log_every = e.train.keep = 3;
    e.train.keep_every = 4;
    e.train.eval_every = e.train.checkpoint_every = 5;
    e.likelihood.draws = e.sample.steps = 7; /* chosen again at each evaluation */
    assert_int_equal(open_dir(dir, &e), PF_OK);
    e.train.lr = 0.125;
    assert_int_equal(open_dir(dir, &e), PF_EARG);
    snprintf(want, sizeof want,
             "run directory %s belongs to another configuration: its train.lr is 0.0002, not "
             "0.125; choose another directory",
             dir);
    assert_string_equal(pf_error_message(), want);
    assert_int_equal(read_with("train: {steps: 10}\n", &e), PF_OK);
    pf_sde subvp;
    assert_int_equal(pf_sde_init("subvp", &subvp), PF_OK);
    e.method = pf_method_of_sde(&subvp);
    assert_int_equal(open_dir(dir, &e), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "its sde.name is vp, not subvp"));
    assert_int_equal(open_dir("/proc/no/such", &e), PF_EIO);
    snprintf(dir, sizeof dir, "%s/new", root); /* of a failure nothing is left */
    pf_run_dir d = {0};
    assert_int_equal(pf_run_dir_open(dir, &e, &d), PF_OK);
    assert_true(d.fresh);
    pf_run_dir_close(dir, &d, PF_EARG);
    assert_int_equal(access(dir, F_OK), -1);
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf %s", root);
    assert_int_equal(system(cmd), 0);
}

/* Keys that did not exist, or that were left to a default, when the run was begun. */
static void keys_left_out_are_those_of_the_run(void **state)
{
    (void)state;
    char dir[] = "/tmp/pf_experiment_XXXXXX", path[96];
    pf_experiment e;
    pf_text text = {0};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(read_text("train: {ema_warmup: false}\n", 0, &e), PF_OK);
    assert_int_equal(pf_experiment_text(&e, &text), PF_OK);
    char *line = strstr(text.s, "  ema_warmup: false\n");
    assert_non_null(line);
    memmove(line, line + 20, strlen(line + 20) + 1);
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    assert_int_equal(pf_file_put(path, &(pf_bytes){text.s, strlen(text.s)}, 1), PF_OK);
    pf_free(text.s);

    assert_int_equal(read_text("", 0, &e), PF_OK);
    assert_true(e.train.ema_warmup);
    assert_int_equal(open_dir(dir, &e), PF_OK);
    assert_false(e.train.ema_warmup);
    assert_int_equal(read_text("train: {ema_warmup: true}\n", 0, &e), PF_OK);
    assert_int_equal(open_dir(dir, &e), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "its train.ema_warmup is false, not true"));
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    assert_int_equal(system(cmd), 0);
}

static void write_checkpoint(const char *dir, int64_t step)
{
    static float values[64];
    char path[256];
    pf_param view = {.name = "w", .rank = 1, .dim = {64}, .size = 64, .trainable = 1};
    pf_checkpoint c = {.n_views = 1,
                       .views = &view,
                       .floats = 64,
                       .params = values,
                       .ema = values,
                       .adam_m = values,
                       .adam_v = values,
                       .step = step,
                       .shards = 1,
                       .space.shape = {1, 1, 1},
                       .config = (char *)"seed: 1\n"};
    for (int i = 0; i < 64; i++) values[i] = (float)(step + i);
    pf_checkpoint_path(dir, step, path, sizeof path);
    assert_int_equal(pf_checkpoint_write(path, &c), PF_OK);
}

static void the_newest_good_checkpoint_is_found_and_the_oldest_are_pruned(void **state)
{
    (void)state;
    char dir[] = "/tmp/pf_experiment_XXXXXX", path[256], want[256];
    assert_non_null(mkdtemp(dir));
    assert_int_equal(pf_checkpoint_find(dir, path, sizeof path), PF_EIO);
    assert_non_null(strstr(pf_error_message(), "holds no checkpoint"));
    for (int64_t step = 5; step <= 20; step += 5) write_checkpoint(dir, step);
    pf_checkpoint_prune(dir, 20, &(pf_train_opt){.keep = 3});
    pf_checkpoint_path(dir, 5, path, sizeof path);
    assert_int_not_equal(access(path, F_OK), 0);

    pf_checkpoint_path(dir, 20, want, sizeof want);
    assert_int_equal(pf_checkpoint_find(dir, path, sizeof path), PF_OK);
    assert_string_equal(path, want);
    assert_int_equal(pf_checkpoint_find(want, path, sizeof path), PF_OK);
    assert_string_equal(path, want);

    assert_int_equal(truncate(want, 1000), 0); /* half a file, as a full disk leaves it */
    assert_int_equal(pf_checkpoint_find(dir, path, sizeof path), PF_OK);
    pf_checkpoint_path(dir, 15, want, sizeof want);
    assert_string_equal(path, want);

    assert_int_equal(truncate(want, 0), 0);
    pf_checkpoint_path(dir, 10, want, sizeof want);
    assert_int_equal(truncate(want, 0), 0);
    assert_int_equal(pf_checkpoint_find(dir, path, sizeof path), PF_EIO);
    assert_non_null(strstr(pf_error_message(), "no checkpoint of"));
    assert_int_equal(pf_checkpoint_find("/no/such/run", path, sizeof path), PF_EIO);

    write_checkpoint(dir, 30); /* under a name of another step: nothing goes on beside it */
    pf_checkpoint_path(dir, 30, path, sizeof path);
    pf_checkpoint_path(dir, 40, want, sizeof want);
    assert_int_equal(rename(path, want), 0);
    assert_int_equal(pf_checkpoint_find(dir, path, sizeof path), PF_EIO);
    assert_non_null(strstr(pf_error_message(), "checkpoint-00000040.h5 holds step 30"));
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    assert_int_equal(system(cmd), 0);
}

static int is_there(const char *dir, int64_t step)
{
    char path[256];
    pf_checkpoint_path(dir, step, path, sizeof path);
    return access(path, F_OK) == 0;
}

static void what_is_pruned_is_neither_new_nor_a_multiple_nor_the_way_back(void **state)
{
    (void)state;
    char dir[] = "/tmp/pf_experiment_XXXXXX", path[256];
    assert_non_null(mkdtemp(dir));
    for (int64_t step = 1; step <= 9; step++) write_checkpoint(dir, step);
    for (int64_t step = 7; step <= 9; step++) { /* the run goes on from 6 */
        pf_checkpoint_path(dir, step, path, sizeof path);
        assert_int_equal(truncate(path, 1000), 0);
    }
    pf_checkpoint_prune(dir, 6, &(pf_train_opt){.keep = 2, .keep_every = 3});
    for (int64_t step = 1; step <= 9; step++)
        assert_int_equal(is_there(dir, step), step == 3 || step >= 5);
    pf_checkpoint_path(dir, 6, path, sizeof path);
    char found[256];
    assert_int_equal(pf_checkpoint_find(dir, found, sizeof found), PF_OK);
    assert_string_equal(found, path);

    strcat(path, ".probflow-0123abcd.tmp"); /* of a killed write: gone with the next start */
    assert_int_equal(rename(found, path), 0);
    assert_int_equal(pf_checkpoint_find(dir, found, sizeof found), PF_OK);
    assert_non_null(strstr(found, "checkpoint-00000005.h5"));
    pf_store_tidy(dir);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(is_there(dir, 5));
    char cmd[96];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    assert_int_equal(system(cmd), 0);
}

/* The text of section data, and of model where it names a grid, as a checkpoint stores it. */
static void stored_grid(const char *more, int set_uniform, int grid, const char *line)
{
    pf_experiment e;
    pf_text t = {0};
    char text[2048];
    pf_config *c = NULL;
    snprintf(text, sizeof text, "%s%s", base, more);
    assert_int_equal(pf_config_parse(text, "test.yaml", &c), PF_OK);
    if (set_uniform)
        assert_int_equal(pf_config_set(c, "data.uniform_dequantisation=no"), PF_OK);
    assert_int_equal(pf_experiment_read(c, &e), PF_OK);
    pf_config_free(c);
    assert_int_equal(e.data.grid, grid);
    assert_int_equal(pf_experiment_text(&e, &t), PF_OK);
    assert_non_null(strstr(t.s, line));
    assert_true(!strstr(t.s, "grid:") == (grid != PF_GRID_CENTRES));

    pf_experiment again;
    assert_int_equal(pf_config_parse(t.s, "stored", &c), PF_OK);
    pf_config_stored(c);
    assert_int_equal(pf_experiment_read(c, &again), PF_OK);
    pf_config_free(c);
    assert_int_equal(again.data.grid, grid);
    pf_free(t.s);
}

/* A row that had another name is read under both and writes its first values as they were. */
static void a_grid_is_stored_as_it_was_and_read_under_both_names(void **state)
{
    (void)state;
    stored_grid("", 0, PF_GRID_DEQUANTISED,
                "  path: \"\"\n  uniform_dequantisation: true\n  flip");
    stored_grid("data: {uniform_dequantisation: on}\n", 0, PF_GRID_DEQUANTISED,
                "  uniform_dequantisation: true\n");
    stored_grid("data: {uniform_dequantisation: no}\n", 0, PF_GRID_PUBLISHED,
                "  uniform_dequantisation: false\n");
    stored_grid("data: {grid: published}\n", 0, PF_GRID_PUBLISHED,
                "  uniform_dequantisation: false\n");
    stored_grid("data: {grid: centres}\n", 0, PF_GRID_CENTRES, "  grid: centres\n");
    stored_grid("data: {grid: published, uniform_dequantisation: no}\n", 0, PF_GRID_PUBLISHED,
                "  uniform_dequantisation: false\n");
    /* --set wins under either name, before the file's key and behind it */
    stored_grid("data: {grid: centres}\n", 1, PF_GRID_PUBLISHED,
                "  uniform_dequantisation: false\n");
    stored_grid("data: {uniform_dequantisation: yes, grid: dequantised}\n", 1,
                PF_GRID_PUBLISHED, "  uniform_dequantisation: false\n");
    refused("data: {uniform_dequantisation: yes, grid: centres}\n", PF_EARG,
            "data.grid is centres, but data.uniform_dequantisation, which says the same, is "
            "yes; leave one of them out");
    refused("data: {grid: dequantised, uniform_dequantisation: no}\n", PF_EARG,
            "data.uniform_dequantisation is no, but data.grid, which says the same, is "
            "dequantised; leave one of them out");
    refused("data: {uniform_dequantisation: perhaps}\n", PF_EARG,
            "data.uniform_dequantisation is \"perhaps\"; want true or false");
}

static pf_status read_levels(const char *data, const char *model, int stored, char *grid,
                             size_t n)
{
    char text[1024];
    pf_config *c = NULL;
    pf_experiment e;
    snprintf(text, sizeof text, "sde: {name: vp}\ndata: {%s}\nmodel: {name: ddpmpp%s}\n", data,
             model);
    assert_int_equal(pf_config_parse(text, "test.yaml", &c), PF_OK);
    if (stored) pf_config_stored(c);
    pf_status st = pf_experiment_read(c, &e);
    pf_config_free(c);
    pf_opt row = pf_opt_find(e.model.ops->opts, "grid");
    if (!st) pf_opt_text(&row, &e.model.opt, grid, n);
    return st;
}

static void levels_of_a_model_follow_the_grid_of_the_data(void **state)
{
    (void)state;
    char grid[PF_STR_MAX];
    assert_int_equal(read_levels("grid: centres", ", levels: 256", 0, grid, sizeof grid),
                     PF_OK);
    assert_string_equal(grid, "centres");
    assert_int_equal(read_levels("grid: published", "", 0, grid, sizeof grid), PF_OK);
    assert_string_equal(grid, "dequantised"); /* no levels: its text stays what it was */
    assert_int_equal(read_levels("grid: centres", ", levels: 256", 1, grid, sizeof grid),
                     PF_OK);
    assert_string_equal(grid, "dequantised"); /* a stored network is what it was trained as */
    assert_int_equal(
        read_levels("grid: centres", ", levels: 256, grid: published", 0, grid, sizeof grid),
        PF_EARG);
    assert_string_equal(pf_error_message(),
                        "model.grid is published, but data.grid is centres; "
                        "leave model.grid out, it follows");
    assert_int_equal(read_levels("", ", grid: published", 0, grid, sizeof grid), PF_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_reach_their_structs),
        cmocka_unit_test(fields_that_do_not_fit_each_other_are_refused),
        cmocka_unit_test(canonical_text_reads_back_to_itself),
        cmocka_unit_test(choices_without_effect_are_refused),
        cmocka_unit_test(what_is_stored_means_what_it_meant),
        cmocka_unit_test(a_grid_is_stored_as_it_was_and_read_under_both_names),
        cmocka_unit_test(levels_of_a_model_follow_the_grid_of_the_data),
        cmocka_unit_test(steps_made_keep_their_rate),
        cmocka_unit_test(a_run_directory_belongs_to_one_configuration),
        cmocka_unit_test(keys_left_out_are_those_of_the_run),
        cmocka_unit_test(the_newest_good_checkpoint_is_found_and_the_oldest_are_pruned),
        cmocka_unit_test(what_is_pruned_is_neither_new_nor_a_multiple_nor_the_way_back),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
