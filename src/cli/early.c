/* Before any library starts: is there address space for them?
 *
 * OpenBLAS asks for 128 MiB a thread in its constructor and, where it does not get them, asks again for
 * ever.  Only the executable's .preinit_array runs before that. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long threads(void)
{
    const char *asked = getenv("OMP_NUM_THREADS");
    cpu_set_t cpus;
    if (asked && atol(asked) > 0) return atol(asked);
    return sched_getaffinity(0, sizeof cpus, &cpus) ? 1 : CPU_COUNT(&cpus);
}

static void look_for_room(void)
{
    long mib = 64 + 128 * threads(); /* 64: for all else */
    size_t bytes = (size_t)mib << 20;
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p != MAP_FAILED) {
        munmap(p, bytes);
        return;
    }
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    char text[200];
    int n = snprintf(
        text, sizeof text,
        "probflow: error: no memory to start with: %ld threads want %ld MiB of address "
        "space (ulimit -v); OMP_NUM_THREADS=1 wants least\n",
        threads(), mib);
    if (rank && strcmp(rank, "0")) n = 0; /* one rank speaks */
    _exit(write(STDERR_FILENO, text, (size_t)n) < 0 ? 2 : 1);
}

typedef void (*pf_early)(void);
__attribute__((section(".preinit_array"), used)) static const pf_early early = look_for_room;
