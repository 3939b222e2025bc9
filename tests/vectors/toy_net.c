#include "toy_net.h"

int toy_net_open(const vectors *v, const char *group, toy_net *out)
{
    const vectors_array *W = vectors_find(v, "%s/W", group),
                        *c = vectors_find(v, "%s/c", group),
                        *d = vectors_find(v, "%s/d", group);
    if (!W || !c || !d || W->rank != 4 || c->size != d->size) return 0;
    *out = (toy_net){.L = (size_t)W->dim[0],
                     .K = (size_t)W->dim[1],
                     .V = (size_t)W->dim[3],
                     .W = W->v,
                     .c = c->v,
                     .d = d->v};
    return W->dim[2] == W->dim[0] && c->size == out->L * out->K;
}

void toy_net_logits(const toy_net *n, double time, const int32_t *x, double *out)
{
    for (size_t r = 0; r < n->L * n->K; r++) {
        double sum = n->c[r] + time * n->d[r];
        for (size_t j = 0; j < n->L; j++)
            if (x[j] >= 0) sum += n->W[(r * n->L + j) * n->V + (size_t)x[j]];
        out[r] = sum;
    }
}

void toy_net_state(const toy_net *n, size_t number, size_t K, int32_t *x)
{
    for (size_t j = n->L; j-- > 0; number /= K) x[j] = (int32_t)(number % K);
}
