/* The kernel table: the narrow waist between plans and the code that computes.
 *
 * A row implements one operator.  `ref` has every row, plain and complete; the fast rows
 * override it where they pay and where `applies` says yes.  Kernels run on the calling thread
 * alone and never allocate outside open().
 *
 * Some rows want parameters in a form of their own (packed, transformed, rounded).  prepare() makes it
 * once for new values, in memory that all workers of a process share and that is zero before the
 * first time; passes only read it. */
#ifndef PROBFLOW_SRC_NN_KERNEL_H
#define PROBFLOW_SRC_NN_KERNEL_H

#include <probflow/graph.h>
#include <probflow/limit.h>
#include <probflow/plan.h>

enum { PF_DX_IN = 1, PF_DP_IN = 2 };
enum { PF_FIRST = 1, PF_ALL = (1 << PF_MAX_INPUTS) - 1 };

typedef enum pf_op {
#define PF_OP(id, name, reads, inplace, slopes) PF_OP_##id,
#include "nn/ops.def"
#undef PF_OP
    PF_OP_COUNT
} pf_op;

typedef struct pf_attr {                /* each operator reads its own fields */
    int port;                           /* INPUT */
    int kernel, stride, pad_lo, pad_hi; /* CONV; FIR: stride = down, pads; POOL: kernel */
    int dilation;                       /* CONV: pixels from tap to tap; 0 or 1: they touch */
    int up;                             /* FIR */
    int groups, silu;                   /* GROUP_NORM */
    int scale_shift;                    /* GROUP_NORM: 1 = the vector scales and shifts */
    int heads, order;                   /* ATTENTION: heads, 0: one; of one input, its order */
    int mask, window;                   /* ATTENTION: pf_mask; WINDOW; POSITIONS: window */
    int turned;                         /* ROTARY: the channels that are turned */
    int first, step;                    /* PICK; TURN: step, -1 backwards */
    int rms;                            /* LAYER_NORM */
    int curve;                          /* GELU: pf_gelu_kind */
    int cosine_first;                   /* POSITIONAL: the published order of U-Nets */
    int in_out;                         /* LINEAR: 1 = weight is [in,out] */
    int sequence; /* LINEAR: 1 = in a network that embeds positions; ATTENTION of pf_attend */
    double eps, rate;                  /* norms eps; GROUP_NORM, DROPOUT rate */
    int levels, grid;                  /* LEVELS */
    const int *in_degree, *out_degree; /* MASKED_LINEAR: of each input and output channel */
    int same; /* MASKED_LINEAR: 1 = degrees are equal, 0: the input's is at most the output's */
    int positions; /* DROPOUT: 1 = whole positions, not scaled */
    int reverse;   /* LSTM: 1 = from the last position to the first */
    int pool;      /* POOL: pf_pool */
    double a,
        b; /* AFFINE a x + b; SINE a, b in turns; ADD_SCALE a; FIR gain a; LEAKY_RELU a; ROTARY base a */
} pf_attr;

/* One operator of a plan.  Shapes are per sample; B is the batch. */
typedef struct pf_site {
    pf_op op;
    pf_attr attr;
    const char *name; /* for messages and dropout keys */
    int index;        /* node number in the graph: distinguishes dropout sites */
    int B, n_in, n_param;
    pf_shape in[PF_MAX_INPUTS], out;
    /* floats; weight first, bias second; INSTANCE_NORM: alpha, gamma, beta; LSTM: W, U, b, d */
    size_t param_size[PF_MAX_PARAMS];
    pf_precision precision;
    int want_dx[PF_MAX_INPUTS]; /* which input gradients will ever be asked for */
    int want_dp;                /* parameter gradients will be asked for */
    int repeat; /* many passes with the same parameters: what is prepared pays */
} pf_site;

