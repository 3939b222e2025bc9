/* What a network returns, as an affine map to the score of x_t = mean x_0 + std z:
 *
 *     noise   z               score = -net/std
 *     score   itself          score = net
 *     data    x_0             score = (mean net - x_t)/std^2
 *     v       mean z - std x_0,   score = -(x_t + mean net/std)/(mean^2 + std^2)
 *
 * Source  Salimans and Ho 2022, section 4 and appendix D (v; there mean^2 + std^2 = 1). */
#ifndef PROBFLOW_SRC_METHOD_PREDICT_H
#define PROBFLOW_SRC_METHOD_PREDICT_H

typedef enum pf_predict {
    PF_PREDICT_BY_SDE, /* score where the SDE's published networks return it, else noise */
    PF_PREDICT_NOISE,
    PF_PREDICT_SCORE,
    PF_PREDICT_DATA,
    PF_PREDICT_V
} pf_predict;
extern const char *const pf_predict_words[]; /* NULL-terminated, by pf_predict */

/* score = a x + c net. */
typedef struct pf_affine_score {
    double a, c;
} pf_affine_score;
/* p: not BY_SDE. */
pf_affine_score pf_predict_score(pf_predict p, double mean, double std);

#endif
