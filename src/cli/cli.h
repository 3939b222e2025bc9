/* The command line: one file per sub-command, a row each in main.c.
 *
 * Commands return a status; main prints it and holds the only exit. */
#ifndef PROBFLOW_SRC_CLI_CLI_H
#define PROBFLOW_SRC_CLI_CLI_H

#include <probflow/comm.h>
#include <probflow/run.h>
#include <probflow/status.h>

typedef struct pf_command {
    const char *name, *usage, *help;
    pf_status (*run)(int argc, char **argv); /* argv[0] is the command's name */
} pf_command;

/* Flags of a command.  {flag, value, NULL}: a value ("--out F"), stored as a borrowed pointer, the
 * last one given; {flag, NULL, n}: a switch, stores 1; {flag, value, n}: a value that may be
 * repeated ("--from F"), value [PF_CLI_MAX], their number in n.  A zeroed row ends the table. */
typedef struct pf_arg {
    const char *flag;
    const char **value;
    int *n;
} pf_arg;

enum { PF_CLI_MAX = 1024 };
typedef struct pf_args {
    int n_positional, n_sets;
    const char *positional[PF_CLI_MAX];
    const char *sets[PF_CLI_MAX]; /* --set section.key=value, in order */
    pf_held held;                 /* what pf_hold_checkpoint chose */
} pf_args;

/* Understands "--flag value", "--flag=value", repeated --set, --quiet (silences the log),
 * --trail (a failure shows where it passed) and everything else that does not start with '-' as positional.  A wrong number of positionals or
 * an unknown flag (names the nearest) is a usage error. */
PF_MUST_USE pf_status pf_args_parse(int argc, char **argv, const pf_arg *flags,
                                    int min_positional, int max_positional, pf_args *out);

/* A usage error: like PF_FAIL with PF_EARG, and main exits with 2 and shows the usage. */
pf_status pf_usage_error(const char *where, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int pf_usage_failed(void);

/* Says once why the command ends: the error, with the usage where that was wrong, or, as a log line,
 * that it was stopped. */
void pf_tell_end(pf_status st);

/* Every key of a configuration, with its default, range and meaning. */
void pf_print_options(FILE *f);

/* Number from text, within [lo, hi]; a usage error that names the flag otherwise. */
PF_MUST_USE pf_status pf_arg_int(const char *flag, const char *text, long lo, long hi,
                                 long *out);

/* From now on SIGINT, SIGTERM and SIGUSR1 ask for a stop (probflow/stop.h); a second one, at
 * least half a second later, ends the process at once. */
void pf_catch_signals(void);
/* Sets the limit of --max-minutes (NULL: none), counted from now. */
PF_MUST_USE pf_status pf_arg_minutes(const char *text);

/* Exit status of a command that was stopped and that the same command continues: EX_TEMPFAIL of
 * sysexits.h.  0: done, 1: failed, 2: wrong usage. */
enum { PF_EXIT_STOPPED = 75 };

/* What this rank was started with, before anything else: argv[0] is the command's name, c NULL where
 * there is none of that name.  Borrowed. */
void pf_args_given(const pf_command *c, int argc, char **argv);

/* Local, of the one rank that writes.  Checks path as pf_output_check does and locks it until the command
 * ends, so that of two commands with one output the second waits a while and is then refused. */
PF_MUST_USE pf_status pf_take_output(const char *path, const char *kind,
                                     const char *const *inputs, int n);
void pf_release_outputs(void); /* pf_with_comm does it */

/* Opens the ranks, compares what they were started with, runs body, agrees on its status and closes.
 * A rank that fails alone ends the job within 10 seconds instead of leaving the others waiting. */
typedef pf_status (*pf_body)(pf_comm *c, void *self);
PF_MUST_USE pf_status pf_with_comm(pf_body body, void *self);
/* The same for a rank that has come to its end, st, before the ranks have met: the others must not wait
 * for it.  Without a launcher, or when they have met, returns st. */
PF_MUST_USE pf_status pf_meet_anyway(pf_status st);

/* Collective.  Fails PF_EARG on all ranks, saying what a rank has and what rank 0, unless all are of one
 * build and were given the same command.  Test  ranks_that_differ_are_told */
PF_MUST_USE pf_status pf_ranks_same_command(pf_comm *c, int argc, char **argv);

#endif
