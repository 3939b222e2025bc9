/* Reference files: their arrays, which of them are asked about, and what came of each. */
#ifndef PF_TESTS_VECTORS_H
#define PF_TESTS_VECTORS_H

#include <probflow/store.h>

enum { VECTORS_NAME_MAX = 256 };

typedef struct vectors_array {
    char name[VECTORS_NAME_MAX]; /* path inside the file, no slash before it */
    int rank;
    int64_t dim[PF_RANK_MAX];
    size_t size;
    double *v;               /* owned; NULL: no numbers */
    int wanted;              /* an output of the part that was asked for */
    int held;                /* compared at least once */
    double error, tolerance; /* of the worst comparison */
} vectors_array;

typedef struct vectors {
    const char *path; /* borrowed */
    int n;
    vectors_array *all; /* owned */
} vectors;

/* A kind of file.  Its stem stands in the file's name.  inputs: groups or shell patterns of arrays that are
 * given and not compared.  check computes what it can from them, and holds it against the rest. */
typedef struct vectors_kind {
    const char *stem;
    const char *const *inputs; /* NULL-terminated */
    pf_status (*check)(vectors *v);
} vectors_kind;

/* 1: the pattern names the path or a group above it.  * is a component or a part of one. */
int vectors_under(const char *pattern, const char *path);

/* Reads all arrays; those under one of the patterns [n] (n = 0: all) that are no inputs of the kind are wanted.
 * Owned, vectors_close. */
PF_MUST_USE pf_status vectors_open(const char *path, const vectors_kind *kind,
                                   const char *const *patterns, int n, vectors *v);
void vectors_close(vectors *v);

/* By name (printf form); NULL when the file has none, or no numbers in it. */
const vectors_array *vectors_find(const vectors *v, const char *name, ...)
    __attribute__((format(printf, 2, 3)));
/* An attribute as text, "name" or "group/name" (printf form); owned, pf_free; NULL when there is none. */
char *vectors_attr(const vectors *v, const char *name, ...)
    __attribute__((format(printf, 2, 3)));
/* The same as a number; NAN when there is none. */
double vectors_number(const vectors *v, const char *group, const char *name);
/* Fails PF_EFORMAT where the group has this attribute, of another value: |got - want| > tolerance max(1, |want|). */
PF_MUST_USE pf_status vectors_meet(const vectors *v, double tolerance, const char *group,
                                   const char *name, double got);
/* 1 when the array's own name is this one; group [size] is what stands before it. */
int vectors_group_of(const vectors_array *a, const char *name, char *group, size_t size);
/* Is something under the pattern wanted? */
int vectors_wants(const vectors *v, const char *pattern);

/* The array of this name (printf form) differs by so much.  Of several errors the worst one counts, for its
 * tolerance.  Nothing happens where the array is absent or not wanted. */
void vectors_error(vectors *v, double error, double tolerance, const char *name, ...)
    __attribute__((format(printf, 4, 5)));
/* Compares got [n]: |got - want| <= tolerance max(1, |want|), NaN with NaN. */
void vectors_hold(vectors *v, double tolerance, const double *got, size_t n, const char *name,
                  ...) __attribute__((format(printf, 5, 6)));

/* Prints what falls short or was not checked, and counts. */
void vectors_report(const vectors *v, int *passed, int *failed);

#endif
