/* A classifier of images that are noised as ddpm noises them, for guiding its samples.
 *
 *     loss = -log softmax(net)_label,     x_i and i drawn as in ddpm
 *
 * Options say the chain alone: those of the ddpm whose samples it is to guide.
 *
 * Source: Dhariwal and Nichol 2021, section 4, and published code. */
#include "method/ddpm.h"
#include "method/pass.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

enum { CLASSES_MAX = 4096 };

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(pf_ddpm_opt, steps, PF_INT, 1000, 2, 1e6, "length T of the chain"),
    PF_OPT_ENUM(pf_ddpm_opt, schedule, PF_SCHEDULE_LINEAR, pf_schedule_words, "variances beta of the steps, as of method ddpm"),
    PF_OPT(pf_ddpm_opt, beta_start, PF_F64, 1e-4, 0.0, 1.0, "first beta of linear, quad and warmup"),
    PF_OPT(pf_ddpm_opt, beta_end, PF_F64, 0.02, 0.0, 1.0, "last beta of linear, quad, const and warmup"),
    PF_OPT(pf_ddpm_opt, rescale_timesteps, PF_BOOL, 0, 0, 1, "the network is told 1000 i/T in place of i"),
    PF_OPT_QUIET(pf_ddpm_opt, schedule_start, PF_F64, -3.0, -1e3, 1e3, "where the sigmoid begins"),
    PF_OPT_QUIET(pf_ddpm_opt, schedule_end, PF_F64, 3.0, -1e3, 1e3, "where the sigmoid ends"),
    PF_OPT_QUIET(pf_ddpm_opt, schedule_tau, PF_F64, 1.0, 1e-3, 1e3, "how slowly the sigmoid rises"),
    { 0 }
};
/* clang-format on */

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    const pf_ddpm_opt *given = opt;
    pf_ddpm_opt whole = *given;
    pf_ddpm *m;
    whole.predicts = PF_PREDICTS_DATA; /* nothing is predicted; every schedule allows it */
    PF_REQUIRE(space->classes > 1, PF_EARG,
               "method classifier tells classes apart, and the data have %d", space->classes);
    PF_REQUIRE(space->classes <= CLASSES_MAX, PF_EARG, "%d classes, want %d at most",
               space->classes, CLASSES_MAX);
    PF_TRY(pf_ddpm_open(&whole, space, "", &m));
    *self = m;
    return PF_OK;
}

static void close(void *self)
{
    pf_ddpm_close(self);
}

static void ports(const void *self, pf_ports *offered)
{
    const pf_ddpm *m = self;
    pf_method_ddpm.ports(self, offered);
    offered->out = (pf_shape){1, 1, m->space.classes};
}

static size_t scratch_bytes(const void *self)
{
    return pf_method_ddpm.scratch(self);
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    pf_method_ddpm.see(self, b, scratch, in);
}

/* log_p [K] = log softmax of net. */
static void log_softmax(int K, const float *net, double *log_p)
{
    double top = -INFINITY, sum = 0.0;
    for (int k = 0; k < K; k++) top = fmax(top, (double)net[k]);
    for (int k = 0; k < K; k++) sum += exp((double)net[k] - top);
    for (int k = 0; k < K; k++) log_p[k] = (double)net[k] - top - log(sum);
}

/* out [K] = scale d(log p_label)/d net, from log_p [K]; 0 of a label below 0. */
static void pull(int K, int label, const double *log_p, double scale, float *out)
{
    for (int k = 0; k < K; k++)
        out[k] = label < 0 ? 0.0f : (float)(scale * ((k == label) - exp(log_p[k])));
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_ddpm *m = self;
    int K = m->space.classes;
    double log_p[CLASSES_MAX];
    (void)scratch;
    for (int s = 0; s < b->B; s++, net += K) {
        int label = b->label[s];
        log_softmax(K, net, log_p);
        term[s] = label < 0 ? 0.0 : -log_p[label];
        if (gout) pull(K, label, log_p, -scale, gout + (size_t)s * (size_t)K);
    }
}

/* ---- the trained classifier ---- */

typedef struct seat {
    pf_pass pass;
    float *gin[PF_PORTS_MAX]; /* of the network's inputs: that of x alone */
    int batch, K;
    size_t D;
    int *number;   /* [batch] */
    double *x;     /* [batch,D] */
    float *gout;   /* [batch,K] */
    double *log_p; /* [K] */
} seat;

/* The network at x [B,D], with the last sample repeated up to the plan's batch. */
static PF_MUST_USE pf_status evaluate(seat *k, const pf_batch *b, int number, const double *x)
{
    const pf_ddpm *m = k->pass.net->self;
    PF_REQUIRE(b->B > 0 && b->B <= k->batch, PF_EARG,
               "a classifier of %d samples, made for 1 to %d", b->B, k->batch);
    PF_REQUIRE(number >= 0 && number < m->T, PF_EARG, "step %d of a chain of %d", number, m->T);
    for (int s = 0; s < k->batch; s++) {
        int from = s < b->B ? s : b->B - 1;
        memcpy(k->x + (size_t)s * k->D, x + (size_t)from * k->D, k->D * sizeof *x);
        k->number[s] = number;
    }
    pf_ddpm_show(m, k->batch, k->number, k->x, k->pass.in);
    PF_TRY(pf_pass_run(&k->pass, b));
    return PF_OK;
}

