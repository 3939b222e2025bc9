/* One direction of a layer of an LSTM; what it computes is in ref/lstm.c.
 *
 * Steps run in chunks of about sqrt(L) of them, or of as many as fill a product.  Of a chunk, all that does not wait for
 * the steps before is one product: of the inputs forward; of the inputs' gradient and those of all parameters backward.
 * A step is one product of the state, [B,h] by [h,4h], and a pass over its cells.
 *
 * Kept are the states h of all steps and the cells c at the begin of each chunk.  Where it is not much, so are the gates and
 * the cells of all steps; else backward makes the gates of a chunk again, by a product for all its steps at once since their
 * states are known.
 *
 * Matrices lie in blocks of 16 columns (gemm.h).  A row is one sample of one step, rows of a step one after the other and
 * their number rounded up to 8, channels and units rounded up to 16; what is beyond is 0.  Columns of gates are i, f, g, o
 * of all units.  An odd row beside the last keeps blocks out of the same few sets of the cache. */
#include "nn/kernels/fused/lstm_cell.h"
#include "nn/kernels/fused/lstm_layout.h"
#include "nn/kernels/fused/rows.h"

#include <probflow/memory.h>

static int steps_of_a_chunk(const lstm *v)
{
    int T = 1, full = (FULL + v->rows - 1) / v->rows;
    while (T < v->L / T) T++;
    if (T < full) T = full;
    return T < v->L ? T : v->L;
}

static pf_status open(const pf_site *s, void **ctx)
{
    lstm *v = pf_zalloc(sizeof *v);
    if (!v) PF_FAIL(PF_EMEM, "no memory for %s", s->name);
    *v = (lstm){.B = s->B, .L = s->out.h * s->out.w, .in = s->in[0].c, .h = s->out.c};
    v->rows = up(v->B, PF_GEMM_ROWS);
    v->I = up(v->in, PANEL);
    v->H = up(v->h, PANEL);
    v->T = steps_of_a_chunk(v);
    v->chunks = (v->L + v->T - 1) / v->T;
    v->back = s->want_dx[0] || s->want_dp;
    v->kept = v->back && (double)v->L * v->rows * v->H * 6.0 <= KEPT;
    v->reverse = s->attr.reverse;
    v->padded = s->n_in > 1;
    *ctx = v;
    return PF_OK;
}

static size_t prepared(const pf_site *s, void *ctx)
{
    weights w;
    float base[1]; /* for differences alone */
    (void)s;
    return lay_weights(ctx, base, &w);
}

/* p [4h,n] to both layouts, N = n rounded up. */
static void lay_matrix(const lstm *v, const float *p, int n, float *t, float *plain)
{
    size_t G = GATES * (size_t)v->H, N = (size_t)up(n, PANEL);
    memset(t, 0, G * N * sizeof *t);
    memset(plain, 0, G * N * sizeof *t);
    for (int q = 0; q < GATES; q++)
        for (int j = 0; j < v->h; j++) {
            size_t row = (size_t)q * (size_t)v->H + (size_t)j;
            for (int i = 0; i < n; i++, p++) {
                t[blocked_at(N, (size_t)i, row)] = *p;
                plain[blocked_at(G, row, (size_t)i)] = *p;
            }
        }
}

static pf_status prepare(void *ctx, const pf_call *c)
{
    const lstm *v = ctx;
    weights w;
    lay_weights(v, c->prepared, &w);
    lay_matrix(v, c->param[0], v->in, w.wt, w.w);
    lay_matrix(v, c->param[1], v->h, w.ut, w.u);
    memset(w.bias, 0, GATES * (size_t)v->H * sizeof *w.bias);
    for (int q = 0; q < GATES; q++)
        for (int j = 0; j < v->h; j++)
            w.bias[q * v->H + j] = c->param[2][q * v->h + j] + c->param[3][q * v->h + j];
    return PF_OK;
}

static size_t saved(const pf_site *s, void *ctx)
{
    kept k;
    float base[1];
    (void)s;
    return lay_kept(ctx, base, &k);
}

static size_t scratch(const pf_site *s, void *ctx)
{
    work w;
    float base[1];
    (void)s;
    return lay_work(ctx, base, &w);
}

/* ---- a chunk ---- */

typedef struct chunk {
    const lstm *v;
    const pf_call *c;
    weights p;
    kept k;
    work w;
    int first, T; /* its steps */
    float *gates; /* of this chunk */
} chunk;

static void begin(const lstm *v, const pf_call *c, chunk *k)
{
    *k = (chunk){.v = v, .c = c};
    lay_weights(v, c->prepared, &k->p);
    lay_kept(v, c->saved, &k->k);
    lay_work(v, c->scratch, &k->w);
}

