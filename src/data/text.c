/* Text as rows of tokens.  A file is cut 90/5/5 into train, valid and test by its symbols, as text8 is, or by its
 * lines, unless its split is said; its last row, and with lines each last row of a line, may be shorter. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include "data/format.h"
#include "data/symbols.h"
#include <string.h>

enum { LENGTH = 256 };

/* Of a text: a line, or all of a split. */
typedef struct piece {
    size_t at, n; /* symbols */
    int split;
} piece;

typedef struct text {
    unsigned char *b; /* the file, owned */
    size_t n;
    pf_rule rule;
    pf_symbols s;
    piece *pieces; /* owned */
    size_t n_pieces, empty;
    int length, drop;
} text;

static int knows(const pf_source *s)
{
    const pf_convert_opt *o = s->opt;
    int asked = o->text || o->length || o->lines || o->drop;
    return s->file && (asked || pf_source_ends(s, ".txt") || !strcmp(s->name, "text8") ||
                       !strcmp(s->name, "enwik8"));
}

/* ---- the pieces of a file ---- */

static PF_MUST_USE pf_status take_lines(text *x, const char *path)
{
    size_t most = 1;
    for (size_t i = 0; i < x->n; i++) most += x->b[i] == '\n';
    x->pieces = pf_zalloc(most * sizeof *x->pieces);
    PF_REQUIRE(x->pieces, PF_EMEM, "no memory for the lines of %s", path);
    for (size_t i = 0; i < x->n;) {
        const unsigned char *line = x->b + i, *end = memchr(line, '\n', x->n - i);
        size_t n = end ? (size_t)(end - line) : x->n - i, before = x->s.n;
        int returns = end && n && line[n - 1] == '\r';
        PF_TRY(pf_rule_apply(&x->rule, path, i, line, n - (size_t)returns, &x->s));
        i += n + 1;
        if (x->s.n > before) x->pieces[x->n_pieces++] = (piece){before, x->s.n - before, 0};
        else x->empty++;
    }
    if (x->empty) pf_log("data: %zu empty lines of %s are no rows", x->empty, path);
    PF_REQUIRE(x->n_pieces, PF_EFORMAT, "%s has no line that holds a symbol", path);
    return PF_OK;
}

static PF_MUST_USE pf_status take_whole(text *x, const char *path)
{
    PF_TRY(pf_rule_apply(&x->rule, path, 0, x->b, x->n, &x->s));
    x->pieces = pf_zalloc(PF_SPLITS * sizeof *x->pieces);
    PF_REQUIRE(x->pieces, PF_EMEM, "no memory for the splits of %s", path);
    x->pieces[0] = (piece){0, x->s.n, 0};
    x->n_pieces = 1;
    return PF_OK;
}

/* The first 90 % are of train, the next 5 % of valid. */
static PF_MUST_USE pf_status cut(text *x, const pf_source *s, pf_table *t)
{
    int lines = s->opt->lines;
    size_t n = lines ? x->n_pieces : x->s.n, train = n / 20 * 18, valid = n / 20;
    for (int k = 0; k < PF_SPLITS; k++)
        PF_REQUIRE(!t->split[k].n, PF_EFORMAT,
                   "%s would be cut into train, valid and test, as a text is that is the only "
                   "source; say --split NAME=%s",
                   s->path, s->path);
    PF_REQUIRE(n >= 20, PF_EFORMAT,
               "%s has %zu %s, too few to be cut into train, valid and test; --split NAME=%s "
               "says which it is of",
               s->path, n, lines ? "lines" : "symbols", s->path);
    t->cut = s->path;
    for (size_t i = 0; lines && i < n; i++)
        x->pieces[i].split = i < train ? PF_TRAIN : i < train + valid ? PF_VALID : PF_TEST;
    if (lines) return PF_OK;
    x->pieces[0] = (piece){0, train, PF_TRAIN};
    x->pieces[1] = (piece){train, valid, PF_VALID};
    x->pieces[2] = (piece){train + valid, n - train - valid, PF_TEST};
    x->n_pieces = 3;
    return PF_OK;
}

static PF_MUST_USE pf_status choose_splits(text *x, pf_source *s, pf_table *t)
{
    int split = PF_TRAIN, unsaid = 0;
    PF_TRY(pf_source_split(s, &split, &unsaid));
    PF_REQUIRE(!t->cut, PF_EFORMAT,
               "%s is one text more, but %s was cut into train, valid and test; say --split "
               "NAME=SOURCE of each",
               s->path, t->cut);
    for (size_t i = 0; i < x->n_pieces; i++) x->pieces[i].split = split;
    if (!unsaid || s->for_points) return PF_OK;
    s->how = s->opt->lines ? "its lines cut 90/5/5" : "cut 90/5/5";
    PF_TRY(cut(x, s, t));
    return PF_OK;
}

/* ---- rows ---- */

