/* What an array is for, by its name, its type and its shape: rows, labels or conditions of a split.
 *
 * Roles are whole words of the name as splits are (x_train, train/images, val_labels).  Everything is
 * decided before the first value is read. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <string.h>
#include "data/arrays.h"

typedef enum role { VALUES, LABELS, COARSE, CONDITIONS, ROLES } role;

/* The first that stands in a name: labels of data are labels. */
static const struct {
    const char *word;
    role role;
} words[] = {{"coarse", COARSE},        {"labels", LABELS},
             {"label", LABELS},         {"y", LABELS},
             {"targets", LABELS},       {"conditions", CONDITIONS},
             {"condition", CONDITIONS}, {"images", VALUES},
             {"image", VALUES},         {"x", VALUES},
             {"data", VALUES},          {"arr_0", VALUES},
             {"points", VALUES},        {"features", VALUES}};

enum { GROUPS = PF_SPLITS + 1 }; /* the last: no split is said */

typedef struct plan {
    const pf_arrays *from;
    pf_table *t;
    const pf_named *of[GROUPS][ROLES];
    int split[GROUPS];
} plan;

static int role_in(const char *name)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (pf_word_in_name(name, words[i].word)) return words[i].role;
    return ROLES;
}

/* The last component of a path says it, or the groups above. */
static int role_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    int r = role_in(slash ? slash + 1 : name);
    return r == ROLES && slash ? role_in(name) : r;
}

pf_status pf_array_count(const char *path, pf_named *a)
{
    size_t bytes = 0;
    a->values = 1;
    for (int k = 0; k < a->rank; k++)
        PF_REQUIRE(
            !__builtin_mul_overflow(a->values, (size_t)a->dim[k], &a->values) && a->dim[k] >= 0,
            PF_EFORMAT, "%s: %s claims more values than memory has bytes", path, a->name);
    PF_REQUIRE(!__builtin_mul_overflow(a->values, (size_t)16, &bytes) && bytes < SIZE_MAX / 4,
               PF_EFORMAT, "%s: %s claims more values than memory has bytes", path, a->name);
    return PF_OK;
}

/* "uint8 [100,32,32,3]" */
static const char *form(const pf_named *a, char buf[160])
{
    static const char *const types[] = {"", "bool", "int", "uint", "float"};
    int at = a->type == PF_NUMBER_NONE ? snprintf(buf, 160, "%s [", a->no)
             : a->type == PF_NUMBER_BOOL
                 ? snprintf(buf, 160, "bool [")
                 : snprintf(buf, 160, "%s%d [", types[a->type], 8 * a->size);
    for (int k = 0; k < a->rank; k++)
        at += snprintf(buf + at, (size_t)(160 - at), "%s%lld", k ? "," : "",
                       (long long)a->dim[k]);
    snprintf(buf + at, (size_t)(160 - at), "]");
    return buf;
}

static const char *path_of(const plan *p)
{
    return p->from->s->path;
}

/* ---- where the values go ---- */

/* Sizes and steps of the axes in the order of C, turned to the order of the file. */
static void order(const pf_named *a, int axes, const int64_t *dim, const int64_t *stride,
                  pf_target *t)
{
    t->axes = axes;
    for (int k = 0; k < axes; k++) {
        /* axes beyond the array's are parts of its last, and the order of C within it */
        int from = !a->fortran       ? axes - 1 - k
                   : k < a->rank - 1 ? k
                                     : axes - 1 - (k - (a->rank - 1));
        t->dim[k] = dim[from];
        t->stride[k] = stride[from];
    }
    t->row = (size_t)stride[0];
}

static void order_plain(const pf_named *a, pf_target *t)
{
    int64_t stride[PF_ARRAY_RANK], step = 1;
    for (int k = a->rank - 1; k >= 0; k--) {
        stride[k] = step;
        step *= a->dim[k];
    }
    order(a, a->rank, a->dim, stride, t);
}

/* Planes of channels become pixels of them. */
static void order_planes(const pf_named *a, pf_shape s, pf_target *t)
{
    const int64_t dim[4] = {a->dim[0], s.c, s.h, s.w};
    const int64_t stride[4] = {(int64_t)s.c * s.h * s.w, 1, (int64_t)s.w * s.c, s.c};
    order(a, 4, dim, stride, t);
}

/* ---- images and points ---- */

typedef struct form_of {
    pf_space space;
    int planes; /* channels come before rows */
} form_of;

static int is_byte(const pf_named *a)
{
    return a->type == PF_NUMBER_UNSIGNED && a->size == 1;
}

/* s when n = 3 s s, else 0. */
static int side_of(int64_t n)
{
    int s = 0;
    while (s < 1 << 14 && INT64_C(3) * (s + 1) * (s + 1) <= n) s++;
    return INT64_C(3) * s * s == n ? s : 0;
}

static int is_colour(int64_t c)
{
    return c == 1 || c == 3;
}

