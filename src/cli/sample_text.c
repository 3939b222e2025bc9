/* `probflow sample --text`: samples of tokens as what they stand for. */
#include "cli/sample.h"

#include <probflow/data.h>
#include <probflow/file.h>
#include <probflow/memory.h>
#include <probflow/vocabulary.h>

#include <string.h>
#include <unistd.h>

static int is_stdout(const pf_sample_job *j)
{
    return !strcmp(j->text, "-");
}

static PF_MUST_USE pf_status read_vocabulary(pf_sample_job *j)
{
    pf_dataset *set = NULL;
    char why[128];
    PF_TRY(pf_data_or_stored(&j->model, &j->data));
    PF_TRY(pf_dataset_open(j->data, "train", &set));
    const pf_dataset_info *about = pf_dataset_about(set);
    pf_status st = PF_OK;
    if (!pf_space_same(&about->space, &j->model.net->space, why, sizeof why))
        st = pf_raise(PF_ESHAPE, PF_WHERE, "%s holds %s, as %s was made for", j->data, why,
                      j->model.path);
    else if (about->vocabulary && !(j->vocabulary = pf_strdup(about->vocabulary)))
        st = pf_raise(PF_EMEM, PF_WHERE, "no memory for a vocabulary");
    pf_dataset_close(set);
    PF_TRY(st);
    PF_REQUIRE(j->vocabulary || !j->text, PF_EARG,
               "--text: %s does not say what its tokens stand for", j->data);
    return PF_OK;
}

pf_status pf_sample_text_prepare(pf_sample_job *j)
{
    int tokens = j->model.net->space.kind == PF_TOKENS;
    PF_REQUIRE(tokens || !j->text, PF_EARG, "--text: %s is no model of tokens", j->model.path);
    PF_REQUIRE(!tokens || (!j->png && !j->previews), PF_EARG,
               "--%s is of images, and %s is a model of tokens", j->png ? "png" : "previews",
               j->model.path);
    /* a text says not of itself that it is ours to replace */
    PF_REQUIRE(!j->text || is_stdout(j) || access(j->text, F_OK), PF_EARG,
               "--text: %s is there already; remove it or name another", j->text);
    if (tokens && (j->text || (j->dataset && (j->data || j->model.e.data.path[0]))))
        PF_TRY(read_vocabulary(j));
    return PF_OK;
}

/* A line a sample.  Returns its bytes; to NULL: counts them alone. */
static size_t spell(const pf_sample_job *j, const pf_vocabulary *v, char *to)
{
    size_t D = (size_t)pf_space_dim(&j->model.net->space), n = 0;
    for (long i = 0; i < j->n; i++) {
        const double *x = j->sampling.x + (size_t)i * D;
        n += pf_vocabulary_spell(v, D, x, to ? to + n : NULL);
        if (to) to[n] = '\n';
        n++;
    }
    return n;
}

static PF_MUST_USE pf_status write_lines(const pf_sample_job *j, const pf_vocabulary *v)
{
    size_t n = spell(j, v, NULL);
    char *text = pf_zalloc(n);
    PF_REQUIRE(text, PF_EMEM, "no memory for the text of %ld samples", j->n);
    spell(j, v, text);
    pf_status st = PF_OK;
    if (is_stdout(j)) fwrite(text, 1, n, stdout);
    else st = pf_file_put(j->text, &(pf_bytes){text, n}, 1);
    pf_free(text);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_sample_text_write(const pf_sample_job *j)
{
    pf_vocabulary v = {0};
    pf_status st = pf_vocabulary_parse(j->vocabulary, &v);
    if (!st) st = write_lines(j, &v);
    pf_vocabulary_free(&v);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_sample_text_report(const pf_sample_job *j)
{
    const pf_space *s = &j->model.net->space;
    int D = pf_space_dim(s);
    double sum = 0.0, *entropy = pf_zalloc((size_t)D * sizeof *entropy);
    PF_REQUIRE(entropy, PF_EMEM, "no memory for %d positions", D);
    pf_status st = pf_symbol_entropy(s, j->n, j->sampling.x, entropy);
    for (int i = 0; i < D; i++) sum += entropy[i];
    if (!st)
        printf(
            "entropy       %.4f bits of the symbols at a position over the samples, the mean "
            "of %d; first %.4f, last %.4f\n",
            sum / D, D, entropy[0], entropy[D - 1]);
    pf_free(entropy);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