/* Pointers of one call.  Forward sets in, out, param, saved, scratch, run. */
typedef struct pf_call {
    const pf_site *site;
    const pf_run *run;
    const float *in[PF_MAX_INPUTS];
    float *out; /* forward: written; backward: no longer valid */
    const float *param[PF_MAX_PARAMS];
    float *prepared; /* written by prepare, read by passes */
    float *saved;    /* written by forward, read by backward (statistics) */
    float *scratch;  /* valid inside one call */
    const float *gout;
    float *gin[PF_MAX_INPUTS];    /* overwritten; NULL: not wanted */
    float *gparam[PF_MAX_PARAMS]; /* overwritten; NULL: not wanted */
} pf_call;

typedef struct pf_row {
    const char *backend;                             /* for logs and profiles */
    int (*applies)(const pf_site *s);                /* NULL: always */
    pf_status (*open)(const pf_site *s, void **ctx); /* NULL: no state */
    void (*close)(void *ctx);
    size_t (*prepared)(const pf_site *s, void *ctx); /* floats; NULL: 0 */
    /* New values in c->param; of the rest prepared and scratch are set.  Not called where prepared
     * is 0. */
    pf_status (*prepare)(void *ctx, const pf_call *c);
    size_t (*saved)(const pf_site *s, void *ctx);   /* floats; NULL: 0 */
    size_t (*scratch)(const pf_site *s, void *ctx); /* floats; NULL: 0 */
    pf_status (*forward)(void *ctx, const pf_call *c);
    pf_status (*backward)(void *ctx, const pf_call *c); /* all wanted gradients in one call */
} pf_row;

/* The functions of a file that prepares parameters, by the names that such files give them. */
#define PF_ROW_PREPARED                                                       \
    .open = open, .close = pf_free, .prepared = prepared, .prepare = prepare, \
    .scratch = scratch, .forward = forward, .backward = backward

typedef struct pf_kernel {
    pf_op op;
    const pf_row *row; /* NULL ends a list */
} pf_kernel;

extern const pf_row *const pf_ref_rows[PF_OP_COUNT]; /* complete */
/* Fast rows, the better one of an operator first. */
extern const pf_kernel pf_onednn_kernels[]; /* empty in a build without it */
/* Own ones, a clone for each instruction set (probflow/isa.h), in the folders of these names:
 *     const pf_kernel *const pf_fused_kernels;    vectorised C
 *     const pf_kernel *const pf_bf16_kernels;     of a site with this precision, before the others */

/* The first row of bf16 (where asked for), fused, onednn, ref that applies; of ref alone when
 * backend is "ref". */
const pf_row *pf_kernel_row(const char *backend, const pf_site *s);

/* The limit of the sites of a plan; see probflow/limit.h. */
typedef struct pf_bare_opt {
    const pf_site *const *site; /* [n] in forward order */
    int n, bf16;
    size_t floats; /* the plan's memory */
} pf_bare_opt;
PF_MUST_USE pf_status pf_bare_create(const pf_bare_opt *o, pf_limit **out);

const char *pf_op_name(pf_op op);
int pf_op_reads(pf_op op);
int pf_op_inplace(pf_op op);
int pf_op_slopes(pf_op op);

/* Shared by every row that drops out, so that ref and fast agree bit for bit: 0 or 1/(1-rate)
 * for elements first .. first+n-1 of sample b's output of this site; all 1 when run->train = 0.
 * Draw: stream DROPOUT, element = position, step = run->step, sample = site index * 2^40 +
 * run->sample[b].  So no two sites, samples or steps share a number. */
enum { PF_DROPOUT_SAMPLE_BITS = 40 };
void pf_dropout_mask(const pf_call *c, int b, double rate, size_t first, size_t n, float *mask);

/* 1 where output channel o of a masked map sees input channel i. */
static inline int pf_sees(const pf_attr *a, int o, int i)
{
    return a->same ? a->in_degree[i] == a->out_degree[o] : a->in_degree[i] <= a->out_degree[o];
}

static inline size_t pf_shape_size(pf_shape s)
{
    return (size_t)s.h * (size_t)s.w * (size_t)s.c;
}

#endif
