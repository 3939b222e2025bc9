/* What the fuzz targets share: files on tmpfs, repair of the checksums of a mutated input.
 *
 * A target defines LLVMFuzzerTestOneInput and lets a failure end the process by fuzz_finding. */
#ifndef PF_TESTS_FUZZ_H
#define PF_TESTS_FUZZ_H

#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

/* FOLDER/name, FOLDER of this process on tmpfs, made at the first call and removed at exit; the last
 * 16 stay valid. */
const char *fuzz_path(const char *name);
/* Writes a file there; returns its path. */
const char *fuzz_put(const char *name, const uint8_t *data, size_t size);
/* The same, as gzip. */
const char *fuzz_put_gzip(const char *name, const uint8_t *data, size_t size);
void fuzz_clear(void); /* removes every file and folder there */

/* The input shows a fault of ours: says so and aborts. */
void fuzz_finding(const char *what) __attribute__((noreturn));

/* A small generator for mutators. */
uint64_t fuzz_next(uint64_t *state);

/* png.c: the checksum of each chunk made right. */
void fuzz_png_repair(uint8_t *data, size_t size);
/* h5.c: mutates a file of ours and makes its checksums right: those of HDF5's metadata, the seal. */
size_t fuzz_h5_mutate(uint8_t *data, size_t size, uint64_t seed);
/* Bob Jenkins' lookup3, as HDF5 sums its metadata. */
uint32_t fuzz_lookup3(const uint8_t *p, size_t n);

/* child.c: runs body(self) in a child that hands its counters of coverage back.  hdf5_may_die: its end by a
 * fault or a loop inside libhdf5 is a refusal.  A fault in our code, a step of more than 9 s, 2 GB are
 * findings.  The body calls fuzz_begin_step before each step but the first. */
void fuzz_begin_step(void);
void fuzz_in_child(void (*body)(void *self), void *self, int hdf5_may_die);

#endif
