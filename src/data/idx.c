/* IDX, the format of MNIST and its successors: big-endian, magic 0 0 TYPE RANK, then RANK sizes.
 * Rank 3 or 4 of unsigned bytes are images; rank 1 of integers are labels, and so is the first column of
 * QMNIST's rank 2, whose other columns say who wrote the digit. */
#include <probflow/log.h>
#include "data/format.h"
#include <string.h>

typedef struct header {
    int rank, type;
    size_t bytes, values; /* of the header itself; bytes of what follows */
    uint32_t dim[4];
} header;

enum { BYTE = 8, INT8 = 9, INT16 = 11, INT32 = 12, QMNIST = 8 };

static uint32_t big(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int has_magic(const pf_source *s)
{
    static const char types[] = {8, 9, 11, 12, 13, 14};
    return s->n_head >= 4 && s->head[0] == 0 && s->head[1] == 0 &&
           memchr(types, s->head[2], sizeof types);
}

/* Bytes of a value; 0: of no type that is read. */
static size_t width(int type)
{
    return type == BYTE || type == INT8 ? 1 : type == INT16 ? 2 : type == INT32 ? 4 : 0;
}

static PF_MUST_USE pf_status check_kind(const pf_source *s, const header *h)
{
    PF_REQUIRE(h->rank >= 1 && h->rank <= 4, PF_EFORMAT,
               "%s: IDX of rank %d is neither images (3 or 4) nor labels (1)", s->path,
               h->rank);
    PF_REQUIRE(h->rank < 3 || h->type == BYTE, PF_EFORMAT,
               "%s: IDX type %d, only unsigned bytes (8) are images", s->path, h->type);
    PF_REQUIRE(width(h->type), PF_EFORMAT,
               "%s: IDX type %d, only integers (8, 9, 11, 12) are labels", s->path, h->type);
    PF_REQUIRE(h->rank != 2 || h->type == INT32, PF_EFORMAT,
               "%s: IDX of rank 2 and type %d, only int32 (12) are labels of QMNIST", s->path,
               h->type);
    return PF_OK;
}

static PF_MUST_USE pf_status parse(const pf_source *s, header *h)
{
    const unsigned char *b = s->head;
    PF_REQUIRE(has_magic(s), PF_EFORMAT, "%s is no IDX file", s->path);
    *h = (header){.rank = b[3], .type = b[2], .values = width(b[2]), .dim = {0, 1, 1, 1}};
    PF_TRY(check_kind(s, h));
    h->bytes = 4 + 4 * (size_t)h->rank;
    PF_REQUIRE(s->n_head >= h->bytes, PF_EFORMAT, "%s is truncated", s->path);
    for (int i = 0; i < h->rank; i++) {
        h->dim[i] = big(b + 4 + 4 * i);
        PF_REQUIRE(h->dim[i] > 0, PF_EFORMAT, "%s holds nothing: its IDX size %d is 0", s->path,
                   i + 1);
        PF_REQUIRE(h->values <= SIZE_MAX / 2 / h->dim[i], PF_EFORMAT, "%s: impossible IDX size",
                   s->path);
        h->values *= h->dim[i];
    }
    PF_REQUIRE(h->rank != 2 || h->dim[1] == QMNIST, PF_EFORMAT,
               "%s: IDX of rank 2 with %u columns; labels of QMNIST have %d", s->path,
               (unsigned)h->dim[1], QMNIST);
    return PF_OK;
}

/* A CIFAR batch may begin with the same bytes: a file called .bin must have the right length. */
static int knows(const pf_source *s)
{
    header h;
    if (!s->file || !has_magic(s)) return 0;
    if (!pf_source_ends(s, ".bin")) return 1;
    return !pf_input_packed(s->file) && !parse(s, &h) &&
           pf_input_size(s->file) == h.bytes + h.values;
}

static PF_MUST_USE pf_status take(pf_source *s, void *to, size_t n)
{
    size_t got = 0;
    PF_TRY(pf_input_read(s->file, to, n, &got));
    PF_REQUIRE(got == n, PF_EFORMAT, "%s is truncated", s->path);
    return PF_OK;
}

static int32_t value(const unsigned char *b, int type)
{
    return type == BYTE    ? b[0]
           : type == INT8  ? (int8_t)b[0]
           : type == INT16 ? (int16_t)(b[0] << 8 | b[1])
                           : (int32_t)big(b);
}

static PF_MUST_USE pf_status take_labels(pf_source *s, const header *h, int split, pf_table *t)
{
    unsigned char b[4096];
    int32_t *labels = NULL;
    size_t row = h->values / h->dim[0]; /* divides the block */
    if (h->rank == 2)
        pf_log("data: %s: the class is column 0 of %d, the other columns are not kept", s->path,
               QMNIST);
    for (size_t at = 0; at < h->values;) {
        size_t n = h->values - at < sizeof b ? h->values - at : sizeof b, rows = n / row;
        PF_TRY(take(s, b, n));
        PF_TRY(pf_table_labels(t, s->path, split, (int64_t)rows, PF_BY_NUMBER, &labels));
        for (size_t k = 0; k < rows; k++) {
            labels[k] = value(b + k * row, h->type);
            PF_REQUIRE(labels[k] >= 0, PF_EFORMAT,
                       "%s: label %zu is %d, but classes are 0, 1, ..", s->path, at / row + k,
                       labels[k]);
        }
        at += n;
    }
    return PF_OK;
}

/* A gzip file may promise more than it holds: room is made as its images come. */
static PF_MUST_USE pf_status take_images(pf_source *s, const header *h, int split, pf_table *t)
{
    enum { PIECE = 1 << 26 };
    unsigned char *values = NULL;
    PF_REQUIRE(h->dim[1] < 1 << 15 && h->dim[2] < 1 << 15 && h->dim[3] < 1 << 10, PF_EFORMAT,
               "%s: impossible image size", s->path);
    pf_space l = {.kind = PF_LEVELS,
                  .shape = {(int)h->dim[1], (int)h->dim[2], (int)h->dim[3]},
                  .levels = 256};
    size_t row = h->values / h->dim[0];
    int64_t n = h->dim[0], piece = pf_input_packed(s->file) ? (int64_t)(PIECE / row) + 1 : n;
    for (int64_t at = 0; at < n; at += piece) {
        int64_t some = n - at < piece ? n - at : piece;
        PF_TRY(pf_table_rows(t, s->path, split, some, l, &values));
        PF_TRY(take(s, values, (size_t)some * row));
    }
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    header h;
    int split;
    unsigned char skipped[sizeof s->head];
    PF_TRY(parse(s, &h));
    size_t size = pf_input_size(s->file), all = h.bytes + h.values;
    PF_REQUIRE(pf_input_packed(s->file) ? all <= pf_input_most(s->file) : all == size,
               PF_EFORMAT,
               "%s is truncated or too long: its header promises %zu bytes, it has %zu%s",
               s->path, all, size, pf_input_packed(s->file) ? ", compressed" : "");
    PF_TRY(pf_source_split(s, &split, NULL));
    PF_TRY(take(s, skipped, h.bytes));
    PF_TRY(h.rank <= 2 ? take_labels(s, &h, split, t) : take_images(s, &h, split, t));
    PF_TRY(pf_input_end(s->file));
    return PF_OK;
}

const pf_format pf_format_idx = {"IDX", knows, read};
