/* The work queue.
 *
 *   rank 0:      worker threads  <- mutex ->  state (next item, verdict)  <- manager (caller)
 *   other ranks: worker threads  -- ask {last result} -->  manager  -- give {item or -1} -->
 *
 * Only the manager and the workers' own waits use MPI, all with naps, because every core
 * computes.  Each remote worker is told to stop exactly once and the manager leaves when all
 * have been told; what can fail on a rank (memory, threads) is agreed on before the first item
 * is given, so nobody waits for somebody who never came. */
#include "comm/ranks.h"

#include <probflow/memory.h>

#include <omp.h>
#include <pthread.h>
#include <string.h>

enum { TAG_ASK = 1, TAG_GIVE = 2, SENTENCE_MAX = 1024 };

typedef struct ask {
    int64_t item; /* finished item; -1: none yet */
    int status, worker;
    char sentence[SENTENCE_MAX];
} ask;

typedef struct queue {
    const pf_queue_job *job;
    pf_comm *c;
    pthread_mutex_t lock;
    pthread_cond_t start;
    int go; /* 0: wait, 1: work, -1: leave */
    int64_t next;
    pf_status verdict;
    char sentence[SENTENCE_MAX];
} queue;

typedef struct worker {
    queue *q;
    int index, running;
    pthread_t thread;
    char *message;    /* ask, then the result; owned */
    pf_status failed; /* of messages, not of items */
} worker;

static size_t message_bytes(const pf_queue_job *job)
{
    return sizeof(ask) + job->result_bytes;
}

static void condemn(queue *q, pf_status st, const char *sentence)
{
    if (q->verdict > PF_ESTOP) return; /* the first failure speaks, louder than a stop */
    q->verdict = st;
    snprintf(q->sentence, sizeof q->sentence, "%s", sentence);
}

/* Books a finished item and chooses the next; -1: stop.  Rank 0, any thread. */
static int64_t exchange(queue *q, const ask *a, const void *result)
{
    const pf_queue_job *job = q->job;
    pthread_mutex_lock(&q->lock);
    if (a->item >= 0 && a->status) condemn(q, (pf_status)a->status, a->sentence);
    else if (a->item >= 0 && job->done) {
        pf_status st = job->done(job->self, a->item, result);
        if (st) condemn(q, st, pf_error_message());
    }
    while (!q->verdict && q->next < job->n && job->skip && job->skip(job->self, q->next))
        q->next++;
    int64_t item = !q->verdict && q->next < job->n ? q->next++ : -1;
    pthread_mutex_unlock(&q->lock);
    return item;
}

/* Sends what was done and receives what to do next. */
static PF_MUST_USE pf_status ask_manager(worker *w, int64_t *item)
{
    MPI_Comm comm = w->q->c->queue;
    MPI_Request give, sent;
    PF_TRY(pf_mpi_check(MPI_Irecv(item, 1, MPI_INT64_T, 0, TAG_GIVE + w->index, comm, &give),
                        "asking for work"));
    PF_TRY(pf_mpi_check(
        MPI_Isend(w->message, (int)message_bytes(w->q->job), MPI_BYTE, 0, TAG_ASK, comm, &sent),
        "returning a result"));
    PF_TRY(pf_mpi_wait(&sent, MPI_STATUS_IGNORE, "returning a result"));
    PF_TRY(pf_mpi_wait(&give, MPI_STATUS_IGNORE, "asking for work"));
    return PF_OK;
}

static PF_MUST_USE pf_status next_item(worker *w, int64_t *item)
{
    ask *a = (ask *)w->message;
    if (w->q->c->rank == 0) *item = exchange(w->q, a, w->message + sizeof *a);
    else PF_TRY(ask_manager(w, item));
    return PF_OK;
}

static int wait_for_start(queue *q)
{
    pthread_mutex_lock(&q->lock);
    while (!q->go) pthread_cond_wait(&q->start, &q->lock);
    int go = q->go;
    pthread_mutex_unlock(&q->lock);
    return go > 0;
}

static void *worker_main(void *arg)
{
    worker *w = arg;
    const pf_queue_job *job = w->q->job;
    ask *a = (ask *)w->message;
    char *result = w->message + sizeof *a;
    if (!wait_for_start(w->q)) return NULL;
    omp_set_num_threads(1); /* libraries inside an item stay on this thread */
    a->item = -1;
    a->worker = w->index;
    for (;;) {
        int64_t item = -1;
        w->failed = next_item(w, &item);
        if (w->failed || item < 0) return NULL;
        a->item = item;
        memset(result, 0, job->result_bytes);
        a->status = job->work(job->self, w->index, a->item, result);
        if (a->status) snprintf(a->sentence, sizeof a->sentence, "%s", pf_error_message());
    }
}

