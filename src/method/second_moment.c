/* The law of times.h.
 *
 * Losses are divided by a power of two near the largest before they are squared.  That changes no bit of w, and
 * no square leaves the range of doubles, as in the published code it may. */
#include <probflow/memory.h>
#include <probflow/times.h>

#include "method/time.h"

#include <math.h>
#include <string.h>

enum { KEPT = PF_TIMES_KEPT };
static const double uniform_part = 0.001;
static const double newest_part = 0.1, least_square = 1e-10, least_root = 1e-4; /* decaying */
static const double most_square = 1e300; /* what is remembered stays finite */

struct pf_times {
    int T, learned; /* learned: p is not uniform */
    pf_times_law law;
    int kept;        /* of an index */
    double *loss;    /* [T,kept] */
    int32_t *count;  /* [T] */
    double *p, *sum; /* [T] probabilities, and sums up to each index; when learned */
};

void pf_times_free(pf_times *t)
{
    if (!t) return;
    pf_free(t->loss);
    pf_free(t->count);
    pf_free(t->p);
    pf_free(t->sum);
    pf_free(t);
}

pf_status pf_times_create(int T, pf_times_law law, pf_times **out)
{
    size_t n = (size_t)T;
    pf_times *t = pf_zalloc(sizeof *t);
    PF_REQUIRE(t, PF_EMEM, "no memory for the losses of %d indices", T);
    t->T = T;
    t->law = law;
    t->kept = law == PF_TIMES_DECAYING ? 1 : KEPT;
    t->loss = pf_zalloc(n * (size_t)t->kept * sizeof *t->loss);
    t->count = pf_zalloc(n * sizeof *t->count);
    t->p = pf_zalloc(n * sizeof *t->p);
    t->sum = pf_zalloc(n * sizeof *t->sum);
    if (!t->loss || !t->count || !t->p || !t->sum) {
        pf_times_free(t);
        PF_FAIL(PF_EMEM, "no memory for the losses of %d indices", T);
    }
    *out = t;
    return PF_OK;
}

/* The exponent of the largest loss, for ldexp; *any: there is one that is not 0. */
static int largest(const pf_times *t, int *any)
{
    double most = 0.0;
    int exponent = 0;
    for (size_t k = 0; k < (size_t)t->T * KEPT; k++) most = fmax(most, fabs(t->loss[k]));
    *any = most > 0.0;
    if (*any) frexp(most, &exponent);
    return exponent;
}

/* Sums up to each index of p, which adds up to `sum`. */
static void add_up(pf_times *t, double sum)
{
    double total = 0.0;
    for (int i = 0; i < t->T; i++) {
        t->p[i] /= sum;
        t->sum[i] = total += t->p[i];
    }
}

static void learn_decaying(pf_times *t)
{
    double sum = 0.0;
    t->learned = 1;
    for (int i = 0; i < t->T; i++) {
        t->learned &= t->count[i] > KEPT;
        t->p[i] = sqrt(t->loss[i] + least_square) + least_root;
    }
    if (t->T > 1) t->p[0] = t->p[1];
    for (int i = 0; i < t->T; i++) sum += t->p[i];
    add_up(t, sum);
}

/* p of t->loss, when every index has all its losses. */
static void learn_last_ten(pf_times *t)
{
    double total = 0.0, sum = 0.0;
    int full = 1, exponent = 0;
    for (int i = 0; i < t->T && full; i++) full = t->count[i] == KEPT;
    t->learned = full;
    if (full) exponent = largest(t, &t->learned);
    if (!t->learned) return;
    for (int i = 0; i < t->T; i++) {
        double squares = 0.0;
        for (int k = 0; k < KEPT; k++) {
            double l = ldexp(t->loss[(size_t)i * KEPT + (size_t)k], -exponent);
            squares += l * l;
        }
        t->p[i] = sqrt(squares / KEPT);
        total += t->p[i];
    }
    for (int i = 0; i < t->T; i++) {
        t->p[i] = t->p[i] / total * (1.0 - uniform_part) + uniform_part / t->T;
        sum += t->p[i];
    }
    add_up(t, sum); /* 1 up to rounding */
}

