/* Source formats of datasets: one file and one row each.
 *
 * A reader adds blocks of rows to a table; the converter checks that they agree and writes the
 * dataset.  Everything here is Local. */
#ifndef PROBFLOW_SRC_DATA_FORMAT_H
#define PROBFLOW_SRC_DATA_FORMAT_H

#include <probflow/data.h>
#include <probflow/sha256.h>
#include <probflow/store.h>
#include <stddef.h>

/* ---- input.c: a file that is opened once ---- */
typedef struct pf_input pf_input;
/* is_folder: set, and no input is made, when path is a folder; NULL: a folder is refused.  path is
 * borrowed.  Fails PF_EIO for what is no regular file (a pipe, a device) and for empty files. */
PF_MUST_USE pf_status pf_input_open(const char *path, int *is_folder, pf_input **out);
void pf_input_close(pf_input *s); /* NULL allowed */
/* The next n bytes, decompressed; *got < n at the end only.  Fails PF_EIO (unreadable, truncated,
 * damaged, something behind a gzip stream), PF_EMEM. */
PF_MUST_USE pf_status pf_input_read(pf_input *s, void *to, size_t n, size_t *got);
/* Fails PF_EFORMAT unless everything was read. */
PF_MUST_USE pf_status pf_input_end(pf_input *s);
/* All that is left into memory, *b [*n], owned by the caller (pf_free).  Fails as reading does. */
PF_MUST_USE pf_status pf_input_whole(pf_input *s, const char *path, unsigned char **b,
                                     size_t *n);
/* Passes over the rest as it is stored. */
PF_MUST_USE pf_status pf_input_drain(pf_input *s);
/* Back to the beginning; the stored bytes are added to sum as they are read (NULL: they are not). */
PF_MUST_USE pf_status pf_input_rewind(pf_input *s, pf_sha256 *sum);
/* The stored bytes to come, as many as are at hand, at least one unless it is at its end; borrowed.
 * Fails PF_EIO. */
PF_MUST_USE pf_status pf_input_peek(pf_input *s, const unsigned char **b, size_t *n);
size_t pf_input_size(const pf_input *s); /* bytes as stored */
int pf_input_packed(const pf_input *s);  /* gzip */
size_t pf_input_most(const pf_input *s); /* decompressed bytes are not more than this */
/* n bytes at `at` as they are stored, fewer at the end only; where pf_input_read stands stays.  Fails
 * PF_EIO. */
PF_MUST_USE pf_status pf_input_at(const pf_input *s, size_t at, void *to, size_t n,
                                  size_t *got);
/* The open file, borrowed. */
int pf_input_descriptor(const pf_input *s);

/* ---- table.c: rows, labels and classes of all sources ---- */
/* Rows of one split, in the order of the sources. */
typedef struct pf_rows {
    int64_t n, cap, n_labels, cap_labels;
    unsigned char *values;           /* [n,row bytes], owned */
    int32_t *labels;                 /* [n_labels], owned */
    const char *of_rows, *of_labels; /* the last sources, borrowed */
    double *logp; /* [n] log-density of each row [nats], owned; NULL: not known */
    int64_t n_conditioned, cap_conditioned;
    double *conditions; /* [n_conditioned,conditions of the table], owned */
    int64_t n_coarse, cap_coarse;
    int32_t *coarse; /* [n_coarse] labels of larger classes, owned */
    int64_t n_lengths, cap_lengths;
    int32_t *lengths; /* [n_lengths] of rows of tokens, owned */
} pf_rows;

typedef enum pf_labelling { PF_UNLABELLED, PF_BY_NUMBER, PF_BY_NAME } pf_labelling;

/* What happened to the pictures of a table; the order is that of pf_table_converted. */
enum {
    PF_DONE_JPEG = 1,
    PF_DONE_ALPHA = 2,
    PF_DONE_GREY = 4,
    PF_DONE_RGB = 8,
    PF_DONE_CROP = 16,
    PF_DONE_RESIZE = 32,
    PF_DONE_BINARY = 64
};
typedef struct pf_stage pf_stage; /* see picture.c */

