/* The layout of a results file, written whole through HDF5; see results.c. */
#include "store/h5.h"
#include "store/results_file.h"

#include <probflow/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static hid_t type_of(const pf_ledger_column *c)
{
    return c->type == PF_CELL_I64   ? H5T_NATIVE_INT64
           : c->type == PF_CELL_I32 ? H5T_NATIVE_INT32
                                    : H5T_NATIVE_DOUBLE;
}

size_t pf_cell_size(const pf_ledger_column *c)
{
    return c->type == PF_CELL_I32 ? 4 : 8;
}

size_t pf_packed_size(const pf_results *r, int64_t n_rows)
{
    size_t row = 0;
    for (int c = 0; c < r->stored; c++) row += pf_cell_size(&r->column[c]);
    return row * (size_t)n_rows;
}

void pf_cells_pack(const pf_ledger_column *c, int64_t n, int step, const double *cells,
                   unsigned char *packed)
{
    size_t size = pf_cell_size(c);
    for (int64_t i = 0; i < n; i++, cells += step, packed += size) {
        /* what is no whole number comes of damage alone */
        int64_t whole = fabs(*cells) < 0x1p62 ? (int64_t)*cells : -1;
        int32_t half = (int32_t)whole;
        memcpy(packed,
               c->type == PF_CELL_F64   ? (const void *)cells
               : c->type == PF_CELL_I64 ? (const void *)&whole
                                        : (const void *)&half,
               size);
    }
}

void pf_cells_unpack(const pf_ledger_column *c, int64_t n, int step,
                     const unsigned char *packed, double *cells)
{
    size_t size = pf_cell_size(c);
    for (int64_t i = 0; i < n; i++, cells += step, packed += size) {
        int64_t whole;
        int32_t half;
        if (c->type == PF_CELL_F64) memcpy(cells, packed, size);
        else if (c->type == PF_CELL_I64) *cells = (memcpy(&whole, packed, size), (double)whole);
        else *cells = (memcpy(&half, packed, size), (double)half);
    }
}

void pf_results_free(pf_results *r)
{
    if (!r) return;
    if (r->fd > 0) close(r->fd);
    pf_free(r->config);
    pf_free(r->form[0]);
    pf_free(r->form[1]);
    pf_free(r->done);
    pf_free(r->crc);
    pf_lock_release(r->lock);
    pf_free(r);
}

static PF_MUST_USE pf_status put_layout(hid_t file, const pf_results *r, const double *cells)
{
    int64_t draws = r->draws, group = r->group;
    PF_TRY(pf_h5_put_text(file, "config", r->config));
    PF_TRY(pf_h5_put_i64(file, "images", 1, &r->images));
    PF_TRY(pf_h5_put_i64(file, "draws", 1, &draws));
    PF_TRY(pf_h5_put_i64(file, "group", 1, &group));
    unsigned char *v = pf_zalloc((size_t)r->rows * 8);
    PF_REQUIRE(v, PF_EMEM, "no memory for the results");
    pf_status st = PF_OK;
    for (int c = 0; c < r->stored && !st; c++) {
        const pf_ledger_column *k = &r->column[c];
        pf_cells_pack(k, r->rows, r->columns, cells + c, v);
        st = pf_h5_put(file, k->name, type_of(k), (pf_h5_shape){1, {(hsize_t)r->rows}}, v, 0);
    }
    pf_free(v);
    if (st) return pf_trail(st, PF_WHERE);
    PF_TRY(pf_h5_put(file, "done", H5T_NATIVE_UINT8, (pf_h5_shape){1, {(hsize_t)r->groups}},
                     r->done, 0));
    PF_TRY(pf_h5_put(file, "rows_crc32", H5T_NATIVE_UINT32,
                     (pf_h5_shape){1, {(hsize_t)r->groups}}, r->crc, 0));
    return PF_OK;
}

/* Names of the figures, which `info` prints in this order; the first two are the number and its error. */
static PF_MUST_USE pf_status put_names(hid_t file, const pf_summary *s)
{
    char names[PF_FIGURES_MAX * (PF_FIGURE_NAME + 1) + 1] = "";
    size_t n = 0;
    for (int i = 0; i < s->n; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? " " : "",
                              s->figure[i].name);
    PF_TRY(pf_h5_put_text(file, "summary", names));
    return PF_OK;
}

