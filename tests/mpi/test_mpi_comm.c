/* Ranks: run on 1, 2 and 4 of them; each law holds on every rank. */
#include <probflow/comm.h>
#include <probflow/memory.h>
#include <probflow/random.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { SHARDS = 8, LEN = 24 * 37, ITEMS = 103 };

static pf_comm *comm;

static void shard_gradient(int shard, float *g)
{
    pf_draw d = {.seed = 3, .stream = PF_STREAM_TEST, .sample = (uint64_t)shard};
    pf_draw_normal(&d, 0, LEN, g);
    for (int i = 0; i < LEN; i++) g[i] *= (float)(1 << (i % 20)); /* rounding shows */
}

/* The sum over shards first .. first+n-1 as the definition says it. */
static float tree_sum(int first, int n, int i)
{
    float g[LEN];
    if (n > 1) return tree_sum(first, n / 2, i) + tree_sum(first + n / 2, n / 2, i);
    shard_gradient(first, g);
    return g[i];
}

static void every_rank_returns_the_worst_status_and_its_sentence(void **state)
{
    (void)state;
    int rank = pf_comm_rank(comm), last = pf_comm_size(comm) - 1;
    assert_int_equal(pf_comm_agree(comm, PF_OK), PF_OK);
    pf_status mine = PF_OK;
    if (rank == last) mine = pf_raise(PF_ENUMERIC, PF_WHERE, "rank %d met NaN", rank);
    assert_int_equal(pf_comm_agree(comm, mine), PF_ENUMERIC);
    char want[64];
    snprintf(want, sizeof want, "rank %d met NaN", last);
    assert_string_equal(pf_error_message(), want);

    /* Two failures: the worse status, and everybody keeps or gets a sentence. */
    mine = PF_OK;
    if (rank == 0) mine = pf_raise(PF_EEXT, PF_WHERE, "first");
    else if (rank == last) mine = pf_raise(PF_EARG, PF_WHERE, "last");
    assert_int_equal(pf_comm_agree(comm, mine), PF_EEXT);
    assert_string_equal(pf_error_message(), rank == last && last > 0 ? "last" : "first");
}

static void broadcast_and_gather_move_the_bytes(void **state)
{
    (void)state;
    int size = pf_comm_size(comm), rank = pf_comm_rank(comm), all[64];
    for (int root = 0; root < size; root++) {
        char text[32] = "";
        if (rank == root) snprintf(text, sizeof text, "root %d", root);
        assert_int_equal(pf_comm_bcast(comm, root, text, sizeof text), PF_OK);
        assert_int_equal(text[5], '0' + root);
    }
    int mine = 10 * rank;
    assert_int_equal(pf_comm_allgather(comm, &mine, sizeof mine, all), PF_OK);
    for (int r = 0; r < size; r++) assert_int_equal(all[r], 10 * r);
}

static void every_rank_gets_the_text_of_the_first(void **state)
{
    (void)state;
    int rank = pf_comm_rank(comm);
    char mine[32], *text = NULL;
    size_t n = 0, before = pf_alloc_live();
    snprintf(mine, sizeof mine, "rank %d", rank);
    memset(mine + 6, 0, 4); /* zeros are text too; lengths differ */
    assert_int_equal(pf_comm_first(comm, mine, 10 + (size_t)rank, &text, &n), PF_OK);
    assert_int_equal(n, 10);
    assert_memory_equal(text, "rank 0\0\0\0\0", 11);
    pf_free(text);
    assert_int_equal(pf_comm_first(comm, NULL, 0, &text, &n), PF_OK);
    assert_int_equal(n, 0);
    assert_string_equal(text, "");
    pf_free(text);
    if (rank == pf_comm_size(comm) - 1) pf_alloc_fail_at(1);
    assert_int_equal(pf_comm_first(comm, mine, 6, &text, &n), PF_EMEM);
    pf_alloc_fail_at(0);
    assert_int_equal(pf_alloc_live(), before);
}

static pf_exchange *exchange(size_t bucket, int overlap)
{
    pf_exchange *x = NULL;
    assert_int_equal(pf_exchange_create(comm, LEN, bucket, overlap, &x), PF_OK);
    return x;
}

