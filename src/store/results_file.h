/* Inside the results store: the open file, and its layout as HDF5 (results_file.c). */
#ifndef PROBFLOW_SRC_STORE_RESULTS_FILE_H
#define PROBFLOW_SRC_STORE_RESULTS_FILE_H

#include <limits.h>
#include <probflow/file.h>
#include <probflow/store.h>
#include <sys/types.h>

struct pf_results {
    char path[PATH_MAX];
    int64_t images, groups, rows;
    int draws, group;
    int columns, stored;            /* of the ledger; the first of them that the file has */
    const pf_ledger_column *column; /* [columns] borrowed */
    char *config;
    char *form
        [2]; /* the definition of this run, and its older form or NULL: files of both are adopted */
    unsigned char *done; /* [groups] */
    uint32_t *crc;       /* [groups] of the packed rows */
    int fd;
    pf_lock *lock; /* PATH.lock, when it is ours to write */
    off_t at[PF_LEDGER_MAX], at_done, at_crc;
};

size_t pf_cell_size(const pf_ledger_column *c);             /* bytes a row */
size_t pf_packed_size(const pf_results *r, int64_t n_rows); /* all that the file has */
/* n cells of a column, every `step`-th double, to the bytes of the file, or back. */
void pf_cells_pack(const pf_ledger_column *c, int64_t n, int step, const double *cells,
                   unsigned char *packed);
void pf_cells_unpack(const pf_ledger_column *c, int64_t n, int step,
                     const unsigned char *packed, double *cells);

/* Writes r->path whole: what it stores of cells [r->rows,columns], and the summary unless s is NULL. */
PF_MUST_USE pf_status pf_results_write(const pf_results *r, const double *cells,
                                       const pf_summary *s);
/* An empty file at r->path for this definition. */
PF_MUST_USE pf_status pf_results_create(const char *path, const pf_results_info *info);
/* Fills r, whose columns are given, `stored` included, from the file at r->path and opens it for bytes in place; flags: O_RDWR or O_RDONLY.
 * *direct 0: it has no seal, so r->fd is a plain copy, good for reading only.  After a failure too the
 * caller frees r. */
PF_MUST_USE pf_status pf_results_place(pf_results *r, int flags, int *direct);

void pf_results_free(pf_results *r);

#endif
