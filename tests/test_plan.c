/* Plans: all wishes agree, gradients against central differences, the memory layout, misuse. */
#include "small_unet.h"

static void every_wish_gives_the_same_values_and_gradients(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w[WISHES];
    for (int what = 0; what < WISHES; what++) {
        world_open(&w[what], g, (wish)what, 1);
        if (what == VALUE) value(&w[what]);
        else both_ways(&w[what]);
    }
    size_t image = B * D * sizeof(float),
           block_bytes = pf_graph_param_floats(g) * sizeof(float);
    for (int what = 1; what < WISHES; what++) assert_memory_equal(w[what].out, w[0].out, image);
    assert_memory_equal(w[VJP].gx, w[BOTH].gx, image);
    assert_memory_equal(w[PARAM].gp, w[BOTH].gp, block_bytes);
    for (int what = 0; what < WISHES; what++) world_close(&w[what]);
    pf_graph_free(g);
}

typedef struct catch
{ /* the flat block as it was put together */
    float *block;
    size_t from;
    int calls;
}
catch;

static void catch_part(void *self, size_t first, size_t n, const float *g)
{
    catch *k = self;
    assert_true(first + n <= k->from);
    memcpy(k->block + first, g, n * sizeof *g);
    k->from = first;
    k->calls++;
}

static void gradients_put_part_by_part_are_those_of_the_flat_block(void **state)
{
    (void)state;
    pf_graph *g = unet();
    size_t n = pf_graph_param_floats(g);
    for (int what = PARAM; what <= BOTH; what++) {
        world w;
        world_open(&w, g, (wish)what, 1);
        both_ways(&w);
        catch k = {pf_zalloc(n * sizeof *k.block), n, 0};
        pf_plan_opt opt = wished(g, (wish)what);
        opt.backend = "ref";
        opt.put = catch_part;
        opt.self = &k;
        pf_plan *plan = NULL;
        must(pf_plan_create(g, &opt, &plan));
        pf_plan_free(w.plan);
        w.plan = plan;
        must(pf_plan_set_params(plan, w.params));
        float *gp = w.gp;
        if (what != VJP) {
            value(&w);
            assert_int_equal(pf_plan_backward(plan, w.gout, gp, w.gin), PF_EARG);
            w.gp = NULL;
        }
        both_ways(&w);
        w.gp = gp;
        if (what == VJP) assert_int_equal(k.calls, 0);
        else {
            assert_true(k.calls > 20); /* bit by bit, not all at the end */
            assert_memory_equal(k.block, w.gp, n * sizeof *w.gp);
        }
        pf_free(k.block);
        world_close(&w);
    }
    pf_graph_free(g);
}

static pf_plan *plan_of(const pf_graph *g, const char *backend, wish what, pf_recompute how,
                        int reuse)
{
    pf_plan *plan = NULL;
    pf_plan_opt opt = wished(g, what);
    opt.backend = backend;
    opt.recompute = how;
    must(pf_plan_create_with(g, &opt, reuse, &plan));
    return plan;
}

static int steps_again(const pf_plan *p)
{
    int n = 0;
    for (int i = 0; i < p->n_step; i++) n += p->step[i].live && p->step[i].again >= 0;
    return n;
}

static void computing_again_changes_no_bit_and_saves_memory(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "fast"};
    pf_graph *g = unet();
    size_t n = pf_graph_param_floats(g);
    for (int k = 0; k < 4; k++) {
        wish what = k % 2 ? BOTH : PARAM;
        size_t bytes = SIZE_MAX;
        world kept, again;
        world_open_with(&kept, g, backends[k / 2], what, 1);
        both_ways(&kept);
        for (int how = PF_RECOMPUTE_NONE; how <= PF_RECOMPUTE_BLOCKS; how++)
            for (int reuse = 1; reuse >= 0; reuse--) {
                world_open_with(&again, g, backends[k / 2], what, 1);
                pf_plan_free(again.plan);
                again.plan = plan_of(g, backends[k / 2], what, (pf_recompute)how, reuse);
                must(pf_plan_set_params(again.plan, again.params));
                for (int round = 0; round < 2; round++) {
                    both_ways(&again);
                    assert_memory_equal(again.out, kept.out, B * D * sizeof(float));
                    assert_memory_equal(again.gp, kept.gp, n * sizeof(float));
                    assert_memory_equal(again.gx, kept.gx, B * D * sizeof(float));
                }
                assert_true(steps_again(again.plan) >= 7 * how);
                if (reuse && backends[k / 2][0] == 'r') {
                    assert_true(pf_plan_bytes(again.plan) < bytes);
                    bytes = pf_plan_bytes(again.plan);
                }
                world_close(&again);
            }
        world_close(&kept);
    }
    pf_plan *plan = NULL;
    pf_plan_opt opt = wished(g, VJP);
    opt.recompute = PF_RECOMPUTE_BLOCKS;
    assert_int_equal(pf_plan_create(g, &opt, &plan), PF_EARG);
    pf_graph_free(g);
}

