/* Memory: the only door to malloc, and arenas.
 *
 * Every block is zeroed and aligned to 64 bytes (one cache line, one AVX-512 register). */
#ifndef PROBFLOW_MEMORY_H
#define PROBFLOW_MEMORY_H

#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

/* NULL when memory is exhausted or the injected failure is due.  bytes = 0 gives a valid block. */
void *pf_zalloc(size_t bytes);
void pf_free(void *p); /* NULL is allowed */
char *pf_strdup(const char *s);

/* Test hook: the n-th pf_zalloc from now (1 = the next) returns NULL; 0 switches it off. */
void pf_alloc_fail_at(int64_t n);

/* Calls of pf_zalloc since the process began. */
int64_t pf_alloc_count(void);
/* Bytes held through pf_zalloc now (arenas included). */
size_t pf_alloc_live(void);
/* Bytes of this process in memory now, libraries included; 0 where the system does not tell. */
size_t pf_resident_bytes(void);
/* The most of them so far (VmHWM); 0 as above. */
size_t pf_peak_bytes(void);
/* Hands freed memory back to the system, so that pf_resident_bytes no longer counts it. */
void pf_alloc_trim(void);

/* A fixed block that hands out pieces and is freed as a whole. */
typedef struct pf_arena pf_arena;
PF_MUST_USE pf_status pf_arena_create(size_t bytes, pf_arena **out);
void pf_arena_free(pf_arena *a);
/* Zeroed, 64-byte aligned; NULL when the arena is full. */
void *pf_arena_alloc(pf_arena *a, size_t bytes);

#endif
