/* Attention over the n positions of a sequence, each head of d channels for itself, a block of rows of the scores at
 * a time:
 *
 *     P = softmax(q k' d^-1/2) over what a row sees      y = P v
 *     dv += P' dy      dP = dy v'      dS = P (dP - rowsum(dP P)) d^-1/2      dq = dS k      dk += dS' q
 *
 * All matrices are in blocks of 16 columns (gemm.h), d, the keys and the rows rounded up with zeros; so products run
 * through whole cache lines, and one form of q and of dy is the left and the right side of products.  A block of scores
 * stays in the second cache.  P is kept for the backward pass where a sample keeps KEPT numbers at most, else made
 * again.  A block has the keys that its rows see: those of windows are whole windows. */
#include "nn/kernels/fused/gemm.h"
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"
#include "nn/kernels/heads.h"

#include <probflow/memory.h>

enum { PANEL = PF_GEMM_COLUMNS, KEPT = 1 << 20, BLOCK = 1 << 16, LEAST = 32, MOST = 256 };

#define UNSEEN -3.0e38f /* a score below */

typedef struct attend {
    pf_heads at;
    int B, d, n;    /* d and n up to blocks */
    int rows, keys; /* of a block of scores: step rows and zeros, the most keys */
    int step;       /* rows from block to block */
    int kept;       /* 1: P stays for the backward pass */
    float scale;
} attend;

