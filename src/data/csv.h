/* Lines and fields of a table of numbers; see csv.c.  Everything here is Local. */
#ifndef PROBFLOW_SRC_DATA_CSV_H
#define PROBFLOW_SRC_DATA_CSV_H

#include "data/format.h"

/* The lines of a source, one at a time; zeroed but for s at its beginning. */
typedef struct pf_lines {
    const pf_source *s; /* borrowed */
    char *b;            /* [cap], owned */
    size_t cap, at, n;  /* b[at..n) is read and not used */
    int end;
    int64_t number; /* of the current line, from 1 */
    char *text; /* the current line without its end, borrowed; NULL: there is none any more */
} pf_lines;

/* The next line; a byte order mark is passed over.  Fails as pf_input_read; PF_EFORMAT for what is no
 * text (a zero byte, UTF-16) and for a line of more than 16 MiB. */
PF_MUST_USE pf_status pf_lines_next(pf_lines *l);
/* Back to the first line; its source is at its beginning. */
void pf_lines_restart(pf_lines *l);
void pf_lines_free(pf_lines *l);

/* Cuts a line in place into the fields between separators (' ': between blanks), blanks around them and
 * quotes taken away.  Their number; the first `most` are put into field.  -1: a quote that does not
 * end in its line, or something behind it. */
int64_t pf_fields_cut(char *text, char separator, char **field, int64_t most);
/* The separator of a table of which these are the first lines (second: NULL when there is none): tab,
 * semicolon, comma, or blanks where both lines have some.  loose: tabs are blanks. */
char pf_fields_separator(const char *first, const char *second, int loose);

/* At most 40 bytes of a field, for a sentence. */
const char *pf_field_shown(const char *text, char to[64]);
/* FNV-1a of a text behind others, before: theirs, or 0. */
uint64_t pf_field_hash(uint64_t before, const char *text);

/* What a field is. */
typedef enum pf_field {
    PF_FIELD_NUMBER,
    PF_FIELD_TOO_LARGE, /* a number, but no double */
    PF_FIELD_MISSING,   /* empty, NA, nan, null, ... */
    PF_FIELD_INFINITE,
    PF_FIELD_COMMA, /* a number but for its decimal comma */
    PF_FIELD_OTHER
} pf_field;
/* *v: the nearest double to a number, written as the locale of this thread says. */
pf_field pf_field_number(const char *text, double *v);
/* Is the first line of the head that is no comment, as far as it goes, numbers alone, two or a whole line? */
int pf_fields_are_numbers(const pf_source *s);

#endif
