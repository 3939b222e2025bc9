/* spoil_checkpoint IN OUT: a checkpoint whose checksums are right and one parameter is NaN. */
#include <probflow/store.h>

#include <math.h>

static pf_status spoil(const char *in, const char *out)
{
    pf_checkpoint c;
    PF_TRY(pf_checkpoint_read(in, 1, &c));
    size_t at = c.views[c.n_views / 2].offset;
    c.params[at] = NAN;
    if (c.ema) c.ema[at] = NAN;
    pf_status st = pf_checkpoint_write(out, &c);
    pf_checkpoint_free(&c);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    if (!spoil(argv[1], argv[2])) return 0;
    pf_error_print(stderr);
    return 1;
}
