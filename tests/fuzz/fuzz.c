/* Files of one fuzzing process. */
#include "fuzz.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static char folder[64];
static pid_t owner;

void fuzz_finding(const char *what)
{
    fprintf(stderr, "FINDING: %s\n", what);
    abort();
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *at)
{
    (void)sb, (void)type;
    return at->level > 0 ? remove(path) : 0;
}

void fuzz_clear(void)
{
    if (folder[0]) nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void at_exit(void)
{
    if (getpid() != owner) return;
    fuzz_clear();
    rmdir(folder);
}

const char *fuzz_path(const char *name)
{
    static char buf[16][256];
    static int k;
    if (!folder[0]) {
        strcpy(folder, "/dev/shm/probflow-fuzz-XXXXXX");
        owner = getpid();
        if (!mkdtemp(folder)) fuzz_finding("no folder on /dev/shm");
        atexit(at_exit);
    }
    k = (k + 1) % 16;
    snprintf(buf[k], sizeof buf[k], "%s/%s", folder, name);
    return buf[k];
}

const char *fuzz_put(const char *name, const uint8_t *data, size_t size)
{
    const char *path = fuzz_path(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f))
        fuzz_finding("cannot write an input");
    return path;
}

const char *fuzz_put_gzip(const char *name, const uint8_t *data, size_t size)
{
    const char *path = fuzz_path(name);
    gzFile f = gzopen(path, "wb1");
    if (!f || (size && gzwrite(f, data, (unsigned)size) != (int)size) || gzclose(f) != Z_OK)
        fuzz_finding("cannot write an input");
    return path;
}

uint64_t fuzz_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
