/* Predictions as affine maps to the score; see predict.h. */
#include "method/predict.h"

#include <stddef.h>

const char *const pf_predict_words[] = {"by_sde", "noise", "score", "data", "v", NULL};

pf_affine_score pf_predict_score(pf_predict p, double mean, double std)
{
    double all = mean * mean + std * std;
    switch (p) {
    case PF_PREDICT_SCORE:
        return (pf_affine_score){0.0, 1.0};
    case PF_PREDICT_DATA:
        return (pf_affine_score){-1.0 / (std * std), mean / (std * std)};
    case PF_PREDICT_V:
        return (pf_affine_score){-1.0 / all, -mean / (std * all)};
    default:
        return (pf_affine_score){0.0, -1.0 / std};
    }
}
