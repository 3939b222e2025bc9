/* The table of models.  To add one: write its file after mlp.c (networks) or gaussian.c (closed
 * forms), add its row here and its name to meson.build. */
#include <probflow/model.h>
#include <string.h>

extern const pf_model_ops pf_model_ddpmpp, pf_model_unet, pf_model_encoder, pf_model_refinenet,
    pf_model_transformer, pf_model_lstm, pf_model_multiscale, pf_model_mlp, pf_model_gaussian,
    pf_model_mixture;

const pf_model_ops *const pf_models[] = {&pf_model_ddpmpp,
                                         &pf_model_unet,
                                         &pf_model_encoder,
                                         &pf_model_refinenet,
                                         &pf_model_transformer,
                                         &pf_model_lstm,
                                         &pf_model_multiscale,
                                         &pf_model_mlp,
                                         &pf_model_gaussian,
                                         &pf_model_mixture,
                                         NULL};

pf_status pf_model_init(const char *name, pf_model *out)
{
    const void *row;
    PF_TRY(pf_row_find(pf_models, "model", name, &row));
    memset(out, 0, sizeof *out);
    out->ops = row;
    PF_ASSERT(out->ops->size <= PF_MODEL_BYTES);
    pf_opt_defaults(out->ops->opts, &out->opt);
    return PF_OK;
}
