/* Tables of numbers: a point a row, a value a column.  Files .csv and .tsv, and .txt and .dat that begin
 * with numbers.
 *
 *     separator  tab, semicolon, comma or blanks, by the first lines; in .txt and .dat tabs are blanks
 *     names      a first row with a field that is no number, else the last comment (#) before the rows
 *                when it has as many words
 *     classes    the column called label, labels, class or target; or y, when no column is called x.
 *                Whole numbers from 0 are labels, others and words are names of classes; a column of
 *                fractions is a value, unless it was asked for
 *     left out   a first column without a name between named ones, which is an index
 *
 * What was taken for what is part of the source's line in the log.  Missing values, rows of another
 * length and empty lines between rows (but for blanks as separator) are refused, as are names in another
 * order than in a table before.  The source is passed over twice: rows are counted before room is made
 * for them. */
#include <locale.h>
#include <math.h>
#include <probflow/memory.h>
#include "data/csv.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { VALUE = -1, LABEL = -2, INDEX = -3 }; /* roles of a column; from 0: a condition */
enum { CACHE = 1024 };

typedef struct reader {
    pf_source *s;
    pf_lines l;
    int64_t line, row, rows,
        gap;                  /* line and row: the current one; gap: an empty line behind it */
    char separator, *comment; /* the last before the rows, owned */
    int columns, has_head, *role; /* [columns], owned */
    char **field;                 /* [columns] of the current row; the list owned */
    char *head, **name;           /* [columns]; names, or "" each; owned line and list */
    int label, values, conditions;
    int64_t fractional, named; /* the first rows of such labels; 0: none */
    int by_number;
    int32_t known[CACHE]; /* 1 + label for now of a name of this hash */
} reader;

/* ---- sentences ---- */

static const char *place(const reader *r, int column, char to[160])
{
    char word[64];
    const char *name = r->name ? pf_field_shown(r->name[column], word) : "";
    snprintf(to, 160, "row %lld (line %lld), column %d%s%s%s", (long long)r->row,
             (long long)r->line, column + 1, *name ? " (" : "", name, *name ? ")" : "");
    return to;
}

static PF_MUST_USE pf_status refuse(const reader *r, int column, pf_field is)
{
    char at[160], word[64];
    const char *path = r->s->path;
    place(r, column, at);
    pf_field_shown(r->field[column], word);
    switch (is) {
    case PF_FIELD_MISSING:
        PF_FAIL(PF_EFORMAT, "%s: %s: the value is missing", path, at);
    case PF_FIELD_INFINITE:
        PF_FAIL(PF_EFORMAT, "%s: %s: the value is infinite", path, at);
    case PF_FIELD_TOO_LARGE:
        PF_FAIL(PF_EFORMAT, "%s: %s: '%s' is beyond the range of a double", path, at, word);
    case PF_FIELD_COMMA:
        PF_FAIL(PF_EFORMAT, "%s: %s: '%s' has a decimal comma, a decimal point is read", path,
                at, word);
    default:
        break;
    }
    PF_REQUIRE(r->label < 0 && r->role[column] == VALUE, PF_EFORMAT,
               "%s: %s: '%s' is no number", path, at, word);
    PF_FAIL(PF_EFORMAT,
            "%s: %s: '%s' is no number (a column of classes is named by --label %d)", path, at,
            word, column + 1);
}

/* ---- rows ---- */

static int is_empty(const char *text)
{
    return !text[strspn(text, " \t")];
}

/* The next line that is neither empty nor, before the first row, a comment; NULL at the end. */
static PF_MUST_USE pf_status next_line(reader *r, char **text)
{
    for (;;) {
        PF_TRY(pf_lines_next(&r->l));
        char *t = *text = r->l.text;
        if (!t) return PF_OK;
        if (is_empty(t)) {
            if (!r->gap) r->gap = r->l.number;
        } else if (!r->line && t[strspn(t, " \t")] == '#') {
            if (r->columns) continue; /* the second pass: the last one may hold the names */
            pf_free(r->comment);
            r->comment = pf_strdup(t + strspn(t, " \t#"));
            PF_REQUIRE(r->comment, PF_EMEM, "no memory to read %s", r->s->path);
        } else break;
    }
    PF_REQUIRE(!r->line || !r->gap || r->separator == ' ' || !r->separator, PF_EFORMAT,
               "%s: line %lld is empty, but rows follow", r->s->path, (long long)r->gap);
    r->gap = 0;
    r->line = r->l.number;
    return PF_OK;
}

