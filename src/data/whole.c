/* Formats that are parsed from the whole file in memory. */
#include <probflow/memory.h>
#include "data/format.h"

pf_status pf_read_whole(const pf_source *s, pf_parse *parse, pf_table *t)
{
    unsigned char *b = NULL;
    size_t n = 0;
    PF_TRY(pf_slurp(s->path, &b, &n));
    pf_status st = parse(s->path, b, n, t);
    pf_free(b);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