static pf_status log_p(void *self, const pf_batch *b, int number, const double *x,
                       double *log_p)
{
    seat *k = self;
    PF_TRY(evaluate(k, b, number, x));
    for (int s = 0; s < b->B; s++)
        log_softmax(k->K, k->pass.out + (size_t)s * (size_t)k->K,
                    log_p + (size_t)s * (size_t)k->K);
    return PF_OK;
}

static pf_status gradient(void *self, const pf_batch *b, int number, const double *x, double *g)
{
    seat *k = self;
    PF_REQUIRE(b->label, PF_EARG, "a classifier guides to a label, and none is told");
    PF_TRY(evaluate(k, b, number, x));
    for (int s = 0; s < k->batch; s++) {
        size_t at = (size_t)s * (size_t)k->K;
        int label = s < b->B ? b->label[s] : -1;
        PF_REQUIRE(label < k->K, PF_EARG, "label %d, want less than %d classes", label, k->K);
        log_softmax(k->K, k->pass.out + at, k->log_p);
        pull(k->K, label, k->log_p, 1.0, k->gout + at);
    }
    PF_TRY(pf_plan_backward(k->pass.plan, k->gout, NULL, k->gin));
    const float *gx = k->gin[k->pass.net->input[PF_TOLD_X]];
    for (size_t j = 0; j < (size_t)b->B * k->D; j++) g[j] = (double)gx[j];
    return PF_OK;
}

static void release(void *self)
{
    seat *k = self;
    if (!k) return;
    pf_pass_free(&k->pass);
    for (int i = 0; i < PF_PORTS_MAX; i++) pf_free(k->gin[i]);
    pf_free(k->number);
    pf_free(k->x);
    pf_free(k->gout);
    pf_free(k->log_p);
    pf_free(k);
}

static PF_MUST_USE pf_status create(seat *k, const pf_net *n, const pf_view_opt *o)
{
    int x = n->input[PF_TOLD_X];
    const pf_pass *with = o->with ? &((const seat *)o->with)->pass : NULL;
    size_t B = (size_t)o->batch;
    k->batch = o->batch;
    k->K = n->space.classes;
    k->D = (size_t)pf_space_dim(&n->space);
    k->gin[x] = pf_zalloc(B * k->D * sizeof(float));
    k->number = pf_zalloc(B * sizeof *k->number);
    k->x = pf_zalloc(B * k->D * sizeof *k->x);
    k->gout = pf_zalloc(B * (size_t)k->K * sizeof *k->gout);
    k->log_p = pf_zalloc((size_t)k->K * sizeof *k->log_p);
    PF_REQUIRE(k->gin[x] && k->number && k->x && k->gout && k->log_p, PF_EMEM,
               "no memory for a classifier of %d samples", o->batch);
    PF_TRY(pf_pass_create(&k->pass, n, o, 1u << x, with));
    return PF_OK;
}

static pf_status classifier(const pf_net *n, const pf_view_opt *o, pf_classifier *out)
{
    seat *k = pf_zalloc(sizeof *k);
    PF_REQUIRE(k, PF_EMEM, "no memory for a classifier");
    pf_status st = create(k, n, o);
    if (st) {
        release(k);
        return pf_trail(st, PF_WHERE);
    }
    *out = (pf_classifier){.self = k,
                           .batch = k->batch,
                           .classes = k->K,
                           .log_p = log_p,
                           .gradient = gradient,
                           .free = release};
    return PF_OK;
}

extern const pf_method_ops pf_method_classifier;

pf_status pf_net_guides(const pf_net *classifier, const pf_net *model)
{
    char why[256];
    PF_REQUIRE(classifier->method.ops == &pf_method_classifier, PF_EARG,
               "a classifier is wanted to guide samples, and this is a network of method %s",
               classifier->method.ops->name);
    PF_REQUIRE(model->method.ops == &pf_method_ddpm, PF_EARG,
               "a classifier guides samples of method ddpm, and the model is of method %s",
               model->method.ops->name);
    PF_REQUIRE(pf_space_same(&classifier->space, &model->space, why, sizeof why), PF_ESHAPE,
               "the classifier and the model were trained on other data: %s", why);
    const pf_ddpm *a = classifier->self, *b = model->self;
    PF_REQUIRE(a->T == b->T && !memcmp(a->gauss->beta, b->gauss->beta,
                                       (size_t)a->T * sizeof *a->gauss->beta),
               PF_EARG,
               "the classifier knows another noise than the model: method.steps, schedule and "
               "betas must be the same");
    return PF_OK;
}

const pf_method_ops pf_method_classifier = {
    .name = "classifier",
    .help = "a classifier of images with the noise of ddpm, to guide its samples (Dhariwal and "
            "Nichol 2021)",
    .size = sizeof(pf_ddpm_opt),
    .opts = opts,
    .acts = pf_ddpm_acts,
    .kinds = 1u << PF_LEVELS,
    .grids = 1u << PF_GRID_PUBLISHED,
    .labels = 1,
    .open = open,
    .close = close,
    .ports = ports,
    .scratch = scratch_bytes,
    .see = see,
    .loss = loss,
    .classifier = classifier,
};
