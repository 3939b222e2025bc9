/* What all ranks must have alike, compared piece by piece with what rank 0 has.
 *
 * A launcher may start another command on each rank, and a path may lead to another file on each
 * host.  Such a job would wait for itself or mix two results, so it ends with what differs. */
#include <probflow/memory.h>
#include <probflow/run.h>
#include <probflow/sha256.h>

#include <string.h>

static const char *nth(const char *text, size_t n, int i)
{
    const char *end = text + n;
    for (; text < end; text += strlen(text) + 1)
        if (i-- == 0) return text;
    return NULL;
}

static PF_MUST_USE pf_status differ(int rank, const char *verb, const char *mine,
                                    const char *first)
{
    const char *none = "nothing in its place", *in = mine ? "\"" : "", *of = first ? "\"" : "";
    PF_FAIL(PF_EARG, "rank %d %s %s%.300s%s and rank 0 %s%.300s%s; all ranks need the same",
            rank, verb, in, mine ? mine : none, in, of, first ? first : none, of);
}

static PF_MUST_USE pf_status compare(int rank, const char *verb, const pf_text *mine,
                                     const pf_text *first)
{
    for (int i = 0;; i++) {
        const char *a = nth(mine->s, mine->n, i), *b = nth(first->s, first->n, i);
        if (!a && !b) return PF_OK;
        if (!a || !b || strcmp(a, b)) return differ(rank, verb, a, b);
    }
}

pf_status pf_ranks_same_pieces(pf_comm *c, const char *verb, pf_text *pieces, pf_status made)
{
    pf_text first = {0};
    pf_status st = pf_comm_agree(c, made);
    if (!st) st = pf_comm_first(c, pieces->s, pieces->n, &first.s, &first.n);
    if (!st) st = pf_comm_agree(c, compare(pf_comm_rank(c), verb, pieces, &first));
    pf_free(first.s);
    pf_free(pieces->s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* "section.key: value" of each line of a canonical configuration. */
static PF_MUST_USE pf_status add_configuration(pf_text *t, const char *text)
{
    const char *section = "";
    int length = 0;
    for (size_t n; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        if (text[0] != ' ') length = 0;
        if (text[0] != ' ' && n && text[n - 1] == ':') {
            section = text;
            length = (int)n - 1;
            continue;
        }
        int indent = (int)strspn(text, " ");
        PF_TRY(pf_text_add(t, "%.*s%s%.*s", length, section, length ? "." : "", (int)n - indent,
                           text + indent));
        PF_TRY(pf_text_add(t, "%c", 0));
    }
    return PF_OK;
}

pf_status pf_ranks_same_experiment(pf_comm *c, const pf_experiment *e)
{
    if (pf_comm_size(c) == 1) return PF_OK;
    pf_text p = {0};
    pf_text text = {0};
    pf_status st = pf_experiment_text(e, &text);
    if (!st) st = add_configuration(&p, text.s);
    pf_free(text.s);
    PF_TRY(pf_ranks_same_pieces(c, "has the configuration", &p, st));
    return PF_OK;
}

pf_status pf_ranks_same_text(pf_comm *c, const char *verb, const char *text)
{
    pf_text p = {0};
    pf_status st = pf_text_add(&p, "%s", text);
    if (!st) st = pf_text_add(&p, "%c", 0);
    PF_TRY(pf_ranks_same_pieces(c, verb, &p, st));
    return PF_OK;
}

pf_status pf_ranks_same_model(pf_comm *c, const pf_loaded *l)
{
    char sum[PF_SHA256_HEX], text[sizeof l->path + 128];
    pf_sha256 s;
    if (pf_comm_size(c) == 1) return PF_OK;
    pf_sha256_init(&s);
    pf_sha256_add(&s, l->params, l->net->floats * sizeof *l->params);
    pf_sha256_hex(&s, sum);
    const char *name = strrchr(l->path, '/');
    snprintf(text, sizeof text, "%s with parameters of SHA-256 %s", name ? name + 1 : l->path,
             sum);
    PF_TRY(pf_ranks_same_text(c, "reads", text));
    PF_TRY(pf_ranks_same_experiment(c, &l->e));
    return PF_OK;
}

pf_status pf_data_agree(pf_comm *c, const char *path, const char *split, const char hex[65])
{
    char *first = NULL;
    size_t n = 0;
    PF_TRY(pf_comm_first(c, hex, 65, &first, &n));
    pf_status st = PF_OK;
    if (strcmp(hex, first))
        st = pf_raise(PF_EARG, PF_WHERE,
                      "the %s split of %s is not the same on all ranks: rank %d reads other "
                      "data than rank 0; give every host the same file",
                      split, path, pf_comm_rank(c));
    pf_free(first);
    PF_TRY(pf_comm_agree(c, st));
    return PF_OK;
}
