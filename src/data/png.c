/* PNG by libpng: images as they are stored, and grids of samples. */
#include <probflow/data.h>
#include <probflow/file.h>
#include <probflow/memory.h>
#include "data/format.h"
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <string.h>

int pf_png_size(const unsigned char *b, size_t n, int *w, int *h)
{
    if (n < 24 || memcmp(b, "\211PNG\r\n\032\n", 8) || memcmp(b + 12, "IHDR", 4)) return 0;
    *w = (int)((uint32_t)b[16] << 24 | (uint32_t)b[17] << 16 | (uint32_t)b[18] << 8 | b[19]);
    *h = (int)((uint32_t)b[20] << 24 | (uint32_t)b[21] << 16 | (uint32_t)b[22] << 8 | b[23]);
    return *w > 0 && *h > 0;
}

typedef struct reader {
    png_structp png;
    png_infop info;
    FILE *f;
    unsigned char *pixels;
    pf_shape shape;
    char why[128];
} reader;

static void on_error(png_structp png, png_const_charp message)
{
    reader *r = png_get_error_ptr(png);
    snprintf(r->why, sizeof r->why, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

/* 0 on failure, with the reason in r->why.  All state is in *r, which survives the jump.  No
 * gamma is applied: the stored samples are the data. */
static int decode(reader *r)
{
    if (setjmp(png_jmpbuf(r->png))) return 0;
    png_init_io(r->png, r->f);
    png_read_info(r->png, r->info);
    int color = png_get_color_type(r->png, r->info);
    if (png_get_bit_depth(r->png, r->info) > 8)
        png_error(r->png, "it has 16-bit samples, images have 8");
    if ((color & PNG_COLOR_MASK_ALPHA) || png_get_valid(r->png, r->info, PNG_INFO_tRNS))
        png_error(r->png, "it has an alpha channel, images must be opaque");
    png_set_expand(r->png);
    int passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    size_t line = png_get_rowbytes(r->png, r->info);
    r->shape = (pf_shape){(int)png_get_image_height(r->png, r->info),
                          (int)png_get_image_width(r->png, r->info),
                          png_get_channels(r->png, r->info)};
    r->pixels = pf_zalloc(line * (size_t)r->shape.h);
    if (!r->pixels) png_error(r->png, "no memory");
    while (passes-- > 0)
        for (int y = 0; y < r->shape.h; y++)
            png_read_row(r->png, r->pixels + (size_t)y * line, NULL);
    png_read_end(r->png, NULL);
    return 1;
}

pf_status pf_png_read(const char *path, pf_shape *shape, unsigned char **pixels)
{
    reader r = {.f = fopen(path, "rb")};
    if (!r.f) PF_FAIL(PF_EIO, "cannot open %s: %s", path, strerror(errno));
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    int ok = r.info && decode(&r);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    fclose(r.f);
    if (!ok) {
        pf_free(r.pixels);
        PF_FAIL(PF_EFORMAT, "cannot read %s: %s", path, r.why[0] ? r.why : "no memory");
    }
    *shape = r.shape;
    *pixels = r.pixels;
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
    else st = pf_file_put(path, &file, 1);
    pf_free((void *)file.p);
    pf_free(grid);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
