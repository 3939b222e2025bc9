/* Source formats of datasets: one file and one row each.
 *
 * A reader adds blocks of rows to a table; the converter checks that they agree and writes the
 * dataset. */
#ifndef PROBFLOW_SRC_DATA_FORMAT_H
#define PROBFLOW_SRC_DATA_FORMAT_H

#include <probflow/sha256.h>
#include <probflow/store.h>
#include <stddef.h>

enum { PF_TRAIN, PF_VALID, PF_TEST, PF_SPLITS };

/* Rows of one split, in the order of the sources. */
typedef struct pf_rows {
    int64_t n, cap, n_labels, cap_labels;
    unsigned char *values; /* [n,row bytes], owned */
    int32_t *labels;       /* [n_labels], owned */
    double *logp;          /* [n] log-density of each row [nats], owned; NULL: not known */
} pf_rows;

typedef struct pf_table {
    int kind; /* pf_data_kind */
    int levels;
    int has_entropy;
    double entropy; /* of the density the rows were drawn from [nats] */
    pf_shape shape; /* h = 0: not known yet */
    int shrink;     /* see pf_dataset_info */
    char vocabulary[1025];
    pf_rows split[PF_SPLITS];
} pf_table;

/* Room for n more rows of this shape at the end of a split: *values is to be filled.  A shape
 * other than that of earlier rows fails PF_EFORMAT naming path. */
PF_MUST_USE pf_status pf_table_rows(pf_table *t, const char *path, int split, int64_t n,
                                    pf_shape shape, unsigned char **values);
size_t pf_table_row_bytes(const pf_table *t);
PF_MUST_USE pf_status pf_table_labels(pf_table *t, int split, int64_t n, int32_t **labels);
void pf_table_free(pf_table *t);

typedef struct pf_source {
    const char *path;
    unsigned char head[64]; /* first bytes, decompressed */
    size_t n_head, size;    /* size as stored */
    int is_folder;
} pf_source;

typedef struct pf_format {
    const char *name;
    /* Is it ours? */
    int (*knows)(const pf_source *s);
    /* Adds its rows.  Fails PF_EIO, PF_EFORMAT, PF_EMEM. */
    pf_status (*read)(const pf_source *s, pf_table *t);
} pf_format;

extern const pf_format pf_format_idx, pf_format_cifar, pf_format_png_sheet,
    pf_format_labels_json, pf_format_png_folder, pf_format_text, pf_format_density;

/* Split by the last component of a path: "test" or "t10k" in it -> test, "valid" -> valid. */
int pf_split_of(const char *path);
const char *pf_base_name(const char *path);
/* 1 when a source is no file but drawn at random (density:...). */
int pf_source_is_drawn(const char *path);

/* Whole file into owned memory, decompressed when it is gzip (any file name). */
PF_MUST_USE pf_status pf_slurp(const char *path, unsigned char **bytes, size_t *n);

/* The same, parsed into the table and freed: what most formats do. */
typedef pf_status pf_parse(const char *path, const unsigned char *bytes, size_t n, pf_table *t);
PF_MUST_USE pf_status pf_read_whole(const pf_source *s, pf_parse *parse, pf_table *t);

/* PNG as 8-bit samples, owned; shape.c is 1 or 3 (alpha refused, palette expanded). */
PF_MUST_USE pf_status pf_png_read(const char *path, pf_shape *shape, unsigned char **pixels);
/* Width and height without decoding; 0 when it is no PNG. */
int pf_png_size(const unsigned char *head, size_t n, int *w, int *h);

#endif