/* Where sample b has its step t of the chunk, in positions. */
static size_t place(const chunk *k, int b, int t)
{
    int step = k->first + t, L = k->v->L;
    return (size_t)b * (size_t)L + (size_t)(k->v->reverse ? L - 1 - step : step);
}

/* n floats of a row to blocks, or back; what is beyond is 0. */
static void pack_row(const float *x, int n, size_t room, float *to)
{
    for (int j = 0; j < n; j += PANEL, to += room * PANEL) {
        int some = n - j < PANEL ? n - j : PANEL;
        if (some < PANEL) memset(to, 0, PANEL * sizeof *to);
        memcpy(to, x + j, (size_t)some * sizeof *to);
    }
}

static void unpack_row(const float *x, int n, size_t room, float *to)
{
    for (int j = 0; j < n; j += PANEL, x += room * PANEL)
        memcpy(to + j, x, (size_t)(n - j < PANEL ? n - j : PANEL) * sizeof *to);
}

static void take_padding(chunk *k)
{
    const lstm *v = k->v;
    unsigned char *there = k->w.there, *whole = there + v->T * v->rows;
    memset(there, 1, (size_t)v->T * (size_t)(v->rows + 1));
    for (int t = 0; v->padded && t < k->T; t++)
        for (int b = 0; b < v->B; b++) {
            int32_t label;
            memcpy(&label, k->c->in[1] + place(k, b, t), sizeof label);
            there[t * v->rows + b] = label >= 0;
            if (label < 0) whole[t] = 0;
        }
}

static void take_inputs(chunk *k)
{
    const lstm *v = k->v;
    size_t room = chunk_room(v);
    if (v->B < v->rows) memset(k->w.x, 0, room * (size_t)v->I * sizeof *k->w.x);
    for (int t = 0; t < k->T; t++)
        for (int b = 0; b < v->B; b++)
            pack_row(k->c->in[0] + place(k, b, t) * (size_t)v->in, v->in, room,
                     k->w.x + (t * v->rows + b) * PANEL);
}

static void start(chunk *k, int number)
{
    const lstm *v = k->v;
    k->first = number * v->T;
    k->T = v->L - k->first < v->T ? v->L - k->first : v->T;
    k->gates = k->w.gates;
    take_padding(k);
    take_inputs(k);
}

/* The gates of a chunk that are kept. */
static float *kept_gates(const chunk *k, int number)
{
    return k->k.gates + (size_t)number * GATES * (size_t)k->v->H * chunk_room(k->v);
}

static pf_blocked blocked(float *at, size_t room)
{
    return (pf_blocked){at, (int)room};
}

static void product(pf_blocked_gemm g, pf_blocked a, pf_blocked b, pf_blocked c)
{
    pf_blocked_gemm_run(&g, a, b, c);
}

/* The state before step t of the chunk. */
static float *state_at(const chunk *k, int t)
{
    return k->k.h + (size_t)(k->first + t) * (size_t)k->v->rows * PANEL;
}

/* gates = x W', of all steps */
static void input_sums(chunk *k)
{
    const lstm *v = k->v;
    size_t room = chunk_room(v);
    product((pf_blocked_gemm){k->T * v->rows, GATES * v->H, v->I, 0, 0}, blocked(k->w.x, room),
            blocked(k->p.wt, (size_t)v->I), blocked(k->gates, room));
}

/* gates += h U', of `steps` from step t on */
static void state_sums(chunk *k, int t, int steps)
{
    const lstm *v = k->v;
    size_t row = (size_t)t * (size_t)v->rows;
    product((pf_blocked_gemm){steps * v->rows, GATES * v->H, v->H, 0, 1},
            blocked(state_at(k, t), state_room(v)), blocked(k->p.ut, (size_t)v->H),
            blocked(k->gates + row * PANEL, chunk_room(v)));
}

/* Rows [r, r + n) of block u of step t. */
static pf_cells cells_at(const chunk *k, int t, int u, int r, const float *c, float *next)
{
    const lstm *v = k->v;
    size_t block = ((size_t)u * (size_t)v->rows + (size_t)r) * PANEL, room = chunk_room(v);
    pf_cells a = {
        .c = c + block, .next = next + block, .dh = k->w.dh + block, .dc = k->w.dc + block};
    for (int q = 0; q < GATES; q++) {
        size_t panel = (size_t)(q * v->H / PANEL + u);
        a.gate[q] = k->gates + (panel * room + (size_t)(t * v->rows + r)) * PANEL;
        a.bias[q] = k->p.bias + panel * PANEL;
    }
    a.h = state_at(k, t + 1) + ((size_t)u * state_room(v) + (size_t)r) * PANEL;
    return a;
}

PF_OWN_REGISTERS void cells_forward(const pf_cells *a, int n)
{
    pf_cells_forward(a, n);
}

