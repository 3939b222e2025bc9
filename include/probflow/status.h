/* Status codes with a trail.
 *
 * Library code returns a pf_status and never exits, aborts or prints.  The first failure
 * stores one clear sentence in a thread-local record; each caller that passes the status on
 * adds its place.  `main` prints the record: the sentence, and with --trail the places.  Only the
 * three macros below return early. */
#ifndef PROBFLOW_STATUS_H
#define PROBFLOW_STATUS_H

#include <stdio.h>

typedef enum pf_status {
    PF_OK = 0,
    PF_ESTOP,    /* stopped on request, nothing is lost; below the errors, so they outrank it */
    PF_EARG,     /* caller broke the contract        */
    PF_ESHAPE,   /* tensor shapes do not fit         */
    PF_EMEM,     /* arena or device exhausted        */
    PF_EIO,      /* missing, short or unwritable     */
    PF_EFORMAT,  /* readable, but not ours           */
    PF_ENUMERIC, /* NaN, step underflow, tolerance   */
    PF_ENOSUPP,  /* not in this build or backend     */
    PF_EEXT      /* MPI, HDF5, CVODE, oneDNN, LAPACK */
} pf_status;

#define PF_MUST_USE __attribute__((warn_unused_result))
#define PF_STR2_(x) #x
#define PF_STR_(x)  PF_STR2_(x)
#define PF_WHERE    __FILE__ ":" PF_STR_(__LINE__)

/* Records the reason and returns from the calling function. */
#define PF_FAIL(code, ...) return pf_raise((code), PF_WHERE, __VA_ARGS__)
#define PF_REQUIRE(cond, code, ...)              \
    do {                                         \
        if (!(cond)) PF_FAIL(code, __VA_ARGS__); \
    } while (0)
/* Passes a failure on, adding this place to its trail. */
#define PF_TRY(call)                           \
    do {                                       \
        pf_status s_ = (call);                 \
        if (s_) return pf_trail(s_, PF_WHERE); \
    } while (0)

/* Starts a new record for this thread: message (printf form) and first place.  Returns code. */
pf_status pf_raise(pf_status code, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds a place to this thread's record (dropped when the trail is full).  Returns st. */
pf_status pf_trail(pf_status st, const char *where);

/* This thread's sentence; "" when nothing failed.  Borrowed, valid until the next pf_raise. */
const char *pf_error_message(void);

/* Prints "probflow: error: <sentence>"; behind it the trail, one place a line, when that was asked
 * for by pf_error_show_trail(1). */
void pf_error_print(FILE *f);
void pf_error_show_trail(int on);

/* Copies a failure of another thread or rank into this thread's record.  Returns code. */
pf_status pf_error_adopt(pf_status code, const char *message);

/* Invariants of our own code only; bad input is never an assert. */
#define PF_ASSERT(cond)                                 \
    do {                                                \
        if (!(cond)) pf_assert_failed(#cond, PF_WHERE); \
    } while (0)
void pf_assert_failed(const char *cond, const char *where) __attribute__((noreturn));

#endif