static void learn(pf_times *t)
{
    if (t->law == PF_TIMES_DECAYING) learn_decaying(t);
    else learn_last_ten(t);
}

static void add_decaying(pf_times *t, int32_t i, double loss)
{
    double now = fmin(loss * loss, most_square);
    t->loss[i] = newest_part * now + (1.0 - newest_part) * t->loss[i];
    if (t->count[i] < INT32_MAX) t->count[i]++;
}

void pf_times_add(pf_times *t, int n, const int32_t *index, const double *loss)
{
    for (int s = 0; s < n; s++) {
        if (t->law == PF_TIMES_DECAYING) {
            add_decaying(t, index[s], loss[s]);
            continue;
        }
        int32_t *count = &t->count[index[s]];
        double *of = t->loss + (size_t)index[s] * KEPT;
        if (*count == KEPT) memmove(of, of + 1, (KEPT - 1) * sizeof *of);
        else ++*count;
        of[*count - 1] = loss[s];
    }
    learn(t);
}

double pf_times_probability(const pf_times *t, int i)
{
    return t->learned ? t->p[i] : 1.0 / t->T;
}

double pf_times_weight(const pf_times *t, int i)
{
    return t->learned ? 1.0 / (t->T * t->p[i]) : 1.0;
}

int pf_times_index(const pf_times *t, double u)
{
    int low = 0, high = t->T - 1; /* of the index looked for */
    if (!t->learned) {
        low = (int)(u * t->T);
        return low < high ? low : high;
    }
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (t->sum[middle] > u) high = middle;
        else low = middle + 1;
    }
    return low;
}

void pf_times_draw(const pf_times *t, const pf_batch *b, int32_t *index, double *weight)
{
    double u0 = pf_time_shift(b);
    for (int s = 0; s < b->B; s++) {
        index[s] = pf_times_index(t, pf_time_share(u0, b->first + s, b->total));
        weight[s] = pf_times_weight(t, index[s]);
    }
}

int pf_times_number(const pf_times *t)
{
    return t->T;
}

int pf_times_kept(const pf_times *t)
{
    return t->kept;
}

const double *pf_times_losses(const pf_times *t)
{
    return t->loss;
}

const int32_t *pf_times_counts(const pf_times *t)
{
    return t->count;
}

pf_status pf_times_set(pf_times *t, const char *file, int T, int kept, const double *loss,
                       const int32_t *count)
{
    int most = t->law == PF_TIMES_DECAYING ? INT32_MAX : KEPT;
    size_t per = (size_t)t->kept;
    PF_REQUIRE(T == t->T && kept == t->kept, PF_EFORMAT,
               "%s holds the last %d losses of %d indices, the chain has %d indices and its "
               "law takes %d",
               file, kept, T, t->T, t->kept);
    for (int i = 0; i < T; i++)
        PF_REQUIRE(count[i] >= 0 && count[i] <= most, PF_EFORMAT,
                   "%s is damaged: index %d has %d losses, want 0 to %d", file, i, count[i],
                   most);
    for (size_t k = 0; k < (size_t)T * per; k++)
        PF_REQUIRE(isfinite(loss[k]) && (t->law != PF_TIMES_DECAYING || loss[k] >= 0.0),
                   PF_EFORMAT, "%s is damaged: a loss of index %zu is %g", file, k / per,
                   loss[k]);
    memcpy(t->count, count, (size_t)T * sizeof *count);
    for (size_t k = 0; k < (size_t)T * per; k++)
        t->loss[k] = k % per < (size_t)count[k / per] ? loss[k] : 0.0;
    learn(t);
    return PF_OK;
}