PF_OWN_REGISTERS void cells_backward(const pf_cells *a, int n)
{
    pf_cells_backward(a, n);
}

/* Where there is nothing, the state stays. */
static void stay(const chunk *k, const pf_cells *a)
{
    const float *before = a->h - k->v->rows * PANEL;
    if (a->next != a->c) memcpy(a->next, a->c, PANEL * sizeof *a->next);
    memcpy(a->h, before, PANEL * sizeof *a->h);
}

static void step_forward(const chunk *k, int t, const float *c, float *next)
{
    const lstm *v = k->v;
    const unsigned char *there = k->w.there + t * v->rows;
    int whole = k->w.there[v->T * v->rows + t];
    for (int u = 0; u < v->H / PANEL; u++) {
        pf_cells a = cells_at(k, t, u, 0, c, next);
        if (whole) cells_forward(&a, v->rows * PANEL);
        for (int r = 0; !whole && r < v->rows; r++) {
            a = cells_at(k, t, u, r, c, next);
            if (there[r]) cells_forward(&a, PANEL);
            else stay(k, &a);
        }
    }
}

static void put_outputs(const chunk *k, int t)
{
    const lstm *v = k->v;
    for (int b = 0; b < v->B; b++) {
        float *y = k->c->out + place(k, b, t) * (size_t)v->h;
        if (k->w.there[t * v->rows + b])
            unpack_row(state_at(k, t + 1) + b * PANEL, v->h, state_room(v), y);
        else memset(y, 0, (size_t)v->h * sizeof *y);
    }
}

static pf_status forward(void *ctx, const pf_call *c)
{
    const lstm *v = ctx;
    size_t state = state_floats(v);
    chunk k;
    begin(v, c, &k);
    for (int u = 0; u < v->H / PANEL; u++)
        memset(k.k.h + (size_t)u * state_room(v) * PANEL, 0,
               (size_t)v->rows * PANEL * sizeof(float));
    float *cell = v->kept ? k.k.c : k.w.cells;
    memset(cell, 0, state * sizeof *cell);
    for (int i = 0; i < v->chunks; i++) {
        start(&k, i);
        if (v->kept) k.gates = kept_gates(&k, i);
        if (!v->kept) memcpy(k.k.c + (size_t)i * state, cell, state * sizeof *cell);
        input_sums(&k);
        for (int t = 0; t < k.T; t++) {
            float *next = v->kept ? cell + state : cell;
            state_sums(&k, t, 1);
            step_forward(&k, t, cell, next);
            put_outputs(&k, t);
            cell = next;
        }
    }
    return PF_OK;
}

/* ---- backward ---- */

/* The gates of a chunk, whose place their gradients take, and its cells, of T + 1 moments. */
static float *cells_of(chunk *k, int number)
{
    const lstm *v = k->v;
    size_t state = state_floats(v);
    if (v->kept) {
        memcpy(k->gates, kept_gates(k, number),
               GATES * (size_t)v->H * chunk_room(v) * sizeof *k->gates);
        return k->k.c + (size_t)k->first * state;
    }
    memcpy(k->w.cells, k->k.c + (size_t)number * state, state * sizeof(float));
    input_sums(k);
    state_sums(k, 0, k->T);
    for (int t = 0; t < k->T; t++) {
        float *c = k->w.cells + (size_t)t * state;
        step_forward(k, t, c, c + state);
    }
    return k->w.cells;
}

/* dh += the gradient of the outputs that are there */
static void add_gout(const chunk *k, int t)
{
    const lstm *v = k->v;
    for (int b = 0; b < v->B; b++) {
        const float *g = k->c->gout + place(k, b, t) * (size_t)v->h;
        if (!k->w.there[t * v->rows + b]) continue;
        for (int j = 0; j < v->h; j += PANEL) {
            float *d = k->w.dh + ((size_t)j * (size_t)v->rows + (size_t)(b * PANEL));
            int some = v->h - j < PANEL ? v->h - j : PANEL;
            for (int l = 0; l < some; l++) d[l] += g[j + l];
        }
    }
}

static void step_backward(const chunk *k, int t, float *cells)
{
    const lstm *v = k->v;
    const unsigned char *there = k->w.there + t * v->rows;
    float *c = cells + (size_t)t * state_floats(v), *next = c + state_floats(v);
    int whole = k->w.there[v->T * v->rows + t];
    for (int u = 0; u < v->H / PANEL; u++) {
        pf_cells a = cells_at(k, t, u, 0, c, next);
        if (whole) cells_backward(&a, v->rows * PANEL);
        for (int r = 0; !whole && r < v->rows; r++) {
            a = cells_at(k, t, u, r, c, next);
            if (there[r]) cells_backward(&a, PANEL);
            for (int q = 0; !there[r] && q < GATES; q++)
                memset(a.gate[q], 0, PANEL * sizeof(float));
        }
    }
}

