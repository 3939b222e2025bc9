/* Converters from public file formats to dataset HDF5, and shards for training. */
#ifndef PROBFLOW_DATA_H
#define PROBFLOW_DATA_H

#include <probflow/option.h>
#include <probflow/random.h>
#include <probflow/store.h>

/* ---- splits ---- */
typedef enum pf_split {
    PF_SPLIT_TWO = -2,    /* a name says two that contradict each other */
    PF_SPLIT_UNSAID = -1, /* a name says none */
    PF_TRAIN,
    PF_VALID,
    PF_TEST,
    PF_SPLITS
} pf_split;
/* The split that a name of a file or folder says: train, training; val, valid, validation, dev; test,
 * testing, t10k; in any case and as a whole word, that is, not within letters of the same word.
 * Local.
 * Test   names_say_their_split */
int pf_split_of_name(const char *name);
/* "train", "valid" or "test". */
const char *pf_split_name(int split);

/* How images become black and white, see src/data/binary.c. */
typedef enum pf_binarise {
    PF_BINARISE_NO,
    PF_BINARISE_THRESHOLD,
    PF_BINARISE_DRAWN
} pf_binarise;
/* What becomes of the data on their way; zeroed: as they are. */
typedef struct pf_convert_opt {
    int channels; /* 1: grey, by Rec. 601; 3: red, green, blue; 0: as they are */
    int drop_alpha; /* an alpha channel, the last of 2 or 4, is taken away; else PNG with one fails */
    int crop_h, crop_w; /* > 0: the central part of this size */
    int resize_h,
        resize_w; /* > 0: this size, bilinear and antialiased; resize_w 0: the smaller side
                               becomes resize_h, the other keeps the proportion.  In the order of this
                               struct; see src/data/picture.c */
    int levels; /* > 0: images have so many, 0 .. levels-1, not 256; a larger value fails PF_EFORMAT,
                   other data PF_EARG */
    int shrink; /* > 1: pixels become the means of squares of that side, rounded to whole levels; a size
                   it does not divide fails PF_EARG */
    int binarise; /* pf_binarise: last of all, images get two levels; other data fail PF_EARG */
    int64_t seed; /* of PF_BINARISE_DRAWN */
    int copies; /* > 1: draws of each training image, all of the first draw before those of the second */
    /* Columns of a table of numbers, each a name or, unless it is one, a number from 1; borrowed. */
    const char *label; /* the classes; "none"; NULL: by its name, see src/data/csv.c */
    const char *const
        *condition; /* NULL-terminated: what conditions a row; NULL: nothing does */
    /* Of texts, which any file is once one of these is said; borrowed. */
    const char *
        text; /* how they become symbols, see pf_rule_open in src/data/symbols.h; NULL: as they are */
    int length; /* > 0: symbols a row; else 256 */
    int lines;  /* 1: a row is a line, cut where it is longer; 0: rows go on through the text */
    int drop; /* 1: symbols that do not fill the last row are left out; 0: that row is shorter */
} pf_convert_opt;

/* Converts sources (guessed from names and magic numbers: folders of PNG and JPEG files, a JPEG file,
 * IDX, CIFAR-10 and CIFAR-100 binary batches, with or without .gz, or the folder that holds them, PNG
 * sheets of CIFAR-10 and their JSON labels, .npy, .npz and HDF5 by the names of their arrays
 * (src/data/arrays.h), tables of numbers (src/data/csv.c), text, or points drawn from density:NAME:N[:SEED],
 * see src/data/density.c) into out.
 *
 * splits  [n] a pf_split each, PF_SPLIT_UNSAID: by the name of the source (or of the folders in it,
 *         see src/data/pngfolder.c), else train; NULL: all by name
 * opt     NULL: the defaults
 *
 * Classes are numbered in one order over all sources.  A log line a source says what was taken for
 * what, others what was not read.  Local; reads each file once and everything before out is touched.
 * Fails PF_EIO, PF_EFORMAT, PF_ENOSUPP, PF_EMEM with the file's name; an existing out is then
 * untouched.  The same content twice fails PF_EFORMAT.
 * Test   points_lie_in_the_support_and_their_entropy_is_the_stated_one, shrunk_pixels_are_means,
 *        test_sources.c, test_pictures.c, test_batches.c */
PF_MUST_USE pf_status pf_data_convert(const char *const *sources, const int *splits, int n,
                                      const pf_convert_opt *opt, const char *out);

/* The rows of one source in memory, whatever splits they are of, in the order of the source. */
typedef struct pf_points {
    pf_space space; /* never tokens */
    int64_t n;
    uint8_t *pixels;    /* [n,h,w,c], owned; NULL when continuous */
    double *x;          /* [n,h*w*c], owned; NULL for pixels */
    int32_t *labels;    /* [n], owned; NULL: none */
    int named;          /* 1: the labels number names, in an order that is this source's own */
    double *conditions; /* [n,space.conditions], owned; NULL: none */
} pf_points;
/* Reads any source that pf_data_convert does, and a PNG file too, but no text and no density.  Local.
 * Fails as that one; PF_EFORMAT: tokens.  Free with pf_points_free, also after a failure.
 * Test   all_splits_of_a_folder_are_points, own_points_get_a_number_with_its_error.sh */
PF_MUST_USE pf_status pf_points_read(const char *source, const pf_convert_opt *opt,
                                     pf_points *out);
