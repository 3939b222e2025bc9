/* Kinds of files about published networks whose weights follow from a formula. */
#ifndef PF_TESTS_VECTORS_PUBLISHED_NET_H
#define PF_TESTS_VECTORS_PUBLISHED_NET_H

#include "vectors.h"

extern const vectors_kind vectors_improved_unet, vectors_guided_unet, vectors_guided_classifier,
    vectors_ncsn_net, vectors_ncsnv2_net, vectors_transformer, vectors_dit, vectors_lstm;

#endif
