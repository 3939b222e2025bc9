/* Where the values, gradients and working space of a plan live.
 *
 * Offset assignment over lifetime intervals: pieces are placed from the largest to the smallest,
 * each in the lowest gap that no piece alive at a common moment occupies ("greedy by size").
 * The bound no layout can beat is the largest sum of the pieces alive at one moment; networks of
 * the U-Net kind come within a few percent of it. */
#include "nn/plan_impl.h"

enum { ALIGN_FLOATS = 16 };

static size_t rounded(size_t floats)
{
    return (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static int meets(const pf_piece *a, const pf_piece *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Larger first; equal sizes in order of number, so that a plan is always the same. */
static int goes_before(const pf_piece *piece, int a, int b)
{
    if (piece[a].floats != piece[b].floats) return piece[a].floats > piece[b].floats;
    return a < b;
}

static void sort_by_size(const pf_piece *piece, int n, int *order)
{
    for (int gap = n / 2; gap > 0; gap /= 2)
        for (int i = gap; i < n; i++) {
            int x = order[i], j = i;
            for (; j >= gap && goes_before(piece, x, order[j - gap]); j -= gap)
                order[j] = order[j - gap];
            order[j] = x;
        }
}

/* Lowest offset at which piece p fits among the placed ones (sorted by offset). */
static size_t lowest_gap(const pf_piece *piece, const int *placed, int n, const pf_piece *p)
{
    size_t at = 0, want = rounded(p->floats);
    for (int i = 0; i < n; i++) {
        const pf_piece *q = &piece[placed[i]];
        if (!meets(p, q)) continue;
        if (at + want <= q->offset) break;
        size_t end = q->offset + rounded(q->floats);
        if (end > at) at = end;
    }
    return at;
}

size_t pf_plan_place(pf_piece *piece, int n, int reuse, int *order)
{
    size_t total = 0;
    int *placed = order + n;
    for (int i = 0; i < n; i++) order[i] = i;
    if (reuse) sort_by_size(piece, n, order);
    for (int i = 0; i < n; i++) {
        pf_piece *p = &piece[order[i]];
        p->offset = reuse ? lowest_gap(piece, placed, i, p) : total;
        int j = i;
        for (; j > 0 && piece[placed[j - 1]].offset > p->offset; j--) placed[j] = placed[j - 1];
        placed[j] = order[i];
        size_t end = p->offset + rounded(p->floats);
        if (end > total) total = end;
    }
    return total;
}
