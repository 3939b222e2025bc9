/* SHA-256 of any number of pieces, and of files (FIPS 180-4).  Local. */
#ifndef PROBFLOW_SHA256_H
#define PROBFLOW_SHA256_H

#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pf_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    unsigned char block[64];
} pf_sha256;

enum { PF_SHA256_HEX = 65 }; /* 64 digits and the end of the string */

void pf_sha256_init(pf_sha256 *s);
void pf_sha256_add(pf_sha256 *s, const void *p, size_t n);
/* Ends the sum. */
void pf_sha256_hex(pf_sha256 *s, char hex[PF_SHA256_HEX]);
/* Fails  PF_EIO, naming the file. */
PF_MUST_USE pf_status pf_sha256_add_file(pf_sha256 *s, const char *path);
PF_MUST_USE pf_status pf_sha256_file(const char *path, char hex[PF_SHA256_HEX]);

#endif
