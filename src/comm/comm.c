/* Ranks: start and end of MPI, one verdict for all, broadcast and gather.
 *
 * MPI is started only when a launcher says so: a singleton MPI_Init costs half a second, needs
 * a writable temporary directory and starts a helper process, none of which one rank needs. */
#include "comm/ranks.h"

#include <probflow/cores.h>
#include <probflow/memory.h>

#include <limits.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SENTENCE_MAX = 1024, PART = 1 << 30 };

static int env_number(const char *name)
{
    const char *s = getenv(name);
    return s ? atoi(s) : 0;
}

/* mpirun of Open MPI, any PMIx launcher (srun --mpi=pmix), any PMI one.  SLURM's own variables
 * prove nothing: a plain sbatch script has them too. */
int pf_comm_launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
}

/* Ranks of a host read each other's memory.  Where a container forbids that, Open MPI prints a line
 * for each message and goes another way; so it is told beforehand.  The user's own setting holds. */
static void check_single_copy(void)
{
    char from = 1, to = 0;
    struct iovec here = {&to, 1}, there = {&from, 1};
    if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != 1)
        setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
}

/* Ranks of this host, and those whose cores overlap with ours: with binding each has its own. */
static PF_MUST_USE pf_status meet_host(pf_comm *c, const pf_cpus *own, int *all, int *sharers)
{
    MPI_Comm host;
    int n, rc;
    PF_TRY(pf_mpi_check(
        MPI_Comm_split_type(c->all, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &host),
        "grouping ranks by host"));
    MPI_Comm_size(host, &n);
    c->one_host = n == c->size;
    pf_cpus common, *sets = pf_zalloc((size_t)n * sizeof *sets);
    int all_ready, ready = sets != NULL, share = 0; /* nobody enters the exchange alone */
    rc = MPI_Allreduce(&ready, &all_ready, 1, MPI_INT, MPI_MIN, host);
    if (!rc && all_ready)
        rc = MPI_Allgather(own, sizeof *own, MPI_BYTE, sets, sizeof *own, MPI_BYTE, host);
    for (int i = 0; !rc && all_ready && i < n; i++) {
        CPU_AND_S(sizeof common, common.part, own->part, sets[i].part);
        share += CPU_COUNT_S(sizeof common, common.part) > 0;
    }
    *all = n;
    *sharers = share > 0 ? share : n;
    pf_free(sets);
    MPI_Comm_free(&host);
    return pf_mpi_check(rc, "comparing the cores of ranks");
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* A rank's part of what its host has.  The ranks are taken to be in one control group. */
static PF_MUST_USE pf_status share_cores(pf_comm *c)
{
    int ranks = 1, sharers = 1;
    pf_cpus allowed;
    pf_cores own;
    pf_cores_allowed(&allowed);
    /* OpenMP has pinned this thread to one core where it was told to bind, and the work queue's
     * threads would inherit that.  Where this fails they stay as they are. */
    (void)sched_setaffinity(0, sizeof allowed, allowed.part);
    pf_cores_find("", &allowed, &own);
    if (c->mpi) PF_TRY(meet_host(c, &own.first, &ranks, &sharers));
    int most = least(own.quota / ranks, pf_cores_slurm(&own, ranks));
    c->threads = least(own.n / sharers, most);
    if (c->threads < 1) c->threads = 1;
    /* All our parallel regions say how many threads they want.  What others start by default,
     * LAPACK above all, would be a thread a core on every rank, and its bits depend on how many. */
    omp_set_num_threads(1);
    return PF_OK;
}

static PF_MUST_USE pf_status open_into(pf_comm *c)
{
    int started = 0, level = MPI_THREAD_SINGLE;
    c->size = c->one_host = 1;
    c->all = c->queue = MPI_COMM_NULL;
    MPI_Initialized(&started);
    if (!started && !pf_comm_launched()) {
        PF_REQUIRE(
            env_number("SLURM_STEP_NUM_TASKS") <= 1, PF_EEXT,
            "srun started %d tasks without PMIx, so they cannot meet; use srun --mpi=pmix",
            env_number("SLURM_STEP_NUM_TASKS"));
        return share_cores(c);
    }
    if (started) MPI_Query_thread(&level);
    else {
        check_single_copy();
        PF_TRY(pf_mpi_check(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level),
                            "starting MPI"));
        c->ours = 1;
    }
    PF_TRY(pf_mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &c->all), "copying the world"));
    c->mpi = 1;
    MPI_Comm_set_errhandler(c->all, MPI_ERRORS_RETURN);
    PF_TRY(pf_mpi_check(MPI_Comm_dup(c->all, &c->queue), "copying the world"));
    MPI_Comm_rank(c->all, &c->rank);
    MPI_Comm_size(c->all, &c->size);
    PF_REQUIRE(level == MPI_THREAD_MULTIPLE || c->size == 1, PF_EEXT,
               "this MPI library lacks MPI_THREAD_MULTIPLE, which the work queue needs");
    return share_cores(c);
}

