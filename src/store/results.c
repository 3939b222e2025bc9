/* Results of a likelihood run: one dataset per ledger column, `done` and `rows_crc32` per group.
 *
 * The file is laid out once, whole; every later write replaces bytes at places known from the
 * start, without HDF5.  So a kill at any moment leaves a readable file and a full disk cannot
 * happen half-way.  The rows of a group are on disk before its flag is. */
#include "store/h5.h"
#include "store/results_file.h"

#include <probflow/file.h>
#include <probflow/log.h>
#include <probflow/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t rows_in(const pf_results *r, int64_t g)
{
    int64_t left = r->images - g * r->group;
    return (left < r->group ? left : r->group) * r->draws;
}

static int64_t first_row(const pf_results *r, int64_t g)
{
    return g * r->group * r->draws;
}

/* Column by column, as the file has them. */
static void pack(const pf_results *r, int64_t n, const double *cells, unsigned char *packed)
{
    for (int c = 0; c < r->stored; c++) {
        pf_cells_pack(&r->column[c], n, r->columns, cells + c, packed);
        packed += (size_t)n * pf_cell_size(&r->column[c]);
    }
}

/* What the file lacks is not known. */
static void unpack(const pf_results *r, int64_t n, const unsigned char *packed, double *cells)
{
    pf_ledger_clear(&(pf_ledger){n, r->columns, r->column, cells});
    for (int c = 0; c < r->stored; c++) {
        pf_cells_unpack(&r->column[c], n, r->columns, packed, cells + c);
        packed += (size_t)n * pf_cell_size(&r->column[c]);
    }
}

/* ---- bytes in place -------------------------------------------------------------------------- */

static PF_MUST_USE pf_status put_bytes(const pf_results *r, const void *p, size_t n, off_t at)
{
    int bad = pf_write_at(r->fd, p, n, at);
    PF_REQUIRE(!bad, PF_EIO, "cannot write %s: %s", r->path, strerror(bad));
    return PF_OK;
}

static PF_MUST_USE pf_status sync_bytes(const pf_results *r)
{
    PF_REQUIRE(!fdatasync(r->fd), PF_EIO, "cannot write %s: %s", r->path, strerror(errno));
    return PF_OK;
}

static PF_MUST_USE pf_status get_bytes(const pf_results *r, void *p, size_t n, off_t at)
{
    ssize_t k = pf_h5_pread(r->fd, p, n, (uint64_t)at);
    PF_REQUIRE(k == (ssize_t)n, PF_EIO, "cannot read %s: %s", r->path,
               k < 0 ? strerror(errno) : "it is truncated");
    return PF_OK;
}

/* The columns of a group as they are stored, one after the other. */
static PF_MUST_USE pf_status get_packed(const pf_results *r, int64_t g, unsigned char *packed)
{
    for (int c = 0; c < r->stored; c++) {
        size_t size = pf_cell_size(&r->column[c]), len = (size_t)rows_in(r, g) * size;
        PF_TRY(get_bytes(r, packed, len, r->at[c] + (off_t)((size_t)first_row(r, g) * size)));
        packed += len;
    }
    return PF_OK;
}

/* Rows of a group into cells, and whether they match their checksum. */
static PF_MUST_USE pf_status read_group(const pf_results *r, int64_t g, double *cells,
                                        int *good)
{
    int64_t n = rows_in(r, g);
    size_t bytes = pf_packed_size(r, n);
    unsigned char *packed = pf_zalloc(bytes);
    PF_REQUIRE(packed, PF_EMEM, "no memory to read %s", r->path);
    pf_status st = get_packed(r, g, packed);
    *good = !st && pf_h5_crc(packed, bytes) == r->crc[g];
    if (!st) unpack(r, n, packed, cells);
    pf_free(packed);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Groups whose rows do not match are computed again. */
static PF_MUST_USE pf_status check_groups(pf_results *r)
{
    int64_t most = (int64_t)r->group * r->draws * r->columns, bad = 0;
    double *cells = pf_zalloc((size_t)most * sizeof *cells);
    PF_REQUIRE(cells, PF_EMEM, "no memory to read %s", r->path);
    pf_status st = PF_OK;
    for (int64_t g = 0; g < r->groups && !st; g++) {
        int good = 1;
        if (r->done[g]) st = read_group(r, g, cells, &good);
        if (r->done[g] != 0 && (!good || r->done[g] != 1)) r->done[g] = 0, bad++;
    }
    pf_free(cells);
    if (bad)
        pf_log("%s: %lld groups are damaged and will be computed again", r->path,
               (long long)bad);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Bytes up to the first difference, the end included. */
static size_t agreement(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] == b[n])
        if (!a[n++]) break;
    return n;
}

