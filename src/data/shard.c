/* A shard of the training split, in memory, and its batches.
 *
 *     position p = step B + b,  epoch e = p / n,  row = permutation_e(p mod n)
 *     x = level k on the grid of the options (space.h); tokens are their numbers
 *
 * Every draw is a function of (seed, row in the dataset, epoch): neither ranks nor batch sizes
 * change it. */
#include <probflow/data.h>
#include <probflow/memory.h>
#include <string.h>

struct pf_shard {
    int64_t first, n; /* rows of the dataset */
    int shard;
    size_t dim;
    pf_space space;
    pf_data_opt opt;
    uint64_t seed;
    uint8_t *k;        /* [n,D] images */
    double *x;         /* [n,D] continuous */
    void *token;       /* [n,L] of pf_token_bytes */
    int32_t *length;   /* [n] of rows of tokens */
    int32_t *label;    /* [n] where they are kept */
    double *condition; /* [n,C] where they are kept */
};

static const char *const grid_was[] = {"true", "false", NULL};

/* clang-format off */
const pf_opt pf_data_opts[] = {
    PF_OPT_STR(pf_data_opt, path, "", "dataset file"),
    PF_OPT_ENUM_RENAMED(pf_data_opt, grid, PF_GRID_DEQUANTISED, pf_grid_words, "uniform_dequantisation", grid_was, "where level k of L lies in training: dequantised 2 (k + u)/L - 1, u uniform; published 2 k/(L - 1) - 1; centres 2 (k + 1/2)/L - 1"),
    PF_OPT(pf_data_opt, flip, PF_BOOL, 0, 0, 1, "random horizontal flips in training"),
    PF_OPT(pf_data_opt, limit, PF_I64, 0, 0, 1e15, "use the first images only; 0: all"),
    {0}
};
/* clang-format on */

static PF_MUST_USE pf_status open_tokens(pf_shard *s, pf_dataset *d)
{
    size_t n = (size_t)s->n;
    s->token = pf_zalloc(n * s->dim * pf_token_bytes(s->space.levels));
    s->length = pf_zalloc(n * sizeof *s->length);
    PF_REQUIRE(s->token && s->length, PF_EMEM, "no memory for %zu rows of tokens", n);
    PF_TRY(pf_dataset_tokens(d, s->first, s->n, s->token));
    PF_TRY(pf_dataset_lengths(d, s->first, s->n, s->length));
    return PF_OK;
}

static PF_MUST_USE pf_status open_into(pf_shard *s, pf_dataset *d, int shards)
{
    const pf_dataset_info *a = pf_dataset_about(d);
    int64_t total = s->opt.limit > 0 && s->opt.limit < a->n ? s->opt.limit : a->n;
    PF_REQUIRE(shards > 0 && s->shard >= 0 && s->shard < shards, PF_EARG, "shard %d of %d",
               s->shard, shards);
    s->first = (int64_t)((__int128)total * s->shard / shards);
    s->n = (int64_t)((__int128)total * (s->shard + 1) / shards) - s->first;
    PF_REQUIRE(s->n > 0, PF_EARG, "%lld training images are too few for %d shards",
               (long long)total, shards);
    s->space = a->space;
    s->dim = (size_t)pf_space_dim(&s->space);
    PF_REQUIRE(a->space.kind == PF_REAL || a->space.levels >= 2, PF_EFORMAT,
               "the dataset has %d levels, want at least 2", a->space.levels);
    size_t values = (size_t)s->n * s->dim;
    if (a->space.kind == PF_LEVELS) {
        s->k = pf_zalloc(values);
        PF_REQUIRE(s->k, PF_EMEM, "no memory for %lld images", (long long)s->n);
        PF_TRY(pf_dataset_images(d, s->first, s->n, s->k));
    } else if (a->space.kind == PF_TOKENS) {
        PF_TRY(open_tokens(s, d));
    } else {
        s->x = pf_zalloc(values * sizeof *s->x);
        PF_REQUIRE(s->x, PF_EMEM, "no memory for %lld rows", (long long)s->n);
        PF_TRY(pf_dataset_x(d, s->first, s->n, s->x));
    }
    return PF_OK;
}

static void flip(pf_shape s, float *x)
{
    for (int row = 0; row < s.h; row++, x += s.w * s.c)
        for (int l = 0, r = s.w - 1; l < r; l++, r--)
            for (int c = 0; c < s.c; c++) {
                float keep = x[l * s.c + c];
                x[l * s.c + c] = x[r * s.c + c];
                x[r * s.c + c] = keep;
            }
}

/* The row of this shard that stands at a position. */
static uint64_t row_at(const pf_shard *s, int64_t position)
{
    pf_draw shuffle = {s->seed, PF_STREAM_SHUFFLE, (uint64_t)s->shard,
                       (uint32_t)(position / s->n)};
    return pf_draw_permute(&shuffle, (uint64_t)s->n, (uint64_t)(position % s->n));
}