typedef struct pf_table {
    pf_space space;            /* of every row; h = 0: not known yet */
    char of_layout[256];       /* whose it was first, cut */
    const pf_convert_opt *opt; /* NULL: rows as they are; borrowed */
    pf_stage *stage; /* rows that are to be converted; pf_stage_free before pf_table_free */
    unsigned done;   /* PF_DONE_* */
    int has_entropy;
    double entropy;   /* of the density the rows were drawn from [nats] */
    int shrink;       /* see pf_dataset_info */
    int conditions;   /* values that condition each row; 0: none */
    uint64_t columns; /* hash of the names of the columns of tables of numbers; 0: not known */
    char *vocabulary; /* of tokens, see vocabulary.h; owned */
    int as_is;        /* 1: tokens are bytes until pf_text_settle */
    const char *cut;  /* the text that was cut into the three splits, borrowed; NULL: none */
    pf_labelling labelling;
    char **
        class_of; /* [n_classes] name of a label, names may repeat; owned list of owned names */
    int64_t n_classes, cap_classes;
    char *classes;        /* see pf_table_settle and pf_table_names; owned */
    char *coarse_classes; /* of the coarse labels; owned */
    pf_rows split[PF_SPLITS];
} pf_table;

/* Room for n more rows at the end of a split: *values is to be filled.  Fails PF_EFORMAT naming
 * path when they are of another kind or shape than earlier rows, or of a size no image has. */
PF_MUST_USE pf_status pf_table_room(pf_table *t, const char *path, int split, int64_t n,
                                    pf_space space, unsigned char **values);
/* The same for rows of the source's own shape, which is what readers call: the table's options (alpha,
 * channels, crop, resize) apply to them, at the next call or pf_table_flush; until then *values is
 * theirs.  Fails as that one; PF_EFORMAT: smaller than the crop; PF_EARG: options for images, but the
 * rows are none.
 * Test   test_pictures.c */
PF_MUST_USE pf_status pf_table_rows(pf_table *t, const char *path, int split, int64_t n,
                                    pf_space space, unsigned char **values);
void pf_table_flush(pf_table *t);
void pf_stage_free(pf_stage *g); /* NULL allowed */
/* levels.c: the images have as many levels as the table's options say.  Fails PF_EARG: they are no images; PF_EFORMAT: a
 * larger value. */
PF_MUST_USE pf_status pf_table_levels(pf_table *t);
/* binary.c: all rows become black and white as the table's options say.  Fails PF_EARG: they are no images. */
PF_MUST_USE pf_status pf_table_binarise(pf_table *t);
/* What happened to the pictures, in words; "" when nothing did. */
void pf_table_converted(const pf_table *t, char *text, size_t n);
size_t pf_table_row_bytes(const pf_table *t);
/* Room for n more labels, numbers or indices of pf_table_class.  Fails PF_EFORMAT when earlier ones
 * are of the other kind. */
PF_MUST_USE pf_status pf_table_labels(pf_table *t, const char *path, int split, int64_t n,
                                      pf_labelling how, int32_t **labels);
/* Room for n more labels of larger classes, numbers. */
PF_MUST_USE pf_status pf_table_coarse(pf_table *t, const char *path, int split, int64_t n,
                                      int32_t **coarse);
/* Room for the lengths of n more rows of tokens. */
PF_MUST_USE pf_status pf_table_lengths(pf_table *t, const char *path, int split, int64_t n,
                                       int32_t **lengths);
/* Room for n more rows of conditions, `width` finite numbers each.  Fails PF_EFORMAT when earlier ones are
 * of another width. */
PF_MUST_USE pf_status pf_table_conditions(pf_table *t, const char *path, int split, int64_t n,
                                          int width, double **conditions);
/* One more class name (copied) and its index for now. */
PF_MUST_USE pf_status pf_table_class(pf_table *t, const char *path, const char *name,
                                     int32_t *label);
/* Names of labels that are numbers, a line each, and of coarse ones; copied.  Fails PF_EFORMAT when a source before
 * gives others. */
PF_MUST_USE pf_status pf_table_names(pf_table *t, const char *path, const char *names,
                                     int coarse);
/* What came since before [PF_SPLITS] is said to be of path: those of files in a folder do not last. */
void pf_table_came_from(pf_table *t, const pf_rows *before, const char *path);
/* When all sources are read: labels by name become the place of their name in one order over all
 * splits (numbers as numbers, then other names by their bytes); classes: these names, a line each. */
PF_MUST_USE pf_status pf_table_settle(pf_table *t);
/* Counts images that are there already, and those that are there in another split. */
PF_MUST_USE pf_status pf_table_repeats(const pf_table *t, int64_t *again, int64_t *across);
void pf_table_free(pf_table *t);

