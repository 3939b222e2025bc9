/* Splits by name: the one rule of all formats.
 *
 * A word of the table says its split when neither side of it continues with a letter of the same
 * word: train_32x32, t10k-images, TestSet and test2 do, latest, contest and retrain do not. */
#include <probflow/data.h>
#include <string.h>
#include <strings.h>

static const char *const split_names[PF_SPLITS] = {"train", "valid", "test"};

/* clang-format off */
static const struct { const char *word; int split; } words[] = {
    {"train", PF_TRAIN}, {"training", PF_TRAIN},
    {"val",   PF_VALID}, {"valid",    PF_VALID}, {"validation", PF_VALID}, {"dev", PF_VALID},
    {"test",  PF_TEST},  {"testing",  PF_TEST},  {"t10k",       PF_TEST},
};
/* clang-format on */
enum { WORDS = sizeof words / sizeof words[0] };

static int is_lower(unsigned char c)
{
    return c >= 'a' && c <= 'z';
}

static int is_upper(unsigned char c)
{
    return c >= 'A' && c <= 'Z';
}

/* Two bytes of UTF-8 from U+00C0 on are letters of alphabets; longer characters are other scripts
 * and signs, which do not continue a word in Latin letters. */
static int starts_letter(const char *p)
{
    unsigned char c = (unsigned char)*p;
    return is_lower(c) || is_upper(c) || (c >= 0xc3 && c <= 0xdf);
}

static int begins_word(const char *name, const char *p)
{
    const char *before = p - 1;
    if (p == name) return 1;
    while (before > name && ((unsigned char)*before & 0xc0) == 0x80) before--;
    return !starts_letter(before) ||
           (is_lower((unsigned char)*before) && is_upper((unsigned char)*p));
}

static int ends_word(const char *last)
{
    return !starts_letter(last + 1) ||
           (is_lower((unsigned char)*last) && is_upper((unsigned char)last[1]));
}

/* Does the word stand at p? */
static int stands(const char *name, const char *p, const char *word)
{
    size_t n = strlen(word);
    return !strncasecmp(p, word, n) && begins_word(name, p) && ends_word(p + n - 1);
}

int pf_word_in_name(const char *name, const char *word)
{
    for (const char *p = name; *p; p++)
        if (stands(name, p, word)) return 1;
    return 0;
}

int pf_split_of_name(const char *name)
{
    int split = PF_SPLIT_UNSAID;
    for (const char *p = name; *p; p++)
        for (int i = 0; i < WORDS; i++) {
            if (!stands(name, p, words[i].word)) continue;
            if (split != PF_SPLIT_UNSAID && split != words[i].split) return PF_SPLIT_TWO;
            split = words[i].split;
        }
    return split;
}

const char *pf_split_name(int split)
{
    return split_names[split];
}