static int up(int n, int to)
{
    return (n + to - 1) / to * to;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int blocks(const attend *a)
{
    return (a->at.n + a->step - 1) / a->step;
}

/* The first key of a block of rows, and the keys it needs, in panels. */
static int first_key(const attend *a, int row)
{
    return pf_heads_keys(&a->at, row).first / PANEL * PANEL;
}

static int keys_from(const attend *a, int row)
{
    int last = least(row + a->step, a->at.n) - 1;
    return up(pf_heads_keys(&a->at, last).end, PANEL) - first_key(a, row);
}

static int most_keys(const attend *a)
{
    int most = 0;
    for (int i = 0; i < a->at.n; i += a->step) {
        int keys = keys_from(a, i);
        if (keys > most) most = keys;
    }
    return most;
}

/* Whole windows, at least LEAST rows of them; of a large one equal parts. */
static int step_of_windows(int window)
{
    if (window <= MOST) return window * ((LEAST + window - 1) / window);
    int parts = (window + MOST - 1) / MOST;
    return (window + parts - 1) / parts;
}

static void choose_block(attend *a)
{
    int step = BLOCK / a->n / PF_GEMM_ROWS * PF_GEMM_ROWS;
    step = step < LEAST ? LEAST : least(step, MOST);
    if (a->at.mask == PF_MASK_WINDOW && a->at.window < a->at.n)
        step = step_of_windows(a->at.window);
    a->step = least(step, a->at.n);
    a->rows = up(a->step, PF_GEMM_ROWS);
    a->keys = most_keys(a);
    a->kept = (size_t)a->at.heads * (size_t)(blocks(a) * a->rows) * (size_t)a->keys <= KEPT;
}

static pf_status open(const pf_site *s, void **ctx)
{
    attend *a = pf_zalloc(sizeof *a);
    PF_REQUIRE(a, PF_EMEM, "no memory for %s", s->name);
    a->at = pf_heads_of(s);
    a->B = s->B;
    a->d = up(a->at.d, PANEL);
    a->n = up(a->at.n, PANEL);
    a->scale = 1.0f / sqrtf((float)a->at.d);
    choose_block(a);
    *ctx = a;
    return PF_OK;
}

static void close(void *ctx)
{
    pf_free(ctx);
}

static size_t score_floats(const attend *a)
{
    return (size_t)a->rows * (size_t)a->keys;
}

static size_t saved(const pf_site *s, void *ctx)
{
    const attend *a = ctx;
    (void)s;
    return a->kept ? (size_t)(a->B * a->at.heads * blocks(a)) * score_floats(a) : 0;
}

/* Of a head: k, v and their transposes, the sums dk and dv [n,d]; of a block: q or dy, and y or dq [rows,d]; P and dS;
 * sixteen partial sums and largest numbers of each row. */
typedef struct work {
    float *k, *v, *kt, *vt, *dk, *dv, *q, *dy, *y, *p, *ds, *lane;
    unsigned char *there; /* [n] */
} work;

/* The next n floats of what begins at base; NULL of nothing. */
static float *cut(float *base, size_t *at, size_t n)
{
    float *part = base ? base + *at : NULL;
    *at += n;
    return part;
}

/* Floats in all; with scratch NULL only these. */
static size_t lay_out(const attend *a, float *scratch, work *w)
{
    size_t whole = (size_t)a->n * (size_t)a->d, block = (size_t)a->rows * (size_t)a->d, at = 0;
    float **of_head[] = {&w->k, &w->v, &w->kt, &w->vt, &w->dk, &w->dv},
          **of_block[] = {&w->q, &w->dy, &w->y}, **scores[] = {&w->p, &w->ds};
    for (int i = 0; i < 6; i++) *of_head[i] = cut(scratch, &at, whole);
    for (int i = 0; i < 3; i++) *of_block[i] = cut(scratch, &at, block);
    for (int i = 0; i < 2; i++) *scores[i] = cut(scratch, &at, score_floats(a));
    w->lane = cut(scratch, &at, 2 * (size_t)a->rows * PANEL);
    w->there = (unsigned char *)cut(scratch, &at, (size_t)(a->n + 3) / 4);
    return at;
}

static size_t scratch(const pf_site *s, void *ctx)
{
    work w;
    (void)s;
    return lay_out(ctx, NULL, &w);
}

/* rows x [count,d], `row` floats apart, to panels of `room` rows; what is beyond is 0 */
typedef struct strip {
    int count, d, room;
    size_t row;
} strip;

/* Rows of other heads lie between these: what comes AHEAD is asked for. */
enum { AHEAD = 12 };

static void pack(const strip *s, const float *x, float *to)
{
    size_t panel = (size_t)s->room * PANEL;
    if (s->d < up(s->d, PANEL) || s->count < s->room)
        memset(to, 0, (size_t)up(s->d, PANEL) * (size_t)s->room * sizeof *to);
    for (int i = 0; i < s->count; i++, x += s->row, to += PANEL)
        for (int c = 0; c < s->d; c += PANEL) {
            float *line = to + (size_t)(c / PANEL) * panel;
            __builtin_prefetch(x + AHEAD * s->row + c);
            if (s->d - c >= PANEL) memcpy(line, x + c, PANEL * sizeof *x);
            else memcpy(line, x + c, (size_t)(s->d - c) * sizeof *x);
        }
}

static void unpack(const strip *s, const float *x, float *to)
{
    size_t panel = (size_t)s->room * PANEL;
    for (int i = 0; i < s->count; i++, x += PANEL, to += s->row)
        for (int c = 0; c < s->d; c += PANEL) {
            const float *line = x + (size_t)(c / PANEL) * panel;
            __builtin_prefetch(to + AHEAD * s->row + c, 1);
            if (s->d - c >= PANEL) memcpy(to + c, line, PANEL * sizeof *x);
            else memcpy(to + c, line, (size_t)(s->d - c) * sizeof *x);
        }
}

/* panels of x [n,d] to those of its transpose [d,n] */
static void transpose(const attend *a, const float *x, float *to)
{
    for (int j = 0; j < a->n; j += PANEL, to += (size_t)a->d * PANEL)
        for (int c = 0; c < a->d; c += PANEL) {
            const float *from = x + ((size_t)c / PANEL * (size_t)a->n + (size_t)j) * PANEL;
            float *block = to + (size_t)c * PANEL;
            for (int i = 0; i < PANEL; i++)
                for (int l = 0; l < PANEL; l++) block[i * PANEL + l] = from[l * PANEL + i];
        }
}

/* One block of rows of one head. */
typedef struct place {
    int b, h, row, count, key, keys; /* its rows, as many as are there, and the keys they see */
} place;

static place place_of(const attend *a, int b, int h, int row)
{
    place p = {b, h, row, least(a->step, a->at.n - row), first_key(a, row), keys_from(a, row)};
    return p;
}

static float *scores_of(const attend *a, const pf_call *c, const work *w, const place *p)
{
    size_t head = (size_t)(p->b * a->at.heads + p->h);
    size_t block = head * (size_t)blocks(a) + (size_t)(p->row / a->step);
    return a->kept ? c->saved + block * score_floats(a) : w->p;
}

/* What a row does not see is UNSEEN. */
static void mask(const attend *a, const work *w, const place *p, float *s)
{
    int hole = 0; /* within what rows would see */
    for (int j = 0; j < p->keys; j++) hole |= !w->there[p->key + j];
    if (a->at.mask == PF_MASK_NONE && !hole) return;
    for (int i = 0; i < p->count; i++) {
        pf_keys seen = pf_heads_keys(&a->at, p->row + i);
        for (int j = 0; j < p->keys; j++) {
            int key = p->key + j, sees = key >= seen.first && key < seen.end && w->there[key];
            float *at = s + ((size_t)(j / PANEL) * (size_t)a->rows + (size_t)i) * PANEL;
            if (!sees) at[j % PANEL] = 2.0f * UNSEEN;
        }
    }
}

/* The sixteen numbers of each row become their largest, or their sum or its inverse. */
static void spread_largest(int rows, float *lane)
{
    for (int i = 0; i < rows; i++, lane += PANEL) {
        float top = lane[0];
        for (int l = 1; l < PANEL; l++) top = lane[l] > top ? lane[l] : top;
        for (int l = 0; l < PANEL; l++) lane[l] = top;
    }
}

static void spread_sum(int rows, int inverse, float *lane)
{
    for (int i = 0; i < rows; i++, lane += PANEL) {
        float sum = 0.0f;
        for (int l = 0; l < PANEL; l++) sum += lane[l];
        if (inverse) sum = sum > 0.0f ? 1.0f / sum : 0.0f;
        for (int l = 0; l < PANEL; l++) lane[l] = sum;
    }
}

static void softmax(const attend *a, int keys, float *p, float *lane)
{
    size_t n = (size_t)a->rows * PANEL, panels = (size_t)(keys / PANEL);
    float scale = a->scale;
    for (size_t i = 0; i < n; i++) lane[i] = UNSEEN;
    for (size_t j = 0; j < panels; j++) {
        const float *x = p + j * n;
        PF_SIMD
        for (size_t i = 0; i < n; i++) lane[i] = x[i] > lane[i] ? x[i] : lane[i];
    }
    spread_largest(a->rows, lane);
    float *top = lane, *sum = lane + n;
    memset(sum, 0, n * sizeof *sum);
    for (size_t j = 0; j < panels; j++) {
        float *x = p + j * n;
        PF_SIMD
        for (size_t i = 0; i < n; i++) {
            float e = pf_exp((x[i] - top[i]) * scale);
            x[i] = x[i] < UNSEEN ? 0.0f : e;
            sum[i] += x[i];
        }
    }
    spread_sum(a->rows, 1, sum);
    for (size_t j = 0; j < panels; j++) {
        float *x = p + j * n;
        PF_SIMD
        for (size_t i = 0; i < n; i++) x[i] *= sum[i];
    }
}

static void softmax_back(const attend *a, int keys, const float *p, float *d, float *dot)
{
    size_t n = (size_t)a->rows * PANEL, panels = (size_t)(keys / PANEL);
    float scale = a->scale;
    memset(dot, 0, n * sizeof *dot);
    for (size_t j = 0; j < panels; j++) {
        const float *x = p + j * n, *g = d + j * n;
        PF_SIMD
        for (size_t i = 0; i < n; i++) dot[i] += x[i] * g[i];
    }
    spread_sum(a->rows, 0, dot);
    for (size_t j = 0; j < panels; j++) {
        const float *x = p + j * n;
        float *g = d + j * n;
        PF_SIMD
        for (size_t i = 0; i < n; i++) g[i] = x[i] * (g[i] - dot[i]) * scale;
    }
}

static pf_blocked from_row(float *x, int rows, int first)
{
    return (pf_blocked){x + (size_t)first * PANEL, rows};
}

static void product(pf_blocked_gemm g, pf_blocked x, pf_blocked y, pf_blocked out)
{
    pf_blocked_gemm_run(&g, x, y, out);
}

static size_t rows_at(const attend *a, const place *p)
{
    return ((size_t)p->b * (size_t)a->at.n + (size_t)p->row) * (size_t)(a->at.heads * a->at.d) +
           (size_t)(p->h * a->at.d);
}

static strip own_strip(const attend *a, const place *p)
{
    return (strip){p->count, a->at.d, a->rows, (size_t)(a->at.heads * a->at.d)};
}

static strip strip_of(const attend *a, int count, int room)
{
    return (strip){count, a->at.d, room, a->at.row};
}

/* k and v of a head, and which keys are there. */
static void take_head(const attend *a, const pf_call *c, const work *w, int b, int h)
{
    strip all = strip_of(a, a->at.n, a->n);
    pack(&all, PF_HEADS_PART(&a->at, c->in, 1, b, h), w->k);
    pack(&all, PF_HEADS_PART(&a->at, c->in, 2, b, h), w->v);
    transpose(a, w->k, w->kt);
    for (int j = 0; j < a->n; j++)
        w->there[j] = (unsigned char)(j < a->at.n && pf_heads_there(&a->at, c->in, b, j));
}

static void take_queries(const attend *a, const pf_call *c, const work *w, const place *p)
{
    strip s = strip_of(a, p->count, a->rows);
    pack(&s, PF_HEADS_PART(&a->at, c->in, 0, p->b, p->h) + (size_t)p->row * a->at.row, w->q);
}

static void probabilities(const attend *a, const pf_call *c, const work *w, const place *p)
{
    float *s = scores_of(a, c, w, p);
    pf_blocked keys = {w->kt + (size_t)p->key * (size_t)a->d, a->d};
    product((pf_blocked_gemm){a->rows, p->keys, a->d, 0, 0}, from_row(w->q, a->rows, 0), keys,
            from_row(s, a->rows, 0));
    mask(a, w, p, s);
    softmax(a, p->keys, s, w->lane);
}

static void rows_forward(const attend *a, const pf_call *c, const work *w, const place *p)
{
    take_queries(a, c, w, p);
    probabilities(a, c, w, p);
    product((pf_blocked_gemm){a->rows, a->d, p->keys, 0, 0},
            from_row(scores_of(a, c, w, p), a->rows, 0), from_row(w->v, a->n, p->key),
            from_row(w->y, a->rows, 0));
    strip s = own_strip(a, p);
    unpack(&s, w->y, c->out + rows_at(a, p));
}

static pf_status forward(void *ctx, const pf_call *c)
{
    const attend *a = ctx;
    work w;
    lay_out(a, c->scratch, &w);
    for (int bh = 0; bh < a->B * a->at.heads; bh++) {
        int b = bh / a->at.heads, h = bh % a->at.heads;
        take_head(a, c, &w, b, h);
        for (int i = 0; i < a->at.n; i += a->step) {
            place p = place_of(a, b, h, i);
            rows_forward(a, c, &w, &p);
        }
    }
    return PF_OK;
}

static void rows_backward(const attend *a, const pf_call *c, const work *w, const place *p)
{
    strip own = own_strip(a, p), s = strip_of(a, p->count, a->rows);
    float *dq = PF_HEADS_PART(&a->at, c->gin, 0, p->b, p->h);
    pf_blocked q = from_row(w->q, a->rows, 0), dy = from_row(w->dy, a->rows, 0),
               ds = from_row(w->ds, a->rows, 0),
               values = {w->vt + (size_t)p->key * (size_t)a->d, a->d};
    take_queries(a, c, w, p);
    pack(&own, c->gout + rows_at(a, p), w->dy);
    if (!a->kept) probabilities(a, c, w, p);
    float *P = scores_of(a, c, w, p);
    product((pf_blocked_gemm){p->keys, a->d, a->rows, 1, 1}, from_row(P, a->rows, 0), dy,
            from_row(w->dv, a->n, p->key));
    if (!dq && !c->gin[a->at.in[1]]) return;
    product((pf_blocked_gemm){a->rows, p->keys, a->d, 0, 0}, dy, values, ds);
    softmax_back(a, p->keys, P, w->ds, w->lane);
    product((pf_blocked_gemm){p->keys, a->d, a->rows, 1, 1}, ds, q,
            from_row(w->dk, a->n, p->key));
    if (!dq) return;
    product((pf_blocked_gemm){a->rows, a->d, p->keys, 0, 0}, ds, from_row(w->k, a->n, p->key),
            from_row(w->y, a->rows, 0));
    unpack(&s, w->y, dq + (size_t)p->row * a->at.row);
}

static pf_status backward(void *ctx, const pf_call *c)
{
    const attend *a = ctx;
    work w;
    lay_out(a, c->scratch, &w);
    strip all = strip_of(a, a->at.n, a->n);
    size_t whole = (size_t)a->n * (size_t)a->d;
    for (int bh = 0; bh < a->B * a->at.heads; bh++) {
        int b = bh / a->at.heads, h = bh % a->at.heads;
        take_head(a, c, &w, b, h);
        transpose(a, w.v, w.vt);
        memset(w.dk, 0, whole * sizeof *w.dk);
        memset(w.dv, 0, whole * sizeof *w.dv);
        for (int i = 0; i < a->at.n; i += a->step) {
            place p = place_of(a, b, h, i);
            rows_backward(a, c, &w, &p);
        }
        float *dk = PF_HEADS_PART(&a->at, c->gin, 1, b, h),
              *dv = PF_HEADS_PART(&a->at, c->gin, 2, b, h);
        if (dk) unpack(&all, w.dk, dk);
        if (dv) unpack(&all, w.dv, dv);
    }
    return PF_OK;
}

/* Networks of before have the products of a library. */
static int applies(const pf_site *s)
{
    return s->attr.sequence;
}

const pf_row pf_fused_attend = {
    .backend = "fused",
    .applies = applies,
    .open = open,
    .close = close,
    .saved = saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
