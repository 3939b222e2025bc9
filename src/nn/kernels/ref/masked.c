/* A map on the channel axis that sees, of each position, the channels its mask lets through:
 *
 *   y_o = b_o + sum_i m_oi w_oi x_i,   dx_i = sum_o m_oi w_oi g_o,   dw_oi = m_oi sum g_o x_i,   db_o = sum g_o
 *
 * with m_oi from the degrees of both channels (pf_sees).  Sums are in double. */
#include "nn/kernels/ref/ref.h"

#include <string.h>

static size_t positions(const pf_site *s)
{
    return (size_t)s->B * (size_t)s->out.h * (size_t)s->out.w;
}

pf_status pf_ref_masked_linear(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    int cin = s->in[0].c, cout = s->out.c;
    for (size_t p = 0; p < positions(s); p++) {
        const float *x = c->in[0] + p * (size_t)cin, *w = c->param[0];
        for (int o = 0; o < cout; o++, w += cin) {
            double y = (double)c->param[1][o];
            for (int i = 0; i < cin; i++)
                if (pf_sees(&s->attr, o, i)) y += (double)x[i] * (double)w[i];
            c->out[p * (size_t)cout + (size_t)o] = (float)y;
        }
    }
    return PF_OK;
}

static void data(const pf_call *c)
{
    const pf_site *s = c->site;
    int cin = s->in[0].c, cout = s->out.c;
    for (size_t p = 0; p < positions(s); p++)
        for (int i = 0; i < cin; i++) {
            const float *g = c->gout + p * (size_t)cout;
            double sum = 0.0;
            for (int o = 0; o < cout; o++)
                if (pf_sees(&s->attr, o, i))
                    sum += (double)g[o] * (double)c->param[0][o * cin + i];
            c->gin[0][p * (size_t)cin + (size_t)i] = (float)sum;
        }
}

/* Along all positions: x NULL: of the bias. */
static float along(const pf_call *c, int o, int i, const float *x)
{
    const pf_site *s = c->site;
    double sum = 0.0;
    for (size_t p = 0; p < positions(s); p++) {
        double g = (double)c->gout[p * (size_t)s->out.c + (size_t)o];
        sum += x ? g * (double)x[p * (size_t)s->in[0].c + (size_t)i] : g;
    }
    return (float)sum;
}

pf_status pf_ref_masked_linear_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    int cin = s->in[0].c;
    if (c->gin[0]) data(c);
    for (int o = 0; o < s->out.c; o++) {
        for (int i = 0; c->gparam[0] && i < cin; i++)
            c->gparam[0][o * cin + i] =
                pf_sees(&s->attr, o, i) ? along(c, o, i, c->in[0]) : 0.0f;
        if (c->gparam[1]) c->gparam[1][o] = along(c, o, 0, NULL);
    }
    return PF_OK;
}
