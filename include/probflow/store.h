/* Files: datasets, checkpoints, metrics and results, in self-describing HDF5.  This module is
 * the only user of HDF5.  Every function here is Local; callers decide which rank writes.
 * HDF5 is not thread-safe: one thread of a process at a time.
 *
 * Writers of whole files (dataset, checkpoint) put them by pf_file_put: a crash leaves the old file or
 * the new one, never half of one; a file of others or of another kind is not replaced. */
#ifndef PROBFLOW_STORE_H
#define PROBFLOW_STORE_H

#include <probflow/graph.h>
#include <probflow/ledger.h>

/* ---- datasets: /<split>/images uint8 [N,H,W,C], or /<split>/tokens [N,L], uint8 up to 256 symbols, uint16 up
 *      to 65536, else int32, as all of them were in older files, with /<split>/length int32 [N] where rows are
 *      shorter than L, or
 *      /<split>/x float64 [N,D] for continuous data; optional /<split>/labels int32 [N],
 *      /<split>/coarse_labels int32 [N], /<split>/conditions float64 [N,C], and
 *      /<split>/logp float64 [N] where the density is known.  Attributes of the root: name,
 *      version, levels, source, sha256; entropy [nats], converted, shrink and classes (see pf_dataset_info)
 *      where they apply. ---- */
typedef struct pf_dataset pf_dataset;
typedef struct pf_dataset_info {
    char name[64], source[512], sha256[65];
    pf_space space; /* its classes are told by pf_dataset_classes alone */
    int64_t n;      /* of this split */
    int has_labels, has_coarse, has_lengths; /* of this split, only read */
    int token_bytes; /* as tokens are stored, see pf_token_bytes; only read */
    /* names of the labels 0, 1, .., a line each; NULL: not known.  Borrowed by pf_dataset_write; owned by
     * an open dataset */
    const char *classes;
    const char *coarse_classes; /* the same of coarse labels; only written */
    /* what became of the pixels on their way, in words; "": they are as in the source; only written */
    char converted[256];
    int shrink; /* pixels are means over squares of this side; 0 and 1: as in the source */
    int has_entropy;
    double entropy; /* of the density the rows were drawn from [nats]; only written */
    /* What each token stands for, see vocabulary.h; NULL: not known.  Borrowed by pf_dataset_write; owned by an
     * open dataset */
    const char *vocabulary;
} pf_dataset_info;

/* Opens one split.  Fails PF_EIO (missing, truncated), PF_EFORMAT (not a dataset, another type of value
 * than above, more values claimed than stored, no such split: names those there). */
PF_MUST_USE pf_status pf_dataset_open(const char *path, const char *split, pf_dataset **out);
void pf_dataset_close(pf_dataset *d);
const pf_dataset_info *pf_dataset_about(const pf_dataset *d);
/* Rows first .. first+n-1: images as bytes [n,H,W,C]; tokens [n,L] as they are stored, in pf_token_bytes of their
 * symbols; continuous as doubles [n,D], tokens too, PF_NO_TOKEN behind their end; labels and coarse labels [n];
 * lengths [n], L where the file has none; conditions [n,C].  Fails PF_EIO (damaged), PF_EFORMAT (a value at or above
 * the levels, or not finite, or a length of no row: names the row), PF_EARG (there are none).
 * Test  tokens_come_back_with_their_lengths */
PF_MUST_USE pf_status pf_dataset_images(pf_dataset *d, int64_t first, int64_t n, uint8_t *out);
PF_MUST_USE pf_status pf_dataset_tokens(pf_dataset *d, int64_t first, int64_t n, void *out);
PF_MUST_USE pf_status pf_dataset_lengths(pf_dataset *d, int64_t first, int64_t n, int32_t *out);
PF_MUST_USE pf_status pf_dataset_x(pf_dataset *d, int64_t first, int64_t n, double *out);
PF_MUST_USE pf_status pf_dataset_labels(pf_dataset *d, int64_t first, int64_t n, int32_t *out);
PF_MUST_USE pf_status pf_dataset_coarse(pf_dataset *d, int64_t first, int64_t n, int32_t *out);
PF_MUST_USE pf_status pf_dataset_conditions(pf_dataset *d, int64_t first, int64_t n,
                                            double *out);
