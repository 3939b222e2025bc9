/* Each image's number and its variance, from the rows of a ledger. */
#include <math.h>
#include <probflow/estimand.h>
#include <probflow/memory.h>

/* Repeats inside a row of the only estimand that is asked for; 1: of several, or it does not say. */
static int repeats_of(const pf_likelihood_opt *o)
{
    return pf_estimand_asked(o, 1) ? 1 : pf_estimand_asked(o, 0)->repeats(o);
}

/* The estimand whose shares the ledger has; NULL: it is not asked for. */
static const pf_estimand_ops *with_shares(const pf_likelihood_opt *o)
{
    const pf_estimand_ops *e = pf_estimand_asked(o, 0);
    return pf_estimand_is_first(e) ? e : NULL;
}

static int dequantised(const pf_likelihood_opt *o, int pixels)
{
    return pixels && pf_estimand_dequantises(pf_estimand_asked(o, 0));
}

/* 1 when a row says all that is random in it. */
static int rows_say_it(const pf_likelihood_opt *o, int pixels, int paired)
{
    return !dequantised(o, pixels) && !paired && repeats_of(o) > 1;
}

static int nothing_is_random(const pf_likelihood_opt *o, int pixels)
{
    return !dequantised(o, pixels) && repeats_of(o) == 0;
}

/* 1 when draws say the error of a row, but not the share of the probes: one set, and pixels beside it. */
static int shares_are_silent(const pf_likelihood_opt *o, int pixels)
{
    const pf_estimand_ops *e = with_shares(o);
    return dequantised(o, pixels) && e && e->repeats(o) == 1;
}

int64_t pf_likelihood_pilots(const pf_likelihood_opt *o, int pixels, int paired, int64_t images)
{
    enum { ENOUGH = 512 }; /* the mean of as many squares is known to sqrt(2/512), 6 % */
    int64_t groups = (images + o->group - 1) / o->group,
            some = (ENOUGH + o->group - 1) / o->group;
    if (nothing_is_random(o, pixels) || rows_say_it(o, pixels, paired)) return 0;
    if (o->draws > 1 && !shares_are_silent(o, pixels)) return 0;
    return some < groups ? some : groups;
}

int pf_likelihood_repeats(int64_t images)
{
    enum { LEAST = 16 }; /* the mean of as many squares is known to sqrt(2/16), a third */
    return images < LEAST ? (int)((LEAST + images - 1) / images) : 1;
}

/* One run over a ledger. */
typedef struct job {
    const pf_likelihood_opt *o;
    const pf_ledger *rows, *minus;
    int pixels, draws;         /* draws: a row */
    double *spread, *moderate; /* [n] */
    int *dof;
    pf_estimates *out;
} job;

static double value(const job *j, int64_t row, int c)
{
    const pf_ledger *l = j->rows;
    return l->cell[row * l->n + c] - (j->minus ? j->minus->cell[row * l->n + c] : 0.0);
}

/* One image's mean over the draws that are reported, and what its repeats say of the mean's variance. */
static void average(const job *j, int64_t image, int c, double *mean)
{
    double sum = 0.0, all = 0.0, squares = 0.0;
    int made = 0, reported = j->o->draws;
    int64_t first = image * j->draws;
    for (int d = 0; d < j->draws; d++) {
        double v = value(j, first + d, c);
        if (d < reported) sum += v;
        if (!isnan(v)) all += v, made++;
    }
    *mean = sum / reported;
    for (int d = 0; d < j->draws; d++) {
        double v = value(j, first + d, c);
        if (!isnan(v)) squares += (v - all / made) * (v - all / made);
    }
    j->dof[image] = made > 1 ? made - 1 : 0;
    j->spread[image] = made > 1 ? squares / (made - 1) / reported : NAN;
}

/* Of the draws that are reported: the mean, of errors that of |.|, of variances of those that are known
 * the variance of the mean. */
static double part(const job *j, int64_t image, int c)
{
    pf_role role = j->rows->column[c].role;
    double sum = 0.0, known = 0.0;
    int reported = j->o->draws;
    for (int d = 0; d < reported; d++) {
        double v = j->rows->cell[(image * j->draws + d) * j->rows->n + c];
        if (role == PF_ROLE_VARIANCE) {
            if (!isnan(v)) sum += v, known++;
        } else sum += (role == PF_ROLE_ERROR ? fabs(v) : v) / reported;
    }
    return role == PF_ROLE_VARIANCE ? sum / known / reported : sum; /* 0/0: of none */
}

