/* Softmax of the rows or columns of attention, and its derivative. */
#include "nn/kernels/fused/softmax.h"
#include "nn/kernels/fused/vec.h"

/* The largest of x[n], sixteen candidates at a time: clang does not vectorise a max reduction. */
PF_INLINE float largest(int n, const float *x)
{
    enum { lanes = 16 };
    float top = x[0], lane[lanes];
    for (int l = 0; l < lanes; l++) lane[l] = top;
    int i = 0;
    for (; i + lanes <= n; i += lanes) {
        PF_SIMD
        for (int l = 0; l < lanes; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    }
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int l = 0; l < lanes; l++) top = lane[l] > top ? lane[l] : top;
    return top;
}

static void forward(int rows, int n, float scale, float *p)
{
    for (int r = 0; r < rows; r++, p += n) {
        float top = largest(n, p), sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < n; i++) {
            p[i] = pf_exp((p[i] - top) * scale);
            sum += p[i];
        }
        float inverse = 1.0f / sum;
        PF_SIMD
        for (int i = 0; i < n; i++) p[i] *= inverse;
    }
}

static void backward(int rows, int n, float scale, const float *p, float *d)
{
    for (int r = 0; r < rows; r++, p += n, d += n) {
        float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
        for (int i = 0; i < n; i++) dot += p[i] * d[i];
        PF_SIMD
        for (int i = 0; i < n; i++) d[i] = p[i] * (d[i] - dot) * scale;
    }
}

static void columns(int rows, int n, float scale, const unsigned char *there, float *p,
                    float *sums)
{
    float *top = sums, *sum = sums + n;
    for (int i = 0; i < n; i++) {
        top[i] = -3.0e38f;
        sum[i] = 0.0f;
    }
    for (int r = 0; r < rows; r++) {
        const float *x = p + (size_t)r * (size_t)n;
        if (!there[r]) continue;
        PF_SIMD
        for (int i = 0; i < n; i++) top[i] = x[i] > top[i] ? x[i] : top[i];
    }
    for (int r = 0; r < rows; r++) {
        float *x = p + (size_t)r * (size_t)n;
        if (!there[r]) {
            memset(x, 0, (size_t)n * sizeof *x);
            continue;
        }
        PF_SIMD
        for (int i = 0; i < n; i++) {
            x[i] = pf_exp((x[i] - top[i]) * scale);
            sum[i] += x[i];
        }
    }
    for (int i = 0; i < n; i++) sum[i] = sum[i] > 0.0f ? 1.0f / sum[i] : 0.0f;
    for (int r = 0; r < rows; r++) {
        float *x = p + (size_t)r * (size_t)n;
        PF_SIMD
        for (int i = 0; i < n; i++) x[i] *= sum[i];
    }
}

static void columns_back(int rows, int n, float scale, const float *p, float *d, float *sums)
{
    for (int i = 0; i < n; i++) sums[i] = 0.0f;
    for (int r = 0; r < rows; r++) {
        const float *x = p + (size_t)r * (size_t)n, *g = d + (size_t)r * (size_t)n;
        PF_SIMD
        for (int i = 0; i < n; i++) sums[i] += x[i] * g[i];
    }
    for (int r = 0; r < rows; r++) {
        const float *x = p + (size_t)r * (size_t)n;
        float *g = d + (size_t)r * (size_t)n;
        PF_SIMD
        for (int i = 0; i < n; i++) g[i] = x[i] * (g[i] - sums[i]) * scale;
    }
}

const pf_softmax_ops pf_softmax = {forward, backward, columns, columns_back};