static PF_MUST_USE pf_status see_rows(const plan *p, const pf_named *a, int labelled,
                                      form_of *f)
{
    char buf[160];
    int64_t d = a->rank == 1 ? 1 : a->dim[1];
    int bits = a->type == PF_NUMBER_BOOL, most = bits ? 1 << 10 : 1 << 24;
    int side =
        is_byte(a) && labelled && pf_word_in_name(a->name, "data") ? side_of(a->dim[1]) : 0;
    if (side) {
        *f = (form_of){{.kind = PF_LEVELS, .shape = {side, side, 3}, .levels = 256}, 1};
        return PF_OK;
    }
    PF_REQUIRE(!is_byte(a), PF_EFORMAT,
               "%s: %s is %s, and nobody can tell whether they are images or points: reshape "
               "images to [N,H,W] or [N,H,W,C], and save points as floats",
               path_of(p), a->name, form(a, buf));
    PF_REQUIRE(d < most, PF_EFORMAT, "%s: %s is %s; a row has less than %d values", path_of(p),
               a->name, form(a, buf), most);
    *f = (form_of){
        {.kind = bits ? PF_LEVELS : PF_REAL, .shape = {1, 1, (int)d}, .levels = 2 * bits}, 0};
    return PF_OK;
}

static PF_MUST_USE pf_status see_images(const plan *p, const pf_named *a, form_of *f)
{
    char buf[160];
    const int64_t *d = a->dim, c = a->rank == 4 ? d[3] : 1;
    int floats = a->type == PF_NUMBER_FLOAT;
    int planes = a->rank == 4 && !is_colour(d[3]) && is_colour(d[1]);
    PF_REQUIRE(floats || planes || is_colour(c), PF_EFORMAT,
               "%s: %s is %s; images are [N,H,W], [N,H,W,C] or [N,C,H,W] of 1 or 3 channels",
               path_of(p), a->name, form(a, buf));
    for (int k = 1; k < a->rank; k++)
        PF_REQUIRE(d[k] < 1 << 15, PF_EFORMAT,
                   "%s: %s is %s, larger images than any that are read", path_of(p), a->name,
                   form(a, buf));
    f->planes = planes;
    f->space = (pf_space){.kind = floats ? PF_REAL : PF_LEVELS,
                          .shape = {(int)d[1], (int)d[2], (int)c},
                          .levels = floats                      ? 0
                                    : a->type == PF_NUMBER_BOOL ? 2
                                                                : 256};
    if (planes) f->space.shape = (pf_shape){(int)d[2], (int)d[3], (int)d[1]};
    return PF_OK;
}

static PF_MUST_USE pf_status take_values(plan *p, const pf_named *a, int labelled, int split)
{
    char buf[160];
    unsigned char *to = NULL;
    form_of f = {0};
    PF_REQUIRE(a->rank > 0 && a->rank < 5, PF_EFORMAT,
               "%s: %s is %s; points are numbers [N,D], images [N,H,W] or [N,H,W,C]",
               path_of(p), a->name, form(a, buf));
    PF_TRY(a->rank < 3 ? see_rows(p, a, labelled, &f) : see_images(p, a, &f));
    PF_TRY(pf_table_rows(p->t, path_of(p), split, a->dim[0], f.space, &to));
    pf_target t = {.to = to, .as = f.space.kind == PF_LEVELS ? PF_AS_PIXELS : PF_AS_DOUBLES};
    if (f.planes) order_planes(a, f.space.shape, &t);
    else order_plain(a, &t);
    PF_TRY(pf_numbers_move(p->from, a, &t));
    if (f.planes)
        pf_log("data: %s: the images of %s are planes of channels, %d of %dx%d", path_of(p),
               a->name, f.space.shape.c, f.space.shape.h, f.space.shape.w);
    return PF_OK;
}

/* ---- labels and conditions ---- */

static PF_MUST_USE pf_status take_labels(plan *p, const pf_named *a, role r, int split)
{
    char buf[160];
    int32_t *to = NULL;
    PF_REQUIRE(a->rank == 1 || (a->rank == 2 && a->dim[1] == 1), PF_EFORMAT,
               "%s: the labels %s are %s; one number a row is wanted, [N] or [N,1], which of "
               "one-hot rows is their argmax",
               path_of(p), a->name, form(a, buf));
    PF_TRY(r == COARSE
               ? pf_table_coarse(p->t, path_of(p), split, a->dim[0], &to)
               : pf_table_labels(p->t, path_of(p), split, a->dim[0], PF_BY_NUMBER, &to));
    pf_target t = {.as = PF_AS_LABELS, .to = to};
    order_plain(a, &t);
    PF_TRY(pf_numbers_move(p->from, a, &t));
    return PF_OK;
}

static PF_MUST_USE pf_status take_conditions(plan *p, const pf_named *a, int split)
{
    char buf[160];
    double *to = NULL;
    int64_t width = a->rank == 2 ? a->dim[1] : 1;
    PF_REQUIRE((a->rank == 1 || a->rank == 2) && width <= 1 << 20, PF_EFORMAT,
               "%s: the conditions %s are %s; [N] or [N,C] numbers are wanted", path_of(p),
               a->name, form(a, buf));
    PF_TRY(pf_table_conditions(p->t, path_of(p), split, a->dim[0], (int)width, &to));
    pf_target t = {.as = PF_AS_DOUBLES, .to = to};
    order_plain(a, &t);
    PF_TRY(pf_numbers_move(p->from, a, &t));
    return PF_OK;
}

