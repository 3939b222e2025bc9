/* Blocks and arenas.
 *
 * A block is preceded by one cache line that holds its size, so that live bytes can be counted
 * without asking the C library. */
#include <probflow/memory.h>

#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 64 };

struct pf_arena {
    unsigned char *base;
    size_t bytes, used;
};

static _Atomic size_t live;
static _Atomic int64_t count;
static _Atomic int64_t fail_in; /* 0: off; 1: the next allocation fails */

static size_t round_up(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

/* 1 for exactly one of the threads that race for the failing allocation. */
static int failure_due(void)
{
    int64_t n = atomic_load(&fail_in);
    while (n > 0 && !atomic_compare_exchange_weak(&fail_in, &n, n - 1)) continue;
    return n == 1;
}

void *pf_zalloc(size_t bytes)
{
    atomic_fetch_add(&count, 1);
    if (failure_due() || bytes > SIZE_MAX / 2) return NULL;
    size_t whole = round_up(bytes) + LINE;
    unsigned char *p = aligned_alloc(LINE, whole);
    if (!p) return NULL;
    memset(p, 0, whole);
    memcpy(p, &bytes, sizeof bytes);
    atomic_fetch_add(&live, bytes);
    return p + LINE;
}

void pf_free(void *p)
{
    if (!p) return;
    unsigned char *block = (unsigned char *)p - LINE;
    size_t bytes;
    memcpy(&bytes, block, sizeof bytes);
    atomic_fetch_sub(&live, bytes);
    free(block);
}

char *pf_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = pf_zalloc(n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

void pf_alloc_fail_at(int64_t n)
{
    atomic_store(&fail_in, n > 0 ? n : 0);
}

int64_t pf_alloc_count(void)
{
    return atomic_load(&count);
}

size_t pf_alloc_live(void)
{
    return atomic_load(&live);
}

size_t pf_resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
    fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

size_t pf_peak_bytes(void)
{
    char line[256];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %zu", &kib) == 1) break;
    fclose(f);
    return kib * 1024;
}

void pf_alloc_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

pf_status pf_arena_create(size_t bytes, pf_arena **out)
{
    pf_arena *a = pf_zalloc(sizeof *a);
    if (!a) PF_FAIL(PF_EMEM, "no memory for an arena");
    a->bytes = round_up(bytes);
    a->base = pf_zalloc(a->bytes);
    if (!a->base) {
        pf_arena_free(a);
        PF_FAIL(PF_EMEM, "no memory for an arena of %zu bytes", bytes);
    }
    *out = a;
    return PF_OK;
}

void pf_arena_free(pf_arena *a)
{
    if (!a) return;
    pf_free(a->base);
    pf_free(a);
}

void *pf_arena_alloc(pf_arena *a, size_t bytes)
{
    if (bytes > a->bytes || round_up(bytes) > a->bytes - a->used) return NULL;
    void *p = a->base + a->used;
    a->used += round_up(bytes);
    return p;
}