/* dh of the state before step t: gates' gradients times U, and as it was where there is nothing. */
static void pass_state(chunk *k, int t)
{
    const lstm *v = k->v;
    const unsigned char *there = k->w.there + t * v->rows;
    size_t row = (size_t)(t * v->rows), G = GATES * (size_t)v->H;
    product((pf_blocked_gemm){v->rows, v->H, (int)G, 0, 0},
            blocked(k->gates + row * PANEL, chunk_room(v)), blocked(k->p.u, G),
            blocked(k->w.dh_next, (size_t)v->rows));
    for (int r = 0; r < v->rows; r++)
        for (int u = 0; !there[r] && u < v->H / PANEL; u++) {
            size_t at = ((size_t)u * (size_t)v->rows + (size_t)r) * PANEL;
            memcpy(k->w.dh_next + at, k->w.dh + at, PANEL * sizeof(float));
        }
    float *old = k->w.dh;
    k->w.dh = k->w.dh_next;
    k->w.dh_next = old;
}

static void add_bias(const chunk *k)
{
    const lstm *v = k->v;
    size_t room = chunk_room(v);
    for (int p = 0; p < GATES * v->H / PANEL; p++) {
        const float *g = k->gates + (size_t)p * room * PANEL;
        double *sum = k->w.db + p * PANEL;
        for (int r = 0; r < k->T * v->rows; r++, g += PANEL) {
            PF_SIMD
            for (int l = 0; l < PANEL; l++) sum[l] += (double)g[l];
        }
    }
}

/* Of a chunk whose gates hold their gradients: those of the parameters and of the inputs. */
static void maps_back(chunk *k, int add)
{
    const lstm *v = k->v;
    size_t room = chunk_room(v), G = GATES * (size_t)v->H;
    pf_blocked g = blocked(k->gates, room), x = blocked(k->w.x, room);
    int n = k->T * v->rows;
    if (k->c->gparam[0])
        product((pf_blocked_gemm){(int)G, v->I, n, 1, add}, g, x, blocked(k->w.dw, G));
    if (k->c->gparam[1])
        product((pf_blocked_gemm){(int)G, v->H, n, 1, add}, g,
                blocked(state_at(k, 0), state_room(v)), blocked(k->w.du, G));
    if (k->c->gparam[2] || k->c->gparam[3]) add_bias(k);
    if (!k->c->gin[0]) return;
    product((pf_blocked_gemm){n, v->I, (int)G, 0, 0}, g, blocked(k->p.w, G), x);
    for (int t = 0; t < k->T; t++)
        for (int b = 0; b < v->B; b++)
            unpack_row(k->w.x + (t * v->rows + b) * PANEL, v->in, room,
                       k->c->gin[0] + place(k, b, t) * (size_t)v->in);
}

/* x [4H,n] in blocks to [4h,n]. */
static void put_gradient(const lstm *v, const float *x, int n, float *to)
{
    for (int q = 0; to && q < GATES; q++)
        for (int j = 0; j < v->h; j++, to += n)
            unpack_row(x + (q * v->H + j) * PANEL, n, GATES * (size_t)v->H, to);
}

static void put_bias(const lstm *v, const double *sum, float *to)
{
    for (int q = 0; to && q < GATES; q++)
        for (int j = 0; j < v->h; j++) *to++ = (float)sum[q * v->H + j];
}

static pf_status backward(void *ctx, const pf_call *c)
{
    const lstm *v = ctx;
    chunk k;
    begin(v, c, &k);
    memset(k.w.dh, 0, state_floats(v) * sizeof(float));
    memset(k.w.dc, 0, state_floats(v) * sizeof(float));
    memset(k.w.db, 0, GATES * (size_t)v->H * sizeof(double));
    for (int i = v->chunks - 1; i >= 0; i--) {
        start(&k, i);
        float *cells = cells_of(&k, i);
        for (int t = k.T - 1; t >= 0; t--) {
            add_gout(&k, t);
            step_backward(&k, t, cells);
            if (k.first + t > 0) pass_state(&k, t);
        }
        maps_back(&k, i < v->chunks - 1);
    }
    put_gradient(v, k.w.dw, v->in, c->gparam[0]);
    put_gradient(v, k.w.du, v->h, c->gparam[1]);
    put_bias(v, k.w.db, c->gparam[2]);
    put_bias(v, k.w.db, c->gparam[3]);
    return PF_OK;
}

const pf_row pf_fused_lstm = {
    .backend = "fused",
    .saved = saved,
    PF_ROW_PREPARED,
};