void pf_points_free(pf_points *p);

/* Grid of n images [n,h,w,c], values 0..255, as a PNG with `columns` a row. */
PF_MUST_USE pf_status pf_png_grid(const char *path, const uint8_t *images, int n, pf_shape s,
                                  int columns);

/* ---- results as tables ---- */
/* A column of n rows: one of the three, borrowed.  width > 1: the columns NAME_0, NAME_1, ... */
typedef struct pf_column {
    const char *name;
    int width;
    const double *f64;       /* [n,width] */
    const int64_t *i64;      /* [n,width] */
    const char *const *text; /* [n,width] */
} pf_column;
/* Columns side by side as CSV (RFC 4180, lines end with \n): a line of names, a line a row; doubles with
 * 17 digits, which give back every bit, with a point whatever the locale says.
 *
 * kind  what the table is known by, as in pf_output_check: PF_OUTPUT_CSV and the names of its first
 *       columns; or PF_OUTPUT_CSV "# ...\n", a comment that is written before the names
 *
 * Local.  A whole new file, or the old one as it was.
 * Fails PF_EARG: the file that is there is no table of this kind, or the names are not those of the
 * kind; PF_EIO, PF_EMEM.
 * Test   a_table_of_results_gives_every_bit_back, a_table_replaces_its_own_kind_alone */
PF_MUST_USE pf_status pf_csv_write(const char *path, const char *kind, int64_t n,
                                   const pf_column *c, int n_columns);
/* The same for NumPy, numbers alone and little-endian: .npy is one structured array [n] with a field a
 * column (of shape [width] above 1); .npz an array a column, [n], or [n,width] above width 1.
 * The same numbers give the same bytes.  Local.
 * Fails  PF_EARG (names, no or too many columns; an existing path that is not ours, see pf_output_check:
 *        kinds "NPY/first column" and "NPZ"), PF_EMEM, PF_EIO; an existing file is then intact.
 * Test   columns_come_back; by NumPy: own_points_get_a_number_with_its_error.sh */
PF_MUST_USE pf_status pf_npy_write(const char *path, int64_t n, const pf_column *columns,
                                   int n_columns);
PF_MUST_USE pf_status pf_npz_write(const char *path, int64_t n, const pf_column *columns,
                                   int n_columns);

/* Section `data` of an experiment. */
typedef struct pf_data_opt {
    char path[PF_STR_MAX];
    int grid;      /* pf_grid of the training data */
    int flip;      /* random horizontal flips in training */
    int64_t limit; /* use the first `limit` training images; 0: all */
} pf_data_opt;
extern const pf_opt pf_data_opts[];

/* Rows first .. first+n-1 of a split in model scale, x [n,D], for evaluation and closed forms: numbers and tokens as
 * they are; levels on the grid, draw's sample counting the rows of the split where they are dequantised.
 * Local.  Fails as reading does. */
PF_MUST_USE pf_status pf_rows_read(pf_dataset *d, pf_grid grid, const pf_draw *draw,
                                   int64_t first, int64_t n, double *x);

/* Mean and standard deviation of all entries of a split in model scale, of levels as dequantised ones have them.
 * Local.  Fails PF_EARG: tokens; as pf_rows_read does; PF_EMEM.
 * Test  moments_are_those_of_dequantised_levels */
typedef struct pf_moments {
    double mean, std;
} pf_moments;
PF_MUST_USE pf_status pf_data_moments(pf_dataset *d, pf_moments *out);

/* A shard of the training split, held in memory by its owner: rows [N s/S, N (s+1)/S). */
typedef struct pf_shard pf_shard;
/* Levels and tokens are held in the bytes they are stored in.  Fails PF_EARG: too few rows; as reading does. */
PF_MUST_USE pf_status pf_shard_open(pf_dataset *d, const pf_data_opt *opt, int shard,
                                    int shards, uint64_t seed, pf_shard **out);
void pf_shard_free(pf_shard *s);
int64_t pf_shard_size(const pf_shard *s);
/* Adds how many entries of each channel lie in each of n equal parts of the levels to count
 * [channels,n].  Fails PF_EARG when the data are no images, when n does not divide their levels, and where
 * those are points and n is another number. */
PF_MUST_USE pf_status pf_shard_count_levels(const pf_shard *s, int channels, int n,
                                            int64_t *count);
/* Batch of B samples of this shard at `step`: its position in the shard's own shuffled epochs is
 * step*B.  x [B,D] model scale, levels dequantised and flipped by f(seed, sample, step). */
void pf_shard_batch(const pf_shard *s, int64_t step, int B, float *x);
/* Reads the labels and the conditions of its rows too, each where it is wanted; d as in pf_shard_open.
 * Fails as pf_dataset_labels and pf_dataset_conditions do; PF_EMEM. */
PF_MUST_USE pf_status pf_shard_keep(pf_shard *s, pf_dataset *d, int labels, int conditions);
/* Of the rows of the same batch: label [B], and condition [B,C+1] as pf_conditions_known makes them.
 * NULL: unwanted; what is wanted has been kept.
 * Test   labels_and_conditions_come_with_their_rows */
void pf_shard_given(const pf_shard *s, int64_t step, int B, int32_t *label, float *condition);
/* Bytes that both take. */
size_t pf_shard_given_bytes(const pf_shard *s);

#endif
