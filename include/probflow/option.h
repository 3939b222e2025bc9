/* Option tables: one row gives the name, default, range, help, YAML parsing and the text stored
 * in every file.
 *
 *     typedef struct vp { double b0, b1; } vp;
 *     static const pf_opt opts[] = {
 *         PF_OPT(vp, b0, PF_F64, 0.1, 0.0, 1e3, "noise rate b(0), 1/time"),
 *         { 0 }
 *     };
 *
 * Field types: PF_INT int, PF_I64 int64_t, PF_F64 double, PF_BOOL int, PF_ENUM int (index into
 * words; a word that is a truth value may be written as any of its kind, yes as true), PF_STR
 * char[PF_STR_MAX], PF_INTS pf_ints, PF_SET int (bit i: word i of words; read as a word or a list of them).
 * The words of a PF_SET may be followed, after their NULL, by pairs of another word and the list it stands
 * for, "both", "a,b", and one more NULL; a set that has such a word is written as it.  A table ends with a
 * zeroed row.  A row PF_NEST stands for the rows of another table, whose struct is a member of this one;
 * pf_opt_first and pf_opt_next go through both.  Its own name is in no file and no key. */
#ifndef PROBFLOW_OPTION_H
#define PROBFLOW_OPTION_H

#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

enum { PF_STR_MAX = 512, PF_INTS_MAX = 12 };

typedef enum pf_opt_kind {
    PF_OPT_END = 0,
    PF_INT,
    PF_I64,
    PF_F64,
    PF_BOOL,
    PF_ENUM,
    PF_STR,
    PF_INTS,
    PF_NEST,
    PF_SET
} pf_opt_kind;

typedef struct pf_ints {
    int n, v[PF_INTS_MAX];
} pf_ints;

typedef struct pf_opt {
    const char *name;
    pf_opt_kind kind;
    size_t offset;
    /* numbers; for PF_ENUM def is the default's index; PF_INTS: lo, hi bound each entry */
    double def, lo, hi;
    const char *text;         /* default of PF_STR and PF_INTS */
    const char *const *words; /* PF_ENUM, PF_SET: NULL-terminated */
    const char *help;
    /* 1: pf_config_write leaves the key out while it is at its default.  For keys that are younger than
     * files whose stored text must stay what it was. */
    int quiet;
    const struct pf_opt *rows; /* PF_NEST */
    /* A row of PF_ENUM that had another name, and the words that its first values had there
     * (NULL-terminated): they are written as they were, and both names are read.  NULL: none. */
    const char *before;
    const char *const *before_words;
} pf_opt;

/* clang-format off */
#define PF_OPT(type, field, kind, def, lo, hi, help) \
    { #field, kind, offsetof(type, field), def, lo, hi, NULL, NULL, help }
#define PF_OPT_ENUM(type, field, def, words, help) \
    { #field, PF_ENUM, offsetof(type, field), def, 0, 0, NULL, words, help }
#define PF_OPT_STR(type, field, def, help) \
    { #field, PF_STR, offsetof(type, field), 0, 0, 0, def, NULL, help }
#define PF_OPT_INTS(type, field, def, lo, hi, help) \
    { #field, PF_INTS, offsetof(type, field), 0, lo, hi, def, NULL, help }
#define PF_OPT_SET(type, field, def, words, help) \
    { #field, PF_SET, offsetof(type, field), def, 0, 0, NULL, words, help }
/* The same with .quiet = 1. */
#define PF_OPT_QUIET(type, field, kind, def, lo, hi, help) \
    { #field, kind, offsetof(type, field), def, lo, hi, NULL, NULL, help, 1 }
#define PF_OPT_ENUM_QUIET(type, field, def, words, help) \
    { #field, PF_ENUM, offsetof(type, field), def, 0, 0, NULL, words, help, 1 }
#define PF_OPT_STR_QUIET(type, field, def, help) \
    { #field, PF_STR, offsetof(type, field), 0, 0, 0, def, NULL, help, 1 }
/* The rows of a table for the type of a member. */
#define PF_OPT_NEST(type, field, table) \
    { .name = #field, .kind = PF_NEST, .offset = offsetof(type, field), .rows = table }
/* A choice that was `before` with `before_words`. */
#define PF_OPT_ENUM_RENAMED(type, field, def_, words_, before_, before_words_, help_) \
    { .name = #field, .kind = PF_ENUM, .offset = offsetof(type, field), .def = def_, .words = words_, \
      .help = help_, .before = before_, .before_words = before_words_ }
/* clang-format on */

/* The rows of a table one by one, those of nested tables in their place:
 *     for (const pf_opt *o = pf_opt_first(opts, &w); o; o = pf_opt_next(&w))
 * Their offsets count from the begin of the table's own struct.  opts may be NULL.  Borrowed, until the
 * next call. */
enum { PF_NEST_MAX = 4 };
typedef struct pf_opt_walk {
    pf_opt row;
    int depth;
    const pf_opt *at[PF_NEST_MAX]; /* what comes next in each table on the way here */
    size_t base[PF_NEST_MAX];
} pf_opt_walk;
const pf_opt *pf_opt_first(const pf_opt *opts, pf_opt_walk *w);
const pf_opt *pf_opt_next(pf_opt_walk *w);

/* Fills every field with its default. */
void pf_opt_defaults(const pf_opt *opts, void *obj);

/* Sets one field from text.  Fails PF_EARG naming the option, the text and the allowed range or
 * words; an unknown name names the nearest one.  `section` (may be NULL) prefixes names. */
PF_MUST_USE pf_status pf_opt_set(const pf_opt *opts, const char *section, const char *name,
                                 const char *text, void *obj);

/* 1 when the field holds its default. */
int pf_opt_is_default(const pf_opt *o, const void *obj);

/* Row by name, or by the one it had before, its offset as above; its name is NULL when there is none. */
pf_opt pf_opt_find(const pf_opt *opts, const char *name);

/* The row as the value of its field is written: o itself, or under the name it had before. */
pf_opt pf_opt_written(const pf_opt *o, const void *obj);

/* Text of one field that pf_opt_set reads back to the same bits (doubles: shortest exact). */
void pf_opt_text(const pf_opt *o, const void *obj, char *buf, size_t n);

/* The next character of a string, which moves behind it; 0 at the end; -1, and *s stays, where the
 * bytes are no UTF-8: cut off, longer than they need be, half of a UTF-16 pair, above U+10FFFF. */
int32_t pf_utf8_next(const char **s);
/* 1 when all of s is UTF-8, which a field of PF_STR must be: YAML and HDF5 hold nothing else. */
int pf_is_utf8(const char *s);

/* Nearest of the NULL-terminated names to `name` by edit distance; NULL when none is close. */
const char *pf_nearest(const char *name, const char *const *names);

/* Fails PF_EARG: unknown WHAT 'name', and the nearest of `names` when one is close. */
PF_MUST_USE pf_status pf_unknown(const char *what, const char *name, const char *const *names);

/* Row by name of a table of plugins, a NULL-terminated array of pointers to structs whose first member is
 * their name; what: "model", of the sentence.  Fails as pf_unknown.  Test  a_plugin_is_found_by_its_name */
PF_MUST_USE pf_status pf_row_find(const void *table, const char *what, const char *name,
                                  const void **row);

/* Prints the table: name, default, range, help. */
void pf_opt_help(const pf_opt *opts, const char *section, FILE *f);

#endif
