/* Score of a network:
 *
 *     s(x, t) = a(t) x + c(t) net(x, cond(t)),      v' ds/dx = a(t) v' + c(t) v' dnet/dx
 *
 * with a and c as the prediction of the network says (predict.h).  State and score are double, the network
 * is float32.  A call with fewer samples than the plan's batch repeats its last row: the operators never mix
 * samples, so the padding changes no result.  K probes cost one forward and K backward passes. */
#include "method/network_score.h"

#include <probflow/memory.h>

typedef struct net_score {
    const pf_net *net;
    const pf_timed *by;
    pf_plan *plan;
    pf_run run;
    pf_inputs inputs;
    void *in[PF_PORTS_MAX]; /* of the method's ports */
    int batch, dim;
    float *out;               /* [batch,D] raw network output */
    float *v, *jv;            /* [batch,D] one probe and its product; NULL without vjp */
    float *gin[PF_PORTS_MAX]; /* jv in the place of x */
    pf_affine_score *scale;   /* [batch] */
    float *condition;         /* [batch,C+1] */
} net_score;

static PF_MUST_USE pf_status forward(net_score *s, int B, const double *t, const double *x)
{
    size_t D = (size_t)s->dim;
    float *to = s->in[0];

    PF_REQUIRE(B > 0 && B <= s->batch, PF_EARG, "score of %d samples, made for 1 to %d", B,
               s->batch);
    for (int b = 0; b < s->batch; b++) {
        int from = b < B ? b : B - 1;
        const double *row = x + (size_t)from * D;
        s->by->show(s->net, t[from], b, s->in);
        s->scale[b] = s->by->score(s->net, t[from]);
        for (size_t i = 0; i < D; i++) to[(size_t)b * D + i] = (float)row[i];
    }
    PF_TRY(pf_plan_forward(s->plan, &s->run, s->out));
    return PF_OK;
}

/* out = a x + c in */
static void scaled(const net_score *s, int B, const double *x, const float *in, double *out)
{
    size_t D = (size_t)s->dim;
    for (int b = 0; b < B; b++) {
        double a = s->scale[b].a, c = s->scale[b].c;
        for (size_t i = (size_t)b * D; i < (size_t)(b + 1) * D; i++)
            out[i] = a == 0.0 ? c * (double)in[i] : a * x[i] + c * (double)in[i];
    }
}

static pf_status eval(void *self, int B, const double *t, const double *x, double *score)
{
    net_score *s = self;
    PF_TRY(forward(s, B, t, x));
    scaled(s, B, x, s->out, score);
    return PF_OK;
}

static pf_status vjp(void *self, int B, const double *t, const double *x, int K,
                     const double *v, double *score, double *jv)
{
    net_score *s = self;
    size_t D = (size_t)s->dim, n = (size_t)B * D, pad = (size_t)(s->batch - B) * D;

    PF_REQUIRE(s->v, PF_EARG, "this score was made without vector-Jacobian products");
    PF_TRY(forward(s, B, t, x));
    scaled(s, B, x, s->out, score);
    for (size_t i = 0; i < pad; i++) s->v[n + i] = 0.0f;
    for (int k = 0; k < K; k++) {
        const double *vk = v + (size_t)k * n;
        for (size_t i = 0; i < n; i++) s->v[i] = (float)vk[i];
        PF_TRY(pf_plan_backward(s->plan, s->v, NULL, s->gin));
        /* scaled afterwards, in double: 1/std would cost the probe a rounding before the pass */
        scaled(s, B, vk, s->jv, jv + (size_t)k * n);
    }
    return PF_OK;
}

static pf_status give(void *self, int B, const int32_t *label, const double *condition)
{
    net_score *s = self;
    pf_batch told = {.B = B, .label = label, .condition = condition ? s->condition : NULL};
    PF_REQUIRE(B > 0 && B <= s->batch, PF_EARG, "labels of %d samples, made for 1 to %d", B,
               s->batch);
    if (condition) pf_conditions_known(s->net->space.conditions, B, condition, s->condition);
    pf_net_give(s->net, s->batch, &told, &s->inputs);
    return PF_OK;
}

static const float *raw(void *self)
{
    net_score *s = self;
    return s->out;
}

static void release(void *self)
{
    net_score *s = self;
    if (!s) return;
    pf_plan_free(s->plan);
    pf_inputs_free(&s->inputs);
    pf_free(s->out);
    pf_free(s->v);
    pf_free(s->jv);
    pf_free(s->scale);
    pf_free(s->condition);
    pf_free(s);
}

static PF_MUST_USE pf_status create(net_score *s, const pf_net *n, const pf_view_opt *o)
{
    int x = pf_graph_port(n->graph, "x"), vjp = !!o->with_vjp;
    pf_plan_opt po = {.batch = o->batch,
                      .want_in = (unsigned)vjp << x,
                      .repeat = vjp,
                      .backend = o->backend,
                      .with = o->with ? ((const net_score *)o->with)->plan : NULL};
    size_t rows = (size_t)o->batch, floats;

    s->net = n;
    s->batch = o->batch;
    s->dim = pf_space_dim(&n->space);
    floats = rows * (size_t)s->dim * sizeof(float);
    PF_TRY(pf_inputs_create(n, o->batch, &s->inputs));
    pf_inputs_run(&s->inputs, &s->run);
    pf_net_ports(n, &s->inputs, s->in);
    s->out = pf_zalloc(floats);
    s->scale = pf_zalloc(rows * sizeof *s->scale);
    s->condition = pf_zalloc(rows * ((size_t)n->space.conditions + 1) * sizeof *s->condition);
    PF_REQUIRE(s->out && s->scale && s->condition, PF_EMEM,
               "no memory for the buffers of a score function");
    if (o->with_vjp) {
        s->v = pf_zalloc(floats);
        s->gin[x] = s->jv = pf_zalloc(floats);
        PF_REQUIRE(s->v && s->jv, PF_EMEM,
                   "no memory for the probe buffers of a score function");
    }
    PF_TRY(pf_plan_create(n->graph, &po, &s->plan));
    if (!o->with) PF_TRY(pf_plan_set_params(s->plan, n->params));
    return PF_OK;
}

pf_status pf_network_score(const pf_net *n, const pf_timed *by, const pf_view_opt *o,
                           pf_score *out)
{
    net_score *s = pf_zalloc(sizeof *s);
    if (!s) PF_FAIL(PF_EMEM, "no memory for a score function");
    s->by = by;
    pf_status st = create(s, n, o);
    if (st) {
        release(s);
        return pf_trail(st, PF_WHERE);
    }
    int told = pf_net_reads(n, "label") || pf_net_reads(n, "condition");
    *out = (pf_score){.self = s,
                      .dim = s->dim,
                      .batch = s->batch,
                      .eval = eval,
                      .vjp = o->with_vjp ? vjp : NULL,
                      .give = told ? give : NULL,
                      .raw = raw,
                      .free = release};
    return PF_OK;
}