static void moderate(const job *j, int c, double *to)
{
    pf_moderate_variance(j->out->n, j->spread, j->dof, j->moderate);
    for (int64_t i = 0; i < j->out->n; i++) to[i * j->out->columns + c] = j->moderate[i];
}

/* The column of variances; -1: there is none. */
static int variances(const job *j)
{
    for (int c = 0; c < j->rows->n; c++)
        if (j->rows->column[c].role == PF_ROLE_VARIANCE) return c;
    return -1;
}

static void fill_total(const job *j, int c, int has_shares)
{
    const pf_likelihood_opt *o = j->o;
    int said = has_shares && rows_say_it(o, j->pixels, j->minus != NULL) && o->draws == 1;
    int at = variances(j);
    for (int64_t i = 0; i < j->out->n; i++) {
        average(j, i, c, &j->out->value[i * j->out->columns + c]);
        if (said && at >= 0) {
            j->spread[i] = j->rows->cell[i * j->draws * j->rows->n + at];
            j->dof[i] = isnan(j->spread[i]) ? 0 : repeats_of(o) - 1;
        } else if (has_shares && nothing_is_random(o, j->pixels))
            j->spread[i] = 0.0, j->dof[i] = 1;
    }
    moderate(j, c, j->out->variance);
}

/* Of what the column of variances is of alone: by the rows' repeats, by those of the pilots, or, where
 * nothing else is random, all. */
static void fill_shares(const job *j, const pf_estimand_ops *e, int c)
{
    const pf_likelihood_opt *o = j->o;
    int repeats = e->repeats(o), known = 0, w = j->out->columns;
    for (int64_t i = 0; i < j->out->n; i++) {
        j->spread[i] = repeats == 0 ? 0.0 : j->out->value[i * w + c];
        j->dof[i] = isnan(j->spread[i]) ? 0 : repeats > 1 ? o->draws * (repeats - 1) : 1;
        known += j->dof[i] > 0;
    }
    if (known || dequantised(o, j->pixels)) moderate(j, c, j->out->value);
    else
        for (int64_t i = 0; i < j->out->n; i++)
            j->out->value[i * w + c] = j->out->variance[i * w + e->total];
}

static void fill(const job *j)
{
    const pf_ledger *l = j->rows;
    const pf_estimand_ops *e = with_shares(j->o);
    int at = variances(j);
    for (int c = 0; c < l->n; c++)
        for (int64_t i = 0; i < j->out->n; i++) {
            int keeps = !j->minus || c == PF_AT_IMAGE || c == PF_AT_LABEL;
            j->out->value[i * l->n + c] = keeps ? part(j, i, c) : NAN;
            j->out->variance[i * l->n + c] = NAN;
        }
    for (int c = 0; c < l->n; c++)
        if (l->column[c].role == PF_ROLE_TOTAL) fill_total(j, c, e && c == e->total);
    if (e && at >= 0 && !j->minus) fill_shares(j, e, at);
}

void pf_estimates_free(pf_estimates *e)
{
    pf_free(e->value);
    pf_free(e->variance);
    *e = (pf_estimates){0};
}

pf_status pf_likelihood_estimates(const pf_likelihood_opt *o, int pixels, const pf_ledger *rows,
                                  const pf_ledger *minus, int draws, pf_estimates *out)
{
    size_t n = (size_t)(rows->rows / draws), cells = n * (size_t)rows->n;
    pf_estimates_free(out);
    *out = (pf_estimates){.n = (int64_t)n, .columns = rows->n, .column = rows->column};
    out->value = pf_zalloc((cells + 1) * sizeof *out->value);
    out->variance = pf_zalloc((cells + 1) * sizeof *out->variance);
    job j = {o, rows, minus, pixels, draws, NULL, NULL, NULL, out};
    j.spread = pf_zalloc((n + 1) * sizeof *j.spread);
    j.moderate = pf_zalloc((n + 1) * sizeof *j.moderate);
    j.dof = pf_zalloc((n + 1) * sizeof *j.dof);
    int failed = !out->value || !out->variance || !j.spread || !j.moderate || !j.dof;
    if (!failed) fill(&j);
    pf_free(j.spread);
    pf_free(j.moderate);
    pf_free(j.dof);
    PF_REQUIRE(!failed, PF_EMEM, "no memory for the errors of %lld images", (long long)n);
    return PF_OK;
}