/* Cuts a row into its fields. */
static PF_MUST_USE pf_status cut(reader *r, char *text)
{
    int64_t n = pf_fields_cut(text, r->separator, r->field, r->columns);
    PF_REQUIRE(n >= 0, PF_EFORMAT,
               "%s: line %lld holds a quote that does not end at the end of its field",
               r->s->path, (long long)r->line);
    PF_REQUIRE(n == r->columns, PF_EFORMAT, "%s: row %lld (line %lld) has %lld field%s, %s %d",
               r->s->path, (long long)r->row, (long long)r->line, (long long)n,
               n == 1 ? "" : "s", r->row == 1 ? "the names are" : "the rows before it have",
               r->columns);
    return PF_OK;
}

/* ---- roles ---- */

static int is_number_like(const char *text)
{
    double v;
    return pf_field_number(text, &v) != PF_FIELD_OTHER;
}

static int is_label_word(const char *name)
{
    static const char *const words[] = {"label", "labels", "class", "target", "y"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(name, words[i])) return 1;
    return 0;
}

/* A column by its number from 1; -1: it is none. */
static int column_of_number(const reader *r, const char *text)
{
    size_t n = strspn(text, "0123456789");
    long v = n && n < 9 && !text[n] ? strtol(text, NULL, 10) : 0;
    return v >= 1 && v <= r->columns ? (int)v - 1 : -1;
}

/* Are the first fields names?  The column of labels that is chosen by number may hold words. */
static int is_head(const reader *r)
{
    const char *chosen = r->s->opt->label;
    int label = chosen ? column_of_number(r, chosen) : -1;
    if (label >= 0 && is_label_word(r->field[label])) return 1;
    for (int i = 0; i < r->columns; i++)
        if (i != label && !is_number_like(r->field[i])) return 1;
    return 0;
}

static PF_MUST_USE pf_status find_column(const reader *r, const char *flag, const char *text,
                                         int *column)
{
    int found = -1;
    for (int i = 0; i < r->columns; i++) {
        if (!r->name[i][0] || strcmp(r->name[i], text)) continue;
        PF_REQUIRE(found < 0, PF_EFORMAT, "%s: %s %s: columns %d and %d are both called so",
                   r->s->path, flag, text, found + 1, i + 1);
        found = i;
    }
    *column = found >= 0 ? found : column_of_number(r, text);
    PF_REQUIRE(*column >= 0, PF_EFORMAT,
               "%s: %s %s: no column is called so, and it is no number from 1 to %d",
               r->s->path, flag, text, r->columns);
    return PF_OK;
}

static int find_label(const reader *r)
{
    int found = -1, has_x = 0;
    for (int i = 0; i < r->columns; i++) has_x |= !strcasecmp(r->name[i], "x");
    for (int i = 0; i < r->columns; i++) {
        int is_y = !strcasecmp(r->name[i], "y");
        if (r->role[i] != VALUE || !is_label_word(r->name[i]) ||
            (is_y && (has_x || found >= 0)))
            continue;
        if (found >= 0 && strcasecmp(r->name[found], "y")) return -2 - i;
        found = i;
    }
    return found;
}

