/* Score functions of any kind. */
#include <probflow/score.h>

void pf_score_free(pf_score *s)
{
    if (!s) return;
    if (s->free && s->self) s->free(s->self);
    *s = (pf_score){0};
}
