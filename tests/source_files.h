/* Makers of small sources, and what a dataset made of them holds. */
#ifndef PF_TESTS_SOURCE_FILES_H
#define PF_TESTS_SOURCE_FILES_H

#include <probflow/data.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "checks.h"
#include "scratch.h"

enum { SIDE = 6, PIXELS = SIDE * SIDE };

static inline void pattern(unsigned char *p, size_t n, unsigned salt)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)((i * 2654435761u + salt * 40503u) >> 13);
}

static inline void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* n images of SIDE x SIDE behind an IDX header. */
static inline size_t idx(unsigned char *b, uint32_t n, unsigned salt)
{
    memcpy(b, "\0\0\10\3", 4);
    put32(b + 4, n);
    put32(b + 8, SIDE);
    put32(b + 12, SIDE);
    pattern(b + 16, n * PIXELS, salt);
    return 16 + n * PIXELS;
}

static inline const char *spill_idx(const char *name, uint32_t n, unsigned salt)
{
    unsigned char b[16 + 16 * PIXELS];
    size_t bytes = idx(b, n, salt);
    spill(in_dir(name), b, bytes);
    return in_dir(name);
}

static inline size_t packed(const void *from, size_t n, unsigned char *to, size_t room)
{
    z_stream z = {.next_in = (unsigned char *)from,
                  .avail_in = (unsigned)n,
                  .next_out = to,
                  .avail_out = (unsigned)room};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

/* Makes the folders of a path too. */
static inline const char *with_folders(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s", in_dir(name));
    for (char *p = path + strlen(scratch) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = 0;
        mkdir(path, 0777);
    }
    return in_dir(name);
}

static inline void image_of(unsigned char im[PIXELS], unsigned salt)
{
    pattern(im, PIXELS, salt);
}

static inline void put_png(const char *name, unsigned salt)
{
    unsigned char im[PIXELS];
    image_of(im, salt);
    must(pf_png_grid(with_folders(name), im, 1, (pf_shape){SIDE, SIDE, 1}, 1));
}

static inline void put_text(const char *name, const char *text)
{
    spill(with_folders(name), text, strlen(text));
}

/* A .npy of version 1.0 with this header, and n bytes of values: 0, 1, 2, ... */
static inline const char *put_npy(const char *name, const char *head, size_t n)
{
    unsigned char b[2048] = "\x93NUMPY\1\0";
    size_t len = strlen(head);
    assert_true(10 + len + n <= sizeof b);
    b[8] = (unsigned char)len;
    b[9] = (unsigned char)(len >> 8);
    memcpy(b + 10, head, len);
    for (size_t i = 0; i < n; i++) b[10 + len + i] = (unsigned char)i;
    spill(in_dir(name), b, 10 + len + n);
    return in_dir(name);
}

/* ---- what came of it ---- */

static inline pf_status convert(const char *source, const char *out)
{
    const char *path = in_dir(source);
    return pf_data_convert(&path, NULL, 1, NULL, in_dir(out));
}

/* Rows of a split are the patterns of these salts, with these labels (NULL: none). */
static inline void holds(const char *out, const char *split, int n, const unsigned *salts,
                         const int32_t *labels)
{
    pf_dataset *d = NULL;
    must(pf_dataset_open(in_dir(out), split, &d));
    const pf_dataset_info *a = pf_dataset_about(d);
    assert_int_equal(a->n, n);
    assert_int_equal(a->has_labels, labels != NULL);
    for (int i = 0; i < n; i++) {
        unsigned char got[PIXELS], want[PIXELS];
        int32_t y = -1;
        must(pf_dataset_images(d, i, 1, got));
        image_of(want, salts[i]);
        assert_memory_equal(got, want, PIXELS);
        if (labels) must(pf_dataset_labels(d, i, 1, &y));
        assert_int_equal(y, labels ? labels[i] : -1);
    }
    pf_dataset_close(d);
}

static inline void has_no_split(const char *out, const char *split)
{
    pf_dataset *d = NULL;
    assert_int_equal(pf_dataset_open(in_dir(out), split, &d), PF_EFORMAT);
}

static inline void classes_are(const char *out, const char *want)
{
    static const char *const splits[] = {"train", "valid", "test"};
    for (int i = 0; i < 3; i++) {
        pf_dataset *d = NULL;
        if (pf_dataset_open(in_dir(out), splits[i], &d)) continue;
        if (want) assert_string_equal(pf_dataset_about(d)->classes, want);
        else assert_null(pf_dataset_about(d)->classes);
        pf_dataset_close(d);
    }
}

/* The conversion fails, its sentence holds each of two texts, and no file is left. */
static inline void refused(const char *source, const char *one, const char *two)
{
    assert_true(convert(source, "refused.h5") > PF_ESTOP);
    const char *said = pf_error_message();
    if (!strstr(said, one) || !strstr(said, two))
        fail_msg("%s: the sentence names not both '%s' and '%s': %s", source, one, two, said);
    assert_int_equal(access(in_dir("refused.h5"), F_OK), -1);
}

#endif