static void the_pieces_of_all_ranks_cover_the_vector_once(void **state)
{
    (void)state;
    static const size_t buckets[] = {8, 5 * 24, LEN, 2 * LEN};
    for (int k = 0; k < 8; k++) {
        float v[LEN] = {0};
        pf_exchange *x = exchange(buckets[k / 2], k % 2);
        size_t next = 0;
        for (int b = 0; b < pf_exchange_buckets(x); b++) {
            pf_slice whole = pf_exchange_bucket(x, b), own = pf_exchange_piece(x, b);
            assert_int_equal(whole.first, next);
            assert_int_equal(own.n * (size_t)pf_comm_size(comm), whole.n);
            for (size_t i = own.first; i < own.first + own.n; i++) v[i] = (float)i;
            next += whole.n;
        }
        assert_int_equal(next, LEN);
        assert_int_equal(pf_exchange_gather(x, v), PF_OK);
        for (int i = 0; i < LEN; i++) assert_true(v[i] == (float)i);
        pf_exchange_free(x);
    }
}

/* A leaf in parts, a rank-dependent while apart. */
static void add_by_bucket(pf_tree *t, pf_exchange *x, const float *leaf, int last)
{
    for (int b = pf_exchange_buckets(x) - 1; b >= 0; b--) {
        pf_slice s = pf_exchange_bucket(x, b);
        pf_tree_add(t, s.first, s.n, leaf + s.first);
        if (!last) continue;
        pf_exchange_ready(x, b);
        usleep(100 * (useconds_t)((b + pf_comm_rank(comm)) % 3));
    }
}

static void the_sum_over_shards_has_the_same_bits_on_any_ranks_in_any_buckets(void **state)
{
    (void)state;
    static const size_t buckets[] = {8, 5 * 24, LEN};
    int own = SHARDS / pf_comm_size(comm), first = pf_comm_rank(comm) * own;
    float want[LEN];
    for (int i = 0; i < LEN; i++) want[i] = tree_sum(0, SHARDS, i);
    pf_tree *t = NULL;
    assert_int_equal(pf_tree_create(own, LEN, NULL, &t), PF_OK);
    int buffers = 1;
    while (own >> (buffers + 1)) buffers++;
    assert_int_equal(pf_tree_bytes(t), (size_t)buffers * LEN * sizeof(float));
    for (int again = 0; again < 9; again++) {
        pf_exchange *x = exchange(buckets[again / 3], again % 3);
        pf_exchange_begin(x, PF_EXCHANGE_SUM, pf_tree_root(t));
        for (int k = 0; k < own; k++) {
            float leaf[LEN];
            pf_tree_leaf(t);
            shard_gradient(first + k, leaf);
            if (again % 3 == 2) add_by_bucket(t, x, leaf, k == own - 1);
            else pf_tree_add(t, 0, LEN, leaf);
        }
        assert_int_equal(pf_exchange_end(x), PF_OK);
        float *v = pf_tree_root(t);
        for (int b = 0; b < pf_exchange_buckets(x); b++) {
            pf_slice s = pf_exchange_piece(x, b);
            assert_memory_equal(v + s.first, want + s.first, s.n * sizeof *v);
        }
        assert_int_equal(pf_exchange_gather(x, v), PF_OK);
        assert_memory_equal(v, want, sizeof want);
        pf_exchange_free(x);
    }
    pf_tree_free(t);
}

enum { LONG = 300000, PART = 70001, SUMS = 40 };

/* Leaf `side` of sum k, exact in float; -0 shows whether anything was added to a cleared buffer. */
static float of_pair(int side, int k, int i)
{
    return i % 5 == 0 ? -0.0f : (float)((i % 1000) * (k + 1) + side);
}

static void two_threads_that_share_a_root_add_as_one_would(void **state)
{
    (void)state;
    pf_tree *t[2] = {NULL, NULL};
    assert_int_equal(pf_tree_create(1, LONG, NULL, &t[0]), PF_OK);
    assert_int_equal(pf_tree_create(1, LONG, t[0], &t[1]), PF_OK);
    assert_ptr_equal(pf_tree_root(t[0]), pf_tree_root(t[1]));
    assert_int_equal(pf_tree_bytes(t[0]), LONG * sizeof(float));
    assert_int_equal(pf_tree_bytes(t[1]), 0);
    float *g[2] = {pf_zalloc(LONG * sizeof(float)), pf_zalloc(LONG * sizeof(float))};
    for (int k = 0; k < SUMS; k++) {
#pragma omp parallel for num_threads(2) schedule(static, 1)
        for (int side = 0; side < 2; side++) {
            if (k % 3 == side) usleep(300); /* now one is ahead, now the other */
            for (int i = 0; i < LONG; i++) g[side][i] = of_pair(side, k, i);
            pf_tree_leaf(t[side]);
            for (int end = LONG; end > PART;
                 end -= PART) /* below the last part nothing is added */
                pf_tree_add(t[side], (size_t)(end - PART), PART, g[side] + end - PART);
        }
        const float *v = pf_tree_root(t[0]);
        int begin = LONG % PART;
        for (int i = 0; i < LONG; i++) {
            float want = i < begin ? 0.0f : of_pair(0, k, i) + of_pair(1, k, i);
            assert_memory_equal(&v[i], &want, sizeof want);
        }
    }
    for (int side = 0; side < 2; side++) {
        pf_tree_free(t[side]);
        pf_free(g[side]);
    }
}

