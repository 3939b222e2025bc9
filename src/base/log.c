/* Log lines and the progress line, on stderr. */
#include <probflow/log.h>

#include <stdarg.h>
#include <time.h>
#include <unistd.h>

static int enabled = 1;
static int live_line;                /* a redrawn line is on the terminal */
static double last_progress = -1e30; /* the first line is due at once */

static void erase_live_line(void)
{
    if (live_line) fputs("\r\033[K", stderr);
    live_line = 0;
}

void pf_log_setup(int on)
{
    enabled = on;
}

void pf_log(const char *fmt, ...)
{
    if (!enabled) return;
    va_list ap;
    va_start(ap, fmt);
    flockfile(stderr);
    erase_live_line();
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(ap);
}

void pf_progress(int last, const char *fmt, ...)
{
    if (!enabled) return;
    int terminal = isatty(STDERR_FILENO);
    va_list ap;
    va_start(ap, fmt);
    flockfile(stderr);
    erase_live_line();
    vfprintf(stderr, fmt, ap);
    if (last || !terminal) fputc('\n', stderr);
    else live_line = 1;
    fflush(stderr);
    funlockfile(stderr);
    va_end(ap);
    last_progress = pf_seconds();
}

int pf_progress_due(void)
{
    if (!enabled) return 0;
    return pf_seconds() - last_progress >= (isatty(STDERR_FILENO) ? 0.5 : 10.0);
}

double pf_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *pf_duration(double seconds, char *buf, size_t n)
{
    if (!(seconds >= 0) || seconds > 1e9) {
        snprintf(buf, n, "?");
        return buf;
    }
    long s = (long)(seconds + 0.5);
    if (s >= 3600) snprintf(buf, n, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60) snprintf(buf, n, "%ldm%02lds", s / 60, s % 60);
    else snprintf(buf, n, "%lds", s);
    return buf;
}