pf_status pf_mpi_check(int code, const char *doing)
{
    if (code == MPI_SUCCESS) return PF_OK;
    char words[MPI_MAX_ERROR_STRING] = "unknown error";
    int n;
    MPI_Error_string(code, words, &n);
    PF_FAIL(PF_EEXT, "MPI failed while %s: %s", doing, words);
}

void pf_nap(int *idle)
{
    /* 100 yields, then 20 us doubling up to 1 ms. */
    if ((*idle)++ < 100) {
        sched_yield();
        return;
    }
    int doublings = (*idle - 100) / 8;
    long ns = 20000L << (doublings > 5 ? 5 : doublings);
    nanosleep(&(struct timespec){.tv_nsec = ns > 1000000L ? 1000000L : ns}, NULL);
}

pf_status pf_mpi_wait(MPI_Request *r, MPI_Status *st, const char *doing)
{
    int done = 0, idle = 0;
    for (;;) {
        PF_TRY(pf_mpi_check(MPI_Test(r, &done, st), doing));
        if (done) return PF_OK;
        pf_nap(&idle);
    }
}

static void leave(pf_comm *c)
{
    if (c->mpi) {
        if (c->queue != MPI_COMM_NULL) MPI_Comm_free(&c->queue);
        MPI_Comm_free(&c->all);
    }
    if (c->ours) MPI_Finalize();
}

pf_status pf_comm_open(pf_comm **out, void (*tell)(pf_status))
{
    pf_comm here = {0}; /* a rank without memory can say so only once the ranks have met */
    pf_comm *c = pf_zalloc(sizeof *c);
    pf_status st = open_into(&here);
    if (!st) {
        if (!c) st = pf_raise(PF_EMEM, PF_WHERE, "no memory for the communicator");
        st = pf_comm_agree(&here, st);
    }
    if (st) {
        if (tell && here.mpi && here.rank == 0) tell(st);
        leave(&here);
        pf_free(c);
        return pf_trail(st, PF_WHERE);
    }
    *c = here;
    *out = c;
    return PF_OK;
}

void pf_comm_close(pf_comm *c)
{
    if (!c) return;
    leave(c);
    pf_free(c);
}

void pf_comm_abort(pf_comm *c, int exit_status)
{
    fflush(NULL);
    if (c && c->mpi && c->size > 1) MPI_Abort(c->all, exit_status);
    _exit(exit_status);
}

int pf_comm_rank(const pf_comm *c)
{
    return c->rank;
}

int pf_comm_size(const pf_comm *c)
{
    return c->size;
}

/* The first number of OMP_NUM_THREADS, whose others are for regions inside regions; 0: none.
 * OpenMP has already warned of words and numbers below 1. */
static int asked_threads(void)
{
    const char *s = getenv("OMP_NUM_THREADS");
    char *end;
    long n = s ? strtol(s, &end, 10) : 0;
    return n > 0 && n <= INT_MAX && strchr(", \t", *end) ? (int)n : 0; /* or the end */
}

int pf_comm_threads(const pf_comm *c)
{
    int asked = asked_threads();
    return least(asked ? asked : c->threads, omp_get_thread_limit());
}

int pf_comm_one_host(const pf_comm *c)
{
    return c->one_host;
}

