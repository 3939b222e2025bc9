/* Rows of what is scored, a group at a time, and what the model is told beside them. */
#include "likelihood/rows.h"

#include <probflow/memory.h>

#include <math.h>

int64_t pf_scoring_groups(const pf_scoring *s)
{
    return (s->data->n + s->opt->group - 1) / s->opt->group;
}

int pf_scoring_group(const pf_scoring *s, int64_t group)
{
    int64_t left = s->data->n - group * s->opt->group;
    return (int)(left < s->opt->group ? left : s->opt->group);
}

int pf_rows_are_told(const pf_scorer *model)
{
    return pf_net_reads(model->net, "label") || pf_net_reads(model->net, "condition");
}

/* The model reads this beside the rows, and may. */
static int is_told(const pf_scoring *s, const char *port)
{
    return !s->unconditional && pf_net_reads(s->model.net, port);
}

static PF_MUST_USE pf_status read_set(pf_scoring *s, pf_rows *r)
{
    const pf_scored *d = s->data;
    const pf_group *g = &r->g;
    PF_TRY(d->space.kind == PF_LEVELS ? pf_dataset_images(d->set, g->first, g->B, r->values)
                                      : pf_dataset_x(d->set, g->first, g->B, r->values));
    if (r->labels) PF_TRY(pf_dataset_labels(d->set, g->first, g->B, r->labels));
    if (r->conditions) PF_TRY(pf_dataset_conditions(d->set, g->first, g->B, r->conditions));
    return PF_OK;
}

static PF_MUST_USE pf_status open_set(pf_scoring *s, pf_rows *r)
{
    const pf_scored *d = s->data;
    pf_group *g = &r->g;
    int continuous = d->space.kind != PF_LEVELS, conditions = is_told(s, "condition");
    size_t B = (size_t)g->B, D = (size_t)pf_space_dim(&d->space);
    r->values = pf_zalloc(B * D * (continuous ? sizeof(double) : 1));
    if (d->has_labels) r->labels = pf_zalloc(B * sizeof *r->labels);
    if (conditions)
        r->conditions = pf_zalloc(B * (size_t)d->space.conditions * sizeof *r->conditions);
    PF_REQUIRE(r->values && (r->labels || !d->has_labels) && (r->conditions || !conditions),
               PF_EMEM, "no memory for %d images", g->B);
    if (continuous) g->x = r->values;
    else g->pixels = r->values;
    if (is_told(s, "label")) g->label = r->labels;
    g->condition = r->conditions;
    pthread_mutex_lock(&s->own.io);
    pf_status st = read_set(s, r);
    pthread_mutex_unlock(&s->own.io);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_rows_of_group(pf_scoring *s, int64_t group, pf_rows *out)
{
    const pf_scored *d = s->data;
    int64_t first = group * s->opt->group;
    size_t at = (size_t)first * (size_t)pf_space_dim(&d->space);
    *out = (pf_rows){.g = {.first = first, .B = pf_scoring_group(s, group), .space = d->space}};
    pf_group *g = &out->g;
    if (d->set) {
        PF_TRY(open_set(s, out));
        return PF_OK;
    }
    if (d->space.kind == PF_REAL) g->x = d->x + at;
    else g->pixels = d->pixels + at;
    if (is_told(s, "label")) g->label = d->labels + first;
    if (is_told(s, "condition")) g->condition = d->conditions + first * d->space.conditions;
    return PF_OK;
}

void pf_rows_free(pf_rows *r)
{
    pf_free(r->values);
    pf_free(r->labels);
    pf_free(r->conditions);
    *r = (pf_rows){0};
}

/* Labels without a name are compared one by one: which classes a split lacks says nothing. */
static PF_MUST_USE pf_status check_labels(const pf_scorer *m, const pf_scored *d,
                                          const int32_t *label)
{
    int classes = m->net->space.classes;
    for (int64_t i = 0; i < d->n; i++)
        PF_REQUIRE(
            label[i] < classes, PF_EARG,
            "row %lld of %s has the label %d, but %s was trained with %d classes, from 0",
            (long long)i, d->file, label[i], m->path, classes);
    return PF_OK;
}

static PF_MUST_USE pf_status check_classes(const pf_scorer *m, const pf_scored *d)
{
    int n = m->net->space.classes;
    if (!d->set) {
        PF_REQUIRE(!d->named, PF_EARG,
                   "the classes of %s are names, whose numbers in the training of %s are not "
                   "known; give them as numbers from 0 to %d",
                   d->file, m->path, n - 1);
        PF_TRY(check_labels(m, d, d->labels));
        return PF_OK;
    }
    if (pf_dataset_about(d->set)->classes) PF_TRY(pf_dataset_classes(d->set, &n));
    PF_REQUIRE(n == m->net->space.classes, PF_EARG,
               "the labels of %s are of %d classes, those that %s was trained with of %d",
               d->file, n, m->path, m->net->space.classes);
    int32_t *label = pf_zalloc((size_t)d->n * sizeof *label);
    PF_REQUIRE(label, PF_EMEM, "no memory for %lld labels", (long long)d->n);
    pf_status st = pf_dataset_labels(d->set, 0, d->n, label);
    if (!st) st = check_labels(m, d, label);
    pf_free(label);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_scoring_brings(const pf_scorer *m, const pf_scored *d)
{
    int label = pf_net_reads(m->net, "label"), condition = pf_net_reads(m->net, "condition");
    int C = d->set || d->conditions ? d->space.conditions : 0, want = m->net->space.conditions;
    PF_REQUIRE(
        !label || (d->set ? d->has_labels : d->labels != NULL), PF_EARG,
        "%s reads the label of each row, and %s has none; --unconditional scores without",
        m->path, d->file);
    PF_REQUIRE(!condition || C, PF_EARG,
               "%s reads %d condition%s of each row, and %s has none; --unconditional scores "
               "without",
               m->path, want, want == 1 ? "" : "s", d->file);
    PF_REQUIRE(!condition || C == want, PF_EARG,
               "%s reads %d condition%s of each row, and %s has %d", m->path, want,
               want == 1 ? "" : "s", d->file, C);
    if (label) PF_TRY(check_classes(m, d));
    return PF_OK;
}

double pf_scored_k(const struct pf_scored_chain *c, double bpd)
{
    return c->unit / M_LN2 - bpd * c->dim;
}

double pf_scored_k_null(const struct pf_scored_chain *c)
{
    return -c->null / M_LN2;
}
