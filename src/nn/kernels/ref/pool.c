/* Pixels become one: their mean, or the first.  Between the two stands attention, over
 *
 *   tokens      y_0 = mean_p x_p + e_0,   y_p = x_p + e_p,  p = 1 .. n
 *
 * Sums are taken in double. */
#include "nn/kernels/ref/ref.h"

#include <string.h>

static size_t pixels_of(pf_shape s)
{
    return (size_t)s.h * s.w;
}

static double mean_of(const float *x, size_t n, size_t c)
{
    double sum = 0.0;
    for (size_t p = 0; p < n; p++) sum += x[p * c];
    return sum / (double)n;
}

pf_status pf_ref_mean(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->in[0];
    size_t n = pixels_of(s), ch = (size_t)s.c;
    for (size_t i = 0; i < (size_t)c->site->B * ch; i++)
        c->out[i] = (float)mean_of(c->in[0] + i / ch * n * ch + i % ch, n, ch);
    return PF_OK;
}

pf_status pf_ref_mean_back(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->in[0];
    size_t n = pixels_of(s), ch = (size_t)s.c, size = n * ch;
    for (size_t i = 0; c->gin[0] && i < (size_t)c->site->B * size; i++)
        c->gin[0][i] = (float)(c->gout[i / size * ch + i % ch] / (double)n);
    return PF_OK;
}

pf_status pf_ref_tokens(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->in[0];
    size_t n = pixels_of(s), ch = (size_t)s.c;
    for (size_t b = 0; b < (size_t)c->site->B; b++) {
        const float *x = c->in[0] + b * n * ch;
        float *y = c->out + b * (n + 1) * ch;
        for (size_t i = 0; i < ch; i++) {
            const float *e = c->param[0] + i * (n + 1);
            y[i] = (float)(mean_of(x + i, n, ch) + e[0]);
            for (size_t p = 0; p < n; p++) y[(p + 1) * ch + i] = x[p * ch + i] + e[p + 1];
        }
    }
    return PF_OK;
}

pf_status pf_ref_tokens_back(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->in[0];
    size_t n = pixels_of(s), ch = (size_t)s.c;
    for (size_t i = 0; c->gin[0] && i < (size_t)c->site->B * n * ch; i++) {
        const float *g = c->gout + i / (n * ch) * (n + 1) * ch;
        c->gin[0][i] = (float)(g[i % (n * ch) + ch] + g[i % ch] / (double)n);
    }
    for (size_t i = 0; c->gparam[0] && i < ch * (n + 1); i++) {
        double sum = 0.0;
        for (size_t b = 0; b < (size_t)c->site->B; b++)
            sum += c->gout[(b * (n + 1) + i % (n + 1)) * ch + i / (n + 1)];
        c->gparam[0][i] = (float)sum;
    }
    return PF_OK;
}

/* Copies the first pixels of samples that lie `from` and `to` floats apart. */
static void copy_first(const pf_call *c, const float *x, size_t from, float *y, size_t to)
{
    for (size_t b = 0; b < (size_t)c->site->B; b++)
        memcpy(y + b * to, x + b * from, (size_t)c->site->out.c * sizeof *y);
}

pf_status pf_ref_first(void *ctx, const pf_call *c)
{
    copy_first(c, c->in[0], pf_shape_size(c->site->in[0]), c->out, (size_t)c->site->out.c);
    return PF_OK;
}

pf_status pf_ref_first_back(void *ctx, const pf_call *c)
{
    size_t size = pf_shape_size(c->site->in[0]);
    if (!c->gin[0]) return PF_OK;
    memset(c->gin[0], 0, (size_t)c->site->B * size * sizeof(float));
    copy_first(c, c->gout, (size_t)c->site->out.c, c->gin[0], size);
    return PF_OK;
}