static void sharing_memory_changes_no_bit_and_saves_some(void **state)
{
    (void)state;
    pf_graph *g = unet();
    for (int what = 0; what < WISHES; what++) {
        world a, b;
        world_open(&a, g, (wish)what, 1);
        world_open(&b, g, (wish)what, 0);
        for (int round = 0; round < 2; round++) {
            value(&a);
            value(&b);
            assert_memory_equal(a.out, b.out, B * D * sizeof(float));
            for (int k = 0; what != VALUE && k < (what == VJP ? 3 : 1); k++) {
                a.gout[k] += 1.0f;
                b.gout[k] += 1.0f;
                must(pf_plan_backward(a.plan, a.gout, a.gp, a.gin));
                must(pf_plan_backward(b.plan, b.gout, b.gp, b.gin));
                assert_memory_equal(a.gx, b.gx, B * D * sizeof(float));
                assert_memory_equal(a.gp, b.gp, pf_graph_param_floats(g) * sizeof(float));
            }
        }
        assert_true(pf_plan_bytes(a.plan) <
                    pf_plan_bytes(b.plan) * (what == VALUE ? 0.4 : 0.8));
        world_close(&a);
        world_close(&b);
    }
    pf_graph_free(g);
}

/* Largest difference over the largest value. */
static double distance(const float *a, const float *b, size_t n)
{
    double worst = 0.0, size = 1e-30;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)a[i] - b[i]));
        size = fmax(size, fabs(b[i]));
    }
    return worst / size;
}

static void fast_plans_agree_with_plain_ones_and_share_memory_safely(void **state)
{
    (void)state;
    pf_graph *g = unet();
    for (int what = PARAM; what <= BOTH; what++) {
        world plain, fast, apart;
        world_open_with(&plain, g, "ref", (wish)what, 1);
        world_open_with(&fast, g, "fast", (wish)what, 1);
        world_open_with(&apart, g, "fast", (wish)what, 0);
        both_ways(&plain);
        both_ways(&fast);
        both_ways(&apart);
        size_t n = pf_graph_param_floats(g);
        /* 30 layers of float32 rounding, in another order of summation */
        assert_true(distance(fast.out, plain.out, B * D) < 1e-5);
        assert_true(distance(fast.gx, plain.gx, B * D) < 1e-5);
        assert_true(distance(fast.gp, plain.gp, n) < 1e-5);
        assert_memory_equal(fast.out, apart.out, B * D * sizeof(float));
        assert_memory_equal(fast.gx, apart.gx, B * D * sizeof(float));
        assert_memory_equal(fast.gp, apart.gp, n * sizeof(float));
        world_close(&plain);
        world_close(&fast);
        world_close(&apart);
    }
    pf_graph_free(g);
}

static void pieces_alive_together_never_overlap(void **state)
{
    (void)state;
    enum { N = 300 };
    pf_piece piece[N];
    int order[2 * N];
    uint32_t r[3 * N];
    for (uint32_t round = 0; round < 20; round++) {
        pf_draw d = {.seed = 1, .stream = PF_STREAM_TEST, .sample = round, .step = 0};
        pf_draw_bits(&d, 0, 3 * N, r);
        size_t sum = 0;
        for (int i = 0; i < N; i++) {
            int first = (int)(r[3 * i] % 500);
            piece[i] = (pf_piece){.floats = 1 + r[3 * i + 1] % 1000,
                                  .first = first,
                                  .last = first + (int)(r[3 * i + 2] % 60)};
            sum += piece[i].floats;
        }
        size_t total = pf_plan_place(piece, N, 1, order);
        assert_true(total < sum / 2);
        for (int i = 0; i < N; i++) {
            assert_int_equal(piece[i].offset % 16, 0);
            assert_true(piece[i].offset + piece[i].floats <= total);
            for (int j = 0; j < i; j++) {
                const pf_piece *p = &piece[i], *q = &piece[j];
                int together = p->first <= q->last && q->first <= p->last;
                int apart =
                    p->offset + p->floats <= q->offset || q->offset + q->floats <= p->offset;
                assert_true(!together || apart);
            }
        }
    }
}

