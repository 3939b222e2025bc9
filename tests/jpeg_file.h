/* JPEG files whose pixels are known: at quality 100 a flat block of 8x8 comes back exactly. */
#ifndef PF_TESTS_JPEG_FILE_H
#define PF_TESTS_JPEG_FILE_H

#include <stdio.h>
#include <jpeglib.h>
#include <stdlib.h>
#include "scratch.h"
#include "source_files.h"

enum { BLOCKS = 2, JPEG_SIDE = 8 * BLOCKS };

/* Grey of block (y,x) of the picture of a salt. */
static inline unsigned char block_of(unsigned salt, int y, int x)
{
    return (unsigned char)(17 * salt + 40 * y + 90 * x + 5);
}

static inline void flat_blocks(unsigned char *im, unsigned salt)
{
    for (int y = 0; y < JPEG_SIDE; y++)
        for (int x = 0; x < JPEG_SIDE; x++)
            im[y * JPEG_SIDE + x] = block_of(salt, y / 8, x / 8);
}

/* [JPEG_SIDE,JPEG_SIDE,c] as a JPEG, with the EXIF orientation of `turn` when it is not 0; owned, of libc. */
static inline unsigned char *jpeg(const unsigned char *im, int c, int turn, unsigned long *n)
{
    unsigned char exif[] = "Exif\0\0MM\0\52\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\0\0\0\0\0\0\0";
    struct jpeg_compress_struct z;
    struct jpeg_error_mgr errors;
    unsigned char *b = NULL;
    *n = 0;
    z.err = jpeg_std_error(&errors);
    jpeg_create_compress(&z);
    jpeg_mem_dest(&z, &b, n);
    z.image_width = z.image_height = JPEG_SIDE;
    z.input_components = c;
    z.in_color_space = c == 1 ? JCS_GRAYSCALE : c == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&z);
    jpeg_set_quality(&z, 100, TRUE);
    jpeg_start_compress(&z, TRUE);
    exif[25] = (unsigned char)turn;
    if (turn) jpeg_write_marker(&z, JPEG_APP0 + 1, exif, sizeof exif - 1);
    while (z.next_scanline < z.image_height) {
        JSAMPROW row = (unsigned char *)im + z.next_scanline * (unsigned)(JPEG_SIDE * c);
        jpeg_write_scanlines(&z, &row, 1);
    }
    jpeg_finish_compress(&z);
    jpeg_destroy_compress(&z);
    return b;
}

static inline void put_jpeg(const char *name, unsigned salt, int turn)
{
    unsigned char im[JPEG_SIDE * JPEG_SIDE];
    unsigned long n;
    flat_blocks(im, salt);
    unsigned char *b = jpeg(im, 1, turn, &n);
    spill(with_folders(name), b, n);
    free(b);
}

#endif