static int64_t rows_of(const text *x, const piece *p)
{
    size_t L = (size_t)x->length;
    return (int64_t)((p->n + (x->drop ? 0 : L - 1)) / L);
}

static void fill_rows(const text *x, const piece *p, unsigned char **to, int32_t **length)
{
    size_t L = (size_t)x->length, bytes = x->s.bytes;
    for (int64_t i = 0; i < rows_of(x, p); i++, *to += L * bytes) {
        size_t at = (size_t)i * L, n = p->n - at < L ? p->n - at : L;
        memset(*to, 0, L * bytes);
        memcpy(*to, x->s.v + (p->at + at) * bytes, n * bytes);
        *(*length)++ = (int32_t)n;
    }
}

static PF_MUST_USE pf_status add_split(const text *x, const char *path, int split, pf_table *t)
{
    const pf_space space = {
        .kind = PF_TOKENS, .shape = {1, 1, x->length}, .levels = x->rule.v.n};
    int64_t rows = 0, left = 0;
    unsigned char *to = NULL;
    int32_t *length = NULL;
    for (size_t i = 0; i < x->n_pieces; i++) {
        if (x->pieces[i].split != split) continue;
        rows += rows_of(x, &x->pieces[i]);
        if (x->drop) left += (int64_t)(x->pieces[i].n % (size_t)x->length);
    }
    if (left)
        pf_log(
            "data: the last %lld symbols of a split of %s fill no row of %d and are left out",
            (long long)left, path, x->length);
    if (!rows) return PF_OK;
    PF_TRY(pf_table_rows(t, path, split, rows, space, &to));
    PF_TRY(pf_table_lengths(t, path, split, rows, &length));
    for (size_t i = 0; i < x->n_pieces; i++)
        if (x->pieces[i].split == split) fill_rows(x, &x->pieces[i], &to, &length);
    return PF_OK;
}

static PF_MUST_USE pf_status name_symbols(const text *x, const char *path, pf_table *t)
{
    char *words = NULL;
    PF_TRY(pf_vocabulary_text(&x->rule.v, &words));
    int same = !t->vocabulary || !strcmp(t->vocabulary, words);
    pf_free(t->vocabulary);
    t->vocabulary = words;
    t->as_is = x->rule.kind == PF_RULE_AS_IS;
    PF_REQUIRE(same, PF_EFORMAT, "%s is of another vocabulary than the text before it", path);
    return PF_OK;
}

static PF_MUST_USE pf_status read_into(text *x, pf_source *s, pf_table *t)
{
    const pf_convert_opt *o = s->opt;
    x->length = o->length > 0 ? o->length : LENGTH;
    x->drop = o->drop;
    PF_REQUIRE(!x->drop || !o->lines, PF_EARG,
               "lines are rows of their own, of which none has a remainder to drop");
    PF_TRY(pf_rule_open(o->text, &x->rule));
    PF_TRY(pf_input_whole(s->file, s->path, &x->b, &x->n));
    PF_TRY(o->lines ? take_lines(x, s->path) : take_whole(x, s->path));
    PF_TRY(choose_splits(x, s, t));
    PF_TRY(name_symbols(x, s->path, t));
    for (int k = 0; k < PF_SPLITS; k++) PF_TRY(add_split(x, s->path, k, t));
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    text x = {0};
    pf_status st = read_into(&x, s, t);
    pf_rule_free(&x.rule);
    pf_free(x.b);
    pf_free(x.s.v);
    pf_free(x.pieces);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- the alphabet of texts as they are ---- */

/* Calls for each byte of each row: note that it occurs, or give it its rank. */
static void pass_over(pf_table *t, int *rank, int rename)
{
    size_t L = pf_shape_entries(t->space.shape);
    for (int k = 0; k < PF_SPLITS; k++) {
        pf_rows *r = &t->split[k];
        for (int64_t i = 0; i < r->n_lengths; i++)
            for (unsigned char *p = r->values + (size_t)i * L, *end = p + r->lengths[i];
                 p < end; p++)
                if (rename) *p = (unsigned char)rank[*p];
                else rank[*p] = 1;
    }
}

pf_status pf_text_settle(pf_table *t)
{
    int rank[256] = {0}, levels = 0;
    if (!t->as_is) return PF_OK;
    pass_over(t, rank, 0);
    for (int v = 0; v < 256; v++) {
        if (!rank[v]) continue;
        snprintf(t->vocabulary + 2 * levels, 3, "%02x", v);
        rank[v] = levels++;
    }
    const char *last = "no row is filled, the remainder being dropped: the text";
    for (int k = 0; k < PF_SPLITS; k++)
        if (t->split[k].n) last = t->split[k].of_rows;
    PF_REQUIRE(levels > 1, PF_EFORMAT, "%s is %s", last,
               levels ? "one byte over and over" : "shorter than a row");
    pass_over(t, rank, 1);
    t->space.levels = levels;
    return PF_OK;
}

const pf_format pf_format_text = {"text", knows, read};