static PF_MUST_USE pf_status give_roles(reader *r)
{
    const pf_convert_opt *o = r->s->opt;
    int column;
    for (int i = 0; i < r->columns; i++) r->role[i] = VALUE;
    if (r->has_head && r->columns > 1 && !r->name[0][0]) r->role[0] = INDEX;
    for (int k = 0; o->condition && o->condition[k]; k++) {
        PF_TRY(find_column(r, "--condition", o->condition[k], &column));
        PF_REQUIRE(r->role[column] < 0, PF_EFORMAT, "%s: column %d is a condition twice",
                   r->s->path, column + 1);
        r->role[column] = r->conditions++;
    }
    if (o->label && strcmp(o->label, "none")) {
        PF_TRY(find_column(r, "--label", o->label, &r->label));
        PF_REQUIRE(r->role[r->label] < 0, PF_EFORMAT,
                   "%s: column %d is both the label and a condition", r->s->path, r->label + 1);
    } else if (!o->label) {
        r->label = find_label(r);
        PF_REQUIRE(
            r->label > -2, PF_EFORMAT,
            "%s: more than one column is called as labels are (column %d is the second): "
            "say which by --label",
            r->s->path, -r->label - 1);
    }
    if (r->label >= 0) r->role[r->label] = LABEL;
    return PF_OK;
}

/* ---- the first pass: what the columns are, how many rows there are ---- */

static PF_MUST_USE pf_status make_lists(reader *r, const char *first)
{
    size_t n;
    r->head = pf_strdup(first);
    PF_REQUIRE(r->head, PF_EMEM, "no memory to read %s", r->s->path);
    int64_t columns = pf_fields_cut(r->head, r->separator, NULL, 0);
    PF_REQUIRE(columns > 0, PF_EFORMAT,
               "%s: line %lld holds a quote that does not end at the end of its field",
               r->s->path, (long long)r->line);
    PF_REQUIRE(columns < 1 << 20, PF_EFORMAT, "%s has %lld columns, more than are read",
               r->s->path, (long long)columns);
    r->columns = (int)columns;
    n = (size_t)columns;
    r->role = pf_zalloc(n * sizeof *r->role);
    r->field = pf_zalloc(n * sizeof *r->field);
    r->name = pf_zalloc(n * sizeof *r->name);
    PF_REQUIRE(r->role && r->field && r->name, PF_EMEM, "no memory to read %s", r->s->path);
    return PF_OK;
}

/* Names of the columns from the first line, a copy of which is cut, or from the comment before it. */
static void take_names(reader *r, const char *first)
{
    static char none[] = "";
    strcpy(r->head, first);
    (void)pf_fields_cut(r->head, r->separator, r->field, r->columns);
    r->has_head = is_head(r);
    if (r->has_head) memcpy(r->name, r->field, (size_t)r->columns * sizeof *r->name);
    if (r->has_head || (r->comment && pf_fields_cut(r->comment, r->separator, r->name,
                                                    r->columns) == r->columns))
        return;
    for (int i = 0; i < r->columns; i++) r->name[i] = none;
}

/* One row of the first pass: its length, and what its label is. */
static PF_MUST_USE pf_status survey_row(reader *r, char *text)
{
    double v;
    r->row = ++r->rows;
    PF_TRY(cut(r, text));
    if (r->label < 0) return PF_OK;
    pf_field is = pf_field_number(r->field[r->label], &v);
    if (is == PF_FIELD_MISSING) PF_TRY(refuse(r, r->label, is));
    if (is != PF_FIELD_NUMBER) {
        if (!r->named) r->named = r->row;
    } else if (v != floor(v)) {
        if (!r->fractional) r->fractional = r->row;
    }
    if (is != PF_FIELD_NUMBER || v < 0 || v > INT32_MAX || v != floor(v)) r->by_number = 0;
    return PF_OK;
}

static PF_MUST_USE pf_status settle_label(reader *r)
{
    if (r->label < 0 || !r->fractional) return PF_OK;
    PF_REQUIRE(
        !r->named, PF_EFORMAT,
        "%s: column %d (%s) holds a number with a fraction in row %lld, but no number in "
        "row %lld",
        r->s->path, r->label + 1, r->name[r->label], (long long)r->fractional,
        (long long)r->named);
    PF_REQUIRE(
        !r->s->opt->label, PF_EFORMAT,
        "%s: column %d (%s) holds a number with a fraction in row %lld, so it is no label",
        r->s->path, r->label + 1, r->name[r->label], (long long)r->fractional);
    r->role[r->label] = VALUE;
    r->label = -1;
    return PF_OK;
}

