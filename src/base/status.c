/* The error record: one sentence and the places it passed, per thread.
 *
 * Places are string literals (PF_WHERE), so the record only borrows them. */
#include <probflow/status.h>

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_MAX = 1024, TRAIL_MAX = 24 };

typedef struct record {
    char message[MESSAGE_MAX];
    const char *place[TRAIL_MAX];
    int places;
} record;

static _Thread_local record last;
static int with_trail; /* set once at the start */

static const char *nonnull(const char *s)
{
    return s ? s : "?";
}

pf_status pf_raise(pf_status code, const char *where, const char *fmt, ...)
{
    /* The arguments may point into the old sentence, so it is replaced only when complete. */
    char text[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(last.message, text, sizeof text);
    last.place[0] = nonnull(where);
    last.places = 1;
    return code;
}

pf_status pf_trail(pf_status st, const char *where)
{
    if (st && last.places < TRAIL_MAX) last.place[last.places++] = nonnull(where);
    return st;
}

const char *pf_error_message(void)
{
    return last.message;
}

void pf_error_show_trail(int on)
{
    with_trail = on;
}

void pf_error_print(FILE *f)
{
    fprintf(f, "probflow: error: %s\n", last.message[0] ? last.message : "unknown failure");
    for (int i = 0; with_trail && i < last.places; i++) fprintf(f, "  at %s\n", last.place[i]);
}

pf_status pf_error_adopt(pf_status code, const char *message)
{
    if (!code) return code;
    if (message != last.message) {
        snprintf(last.message, sizeof last.message, "%s", nonnull(message));
        last.places = 0;
    }
    return code;
}

void pf_assert_failed(const char *cond, const char *where)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    fprintf(stderr, "probflow: rank %s: broken invariant `%s` at %s\n", rank ? rank : "0", cond,
            where);
    abort();
}
