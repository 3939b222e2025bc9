/* JPEG by libjpeg-turbo, as its defaults decode it and djpeg does: the accurate integer DCT, fancy
 * upsampling.  The library's warnings are failures: a damaged picture is no datum.
 *
 * A Huffman-coded block takes a bit at the least, so the size is held against the file's; arithmetic
 * coding has no such bound. */
#include <probflow/memory.h>
#include "data/format.h"
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

enum { BYTES_MOST = 1 << 28, SCANS_MOST = 100, ORIENTATION = 0x0112 };

typedef struct reader {
    struct jpeg_decompress_struct z;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    pf_input *s;
    unsigned char in[4096], *pixels;
    pf_shape shape;
    pf_status failed; /* of the file; its sentence stands */
    int exhausted, turned;
    char why[JMSG_LENGTH_MAX];
} reader;

static void refuse(reader *r, const char *why)
{
    snprintf(r->why, sizeof r->why, "%s", why);
    longjmp(r->out, 1);
}

static void on_error(j_common_ptr z)
{
    reader *r = z->client_data;
    z->err->format_message(z, r->why);
    r->exhausted |= z->err->msg_code == JERR_OUT_OF_MEMORY;
    longjmp(r->out, 1);
}

static void on_message(j_common_ptr z, int level)
{
    if (level < 0) on_error(z);
}

/* Each of very many scans costs as much as the whole picture. */
static void on_progress(j_common_ptr z)
{
    reader *r = z->client_data;
    if (r->z.input_scan_number > SCANS_MOST)
        refuse(r, "it has more scans than any picture needs");
}

static boolean on_fill(j_decompress_ptr z)
{
    reader *r = z->client_data;
    size_t got = 0;
    r->failed = pf_input_read(r->s, r->in, sizeof r->in, &got);
    if (r->failed) longjmp(r->out, 1);
    if (got == 0) refuse(r, "it is truncated");
    r->source.next_input_byte = r->in;
    r->source.bytes_in_buffer = got;
    return TRUE;
}

static void on_skip(j_decompress_ptr z, long n)
{
    struct jpeg_source_mgr *s = z->src;
    while (n > 0) {
        if (s->bytes_in_buffer == 0) on_fill(z);
        size_t some = (size_t)n < s->bytes_in_buffer ? (size_t)n : s->bytes_in_buffer;
        s->next_input_byte += some;
        s->bytes_in_buffer -= some;
        n -= (long)some;
    }
}

static void nothing(j_decompress_ptr z)
{
    (void)z;
}

/* ---- orientation, as Exif has it: a TIFF file behind a name ---- */

static unsigned take(const unsigned char *p, int n, int big)
{
    unsigned v = 0;
    for (int i = 0; i < n; i++) v |= (unsigned)p[big ? n - 1 - i : i] << 8 * i;
    return v;
}

/* 1 where it says none. */
static unsigned orientation(const unsigned char *b, size_t n)
{
    if (n < 14 || memcmp(b, "Exif\0", 6)) return 1;
    b += 6, n -= 6;
    int big = b[0] == 'M';
    size_t at = take(b + 4, 4, big);
    if (at > n - 2) return 1;
    size_t entries = take(b + at, 2, big);
    for (at += 2; entries-- && at + 12 <= n; at += 12)
        if (take(b + at, 2, big) == ORIENTATION) return take(b + at + 8, 2, big);
    return 1;
}

/* ---- the picture ---- */

static void check(reader *r)
{
    const struct jpeg_decompress_struct *z = &r->z;
    size_t blocks = 0, c = z->jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
    if (z->jpeg_color_space == JCS_CMYK || z->jpeg_color_space == JCS_YCCK)
        refuse(r, "its colours are CMYK; grey, RGB and YCbCr are read");
    if (z->jpeg_color_space == JCS_UNKNOWN)
        refuse(r, "its colours are of no known kind; grey, RGB and YCbCr are read");
    if (z->arith_code) refuse(r, "it is arithmetic-coded; Huffman-coded JPEG is read");
    if (c * z->image_width * z->image_height > BYTES_MOST)
        refuse(r, "its header declares a larger image than any that is read");
    for (int i = 0; i < z->num_components; i++)
        blocks += (size_t)z->comp_info[i].width_in_blocks * z->comp_info[i].height_in_blocks;
    if (blocks / 8 > pf_input_size(r->s))
        refuse(r, "its header declares more pixels than so small a file can hold");
    for (jpeg_saved_marker_ptr m = z->marker_list; m; m = m->next)
        r->turned |= orientation(m->data, m->data_length) > 1;
    r->shape = (pf_shape){(int)z->image_height, (int)z->image_width, (int)c};
}

static void set_up(reader *r)
{
    struct jpeg_decompress_struct *z = &r->z;
    z->err = jpeg_std_error(&r->errors);
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    z->client_data = r;
}

/* 0 on failure, with the reason in r->why.  All state is in *r, which survives the jump. */
static int decode(reader *r)
{
    struct jpeg_decompress_struct *z = &r->z;
    if (setjmp(r->out)) return 0;
    jpeg_create_decompress(z);
    z->client_data = r;
    z->progress = &r->progress;
    r->progress.progress_monitor = on_progress;
    z->src = &r->source;
    r->source = (struct jpeg_source_mgr){.init_source = nothing,
                                         .fill_input_buffer = on_fill,
                                         .skip_input_data = on_skip,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = nothing};
    jpeg_save_markers(z, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(z, TRUE);
    check(r);
    z->out_color_space = r->shape.c == 1 ? JCS_GRAYSCALE : JCS_RGB;
    size_t line = (size_t)r->shape.w * (size_t)r->shape.c;
    r->pixels = pf_zalloc(line * (size_t)r->shape.h);
    r->exhausted = !r->pixels;
    if (!r->pixels) refuse(r, "no memory");
    jpeg_start_decompress(z);
    while (z->output_scanline < z->output_height) {
        JSAMPROW row = r->pixels + z->output_scanline * line;
        jpeg_read_scanlines(z, &row, 1);
    }
    jpeg_finish_decompress(z);
    return 1;
}

pf_status pf_jpeg_read(pf_input *s, const char *path, pf_image *out)
{
    reader *r = pf_zalloc(sizeof *r);
    PF_REQUIRE(r, PF_EMEM, "no memory to read %s", path);
    r->s = s;
    set_up(r);
    int ok = decode(r);
    jpeg_destroy_decompress(&r->z);
    if (!ok) pf_free(r->pixels);
    *out = (pf_image){.shape = r->shape, .is_jpeg = 1, .is_turned = r->turned};
    if (ok) out->pixels = r->pixels;
    pf_status st = PF_OK;
    if (r->failed) st = r->failed;
    else if (r->exhausted) st = pf_raise(PF_EMEM, PF_WHERE, "no memory to read %s", path);
    else if (!ok) st = pf_raise(PF_EFORMAT, PF_WHERE, "cannot read %s: %s", path, r->why);
    pf_free(r);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
