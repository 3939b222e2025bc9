/* Rules by which a text becomes symbols. */
#ifndef PROBFLOW_SRC_DATA_SYMBOLS_H
#define PROBFLOW_SRC_DATA_SYMBOLS_H

#include <probflow/status.h>
#include <probflow/vocabulary.h>

/* Symbols of texts, one behind the other. */
typedef struct pf_symbols {
    size_t n, cap, bytes; /* bytes of each, pf_token_bytes */
    unsigned char *v;     /* [n] of them, owned */
} pf_symbols;

typedef enum pf_rule_kind {
    PF_RULE_AS_IS,
    PF_RULE_TEXT8,
    PF_RULE_BYTES,
    PF_RULE_FILE
} pf_rule_kind;
typedef struct pf_rule {
    pf_rule_kind kind;
    pf_vocabulary
        v; /* owned; as is: all bytes, of which those that occur become the symbols at the end */
    int *order;    /* of a file: its symbols by their first byte, the longest first, owned */
    int from[257]; /* where those of a first byte begin */
} pf_rule;

/* word: NULL or as-is, the bytes that occur; text8: 27 symbols, the blank and a to z, by the rule of text8: capitals
 * become small, digits are spelled, all else is blank, and blanks that follow one another are one; bytes: all 256;
 * else a file of symbols (vocabulary.h), of which the longest that fits is taken at each place.
 * Local.  Free with pf_rule_free, also after a failure.  Fails as pf_vocabulary_read; PF_EMEM.
 * Source  text8: M. Mahoney, mattmahoney.net/dc/textdata, the end of wikifil.pl
 * Test    text8_spells_digits_and_folds_blanks, texts_become_symbols_by_the_longest_match */
PF_MUST_USE pf_status pf_rule_open(const char *word, pf_rule *out);
void pf_rule_free(pf_rule *r);
/* Appends the symbols of a piece of a text, b [n], which begins at byte `at` of the file at path.
 * Fails PF_EFORMAT: no symbol fits, by the byte; PF_EMEM. */
PF_MUST_USE pf_status pf_rule_apply(const pf_rule *r, const char *path, size_t at,
                                    const unsigned char *b, size_t n, pf_symbols *out);

#endif
