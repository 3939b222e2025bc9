/* What the tests of training share: the ranks, a rank on its own, and a folder all ranks see. */
#ifndef PF_TESTS_MPI_WORLD_H
#define PF_TESTS_MPI_WORLD_H

#include <probflow/log.h>
#include <probflow/random.h>
#include "checks.h"
#include "comm/ranks.h"

#include <stdlib.h>
#include <unistd.h>

static pf_comm *comm;
static pf_comm solo = {.size = 1, .threads = 1, .one_host = 1};
static char root[64];

static inline const char *in_root(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

/* Opens the ranks and the folder, in which rank 0 makes the data.  0 when all is well. */
static inline int world_begin(void (*make_data)(void))
{
    if (pf_comm_open(&comm, NULL)) {
        pf_error_print(stderr);
        return 1;
    }
    pf_log_setup(0);
    snprintf(root, sizeof root, "/tmp/pf_world_XXXXXX");
    if (pf_comm_rank(comm) == 0 && mkdtemp(root)) make_data();
    if (pf_comm_bcast(comm, 0, root, sizeof root)) pf_comm_abort(comm, 1);
    return 0;
}

/* The exit status of tests of which `failed` did. */
static inline int world_end(int failed)
{
    char cmd[96];
    if (failed) pf_comm_abort(comm, 1); /* others may wait inside a collective */
    snprintf(cmd, sizeof cmd, "rm -rf %s", root);
    if (pf_comm_rank(comm) == 0 && system(cmd)) failed = 1;
    pf_comm_close(comm);
    return failed;
}

/* rows [images,side,side]: stripes of three shades under noise. */
static inline void draw_stripes(int images, int side, uint8_t *rows)
{
    for (int i = 0; i < images; i++)
        for (int j = 0; j < side * side; j++) {
            float u;
            pf_draw d = {.seed = 1, .stream = PF_STREAM_TEST, .sample = (uint64_t)i};
            pf_draw_uniform(&d, (size_t)j, 1, &u);
            rows[i * side * side + j] =
                (uint8_t)(40 * (i % 3) + 2 * (j % side) + (int)(50 * u));
        }
}

#endif