static PF_MUST_USE pf_status same_config(const pf_results *r, const pf_results_info *info)
{
    const char *a = r->config, *b = info->config;
    if (info->before && agreement(a, info->before) > agreement(a, b)) b = info->before;
    while (*a || *b) {
        a += strspn(a, " "), b += strspn(b, " ");
        size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
        if (n != m || memcmp(a, b, n))
            PF_FAIL(
                PF_EARG,
                "%s was made with another configuration: it has '%.*s', this run has '%.*s'",
                r->path, (int)(n < 120 ? n : 120), a, (int)(m < 120 ? m : 120), b);
        a += n + (a[n] == '\n');
        b += m + (b[m] == '\n');
    }
    PF_REQUIRE(
        r->images == info->images && r->draws == info->draws && r->group == info->group,
        PF_EARG,
        "%s holds %lld images in groups of %d with %d draws, this run has %lld, %d and %d",
        r->path, (long long)r->images, r->group, r->draws, (long long)info->images, info->group,
        info->draws);
    return PF_OK;
}

static PF_MUST_USE pf_status take_lock(pf_results *r)
{
    char target[PATH_MAX], path[PATH_MAX + 8];
    PF_TRY(pf_file_target(r->path, target)); /* one lock, by whatever link it is reached */
    snprintf(path, sizeof path, "%s.lock", target);
    PF_TRY(pf_lock_take(path, r->path, &r->lock));
    return PF_OK;
}

/* All rows in the order of the file, those of unfinished groups as they are. */
static PF_MUST_USE pf_status read_file_order(const pf_results *r, double *cells)
{
    int good = 0;
    for (int64_t g = 0; g < r->groups; g++)
        PF_TRY(read_group(r, g, cells + first_row(r, g) * r->columns, &good));
    return PF_OK;
}

