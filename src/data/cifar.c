/* CIFAR binary batches: records of labels and 3072 bytes, planes R, G, B of 32x32.
 *
 *   CIFAR-10    a label 0 to 9
 *   CIFAR-100   a coarse label 0 to 19, a fine label 0 to 99, which is the class
 *
 * Nothing in a file says which it is: its length does, and where both fit, the labels.  CIFAR-100 has no
 * file called a batch: a damaged one of CIFAR-10 may have its length. */
#include "data/format.h"
#include <string.h>

enum {
    SIDE = 32,
    PLANE = SIDE * SIDE,
    PIXELS = 3 * PLANE,
    TEN = 1 + PIXELS,
    HUNDRED = 2 + PIXELS,
    PACKED_MOST = 100000
};

/* One label of each record. */
typedef struct column {
    const char *of;
    size_t next, step; /* place in the file */
    int most, value;   /* value: the first that is more, of the record `bad` */
    int64_t bad;       /* -1: none */
} column;

typedef struct layout {
    size_t bytes;
    column ten, coarse, fine;
} layout;

static int knows(const pf_source *s)
{
    return s->file && pf_source_ends(s, ".bin");
}

/* b [n] are the bytes from `at` on. */
static void check(column *c, const unsigned char *b, size_t at, size_t n)
{
    for (; c->next < at + n; c->next += c->step) {
        int v = b[c->next - at];
        if (v <= c->most || c->bad >= 0) continue;
        c->bad = (int64_t)(c->next / c->step);
        c->value = v;
    }
}

/* Goes through the whole file. */
static PF_MUST_USE pf_status look(pf_source *s, layout *l)
{
    unsigned char b[1 << 14];
    size_t n = 0;
    *l = (layout){.ten = {"CIFAR-10", 0, TEN, 9, 0, -1},
                  .coarse = {"CIFAR-100", 0, HUNDRED, 19, 0, -1},
                  .fine = {"CIFAR-100", 1, HUNDRED, 99, 0, -1}};
    do {
        PF_TRY(pf_input_read(s->file, b, sizeof b, &n));
        check(&l->ten, b, l->bytes, n);
        check(&l->coarse, b, l->bytes, n);
        check(&l->fine, b, l->bytes, n);
        l->bytes += n;
        PF_REQUIRE(!pf_input_packed(s->file) || l->bytes <= (size_t)PACKED_MOST * HUNDRED,
                   PF_EFORMAT, "%s unpacks to more than the %d records that CIFAR could have",
                   s->path, PACKED_MOST);
    } while (n == sizeof b);
    PF_TRY(pf_input_drain(s->file));
    return PF_OK;
}

static PF_MUST_USE pf_status decide(const pf_source *s, const layout *l, int *hundred)
{
    int is_batch = strcasestr(s->name, "batch") != NULL, fits_ten = l->bytes % TEN == 0,
        fits_hundred = l->bytes % HUNDRED == 0 && !is_batch;
    PF_REQUIRE(fits_ten || !is_batch, PF_EFORMAT,
               "%s is truncated or no CIFAR-10 binary: its %zu bytes are no whole number of "
               "records of %d",
               s->path, l->bytes, TEN);
    PF_REQUIRE(
        fits_ten || fits_hundred, PF_EFORMAT,
        "%s is truncated or no CIFAR binary: its %zu bytes are no whole number of records "
        "of %d (CIFAR-10) or %d (CIFAR-100)",
        s->path, l->bytes, TEN, HUNDRED);
    int ten = fits_ten && l->ten.bad < 0,
        other = fits_hundred && l->coarse.bad < 0 && l->fine.bad < 0;
    PF_REQUIRE(
        !ten || !other, PF_EFORMAT,
        "%s can be read both as %zu records of CIFAR-10 and as %zu of CIFAR-100; give it in "
        "parts of another length",
        s->path, l->bytes / TEN, l->bytes / HUNDRED);
    *hundred = other;
    if (ten || other) return PF_OK;
    const column *c = fits_ten ? &l->ten : l->coarse.bad >= 0 ? &l->coarse : &l->fine;
    PF_FAIL(PF_EFORMAT, "%s is no %s binary: record %lld has the label %d, not 0 to %d",
            s->path, c->of, (long long)c->bad, c->value, c->most);
}

/* Label 3 of the one is no label 3 of the other. */
static PF_MUST_USE pf_status same_classes(const pf_source *s, const pf_table *t, int hundred)
{
    for (int k = 0; k < PF_SPLITS; k++)
        PF_REQUIRE(t->split[k].n_coarse == (hundred ? t->split[k].n_labels : 0), PF_EFORMAT,
                   "%s is CIFAR-%d, whose classes are not those of %s", s->path,
                   hundred ? 100 : 10, t->split[k].of_labels);
    return PF_OK;
}

static PF_MUST_USE pf_status take(pf_source *s, pf_table *t, int64_t n, int hundred)
{
    const pf_space l = {.kind = PF_LEVELS, .shape = {SIDE, SIDE, 3}, .levels = 256};
    unsigned char b[HUNDRED], *to = NULL;
    int32_t *label = NULL, *coarse = NULL;
    int split;
    size_t got = 0, labels = hundred ? 2 : 1;
    PF_TRY(pf_source_split(s, &split, NULL));
    PF_TRY(pf_table_rows(t, s->path, split, n, l, &to));
    PF_TRY(pf_table_labels(t, s->path, split, n, PF_BY_NUMBER, &label));
    if (hundred) PF_TRY(pf_table_coarse(t, s->path, split, n, &coarse));
    for (int64_t i = 0; i < n; i++) {
        PF_TRY(pf_input_read(s->file, b, labels + PIXELS, &got));
        PF_REQUIRE(got == labels + PIXELS, PF_EIO, "%s changed while it was read", s->path);
        if (hundred) coarse[i] = b[0];
        label[i] = b[labels - 1];
        for (int p = 0; p < PLANE; p++)
            for (int c = 0; c < 3; c++) *to++ = b[labels + (size_t)(c * PLANE + p)];
    }
    PF_TRY(pf_input_end(s->file));
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    layout l;
    int hundred = 0;
    PF_TRY(look(s, &l));
    PF_TRY(decide(s, &l, &hundred));
    size_t n = l.bytes / (hundred ? HUNDRED : TEN);
    PF_TRY(same_classes(s, t, hundred));
    PF_TRY(pf_input_rewind(s->file, NULL)); /* its bytes are summed */
    PF_TRY(take(s, t, (int64_t)n, hundred));
    return PF_OK;
}

const pf_format pf_format_cifar = {"CIFAR binary", knows, read};