pf_status pf_comm_agree(pf_comm *c, pf_status mine)
{
    if (!c->mpi) return mine ? pf_trail(mine, PF_WHERE) : PF_OK;
    int own[2] = {(int)mine, mine ? -c->rank : -INT_MAX}, worst[2];
    PF_TRY(pf_mpi_check(MPI_Allreduce(own, worst, 2, MPI_INT, MPI_MAX, c->all),
                        "comparing the status of ranks"));
    if (worst[0] == PF_OK) return PF_OK;
    char sentence[SENTENCE_MAX] = "";
    if (-worst[1] == c->rank) snprintf(sentence, sizeof sentence, "%s", pf_error_message());
    PF_TRY(pf_comm_bcast(c, -worst[1], sentence, sizeof sentence));
    pf_status st = (pf_status)worst[0];
    return pf_trail(mine ? st : pf_error_adopt(st, sentence), PF_WHERE);
}

pf_status pf_comm_bcast(pf_comm *c, int root, void *buf, size_t bytes)
{
    if (c->size == 1) return PF_OK;
    char *p = buf;
    for (size_t at = 0; at < bytes; at += PART) {
        int n = bytes - at < PART ? (int)(bytes - at) : PART;
        PF_TRY(pf_mpi_check(MPI_Bcast(p + at, n, MPI_BYTE, root, c->all), "broadcasting"));
    }
    return PF_OK;
}

pf_status pf_comm_first(pf_comm *c, const char *mine, size_t n, char **text, size_t *length)
{
    uint64_t bytes = n;
    PF_TRY(pf_comm_bcast(c, 0, &bytes, sizeof bytes));
    char *s = pf_zalloc((size_t)bytes + 1);
    pf_status st = s ? PF_OK
                     : pf_raise(PF_EMEM, PF_WHERE, "no memory for %llu bytes of rank 0",
                                (unsigned long long)bytes);
    if (s && n && c->rank == 0) memcpy(s, mine, n);
    st = pf_comm_agree(c, st);
    if (!st) st = pf_comm_bcast(c, 0, s, (size_t)bytes);
    if (st) {
        pf_free(s);
        return pf_trail(st, PF_WHERE);
    }
    *text = s;
    *length = (size_t)bytes;
    return PF_OK;
}

pf_status pf_comm_allgather(pf_comm *c, const void *mine, size_t bytes, void *all)
{
    PF_REQUIRE(bytes <= INT_MAX, PF_EARG, "gathering %zu bytes a rank is too much", bytes);
    if (c->size == 1) {
        if (bytes) memmove(all, mine, bytes);
        return PF_OK;
    }
    PF_TRY(pf_mpi_check(
        MPI_Allgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, c->all),
        "gathering"));
    return PF_OK;
}

static PF_MUST_USE pf_status ping(pf_comm *c, int mask, size_t bytes, int times)
{
    char *buf = pf_zalloc(2 * bytes);
    PF_TRY(pf_comm_agree(
        c, buf ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for %zu bytes", bytes)));
    int peer = c->rank ^ mask, n = (int)bytes, rc = MPI_SUCCESS;
    for (int i = 0; i < times && rc == MPI_SUCCESS; i++)
        rc = MPI_Sendrecv(buf, n, MPI_BYTE, peer, 0, buf + bytes, n, MPI_BYTE, peer, 0, c->all,
                          MPI_STATUS_IGNORE);
    pf_free(buf);
    return pf_mpi_check(rc, "timing an exchange");
}

pf_status pf_comm_ping(pf_comm *c, int mask, size_t bytes, int times, double *seconds)
{
    PF_REQUIRE(mask > 0 && mask < c->size && (c->size & (c->size - 1)) == 0 &&
                   (mask & (mask - 1)) == 0 && bytes <= INT_MAX && times > 0,
               PF_EARG, "an exchange of %zu bytes at distance %d of %d ranks", bytes, mask,
               c->size);
    PF_TRY(ping(c, mask, bytes, times / 8 + 1)); /* connections, pages */
    double begun = MPI_Wtime();
    PF_TRY(ping(c, mask, bytes, times));
    double mine = (MPI_Wtime() - begun) / times;
    return pf_mpi_check(MPI_Allreduce(&mine, seconds, 1, MPI_DOUBLE, MPI_MAX, c->all),
                        "comparing times");
}