/* ---- source.c: one source, before it is read ---- */
typedef struct pf_source {
    const char *path;
    char name[256];           /* last component of the path, without .gz */
    pf_input *file;           /* NULL: a folder, or drawn */
    unsigned char head[1024]; /* first bytes, decompressed */
    size_t n_head;
    int is_folder;
    int given;                 /* split said outright; PF_SPLIT_UNSAID */
    int with_labels;           /* one of the sources is JSON */
    int for_points;            /* it is the only source, and its rows stay in memory */
    const pf_convert_opt *opt; /* never NULL while it is read; borrowed */
    const char *how;           /* what decided the split, for the log */
    char note[512];            /* room for more of it */
} pf_source;

/* Opens what is a file and reads its head. */
PF_MUST_USE pf_status pf_source_open(pf_source *s, const char *path, int given);
void pf_source_close(pf_source *s);
/* Split of all rows of a source, set outright or by its name; *by_default: neither says one, and it
 * is the training split.  Fails PF_EFORMAT when the name says two. */
PF_MUST_USE pf_status pf_source_split(pf_source *s, int *split, int *by_default);
/* Does the name, without .gz, end so, in any case? */
int pf_source_ends(const pf_source *s, const char *extension);
/* 1 when a source is no file but drawn at random (density:...). */
int pf_source_is_drawn(const char *path);
const char *pf_base_name(const char *path);
/* split.c: does a name hold this word, as splits are words in it? */
int pf_word_in_name(const char *name, const char *word);

/* ---- left.c: what is not read of a folder ---- */
typedef struct pf_left {
    struct {
        char name[16];
        int64_t n;
    } kind[12]; /* the last one: all others */
} pf_left;
int pf_is_hidden(const char *name);
void pf_left_add(pf_left *l, const char *name);
/* "3 .gif, 1 .txt"; "" when nothing was left out. */
void pf_left_list(const pf_left *l, char *text, size_t n);

/* ---- the formats ---- */
typedef struct pf_format {
    const char *name;
    /* Is it ours? */
    int (*knows)(const pf_source *s);
    /* Adds its rows.  Fails PF_EIO, PF_EFORMAT, PF_EMEM. */
    pf_status (*read)(pf_source *s, pf_table *t);
} pf_format;

/* text.c: tokens that are bytes become the ranks of the bytes that occur, once all sources are read.
 * Fails PF_EFORMAT: one byte over and over; PF_EMEM. */
PF_MUST_USE pf_status pf_text_settle(pf_table *t);

extern const pf_format pf_format_idx, pf_format_cifar, pf_format_png_sheet,
    pf_format_image_file, pf_format_labels_json, pf_format_batch_folder, pf_format_image_folder,
    pf_format_csv, pf_format_text, pf_format_density, pf_format_known, pf_format_npy,
    pf_format_npz, pf_format_h5;

/* ---- pictures in files; nothing is allocated before the declared size is held against the file's ---- */
typedef struct pf_image {
    pf_shape shape;
    unsigned char *pixels;  /* [h,w,c], owned by the caller */
    int is_jpeg, is_turned; /* is_turned: its EXIF orientation is not that of the pixels */
} pf_image;
/* Is that the name of one? */
int pf_is_image(const char *name);
/* PNG or JPEG, whatever its name.  with_alpha: an alpha channel is the last of 2 or 4, else refused.
 * Fails PF_EIO, PF_EFORMAT, PF_EMEM. */
PF_MUST_USE pf_status pf_image_read(pf_input *s, const char *path, int with_alpha,
                                    pf_image *out);
/* One log line each on what a source of n images, of these numbers, is worth knowing. */
void pf_image_remarks(const char *path, int64_t n, int64_t jpegs, int64_t turned);
/* PNG as 8-bit samples, palette expanded. */
PF_MUST_USE pf_status pf_png_read(pf_input *s, const char *path, int with_alpha,
                                  pf_shape *shape, unsigned char **pixels);
/* JPEG as the library decodes it by default (accurate integer DCT, fancy upsampling), grey or RGB. */
PF_MUST_USE pf_status pf_jpeg_read(pf_input *s, const char *path, pf_image *out);
/* Width and height without decoding; 0 when it is no PNG. */
int pf_png_size(const unsigned char *head, size_t n, int *w, int *h);

#endif
