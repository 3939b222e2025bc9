/* Inside the store: HDF5 files as whole images, attributes and small readers.
 *
 * A whole file is built in memory, and then written, synced and renamed by us: HDF5 never meets
 * a full disk, and a crash leaves the old file or the new one.  All files use the newest file
 * format, whose metadata carries checksums, and no time stamps: the same content gives the same
 * bytes. */
#ifndef PROBFLOW_SRC_STORE_H5_H
#define PROBFLOW_SRC_STORE_H5_H

#include <hdf5.h>
#include <probflow/store.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- image.c: writing ---- */
typedef struct pf_h5_image {
    unsigned char *bytes; /* owned */
    size_t cap;
    int exhausted;            /* memory ran out */
    int unsealed;             /* set: a file that will change (metrics) */
    hid_t file;               /* 0: not open */
    const char *kind, *first; /* what an older file at its path must be; borrowed */
} pf_h5_image;

/* Starts a file in memory.  bytes: raw data expected in all, chunks: chunks expected, or
 * PF_H5_GROWS; both are hints.  kind: the root attribute by which files are told apart. */
#define PF_H5_GROWS SIZE_MAX /* will be written on under pf_h5_set_driver: no seal */
PF_MUST_USE pf_status pf_h5_begin(pf_h5_image *im, size_t bytes, size_t chunks,
                                  const char *kind);
/* When st is PF_OK, seals the image and puts it at path: temporary, sync, rename, sync of the
 * folder.  Else returns st, or PF_EMEM when that was the reason.  Frees the image whatever happens.
 * Fails as pf_h5_replaces does, a damaged file of ours being replaced, and as pf_file_put; the old
 * file is then intact and no temporary is left. */
PF_MUST_USE pf_status pf_h5_end(pf_h5_image *im, const char *path, pf_status st);

/* ---- output.c ---- */
/* May what is at path be replaced by a file of this kind?  first: a dataset that it must hold, or NULL.
 * Fails PF_EARG: it is of others or of another kind; PF_EFORMAT: damaged beyond telling; PF_EMEM. */
PF_MUST_USE pf_status pf_h5_replaces(const char *path, const char *kind, const char *first);

/* ---- put.c ---- */
/* Group that remembers the order of its members; name may hold slashes of existing groups. */
PF_MUST_USE pf_status pf_h5_group(hid_t file, const char *name, hid_t *out);

typedef struct pf_h5_shape {
    int rank;
    hsize_t dim[PF_RANK_MAX];
} pf_h5_shape;
enum { PF_H5_CHECKSUM = 1, PF_H5_EMPTY = 2 };
/* Contiguous dataset of native type.  PF_H5_CHECKSUM adds the attribute crc32 of its bytes;
 * PF_H5_EMPTY allocates it and writes nothing. */
PF_MUST_USE pf_status pf_h5_put(hid_t where, const char *name, hid_t type, pf_h5_shape s,
                                const void *data, int flags);

/* ---- seal.c ---- */
/* Ranges of raw data of an open file; owned. */
PF_MUST_USE pf_status pf_h5_seal_ranges(hid_t file, void **ranges, size_t *n);
/* Trailer for a file image; owned. */
PF_MUST_USE pf_status pf_h5_seal_make(const unsigned char *bytes, size_t size,
                                      const void *ranges, size_t n, void **trailer,
                                      size_t *trailer_size);
/* Seals a closed file as a whole: no data ranges. */
PF_MUST_USE pf_status pf_h5_seal_append(const char *path);
/* *sealed: whether the open file has a seal.  Fails PF_EFORMAT when it is broken, PF_EIO, PF_EMEM. */
PF_MUST_USE pf_status pf_h5_seal_check(int fd, const char *path, int *sealed);

/* ---- driver.c ---- */
/* Metadata begins at multiples of 512 bytes: a piece of it lies in one page, and a kill, which cuts a
 * write between two pages, leaves the old piece or the new one. */
void pf_h5_set_alignment(hid_t fapl);
/* Files opened under fapl are read and written by us: the open file fd (duplicated), or for -1 the one
 * HDF5 is told.  A write never fails to HDF5, which does not survive one: the first failure stores its
 * number in *error (borrowed while the file is open), as that of opening does; nothing reaches the disk
 * after it. */
