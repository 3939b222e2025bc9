/* cmocka with what it needs, and the two checks it lacks. */
#ifndef PF_TESTS_CHECKS_H
#define PF_TESTS_CHECKS_H

#include <math.h>
#include <probflow/status.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* The call succeeds; otherwise its sentence is shown. */
#define must(call)                                               \
    do {                                                         \
        if (call) fail_msg("%s: %s", #call, pf_error_message()); \
    } while (0)

/* Doubles; cmocka compares floats only. */
static inline void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.17g is not %.17g +- %g", a, b, tolerance);
}

#endif