/* Serves `remote` workers until each has been told to stop. */
static PF_MUST_USE pf_status manage(queue *q, int64_t remote, char *message)
{
    MPI_Comm comm = q->c->queue;
    ask *a = (ask *)message;
    int idle = 0;
    while (remote > 0) {
        int there = 0;
        MPI_Status from;
        PF_TRY(pf_mpi_check(MPI_Iprobe(MPI_ANY_SOURCE, TAG_ASK, comm, &there, &from),
                            "looking for results"));
        if (!there) {
            pf_nap(&idle);
            continue;
        }
        idle = 0;
        PF_TRY(pf_mpi_check(MPI_Recv(message, (int)message_bytes(q->job), MPI_BYTE,
                                     from.MPI_SOURCE, TAG_ASK, comm, MPI_STATUS_IGNORE),
                            "receiving a result"));
        int64_t item = exchange(q, a, message + sizeof *a);
        PF_TRY(pf_mpi_check(
            MPI_Send(&item, 1, MPI_INT64_T, from.MPI_SOURCE, TAG_GIVE + a->worker, comm),
            "giving work"));
        remote -= item < 0;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status start_workers(queue *q, worker *w)
{
    for (int i = 0; i < q->job->threads; i++) {
        w[i] = (worker){.q = q, .index = i, .message = pf_zalloc(message_bytes(q->job))};
        PF_REQUIRE(w[i].message, PF_EMEM, "no memory for the results of worker %d", i);
        int rc = pthread_create(&w[i].thread, NULL, worker_main, &w[i]);
        PF_REQUIRE(rc == 0, PF_EEXT, "cannot start worker thread %d: %s", i, strerror(rc));
        w[i].running = 1;
    }
    return PF_OK;
}

static void release_workers(queue *q, int go)
{
    pthread_mutex_lock(&q->lock);
    q->go = go;
    pthread_cond_broadcast(&q->start);
    pthread_mutex_unlock(&q->lock);
}

static PF_MUST_USE pf_status join_workers(worker *w, int n)
{
    pf_status st = PF_OK;
    for (int i = 0; i < n; i++) {
        if (w[i].running) pthread_join(w[i].thread, NULL);
        if (w[i].failed && !st)
            st = pf_raise(w[i].failed, PF_WHERE, "worker %d lost touch with rank 0", i);
        pf_free(w[i].message);
    }
    return st;
}

/* Rank 0's verdict to all, without spinning while the last items are computed. */
static PF_MUST_USE pf_status share_verdict(queue *q)
{
    struct {
        int status;
        char sentence[SENTENCE_MAX];
    } v = {.status = (int)q->verdict};
    if (q->c->size > 1) {
        MPI_Request all;
        PF_TRY(pf_mpi_check(MPI_Ibarrier(q->c->queue, &all), "ending the queue"));
        PF_TRY(pf_mpi_wait(&all, MPI_STATUS_IGNORE, "ending the queue"));
    }
    memcpy(v.sentence, q->sentence, sizeof v.sentence);
    PF_TRY(pf_comm_bcast(q->c, 0, &v, sizeof v));
    return v.status ? pf_trail(pf_error_adopt((pf_status)v.status, v.sentence), PF_WHERE)
                    : PF_OK;
}

static PF_MUST_USE pf_status check_job(const pf_queue_job *job)
{
    PF_REQUIRE(job->threads > 0, PF_EARG, "a queue with %d workers", job->threads);
    PF_REQUIRE(job->n >= 0, PF_EARG, "a queue of %lld items", (long long)job->n);
    PF_REQUIRE(job->result_bytes < ((size_t)1 << 30), PF_EARG, "results of %zu bytes",
               job->result_bytes);
    return PF_OK;
}

static PF_MUST_USE pf_status run(queue *q, worker *w, int *threads, char *message)
{
    int mine = q->job->threads;
    pf_status st = start_workers(q, w);
    st = pf_comm_agree(q->c, st);
    if (!st) st = pf_comm_allgather(q->c, &mine, sizeof mine, threads);
    release_workers(q, st ? -1 : 1);
    int64_t remote = 0;
    for (int r = 1; !st && r < q->c->size; r++) remote += threads[r];
    if (!st && q->c->rank == 0) st = manage(q, remote, message);
    pf_status joined = join_workers(w, mine);
    if (st) return pf_trail(st, PF_WHERE);
    PF_TRY(joined);
    PF_TRY(share_verdict(q));
    return PF_OK;
}

pf_status pf_queue_run(pf_comm *c, const pf_queue_job *job)
{
    queue q = {.job = job, .c = c};
    PF_TRY(pf_comm_agree(c, check_job(job)));
    worker *w = pf_zalloc((size_t)job->threads * sizeof *w);
    int *threads = pf_zalloc((size_t)c->size * sizeof *threads);
    char *message = pf_zalloc(message_bytes(job));
    pf_status st = PF_OK;
    if (!w || !threads || !message)
        st = pf_raise(PF_EMEM, PF_WHERE, "no memory for a queue of %d workers", job->threads);
    st = pf_comm_agree(c, st);
    if (!st) {
        pthread_mutex_init(&q.lock, NULL);
        pthread_cond_init(&q.start, NULL);
        st = run(&q, w, threads, message);
        pthread_cond_destroy(&q.start);
        pthread_mutex_destroy(&q.lock);
    }
    pf_free(message);
    pf_free(threads);
    pf_free(w);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
