/* Names that are known, and the one that is meant: the nearest by the edit distance of Damerau and
 * Levenshtein (insert, delete, replace, swap neighbours). */
#include <probflow/option.h>

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_LEN = 63, ROWS_MAX = 64 };

static int min3(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

static int distance(const char *a, const char *b)
{
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > NAME_MAX_LEN || m > NAME_MAX_LEN) return NAME_MAX_LEN;
    int d[NAME_MAX_LEN + 1][NAME_MAX_LEN + 1];
    for (int i = 0; i <= n; i++) d[i][0] = i;
    for (int j = 0; j <= m; j++) d[0][j] = j;
    for (int i = 1; i <= n; i++)
        for (int j = 1; j <= m; j++) {
            int differ = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
            int best = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + differ);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = min3(best, best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    return d[n][m];
}

const char *pf_nearest(const char *name, const char *const *names)
{
    const char *best = NULL;
    int least = 2 + (int)strlen(name) / 3;
    for (int i = 0; names[i]; i++) {
        int d = distance(name, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

pf_status pf_unknown(const char *what, const char *name, const char *const *names)
{
    const char *near = pf_nearest(name, names);
    if (near) PF_FAIL(PF_EARG, "unknown %s '%s'; did you mean '%s'?", what, name, near);
    PF_FAIL(PF_EARG, "unknown %s '%s'", what, name);
}

pf_status pf_row_find(const void *table, const char *what, const char *name, const void **row)
{
    const char *names[ROWS_MAX + 1] = {0};
    for (int i = 0; i < ROWS_MAX; i++) {
        memcpy(row, (const char *)table + (size_t)i * sizeof *row, sizeof *row);
        if (!*row) break;
        memcpy(&names[i], *row, sizeof names[i]);
        if (!strcmp(names[i], name)) return PF_OK;
    }
    return pf_trail(pf_unknown(what, name, names), PF_WHERE);
}