/* How many classes the labels are of: the names of them that the file has, else one more than the largest
 * label of the split train; 0: no labels there.  Also in pf_dataset_about(d)->space from then on.
 * Fails  PF_EFORMAT: a label that numbers no class, no split train; as reading does.
 * Test   classes_are_those_named_or_else_seen_in_training */
PF_MUST_USE pf_status pf_dataset_classes(pf_dataset *d, int *n);
/* SHA-256 of what the split holds: kind, levels, shape, number of rows, values as stored, labels, coarse labels,
 * conditions and lengths.  Neither path, name nor sources are in it.  Stored with the split, which spares reading large ones (from 64 MiB)
 * again; all others are read, in blocks, and so are files made before it was stored.
 * Fails  PF_EIO, PF_EFORMAT: damaged; PF_EMEM.
 * Test   the_content_is_that_of_the_pixels_and_labels, columns_beside_the_values_come_back */
PF_MUST_USE pf_status pf_dataset_content(pf_dataset *d, char hex[65]);

/* Reads these rows in pieces and keeps none: fails as they would. */
PF_MUST_USE pf_status pf_dataset_check(pf_dataset *d, int64_t first, int64_t n);

/* Writes a dataset split by split. */
typedef struct pf_dataset_split {
    const char *split; /* "train", "test" */
    int64_t n;
    /* uint8 [n,h,w,c], tokens [n,L] of pf_token_bytes or double [n,h*w*c] by info->space.kind */
    const void *values;
    const int32_t *labels;    /* NULL: none */
    const double *logp;       /* [n] log-density of each row [nats]; NULL: not known */
    const int32_t *coarse;    /* [n] labels of larger classes; NULL: none */
    const double *conditions; /* [n,info->space.conditions]; NULL: none */
    const int32_t *lengths;   /* [n] of rows of tokens, from 1 to L; NULL: all are L */
} pf_dataset_split;
PF_MUST_USE pf_status pf_dataset_write(const char *path, const pf_dataset_info *info,
                                       const pf_dataset_split *splits, int n_splits);

/* ---- checkpoints ---- */
typedef struct pf_checkpoint {
    int n_views;
    const pf_param *views; /* names, shapes, offsets into each flat block */
    size_t floats;
    float *params, *ema;    /* ema may be NULL (import, analytic fit) */
    float *adam_m, *adam_v; /* NULL when not training state */
    /* what a law of indices (times.h) remembers; times = 0: there is none */
    int times, times_kept;
    const double *times_loss;   /* [times,times_kept] */
    const int32_t *times_count; /* [times] */
    int64_t step;
    uint64_t seed;
    int shards;
    /* of the data this model was made for; of older files the shape alone: real */
    pf_space space;
    char *config;          /* canonical YAML */
    char data_content[65]; /* pf_dataset_content of the training split; "": not known */
} pf_checkpoint;
/* Fails PF_EIO; the old file is then intact. */
PF_MUST_USE pf_status pf_checkpoint_write(const char *path, const pf_checkpoint *c);
/* Reads everything into owned memory; free with pf_checkpoint_free.  Verifies the checksum of
 * every dataset: PF_EFORMAT names the file and the dataset that is damaged.  with_state = 0
 * checks the Adam moments but does not keep them.  What the law of indices remembers is for its owner to
 * judge. */
PF_MUST_USE pf_status pf_checkpoint_read(const char *path, int with_state, pf_checkpoint *out);
void pf_checkpoint_free(pf_checkpoint *c);

/* Raw named datasets for import and tests. */
/* Reads every float dataset under `group` of an HDF5 file as views and one flat block (order: by
 * file), both owned by the caller (pf_free). */
PF_MUST_USE pf_status pf_store_read_group(const char *path, const char *group, int *n,
                                          pf_param **views, float **flat);
