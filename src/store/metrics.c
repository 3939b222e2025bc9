/* Metrics of a run: one extendible column per quantity, written in HDF5's single-writer
 * multiple-reader mode, so that plots can follow a run.
 *
 * A kill may leave half a row.  So opening always reads the good rows and puts them into a fresh
 * file.  The column `row_crc32` guards each row. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COLUMNS_MAX = 32, CHUNK = 512 };
static const char guard[] = "row_crc32";

struct pf_metrics {
    char path[PATH_MAX];
    int n; /* columns */
    hid_t file, column[COLUMNS_MAX], crc;
    hsize_t rows;
    int error; /* number of the first failed write: the file takes no more */
};

typedef struct table {
    size_t rows, cap;
    double *v; /* [rows,n], owned */
} table;

static PF_MUST_USE pf_status create_column(hid_t file, const char *name, hid_t type,
                                           size_t rows, const void *v)
{
    hsize_t dim = rows, max = H5S_UNLIMITED, chunk = CHUNK;
    hid_t p = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, &dim, &max);
    H5Pset_obj_track_times(p, 0);
    H5Pset_chunk(p, 1, &chunk);
    hid_t d = H5Dcreate2(file, name, type, space, H5P_DEFAULT, p, H5P_DEFAULT);
    herr_t bad = d <= 0 || (rows && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) < 0);
    if (d > 0) H5Dclose(d);
    H5Sclose(space);
    H5Pclose(p);
    PF_REQUIRE(!bad, PF_EEXT, "HDF5 cannot create the column %s", name);
    return PF_OK;
}

static PF_MUST_USE pf_status create_columns(hid_t file, const char *const *names, int n,
                                            const table *t)
{
    double *v = pf_zalloc(t->rows * sizeof *v);
    uint32_t *crc = pf_zalloc(t->rows * sizeof *crc);
    pf_status st = v && crc ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for the metrics");
    for (int c = 0; c < n && !st; c++) {
        for (size_t i = 0; i < t->rows; i++) v[i] = t->v[i * (size_t)n + (size_t)c];
        st = create_column(file, names[c], H5T_NATIVE_DOUBLE, t->rows, v);
    }
    for (size_t i = 0; i < t->rows && !st; i++)
        crc[i] = pf_h5_crc(t->v + i * (size_t)n, (size_t)n * sizeof(double));
    if (!st) st = create_column(file, guard, H5T_NATIVE_UINT32, t->rows, crc);
    pf_free(v);
    pf_free(crc);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* First rows of a column, as many as the shortest column has. */
static PF_MUST_USE pf_status read_column(hid_t file, const char *path, const char *name,
                                         hid_t type, hsize_t rows, void *out)
{
    hsize_t start = 0;
    hid_t d = H5Dopen2(file, name, H5P_DEFAULT), mem = H5Screate_simple(1, &rows, NULL);
    hid_t space = d > 0 ? H5Dget_space(d) : -1;
    herr_t bad = d <= 0;
    if (!bad && rows) {
        bad = H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &rows, NULL) < 0 ||
              H5Dread(d, type, mem, space, H5P_DEFAULT, out) < 0;
    }
    if (space > 0) H5Sclose(space);
    if (d > 0) H5Dclose(d);
    H5Sclose(mem);
    PF_REQUIRE(!bad, PF_EIO, "%s is damaged: cannot read the column %s", path, name);
    return PF_OK;
}

static PF_MUST_USE pf_status column_rows(hid_t file, const char *path, const char *name,
                                         hsize_t *rows)
{
    hid_t d = H5Dopen2(file, name, H5P_DEFAULT);
    PF_REQUIRE(d > 0, PF_EIO, "%s is damaged: cannot open the column %s", path, name);
    pf_h5_shape s = {0};
    size_t n = 0;
    pf_status st = pf_h5_shape_of(d, &s, &n);
    H5Dclose(d);
    if (st) return pf_trail(st, PF_WHERE);
    if (n < *rows) *rows = n;
    return PF_OK;
}

/* What the file has: columns in the order it stores them, guard excluded. */
typedef struct stored {
    int n;
    char **names;
    size_t rows;
    double *v; /* [n,rows] */
    uint32_t *crc;
} stored;

static void stored_free(stored *s)
{
    pf_h5_names_free(s->names, s->n + 1);
    pf_free(s->v);
    pf_free(s->crc);
}

