/* A request to stop: by a signal, a time limit or a caller.
 *
 * Long work looks at it between its steps, brings its state to a safe place and returns
 * PF_ESTOP: training after a checkpoint, an ODE solve at its next evaluation.  One request a
 * process; ranks agree on it where they meet. */
#ifndef PROBFLOW_STOP_H
#define PROBFLOW_STOP_H

/* Asks for a stop.  Safe in a signal handler. */
void pf_stop(void);

/* Asks for a stop so many seconds from now; of several limits the earliest counts. */
void pf_stop_after(double seconds);

/* 1 when a stop was asked for or a limit has passed.  Any thread. */
int pf_stop_asked(void);

/* Forgets request and limits. */
void pf_stop_clear(void);

#endif
