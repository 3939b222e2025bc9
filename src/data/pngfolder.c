/* Folders of PNG files, all of one size.  Sub-folders train, valid and test are splits; other
 * sub-folders are classes, numbered in the order of their names.  Files in the order of names. */
#include <probflow/memory.h>
#include "data/format.h"
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static int knows(const pf_source *s)
{
    return s->is_folder;
}

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not strcoll: the same order everywhere */
}

static PF_MUST_USE pf_status read_png(const char *path, int split, int label, pf_table *t)
{
    pf_shape s;
    unsigned char *pixels = NULL, *to = NULL;
    int32_t *l = NULL;
    PF_TRY(pf_png_read(path, &s, &pixels));
    pf_status st = pf_table_rows(t, path, split, 1, s, &to);
    if (!st) memcpy(to, pixels, (size_t)s.h * (size_t)s.w * (size_t)s.c);
    if (!st && label >= 0) st = pf_table_labels(t, split, 1, &l);
    if (l) *l = label;
    pf_free(pixels);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

typedef struct place {
    int split, label, depth; /* split -1: not chosen yet; label -1: no class */
} place;

static PF_MUST_USE pf_status read_folder(const char *dir, place at, pf_table *t);

static PF_MUST_USE pf_status read_entry(const char *path, const char *name, place at,
                                        int *classes, pf_table *t)
{
    struct stat sb;
    const char *dot = strrchr(name, '.');
    PF_REQUIRE(!stat(path, &sb), PF_EIO, "cannot open %s", path);
    if (S_ISDIR(sb.st_mode)) {
        place in = {at.split, at.label, at.depth + 1};
        int named =
            !strcmp(name, "train") || !strcmp(name, "test") || !strncmp(name, "valid", 5);
        if (at.split < 0 && named) in.split = pf_split_of(name);
        else if (at.label < 0) in.label = (*classes)++;
        PF_TRY(read_folder(path, in, t));
    } else if (dot && !strcasecmp(dot, ".png")) {
        PF_TRY(read_png(path, at.split < 0 ? PF_TRAIN : at.split, at.label, t));
    }
    return PF_OK;
}

static PF_MUST_USE pf_status read_folder(const char *dir, place at, pf_table *t)
{
    char path[PATH_MAX];
    struct dirent **e = NULL;
    PF_REQUIRE(at.depth < 8, PF_EFORMAT, "%s: folders nest too deep", dir);
    int n = scandir(dir, &e, visible, by_name), classes = 0;
    PF_REQUIRE(n >= 0, PF_EIO, "cannot list the folder %s", dir);
    pf_status st = PF_OK;
    for (int i = 0; i < n; i++) {
        if (!st && snprintf(path, sizeof path, "%s/%s", dir, e[i]->d_name) >= (int)sizeof path)
            st = pf_raise(PF_EARG, PF_WHERE, "a path in %.80s is too long", dir);
        if (!st) st = read_entry(path, e[i]->d_name, at, &classes, t);
        free(e[i]);
    }
    free(e);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status read(const pf_source *s, pf_table *t)
{
    const char *name = pf_base_name(s->path);
    place at = {strncmp(name, "test", 4) ? -1 : PF_TEST, -1, 0};
    PF_TRY(read_folder(s->path, at, t));
    PF_REQUIRE(t->shape.h > 0, PF_EFORMAT, "the folder %s holds no PNG files", s->path);
    return PF_OK;
}

const pf_format pf_format_png_folder = {"PNG folder", knows, read};