/* Writes the file whole, s: with a summary, and goes on in the new one. */
static PF_MUST_USE pf_status renew(pf_results *r, const pf_summary *s)
{
    int direct = 0;
    double *cells = pf_zalloc((size_t)r->rows * (size_t)r->columns * sizeof *cells);
    PF_REQUIRE(cells, PF_EMEM, "no memory to read %s", r->path);
    pf_status st = read_file_order(r, cells);
    if (!st) st = pf_results_write(r, cells, s);
    pf_free(cells);
    if (st) return pf_trail(st, PF_WHERE);
    pf_results fresh = {.fd = -1,
                        .lock = r->lock,
                        .form = {r->form[0], r->form[1]},
                        .columns = r->columns,
                        .column = r->column};
    strcpy(fresh.path, r->path);
    st = pf_results_place(&fresh, O_RDWR, &direct);
    close(r->fd);
    pf_free(r->config);
    pf_free(r->done);
    pf_free(r->crc);
    *r = fresh;
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status open_into(pf_results *r, const char *path, int flags,
                                       const pf_results_info *info)
{
    int direct = 0;
    PF_REQUIRE(info->images > 0 && info->draws > 0 && info->group > 0 &&
                   strlen(path) < sizeof r->path,
               PF_EARG, "results want images, draws and a group size above 0");
    PF_REQUIRE(info->columns > PF_AT_LABEL && info->columns <= PF_LEDGER_MAX, PF_EARG,
               "results of %d columns", info->columns);
    strcpy(r->path, path);
    r->columns = info->columns;
    r->column = info->column;
    if (flags == O_RDWR) PF_TRY(take_lock(r));
    if (flags == O_RDWR && access(path, F_OK)) PF_TRY(pf_results_create(path, info));
    PF_TRY(pf_results_place(r, flags, &direct));
    PF_TRY(same_config(r, info));
    for (int i = 0; i < 2; i++) {
        const char *form = i ? info->before : info->config;
        r->form[i] = form ? pf_strdup(form) : NULL;
        PF_REQUIRE(r->form[i] || !form, PF_EMEM, "no memory to open %s", path);
    }
    if (flags == O_RDWR && !direct)
        PF_TRY(renew(r, NULL)); /* a file from before there were seals */
    PF_TRY(check_groups(r));
    return PF_OK;
}

static PF_MUST_USE pf_status open_results(const char *path, int flags,
                                          const pf_results_info *info, pf_results **out)
{
    pf_results *r = pf_zalloc(sizeof *r);
    PF_REQUIRE(r, PF_EMEM, "no memory to open %s", path);
    pf_status st = open_into(r, path, flags, info);
    if (st) {
        pf_results_free(r);
        return pf_trail(st, PF_WHERE);
    }
    *out = r;
    return PF_OK;
}

pf_status pf_results_open(const char *path, const pf_results_info *info, pf_results **out)
{
    PF_TRY(open_results(path, O_RDWR, info, out));
    return PF_OK;
}

int pf_results_done(const pf_results *r, int64_t group)
{
    return group >= 0 && group < r->groups && r->done[group];
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Rows and checksum; they count once the flag is set, after a sync. */
static PF_MUST_USE pf_status put_rows(pf_results *r, int64_t g, const unsigned char *packed)
{
    int64_t n = rows_in(r, g);
    const unsigned char *p = packed;
    r->crc[g] = pf_h5_crc(packed, pf_packed_size(r, n));
    for (int c = 0; c < r->stored; c++) {
        size_t size = pf_cell_size(&r->column[c]), len = (size_t)n * size;
        PF_TRY(put_bytes(r, p, len, r->at[c] + (off_t)((size_t)first_row(r, g) * size)));
        p += len;
    }
    PF_TRY(put_bytes(r, &r->crc[g], sizeof r->crc[g], r->at_crc + g * (off_t)sizeof r->crc[g]));
    return PF_OK;
}

static PF_MUST_USE pf_status put_flag(pf_results *r, int64_t g, unsigned char done)
{
    PF_TRY(put_bytes(r, &done, 1, r->at_done + g));
    r->done[g] = done;
    return PF_OK;
}

static PF_MUST_USE pf_status put_group(pf_results *r, int64_t g, const unsigned char *packed)
{
    if (r->done[g]) PF_TRY(put_flag(r, g, 0));
    PF_TRY(put_rows(r, g, packed));
    PF_TRY(sync_bytes(r));
    PF_TRY(put_flag(r, g, 1));
    PF_TRY(sync_bytes(r));
    return PF_OK;
}

pf_status pf_results_put(pf_results *r, int64_t group, const double *cells, int n)
{
    PF_REQUIRE(group >= 0 && group < r->groups && n == rows_in(r, group), PF_EARG,
               "%s: group %lld with %d rows does not fit", r->path, (long long)group, n);
    unsigned char *packed = pf_zalloc(pf_packed_size(r, n));
    PF_REQUIRE(packed, PF_EMEM, "no memory to write %s", r->path);
    pack(r, n, cells, packed);
    pf_status st = put_group(r, group, packed);
    pf_free(packed);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Two syncs for all groups together: rows, then flags.  cells, packed: room for a group. */
static PF_MUST_USE pf_status copy_groups(pf_results *r, const pf_results *from, double *cells,
                                         unsigned char *packed, int64_t *copied)
{
    int good;
    for (int64_t g = 0; g < r->groups; g++) {
        if (r->done[g] || !from->done[g]) continue;
        PF_TRY(read_group(from, g, cells, &good));
        pack(r, rows_in(r, g), cells, packed);
        PF_TRY(put_rows(r, g, packed));
    }
    PF_TRY(sync_bytes(r));
    for (int64_t g = 0; g < r->groups; g++) {
        if (r->done[g] || !from->done[g]) continue;
        PF_TRY(put_flag(r, g, 1));
        ++*copied;
    }
    PF_TRY(sync_bytes(r));
    return PF_OK;
}

pf_status pf_results_adopt(pf_results *r, const char *path, int64_t *adopted)
{
    const pf_results_info mine = {r->images,  r->draws,   r->group, r->form[0],
                                  r->form[1], r->columns, r->column};
    pf_results *from = NULL;
    *adopted = 0;
    PF_TRY(open_results(path, O_RDONLY, &mine, &from));
    size_t rows = (size_t)r->group * (size_t)r->draws;
    unsigned char *packed = pf_zalloc(pf_packed_size(r, (int64_t)rows));
    double *cells = pf_zalloc(rows * (size_t)r->columns * sizeof *cells);
    pf_status st = packed && cells ? copy_groups(r, from, cells, packed, adopted)
                                   : pf_raise(PF_EMEM, PF_WHERE, "no memory to read %s", path);
    pf_free(packed);
    pf_free(cells);
    pf_results_free(from);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- all rows -------------------------------------------------------------------------------- */

static int by_image(const void *a, const void *b)
{
    return pf_ledger_order(a, b);
}

pf_status pf_results_rows(pf_results *r, pf_ledger *rows)
{
    size_t row = (size_t)r->columns * sizeof(double);
    double *all = pf_zalloc((size_t)r->rows * row);
    PF_REQUIRE(all, PF_EMEM, "no memory to read %s", r->path);
    pf_status st = PF_OK;
    int64_t n = 0;
    for (int64_t g = 0; g < r->groups && !st; g++) {
        int good = 1;
        if (!r->done[g]) continue;
        st = read_group(r, g, all + n * r->columns, &good);
        if (!st && !good)
            st = pf_raise(PF_EFORMAT, PF_WHERE,
                          "%s is damaged: group %lld does not match its checksum", r->path,
                          (long long)g);
        n += rows_in(r, g);
    }
    if (st) {
        pf_free(all);
        return pf_trail(st, PF_WHERE);
    }
    qsort(all, (size_t)n, row, by_image);
    *rows = (pf_ledger){.rows = n, .n = r->columns, .column = r->column, .cell = all};
    return PF_OK;
}

/* A summary is an attribute, which needs HDF5: the whole file is written anew. */
pf_status pf_results_summary(pf_results *r, const pf_summary *s)
{
    PF_TRY(renew(r, s));
    return PF_OK;
}

pf_status pf_results_close(pf_results *r)
{
    if (!r) return PF_OK;
    pf_status st = r->fd > 0 ? sync_bytes(r) : PF_OK;
    pf_results_free(r);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
