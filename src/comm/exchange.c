/* The exchange of a flat vector between ranks, bucket by bucket.
 *
 *   caller  begin -- computes, ready(b) -- computes, ready(b-1) -- ... -- end
 *   thread           sleeps until the next bucket is ready, exchanges it, ... down to bucket 0
 *
 * MPI moves nothing between two calls of it, so a thread makes the calls while the others
 * compute.  It takes the buckets in one order on all ranks, whatever the order in which they
 * become ready; so what one rank sends the other awaits.  While the caller computes, the thread
 * sleeps between two looks at a message; once the caller waits in end, it only yields.
 *
 * The sum goes on where tree.c ends: at step k rank r meets r ^ 2^k; both hold the same segment
 * of the bucket, each keeps the half that bit k of its rank names and adds the partner's part
 * of it.  Gathering walks back.
 *
 * Source: Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations
 * in MPICH", 2005, section 4.4 (reduce-scatter by recursive halving). */
#include "comm/ranks.h"

#include <probflow/memory.h>

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

enum { SENTENCE_MAX = 512, NAP_MIN_NS = 50000, NAP_MAX_NS = 1000000 };

typedef enum phase { IDLE, OPEN, DONE, QUIT } phase;

struct pf_exchange {
    pf_comm *c;
    size_t n, bucket;
    int buckets, threaded;
    float *tmp; /* [bucket/2] */
    pthread_t thread;
    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t news;  /* to the thread */
    pthread_cond_t over;  /* to the caller */
    phase phase;
    pf_exchange_kind kind;
    float *v;             /* [n], borrowed */
    unsigned char *ready; /* [buckets] */
    int hurry;            /* the caller does nothing but wait */
    pf_status failed; /* of the last round, with its sentence: threads have their own record */
    char sentence[SENTENCE_MAX];
};

/* The segment of n floats that rank holds after the steps with masks below `end`. */
static pf_slice segment(const pf_comm *c, size_t n, int end)
{
    pf_slice s = {0, n};
    for (int mask = 1; mask < end; mask <<= 1) {
        s.n /= 2;
        if (c->rank & mask) s.first += s.n;
    }
    return s;
}

/* Between two looks at a message. */
static void rest(pf_exchange *x, int looks)
{
    pthread_mutex_lock(&x->lock);
    int hurry = x->hurry;
    if (!hurry) {
        struct timespec until;
        long ns = (long)NAP_MIN_NS << (looks < 20 ? looks / 4 : 5);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += ns < NAP_MAX_NS ? ns : NAP_MAX_NS;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_clockwait(&x->news, &x->lock, CLOCK_MONOTONIC, &until);
    }
    pthread_mutex_unlock(&x->lock);
    if (hurry) sched_yield();
}

/* Gives n floats to a peer and takes as many. */
static PF_MUST_USE pf_status swap(pf_exchange *x, int peer, const float *give, float *take,
                                  size_t n)
{
    const char *doing = x->kind == PF_EXCHANGE_SUM ? "summing over ranks" : "gathering pieces";
    MPI_Request both[2];
    PF_TRY(
        pf_mpi_check(MPI_Irecv(take, (int)n, MPI_FLOAT, peer, 0, x->c->all, &both[0]), doing));
    PF_TRY(
        pf_mpi_check(MPI_Isend(give, (int)n, MPI_FLOAT, peer, 0, x->c->all, &both[1]), doing));
    for (int looks = 0, done = 0;; looks++) {
        PF_TRY(pf_mpi_check(MPI_Testall(2, both, &done, MPI_STATUSES_IGNORE), doing));
        if (done) return PF_OK;
        rest(x, looks);
    }
}

static PF_MUST_USE pf_status sum_bucket(pf_exchange *x, float *v, size_t n)
{
    for (int mask = 1; mask < x->c->size; mask <<= 1) {
        pf_slice now = segment(x->c, n, mask), keep = segment(x->c, n, mask << 1);
        size_t give = keep.first == now.first ? now.first + keep.n : now.first;
        PF_TRY(swap(x, x->c->rank ^ mask, v + give, x->tmp, keep.n));
        float *restrict a = v + keep.first;
        const float *restrict b = x->tmp;
        for (size_t i = 0; i < keep.n; i++) a[i] += b[i];
    }
    return PF_OK;
}

static PF_MUST_USE pf_status gather_bucket(pf_exchange *x, float *v, size_t n)
{
    for (int mask = x->c->size >> 1; mask > 0; mask >>= 1) {
        pf_slice whole = segment(x->c, n, mask), have = segment(x->c, n, mask << 1);
        size_t want = have.first == whole.first ? whole.first + have.n : whole.first;
        PF_TRY(swap(x, x->c->rank ^ mask, v + have.first, v + want, have.n));
    }
    return PF_OK;
}

static PF_MUST_USE pf_status every_bucket(pf_exchange *x)
{
    for (int b = x->buckets - 1; b >= 0; b--) {
        pthread_mutex_lock(&x->lock);
        while (!x->ready[b]) pthread_cond_wait(&x->news, &x->lock);
        pthread_mutex_unlock(&x->lock);
        pf_slice s = pf_exchange_bucket(x, b);
        if (x->kind == PF_EXCHANGE_SUM) PF_TRY(sum_bucket(x, x->v + s.first, s.n));
        else PF_TRY(gather_bucket(x, x->v + s.first, s.n));
    }
    return PF_OK;
}

static void run_round(pf_exchange *x)
{
    x->failed = every_bucket(x);
    if (x->failed) snprintf(x->sentence, sizeof x->sentence, "%s", pf_error_message());
}

