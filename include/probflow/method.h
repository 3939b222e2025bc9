/* Methods: how data are noised, what a network is asked for, and what the loss is.
 *
 * A new method is one file with one pf_method_ops and one row of methods.c.
 *
 *     open -> self, read-only        see(batch) -> ports, scratch        network(ports) -> net
 *     again(net) -> ports, network(ports) -> net      where it looks twice
 *     loss(batch, scratch, net) -> loss and d(sum of losses)/d net
 *
 * Once trained, a method shows its model as a score, as a chain of steps, or as both.
 *
 * Every draw is keyed by the batch's seed and the samples' global numbers, so neither ranks nor threads
 * nor the size of a batch change a number. */
#ifndef PROBFLOW_METHOD_H
#define PROBFLOW_METHOD_H

#include <probflow/chain.h>
#include <probflow/config.h>
#include <probflow/graph.h>
#include <probflow/score.h>
#include <probflow/sde.h>
#include <probflow/space.h>
#include <probflow/times.h>
#include <probflow/view.h>

typedef struct pf_net pf_net;     /* probflow/net.h */
typedef struct pf_model pf_model; /* probflow/model.h */

typedef enum pf_clip {
    PF_CLIP_METHOD,
    PF_CLIP_NO,
    PF_CLIP_YES
} pf_clip;                                /* method: as it says */
extern const char *const pf_clip_words[]; /* of PF_ENUM */

/* How a trained model is to be seen. */
typedef struct pf_view_opt {
    int batch;           /* samples of a call, at most */
    int with_vjp;        /* of a score: vector-Jacobian products too; 0 saves memory */
    const char *backend; /* as in pf_plan_opt */
    /* Of a chain: which of its steps are kept, as its method writes it; NULL and "": all.  Are predictions of the
     * data cut to their range? */
    const char *respacing;
    pf_clip clip;
    /* `self` of a view of the same net with the same options, whose prepared parameters serve this one too
     * and which must live as long as this one is used; NULL: own ones. */
    const void *with;
} pf_view_opt;

/* The option `key` acts where the option `other` has one of the values, "A" or "A|B|C"; where it has another, a
 * value of the key that is not its default is refused before a training. */
typedef struct pf_acts {
    const char *key, *other, *values;
} pf_acts;

typedef struct pf_method_ops {
    const char *name, *help;
    size_t size;        /* of the options */
    const pf_opt *opts; /* of section `method` */
    unsigned kinds;     /* bit 1u << kind for each pf_kind it takes */
    unsigned grids;     /* bit 1u << grid for each pf_grid of its levels; 0: all */
    /* Other sections and rules between options; NULL: section `method` is all there is. */
    pf_status (*read)(pf_config *c, void *opt);
    /* Canonical text of those sections: what defines the model's distributions goes before the model's own
     * section, the loss behind it. */
    pf_status (*write)(const void *opt, int loss, pf_text *t);
    /* What of section `method` may change once a network is trained: "KEY", or "KEY=VALUE" from one such value of
     * the key to another; NULL-terminated, NULL: nothing. */
    const char *const *free_keys;
    const pf_acts *acts; /* ends with zeros; NULL: every option acts always */
    /* Makes the tables.  *self is read-only afterwards and may be shared by threads.  Fails PF_EARG
     * (options or a space that do not fit), PF_EMEM. */
    pf_status (*open)(const void *opt, const pf_space *space, void **self);
    void (*close)(void *self);          /* NULL allowed */
    size_t (*tables)(const void *self); /* bytes of them, to be told; NULL: too few for that */
    /* The ports offered to a network, and the shape of its output. */
    void (*ports)(const void *self, pf_ports *offered);
    /* The graph, where the model is a part of it: it builds m on ports of its own, once or more often under prefixes, and
     * returns what see and loss are of, offered->out.  NULL: the graph is the model's.
     * Test  a_method_builds_around_its_model */
    pf_node (*build)(const void *self, const pf_model *m, pf_graph *g, const pf_ports *offered);
    size_t (*scratch)(const void *self); /* bytes a sample, a multiple of 8 */
    /* Draws, and fills in[i] ([B] of port i; NULL where the network does not read it) and scratch. */
    void (*see)(const void *self, const pf_batch *b, void *scratch, void *const *in);
    /* loss [B], unweighted; gout (NULL: unwanted) = scale d(sum of losses)/d net, each loss times its
     * b->weight where there are some. */
    void (*loss)(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *loss, float *gout);
    /* T when its indices are to be drawn by the second moment of their loss, which training then remembers
     * and tells as b->index; 0, or NULL: it draws by itself. */
    int (*times)(const void *self);
    pf_times_law times_law; /* by which they are drawn then */
    /* A network that is told its own first answer.  Where it looks twice, one forward pass is made of what see filled
     * in, again changes inputs by what that returned, net [B,out], without a gradient, and the loss is that of
     * the pass made then.  looks_twice NULL: 0. */
    int (*looks_twice)(const void *self);
    void (*again)(const void *self, const pf_batch *b, void *scratch, const float *net,
                  void *const *in);
    int labels; /* 1: its loss reads the batch's labels, which nothing then withholds */
    /* Network rows a sample, r; NULL: 1.  The ports' memory, the network's output and gout then hold r B rows, row k
     * of sample s at k B + s. */
    int (*rows)(const void *self);
    /* Views; NULL: there is none.  The net has parameters and outlives them. */
    pf_status (*score)(const pf_net *n, const pf_view_opt *o, pf_score *out);
    pf_status (*chain)(const pf_net *n, const pf_view_opt *o, pf_chain *out);
    pf_status (*classifier)(const pf_net *n, const pf_view_opt *o, pf_classifier *out);
    /* The SDE whose marginals the score belongs to, the noise levels the network is trained for, and the smallest
     * time of training; NULL: there are none. */
    const pf_sde *(*sde)(const void *self);
    const pf_ladder *(*ladder)(const void *self);
    double (*t_min)(const void *opt);
} pf_method_ops;

/* A method with its options: plain data, copied freely. */
enum { PF_METHOD_BYTES = 192 };
typedef struct pf_method {
    const pf_method_ops *ops;
    union {
        double align;
        unsigned char bytes[PF_METHOD_BYTES];
    } opt;
} pf_method;

extern const pf_method_ops *const pf_methods[]; /* NULL-terminated; the first is the default */
/* Row by name; fails PF_EARG naming the nearest.  Options get their defaults. */
PF_MUST_USE pf_status pf_method_init(const char *name, pf_method *out);
/* The one that method.name says, the default where it says none, with its sections.  Fails PF_EARG. */
PF_MUST_USE pf_status pf_method_read(pf_config *c, pf_method *out);
/* Fails PF_EARG naming the first option that is set and cannot act, and the one that keeps it from it.
 * Test  an_option_that_cannot_act_is_refused */
PF_MUST_USE pf_status pf_method_acts(const pf_method *m);
/* Canonical text of its sections; see pf_method_ops.write. */
PF_MUST_USE pf_status pf_method_write(const pf_method *m, int loss, pf_text *t);
/* 1 when "KEY=VALUE" of section `method` may be set for a network that was trained with m. */
int pf_method_is_free(const pf_method *m, const char *set);
/* Score matching under this SDE, its loss at the defaults. */
pf_method pf_method_of_sde(const pf_sde *sde);
/* The smallest time a network is trained for; 0 when the method has steps instead of a time. */
double pf_method_t_min(const pf_method *m);

#endif
