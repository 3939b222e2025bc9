/* Signals that ask for a stop, and the time limit.
 *
 * The first SIGINT, SIGTERM or SIGUSR1 asks; a later one ends the process at once.  A batch
 * system may deliver one request twice, to the step and by its launcher: within half a second it
 * counts once. */
#include "cli/cli.h"

#include <probflow/log.h>
#include <probflow/stop.h>

#include <math.h>
#include <signal.h>
#include <stdlib.h>

static const double same_request = 0.5;
static volatile sig_atomic_t caught;
static volatile double caught_at;

static void on_signal(int sig)
{
    double now = pf_seconds(); /* clock_gettime: allowed here */
    if (caught && now - caught_at > same_request) {
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    if (!caught) caught_at = now;
    caught = 1;
    pf_stop();
}

void pf_catch_signals(void)
{
    static const int which[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < sizeof which / sizeof *which; i++) sigaction(which[i], &sa, NULL);
}

pf_status pf_arg_minutes(const char *text)
{
    char *end;
    double v = text ? strtod(text, &end) : 0.0;
    if (!text) return PF_OK;
    if (end == text || *end || !(v > 0.0) || !isfinite(v))
        return pf_usage_error(PF_WHERE, "--max-minutes: '%s' is not a positive number", text);
    pf_stop_after(60.0 * v);
    return PF_OK;
}
