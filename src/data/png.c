/* PNG by libpng: images as they are stored, and grids of samples. */
#include <probflow/data.h>
#include <probflow/file.h>
#include <probflow/memory.h>
#include "data/format.h"
#include <png.h>
#include <setjmp.h>
#include <string.h>
#include <zlib.h>

int pf_png_size(const unsigned char *b, size_t n, int *w, int *h)
{
    if (n < 24 || memcmp(b, "\211PNG\r\n\032\n", 8) || memcmp(b + 12, "IHDR", 4)) return 0;
    *w = (int)((uint32_t)b[16] << 24 | (uint32_t)b[17] << 16 | (uint32_t)b[18] << 8 | b[19]);
    *h = (int)((uint32_t)b[20] << 24 | (uint32_t)b[21] << 16 | (uint32_t)b[22] << 8 | b[23]);
    return *w > 0 && *h > 0;
}

enum {
    RATIO = 1032,
    SIDE_MOST = 1 << 16,
    BYTES_MOST = 1 << 28,
    WORK_MOST = 1 << 23
}; /* RATIO: see input.c */

typedef struct reader {
    png_structp png;
    png_infop info;
    pf_input *s;
    unsigned char *pixels;
    pf_shape shape;
    pf_status failed; /* of the file; its sentence stands */
    int exhausted, too_much, with_alpha;
    char why[128];
} reader;