PF_MUST_USE pf_status pf_h5_set_driver(hid_t fapl, int fd, int *error);
/* The descriptor under an open file, borrowed; -1: not ours. */
int pf_h5_fd(hid_t file);
/* Bytes of an open file, and of the one under HDF5.  Fail PF_EIO. */
PF_MUST_USE pf_status pf_h5_fd_size(int fd, const char *path, uint64_t *size);
PF_MUST_USE pf_status pf_h5_size(hid_t file, const char *path, uint64_t *size);
/* Bytes of fd from `at`, fewer than n at its end only; -1 on failure.  All reading of the store. */
ssize_t pf_h5_pread(int fd, void *p, size_t n, uint64_t at);
/* Test hook: the n-th of them from now (1 = the next) fails; 0 switches it off. */
void pf_h5_fail_read_at(int64_t n);

/* ---- child.c ---- */
/* Runs work(self) in a child process, which must only read and write descriptors, under limits that
 * follow from the size of the file at path, and returns its status and sentence.  Fails PF_EFORMAT when
 * the child ends by a signal or without an answer, PF_EMEM when there can be none. */
PF_MUST_USE pf_status pf_h5_in_child(const char *path, uint64_t size, pf_status (*work)(void *),
                                     void *self);

/* ---- copy.c ---- */
/* Copies attributes, groups, and datasets of numbers and strings into the new file `to`; other types keep
 * their place only.  what, only: as in pf_h5_open.  Fails PF_EFORMAT where the file leads out of
 * itself, round in itself, or claims more than its bytes can hold. */
PF_MUST_USE pf_status pf_h5_copy(hid_t from, const char *path, int what, const char *only,
                                 hid_t to);
/* The same checks of links and groups, and no copy. */
PF_MUST_USE pf_status pf_h5_walk(hid_t from, const char *path);

/* ---- checkpoint.c ---- */
/* Groups that hold a dataset for each parameter, in the order of writing; NULL ends them. */
extern const char *const pf_checkpoint_groups[];

/* ---- open.c ---- */
enum { PF_H5_ALL, PF_H5_LIST, PF_H5_COPY };
/* Opens a file for reading.  One whose seal holds is read itself.  Any other, a metrics file that a
 * writer holds or a kill left included, is read by a child, and its copy is opened.
 * what: PF_H5_LIST when values are not wanted, PF_H5_COPY when few are: both by a child in any case.
 * only: the object that is wanted beside the attributes of the root, NULL for all, "" for none; a copy
 * may lack the others.
 * Fails PF_EIO (missing, no regular file, truncated) or PF_EFORMAT (not HDF5, damaged, not to be
 * read), naming the file. */
PF_MUST_USE pf_status pf_h5_open(const char *path, int what, const char *only, hid_t *file);
/* Same, and the root attribute `kind` must be this. */
PF_MUST_USE pf_status pf_h5_open_kind(const char *path, const char *kind, const char *only,
                                      hid_t *file);
/* Same for an open descriptor, which stays the caller's.  *direct: whether HDF5 reads it itself. */
PF_MUST_USE pf_status pf_h5_open_fd(int fd, const char *path, int what, const char *only,
                                    int *direct, hid_t *file);
PF_MUST_USE pf_status pf_h5_want_kind(hid_t file, const char *path, const char *kind);
void pf_h5_close(hid_t file);
/* Opens a regular file with O_RDONLY or O_RDWR and waits for nothing.  Fails PF_EIO. */
PF_MUST_USE pf_status pf_h5_open_regular(const char *path, int flags, int *fd);
/* For fuzzing: from now on every file is read by a child, sealed or not. */
void pf_h5_read_in_child(int on);

/* ---- type.c ---- */
/* A new standard type equal to a stored one: integers, floats of 16, 32 and 64 bits, strings; else
 * -1. */
hid_t pf_h5_plain_type(hid_t stored);
/* "float32" into buf. */
const char *pf_h5_type_name(hid_t type, char buf[32]);

