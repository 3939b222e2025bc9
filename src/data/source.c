/* One source before it is read: what its path is, its first bytes, the split its name says. */
#include <probflow/memory.h>
#include "data/format.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *pf_base_name(const char *path)
{
    const char *end = path + strlen(path);
    while (end > path && end[-1] == '/') end--;
    while (end > path && end[-1] != '/') end--;
    return end;
}

/* "." and ".." are called what the folder is called. */
static void name_of(const char *path, char name[256])
{
    char real[PATH_MAX];
    const char *base = pf_base_name(path);
    size_t n = strcspn(base, "/");
    if (n <= 2 && n == strspn(base, ".") && realpath(path, real)) base = pf_base_name(real);
    n = strcspn(base, "/");
    if (n > 3 && !strncasecmp(base + n - 3, ".gz", 3)) n -= 3;
    snprintf(name, 256, "%.*s", n < 255 ? (int)n : 255, base);
}

pf_status pf_source_open(pf_source *s, const char *path, int given)
{
    *s = (pf_source){.path = path, .given = given, .how = ""};
    name_of(path, s->name);
    if (pf_source_is_drawn(path)) return PF_OK;
    PF_TRY(pf_input_open(path, &s->is_folder, &s->file));
    if (s->is_folder) return PF_OK;
    PF_TRY(pf_input_read(s->file, s->head, sizeof s->head, &s->n_head));
    PF_REQUIRE(s->n_head > 0, PF_EIO, "%s is empty", path);
    return PF_OK;
}

void pf_source_close(pf_source *s)
{
    pf_input_close(s->file);
    s->file = NULL;
}

pf_status pf_source_split(pf_source *s, int *split, int *by_default)
{
    int says = s->given == PF_SPLIT_UNSAID ? pf_split_of_name(s->name) : s->given;
    PF_REQUIRE(says != PF_SPLIT_TWO, PF_EFORMAT,
               "the name of %s says two splits; say which by --split NAME=%s", s->path,
               s->path);
    s->how = s->for_points                 ? "all of it"
             : s->given != PF_SPLIT_UNSAID ? "by --split"
             : says >= 0                   ? "by its name"
                                           : "its name says no split";
    if (by_default) *by_default = says < 0;
    *split = says < 0 ? PF_TRAIN : says;
    return PF_OK;
}

int pf_source_ends(const pf_source *s, const char *extension)
{
    size_t n = strlen(s->name), k = strlen(extension);
    return n > k && !strcasecmp(s->name + n - k, extension);
}