/* ---- which array is what ---- */

/* The group of an array, and the split of the group. */
static PF_MUST_USE pf_status find_group(plan *p, const pf_named *a, int *group)
{
    pf_source *s = p->from->s;
    int of_file = !strncmp(s->name, a->name, strlen(a->name)); /* pf_source_split knows it */
    int says = of_file ? PF_SPLIT_UNSAID : pf_split_of_name(a->name);
    PF_REQUIRE(says != PF_SPLIT_TWO || s->given != PF_SPLIT_UNSAID, PF_EFORMAT,
               "%s: the name %s says two splits; say which by --split NAME=%s", s->path,
               a->name, s->path);
    if (s->given == PF_SPLIT_UNSAID && says >= 0) {
        s->how = "by the names of its arrays";
        *group = says;
        p->split[says] = says;
        return PF_OK;
    }
    PF_TRY(pf_source_split(s, &p->split[GROUPS - 1], NULL));
    /* Said outright for all: arrays of two splits go into one, one behind the other. */
    *group = s->given == PF_SPLIT_UNSAID ? p->split[GROUPS - 1] : says >= 0 ? says : GROUPS - 1;
    p->split[*group] = p->split[GROUPS - 1];
    return PF_OK;
}

static PF_MUST_USE pf_status assign(plan *p, const pf_named *a, role r)
{
    static const char *const what[] = {"the images or points", "the labels",
                                       "the coarse labels", "the conditions"};
    char buf[160];
    int g = 0;
    PF_REQUIRE(a->type != PF_NUMBER_NONE, PF_EFORMAT, "%s: %s holds %s; numbers are wanted",
               path_of(p), a->name, a->no);
    PF_REQUIRE(a->rank == 0 || a->values > 0, PF_EFORMAT, "%s: %s is %s and holds nothing",
               path_of(p), a->name, form(a, buf));
    PF_TRY(find_group(p, a, &g));
    const pf_named *before = p->of[g][r];
    PF_REQUIRE(!before || strcmp(before->name, a->name), PF_EFORMAT, "%s holds %s twice",
               path_of(p), a->name);
    PF_REQUIRE(!before, PF_EFORMAT, "%s: %s and %s could both be %s of the split %s",
               path_of(p), before->name, a->name, what[r], pf_split_name(p->split[g]));
    p->of[g][r] = a;
    return PF_OK;
}

/* Appends a name to a list for people. */
static void list_name(char *list, size_t room, const char *name)
{
    size_t at = strlen(list);
    if (at + 4 < room) snprintf(list + at, room - at, "%s%.60s", at ? ", " : "", name);
}

static PF_MUST_USE pf_status assign_all(plan *p)
{
    char others[256] = "";
    int n = p->from->n, unread = 0;
    for (int i = 0; i < n; i++) {
        const pf_named *a = &p->from->list[i];
        role r = (role)role_of(a->name);
        if (r == ROLES && n == 1) r = VALUES;
        if (r != ROLES) PF_TRY(assign(p, a, r));
        else if (unread++ >= 0) list_name(others, sizeof others, a->name);
    }
    PF_REQUIRE(n > unread, PF_EFORMAT,
               "%s has no array called images, x, data, points, features, labels, y or "
               "conditions; it has %d: %s",
               path_of(p), n, others);
    if (unread)
        pf_log("data: %s: %d array%s not read, whose names say no use: %s", path_of(p), unread,
               unread == 1 ? "" : "s", others);
    return PF_OK;
}

/* Arrays of one group have one row each for each row. */
static PF_MUST_USE pf_status check_rows(const plan *p, int g)
{
    const pf_named *first = p->of[g][VALUES];
    for (int r = 1; r < ROLES && first; r++) {
        const pf_named *a = p->of[g][r];
        PF_REQUIRE(!a || first->rank == 0 || a->rank == 0 || a->dim[0] == first->dim[0],
                   PF_EFORMAT, "%s: %s has %lld rows, %s has %lld", path_of(p), first->name,
                   (long long)first->dim[0], a->name, (long long)a->dim[0]);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status take_group(plan *p, int g)
{
    const pf_named *const *of = p->of[g];
    int split = p->split[g];
    if (of[VALUES]) PF_TRY(take_values(p, of[VALUES], of[LABELS] != NULL, split));
    if (of[LABELS]) PF_TRY(take_labels(p, of[LABELS], LABELS, split));
    if (of[COARSE]) PF_TRY(take_labels(p, of[COARSE], COARSE, split));
    if (of[CONDITIONS]) PF_TRY(take_conditions(p, of[CONDITIONS], split));
    return PF_OK;
}

pf_status pf_arrays_take(const pf_arrays *from, pf_table *t)
{
    plan p = {.from = from, .t = t};
    PF_TRY(assign_all(&p));
    for (int g = 0; g < GROUPS; g++) PF_TRY(check_rows(&p, g));
    for (int g = 0; g < GROUPS; g++) PF_TRY(take_group(&p, g));
    return PF_OK;
}
