/* Whole HDF5 files: built in memory by HDF5's core driver, written by us.
 *
 * HDF5 does not forgive a failing write: its caches then refuse to close the file.  So the disk
 * is ours alone: temporary file, write, fsync, rename, fsync of the folder. */
#include <probflow/file.h>
#include <probflow/isa.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"
#include "revision.h"
#include "store/libraries.h"
#include <string.h>

/* HDF5 calls these instead of malloc for the image, so that it stays ours after the close. */
static void *image_malloc(size_t n, H5FD_file_image_op_t op, void *udata)
{
    (void)op;
    pf_h5_image *im = udata;
    im->bytes = pf_zalloc(n);
    im->cap = im->bytes ? n : 0;
    im->exhausted |= !im->bytes;
    return im->bytes;
}

static void *image_realloc(void *p, size_t n, H5FD_file_image_op_t op, void *udata)
{
    (void)p, (void)op;
    pf_h5_image *im = udata;
    if (n <= im->cap) return im->bytes; /* HDF5 trims the end at close: the tail is not used */
    unsigned char *q = pf_zalloc(n);
    if (!q) {
        im->exhausted = 1;
        return NULL;
    }
    if (im->cap) memcpy(q, im->bytes, im->cap);
    pf_free(im->bytes);
    im->bytes = q;
    im->cap = n;
    return q;
}

static herr_t image_free(void *p, H5FD_file_image_op_t op, void *udata)
{
    (void)p, (void)op, (void)udata;
    return 0;
}

static void *udata_copy(void *udata)
{
    return udata;
}

static herr_t udata_free(void *udata)
{
    (void)udata;
    return 0;
}

static PF_MUST_USE pf_status begin(pf_h5_image *im, size_t bytes, size_t chunks,
                                   const char *kind)
{
    /* One allocation for the expected size, before HDF5 could fail on it.  HDF5 grows in whole
     * steps: one more than the data fill leaves room for the metadata without a second copy. */
    size_t step = bytes / 8 + (1u << 16), room = 9 * step;
    im->bytes = pf_zalloc(room);
    PF_REQUIRE(im->bytes, PF_EMEM, "no memory for a file of %zu bytes", room);
    im->cap = room;

    H5FD_file_image_callbacks_t cb = {.image_malloc = image_malloc,
                                      .image_realloc = image_realloc,
                                      .image_free = image_free,
                                      .udata_copy = udata_copy,
                                      .udata_free = udata_free,
                                      .udata = im};
    hid_t fapl = pf_h5_access(), fcpl = H5Pcreate(H5P_FILE_CREATE);
    /* Metadata in one piece, 16 bytes for the place of a chunk, so that it does not lie between. */
    im->unsealed = chunks == PF_H5_GROWS;
    if (im->unsealed) pf_h5_set_alignment(fapl);
    else if (chunks) H5Pset_meta_block_size(fapl, 16 * chunks + (1u << 14));
    if (H5Pset_fapl_core(fapl, step, 0) >= 0 && H5Pset_file_image_callbacks(fapl, &cb) >= 0 &&
        H5Pset_obj_track_times(fcpl, 0) >= 0 &&
        H5Pset_link_creation_order(fcpl, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED) >= 0)
        im->file = H5Fcreate("image", H5F_ACC_TRUNC, fcpl, fapl);
    H5Pclose(fcpl);
    H5Pclose(fapl);
    PF_REQUIRE(im->file > 0, PF_EEXT, "HDF5 cannot start a file in memory");
    PF_TRY(pf_h5_put_text(im->file, "kind", kind));
    PF_TRY(pf_h5_put_text(im->file, "version", PF_VERSION));
    PF_TRY(pf_h5_put_text(im->file, "revision", PF_REVISION));
    PF_TRY(pf_h5_put_text(im->file, "libraries", PF_LIBRARIES));
    char cpu[128];
    PF_TRY(pf_h5_put_text(im->file, "cpu", pf_cpu_name(cpu, sizeof cpu)));
    PF_TRY(pf_h5_put_text(im->file, "isa", pf_isa_name(pf_isa_used())));
    return PF_OK;
}

/* End of file as the superblock (version 2 or 3) states it. */
static uint64_t stated_size(const unsigned char *b)
{
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | b[28 + i];
    return n;
}

static void discard(pf_h5_image *im)
{
    if (im->file > 0) H5Fclose(im->file);
    pf_free(im->bytes);
    memset(im, 0, sizeof *im);
}

pf_status pf_h5_begin(pf_h5_image *im, size_t bytes, size_t chunks, const char *kind)
{
    *im = (pf_h5_image){.kind = kind};
    pf_h5_quiet();
    pf_status st = begin(im, bytes, chunks, kind);
    if (st) {
        discard(im);
        return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status finish(pf_h5_image *im, const char *path, void **ranges,
                                    void **trailer)
{
    size_t n = 0;
    pf_bytes part[2] = {{0}, {0}};
    if (!im->unsealed) PF_TRY(pf_h5_seal_ranges(im->file, ranges, &n));
    herr_t closed = H5Fclose(im->file);
    im->file = 0;
    PF_REQUIRE(!im->exhausted, PF_EMEM, "no memory to build %s", path);
    PF_REQUIRE(closed >= 0 && im->cap >= 48 && stated_size(im->bytes) <= im->cap, PF_EEXT,
               "HDF5 cannot finish %s", path);
    part[0] = (pf_bytes){im->bytes, stated_size(im->bytes)};
    if (!im->unsealed)
        PF_TRY(pf_h5_seal_make(im->bytes, part[0].n, *ranges, n, trailer, &part[1].n));
    part[1].p = *trailer;
    /* Commands have refused a damaged one before their work; a run goes on over it. */
    pf_status st = pf_h5_replaces(path, im->kind, im->first);
    if (st && st != PF_EFORMAT) return pf_trail(st, PF_WHERE);
    PF_TRY(pf_file_put(path, part, 2));
    return PF_OK;
}

static PF_MUST_USE pf_status commit(pf_h5_image *im, const char *path)
{
    void *ranges = NULL, *trailer = NULL;
    pf_status st = finish(im, path, &ranges, &trailer);
    pf_free(ranges);
    pf_free(trailer);
    discard(im);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_h5_end(pf_h5_image *im, const char *path, pf_status st)
{
    /* That a seal belongs to this file must be known when the seal itself is cut off. */
    int64_t yes = 1;
    if (!st && !im->unsealed) st = pf_h5_put_i64(im->file, "sealed", 1, &yes);
    if (!st) return commit(im, path);
    int exhausted = im->exhausted;
    discard(im);
    if (exhausted && st != PF_EMEM)
        return pf_raise(PF_EMEM, PF_WHERE, "no memory to build %s", path);
    return pf_trail(st, PF_WHERE);
}
