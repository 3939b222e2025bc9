/* Options of PF_SET: a word or a list of words to bits, and back. */
#ifndef PROBFLOW_SRC_CONFIG_SET_H
#define PROBFLOW_SRC_CONFIG_SET_H

#include <probflow/option.h>

/* The bits that text names, all of it; 0: it is no set. */
int pf_set_parse(const pf_opt *o, const char *text);
/* The text that gives this set back. */
void pf_set_text(const pf_opt *o, int set, char *buf, size_t n);
/* all [most + 1], zeroed: its words, and those that stand for several. */
void pf_set_words(const pf_opt *o, const char **all, int most);

#endif
