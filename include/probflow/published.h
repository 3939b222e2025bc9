/* Published networks: their options and parameters by their own names. */
#ifndef PROBFLOW_PUBLISHED_H
#define PROBFLOW_PUBLISHED_H

#include <probflow/model.h>

/* The noise levels that a network of NCSN or NCSNv2 is made for, on its authors' scale. */
typedef struct pf_published_levels {
    int n;               /* 0: there are none */
    double first, last;  /* standard deviations; 0: the description does not say */
    int uniform;         /* 1: equally spaced; 0: geometric */
    int rescaled, logit; /* 1: their images are not in [0,1] but in [-1,1], or are logits */
} pf_published_levels;

/* An argmax flow. */
typedef struct pf_published_flow {
    int steps;   /* 0: it is none */
    int couples; /* 1: of couplings, whose encoder is a perceptron; 0: autoregressive, an LSTM */
    int mixtures, turns; /* logistics; between two steps rows turn, */
    int mixes,
        norms; /* channels stay (0), mix (1) or are shuffled (2), and have places and scales of their own */
    int context, layers, width;       /* of the encoder */
    int encoder_steps, encoder_width; /* of its own flow */
} pf_published_flow;

typedef struct pf_published {
    pf_model model;
    pf_shape
        shape; /* of an image or a row; before the call what is known of it, h = 0: nothing */
    pf_shape out; /* of the output; c = 0: the description does not say */
    int classes;  /* of an image's label, which the network is told or tells; 0: none */
    pf_published_levels levels;
    int symbols; /* that tokens are of; 0: it is no network of tokens */
    int mask;    /* 1: the network knows one symbol more, the mask, and has a logit for it */
    int told; /* 1: its method tells it the noise sigma; 0: of a network with a mask, zeros */
    pf_published_flow flow;
    int steps; /* of its chain, whose index i it is told as 4000 i/steps; 0: it has none */
} pf_published;

/* A network from the JSON of its authors' options.  The key "network" says whose they are:
 *   absent                                    DDPM, DDPM++ and NCSN++: nf, ch_mult, blocks, attn, size, ch, dropout, fir,
 *                                             skip_rescale, init_scale, embedding, fourier_scale,
 *                                             progressive_input, progressive, resblock, groups, centered, unit,
 *                                             scale_by_sigma (of a positional embedding: by the noise itself)
 *   improved_diffusion.unet.UNetModel,        the arguments of the constructor: model_channels, channel_mult,
 *   guided_diffusion.unet.UNetModel,          attention_resolutions (factors), ..., and image_size, where the
 *   guided_diffusion.unet.EncoderUNetModel    shape is not known before; a section "fixed" is a remark
 *   ncsn.models.cond_refinenet_dilated.       what the constructor reads of its configuration: channels, ngf, num_classes,
 *   CondRefineNetDilated,                     and image_size as above; of NCSNv2 sigma_begin, sigma_end and sigma_dist,
 *   ncsnv2.models.ncsnv2.NCSNv2,              too.  Their output is the score on their scale, images in [0,1]: twice
 *   ....NCSNv2Deeper, ....NCSNv2Deepest       what model refinenet gives for 2x - 1 and sigma 2 sigma
 *   multinomial_diffusion.text_diffusion.     the arguments of the constructor: input_dim, output_dim, dim, depth, n_blocks,
 *   layers.transformer.                       max_seq_len, num_timesteps, heads, ...; it is the network before its
 *   LinearAttentionTransformerEmbedding       factor rezero.alpha
 *   mdlm.models.dit.DIT                       vocab_size, and of the section model of its configuration hidden_size, n_heads,
 *                                             cond_dim, n_blocks, length, ..., and time_conditioning
 *   argmax_flows.model.CategoricalNF.         the arguments of the constructor: c_in, c_out, hidden_size, max_seq_len,
 *   networks.autoregressive_layers.           num_layers, num_mixtures, ...; the network of one step of the flow, whose
 *   AutoregressiveLSTMModel                   output are the parameters of its mixtures
 *   argmax_flows.model.ar.flow.ArgmaxARFlow,  the arguments of the constructor: data_shape, num_classes, num_steps,
 *   ....coupling.flow.ArgmaxCouplingFlow      encoder_steps, context_size, lstm_size, ...; the whole flow.  Steps of the encoder's own
 *                                             that are splines, and other base densities, are refused
 * Keys that are not given keep their authors' defaults; sizes and channels are required.
 * Fails   PF_EFORMAT (not JSON, a required key is missing), PF_EARG (unknown key or network, value out of range).
 * Test    published_options_name_what_they_do_not_know, networks_of_score_sde_have_their_published_modules, constructor_arguments_become_options,
 *         refinenets_are_read_from_their_configuration, transformers_are_read_from_their_arguments,
 *         recurrent_networks_are_read_from_their_arguments, flows_are_read_from_their_arguments */
PF_MUST_USE pf_status pf_published_options(const char *json, pf_published *out);

/* Named arrays as they lie in a file. */
typedef struct pf_named {
    const char *origin; /* file, for messages */
    int n;
    const pf_param *views;
    const float *flat;
} pf_named;

/* What names of parameters tell of a network beyond its options: with rezero.alpha among them, multinomial diffusion's
 * transformer has that factor.  Test  published_transformers_are_matched */
PF_MUST_USE pf_status pf_published_seen(pf_published *p, const pf_named *from);

/* Fills params by name, at the offsets of the network's views [n].  Prefixes of published state dictionaries (module.,
 * backbone., _denoise_fn. and _denoise_fn.transformer.) are understood, and buffers that follow from options (sigmas,
 * rotary_emb.inv_freq, the tables and histories of multinomial diffusion, masks and orders of argmax flows) are passed over.
 * Fails PF_EFORMAT when a view of the network is missing or has another shape, or when a view of
 * the file belongs to nothing. */
PF_MUST_USE pf_status pf_match_params(int n, const pf_param *views, const pf_named *from,
                                      float *params);

#endif
