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
        if (s->op == PF_OP_ATTENTION && dx == 3) sum += 2.0 * one;
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
        cmocka_unit_test(a_failed_limit_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
