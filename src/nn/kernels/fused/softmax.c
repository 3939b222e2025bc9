/* Softmax of the rows of attention, and its derivative. */
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

const pf_softmax_ops pf_softmax = {forward, backward};
