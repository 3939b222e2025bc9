/* The bare matrix work that a plan is compared with. */
#include <probflow/limit.h>

#include "small_unet.h"

/* Multiply-adds (x2) a plan asks of convolutions, linear maps and attention, by its own account of
 * what flows where. */
static double asked_for(const pf_plan *p)
{
    double sum = 0.0;
    for (int i = 0; i < p->n_step; i++) {
        const pf_step *st = &p->step[i];
        const pf_site *s = &st->site;
        double one = p->opt.batch * pf_graph_node_flops(p->graph, &p->graph->node[i]);
        if (!st->live) continue;
        int dx = s->want_dx[0] + s->want_dx[1] + s->want_dx[2];
        sum += one; /* forward */
        int attends = s->op == PF_OP_ATTENTION || s->op == PF_OP_LINEAR_ATTENTION;
        if (attends && (dx == 3 || s->n_in < 3)) sum += dx ? 2.0 * one : 0.0;
        else sum += one * (dx + s->want_dp);
    }
    return sum;
}

static void the_limit_is_the_matrix_work_of_the_pass(void **state)
{
    (void)state;
    pf_graph *g = unet();
    for (int k = 0; k < WISHES; k++) {
        world w;
        pf_limit *l = NULL;
        world_open(&w, g, (wish)k, 1);
        pf_status st = pf_limit_create(w.plan, 0, &l);
#ifdef PF_HAVE_ONEDNN
        must(st);
        /* sums of integers below 2^53 */
        assert_near(pf_limit_flops(l), asked_for(w.plan), 0.0);
        must(pf_limit_run(l));
        int64_t before = pf_alloc_count();
        must(pf_limit_run(l));
        assert_int_equal(pf_alloc_count(), before);
#else
        assert_int_equal(st, PF_ENOSUPP);
        assert_true(asked_for(w.plan) > 0.0);
#endif
        pf_limit_free(l);
        world_close(&w);
    }
    pf_graph_free(g);
}

/* A transformer's products: heads that see windows, packed ones that see all, linear ones. */
static void the_limit_knows_attention_over_positions(void **state)
{
    (void)state;
    enum { L = 40, C = 32 };
    pf_graph *g = NULL;
    pf_plan *p = NULL;
    pf_limit *l = NULL;
    must(pf_graph_create(&g));
    pf_node tokens = pf_port_node(g, &(pf_port){"tokens", {1, L, 1}, 1, 5});
    pf_node x = pf_embed(g, "embed", tokens, 5, C);
    pf_attend_opt o = {
        .heads = 2, .mask = PF_MASK_WINDOW, .window = 6, .padding = tokens, .rotary = 1e4};
    x = pf_attend(g, x, x, x, &o);
    o.mask = PF_MASK_NONE;
    x = pf_attend(g, pf_linear(g, "qkv", x, 3 * C, 1.0), PF_NONE, PF_NONE, &o);
    x = pf_linear(g, "out", pf_attend_linear(g, x, x, x, 4, tokens), 7, 1.0);
    must(pf_graph_finish(g, x));
    double once = 4.0 * L * C * (3 * 6 + L + C / 4) + 2.0 * L * C * (3 * C + 7);
    assert_near(pf_graph_flops(g), once, 0.0);
    must(pf_plan_create(g, &(pf_plan_opt){.batch = 3, .want_params = 1}, &p));
    assert_near(asked_for(p), 9.0 * once, 0.0);
#ifdef PF_HAVE_ONEDNN
    must(pf_limit_create(p, 0, &l));
    assert_near(pf_limit_flops(l), 9.0 * once, 0.0);
    must(pf_limit_run(l));
#endif
    pf_limit_free(l);
    pf_plan_free(p);
    pf_graph_free(g);
}

/* A recurrence: its steps one after the other, and a map that some channels do not pass as if all did. */
static void the_limit_knows_the_steps_of_a_recurrence(void **state)
{
    (void)state;
    enum { L = 12, C = 5, H = 8 };
    static const int degrees[H] = {0};
    pf_graph *g = NULL;
    pf_plan *p = NULL;
    pf_limit *l = NULL;
    must(pf_graph_create(&g));
    pf_node x = pf_port_node(g, &(pf_port){.name = "x", .shape = {1, L, C}});
    x = pf_lstm(g, x, &(pf_lstm_opt){"a", 0, H, 0, PF_NONE});
    x = pf_lstm(g, x, &(pf_lstm_opt){"b", 0, H, 1, PF_NONE});
    x = pf_masked_linear(g, x, &(pf_masked_map_opt){"out", 3, degrees, degrees, 0});
    must(pf_graph_finish(g, x));
    double once = 2.0 * L * (4 * H * (C + H) + 4 * H * (H + H) + 3 * H);
    assert_near(pf_graph_flops(g), once, 0.0);
    must(pf_plan_create(g, &(pf_plan_opt){.batch = 3, .want_in = 1, .want_params = 1}, &p));
    assert_near(asked_for(p), 9.0 * once, 0.0);
#ifdef PF_HAVE_ONEDNN
    must(pf_limit_create(p, 0, &l));
    assert_near(pf_limit_flops(l), 9.0 * once, 0.0);
    must(pf_limit_run(l));
#endif
    pf_limit_free(l);
    pf_plan_free(p);
    pf_graph_free(g);
}

static void a_failed_limit_leaves_nothing(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w;
    world_open(&w, g, PARAM, 1);
    size_t before = pf_alloc_live();
    for (int n = 1;; n++) {
        pf_limit *l = NULL;
        pf_alloc_fail_at(n);
        pf_status st = pf_limit_create(w.plan, 0, &l);
        pf_alloc_fail_at(0);
        if (!st || st == PF_ENOSUPP) {
            pf_limit_free(l);
            assert_true(n > 1);
            break;
        }
        assert_int_equal(st, PF_EMEM);
        assert_int_equal(pf_alloc_live(), before);
    }
    world_close(&w);
    pf_graph_free(g);
}

/* The same work; where the processor has no such products, that is said. */
static void a_limit_in_bf16_is_the_same_work(void **state)
{
    (void)state;
    pf_graph *g = unet();
    world w;
    pf_limit *l = NULL;
    world_open(&w, g, PARAM, 1);
    pf_status st = pf_limit_create(w.plan, 1, &l);
    if (st) assert_int_equal(st, PF_ENOSUPP);
    else {
        assert_near(pf_limit_flops(l), asked_for(w.plan), 0.0);
        must(pf_limit_run(l));
    }
    pf_limit_free(l);
    world_close(&w);
    pf_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_is_the_matrix_work_of_the_pass),
        cmocka_unit_test(a_limit_in_bf16_is_the_same_work),
        cmocka_unit_test(the_limit_knows_attention_over_positions),
        cmocka_unit_test(the_limit_knows_the_steps_of_a_recurrence),
        cmocka_unit_test(a_failed_limit_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