static PF_MUST_USE pf_status read_stored(hid_t file, const char *path, stored *s)
{
    int n = 0;
    PF_TRY(pf_h5_members(file, path, "/", &n, &s->names));
    s->n = n - 1;
    PF_REQUIRE(n >= 2 && !strcmp(s->names[n - 1], guard), PF_EFORMAT,
               "%s is damaged: its columns are incomplete", path);
    hsize_t rows = 1u << 30;
    for (int c = 0; c < n; c++) PF_TRY(column_rows(file, path, s->names[c], &rows));
    s->rows = rows;
    s->v = pf_zalloc((size_t)s->n * rows * sizeof *s->v);
    s->crc = pf_zalloc(rows * sizeof *s->crc);
    PF_REQUIRE(s->v && s->crc, PF_EMEM, "no memory to read %s", path);
    for (int c = 0; c < s->n; c++)
        PF_TRY(read_column(file, path, s->names[c], H5T_NATIVE_DOUBLE, rows,
                           s->v + (size_t)c * rows));
    PF_TRY(read_column(file, path, guard, H5T_NATIVE_UINT32, rows, s->crc));
    return PF_OK;
}

/* Rows up to last_step that match their checksum, in the columns asked for (NaN when new). */
static PF_MUST_USE pf_status keep_rows(const stored *s, const char *const *names, int n,
                                       int64_t last_step, table *t)
{
    double *row = pf_zalloc((size_t)s->n * sizeof *row);
    t->v = pf_zalloc(s->rows * (size_t)n * sizeof *t->v);
    if (!row || !t->v) {
        pf_free(row);
        PF_FAIL(PF_EMEM, "no memory for the metrics");
    }
    for (size_t i = 0; i < s->rows; i++) {
        for (int c = 0; c < s->n; c++) row[c] = s->v[(size_t)c * s->rows + i];
        if (s->crc[i] != pf_h5_crc(row, (size_t)s->n * sizeof *row) ||
            !(row[0] <= (double)last_step))
            continue;
        for (int c = 0; c < n; c++) {
            double *to = &t->v[t->rows * (size_t)n + (size_t)c];
            *to = NAN;
            for (int k = 0; k < s->n; k++)
                if (!strcmp(names[c], s->names[k])) *to = row[k];
        }
        t->rows++;
    }
    pf_free(row);
    return PF_OK;
}

