/* The table of models.  To add one: write its file after mlp.c (networks) or gaussian.c (closed
 * forms), add its row here and its name to meson.build. */
#include <probflow/model.h>
#include <string.h>

extern const pf_model_ops pf_model_ddpmpp, pf_model_mlp, pf_model_gaussian, pf_model_mixture;

const pf_model_ops *const pf_models[] = {&pf_model_ddpmpp, &pf_model_mlp, &pf_model_gaussian,
                                         &pf_model_mixture, NULL};

pf_status pf_model_init(const char *name, pf_model *out)
{
    const char *names[sizeof pf_models / sizeof *pf_models] = {0};
    for (int i = 0; pf_models[i]; i++) {
        names[i] = pf_models[i]->name;
        if (strcmp(name, names[i])) continue;
        PF_ASSERT(pf_models[i]->size <= PF_MODEL_BYTES);
        memset(out, 0, sizeof *out);
        out->ops = pf_models[i];
        pf_opt_defaults(out->ops->opts, &out->opt);
        return PF_OK;
    }
    return pf_trail(pf_unknown("model", name, names), PF_WHERE);
}
