/* The definition of the results that are seeds, under which the target continues and adopts them. */
#ifndef PF_TESTS_FUZZ_RESULTS_H
#define PF_TESTS_FUZZ_RESULTS_H

#include <probflow/store.h>
#include "../ledger_rows.h"

static const pf_results_info fuzz_results = {.images = 6,
                                             .draws = 1,
                                             .group = 2,
                                             .config = "seed: 1\n",
                                             .columns = ROW_CELLS,
                                             .column = row_columns};

#endif