static void the_image_gradient_agrees_with_central_differences(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w;
    world_open(&w, g, VJP, 1);
    for (uint32_t k = 0; k < 3; k++) {
        both_ways(&w);
        float *v = noise(B * D, 50 + k);
        double want = dot(w.gx, v, B * D), got = slope(&w, w.x, v, B * D);
        assert_true(fabs(want - got) < 2e-3 * (1.0 + fabs(want)));
        pf_free(v);
    }
    world_close(&w);
    pf_graph_free(g);
}

static void parameter_gradients_agree_with_central_differences_view_by_view(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w;
    world_open(&w, g, PARAM, 1);
    both_ways(&w);
    float *gp = noise(pf_graph_param_floats(g), 1);
    memcpy(gp, w.gp, pf_graph_param_floats(g) * sizeof *gp);
    for (int i = 0; i < pf_graph_param_count(g); i++) {
        const pf_param *p = &pf_graph_params(g)[i];
        float *v = noise(p->size, 60 + i);
        if (p->trainable) {
            double want = dot(gp + p->offset, v, p->size),
                   got = slope(&w, w.params + p->offset, v, p->size);
            if (!(fabs(want - got) < 3e-3 * (1.0 + fabs(want))))
                fail_msg("%s: %g, differences say %g", p->name, want, got);
        } else {
            for (size_t k = 0; k < p->size; k++) assert_true(gp[p->offset + k] == 0.0f);
        }
        pf_free(v);
    }
    pf_free(gp);
    world_close(&w);
    pf_graph_free(g);
}

static void padding_and_unused_views_get_gradient_zero(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w;
    world_open(&w, g, BOTH, 1);
    both_ways(&w);
    const pf_param *dead = find(g, "nowhere.weight");
    for (size_t i = 0; i < dead->size; i++) assert_true(w.gp[dead->offset + i] == 0.0f);
    size_t end = 0;
    for (int i = 0; i < pf_graph_param_count(g); i++) {
        const pf_param *v = &pf_graph_params(g)[i];
        for (; end < v->offset; end++) assert_true(w.gp[end] == 0.0f);
        end = v->offset + v->size;
    }
    world_close(&w);
    pf_graph_free(g);
}

static void a_vjp_plan_takes_any_number_of_probes_after_one_forward(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w, one;
    world_open(&w, g, VJP, 1);
    world_open(&one, g, VJP, 1);
    value(&w);
    for (uint32_t k = 0; k < 4; k++) {
        float *probe = noise(B * D, 90 + k % 3); /* the last repeats the first */
        memcpy(w.gout, probe, B * D * sizeof *probe);
        memcpy(one.gout, probe, B * D * sizeof *probe);
        must(pf_plan_backward(w.plan, w.gout, NULL, w.gin));
        both_ways(&one);
        assert_memory_equal(w.gx, one.gx, B * D * sizeof(float));
        pf_free(probe);
    }
    world_close(&w);
    world_close(&one);
    pf_graph_free(g);
}

static void a_sample_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w;
    world_open(&w, g, VJP, 1);
    both_ways(&w);
    pf_plan_opt o = wished(g, VJP);
    o.batch = 1;
    o.backend = "ref";
    pf_plan *alone;
    must(pf_plan_create(g, &o, &alone));
    must(pf_plan_set_params(alone, w.params));
    for (int b = 0; b < B; b++) {
        float out[D], gx[D], *gin[PF_PORTS_MAX] = {0};
        pf_run run = w.run;
        gin[pf_graph_port(g, "x")] = gx;
        pf_run_set(&run, g, "x", w.x + (size_t)b * D);
        pf_run_set(&run, g, "cond", w.cond + b);
        pf_run_set(&run, g, "sigma", w.sigma + b);
        pf_run_set(&run, g, "label", w.label + b);
        run.sample += b;
        must(pf_plan_forward(alone, &run, out));
        must(pf_plan_backward(alone, w.gout + (size_t)b * D, NULL, gin));
        assert_memory_equal(out, w.out + (size_t)b * D, sizeof out);
        assert_memory_equal(gx, w.gx + (size_t)b * D, sizeof gx);
    }
    pf_plan_free(alone);
    world_close(&w);
    pf_graph_free(g);
}

static void dropout_is_off_outside_training_and_follows_the_step(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w;
    world_open(&w, g, VALUE, 1);
    double on = value(&w), again = value(&w);
    assert_true(on == again);
    w.run.step++;
    assert_true(value(&w) != on);
    w.run.train = 0;
    w.run.sample = NULL;
    double off = value(&w);
    w.run.step = 0;
    w.run.seed++;
    assert_true(value(&w) == off && off != on);
    world_close(&w);
    pf_graph_free(g);
}

