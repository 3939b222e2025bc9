/* What --set takes: every key of a configuration, from the tables that read it. */
#include "cli/cli.h"

#include <probflow/estimand.h>
#include <probflow/experiment.h>
#include <probflow/objective.h>

static void plugin(const char *section, const char *name, const char *help, const pf_opt *opts,
                   FILE *f)
{
    fprintf(f, "\n%s.name=%s: %s\n", section, name, help);
    pf_opt_help(opts, section, f);
}

void pf_print_options(FILE *f)
{
    fprintf(f, "\nKeys of a configuration and of --set [default; range]:\n\n");
    pf_opt_help(pf_run_opts, "", f);
    pf_opt_help(pf_data_opts, "data", f);
    pf_opt_help(pf_train_opts, "train", f);
    pf_opt_help(pf_likelihood_opts, "likelihood", f);
    for (int i = 0; pf_estimands[i]; i++)
        fprintf(f, "  likelihood.estimand=%s: %s\n", pf_estimands[i]->name,
                pf_estimands[i]->help);
    for (int i = 0; pf_methods[i]; i++)
        plugin("method", pf_methods[i]->name, pf_methods[i]->help, pf_methods[i]->opts, f);
    fprintf(f, "\nSections of method sde:\n\n");
    pf_opt_help(pf_objective_opts, "objective", f);
    for (int i = 0; pf_sdes[i]; i++)
        plugin("sde", pf_sdes[i]->name, pf_sdes[i]->help, pf_sdes[i]->opts, f);
    for (int i = 0; pf_models[i]; i++)
        plugin("model", pf_models[i]->name, pf_models[i]->help, pf_models[i]->opts, f);
    fprintf(f, "\n");
    for (int i = 0; pf_samplers[i]; i++)
        fprintf(f, "sample.name=%s: %s\n", pf_samplers[i]->name, pf_samplers[i]->help);
    pf_opt_help(pf_sample_opts, "sample", f);
}