static PF_MUST_USE pf_status read_rows(const char *path, const char *const *names, int n,
                                       int64_t last_step, table *t)
{
    hid_t file = 0;
    stored s = {0};
    char *kind = NULL;
    PF_TRY(pf_h5_open(path, PF_H5_ALL, NULL, &file));
    pf_status st = pf_h5_get_text(file, path, "kind", &kind);
    if (!st && strcmp(kind, "metrics"))
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s is a %s, not metrics", path, kind);
    if (!st) st = read_stored(file, path, &s);
    if (!st) st = keep_rows(&s, names, n, last_step, t);
    stored_free(&s);
    pf_free(kind);
    pf_h5_close(file);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Under a name that is free.  What is no damaged file of ours stays where it is. */
static PF_MUST_USE pf_status set_aside(const char *path)
{
    char aside[PATH_MAX + 32], why[512];
    struct stat sb;
    snprintf(why, sizeof why, "%s", pf_error_message());
    pf_status st = pf_h5_replaces(path, "metrics", NULL);
    if (st && st != PF_EFORMAT) return pf_trail(st, PF_WHERE);
    snprintf(aside, sizeof aside, "%s.damaged", path);
    for (int i = 2; !lstat(aside, &sb) && i < 10000; i++)
        snprintf(aside, sizeof aside, "%s.damaged-%d", path, i);
    PF_REQUIRE(lstat(aside, &sb) && !rename(path, aside), PF_EIO,
               "%s is damaged and cannot be renamed", path);
    pf_log("metrics: %s; kept as %s, starting anew", why, aside);
    return PF_OK;
}

static PF_MUST_USE pf_status rewrite(const char *path, const char *const *names, int n,
                                     int64_t last_step)
{
    table t = {0};
    if (access(path, F_OK) == 0) {
        pf_status st = read_rows(path, names, n, last_step, &t);
        if (st == PF_EMEM) return pf_trail(st, PF_WHERE);
        if (st) { /* a picture of the run, not its state: no reason to stop it */
            PF_TRY(set_aside(path));
            t.rows = 0;
        }
    }
    pf_h5_image im;
    pf_status st = pf_h5_begin(&im, t.rows * (size_t)n * 8 + 8192u * (size_t)(n + 1),
                               PF_H5_GROWS, "metrics");
    if (!st) st = pf_h5_end(&im, path, create_columns(im.file, names, n, &t));
    pf_free(t.v);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status open_into(pf_metrics *m, const char *path,
                                       const char *const *names, int n, int64_t last_step)
{
    PF_REQUIRE(n > 0 && n <= COLUMNS_MAX && strlen(path) < sizeof m->path, PF_EARG,
               "metrics want 1 to %d columns", COLUMNS_MAX);
    strcpy(m->path, path);
    m->n = n;
    PF_TRY(rewrite(path, names, n, last_step));
    hid_t fapl = pf_h5_access();
    pf_status st = pf_h5_set_driver(fapl, -1, &m->error);
    pf_h5_set_alignment(fapl);
    if (!st) m->file = H5Fopen(path, H5F_ACC_RDWR | H5F_ACC_SWMR_WRITE, fapl);
    H5Pclose(fapl);
    PF_TRY(st);
    PF_REQUIRE(m->file > 0 && !m->error, PF_EIO, "cannot open %s for writing: %s", path,
               m->error ? strerror(m->error) : "HDF5 refuses");
    m->rows = 1u << 30;
    for (int c = 0; c <= n; c++) {
        const char *name = c < n ? names[c] : guard;
        hid_t d = H5Dopen2(m->file, name, H5P_DEFAULT);
        PF_REQUIRE(d > 0, PF_EEXT, "HDF5 cannot open the column %s of %s", name, path);
        *(c < n ? &m->column[c] : &m->crc) = d;
        PF_TRY(column_rows(m->file, path, name, &m->rows));
    }
    return PF_OK;
}

static herr_t append(hid_t d, hid_t type, hsize_t at, const void *v)
{
    hsize_t one = 1, size = at + 1;
    if (H5Dset_extent(d, &size) < 0) return -1;
    hid_t mem = H5Screate_simple(1, &one, NULL), space = H5Dget_space(d);
    herr_t bad = H5Sselect_hyperslab(space, H5S_SELECT_SET, &at, NULL, &one, NULL);
    if (bad >= 0) bad = H5Dwrite(d, type, mem, space, H5P_DEFAULT, v);
    H5Sclose(space);
    H5Sclose(mem);
    return bad >= 0 ? H5Dflush(d) : bad;
}

pf_status pf_metrics_close(pf_metrics *m, pf_status st)
{
    if (!m) return st;
    for (int c = 0; c < m->n; c++)
        if (m->column[c] > 0) H5Dclose(m->column[c]);
    if (m->crc > 0) H5Dclose(m->crc);
    int whole = m->file > 0 && H5Fclose(m->file) >= 0;
    int well = !st || st == PF_ESTOP;
    if (well && m->error)
        st = pf_raise(PF_EIO, PF_WHERE, "cannot write %s: %s", m->path, strerror(m->error));
    if (well && !m->error && whole) {
        pf_status sealed = pf_h5_seal_append(m->path);
        if (sealed) st = sealed;
    }
    pf_free(m);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_metrics_open(const char *path, const char *const *columns, int n,
                          int64_t last_step, pf_metrics **out)
{
    pf_metrics *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory to open %s", path);
    pf_status st = open_into(m, path, columns, n, last_step);
    if (st) return pf_trail(pf_metrics_close(m, st), PF_WHERE);
    *out = m;
    return PF_OK;
}

pf_status pf_metrics_append(pf_metrics *m, const double *row)
{
    uint32_t crc = pf_h5_crc(row, (size_t)m->n * sizeof *row);
    herr_t bad = 0;
    /* The step comes last: a row whose step is there is whole. */
    for (int c = m->n - 1; c >= 1 && bad >= 0; c--)
        bad = append(m->column[c], H5T_NATIVE_DOUBLE, m->rows, &row[c]);
    if (bad >= 0) bad = append(m->crc, H5T_NATIVE_UINT32, m->rows, &crc);
    if (bad >= 0) bad = append(m->column[0], H5T_NATIVE_DOUBLE, m->rows, &row[0]);
    /* The size of the file in its head, which ordinary readers believe. */
    if (bad >= 0) bad = H5Fflush(m->file, H5F_SCOPE_LOCAL);
    PF_REQUIRE(bad >= 0 && !m->error, PF_EIO, "cannot write %s: %s", m->path,
               m->error ? strerror(m->error) : "HDF5 refuses");
    m->rows++;
    return PF_OK;
}
