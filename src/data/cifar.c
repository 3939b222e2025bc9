/* CIFAR-10 binary batches: records of one label byte and 3072 bytes, planes R, G, B of 32x32. */
#include "data/format.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE, PACKED_MOST = 100000 };

static int knows(const pf_source *s)
{
    return s->file && pf_source_ends(s, ".bin");
}

/* CIFAR-100 has a label of 20 classes before that of 100. */
static int is_cifar100(const pf_source *s)
{
    return !pf_input_packed(s->file) && pf_input_size(s->file) % (RECORD + 1) == 0 &&
           s->n_head > 1 && s->head[0] < 20 && s->head[1] < 100;
}

static PF_MUST_USE pf_status no_cifar10(const pf_source *s, const char *why)
{
    PF_REQUIRE(!is_cifar100(s), PF_ENOSUPP,
               "%s is CIFAR-100 binary (records of %d bytes with two labels), CIFAR-10 is read",
               s->path, RECORD + 1);
    PF_FAIL(PF_EFORMAT, "%s %s", s->path, why);
}

static PF_MUST_USE pf_status whole(const pf_source *s, size_t rest)
{
    char why[160];
    snprintf(why, sizeof why,
             "is truncated or no CIFAR-10 binary: %zu bytes stand behind the last whole record "
             "of %d",
             rest, RECORD);
    if (rest) PF_TRY(no_cifar10(s, why));
    return PF_OK;
}

static PF_MUST_USE pf_status check_label(const pf_source *s, int64_t record, int label)
{
    char why[160];
    snprintf(why, sizeof why, "is no CIFAR-10 binary: record %lld has label %d, not 0 to 9",
             (long long)record, label);
    if (label > 9) PF_TRY(no_cifar10(s, why));
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    const pf_layout l = {PF_DATA_IMAGES, 256, {SIDE, SIDE, 3}};
    unsigned char b[RECORD], *to = NULL;
    int32_t *label = NULL;
    int split, packed = pf_input_packed(s->file);
    size_t got = 0, size = pf_input_size(s->file);
    int64_t room = 0, block = packed ? 1 : (int64_t)(size / RECORD);
    if (!packed) PF_TRY(whole(s, size % RECORD));
    PF_TRY(pf_source_split(s, &split, NULL));
    for (int64_t i = 0;; i++) {
        PF_TRY(pf_input_read(s->file, b, RECORD, &got));
        if (got == 0) break;
        PF_TRY(whole(s, got % RECORD));
        PF_TRY(check_label(s, i, b[0]));
        PF_REQUIRE(!packed || i < PACKED_MOST, PF_EFORMAT,
                   "%s unpacks to more than %d records, more than CIFAR-10 has", s->path,
                   PACKED_MOST);
        if (room == 0) {
            PF_TRY(pf_table_rows(t, s->path, split, block, l, &to));
            PF_TRY(pf_table_labels(t, s->path, split, block, PF_BY_NUMBER, &label));
            room = block;
        }
        room--;
        *label++ = b[0];
        for (int p = 0; p < PLANE; p++)
            for (int c = 0; c < 3; c++) *to++ = b[1 + c * PLANE + p];
    }
    PF_REQUIRE(room == 0, PF_EIO, "%s changed while it was read", s->path);
    return PF_OK;
}

const pf_format pf_format_cifar = {"CIFAR-10 binary", knows, read};