/* ---- file.c ---- */
/* Properties shared by all: no file locks, newest format. */
hid_t pf_h5_access(void);
/* Switches HDF5's own printing off; called by every function that enters HDF5. */
void pf_h5_quiet(void);
int pf_h5_has(hid_t where, const char *name);
PF_MUST_USE pf_status pf_h5_shape_of(hid_t dataset, pf_h5_shape *s, size_t *elements);
/* Shape and elements of a dataset whose bytes are there: no more than its stored ones can hold.  Fails
 * PF_EFORMAT; what precedes taking memory for it. */
PF_MUST_USE pf_status pf_h5_backed(hid_t dataset, const char *path, const char *name,
                                   pf_h5_shape *s, size_t *elements);
/* CRC-32 of any number of bytes. */
uint32_t pf_h5_crc(const void *p, size_t n);
/* Names of the members of a group in stored order: owned list of owned names. */
PF_MUST_USE pf_status pf_h5_members(hid_t where, const char *path, const char *group, int *n,
                                    char ***names);
void pf_h5_names_free(char **names, int n);
/* "group/name" into buf; path is for messages. */
PF_MUST_USE pf_status pf_h5_join(char *buf, size_t n, const char *path, const char *group,
                                 const char *name);
/* Is member a dataset (1) or a group (0)? -1: neither. */
int pf_h5_is_dataset(hid_t where, const char *name);

/* ---- read.c ---- */
/* The dataset holds values that HDF5 hands out unchanged; else PF_EFORMAT with a sentence. */
enum { PF_H5_BYTES, PF_H5_INT32, PF_H5_INTEGERS, PF_H5_FLOATS, PF_H5_NUMBERS };
PF_MUST_USE pf_status pf_h5_want(hid_t dataset, const char *path, const char *name, int want);
/* Whole dataset into data [bytes]; its element count and size must fit.  path is for messages.
 * When it carries a crc32, that is verified (PF_EFORMAT). */
PF_MUST_USE pf_status pf_h5_get(hid_t where, const char *path, const char *name, hid_t type,
                                void *data, size_t bytes);
/* The stored bytes of an open dataset against its crc32, when it has one. */
PF_MUST_USE pf_status pf_h5_verify(hid_t dataset, const char *path, const char *name);

/* ---- array.c ---- */
/* As pf_store_read_array, of an open file. */
PF_MUST_USE pf_status pf_h5_array(hid_t file, const char *path, const char *name, pf_array *a);

/* ---- attribute.c ---- */
PF_MUST_USE pf_status pf_h5_put_text(hid_t at, const char *name, const char *text);
/* Each line of text as one string of a list. */
PF_MUST_USE pf_status pf_h5_put_lines(hid_t at, const char *name, const char *text);
PF_MUST_USE pf_status pf_h5_put_i64(hid_t at, const char *name, int n, const int64_t *v);
PF_MUST_USE pf_status pf_h5_put_f64(hid_t at, const char *name, double v);
/* Owned text of any string or numeric attribute, a line for each of a list of strings; PF_EIO when
 * absent. */
PF_MUST_USE pf_status pf_h5_get_text(hid_t at, const char *path, const char *name, char **text);
PF_MUST_USE pf_status pf_h5_get_i64(hid_t at, const char *path, const char *name, int n,
                                    int64_t *v);
/* One number. */
PF_MUST_USE pf_status pf_h5_get_f64(hid_t at, const char *path, const char *name, double *v);
/* Text of 64 hexadecimal digits; "" when absent.  Fails  PF_EFORMAT: another text. */
PF_MUST_USE pf_status pf_h5_get_digest(hid_t at, const char *path, const char *name,
                                       char hex[65]);
int pf_h5_has_attr(hid_t at, const char *name);
/* *same of an attribute that both objects have: type, shape and values; -1: cannot be compared. */
PF_MUST_USE pf_status pf_h5_same_attr(const hid_t at[2], const char *const path[2],
                                      const char *name, int *same);
/* Names of all attributes, sorted. */
PF_MUST_USE pf_status pf_h5_attrs(hid_t at, const char *path, int *n, char ***names);

#endif
