/* Files of a folder that are not read: counted by kind, so that none is left out in silence. */
#include "data/format.h"
#include <string.h>

enum { KINDS = sizeof((pf_left *)0)->kind / sizeof((pf_left *)0)->kind[0] };

int pf_is_hidden(const char *name)
{
    return name[0] == '.' || !strcmp(name, "__MACOSX");
}

void pf_left_add(pf_left *l, const char *name)
{
    char is[sizeof l->kind[0].name] = "others";
    const char *dot = strrchr(name, '.');
    int k = 0;
    if (pf_is_hidden(name)) strcpy(is, "hidden");
    else if (!dot || !dot[1]) strcpy(is, "without a dot");
    else if (strlen(dot) < sizeof is) strcpy(is, dot);
    for (char *c = is; *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    while (k < KINDS - 1 && l->kind[k].n && strcmp(l->kind[k].name, is)) k++;
    strcpy(l->kind[k].name, k == KINDS - 1 ? "others" : is);
    l->kind[k].n++;
}

void pf_left_list(const pf_left *l, char *text, size_t n)
{
    size_t at = 0;
    text[0] = 0;
    for (int k = 0; k < KINDS && l->kind[k].n && at < n; k++)
        at += (size_t)snprintf(text + at, n - at, "%s%lld %s", k ? ", " : "",
                               (long long)l->kind[k].n, l->kind[k].name);
}
