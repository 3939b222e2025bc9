/* Folders of PNG and JPEG files, all of one size when they are converted, in the order of their names.
 *
 *   SPLIT/CLASS/../x.png   the first folder whose name says a split, the one below it a class
 *   CLASS/../x.png         no folder says a split: that of the source; the uppermost is a class
 *   CLASS/SPLIT/x.png      several folders above the splits and none below: those are the classes
 *
 * Classes count when they hold an image; hidden entries and __MACOSX are passed over. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include "data/format.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEEPEST = 16 };

/* A folder on the way down. */
typedef struct place {
    const struct place *up;
    dev_t device;
    ino_t inode;
    int depth, split; /* PF_SPLIT_UNSAID: none so far */
    const char *above,
        *below; /* uppermost folder above the split; class folder below it; or NULL */
} place;

/* Images of one folder that follow each other. */
typedef struct run {
    struct run *next;
    int split; /* PF_SPLIT_UNSAID: no folder said one */
    int64_t n;
    const char *above, *below; /* as in place */
    char text[];               /* path of the folder, above, below */
} run;

typedef struct walk {
    const pf_source *s;
    pf_table *t;
    int source_split, by_default; /* by_default: no name said it */
    run *first, *last;
    const place *of_last;
    int64_t images, strange; /* strange: the file's own name says another split */
    int64_t jpegs, turned;   /* of the images */
    pf_left left;
} walk;

static int any(const struct dirent *e)
{
    return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not strcoll: the same order everywhere */
}

/* ---- images ---- */

static char *put(char *to, const char *text, const char **where)
{
    if (!text) return to;
    *where = to;
    return stpcpy(to, text) + 1;
}

static PF_MUST_USE pf_status count_image(walk *w, const place *at, const char *dir)
{
    w->images++;
    if (w->last && w->of_last == at) {
        w->last->n++;
        return PF_OK;
    }
    size_t bytes = strlen(dir) + 1;
    if (at->above) bytes += strlen(at->above) + 1;
    if (at->below) bytes += strlen(at->below) + 1;
    run *r = pf_zalloc(sizeof *r + bytes);
    PF_REQUIRE(r, PF_EMEM, "no memory for the folder %s", dir);
    r->split = at->split;
    r->n = 1;
    put(put(stpcpy(r->text, dir) + 1, at->above, &r->above), at->below, &r->below);
    if (w->last) w->last->next = r;
    else w->first = r;
    w->last = r;
    w->of_last = at;
    return PF_OK;
}

