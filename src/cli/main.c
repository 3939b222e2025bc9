/* probflow: the command line.  The only place that turns a status into an exit. */
#include "cli/cli.h"

#include <probflow/log.h>
#include <probflow/option.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

extern const pf_command pf_command_data, pf_command_train, pf_command_bpd, pf_command_logp,
    pf_command_score, pf_command_sample, pf_command_import, pf_command_info, pf_command_bench,
    pf_command_variance, pf_command_classify;

static const pf_command *const commands[] = {
    &pf_command_data,  &pf_command_train,  &pf_command_bpd,      &pf_command_logp,
    &pf_command_score, &pf_command_sample, &pf_command_classify, &pf_command_import,
    &pf_command_info,  &pf_command_bench,  &pf_command_variance, NULL,
};

static void overview(FILE *f)
{
    fprintf(f, "probflow %s: likelihood experiments with score-based diffusion models\n\n",
            PF_VERSION);
    fprintf(f,
            "usage: probflow COMMAND ...        (probflow COMMAND --help for its options)\n\n");
    for (int i = 0; commands[i]; i++)
        fprintf(f, "  %-8s %.*s\n", commands[i]->name, (int)strcspn(commands[i]->help, "\n"),
                commands[i]->help);
    fprintf(
        f,
        "\nEvery command runs alone or under mpirun / srun.  --quiet silences the log, "
        "--trail\n"
        "shows where in the program a failure passed.  Exit status: 0 done, 1 failed, 2 wrong\n"
        "usage, %d stopped by a signal or a time limit (the same command continues).\n",
        PF_EXIT_STOPPED);
}

static const pf_command *find(const char *name)
{
    for (int i = 0; commands[i]; i++)
        if (!strcmp(name, commands[i]->name)) return commands[i];
    return NULL;
}

static pf_status unknown_command(const char *name)
{
    const char *names[sizeof commands / sizeof *commands] = {0};
    for (int i = 0; commands[i]; i++) names[i] = commands[i]->name;
    const char *near = pf_nearest(name, names);
    if (!near) return pf_usage_error(PF_WHERE, "unknown command '%s'", name);
    return pf_usage_error(PF_WHERE, "unknown command '%s'; did you mean '%s'?", name, near);
}

/* One rank speaks for all: the launcher says which we are before MPI is up. */
static int first_rank(void)
{
    static const char *const vars[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof vars / sizeof *vars; i++) {
        const char *v = getenv(vars[i]);
        if (v) return atoi(v) == 0;
    }
    return 1;
}

static int given(int argc, char **argv, const char *flag)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], flag)) return 1;
    return 0;
}

/* Nothing that is opened later may become a standard stream.  One that was closed fails when it is
 * written, as a full one does. */
static void keep_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd)
            _exit(1);
}

/* What was printed is an output as any other.  Why an earlier write failed nobody has kept, so one more byte asks. */
static int leave(int status)
{
    int bad = 0;
    if (ferror(stdout)) bad = write(STDOUT_FILENO, "\n", 1) < 0 ? errno : EIO;
    if (fflush(stdout)) bad = errno;
    if (!bad) return status;
    if (!status)
        fprintf(stderr, "probflow: error: cannot write to the standard output: %s\n",
                strerror(bad));
    return status ? status : 1;
}

/* What is printed instead of running a command. */
typedef struct page {
    const pf_command *command; /* its help, or NULL: of the program */
    int version;
} page;

static pf_status print_page(pf_comm *c, void *self)
{
    const page *p = self;
    if (c && pf_comm_rank(c)) return PF_OK;
    if (p->version) printf("probflow %s\n", PF_VERSION);
    else if (!p->command) overview(stdout);
    else {
        printf("usage: probflow %s %s\n\n%s\n", p->command->name, p->command->usage,
               p->command->help);
        if (strstr(p->command->usage, "--set")) pf_print_options(stdout);
    }
    return PF_OK;
}

static int asks_help(int argc, char **argv)
{
    return given(argc, argv, "--help") || given(argc, argv, "-h");
}

static pf_status act(const pf_command *c, int argc, char **argv)
{
    page p = {.command = c, .version = !strcmp(argv[1], "--version")};
    int on_its_own = !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h");
    if (p.version || on_its_own || (c && asks_help(argc - 1, argv + 1)))
        return pf_comm_launched() ? pf_with_comm(print_page, &p) : print_page(NULL, &p);
    return c ? c->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
    keep_streams();
    pf_log_setup(first_rank());
    pf_error_show_trail(given(argc, argv, "--trail"));
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is met as a full disk is: by a sentence */
    const pf_command *c = argc > 1 ? find(argv[1]) : NULL;
    pf_args_given(c, argc - 1, argv + 1);
    if (argc < 2 && !pf_comm_launched()) {
        overview(stderr);
        return leave(2);
    }
    pf_status st =
        argc < 2 ? pf_usage_error(PF_WHERE, "no command is given") : act(c, argc, argv);
    st = pf_meet_anyway(st);
    if (!st) return leave(0);
    if (first_rank()) pf_tell_end(st);
    if (st == PF_ESTOP) return leave(PF_EXIT_STOPPED);
    return leave(pf_usage_failed() ? 2 : 1);
}
