/* Log lines and progress.  Rank 0 speaks; `--quiet` silences both.  Errors do not pass here:
 * they travel as pf_status and are printed by main. */
#ifndef PROBFLOW_LOG_H
#define PROBFLOW_LOG_H

#include <stdio.h>

/* enabled = 0 makes every function below a no-op (ranks above 0, --quiet). */
void pf_log_setup(int enabled);

/* One line on stderr, newline added. */
void pf_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Progress: on a terminal the line is redrawn in place; elsewhere it is a plain line.
 * last = 1 closes a live line.  Callers throttle with pf_progress_due. */
void pf_progress(int last, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* 1 when a progress line is due: every 0.5 s on a terminal, every 10 s in a log. */
int pf_progress_due(void);

/* Monotonic wall clock [s]. */
double pf_seconds(void);

/* "1h02m", "3m10s", "12s" into buf; returns buf. */
const char *pf_duration(double seconds, char *buf, size_t n);

#endif
