/* The same command on all ranks: a launcher may start another one on each. */
#include "cli/common.h"
#include "revision.h"

#include <string.h>

/* One piece an option with its value, in one form; what only says how much is printed is left out. */
static PF_MUST_USE pf_status add_arguments(pf_text *t, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i], *eq = strchr(a, '=');
        if (!strcmp(a, "--quiet") || !strcmp(a, "--trail")) continue;
        if (a[0] != '-' || !a[1]) PF_TRY(pf_text_add(t, "%s", a));
        else if (eq) PF_TRY(pf_text_add(t, "%.*s %s", (int)(eq - a), a, eq + 1));
        else if (i + 1 < argc && argv[i + 1][0] != '-')
            PF_TRY(pf_text_add(t, "%s %s", a, argv[++i]));
        else PF_TRY(pf_text_add(t, "%s", a));
        PF_TRY(pf_text_add(t, "%c", 0));
    }
    return PF_OK;
}

pf_status pf_ranks_same_command(pf_comm *c, int argc, char **argv)
{
    /* The build comes first: another one may say the rest in another way. */
    pf_text build = {0}, command = {0};
    pf_status st =
        pf_text_add(&build, "probflow %s (%s, %s)", PF_VERSION, PF_REVISION, __VERSION__);
    if (!st) st = pf_text_add(&build, "%c", 0);
    PF_TRY(pf_ranks_same_pieces(c, "is", &build, st));
    st = add_arguments(&command, argc, argv);
    PF_TRY(pf_ranks_same_pieces(c, "was given", &command, st));
    return PF_OK;
}