enum { PF_RANK_MAX = 16 }; /* axes of what is read and written, at most */
/* Dataset `name` (path inside the file) as doubles.  PF_EIO when absent. */
typedef struct pf_array {
    int rank;
    int64_t dim[PF_RANK_MAX];
    size_t size;
    double *v; /* owned */
} pf_array;
PF_MUST_USE pf_status pf_store_read_array(const char *path, const char *name, pf_array *out);
/* *has: whether the file has a dataset or group of this name.  Fails as a file that cannot be read does. */
PF_MUST_USE pf_status pf_store_has(const char *path, const char *name, int *has);
void pf_array_free(pf_array *a);
/* *has: whether the root has an attribute of this name.  Fails as pf_store_has. */
PF_MUST_USE pf_status pf_store_has_attr(const char *path, const char *name, int *has);
/* String or numeric attribute of the root ("name") or of a group or dataset ("group/name") as text (owned, pf_free);
 * PF_EIO when absent. */
PF_MUST_USE pf_status pf_store_read_attr(const char *path, const char *name, char **text);

/* The datasets of an HDF5 file of any origin, for reading in blocks.  Integers and floats only have a type:
 * PF_FOREIGN_OTHER keeps its name. */
typedef struct pf_foreign pf_foreign;
typedef enum pf_foreign_type {
    PF_FOREIGN_OTHER,
    PF_FOREIGN_SIGNED,
    PF_FOREIGN_UNSIGNED,
    PF_FOREIGN_FLOAT
} pf_foreign_type;
typedef struct pf_foreign_array {
    const char *name; /* path inside the file, no slash before it; owned by the file */
    pf_foreign_type type;
    int size; /* bytes a value when read: 1, 2, 4, 8; floats 4, 8 */
    int rank;
    int64_t dim[PF_RANK_MAX];
} pf_foreign_array;
/* fd: the open file, the caller's; path is for messages, borrowed.  Fails PF_EIO, PF_EFORMAT (damaged, or a
 * file of probflow: names its kind), PF_EMEM. */
PF_MUST_USE pf_status pf_foreign_open(int fd, const char *path, pf_foreign **out);
const pf_foreign_array *pf_foreign_list(const pf_foreign *f, int *n);
/* Opens array i for pf_foreign_read.  Fails PF_EFORMAT: it claims more than is stored. */
PF_MUST_USE pf_status pf_foreign_choose(pf_foreign *f, int i);
/* Its rows first .. first+n-1 along the first axis, little-endian, into out.  Fails PF_EIO: damaged. */
PF_MUST_USE pf_status pf_foreign_read(pf_foreign *f, int64_t first, int64_t n, void *out);
void pf_foreign_close(pf_foreign *f); /* NULL allowed */

/* Writes arrays and attributes as one new file (temporary, sync, rename). */
typedef struct pf_out_array {
    const char *name;
    int rank;
    int64_t dim[PF_RANK_MAX];
    const double *f64; /* one of the four */
    const float *f32;
    const uint8_t *u8;
    const uint16_t *u16;
} pf_out_array;
typedef struct pf_out_attr {
    const char *name;
    const char *text; /* NULL: number */
    double number;
} pf_out_attr;
PF_MUST_USE pf_status pf_store_write(const char *path, const pf_out_array *arrays, int n_arrays,
                                     const pf_out_attr *attrs, int n_attrs);

/* ---- metrics: extendible 1-D datasets, SWMR, one per column ---- */
typedef struct pf_metrics pf_metrics;
/* Creates, or opens and drops rows with step > last_step (so no step appears twice). */
PF_MUST_USE pf_status pf_metrics_open(const char *path, const char *const *columns, int n,
                                      int64_t last_step, pf_metrics **out);
PF_MUST_USE pf_status pf_metrics_append(pf_metrics *m,
                                        const double *row); /* column 0 is the step */
/* NULL allowed.  st: how the work so far ended.  Returns it, or PF_EIO when it was no failure but
 * not everything reached the file. */
PF_MUST_USE pf_status pf_metrics_close(pf_metrics *m, pf_status st);