static void a_vjp_plan_keeps_no_input_of_a_convolution(void **state)
{
    (void)state;
    pf_graph *g;
    must(pf_graph_create(&g));
    pf_node x = image(g, 8, 8, 16);
    for (int i = 0; i < 20; i++) x = pf_conv_same(g, pf_namef(g, "c%d", i), x, 16, 3, 1.0);
    must(pf_graph_finish(g, x));
    pf_plan_opt o = wished(g, VJP);
    o.batch = 2;
    o.backend = "ref";
    pf_plan *p;
    must(pf_plan_create(g, &o, &p));
    size_t one = 2 * 8 * 8 * 16 * sizeof(float), scratch = 2 * 16 * 16 * 9 * sizeof(float);
    assert_true(pf_plan_bytes(p) <= 2 * one + scratch);
    pf_plan_free(p);
    pf_graph_free(g);
}

static void misuse_of_a_plan_is_an_error_not_a_wrong_number(void **state)
{
    (void)state;
    pf_graph *g = unet();
    pf_plan_opt o = wished(g, PARAM);
    o.backend = "abacus";
    pf_plan *p = NULL;
    assert_int_equal(pf_plan_create(g, &o, &p), PF_ENOSUPP);
    o.backend = "ref";
    must(pf_plan_create(g, &o, &p));
    world w;
    world_open(&w, g, PARAM, 1);
    assert_int_equal(pf_plan_forward(p, &w.run, w.out), PF_EARG);            /* no parameters */
    assert_int_equal(pf_plan_backward(w.plan, w.gout, w.gp, NULL), PF_EARG); /* no forward */
    both_ways(&w);
    assert_int_equal(pf_plan_backward(w.plan, w.gout, w.gp, NULL),
                     PF_EARG); /* values are gone */
    pf_plan_free(p);
    world_close(&w);
    pf_graph_free(g);
}

static void the_output_may_be_the_image_or_ignore_it(void **state)
{
    (void)state;
    for (int ignores = 0; ignores < 2; ignores++) {
        pf_graph *g;
        must(pf_graph_create(&g));
        pf_node x = image(g, H, W, C), t = number(g, "cond");
        must(pf_graph_finish(g, ignores ? pf_affine(g, t, 2.0, 1.0) : x));
        world w;
        world_open(&w, g, BOTH, 1);
        both_ways(&w);
        for (int i = 0; i < B * D; i++) assert_true(w.gx[i] == (ignores ? 0.0f : w.gout[i]));
        if (ignores) assert_true(w.out[1] == 2.0f * w.cond[1] + 1.0f);
        else assert_memory_equal(w.out, w.x, B * D * sizeof(float));
        world_close(&w);
        pf_graph_free(g);
    }
}

static void running_out_of_memory_is_reported_at_every_allocation(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    pf_graph *g = unet();
    int64_t n = 1;
    for (;; n++) {
        pf_plan_opt o = wished(g, BOTH);
        o.batch = 1;
        o.backend = "ref";
        pf_plan *p = NULL;
        size_t live = pf_alloc_live();
        pf_alloc_fail_at(n);
        pf_status st = pf_plan_create(g, &o, &p);
        pf_alloc_fail_at(0);
        pf_plan_free(p);
        assert_int_equal(pf_alloc_live(), live);
        if (!st) break;
        assert_int_equal(st, PF_EMEM);
    }
    assert_true(n > 5);
    pf_graph_free(g);
    assert_int_equal(pf_alloc_live(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wish_gives_the_same_values_and_gradients),
        cmocka_unit_test(gradients_put_part_by_part_are_those_of_the_flat_block),
        cmocka_unit_test(computing_again_changes_no_bit_and_saves_memory),
        cmocka_unit_test(sharing_memory_changes_no_bit_and_saves_some),
        cmocka_unit_test(fast_plans_agree_with_plain_ones_and_share_memory_safely),
        cmocka_unit_test(pieces_alive_together_never_overlap),
        cmocka_unit_test(the_image_gradient_agrees_with_central_differences),
        cmocka_unit_test(parameter_gradients_agree_with_central_differences_view_by_view),
        cmocka_unit_test(padding_and_unused_views_get_gradient_zero),
        cmocka_unit_test(a_vjp_plan_takes_any_number_of_probes_after_one_forward),
        cmocka_unit_test(a_sample_does_not_depend_on_its_batch),
        cmocka_unit_test(dropout_is_off_outside_training_and_follows_the_step),
        cmocka_unit_test(a_vjp_plan_keeps_no_input_of_a_convolution),
        cmocka_unit_test(misuse_of_a_plan_is_an_error_not_a_wrong_number),
        cmocka_unit_test(the_output_may_be_the_image_or_ignore_it),
        cmocka_unit_test(running_out_of_memory_is_reported_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
