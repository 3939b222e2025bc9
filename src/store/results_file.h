/* Inside the results store: the open file, and its layout as HDF5 (results_file.c). */
#ifndef PROBFLOW_SRC_STORE_RESULTS_FILE_H
#define PROBFLOW_SRC_STORE_RESULTS_FILE_H

#include <limits.h>
#include <probflow/file.h>
#include <probflow/store.h>
#include <sys/types.h>

typedef enum pf_field { PF_FIELD_I64, PF_FIELD_I32, PF_FIELD_F64 } pf_field;
typedef struct pf_results_column {
    const char *name;
    pf_field type;
    size_t offset; /* in pf_ledger */
} pf_results_column;
enum { PF_COLUMNS = 13 };
extern const pf_results_column pf_results_columns[PF_COLUMNS];

struct pf_results {
    char path[PATH_MAX];
    int64_t images, groups, rows;
    int draws, group;
    char *config;
    char *form
        [2]; /* the definition of this run, and its older form or NULL: files of both are adopted */
    unsigned char *done; /* [groups] */
    uint32_t *crc;       /* [groups] of the packed rows */
    int fd;
    pf_lock *lock; /* PATH.lock, when it is ours to write */
    off_t at[PF_COLUMNS], at_done, at_crc;
};

size_t pf_column_size(int column);     /* bytes a row */
size_t pf_packed_size(int64_t n_rows); /* all columns */

/* Writes r->path whole: its columns from rows [r->rows], and the summary unless s is NULL. */
PF_MUST_USE pf_status pf_results_write(const pf_results *r, const pf_ledger *rows,
                                       const pf_summary *s);
/* An empty file at r->path for this definition. */
PF_MUST_USE pf_status pf_results_create(const char *path, const pf_results_info *info);
/* Fills r from the file at r->path and opens it for bytes in place; flags: O_RDWR or O_RDONLY.
 * *direct 0: it has no seal, so r->fd is a plain copy, good for reading only.  After a failure too the
 * caller frees r. */
PF_MUST_USE pf_status pf_results_place(pf_results *r, int flags, int *direct);

void pf_results_free(pf_results *r);

#endif
