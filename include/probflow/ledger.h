/* The ledger of a likelihood evaluation: a row an image and draw, columns as its estimand names them.
 * Plain data, made by likelihood, stored by store. */
#ifndef PROBFLOW_LEDGER_H
#define PROBFLOW_LEDGER_H

#include <stdint.h>

/* What a column is in a file; in memory every cell is a double, which holds each of them. */
typedef enum pf_cell { PF_CELL_I64, PF_CELL_I32, PF_CELL_F64 } pf_cell;

typedef enum pf_role {
    PF_ROLE_KEY,     /* image, draw */
    PF_ROLE_LABEL,   /* of the image; -1: none */
    PF_ROLE_TOTAL,   /* a number asked for; NaN: not asked for, or this draw was not made */
    PF_ROLE_PART,    /* of the first total */
    PF_ROLE_DEQUANT, /* the same, from noise that is drawn anew in each draw */
    PF_ROLE_OFFSET,  /* the same, alike in every row */
    PF_ROLE_BAND, /* of the part that its name begins with, which is the sum of its bands; NaN: not known */
    PF_ROLE_VARIANCE, /* of the first total, as this row alone shows it; NaN: it does not */
    PF_ROLE_ERROR,    /* of the first total against a better solve; NaN: there was none */
    PF_ROLE_COUNT,    /* of the row's group */
    PF_ROLE_WORK,     /* the same: what the group cost */
    PF_ROLE_WEIGHT /* entries of the row, that its numbers are means over; NaN: as many as any other's */
} pf_role;

typedef struct pf_ledger_column {
    const char *name, *unit;
    pf_cell type;
    pf_role role;
    const char *said; /* what a page calls it; NULL: its name */
    /* 1: files from before there was this column go on without it, and it is NaN in their rows.  Such columns
     * stand behind all others. */
    int young;
} pf_ledger_column;

/* Every ledger begins with these columns. */
enum { PF_AT_IMAGE, PF_AT_DRAW, PF_AT_LABEL, PF_LEDGER_MAX = 24 };

typedef struct pf_ledger {
    int64_t rows;
    int n;
    const pf_ledger_column *column; /* [n] */
    double *cell;                   /* [rows,n] */
} pf_ledger;

/* Rows as they are before anything is known: keys and labels -1, counts 0, the rest NaN. */
void pf_ledger_clear(pf_ledger *l);
/* The column of weights; -1: there is none. */
int pf_ledger_weights(const pf_ledger *l);
/* Of two rows: below, equal or above 0 as they stand by image and draw. */
int pf_ledger_order(const double *p, const double *q);

/* What a ledger says of all images: figures by name.  Where rows have weights w, a mean is sum w x / sum w, over all
 * entries, and its error that of this ratio, sqrt(n/(n-1) sum w^2 (x - mean)^2) / sum w, as are the shares (Cochran
 * 1977, section 2.11).  A total X gives X and X_se (standard error of the
 * mean over images, draws averaged first); a part X gives X; a variance X_variance gives X_se, the share of
 * the first total's error due to it; dequantisation gives dequant_se, the share due to its draws; an error
 * X gives its mean |X| and X_max; a count its mean; a band X that is known in every row gives X and X_se.
 * Without dequantisation, two draws an image or more give draws_se, the share of the first total's error that
 * more draws would remove, and images_se, what would be left.  NaN: not known. */
enum { PF_FIGURES_MAX = 2 * PF_LEDGER_MAX, PF_FIGURE_NAME = 48 };
typedef struct pf_figure {
    char name[PF_FIGURE_NAME];
    double value;
} pf_figure;
typedef struct pf_summary {
    int64_t images, rows;
    int n;
    pf_figure figure[PF_FIGURES_MAX];
    const char *unit; /* of the figures where it is not bits/dim; NULL; borrowed */
    int listed; /* 1: a file names its figures, since it is not the only one it could hold */
} pf_summary;

/* Of two models on the same images with the same draws: the first minus the second, a total each. */
typedef struct pf_difference {
    int64_t images; /* that are in both ledgers */
    int n;
    struct pf_paired {
        int column;
        double mean, se; /* standard error of the difference itself */
        /* root of the sum of squares of the two standard errors: what two separate numbers give */
        double alone_se;
    } total[PF_LEDGER_MAX];
} pf_difference;

#endif
