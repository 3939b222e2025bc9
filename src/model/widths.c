#include "model/widths.h"

#include <stdio.h>

int pf_widths_have(const pf_ints *attention, int width)
{
    for (int i = 0; i < attention->n; i++)
        if (attention->v[i] == width) return 1;
    return 0;
}

static int on_a_level(int levels, int width, int w)
{
    for (int i = 0; i < levels; i++)
        if (w == width >> i) return 1;
    return 0;
}

/* "8, 4 and 2" */
static void list_widths(int levels, int width, char *buf, size_t n)
{
    size_t at = 0;
    int last = levels - 1;
    buf[0] = 0;
    for (int i = 0; i <= last && at < n; i++)
        at += (size_t)snprintf(buf + at, n - at, "%s%d",
                               i == 0      ? ""
                               : i == last ? " and "
                                           : ", ",
                               width >> i);
}

pf_status pf_widths_keep(pf_ints *attention, int levels, int width, int given)
{
    pf_ints kept = {0};
    char widths[128];
    if (levels == 0) return PF_OK; /* refused by the network's build */
    for (int i = 0; i < attention->n; i++) {
        int w = attention->v[i];
        if (on_a_level(levels, width, w)) {
            kept.v[kept.n++] = w;
            continue;
        }
        list_widths(levels, width, widths, sizeof widths);
        PF_REQUIRE(!given, PF_EARG, "model.attention has %d, the width%s %s", w,
                   levels == 1 ? " is" : "s are", widths);
    }
    *attention = kept;
    return PF_OK;
}