static void a_rank_that_gives_up_half_way_ends_the_round_with_the_others(void **state)
{
    (void)state;
    int size = pf_comm_size(comm), last = size - 1;
    for (int overlap = 0; overlap < 2; overlap++) {
        float v[LEN];
        pf_exchange *x = exchange(5 * 24, overlap);
        for (int i = 0; i < LEN; i++) v[i] = 1.0f;
        pf_exchange_begin(x, PF_EXCHANGE_SUM, v);
        for (int b = pf_exchange_buckets(x) - 1; b >= 0; b--)
            if (pf_comm_rank(comm) != last || b > 3) pf_exchange_ready(x, b);
        assert_int_equal(pf_exchange_end(x), PF_OK);
        for (int b = 0; b < pf_exchange_buckets(x); b++)
            assert_true(v[pf_exchange_piece(x, b).first] == (float)size);
        /* The next round is not confused by this one. */
        assert_int_equal(pf_exchange_gather(x, v), PF_OK);
        for (int i = 0; i < LEN; i++) assert_true(v[i] == (float)size);
        pf_exchange_free(x);
    }
}

static void bad_lengths_are_refused(void **state)
{
    (void)state;
    pf_tree *t = NULL;
    pf_exchange *x = NULL;
    assert_int_equal(pf_tree_create(3, 4, NULL, &t), PF_EARG);
    pf_tree *two = NULL, *longer = NULL;
    assert_int_equal(pf_tree_create(2, 4, NULL, &two), PF_OK);
    assert_int_equal(pf_tree_create(1, 5, NULL, &longer), PF_OK);
    assert_int_equal(pf_tree_create(1, 4, two, &t), PF_EARG);
    assert_int_equal(pf_tree_create(1, 4, longer, &t), PF_EARG);
    pf_tree_free(two);
    pf_tree_free(longer);
    assert_int_equal(pf_exchange_create(comm, 0, 8, 1, &x), PF_EARG);
    assert_int_equal(pf_exchange_create(comm, 8, 0, 1, &x), PF_EARG);
    if (pf_comm_size(comm) == 1) return;
    assert_int_equal(pf_exchange_create(comm, 9, 8, 1, &x), PF_EARG);
    assert_int_equal(pf_exchange_create(comm, 64, 7, 1, &x), PF_EARG);
}

static void an_exchange_without_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    pf_status st = PF_EMEM;
    for (int n = 1; st; n++) {
        pf_exchange *x = NULL;
        pf_alloc_fail_at(n);
        st = pf_exchange_create(comm, LEN, 8, 1, &x);
        pf_alloc_fail_at(0);
        assert_true(n <= 4 && (st == PF_EMEM || st == PF_OK));
        pf_exchange_free(x);
        assert_int_equal(pf_alloc_live(), before);
    }
}

typedef struct count {
    int64_t poison;
    int by_worker[4], times[ITEMS], skip_odd, refuse_at, finished;
} count;

typedef struct square {
    int64_t value;
    char fill[40];
} square;

static pf_status work(void *self, int worker, int64_t item, void *result)
{
    count *k = self;
    square *s = result;
    assert_int_equal(s->value, 0);
    __atomic_fetch_add(&k->by_worker[worker], 1, __ATOMIC_RELAXED);
    if (item == k->poison)
        return pf_raise(PF_ENUMERIC, PF_WHERE, "item %d is poisoned", (int)item);
    s->value = item * item;
    if (item % 7 == 0) usleep(2000); /* uneven items */
    return PF_OK;
}

static pf_status done(void *self, int64_t item, const void *result)
{
    count *k = self;
    k->finished++;
    PF_REQUIRE(k->finished != k->refuse_at, PF_EIO, "the disk is full");
    PF_REQUIRE(((const square *)result)->value == item * item, PF_EFORMAT, "mixed up");
    k->times[item]++;
    return PF_OK;
}

static int leave_odd(void *self, int64_t item)
{
    return ((count *)self)->skip_odd && item % 2;
}

static pf_queue_job job_of(count *k, int threads)
{
    return (pf_queue_job){.n = ITEMS,
                          .result_bytes = sizeof(square),
                          .threads = threads,
                          .self = k,
                          .work = work,
                          .done = done,
                          .skip = leave_odd};
}

