/* A shard of the training split, in memory, and its batches.
 *
 *     position p = step B + b,  epoch e = p / n,  row = permutation_e(p mod n)
 *     x = 2 (k + u) / levels - 1   with u uniform in [0,1), or 2 k / (levels - 1) - 1
 *
 * Every draw is a function of (seed, row in the dataset, epoch): neither ranks nor batch sizes
 * change it. */
#include <probflow/data.h>
#include <probflow/memory.h>
#include <string.h>

struct pf_shard {
    int64_t first, n; /* rows of the dataset */
    int levels, shard;
    size_t dim;
    pf_shape shape;
    pf_data_opt opt;
    uint64_t seed;
    uint8_t *k; /* [n,D] images */
    double *x;  /* [n,D] tokens and continuous */
};

/* clang-format off */
const pf_opt pf_data_opts[] = {
    PF_OPT_STR(pf_data_opt, path, "", "dataset file"),
    PF_OPT(pf_data_opt, uniform_dequantisation, PF_BOOL, 1, 0, 1, "train on x = 2 (k + u)/levels - 1, u uniform; else on the grid"),
    PF_OPT(pf_data_opt, flip, PF_BOOL, 0, 0, 1, "random horizontal flips in training"),
    PF_OPT(pf_data_opt, limit, PF_I64, 0, 0, 1e15, "use the first images only; 0: all"),
    {0}
};
/* clang-format on */

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
    s->levels = a->space.levels;
    s->shape = a->space.shape;
    s->dim = (size_t)a->space.shape.h * (size_t)a->space.shape.w * (size_t)a->space.shape.c;
    PF_REQUIRE(a->space.kind == PF_REAL || s->levels >= 2, PF_EFORMAT,
               "the dataset has %d levels, want at least 2", s->levels);
    size_t values = (size_t)s->n * s->dim;
    if (a->space.kind == PF_LEVELS) {
        s->k = pf_zalloc(values);
        PF_REQUIRE(s->k, PF_EMEM, "no memory for %lld images", (long long)s->n);
        PF_TRY(pf_dataset_images(d, s->first, s->n, s->k));
    } else {
        s->x = pf_zalloc(values * sizeof *s->x);
        PF_REQUIRE(s->x, PF_EMEM, "no memory for %lld rows", (long long)s->n);
        PF_TRY(pf_dataset_x(d, s->first, s->n, s->x));
    }
    return PF_OK;
}

/* Levels 0 .. levels-1 to model scale.  x holds u on entry when dequantising. */
static void scale(const pf_shard *s, const uint8_t *k, const double *v, float *x)
{
    double grid = 2.0 / (s->levels - 1), bin = 2.0 / s->levels;
    for (size_t i = 0; i < s->dim; i++) {
        double level = k ? k[i] : v[i];
        x[i] = (float)(s->opt.uniform_dequantisation ? (level + x[i]) * bin - 1.0
                                                     : level * grid - 1.0);
    }
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

static void sample(const pf_shard *s, int64_t position, float *x)
{
    uint32_t epoch = (uint32_t)(position / s->n), coin = 0;
    pf_draw shuffle = {s->seed, PF_STREAM_SHUFFLE, (uint64_t)s->shard, epoch};
    uint64_t row = pf_draw_permute(&shuffle, (uint64_t)s->n, (uint64_t)(position % s->n));
    uint64_t global = (uint64_t)s->first + row;
    const double *v = s->x ? s->x + row * s->dim : NULL;
    if (s->levels == 0) {
        for (size_t i = 0; i < s->dim; i++) x[i] = (float)v[i];
        return;
    }
    if (s->opt.uniform_dequantisation)
        pf_draw_uniform(&(pf_draw){s->seed, PF_STREAM_DEQUANT, global, epoch}, 0, s->dim, x);
    scale(s, s->k ? s->k + row * s->dim : NULL, v, x);
    if (!s->opt.flip || !s->k) return;
    pf_draw_bits(&(pf_draw){s->seed, PF_STREAM_FLIP, global, epoch}, 0, 1, &coin);
    if (coin >> 31) flip(s->shape, x);
}

void pf_shard_free(pf_shard *s)
{
    if (!s) return;
    pf_free(s->k);
    pf_free(s->x);
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
    PF_REQUIRE(channels == s->shape.c && n > 0 && s->levels % n == 0, PF_EARG,
               "%d channels at %d levels, asked for %d at %d, which must divide them",
               s->shape.c, s->levels, channels, n);
    int width = s->levels / n;
    for (size_t i = 0; i < (size_t)s->n * s->dim; i++)
        count[i % (size_t)channels * (size_t)n + (size_t)(s->k[i] / width)]++;
    return PF_OK;
}

void pf_shard_batch(const pf_shard *s, int64_t step, int B, float *x)
{
    for (int b = 0; b < B; b++) sample(s, step * B + b, x + (size_t)b * s->dim);
}