static void sample_tokens(const pf_shard *s, uint64_t row, float *x)
{
    size_t n = (size_t)s->length[row], at = row * s->dim, i = 0;
    size_t bytes = pf_token_bytes(s->space.levels);
    const uint8_t *k8 = s->token;
    const uint16_t *k16 = s->token;
    const int32_t *k32 = s->token;
    if (bytes == 1)
        for (; i < n; i++) x[i] = (float)k8[at + i];
    else if (bytes == 2)
        for (; i < n; i++) x[i] = (float)k16[at + i];
    else
        for (; i < n; i++) x[i] = (float)k32[at + i];
    for (; i < s->dim; i++) x[i] = (float)PF_NO_TOKEN;
}

static void sample(const pf_shard *s, int64_t position, float *x)
{
    uint32_t epoch = (uint32_t)(position / s->n), coin = 0;
    uint64_t row = row_at(s, position);
    uint64_t global = (uint64_t)s->first + row;
    const double *v = s->x ? s->x + row * s->dim : NULL;
    for (size_t i = 0; v && i < s->dim; i++) x[i] = (float)v[i];
    if (v) return;
    if (s->token) {
        sample_tokens(s, row, x);
        return;
    }
    if (s->opt.grid == PF_GRID_DEQUANTISED)
        pf_draw_uniform(&(pf_draw){s->seed, PF_STREAM_DEQUANT, global, epoch}, 0, s->dim, x);
    pf_to_model_f32(&s->space, s->opt.grid, s->dim, s->k + row * s->dim, x, x);
    if (!s->opt.flip) return;
    pf_draw_bits(&(pf_draw){s->seed, PF_STREAM_FLIP, global, epoch}, 0, 1, &coin);
    if (coin >> 31) flip(s->space.shape, x);
}

void pf_shard_free(pf_shard *s)
{
    if (!s) return;
    pf_free(s->k);
    pf_free(s->x);
    pf_free(s->token);
    pf_free(s->length);
    pf_free(s->label);
    pf_free(s->condition);
    pf_free(s);
}

pf_status pf_shard_open(pf_dataset *d, const pf_data_opt *opt, int shard, int shards,
                        uint64_t seed, pf_shard **out)
{
    pf_shard *s = pf_zalloc(sizeof *s);
    PF_REQUIRE(s, PF_EMEM, "no memory for a shard");
    s->opt = *opt;
    s->seed = seed;
    s->shard = shard;
    pf_status st = open_into(s, d, shards);
    if (st) {
        pf_shard_free(s);
        return pf_trail(st, PF_WHERE);
    }
    *out = s;
    return PF_OK;
}

int64_t pf_shard_size(const pf_shard *s)
{
    return s->n;
}

pf_status pf_shard_count_levels(const pf_shard *s, int channels, int n, int64_t *count)
{
    PF_REQUIRE(s->k, PF_EARG, "only the levels of images can be counted");
    PF_REQUIRE(channels == s->space.shape.c && n > 0 && s->space.levels % n == 0, PF_EARG,
               "%d channels at %d levels, asked for %d at %d, which must divide them",
               s->space.shape.c, s->space.levels, channels, n);
    PF_REQUIRE(s->opt.grid == PF_GRID_DEQUANTISED || n == s->space.levels, PF_EARG,
               "data.grid is %s, so the data lie on %d points, not in the %d bins of "
               "model.levels; set model.levels=%d",
               pf_grid_words[s->opt.grid], s->space.levels, n, s->space.levels);
    int width = s->space.levels / n;
    for (size_t i = 0; i < (size_t)s->n * s->dim; i++)
        count[i % (size_t)channels * (size_t)n + (size_t)(s->k[i] / width)]++;
    return PF_OK;
}

void pf_shard_batch(const pf_shard *s, int64_t step, int B, float *x)
{
    for (int b = 0; b < B; b++) sample(s, step * B + b, x + (size_t)b * s->dim);
}

pf_status pf_shard_keep(pf_shard *s, pf_dataset *d, int labels, int conditions)
{
    size_t n = (size_t)s->n, C = (size_t)s->space.conditions;
    if (labels) {
        s->label = pf_zalloc(n * sizeof *s->label);
        PF_REQUIRE(s->label, PF_EMEM, "no memory for %zu labels", n);
        PF_TRY(pf_dataset_labels(d, s->first, s->n, s->label));
    }
    if (conditions) {
        s->condition = pf_zalloc(n * C * sizeof *s->condition);
        PF_REQUIRE(s->condition, PF_EMEM, "no memory for the conditions of %zu rows", n);
        PF_TRY(pf_dataset_conditions(d, s->first, s->n, s->condition));
    }
    return PF_OK;
}

void pf_shard_given(const pf_shard *s, int64_t step, int B, int32_t *label, float *condition)
{
    size_t C = (size_t)s->space.conditions;
    for (int b = 0; b < B; b++) {
        uint64_t row = row_at(s, step * B + b);
        if (label) label[b] = s->label[row];
        if (condition)
            pf_conditions_known((int)C, 1, s->condition + row * C,
                                condition + (size_t)b * (C + 1));
    }
}

size_t pf_shard_given_bytes(const pf_shard *s)
{
    size_t n = (size_t)s->n, C = (size_t)s->space.conditions;
    return (s->label ? n * sizeof *s->label : 0) +
           (s->condition ? n * C * sizeof *s->condition : 0);
}
