/* A checkpoint made ready for evaluation. */
#include "scratch.h"

#include <probflow/memory.h>
#include <probflow/run.h>

static const pf_shape shape = {1, 1, 3};

/* Parameters 1, average 2; ema 0: none. */
static void write_checkpoint(const char *path, int ema)
{
    pf_experiment e;
    pf_config *c = NULL;
    pf_text text;
    pf_net *net = NULL;
    const pf_space space = {.kind = PF_REAL, .shape = shape};
    must(pf_config_parse("name: tiny\nsde: {name: vp}\nmodel: {name: mlp, width: 8}\n", "t",
                         &c));
    must(pf_experiment_take(c, 0, NULL, &e));
    must(pf_experiment_text(&e, &text));
    must(pf_net_create(&e.model, &e.method, &space, &net));
    float *v = pf_zalloc(2 * net->floats * sizeof *v);
    for (size_t i = 0; i < 2 * net->floats; i++) v[i] = i < net->floats ? 1.0f : 2.0f;
    pf_checkpoint f = {.step = 1000000,
                       .shards = 8,
                       .space = space,
                       .n_views = net->n_views,
                       .views = net->views,
                       .floats = net->floats,
                       .params = v,
                       .ema = ema ? v + net->floats : NULL,
                       .config = text.s};
    must(pf_checkpoint_write(path, &f));
    pf_free(v);
    pf_free(text.s);
    pf_net_free(net);
}

static float opened(const char *path, int params, int raw)
{
    pf_loaded l;
    pf_load_opt o = {.from = path, .params = params};
    must(pf_loaded_open(&o, &l));
    assert_int_equal(l.raw, raw);
    assert_ptr_equal(l.net->params, l.params);
    float first = l.params[l.net->views[0].offset];
    pf_loaded_free(&l);
    return first;
}

static void the_average_is_opened_unless_the_parameters_are_asked_for(void **state)
{
    (void)state;
    pf_loaded l;
    const char *both = in_dir("both.h5"), *one = in_dir("one.h5");
    write_checkpoint(both, 1);
    write_checkpoint(one, 0);
    assert_true(opened(both, PF_PARAMS_BEST, 0) == 2.0f);
    assert_true(opened(both, PF_PARAMS_EMA, 0) == 2.0f);
    assert_true(opened(both, PF_PARAMS_RAW, 1) == 1.0f);
    assert_true(opened(one, PF_PARAMS_BEST, 0) == 1.0f);
    assert_true(opened(one, PF_PARAMS_RAW, 0) == 1.0f);
    pf_load_opt o = {.from = one, .params = PF_PARAMS_EMA};
    assert_int_equal(pf_loaded_open(&o, &l), PF_EARG);
    pf_loaded_free(&l);
}

static void a_checkpoint_says_what_the_network_is_and_no_more(void **state)
{
    (void)state;
    pf_loaded l;
    const char *path = in_dir("c.h5");
    const char *const sets[] = {"likelihood.group=3", "likelihood.group=5"};
    const char *const fixed[] = {"likelihood.group=3", "model.width=16"};
    write_checkpoint(path, 0);
    pf_load_opt o = {.from = path, .n_sets = 2, .sets = sets};
    must(pf_loaded_open(&o, &l));
    assert_int_equal(l.e.likelihood.group, 5);
    pf_loaded_free(&l);
    o.sets = fixed;
    assert_int_equal(pf_loaded_open(&o, &l), PF_EARG);
    assert_string_equal(pf_error_message(),
                        "model.width is fixed by the checkpoint and cannot be set here");
    pf_loaded_free(&l);
}

static void a_held_checkpoint_outlives_its_name(void **state)
{
    (void)state;
    pf_comm *c = NULL;
    pf_held held = {0};
    pf_loaded l;
    const char *path = in_dir("h.h5"), *gone = in_dir("gone.h5");
    write_checkpoint(path, 1);
    must(pf_comm_open(&c, NULL));
    assert_int_equal(pf_checkpoint_hold(c, gone, &held), PF_EIO);
    must(pf_checkpoint_hold(c, path, &held));
    write_checkpoint(in_dir("other.h5"), 0);
    assert_int_equal(rename(in_dir("other.h5"), path), 0);
    pf_load_opt o = {.from = gone, .held = &held};
    must(pf_loaded_open(&o, &l));
    assert_string_equal(l.path, path);
    assert_true(l.params[l.net->views[0].offset] == 2.0f);
    pf_loaded_free(&l);
    pf_comm_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_average_is_opened_unless_the_parameters_are_asked_for),
        cmocka_unit_test(a_checkpoint_says_what_the_network_is_and_no_more),
        cmocka_unit_test(a_held_checkpoint_outlives_its_name),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