static void on_error(png_structp png, png_const_charp message)
{
    reader *r = png_get_error_ptr(png);
    snprintf(r->why, sizeof r->why, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

/* libpng goes on where more pixels come than the header declares; what is read is then no picture. */
static void on_warning(png_structp png, png_const_charp message)
{
    reader *r = png_get_error_ptr(png);
    r->too_much |= strstr(message, "Too much image data") != NULL;
}

/* libpng asks for the length that a chunk declares before it finds that so much is not there. */
static png_voidp on_alloc(png_structp png, png_alloc_size_t n)
{
    reader *r = png_get_mem_ptr(png);
    if (r->s && n > pf_input_size(r->s) + WORK_MOST) return NULL;
    void *p = pf_zalloc(n);
    r->exhausted |= !p;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    pf_free(p);
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    reader *r = png_get_io_ptr(png);
    size_t got = 0;
    r->failed = pf_input_read(r->s, to, n, &got);
    if (r->failed || got < n) png_error(png, "it is truncated or no PNG");
}

/* What the header declares, before anything is allocated by it. */
static void check_size(reader *r)
{
    size_t w = png_get_image_width(r->png, r->info), h = png_get_image_height(r->png, r->info);
    size_t bits =
        (size_t)png_get_bit_depth(r->png, r->info) * png_get_channels(r->png, r->info) * w;
    if (w > SIDE_MOST || h > SIDE_MOST || 3 * w * h > BYTES_MOST)
        png_error(r->png, "its header declares a larger image than any that is read");
    if ((bits / 8 + 1) * h / RATIO > pf_input_size(r->s))
        png_error(r->png, "its header declares more pixels than so small a file can hold");
}

/* Palettes are expanded; an index beyond the palette is none of its colours. */
static void expand_palette(reader *r)
{
    png_colorp palette = NULL;
    int n = 0;
    size_t pixels = (size_t)r->shape.h * (size_t)r->shape.w;
    png_get_PLTE(r->png, r->info, &palette, &n);
    unsigned char *b = r->pixels; /* indices in the last third */
    for (size_t i = 0; i < pixels; i++, b += 3) {
        int k = r->pixels[2 * pixels + i];
        if (k >= n) png_error(r->png, "a pixel names no colour of its palette");
        b[0] = palette[k].red, b[1] = palette[k].green, b[2] = palette[k].blue;
    }
    r->shape.c = 3;
}

/* 0 on failure, with the reason in r->why.  All state is in *r, which survives the jump.  No
 * gamma is applied: the stored samples are the data. */
static int decode(reader *r)
{
    if (setjmp(png_jmpbuf(r->png))) return 0;
    png_set_read_fn(r->png, r, on_read);
    png_set_user_limits(r->png, SIDE_MOST, SIDE_MOST);
    png_read_info(r->png, r->info);
    check_size(r);
    int color = png_get_color_type(r->png, r->info),
        is_palette = color == PNG_COLOR_TYPE_PALETTE;
    if (png_get_bit_depth(r->png, r->info) > 8)
        png_error(r->png, "it has 16-bit samples, images have 8");
    if (!r->with_alpha &&
        ((color & PNG_COLOR_MASK_ALPHA) || png_get_valid(r->png, r->info, PNG_INFO_tRNS)))
        png_error(r->png, "it has an alpha channel, which --alpha drop takes away");
    if (is_palette) png_set_packing(r->png);
    else png_set_expand_gray_1_2_4_to_8(r->png); /* a colour that is transparent stays */
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    size_t line = png_get_rowbytes(r->png, r->info);
    r->shape = (pf_shape){(int)png_get_image_height(r->png, r->info),
                          (int)png_get_image_width(r->png, r->info),
                          png_get_channels(r->png, r->info)};
    size_t bytes = line * (size_t)r->shape.h, before = is_palette ? 2 * bytes : 0;
    r->pixels = pf_zalloc(before + bytes);
    r->exhausted |= !r->pixels;
    if (!r->pixels) png_error(r->png, "no memory");
    while (passes-- > 0)
        for (int y = 0; y < r->shape.h; y++)
            png_read_row(r->png, r->pixels + before + (size_t)y * line, NULL);
    png_read_end(r->png, NULL);
    if (r->too_much) png_error(r->png, "it holds more pixels than its header declares");
    if (is_palette) expand_palette(r);
    return 1;
}

pf_status pf_png_read(pf_input *s, const char *path, int with_alpha, pf_shape *shape,
                      unsigned char **pixels)
{
    reader r = {.s = s, .with_alpha = with_alpha};
    PF_REQUIRE(!pf_input_packed(s), PF_EFORMAT, "%s is no PNG but a gzip file", path);
    r.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning, &r,
                                     on_alloc, on_free);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    int ok = r.info && decode(&r);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    if (!ok) pf_free(r.pixels);
    if (r.failed) return pf_trail(r.failed, PF_WHERE);
    PF_REQUIRE(ok || !r.exhausted, PF_EMEM, "no memory to read %s", path);
    PF_REQUIRE(ok, PF_EFORMAT, "cannot read %s: %s", path, r.why);
    *shape = r.shape;
    *pixels = r.pixels;
    return PF_OK;
}

/* The image with a comment, behind its first chunk, that says who wrote it. */
static PF_MUST_USE pf_status put_marked(const char *path, const pf_bytes *file)
{
    enum { FIRST = 33, TEXT = sizeof PF_PNG_SOFTWARE - 1 };
    const unsigned char *b = file->p;
    unsigned char chunk[4 + TEXT + 4] = {0, 0, 0, TEXT - 4};
    memcpy(chunk + 4, PF_PNG_SOFTWARE, TEXT);
    uint32_t crc = (uint32_t)crc32(0, chunk + 4, TEXT);
    for (int i = 0; i < 4; i++) chunk[4 + TEXT + i] = (unsigned char)(crc >> (24 - 8 * i));
    pf_bytes part[3] = {{b, FIRST}, {chunk, sizeof chunk}, {b + FIRST, file->n - FIRST}};
    PF_TRY(pf_output_check(path, PF_OUTPUT_PNG, NULL, 0));
    PF_TRY(pf_file_put(path, part, 3));
    return PF_OK;
}

pf_status pf_png_grid(const char *path, const uint8_t *images, int n, pf_shape s, int columns)
{
    PF_REQUIRE(n > 0 && columns > 0 && (s.c == 1 || s.c == 3), PF_EARG,
               "a grid wants images of 1 or 3 channels, not %d", s.c);
    int cols = columns < n ? columns : n, rows = (n + cols - 1) / cols;
    size_t line = (size_t)s.w * (size_t)s.c, stride = line * (size_t)cols;
    uint8_t *grid = pf_zalloc(stride * (size_t)rows * (size_t)s.h);
    PF_REQUIRE(grid, PF_EMEM, "no memory for a grid of %d images", n);
    for (int i = 0; i < n; i++)
        for (int y = 0; y < s.h; y++)
            memcpy(grid + ((size_t)(i / cols) * (size_t)s.h + (size_t)y) * stride +
                       (size_t)(i % cols) * line,
                   images + ((size_t)i * (size_t)s.h + (size_t)y) * line, line);
    png_image im = {.version = PNG_IMAGE_VERSION,
                    .width = (png_uint_32)(s.w * cols),
                    .height = (png_uint_32)(s.h * rows),
                    .format = s.c == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(im);
    pf_bytes file = {pf_zalloc(size), 0};
    int ok = file.p && png_image_write_to_memory(&im, (void *)file.p, &size, 0, grid, 0, NULL);
    file.n = size;
    pf_status st = PF_OK;
    if (!file.p) st = pf_raise(PF_EMEM, PF_WHERE, "no memory for a grid of %d images", n);
    else if (!ok) st = pf_raise(PF_EEXT, PF_WHERE, "cannot build %s: %s", path, im.message);
    else st = put_marked(path, &file);
    pf_free((void *)file.p);
    pf_free(grid);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