static void *thread_main(void *arg)
{
    pf_exchange *x = arg;
    pthread_mutex_lock(&x->lock);
    for (;;) {
        while (x->phase != OPEN && x->phase != QUIT) pthread_cond_wait(&x->news, &x->lock);
        if (x->phase == QUIT) break;
        pthread_mutex_unlock(&x->lock);
        run_round(x);
        pthread_mutex_lock(&x->lock);
        x->phase = DONE;
        pthread_cond_signal(&x->over);
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

static PF_MUST_USE pf_status create_into(pf_exchange *x, int overlap)
{
    size_t ranks = (size_t)x->c->size;
    PF_REQUIRE((ranks & (ranks - 1)) == 0, PF_EARG,
               "%zu ranks; the sum over ranks needs a power of two", ranks);
    PF_REQUIRE(x->n > 0 && x->n % ranks == 0 && x->bucket > 0 && x->bucket % ranks == 0,
               PF_EARG, "%zu floats in buckets of %zu do not divide by %zu ranks", x->n,
               x->bucket, ranks);
    PF_REQUIRE(x->bucket / 2 <= INT_MAX && (x->n - 1) / x->bucket < INT_MAX, PF_EARG,
               "%zu floats in buckets of %zu are too many for one exchange", x->n, x->bucket);
    x->buckets = (int)((x->n - 1) / x->bucket + 1);
    if (ranks == 1) return PF_OK;
    x->tmp = pf_zalloc(x->bucket / 2 * sizeof *x->tmp);
    x->ready = pf_zalloc((size_t)x->buckets);
    PF_REQUIRE(x->tmp && x->ready, PF_EMEM, "no memory for buckets of %zu floats", x->bucket);
    if (!overlap) return PF_OK;
    int rc = pthread_create(&x->thread, NULL, thread_main, x);
    PF_REQUIRE(rc == 0, PF_EEXT, "cannot start the thread of the exchange: %s", strerror(rc));
    x->threaded = 1;
    return PF_OK;
}

pf_status pf_exchange_create(pf_comm *c, size_t n, size_t bucket, int overlap,
                             pf_exchange **out)
{
    pf_exchange *x = pf_zalloc(sizeof *x);
    PF_REQUIRE(x, PF_EMEM, "no memory for the exchange");
    x->c = c;
    x->n = n;
    x->bucket = bucket < n ? bucket : n;
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->news, NULL);
    pthread_cond_init(&x->over, NULL);
    pf_status st = create_into(x, overlap);
    if (st) {
        pf_exchange_free(x);
        return pf_trail(st, PF_WHERE);
    }
    *out = x;
    return PF_OK;
}

void pf_exchange_free(pf_exchange *x)
{
    if (!x) return;
    if (x->threaded) {
        pthread_mutex_lock(&x->lock);
        x->phase = QUIT;
        pthread_cond_signal(&x->news);
        pthread_mutex_unlock(&x->lock);
        pthread_join(x->thread, NULL);
    }
    pthread_cond_destroy(&x->over);
    pthread_cond_destroy(&x->news);
    pthread_mutex_destroy(&x->lock);
    pf_free(x->ready);
    pf_free(x->tmp);
    pf_free(x);
}

int pf_exchange_buckets(const pf_exchange *x)
{
    return x->buckets;
}

pf_slice pf_exchange_bucket(const pf_exchange *x, int b)
{
    size_t first = (size_t)b * x->bucket, left = x->n - first;
    return (pf_slice){first, left < x->bucket ? left : x->bucket};
}

pf_slice pf_exchange_piece(const pf_exchange *x, int b)
{
    pf_slice s = pf_exchange_bucket(x, b), own = segment(x->c, s.n, x->c->size);
    own.first += s.first;
    return own;
}

size_t pf_exchange_bytes(const pf_exchange *x)
{
    return x->tmp ? x->bucket / 2 * sizeof *x->tmp : 0;
}

void pf_exchange_begin(pf_exchange *x, pf_exchange_kind kind, float *v)
{
    if (x->c->size == 1) return;
    pthread_mutex_lock(&x->lock);
    PF_ASSERT(x->phase == IDLE);
    x->phase = OPEN;
    x->kind = kind;
    x->v = v;
    x->hurry = 0;
    memset(x->ready, 0, (size_t)x->buckets);
    pthread_cond_signal(&x->news);
    pthread_mutex_unlock(&x->lock);
}

void pf_exchange_ready(pf_exchange *x, int b)
{
    if (x->c->size == 1) return;
    pthread_mutex_lock(&x->lock);
    x->ready[b] = 1;
    pthread_cond_signal(&x->news);
    pthread_mutex_unlock(&x->lock);
}

pf_status pf_exchange_end(pf_exchange *x)
{
    if (x->c->size == 1) return PF_OK;
    pthread_mutex_lock(&x->lock);
    PF_ASSERT(x->phase == OPEN || x->phase == DONE);
    memset(x->ready, 1, (size_t)x->buckets);
    x->hurry = 1;
    pthread_cond_signal(&x->news);
    while (x->threaded && x->phase != DONE) pthread_cond_wait(&x->over, &x->lock);
    x->phase = IDLE;
    pthread_mutex_unlock(&x->lock);
    if (!x->threaded) run_round(x);
    return x->failed ? pf_trail(pf_error_adopt(x->failed, x->sentence), PF_WHERE) : PF_OK;
}

pf_status pf_exchange_gather(pf_exchange *x, float *v)
{
    pf_exchange_begin(x, PF_EXCHANGE_GATHER, v);
    PF_TRY(pf_exchange_end(x));
    return PF_OK;
}