/* ---- results: the ledger of a bpd run ---- */
typedef struct pf_results pf_results;
typedef struct pf_results_info {
    int64_t images;
    int draws, group; /* group g holds images [g*group, ...) and draws*B rows */
    const char *
        config; /* canonical text of everything that defines the numbers, checkpoint checksum included */
    const char *before; /* the same as earlier versions wrote it; NULL: they could not */
    int columns;        /* of the ledger */
    const pf_ledger_column *column; /* [columns], borrowed while the file is open */
} pf_results_info;
/* Creates, or opens to resume; an existing file with other columns or another config is refused (PF_EARG)
 * with the first differing column or line.  One without the young columns goes on without them.
 * Test  files_from_before_a_column_go_on_without_it */
PF_MUST_USE pf_status pf_results_open(const char *path, const pf_results_info *info,
                                      pf_results **out);
int pf_results_done(const pf_results *r, int64_t group);
/* Stores the rows of one group, cells [n,columns], flushes, then sets its done flag and flushes. */
PF_MUST_USE pf_status pf_results_put(pf_results *r, int64_t group, const double *cells, int n);
/* Copies from another result file of the same definition, only read, the finished groups that r
 * lacks, and counts them.  Fails PF_EARG (another definition: the first differing line), PF_EIO,
 * PF_EFORMAT; groups of `from` that do not match their checksum are left out. */
PF_MUST_USE pf_status pf_results_adopt(pf_results *r, const char *from, int64_t *adopted);
/* All rows of done groups, in image order; rows->cell is owned by the caller (pf_free). */
PF_MUST_USE pf_status pf_results_rows(pf_results *r, pf_ledger *rows);
/* Writes summary attributes; call before close. */
PF_MUST_USE pf_status pf_results_summary(pf_results *r, const pf_summary *s);
PF_MUST_USE pf_status pf_results_close(pf_results *r);

/* ---- outputs ---- */
/* Kinds of outputs that are no HDF5 files, and how they are known: a comment inside a PNG image or of a
 * .npz archive; the first field of a .npy array; the beginning of a table, up to 512 bytes, which stands
 * in its kind: PF_OUTPUT_CSV "point,logp,". */
#define PF_OUTPUT_PNG   "PNG"
#define PF_PNG_SOFTWARE "tEXtSoftware\0probflow"
#define PF_OUTPUT_NPY   "NPY" /* "NPY/NAME" or "NPY/NAME,NAME": its first fields */
#define PF_OUTPUT_NPZ   "NPZ"
#define PF_NPZ_COMMENT  "probflow" /* of the archive, its last bytes */
#define PF_OUTPUT_CSV   "CSV/"
#define PF_BENCH_HEAD   "what,unit,min,median,max\n"

/* May a command with these inputs [n] (files, folders that are read whole, or NULL; those that do not
 * exist count for nothing) write its output to path?  kind: "dataset", "checkpoint", "metrics",
 * "results", "arrays/NAME" (a file of pf_store_write whose first array is NAME) or one of the above.
 * Asked before the work that the output is made of; asked again when it is written.
 * Fails PF_EARG: it is an input, is no regular file, was not written by probflow, or is of another
 * kind; PF_EFORMAT: a damaged file of ours; PF_EIO: its folder cannot be written; PF_EMEM. */
PF_MUST_USE pf_status pf_output_check(const char *path, const char *kind,
                                      const char *const *inputs, int n);

/* Removes from a folder what killed writers of this module left there (see pf_file_tidy). */
void pf_store_tidy(const char *dir);

/* Prints what a file holds (dataset, checkpoint, metrics or result). */
PF_MUST_USE pf_status pf_store_info(const char *path, FILE *f);

/* Compares two files: members and their order, types, shapes and values of datasets, attributes of all
 * objects.  Prints the first difference to f, what cannot be compared included, or "identical", and
 * then what tells another making and is no difference: machine, build, path of the checkpoint, data.path
 * in the configuration, a digest that one file lacks; sets *same.  Both are read by a child, as copies. */
PF_MUST_USE pf_status pf_store_compare(const char *a, const char *b, FILE *f, int *same);

#endif
