/* Our HDF5 files, read in a child.  KIND chooses the reader: dataset, checkpoint, results, metrics,
 * what other programs write (foreign), or what people convert (user).
 *
 *     input   the file, its seal included */
#include <probflow/config.h>
#include <probflow/data.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include <string.h>
#include <unistd.h>
#include "convert.h"
#include "results.h"
#include "store/h5.h"

static void look(const char *path)
{
    int same = 0;
    FILE *nowhere = fopen("/dev/null", "w");
    (void)!pf_store_info(path, nowhere);
    fuzz_begin_step();
    (void)!pf_store_compare(path, path, nowhere, &same);
    fclose(nowhere);
    fuzz_begin_step();
}

static inline void read_dataset(const char *path)
{
    static const char *const splits[] = {"train", "valid", "test"};
    for (int s = 0; s < 3; s++) {
        pf_dataset *d = NULL;
        fuzz_begin_step();
        if (pf_dataset_open(path, splits[s], &d)) continue;
        pf_data_opt opt;
        pf_shard *shard = NULL;
        pf_opt_defaults(pf_data_opts, &opt);
        if (!pf_shard_open(d, &opt, 0, 1, 1, &shard)) {
            int64_t count[64];
            pf_shape shape = pf_dataset_about(d)->space.shape;
            size_t row = (size_t)shape.h * (size_t)shape.w * (size_t)shape.c;
            float *x = row < 1 << 24 ? pf_zalloc(2 * row * sizeof *x) : NULL;
            memset(count, 0, sizeof count);
            if (shape.c * 4 <= 64) (void)!pf_shard_count_levels(shard, shape.c, 4, count);
            if (x && pf_shard_size(shard) > 0) pf_shard_batch(shard, 0, 2, x);
            pf_free(x);
        }
        double condition[64];
        int32_t label;
        const pf_dataset_info *a = pf_dataset_about(d);
        if (a->n > 0 && a->space.conditions <= 64)
            (void)!pf_dataset_conditions(d, 0, 1, condition);
        if (a->n > 0) (void)!pf_dataset_coarse(d, a->n - 1, 1, &label);
        pf_shard_free(shard);
        pf_dataset_close(d);
    }
}

static inline void read_checkpoint(const char *path)
{
    pf_checkpoint c;
    pf_config *config = NULL;
    if (pf_checkpoint_read(path, 1, &c)) return;
    double sum = 0;
    for (int i = 0; i < c.n_views; i++)
        for (size_t k = 0; k < c.views[i].size; k++)
            sum += (double)c.params[c.views[i].offset + k];
    if (sum == 1e300) fuzz_finding("never");
    (void)!pf_config_parse(c.config, path, &config);
    pf_config_free(config);
    pf_checkpoint_free(&c);
}

static inline void read_results(const char *path)
{
    pf_results *r = NULL;
    if (!pf_results_open(path, &fuzz_results, &r)) {
        pf_ledger rows = {0};
        (void)!pf_results_rows(r, &rows);
        pf_free(rows.cell);
        (void)!pf_results_close(r);
    }
    fuzz_begin_step();
    if (!pf_results_open(fuzz_path("own.h5"), &fuzz_results, &r)) {
        int64_t adopted = 0;
        (void)!pf_results_adopt(r, path, &adopted);
        (void)!pf_results_close(r);
    }
    unlink(fuzz_path("own.h5"));
}

static inline void read_metrics(const char *path)
{
    static const char *const names[] = {"step", "loss", "lr"};
    const double row[] = {9, 0.5, 1e-3};
    pf_metrics *m = NULL;
    if (pf_metrics_open(path, names, 3, 8, &m)) return;
    pf_status st = pf_metrics_append(m, row);
    (void)!pf_metrics_close(m, st);
}

static inline void read_foreign(const char *path)
{
    static const char *const names[] = {"x", "t", "params/a"};
    static const char *const attributes[] = {"net", "beta_min"};
    int n = 0;
    pf_param *views = NULL;
    float *flat = NULL;
    for (int i = 0; i < 3; i++) {
        pf_array a = {0};
        fuzz_begin_step();
        if (!pf_store_read_array(path, names[i], &a)) pf_array_free(&a);
    }
    for (int i = 0; i < 2; i++) {
        char *text = NULL;
        fuzz_begin_step();
        if (!pf_store_read_attr(path, attributes[i], &text)) pf_free(text);
    }
    fuzz_begin_step();
    if (pf_store_read_group(path, "params", &n, &views, &flat)) return;
    pf_free(views);
    pf_free(flat);
}

static inline void read_user(const char *path)
{
    convert(&path, 1);
}

#define JOIN(a, b)  a##b
#define READ_(kind) JOIN(read_, kind)
static void read_all(void *path)
{
    look(path);
    READ_(KIND)(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Half of the inputs by the program's own reading child, behind which nothing may die; the others
     * as sealed files are read, by libhdf5 at once. */
    int by_child = size > 0 && data[size - 1] & 1;
    fuzz_clear();
    pf_h5_read_in_child(by_child);
    fuzz_in_child(read_all, (void *)fuzz_put("f.h5", data, size), !by_child);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    (void)max;
    return fuzz_h5_mutate(data, size, seed);
}
