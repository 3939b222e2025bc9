/* What tokens stand for: each symbol is a string of bytes. */
#ifndef PROBFLOW_VOCABULARY_H
#define PROBFLOW_VOCABULARY_H

#include <probflow/status.h>

#include <stddef.h>

/* Symbols 0 .. n-1.  Datasets store them as text, two hexadecimal digits a byte; symbols of one byte each stand one
 * behind the other, else blanks part them: "20616263", "20 61 6162". */
typedef struct pf_vocabulary {
    int n;
    unsigned char *bytes; /* of all symbols, owned */
    size_t *at;           /* [n+1] where each begins, owned */
} pf_vocabulary;

/* Bytes of symbol k. */
static inline size_t pf_vocabulary_bytes(const pf_vocabulary *v, int k)
{
    return v->at[k + 1] - v->at[k];
}

/* Local.  Free with pf_vocabulary_free, also after a failure.  Fails PF_EFORMAT: the text is none; PF_EMEM.
 * Test  vocabularies_come_back_from_their_text */
PF_MUST_USE pf_status pf_vocabulary_parse(const char *text, pf_vocabulary *out);
void pf_vocabulary_free(pf_vocabulary *v); /* a zeroed one allowed */
/* The text that is stored, owned by the caller (pf_free).  Fails PF_EMEM. */
PF_MUST_USE pf_status pf_vocabulary_text(const pf_vocabulary *v, char **text);

/* The symbols of a file with one a line, in their order; \n, \t, \r, \\ and \xHH are what they are in C.  Local.
 * Fails PF_EIO, PF_EFORMAT (an empty line, a symbol twice, fewer than 2 or more than 65536), PF_EMEM.
 * Test  texts_become_symbols_by_the_longest_match */
PF_MUST_USE pf_status pf_vocabulary_read(const char *path, pf_vocabulary *out);

/* Writes what the tokens x [n] say, as far as the first that is none, to `to`, without an end (NULL: nowhere).
 * Returns its bytes. */
size_t pf_vocabulary_spell(const pf_vocabulary *v, size_t n, const double *x, char *to);

#endif
