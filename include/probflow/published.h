/* Published networks: their options and parameters by their own names. */
#ifndef PROBFLOW_PUBLISHED_H
#define PROBFLOW_PUBLISHED_H

#include <probflow/model.h>

/* Options of a DDPM++/NCSN++ network from JSON: nf, ch_mult, blocks, attn, size, ch, dropout, fir,
 * skip_rescale, init_scale, embedding, fourier_scale, progressive_input, centered,
 * scale_by_sigma.  Keys that are not given keep the defaults; size and ch are required.
 * Fails PF_EFORMAT (not JSON), PF_EARG (unknown key, value out of range). */
PF_MUST_USE pf_status pf_published_options(const char *json, pf_model *model, pf_shape *shape);

/* Named arrays as they lie in a file. */
typedef struct pf_named {
    const char *origin; /* file, for messages */
    int n;
    const pf_param *views;
    const float *flat;
} pf_named;

/* Fills params by name, at the offsets of the network's views [n].  The prefix "module." and the buffer "sigmas" of published
 * state dictionaries are understood.
 * Fails PF_EFORMAT when a view of the network is missing or has another shape, or when a view of
 * the file belongs to nothing. */
PF_MUST_USE pf_status pf_match_params(int n, const pf_param *views, const pf_named *from,
                                      float *params);

#endif
