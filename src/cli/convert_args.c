/* Options of data and logp that say what becomes of the rows of a source. */
#include "cli/convert_args.h"

#include <stdio.h>
#include <string.h>

/* "N" or "HxW"; *w is 0 for N. */
static PF_MUST_USE pf_status parse_size(const char *flag, const char *text, int *h, int *w)
{
    enum { MOST = 4096 };
    int n = 0, ok = sscanf(text, "%4d%n", h, &n) == 1;
    *w = 0;
    text += n;
    if (ok && *text == 'x') {
        ok = sscanf(text + 1, "%4d%n", w, &n) == 1 && *w > 0;
        text += 1 + n;
    }
    if (!ok || *text || *h < 1 || *h > MOST || *w > MOST)
        return pf_usage_error(PF_WHERE, "%s wants N or HxW, whole numbers from 1 to %d", flag,
                              MOST);
    return PF_OK;
}

/* "threshold", or "drawn", "drawn:SEED", "drawn:SEED:COPIES". */
static PF_MUST_USE pf_status parse_binarise(const char *text, pf_convert_opt *opt)
{
    long seed = 0, copies = 1;
    int end = 0, n = sscanf(text, "drawn:%9ld%n:%4ld%n", &seed, &end, &copies, &end);
    int drawn = !strcmp(text, "drawn") || (n > 0 && !text[end]);
    if ((!drawn && strcmp(text, "threshold")) || seed < 0 || copies < 1)
        return pf_usage_error(PF_WHERE,
                              "--binarise: '%s' is not threshold, drawn, drawn:SEED or "
                              "drawn:SEED:COPIES, whole numbers from 0 and from 1",
                              text);
    opt->binarise = drawn ? PF_BINARISE_DRAWN : PF_BINARISE_THRESHOLD;
    opt->seed = seed;
    opt->copies = (int)copies;
    return PF_OK;
}

pf_status pf_convert_args_parse(const pf_convert_args *a, pf_convert_opt *opt)
{
    *opt = (pf_convert_opt){.label = a->label, .condition = a->condition};
    long shrink = 1, levels = 0;
    if (a->grey && a->rgb)
        return pf_usage_error(PF_WHERE, "--grey and --rgb exclude each other");
    opt->channels = a->grey ? 1 : a->rgb ? 3 : 0;
    if (a->alpha && strcmp(a->alpha, "drop"))
        return pf_usage_error(PF_WHERE, "--alpha: '%s' is not drop", a->alpha);
    opt->drop_alpha = a->alpha != NULL;
    if (a->crop) PF_TRY(parse_size("--crop", a->crop, &opt->crop_h, &opt->crop_w));
    if (!opt->crop_w) opt->crop_w = opt->crop_h;
    if (a->resize) PF_TRY(parse_size("--resize", a->resize, &opt->resize_h, &opt->resize_w));
    if (a->shrink) PF_TRY(pf_arg_int("--shrink", a->shrink, 1, 4096, &shrink));
    opt->shrink = (int)shrink;
    if (a->levels) PF_TRY(pf_arg_int("--levels", a->levels, 2, 256, &levels));
    opt->levels = (int)levels;
    if (a->binarise) PF_TRY(parse_binarise(a->binarise, opt));
    return PF_OK;
}

int pf_convert_args_given(const pf_convert_args *a)
{
    return a->alpha || a->crop || a->resize || a->shrink || a->binarise || a->levels ||
           a->label || a->n_condition || a->grey || a->rgb;
}
