/* Inside the store: HDF5 files as whole images, attributes and small readers.
 *
 * A whole file is built in memory, and then written, synced and renamed by us: HDF5 never meets
 * a full disk, and a crash leaves the old file or the new one.  All files use the newest file
 * format, whose metadata carries checksums, and no time stamps: the same content gives the same
 * bytes. */
#ifndef PROBFLOW_SRC_STORE_H5_H
#define PROBFLOW_SRC_STORE_H5_H

#include <hdf5.h>
#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

/* ---- image.c: writing ---- */
typedef struct pf_h5_image {
    unsigned char *bytes; /* owned */
    size_t cap;
    int exhausted; /* memory ran out */
    int unsealed;  /* set: a file that will change (metrics) */
    hid_t file;    /* 0: not open */
} pf_h5_image;

/* Starts a file in memory.  bytes: raw data expected in all, chunks: chunks expected, or
 * PF_H5_GROWS; both are hints.  kind: the root attribute by which files are told apart. */
#define PF_H5_GROWS SIZE_MAX /* will be written on under pf_h5_set_driver: no seal */
PF_MUST_USE pf_status pf_h5_begin(pf_h5_image *im, size_t bytes, size_t chunks,
                                  const char *kind);
/* When st is PF_OK, seals the image and puts it at path: temporary, sync, rename, sync of the
 * folder.  Else returns st, or PF_EMEM when that was the reason.  Frees the image whatever happens.
 * Fails PF_EIO; the old file is then intact and no temporary is left. */
PF_MUST_USE pf_status pf_h5_end(pf_h5_image *im, const char *path, pf_status st);

/* Group that remembers the order of its members; name may hold slashes of existing groups. */
PF_MUST_USE pf_status pf_h5_group(hid_t file, const char *name, hid_t *out);

typedef struct pf_h5_shape {
    int rank;
    hsize_t dim[5];
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
/* *sealed: whether there is a seal.  Fails PF_EFORMAT when it is broken, PF_EIO, PF_EMEM. */
PF_MUST_USE pf_status pf_h5_seal_check(const char *path, int *sealed);

/* ---- driver.c ---- */
/* Metadata begins at multiples of 512 bytes: a piece of it lies in one page, and a kill, which cuts a
 * write between two pages, leaves the old piece or the new one. */
void pf_h5_set_alignment(hid_t fapl);
/* Files opened for writing under fapl have that alignment, and writes that never fail to HDF5, which does not survive
 * one.  The first failure stores its number in *error (borrowed while the file is open); nothing
 * reaches the disk after it. */
PF_MUST_USE pf_status pf_h5_set_driver(hid_t fapl, int *error);

/* ---- file.c: reading ---- */
/* Checks the seal, then opens for reading; a file that a metrics writer holds, or held when it was
 * killed, included.  Fails PF_EIO (missing, truncated, damaged) or PF_EFORMAT (not HDF5, metadata
 * damaged), naming the file. */
PF_MUST_USE pf_status pf_h5_open(const char *path, hid_t *file);
/* Properties shared by all: no file locks, newest format. */
hid_t pf_h5_access(void);
/* Same, and the root attribute `kind` must be this. */
PF_MUST_USE pf_status pf_h5_open_kind(const char *path, const char *kind, hid_t *file);
void pf_h5_close(hid_t file);
/* Switches HDF5's own printing off; called by every function that enters HDF5. */
void pf_h5_quiet(void);
int pf_h5_has(hid_t where, const char *name);
PF_MUST_USE pf_status pf_h5_shape_of(hid_t dataset, pf_h5_shape *s, size_t *elements);
/* CRC-32 of any number of bytes. */
uint32_t pf_h5_crc(const void *p, size_t n);
/* Whole dataset into data [bytes]; its element count and size must fit.  path is for messages.
 * When it carries a crc32, that is verified (PF_EFORMAT). */
PF_MUST_USE pf_status pf_h5_get(hid_t where, const char *path, const char *name, hid_t type,
                                void *data, size_t bytes);
/* The stored bytes of an open dataset against its crc32, when it has one. */
PF_MUST_USE pf_status pf_h5_verify(hid_t dataset, const char *path, const char *name);
/* Names of the members of a group in stored order: owned list of owned names. */
PF_MUST_USE pf_status pf_h5_members(hid_t where, const char *path, const char *group, int *n,
                                    char ***names);
void pf_h5_names_free(char **names, int n);
/* "group/name" into buf. */
PF_MUST_USE pf_status pf_h5_join(char *buf, size_t n, const char *group, const char *name);
/* Is member a dataset (1) or a group (0)? -1: neither. */
int pf_h5_is_dataset(hid_t where, const char *name);

/* ---- attribute.c ---- */
PF_MUST_USE pf_status pf_h5_put_text(hid_t at, const char *name, const char *text);
PF_MUST_USE pf_status pf_h5_put_i64(hid_t at, const char *name, int n, const int64_t *v);
PF_MUST_USE pf_status pf_h5_put_f64(hid_t at, const char *name, double v);
/* Owned text of any string or numeric attribute; PF_EIO when absent. */
PF_MUST_USE pf_status pf_h5_get_text(hid_t at, const char *path, const char *name, char **text);
PF_MUST_USE pf_status pf_h5_get_i64(hid_t at, const char *path, const char *name, int n,
                                    int64_t *v);
int pf_h5_has_attr(hid_t at, const char *name);
/* Names of all attributes, sorted. */
PF_MUST_USE pf_status pf_h5_attrs(hid_t at, int *n, char ***names);

#endif