static PF_MUST_USE pf_status put_summary(hid_t file, const pf_summary *s)
{
    if (s->unit) PF_TRY(pf_h5_put_text(file, "unit", s->unit));
    PF_TRY(pf_h5_put_i64(file, "summary_images", 1, &s->images));
    PF_TRY(pf_h5_put_i64(file, "summary_rows", 1, &s->rows));
    for (int i = 0; i < s->n; i++)
        PF_TRY(pf_h5_put_f64(file, s->figure[i].name, s->figure[i].value));
    if (s->listed) PF_TRY(put_names(file, s));
    return PF_OK;
}

pf_status pf_results_write(const pf_results *r, const double *cells, const pf_summary *s)
{
    pf_h5_image im;
    PF_TRY(pf_h5_begin(
        &im, pf_packed_size(r, r->rows) + (size_t)r->groups * 5 + strlen(r->config) + 65536, 0,
        "results"));
    pf_status st = put_layout(im.file, r, cells);
    if (!st && s) st = put_summary(im.file, s);
    PF_TRY(pf_h5_end(&im, r->path, st));
    return PF_OK;
}

/* Where the values of a dataset lie: in one piece inside the file. */
static PF_MUST_USE pf_status place_opened(hid_t d, const char *path, const char *name,
                                          hid_t type, int64_t n, off_t *at)
{
    pf_h5_shape s = {0};
    size_t count = 0;
    uint64_t size = 0;
    PF_TRY(pf_h5_backed(d, path, name, &s, &count));
    hid_t stored = H5Dget_type(d), file = H5Iget_file_id(d);
    int fits = stored > 0 && H5Tequal(stored, type) > 0 && (int64_t)count == n;
    if (stored > 0) H5Tclose(stored);
    pf_status st = pf_h5_size(file, path, &size);
    H5Fclose(file);
    PF_TRY(st);
    haddr_t a = H5Dget_offset(d);
    fits = fits && a != HADDR_UNDEF && a <= size && count <= (size - a) / H5Tget_size(type);
    PF_REQUIRE(fits, PF_EFORMAT,
               "%s is damaged: the dataset %s has not the shape of the others", path, name);
    *at = (off_t)a;
    return PF_OK;
}

