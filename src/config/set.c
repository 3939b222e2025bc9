/* Sets of words: "a", "[a,b]", "a,b", or one word for several. */
#include "config/set.h"

#include <ctype.h>
#include <string.h>

/* The pairs behind the words, NULL-terminated. */
static const char *const *pairs_of(const pf_opt *o)
{
    const char *const *w = o->words;
    while (*w) w++;
    return w + 1;
}

static int bit_of(const pf_opt *o, const char *word, size_t n)
{
    for (int i = 0; o->words[i]; i++)
        if (strlen(o->words[i]) == n && !strncmp(o->words[i], word, n)) return 1 << i;
    return 0;
}

/* Of the entries between commas; 0: one of them is no word. */
static int parse_list(const pf_opt *o, const char *at, const char *to)
{
    int set = 0;
    for (;; at++) {
        while (at < to && isspace((unsigned char)*at)) at++;
        const char *comma = memchr(at, ',', (size_t)(to - at)), *end = comma ? comma : to;
        size_t n = (size_t)(end - at);
        while (n && isspace((unsigned char)at[n - 1])) n--;
        int bit = bit_of(o, at, n);
        if (!bit) return 0;
        set |= bit;
        at = end;
        if (!comma) return set;
    }
}

int pf_set_parse(const pf_opt *o, const char *text)
{
    size_t n = strlen(text);
    for (const char *const *p = pairs_of(o); *p; p += 2)
        if (!strcmp(p[0], text)) return parse_list(o, p[1], p[1] + strlen(p[1]));
    int open = text[0] == '[', close = n > 1 && text[n - 1] == ']';
    return open == close ? parse_list(o, text + open, text + n - close) : 0;
}

void pf_set_text(const pf_opt *o, int set, char *buf, size_t n)
{
    size_t used = 0;
    int several = (set & (set - 1)) != 0;
    if (n) buf[0] = 0;
    for (const char *const *p = pairs_of(o); *p; p += 2)
        if (pf_set_parse(o, p[0]) == set) {
            snprintf(buf, n, "%s", p[0]);
            return;
        }
    for (int i = 0; o->words[i] && used < n; i++) {
        if (!(set & 1 << i)) continue;
        int k = snprintf(buf + used, n - used, "%s%s",
                         !several ? ""
                         : used   ? ","
                                  : "[",
                         o->words[i]);
        used += k > 0 ? (size_t)k : 0;
    }
    if (several && used < n) snprintf(buf + used, n - used, "]");
}

void pf_set_words(const pf_opt *o, const char **all, int most)
{
    int k = 0;
    for (int i = 0; o->words[i] && k < most; i++) all[k++] = o->words[i];
    for (const char *const *p = pairs_of(o); *p && k < most; p += 2) all[k++] = *p;
}
