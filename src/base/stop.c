/* The request to stop: a flag and a deadline. */
#include <probflow/stop.h>

#include <probflow/log.h>

#include <math.h>
#include <signal.h>

static volatile sig_atomic_t asked;
static _Atomic double deadline = INFINITY; /* on the clock of pf_seconds */

void pf_stop(void)
{
    asked = 1;
}

void pf_stop_after(double seconds)
{
    double end = pf_seconds() + seconds;
    if (end < deadline) deadline = end;
}

int pf_stop_asked(void)
{
    return asked || (isfinite(deadline) && pf_seconds() >= deadline);
}

void pf_stop_clear(void)
{
    asked = 0;
    deadline = INFINITY;
}