static PF_MUST_USE pf_status read_image(walk *w, const char *path, int split)
{
    pf_image im;
    pf_input *s = NULL;
    unsigned char *to = NULL;
    PF_TRY(pf_input_open(path, NULL, &s));
    pf_status st = pf_image_read(s, path, w->s->opt->drop_alpha, &im);
    pf_input_close(s);
    if (st) return pf_trail(st, PF_WHERE);
    const pf_space l = {.kind = PF_LEVELS, .shape = im.shape, .levels = 256};
    st = pf_table_rows(w->t, path, split, 1, l, &to);
    if (!st)
        memcpy(to, im.pixels, (size_t)im.shape.h * (size_t)im.shape.w * (size_t)im.shape.c);
    pf_free(im.pixels);
    if (im.is_jpeg) w->t->done |= PF_DONE_JPEG;
    w->jpegs += im.is_jpeg;
    w->turned += im.is_turned;
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- folders ---- */

/* What the name of a folder below `at` means.  only_splits: all folders beside it say a split. */
static PF_MUST_USE pf_status enter(const walk *w, const place *at, const char *path,
                                   int only_splits, place *in)
{
    const char *name = pf_base_name(path);
    int says = pf_split_of_name(name), outright = w->s->given != PF_SPLIT_UNSAID;
    *in = (place){at, 0, 0, at->depth + 1, at->split, at->above, at->below};
    if (outright && (at->below || !only_splits)) says = PF_SPLIT_UNSAID;
    if (says >= 0 && w->s->for_points) says = at->split; /* all of them are wanted */
    PF_REQUIRE(says != PF_SPLIT_TWO, PF_EFORMAT, "the name of the folder %s says two splits",
               path);
    if (says != PF_SPLIT_UNSAID && at->split == PF_SPLIT_UNSAID) {
        in->split = says;
        return PF_OK;
    }
    PF_REQUIRE(says == PF_SPLIT_UNSAID || says == at->split, PF_EFORMAT,
               "the folder %s says the split %s, but it is part of the split %s; say which by "
               "--split NAME=FOLDER",
               path, pf_split_name(says), pf_split_name(at->split));
    if (says == at->split && says != PF_SPLIT_UNSAID && only_splits && !at->below) return PF_OK;
    if (at->split == PF_SPLIT_UNSAID && !at->above) in->above = name;
    if (at->split != PF_SPLIT_UNSAID && !at->below) in->below = name;
    return PF_OK;
}

static PF_MUST_USE pf_status no_loop(const char *dir, place *at)
{
    struct stat sb;
    PF_REQUIRE(!stat(dir, &sb), PF_EIO, "cannot open %s: %s", dir, strerror(errno));
    at->device = sb.st_dev;
    at->inode = sb.st_ino;
    for (const place *p = at->up; p; p = p->up)
        PF_REQUIRE(p->device != at->device || p->inode != at->inode, PF_EFORMAT,
                   "the folder %s is a link to one that holds it", dir);
    PF_REQUIRE(at->depth < DEEPEST, PF_EFORMAT, "%s: folders nest too deep", dir);
    return PF_OK;
}

typedef struct entry {
    char path[PATH_MAX];
    int is_folder;
} entry;

static PF_MUST_USE pf_status look(const char *dir, const char *name, entry *e)
{
    struct stat sb;
    PF_REQUIRE(snprintf(e->path, sizeof e->path, "%s/%s", dir, name) < (int)sizeof e->path,
               PF_EARG, "a path in %.80s is too long", dir);
    e->is_folder = !stat(e->path, &sb) && S_ISDIR(sb.st_mode);
    return PF_OK;
}

/* *only: folders are all that is read here, and the name of each says a split; *several: not all of
 * them the same. */
static PF_MUST_USE pf_status only_splits(const char *dir, struct dirent **list, int n,
                                         int *only, int *several)
{
    entry e;
    int first = PF_SPLIT_UNSAID;
    *only = 1;
    *several = 0;
    for (int i = 0; i < n && *only; i++) {
        if (pf_is_hidden(list[i]->d_name)) continue;
        PF_TRY(look(dir, list[i]->d_name, &e));
        int says = e.is_folder ? pf_split_of_name(list[i]->d_name) : PF_SPLIT_UNSAID;
        *only = e.is_folder ? says != PF_SPLIT_UNSAID : !pf_is_image(list[i]->d_name);
        if (first == PF_SPLIT_UNSAID) first = says;
        *several |= says >= 0 && says != first;
    }
    *several &= *only;
    return PF_OK;
}

/* A folder of several splits is none of them itself, whatever its name: with-test/{train,test}. */
static void holds_splits(walk *w, const char *dir, place *at)
{
    int by_name = at->up ? at->up->split == PF_SPLIT_UNSAID : w->s->given == PF_SPLIT_UNSAID;
    if (at->split == PF_SPLIT_UNSAID || !by_name) return;
    at->split = PF_SPLIT_UNSAID;
    if (at->up && !at->above) at->above = pf_base_name(dir);
    if (at->up) return;
    w->by_default = 1;
    w->source_split = PF_TRAIN;
}

static PF_MUST_USE pf_status read_folder(walk *w, const char *dir, place *at);

static PF_MUST_USE pf_status read_entry(walk *w, const place *at, const char *dir,
                                        const char *name, int only)
{
    entry e;
    place in;
    if (pf_is_hidden(name)) {
        pf_left_add(&w->left, name);
        return PF_OK;
    }
    PF_TRY(look(dir, name, &e));
    if (e.is_folder) {
        PF_TRY(enter(w, at, e.path, only, &in));
        PF_TRY(read_folder(w, e.path, &in));
    } else if (pf_is_image(name)) {
        int says = pf_split_of_name(name);
        int split = at->split == PF_SPLIT_UNSAID ? w->source_split : at->split;
        PF_TRY(read_image(w, e.path, split));
        PF_TRY(count_image(w, at, dir));
        w->strange += says >= 0 && says != split;
    } else {
        pf_left_add(&w->left, name);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status read_folder(walk *w, const char *dir, place *at)
{
    struct dirent **e = NULL;
    int only = 0, several = 0;
    PF_TRY(no_loop(dir, at));
    int n = scandir(dir, &e, any, by_name);
    PF_REQUIRE(n >= 0, PF_EIO, "cannot list the folder %s: %s", dir, strerror(errno));
    pf_status st = only_splits(dir, e, n, &only, &several);
    if (several) holds_splits(w, dir, at);
    for (int i = 0; i < n; i++) {
        if (!st) st = read_entry(w, at, dir, e[i]->d_name, only);
        free(e[i]);
    }
    free(e);
    if (w->of_last == at) w->of_last = NULL; /* another place may come to stand there */
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- classes ---- */

/* Which folders are the classes: 1 those above the splits, 0 those below. */
static PF_MUST_USE pf_status classes_above(const walk *w, int by_default, int *above)
{
    const run *said = NULL, *unsaid = NULL, *over = NULL, *other = NULL, *under = NULL;
    for (const run *r = w->first; r; r = r->next) {
        if (r->split == PF_SPLIT_UNSAID) unsaid = r;
        else said = r;
        if (r->above && !over) over = r;
        if (r->above && over && strcmp(r->above, over->above)) other = r;
        if (r->below) under = r;
    }
    PF_REQUIRE(!said || !unsaid || !by_default, PF_EFORMAT,
               "%s holds images in a folder whose name says a split, %s, and outside of such "
               "folders, in %s",
               w->s->path, said ? said->text : "", unsaid ? unsaid->text : "");
    *above = !said || (other && !under);
    PF_REQUIRE(
        !said || !other || !under, PF_EFORMAT,
        "%s has folders above its splits, %s and %s, and classes below them; give one of "
        "these folders",
        w->s->path, over->above, other->above);
    return PF_OK;
}

static PF_MUST_USE pf_status name_classes(walk *w, int above)
{
    const run *with[PF_SPLITS] = {0}, *without[PF_SPLITS] = {0};
    int32_t *labels = NULL, label = 0;
    const char *last = NULL;
    for (const run *r = w->first; r; r = r->next) {
        int split = r->split == PF_SPLIT_UNSAID ? w->source_split : r->split;
        const char *name = above ? r->above : r->below;
        if (name) with[split] = r;
        else without[split] = r;
        PF_REQUIRE(!with[split] || !without[split], PF_EFORMAT,
                   "%s holds images in class folders, %s, and outside of any, in %s",
                   w->s->path, with[split]->text, without[split]->text);
        if (!name) continue;
        if (!last || strcmp(last, name)) PF_TRY(pf_table_class(w->t, r->text, name, &label));
        last = name;
        PF_TRY(pf_table_labels(w->t, r->text, split, r->n, PF_BY_NAME, &labels));
        for (int64_t i = 0; i < r->n; i++) labels[i] = label;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status read_all(walk *w, pf_source *s)
{
    int above = 0;
    char left[512];
    PF_TRY(pf_source_split(s, &w->source_split, &w->by_default));
    place top = {.split = w->by_default ? PF_SPLIT_UNSAID : w->source_split};
    PF_TRY(read_folder(w, s->path, &top));
    pf_left_list(&w->left, left, sizeof left);
    PF_REQUIRE(w->images > 0, PF_EFORMAT,
               "the folder %s holds no PNG or JPEG files, CIFAR batches or IDX files, which "
               "are what is "
               "read from folders; it holds %s",
               s->path, left[0] ? left : "no files at all");
    PF_TRY(classes_above(w, w->by_default, &above));
    PF_TRY(name_classes(w, above));
    if (w->by_default && w->first->split != PF_SPLIT_UNSAID)
        s->how = "by the names of its folders";
    if (left[0]) pf_log("data: %s: not read: %s", s->path, left);
    pf_image_remarks(s->path, w->images, w->jpegs, w->turned);
    if (w->strange)
        pf_log("data: %s: the own names of %lld files say another split than their folder's",
               s->path, (long long)w->strange);
    return PF_OK;
}

static int knows(const pf_source *s)
{
    return s->is_folder;
}

static pf_status read(pf_source *s, pf_table *t)
{
    walk w = {.s = s, .t = t};
    pf_status st = read_all(&w, s);
    for (run *r = w.first, *next; r; r = next) {
        next = r->next;
        pf_free(r);
    }
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_format pf_format_image_folder = {"folder of images", knows, read};