static void every_item_is_done_exactly_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        count k = {.poison = -1};
        pf_queue_job job = job_of(&k, threads);
        assert_int_equal(pf_queue_run(comm, &job), PF_OK);
        for (int i = 0; pf_comm_rank(comm) == 0 && i < ITEMS; i++)
            assert_int_equal(k.times[i], 1);
        int mine = k.by_worker[0] + k.by_worker[1] + k.by_worker[2], all[64], total = 0;
        assert_int_equal(pf_comm_allgather(comm, &mine, sizeof mine, all), PF_OK);
        for (int r = 0; r < pf_comm_size(comm); r++) total += all[r];
        assert_int_equal(total, ITEMS);
    }
}

static void skipped_items_are_not_handed_out(void **state)
{
    (void)state;
    count k = {.poison = 1, .skip_odd = 1}; /* the poisoned one is odd */
    pf_queue_job job = job_of(&k, 2);
    assert_int_equal(pf_queue_run(comm, &job), PF_OK);
    for (int i = 0; pf_comm_rank(comm) == 0 && i < ITEMS; i++)
        assert_int_equal(k.times[i], i % 2 == 0);
}

static void a_failing_item_gives_all_ranks_its_sentence_and_stops_the_rest(void **state)
{
    (void)state;
    count k = {.poison = 20};
    pf_queue_job job = job_of(&k, 2);
    assert_int_equal(pf_queue_run(comm, &job), PF_ENUMERIC);
    assert_string_equal(pf_error_message(), "item 20 is poisoned");
    int booked = 0;
    for (int i = 0; i < ITEMS; i++) booked += k.times[i];
    assert_true(booked < ITEMS - 1);
}

static void a_result_that_cannot_be_stored_stops_all_ranks(void **state)
{
    (void)state;
    count k = {.poison = -1, .refuse_at = 10};
    pf_queue_job job = job_of(&k, 2);
    assert_int_equal(pf_queue_run(comm, &job), PF_EIO);
    assert_string_equal(pf_error_message(), "the disk is full");
}

static void a_rank_without_memory_stops_all_ranks_before_the_first_item(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    for (int n = 1; n <= 5; n++) { /* workers, counts, message and a result each of two */
        count k = {.poison = -1};
        pf_queue_job job = job_of(&k, 2);
        if (pf_comm_rank(comm) == pf_comm_size(comm) - 1) pf_alloc_fail_at(n);
        assert_int_equal(pf_queue_run(comm, &job), PF_EMEM);
        pf_alloc_fail_at(0);
        for (int w = 0; w < 4; w++) assert_int_equal(k.by_worker[w], 0);
        assert_int_equal(pf_alloc_live(), before);
    }
}

static void an_empty_queue_ends_at_once_and_no_workers_are_refused(void **state)
{
    (void)state;
    count k = {.poison = -1};
    pf_queue_job job = job_of(&k, 2);
    job.n = 0;
    assert_int_equal(pf_queue_run(comm, &job), PF_OK);
    job.threads = pf_comm_rank(comm) == 0 ? 0 : 1;
    assert_int_equal(pf_queue_run(comm, &job), PF_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_returns_the_worst_status_and_its_sentence),
        cmocka_unit_test(broadcast_and_gather_move_the_bytes),
        cmocka_unit_test(every_rank_gets_the_text_of_the_first),
        cmocka_unit_test(the_pieces_of_all_ranks_cover_the_vector_once),
        cmocka_unit_test(the_sum_over_shards_has_the_same_bits_on_any_ranks_in_any_buckets),
        cmocka_unit_test(two_threads_that_share_a_root_add_as_one_would),
        cmocka_unit_test(a_rank_that_gives_up_half_way_ends_the_round_with_the_others),
        cmocka_unit_test(bad_lengths_are_refused),
        cmocka_unit_test(an_exchange_without_memory_leaves_nothing_behind),
        cmocka_unit_test(every_item_is_done_exactly_once),
        cmocka_unit_test(skipped_items_are_not_handed_out),
        cmocka_unit_test(a_failing_item_gives_all_ranks_its_sentence_and_stops_the_rest),
        cmocka_unit_test(a_result_that_cannot_be_stored_stops_all_ranks),
        cmocka_unit_test(a_rank_without_memory_stops_all_ranks_before_the_first_item),
        cmocka_unit_test(an_empty_queue_ends_at_once_and_no_workers_are_refused),
    };
    if (pf_comm_open(&comm, NULL)) {
        pf_error_print(stderr);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed) pf_comm_abort(comm, 1); /* others may wait inside a collective */
    pf_comm_close(comm);
    return 0;
}
