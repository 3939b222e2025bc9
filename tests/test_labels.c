/* A loss that reads labels: a method of this test's own. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/train.h>
#include "comm/ranks.h"
#include "train/loop.h"
#include "scratch.h"

enum { IMAGES = 48, SIDE = 4, PIXELS = SIDE * SIDE, CLASSES = 5, STEP = 50 };

static pf_comm solo = {.size = 1, .threads = 1, .one_host = 1};

/* ---- images of STEP times their label, and a loss of 2 where both agree, else 1 or less ---- */

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    (void)opt;
    *self = pf_zalloc(sizeof *space);
    PF_REQUIRE(*self, PF_EMEM, "no memory for the method of a test");
    *(pf_space *)*self = *space;
    return PF_OK;
}

static void ports(const void *self, pf_ports *offered)
{
    const pf_space *s = self;
    const pf_shape one = {1, 1, 1};
    *offered = (pf_ports){
        .n = 4,
        .port = {{"x", s->shape, 0}, {"cond", one, 0}, {"sigma", one, 0}, {"mean", one, 0}},
        .out = s->shape};
}

static size_t scratch_bytes(const void *self)
{
    (void)self;
    return 8;
}

static void see(const void *self, const pf_batch *b, void *to, void *const *in)
{
    (void)self, (void)b, (void)to, (void)in;
}

static void loss(const void *self, const pf_batch *b, const void *from, const float *net,
                 double scale, double *term, float *gout)
{
    (void)self, (void)from, (void)net, (void)scale;
    for (int s = 0; s < b->B; s++) {
        double level = ((double)b->x[s * PIXELS] + 1) / 2 * 255;
        int same = b->label && b->label[s] == (int)lround(level / STEP);
        term[s] = b->label && b->label[s] >= 0 ? 1.0 + same : 0.0;
    }
    if (gout) memset(gout, 0, (size_t)b->B * PIXELS * sizeof *gout);
}

static const pf_opt none[] = {{0}};
static const pf_method_ops reader = {.name = "reader",
                                     .size = sizeof(int),
                                     .opts = none,
                                     .kinds = 1u << PF_LEVELS,
                                     .open = open,
                                     .close = pf_free,
                                     .ports = ports,
                                     .scratch = scratch_bytes,
                                     .see = see,
                                     .loss = loss,
                                     .labels = 1};

static void write_data(const char *name, int labelled)
{
    static uint8_t pixels[IMAGES * PIXELS];
    static int32_t label[IMAGES];
    static double condition[IMAGES];
    for (int i = 0; i < IMAGES; i++) {
        label[i] = i * 7 % CLASSES;
        condition[i] = i;
        memset(pixels + i * PIXELS, STEP * label[i], PIXELS);
    }
    pf_dataset_info info = {
        .name = "flat",
        .source = "made here",
        .space = {.kind = PF_LEVELS, .shape = {SIDE, SIDE, 1}, .levels = 256, .conditions = 1}};
    pf_dataset_split s[] = {{"train", IMAGES, pixels, NULL, NULL, NULL, condition},
                            {"test", IMAGES / 2, pixels, NULL, NULL, NULL, condition}};
    if (labelled) s[0].labels = s[1].labels = label;
    must(pf_dataset_write(in_dir(name), &info, s, 2));
}

/* The network is told the conditions of half of the samples, and no labels. */
static pf_experiment experiment(const char *data)
{
    char yaml[1024];
    pf_config *c = NULL;
    pf_experiment e;
    snprintf(yaml, sizeof yaml,
             "name: tiny\nseed: 3\nshards: 2\ndata: {path: %s}\nmethod: {name: ddpm}\n"
             "model: {name: ddpmpp, width: 8, multipliers: [1], blocks: 1, attention: [],"
             " condition: true}\n"
             "train: {steps: 4, batch: 8, drop_conditions: 0.5, eval_images: 12}\n",
             in_dir(data));
    must(pf_config_parse(yaml, "tiny", &c));
    must(pf_experiment_read(c, &e));
    pf_config_free(c);
    return e;
}

static void a_loss_that_reads_labels_is_told_them(void **state)
{
    (void)state;
    write_data("labels.h5", 1);
    pf_method_ops blind = reader;
    blind.labels = 0;
    for (int k = 0; k < 2; k++) {
        pf_experiment e = experiment("labels.h5");
        pf_trainer *t = NULL;
        double of_eval = NAN;
        e.method.ops = k ? &blind : &reader;
        must(pf_trainer_create(&solo, &e, &t));
        must(pf_trainer_open(t));
        must(pf_trainer_open_state(t));
        must(pf_eval_open(t));
        must(pf_trainer_load(t, ""));
        assert_int_equal(t->net->space.classes, k ? 0 : CLASSES);
        assert_int_equal(pf_net_labels(t->net), !k);
        assert_false(pf_net_reads(t->net, "label"));
        /* of all samples, those with withheld conditions among them */
        for (int i = 0; i < 4; i++) {
            must(pf_trainer_step(t));
            assert_true(t->tally.loss == (k ? 0.0 : 2.0));
        }
        must(pf_eval_loss(t, &of_eval));
        assert_true(of_eval == (k ? 0.0 : 2.0));
        pf_trainer_free(t);
    }
}

static void it_does_not_take_data_without_classes(void **state)
{
    (void)state;
    write_data("plain.h5", 0);
    pf_experiment e = experiment("plain.h5");
    pf_trainer *t = NULL;
    e.method.ops = &reader;
    must(pf_trainer_create(&solo, &e, &t));
    assert_int_equal(pf_trainer_open(t), PF_EARG);
    assert_string_equal(pf_error_message(),
                        "method reader reads labels, but the data have no classes");
    pf_trainer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_that_reads_labels_is_told_them),
        cmocka_unit_test(it_does_not_take_data_without_classes),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
