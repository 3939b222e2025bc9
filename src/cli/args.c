/* Command-line arguments and the frame around collective commands. */
#include "cli/cli.h"

#include <probflow/isa.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/option.h>

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int usage_failed; /* read by main */
static int told;         /* the reason of the end is on stderr */
static int met;          /* the ranks have met, or tried to */
static struct {          /* what this rank was started with */
    const pf_command *command;
    int argc;
    char **argv;
} given;

int pf_usage_failed(void)
{
    return usage_failed;
}

void pf_args_given(const pf_command *c, int argc, char **argv)
{
    given.command = c;
    given.argc = argc;
    given.argv = argv;
}

void pf_tell_end(pf_status st)
{
    const pf_command *c = given.command;
    if (told++) return;
    if (st == PF_ESTOP) pf_log("%s", pf_error_message());
    else pf_error_print(stderr);
    if (usage_failed)
        fprintf(stderr, "usage: probflow %s %s\n", c ? c->name : "COMMAND",
                c ? c->usage : "...");
}

pf_status pf_usage_error(const char *where, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    usage_failed = 1;
    return pf_raise(PF_EARG, where, "%s", text);
}

static pf_status unknown_flag(const char *given, const pf_arg *flags)
{
    const char *names[PF_CLI_MAX] = {"--set", "--quiet", "--trail", "--help"};
    int n = 4;
    for (; flags && flags->flag && n < PF_CLI_MAX - 1; flags++) names[n++] = flags->flag;
    const char *near = pf_nearest(given, names);
    if (near)
        return pf_usage_error(PF_WHERE, "unknown option '%s'; did you mean '%s'?", given, near);
    return pf_usage_error(PF_WHERE, "unknown option '%s'", given);
}

static const pf_arg *find(const pf_arg *flags, const char *name, size_t n)
{
    for (; flags && flags->flag; flags++)
        if (strlen(flags->flag) == n && !strncmp(flags->flag, name, n)) return flags;
    return NULL;
}

/* One argument that starts with '-'; *i moves past a separate value. */
static pf_status parse_flag(int argc, char **argv, int *i, const pf_arg *flags, pf_args *out)
{
    const char *a = argv[*i], *eq = strchr(a, '=');
    size_t n = eq ? (size_t)(eq - a) : strlen(a);
    if (!strcmp(a, "--quiet")) {
        pf_log_setup(0);
        return PF_OK;
    }
    if (!strcmp(a, "--trail")) return PF_OK; /* main has read it */
    int is_set = n == 5 && !strncmp(a, "--set", 5);
    const pf_arg *f = is_set ? NULL : find(flags, a, n);
    if (!is_set && !f) return unknown_flag(a, flags);
    if (f && !f->value) {
        *f->n = 1;
        return PF_OK;
    }
    const char *value = eq ? eq + 1 : NULL;
    if (!value) {
        if (*i + 1 >= argc) return pf_usage_error(PF_WHERE, "%s needs a value", a);
        value = argv[++*i];
    }
    if (f && !f->n) {
        *f->value = value;
        return PF_OK;
    }
    const char **list = f ? f->value : out->sets;
    int *given = f ? f->n : &out->n_sets;
    if (*given == PF_CLI_MAX)
        return pf_usage_error(PF_WHERE, "more than %d %s", PF_CLI_MAX, f ? f->flag : "--set");
    list[(*given)++] = value;
    return PF_OK;
}

pf_status pf_args_parse(int argc, char **argv, const pf_arg *flags, int min_positional,
                        int max_positional, pf_args *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1]) {
            PF_TRY(parse_flag(argc, argv, &i, flags, out));
        } else {
            if (out->n_positional == max_positional || out->n_positional == PF_CLI_MAX)
                return pf_usage_error(PF_WHERE, "unexpected argument '%s'", argv[i]);
            out->positional[out->n_positional++] = argv[i];
        }
    }
    if (out->n_positional < min_positional)
        return pf_usage_error(PF_WHERE, "%s needs %s%d argument%s, got %d", argv[0],
                              min_positional == max_positional ? "" : "at least ",
                              min_positional, min_positional == 1 ? "" : "s",
                              out->n_positional);
    return PF_OK;
}

pf_status pf_arg_int(const char *flag, const char *text, long lo, long hi, long *out)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end || v < lo || v > hi)
        return pf_usage_error(PF_WHERE, "%s: '%s' is not a whole number from %ld to %ld", flag,
                              text, lo, hi);
    *out = v;
    return PF_OK;
}

static void give_up(int sig)
{
    (void)sig;
    pf_tell_end(PF_EEXT); /* the other ranks never met us: nobody else knows the reason */
    _exit(1); /* a rank that leaves without MPI_Finalize makes the launcher end the others */
}

/* Collective.  All ranks compute with what the least of their machines has. */
static PF_MUST_USE pf_status choose_instructions(pf_comm *c)
{
    PF_TRY(pf_comm_agree(c, pf_isa_check()));
    int mine = (int)pf_isa_used(), *all = pf_zalloc((size_t)pf_comm_size(c) * sizeof *all);
    PF_TRY(pf_comm_agree(
        c,
        all ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d ranks", pf_comm_size(c))));
    pf_status st = pf_comm_allgather(c, &mine, sizeof mine, all);
    for (int r = 0; !st && r < pf_comm_size(c); r++) pf_isa_lower((pf_isa)all[r]);
    pf_free(all);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status run_body(pf_comm *c, pf_body body, void *self)
{
    pf_status st = pf_ranks_same_command(c, given.argc, given.argv);
    if (st)
        usage_failed = 0; /* what was wrong with this rank's command is no longer the reason */
    PF_TRY(st);
    PF_TRY(choose_instructions(c));
    PF_TRY(body(c, self));
    return PF_OK;
}

pf_status pf_with_comm(pf_body body, void *self)
{
    pf_comm *c = NULL;
    met = 1;
    PF_TRY(pf_comm_open(&c, pf_tell_end));
    if (pf_comm_rank(c) > 0) pf_log_setup(0);
    pf_status st = run_body(c, body, self);
    if (st) { /* others may be inside another collective: do not wait for them forever */
        signal(SIGALRM, give_up);
        alarm(10);
    }
    st = pf_comm_agree(c, st);
    /* Before the end of MPI, where ranks wait for each other: the first one to leave with a non-zero
     * status makes the launcher kill the rest, the one that speaks among them. */
    if (st && !pf_comm_rank(c)) pf_tell_end(st);
    pf_release_outputs();
    pf_comm_close(c);
    alarm(0);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status fail_as_before(pf_comm *c, void *self)
{
    (void)c;
    return *(const pf_status *)self;
}

pf_status pf_meet_anyway(pf_status st)
{
    if (!met && pf_comm_launched()) st = pf_with_comm(fail_as_before, &st);
    return st;
}