static PF_MUST_USE pf_status begin(reader *r, const char *first, const char *second,
                                   int64_t line)
{
    int loose = !pf_source_ends(r->s, ".csv") && !pf_source_ends(r->s, ".tsv");
    int64_t ahead = r->line;
    r->line = line;
    r->separator = pf_fields_separator(first, second, loose);
    PF_TRY(make_lists(r, first));
    take_names(r, first);
    PF_TRY(give_roles(r));
    char *copy = r->has_head ? NULL : pf_strdup(first);
    PF_REQUIRE(copy || r->has_head, PF_EMEM, "no memory to read %s", r->s->path);
    pf_status st = copy ? survey_row(r, copy) : PF_OK;
    pf_free(copy);
    r->line = ahead;
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status survey(reader *r)
{
    char *text = NULL;
    PF_TRY(next_line(r, &text));
    PF_REQUIRE(text, PF_EFORMAT, "%s holds no rows", r->s->path);
    int64_t line = r->line;
    char *first = pf_strdup(text);
    PF_REQUIRE(first, PF_EMEM, "no memory to read %s", r->s->path);
    pf_status st = next_line(r, &text);
    if (!st) st = begin(r, first, text, line);
    pf_free(first);
    if (st) return pf_trail(st, PF_WHERE);
    while (text) {
        PF_TRY(survey_row(r, text));
        PF_TRY(next_line(r, &text));
    }
    PF_REQUIRE(r->rows > 0, PF_EFORMAT, "%s holds names of columns, but no rows", r->s->path);
    PF_TRY(settle_label(r));
    for (int i = 0; i < r->columns; i++) r->values += r->role[i] == VALUE;
    PF_REQUIRE(r->values > 0, PF_EFORMAT,
               "%s has no column of values: all are labels, conditions "
               "or an index",
               r->s->path);
    return PF_OK;
}

/* ---- the second pass ---- */

/* Where two tables have names of columns, they are the same in the same order. */
static PF_MUST_USE pf_status check_names(const reader *r, pf_table *t)
{
    uint64_t h = 0;
    for (int i = 0; i < r->columns; i++) {
        if (r->role[i] == INDEX || r->role[i] == LABEL) continue;
        if (!r->name[i][0]) return PF_OK;
        h = pf_field_hash(h, r->name[i]);
    }
    if (!t->columns) t->columns = h;
    PF_REQUIRE(
        t->columns == h, PF_EFORMAT,
        "%s: its columns have other names, or another order, than those of a table before it",
        r->s->path);
    return PF_OK;
}

/* Names come again and again: the last of each hash is known. */
static PF_MUST_USE pf_status class_of(reader *r, pf_table *t, const char *name, int32_t *label)
{
    uint64_t hash = pf_field_hash(0, name);
    int32_t *known = &r->known[(hash ^ hash >> 32) % CACHE];
    if (!*known || strcmp(t->class_of[*known - 1], name)) {
        PF_TRY(pf_table_class(t, r->s->path, name, label));
        *known = *label + 1;
    }
    *label = *known - 1;
    return PF_OK;
}

typedef struct target {
    double *x, *conditions;
    int32_t *labels;
} target;

static PF_MUST_USE pf_status read_row(reader *r, pf_table *t, target *to)
{
    for (int i = 0; i < r->columns; i++) {
        double v = 0;
        if (r->role[i] == INDEX) continue;
        if (r->role[i] == LABEL && !r->by_number) {
            PF_TRY(class_of(r, t, r->field[i], to->labels++));
            continue;
        }
        pf_field is = pf_field_number(r->field[i], &v);
        if (is != PF_FIELD_NUMBER) PF_TRY(refuse(r, i, is));
        if (r->role[i] == LABEL) *to->labels++ = (int32_t)v;
        else if (r->role[i] == VALUE) *to->x++ = v;
        else to->conditions[r->role[i]] = v;
    }
    if (r->conditions) to->conditions += r->conditions;
    return PF_OK;
}

static PF_MUST_USE pf_status fill(reader *r, pf_table *t, target *to)
{
    char *text = NULL;
    PF_TRY(pf_input_rewind(r->s->file, NULL));
    pf_lines_restart(&r->l);
    r->line = r->gap = 0;
    if (r->has_head) PF_TRY(next_line(r, &text));
    for (r->row = 1;; r->row++) {
        PF_TRY(next_line(r, &text));
        if (!text || r->row > r->rows) break;
        PF_TRY(cut(r, text));
        PF_TRY(read_row(r, t, to));
    }
    PF_REQUIRE(!text && r->row == r->rows + 1, PF_EIO, "%s changed while it was read",
               r->s->path);
    return PF_OK;
}

/* A column by its name, or else by its number. */
static const char *called(const reader *r, int column, char word[64])
{
    if (r->name[column][0]) return pf_field_shown(r->name[column], word);
    snprintf(word, 64, "%d", column + 1);
    return word;
}

/* What was taken for what, behind what decided the split. */
static void note(reader *r)
{
    char *to = r->s->note, word[64];
    size_t room = sizeof r->s->note, at = 0;
    at += (size_t)snprintf(to, room, "%s; %d value%s a point", r->s->how, r->values,
                           r->values == 1 ? "" : "s");
    if (r->label >= 0)
        at += (size_t)snprintf(to + at, room - at, ", labels from column %s",
                               called(r, r->label, word));
    for (int i = 0, n = 0; i < r->columns && at < room - 160; i++)
        if (r->role[i] >= 0)
            at += (size_t)snprintf(to + at, room - at, "%s %s", n++ ? "," : ", conditions from",
                                   called(r, i, word));
    snprintf(to + at, room - at, "%s%s",
             r->role[0] == INDEX ? ", column 1 has no name and is left out" : "",
             r->has_head ? "" : ", no names of columns");
    r->s->how = to;
}

static PF_MUST_USE pf_status read_in(reader *r, pf_table *t)
{
    int split;
    unsigned char *values = NULL;
    target to = {0};
    PF_TRY(pf_source_split(r->s, &split, NULL));
    PF_TRY(survey(r));
    const pf_space l = {.kind = PF_REAL, .shape = {1, 1, r->values}, .levels = 0};
    PF_TRY(pf_table_rows(t, r->s->path, split, r->rows, l, &values));
    to.x = (double *)(void *)values;
    PF_TRY(check_names(r, t));
    if (r->label >= 0)
        PF_TRY(pf_table_labels(t, r->s->path, split, r->rows,
                               r->by_number ? PF_BY_NUMBER : PF_BY_NAME, &to.labels));
    if (r->conditions)
        PF_TRY(
            pf_table_conditions(t, r->s->path, split, r->rows, r->conditions, &to.conditions));
    PF_TRY(fill(r, t, &to));
    note(r);
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    reader *r = pf_zalloc(sizeof *r);
    PF_REQUIRE(r, PF_EMEM, "no memory to read %s", s->path);
    r->s = s;
    r->l.s = s;
    r->label = -1;
    r->by_number = 1;
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0), was = uselocale(plain);
    pf_status st = read_in(r, t);
    uselocale(was);
    if (plain) freelocale(plain);
    pf_lines_free(&r->l);
    pf_free(r->comment);
    pf_free(r->role);
    pf_free(r->field);
    pf_free(r->head);
    pf_free(r->name);
    pf_free(r);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- which files are tables ---- */

static int knows(const pf_source *s)
{
    if (!s->file) return 0;
    if (pf_source_ends(s, ".csv") || pf_source_ends(s, ".tsv")) return 1;
    return (pf_source_ends(s, ".txt") || pf_source_ends(s, ".dat")) && pf_fields_are_numbers(s);
}

const pf_format pf_format_csv = {"table of numbers", knows, read};