static PF_MUST_USE pf_status place_of(hid_t file, const char *path, const char *name,
                                      hid_t type, int64_t n, off_t *at)
{
    PF_REQUIRE(pf_h5_has(file, name), PF_EFORMAT, "%s is damaged: it has no dataset %s", path,
               name);
    hid_t d = H5Dopen2(file, name, H5P_DEFAULT);
    PF_REQUIRE(d > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", path, name);
    pf_status st = place_opened(d, path, name, type, n, at);
    H5Dclose(d);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status read_counts(hid_t file, pf_results *r)
{
    int64_t draws = 0, group = 0;
    PF_TRY(pf_h5_get_i64(file, r->path, "images", 1, &r->images));
    PF_TRY(pf_h5_get_i64(file, r->path, "draws", 1, &draws));
    PF_TRY(pf_h5_get_i64(file, r->path, "group", 1, &group));
    PF_REQUIRE(r->images > 0 && r->images < (int64_t)1 << 40 && draws > 0 && draws < 1 << 20 &&
                   group > 0 && group <= INT_MAX && group <= INT_MAX / draws,
               PF_EFORMAT, "%s is damaged: impossible counts", r->path);
    r->draws = (int)draws;
    r->group = (int)group;
    r->groups = (r->images + r->group - 1) / r->group;
    r->rows = r->images * r->draws;
    return PF_OK;
}

static int is_known(const pf_results *r, const char *name)
{
    for (int c = 0; c < r->columns; c++)
        if (!strcmp(r->column[c].name, name)) return 1;
    return !strcmp(name, "done") || !strcmp(name, "rows_crc32");
}

/* The columns that the file has: all, or those from before there were young ones. */
static int count_stored(hid_t file, const pf_results *r)
{
    int old = 0;
    for (int c = 0; c < r->columns; c++) {
        if (!r->column[c].young) old++;
        else if (pf_h5_has(file, r->column[c].name)) return r->columns;
    }
    return old;
}

/* A column that is missing is told when it is looked for. */
static PF_MUST_USE pf_status same_columns(hid_t file, const pf_results *r)
{
    char **names = NULL, other[64] = "";
    int n = 0;
    PF_TRY(pf_h5_members(file, r->path, "/", &n, &names));
    for (int i = n; i-- > 0;)
        if (!is_known(r, names[i])) snprintf(other, sizeof other, "%s", names[i]);
    pf_h5_names_free(names, n);
    PF_REQUIRE(!other[0], PF_EARG,
               "%s holds the ledger of another estimand: it has a column '%s', which this run "
               "does not have",
               r->path, other);
    return PF_OK;
}

static PF_MUST_USE pf_status read_places(hid_t file, pf_results *r)
{
    PF_TRY(pf_h5_get_text(file, r->path, "config", &r->config));
    PF_TRY(read_counts(file, r));
    PF_TRY(same_columns(file, r));
    r->stored = count_stored(file, r);
    for (int c = 0; c < r->stored; c++)
        PF_TRY(place_of(file, r->path, r->column[c].name, type_of(&r->column[c]), r->rows,
                        &r->at[c]));
    PF_TRY(place_of(file, r->path, "done", H5T_NATIVE_UINT8, r->groups, &r->at_done));
    PF_TRY(place_of(file, r->path, "rows_crc32", H5T_NATIVE_UINT32, r->groups, &r->at_crc));
    r->done = pf_zalloc((size_t)r->groups);
    r->crc = pf_zalloc((size_t)r->groups * sizeof *r->crc);
    PF_REQUIRE(r->done && r->crc, PF_EMEM, "no memory for %s", r->path);
    PF_TRY(pf_h5_get(file, r->path, "done", H5T_NATIVE_UINT8, r->done, (size_t)r->groups));
    PF_TRY(pf_h5_get(file, r->path, "rows_crc32", H5T_NATIVE_UINT32, r->crc,
                     (size_t)r->groups * sizeof *r->crc));
    return PF_OK;
}

/* r->fd: the file itself, or the plain copy of one that HDF5 may not meet here. */
static PF_MUST_USE pf_status place_in(pf_results *r, int fd, int *direct)
{
    hid_t file = 0;
    PF_TRY(pf_h5_open_fd(fd, r->path, PF_H5_ALL, NULL, direct, &file));
    pf_status st = pf_h5_want_kind(file, r->path, "results");
    if (!st) st = read_places(file, r);
    if (!st) r->fd = fcntl(*direct ? fd : pf_h5_fd(file), F_DUPFD_CLOEXEC, 0);
    int bad = errno;
    pf_h5_close(file);
    PF_TRY(st);
    PF_REQUIRE(r->fd >= 0, PF_EIO, "cannot open %s: %s", r->path, strerror(bad));
    return PF_OK;
}

pf_status pf_results_place(pf_results *r, int flags, int *direct)
{
    int fd = -1;
    r->fd = -1;
    PF_TRY(pf_h5_open_regular(r->path, flags, &fd));
    pf_status st = place_in(r, fd, direct);
    close(fd);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_results_create(const char *path, const pf_results_info *info)
{
    pf_results *r = pf_zalloc(sizeof *r);
    PF_REQUIRE(r, PF_EMEM, "no memory for %s", path);
    strcpy(r->path, path);
    r->images = info->images;
    r->draws = info->draws;
    r->group = info->group;
    r->groups = (r->images + r->group - 1) / r->group;
    r->rows = r->images * r->draws;
    r->columns = r->stored = info->columns;
    r->column = info->column;
    r->config = pf_strdup(info->config);
    r->done = pf_zalloc((size_t)r->groups);
    r->crc = pf_zalloc((size_t)r->groups * sizeof *r->crc);
    double *cells = pf_zalloc((size_t)r->rows * (size_t)r->columns * sizeof *cells);
    pf_status st = r->config && r->done && r->crc && cells
                       ? PF_OK
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory for %s", r->path);
    if (!st) {
        pf_ledger_clear(&(pf_ledger){r->rows, r->columns, r->column, cells});
        st = pf_results_write(r, cells, NULL);
    }
    pf_free(cells);
    pf_results_free(r);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
