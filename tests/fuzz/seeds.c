/* seeds DIR: small good inputs of each target, DIR/TARGET/NAME, made by our own writers. */
#include <errno.h>
#include <hdf5.h>
#include <probflow/data.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jpeglib.h>
#include "results.h"

static const char *root;

static const char *place(const char *target, const char *name)
{
    static char buf[4][512];
    static int k;
    k = (k + 1) % 4;
    snprintf(buf[k], sizeof buf[k], "%s/%s", root, target);
    mkdir(buf[k], 0777);
    snprintf(buf[k], sizeof buf[k], "%s/%s/%s", root, target, name);
    unlink(buf[k]);
    return buf[k];
}

static void must(int ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "seeds: %s: %s\n", what,
            pf_error_message()[0] ? pf_error_message() : strerror(errno));
    exit(1);
}

static void put(const char *path, const void *head, size_t n_head, const void *b, size_t n)
{
    FILE *f = fopen(path, "wb");
    must(f && fwrite(head, 1, n_head, f) == n_head && fwrite(b, 1, n, f) == n && !fclose(f),
         path);
}

static size_t slurp(const char *path, unsigned char *b, size_t cap)
{
    FILE *f = fopen(path, "rb");
    must(f != NULL, path);
    size_t n = fread(b, 1, cap, f);
    fclose(f);
    return n;
}

/* flags, CUT, two parts */
static void put_parts(const char *path, int flags, const unsigned char *b, size_t cut, size_t n)
{
    const unsigned char head[3] = {(unsigned char)flags, (unsigned char)cut,
                                   (unsigned char)(cut >> 8)};
    put(path, head, 3, b, n);
}

/* Texts behind a byte of flags each. */
static void put_texts(const char *target, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%zu", i);
        put(place(target, name), texts[i], 1, texts[i] + 1, strlen(texts[i] + 1));
    }
}

static void idx(void)
{
    static const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2};
    static const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 1};
    static const unsigned char four[] = {0, 0, 8, 4, 0, 0, 0, 1, 0, 0,
                                         0, 2, 0, 0, 0, 2, 0, 0, 0, 3};
    unsigned char b[128] = {0};
    size_t cut = sizeof images + 12;
    memcpy(b, images, sizeof images);
    for (size_t i = sizeof images; i < cut; i++) b[i] = (unsigned char)(17 * i);
    memcpy(b + cut, labels, sizeof labels);
    for (int flags = 0; flags < 16; flags++) {
        char name[16];
        snprintf(name, sizeof name, "pair%d", flags);
        put_parts(place("idx", name), flags, b, cut, cut + sizeof labels);
    }
    memcpy(b, four, sizeof four);
    put_parts(place("idx", "colour"), 4, b, sizeof four + 12, sizeof four + 12);
}

static size_t npy_of(unsigned char *b, const char *type, const char *order, const char *shape,
                     size_t n)
{
    char *head = (char *)b + 10;
    int len = sprintf(head, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", type,
                      order, shape);
    memcpy(b, "\x93NUMPY\1\0", 8);
    b[8] = (unsigned char)len, b[9] = 0;
    for (size_t i = 0; i < n; i++) b[10 + (size_t)len + i] = (unsigned char)(i % 16 == 3);
    return 10 + (size_t)len + n;
}

/* Arrays with labels of two rows: alone, and as members of an archive. */
static void arrays(void)
{
    static const struct {
        const char *type, *order, *shape;
        size_t n;
    } some[] = {{"|u1", "False", "(2, 3, 2)", 12},   {"|u1", "True", "(2, 3, 2, 2)", 24},
                {"|u1", "False", "(2, 12)", 24},     {"<f8", "True", "(2, 2)", 32},
                {">f4", "False", "(2,)", 8},         {"<f2", "False", "(2, 1)", 4},
                {">i8", "False", "(2, 2)", 32},      {"<u2", "True", "(2, 3)", 12},
                {"<i4", "False", "(2, 1, 2, 3)", 48}};
    static unsigned char b[4096], packed[4096];
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        char name[16];
        size_t cut = npy_of(b, some[i].type, some[i].order, some[i].shape, some[i].n);
        size_t n = cut + npy_of(b + cut, "<i8", "False", "(2,)", 16);
        snprintf(name, sizeof name, "a%zu", i);
        put_parts(place("npy", name), i % 2 ? 8 : 0, b, cut, n);
        put_parts(place("npz", name), i % 2 ? 1 : 3, b, cut, n);
    }
    const double x[4] = {1, 2, 3, 4};
    const int64_t y[2] = {1, 2};
    const pf_column c[] = {{"x", 2, x, NULL}, {"labels", 1, NULL, y}, {"other", 1, NULL, y}};
    const char *tmp = place("npz", "tmp");
    must(!pf_npz_write(tmp, 2, c, 3), "npz");
    size_t n = slurp(tmp, packed, sizeof packed);
    unlink(tmp);
    put_parts(place("npz", "whole"), 0, packed, 0, n);
}

/* As people's programs write it: no seal, no mark of ours. */
static void user(void)
{
    static const double x[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const struct {
        const char *name;
        int rank;
        hsize_t dim[3];
    } sets[] = {{"train/images", 3, {3, 2, 2}},
                {"train/labels", 1, {3}},
                {"train/conditions", 2, {3, 2}},
                {"x_test", 3, {3, 2, 2}},
                {"mean", 1, {2}}};
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS), l = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_libver_bounds(fapl, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    H5Pset_create_intermediate_group(l, 1);
    hid_t f = H5Fcreate(place("h5_user", "own"), H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        hid_t s = H5Screate_simple(sets[i].rank, sets[i].dim, NULL);
        hid_t d = H5Dcreate2(f, sets[i].name, i < 2 ? H5T_STD_U8LE : H5T_IEEE_F32BE, s, l,
                             H5P_DEFAULT, H5P_DEFAULT);
        must(d > 0 && H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) >= 0,
             "h5_user");
        H5Dclose(d);
        H5Sclose(s);
    }
    H5Fclose(f);
    H5Pclose(l);
    H5Pclose(fapl);
}

static void png(void)
{
    static unsigned char b[1 << 16], pixels[3 * 1024 * 3];
    char tmp[512];
    snprintf(tmp, sizeof tmp, "%s", place("png", "tmp"));
    for (int c = 1; c <= 3; c += 2) {
        for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(i * 7 / 5);
        must(!pf_png_grid(tmp, pixels, 1, (pf_shape){5, 4, c}, 1), "png");
        size_t n = slurp(tmp, b, sizeof b);
        for (int flag = 0; flag < 2; flag++) {
            char name[16];
            snprintf(name, sizeof name, "c%d-%d", c, flag);
            unsigned char head = (unsigned char)flag;
            put(place("png", name), &head, 1, b, n);
        }
    }
    must(!pf_png_grid(tmp, pixels, 1, (pf_shape){3, 1024, 3}, 1), "sheet");
    size_t n = slurp(tmp, b, sizeof b - 16);
    memcpy(b + n, "[1, 2, 3]\n", 10);
    put_parts(place("cifar", "sheet"), 1, b, n, n + 10);
    put_parts(place("cifar", "sheet-alone"), 5, b, n, n);
    put_parts(place("cifar", "sheet-test"), 9, b, n, n + 10);
    unlink(tmp);
    memset(b, 9, 2 * 3073);
    for (int i = 0; i < 3072; i++) b[1 + i] = (unsigned char)i;
    put_parts(place("cifar", "batch"), 0, b, 2 * 3073, 2 * 3073);
    put_parts(place("cifar", "batch-test"), 8, b, 3073, 3073);
    memcpy(b + 2 * 3073, "cat\ndog\n9\n9\n9\n9\n9\n9\n9\n9\n", 24);
    put_parts(place("cifar", "folder"), 2, b, 2 * 3073, 2 * 3073 + 24);
    b[0] = 3, b[1] = 1;
    memcpy(b + 3074, "fish\na\na\na\n", 11);
    put_parts(place("cifar", "hundred"), 16, b, 3074, 3074);
    put_parts(place("cifar", "folder-hundred"), 18, b, 3074, 3074 + 11);
}

static void jpeg(void)
{
    static unsigned char b[1 << 16], pixels[24 * 17 * 3];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(i * i / 900);
    for (int kind = 0; kind < 8; kind++) {
        struct jpeg_compress_struct z;
        struct jpeg_error_mgr errors;
        unsigned char *file = NULL, head = (unsigned char)(kind % 4);
        unsigned long n = 0;
        char name[16];
        z.err = jpeg_std_error(&errors);
        jpeg_create_compress(&z);
        jpeg_mem_dest(&z, &file, &n);
        z.image_width = 17, z.image_height = 24;
        z.input_components = kind & 1 ? 1 : 3;
        z.in_color_space = kind & 1 ? JCS_GRAYSCALE : JCS_RGB;
        jpeg_set_defaults(&z);
        if (kind & 4) jpeg_simple_progression(&z);
        jpeg_start_compress(&z, TRUE);
        while (z.next_scanline < z.image_height) {
            JSAMPROW row = pixels + z.next_scanline * 17 * (unsigned)z.input_components;
            jpeg_write_scanlines(&z, &row, 1);
        }
        jpeg_finish_compress(&z);
        jpeg_destroy_compress(&z);
        must(n < sizeof b, "jpeg");
        memcpy(b, file, n);
        free(file);
        snprintf(name, sizeof name, "kind%d", kind);
        put(place("jpeg", name), &head, 1, b, n);
    }
}

static void yaml(void)
{
    static const char *const texts[] = {
        "\0train: {whole: 4, real: 1e-3, list: [1, 2]}\nmodel:\n  word: yes\n  text: \"a "
        "\\\"b\\\"\"\n",
        "\0{\"train\": {\"yes\": false, \"large\": 1e6}}",
        "\0train:\n  text: |\n    two\n    lines\nmodel: {}\n",
        "\0train: &a {text: 'it''s'}\nmodel: {text: !!str 12}\n",
        "\1train.text=M\xc3\xbcnchen",
        "\1model.list=[3,4]",
        "\1train.word=hosts",
        "\2-7",
        "\3"
        "123456789",
        "\4"
        "1e-3",
        "\5no",
        "\6yes",
        "\7/a b:#c",
        "\10[1,2,3]"};
    put_texts("yaml", texts, sizeof texts / sizeof *texts);
}

static void csv(void)
{
    static const char *const texts[] = {"\0u,v,class\n1,2.5,cat\n-3e-2,4,dog\n",
                                        "\1# u v\n1 2\n\n3\t4\n",
                                        "\2\xef\xbb\xbfu\ty\r\n1\t0\r\n2\t3",
                                        "\4,\"u, \"\"v\"\"\",target\n0,1,-1\n1,2,1\n\n",
                                        "\10"
                                        "1;2;3\n4;5;6\n",
                                        "\20"
                                        "1,2\n3,4\n",
                                        "\40u,v\n1,0.5\n"};
    put_texts("csv", texts, sizeof texts / sizeof *texts);
}

static void texts(void)
{
    static const char *const texts[] = {
        "\340ab, 12 ab.\n AB\nabababababababab\n", "\141Hello World 1984, and so on and on\n\n",
        "\44a\nb\r\n\ncdefghi\nj\nk\nl\nm\nn\no\np\nq\nr\ns\nt\nu\n",
        "\202bytes of any kind \x01\xff\x80 and more"};
    put_texts("text", texts, sizeof texts / sizeof *texts);
    static const char by[] = "\103a\nb\nab\n\\n\n\\x20\n\0abab ba\nab a b abbbab\naaaa";
    put(place("text", "vocabulary"), by, 1, by + 1, sizeof by - 2);
}

static void datasets(void)
{
    unsigned char images[6 * 12];
    unsigned char tokens[6 * 12];
    int32_t labels[6] = {0, 1, 2, 0, 1, 2}, lengths[4] = {12, 3, 1, 12};
    double x[6 * 2], logp[6] = {0};
    for (int i = 0; i < 72; i++) images[i] = (unsigned char)(i * 3), tokens[i] = i % 5;
    for (int i = 0; i < 12; i++) x[i] = 0.1 * i;
    pf_dataset_info info = {.name = "small",
                            .source = "a b",
                            .sha256 = "00",
                            .space = {.kind = PF_LEVELS, .shape = {2, 2, 3}, .levels = 256}};
    pf_dataset_split s[2] = {
        {.split = "train", .n = 4, .values = images, .labels = labels, .coarse = labels},
        {.split = "test", .n = 2, .values = images, .labels = labels}};
    must(!pf_dataset_write(place("h5_dataset", "images"), &info, s, 2), "dataset");
    s[0].labels = s[0].coarse = NULL;
    must(!pf_dataset_write(place("h5_dataset", "bare"), &info, s, 1), "dataset");
    info.space = (pf_space){.kind = PF_TOKENS, .shape = {1, 1, 12}, .levels = 5};
    s[0].values = tokens;
    s[0].lengths = lengths;
    must(!pf_dataset_write(place("h5_dataset", "tokens"), &info, s, 1), "tokens");
    s[0].lengths = NULL;
    info.space = (pf_space){.kind = PF_REAL, .shape = {1, 1, 2}, .conditions = 2};
    s[0].values = x, s[0].logp = logp, s[0].conditions = x;
    must(!pf_dataset_write(place("h5_dataset", "points"), &info, s, 1), "points");
}

static void checkpoints(void)
{
    pf_param v[12];
    float block[12 * 4];
    memset(v, 0, sizeof v);
    for (int i = 0; i < 48; i++) block[i] = (float)i;
    for (int i = 0; i < 12; i++) {
        snprintf(v[i].name, sizeof v[i].name, "layer.%d", i);
        v[i].rank = 2, v[i].dim[0] = 2, v[i].dim[1] = 2, v[i].size = 4,
        v[i].offset = 4 * (size_t)i;
        v[i].trainable = 1;
    }
    pf_checkpoint c = {.n_views = 3,
                       .views = v,
                       .floats = 12,
                       .params = block,
                       .ema = block,
                       .adam_m = block,
                       .adam_v = block,
                       .step = 4,
                       .seed = 3,
                       .shards = 4,
                       .space.shape = {2, 2, 1},
                       .config = "seed: 3\ntrain: {steps: 4}\n"};
    must(!pf_checkpoint_write(place("h5_checkpoint", "state"), &c), "checkpoint");
    c.n_views = 12, c.floats = 48, c.ema = c.adam_m = c.adam_v = NULL;
    must(!pf_checkpoint_write(place("h5_checkpoint", "many"), &c), "checkpoint");
}

static void results(void)
{
    for (int done = 0; done <= 3; done += 3) {
        pf_results *r = NULL;
        pf_summary s = {.images = 6, .rows = 6, .n = 1, .figure = {{"nll", 3}}};
        must(!pf_results_open(place("h5_results", done ? "done" : "begun"), &fuzz_results, &r),
             "results");
        for (int g = 0; g < done; g++) {
            row rows[2] = {{.image = 2 * g, .nll = 3}, {.image = 2 * g + 1, .nll = 3}};
            pf_ledger l = ledger_of_rows(rows, 2);
            must(!pf_results_put(r, g, l.cell, 2), "results");
            free(l.cell);
        }
        if (done) must(!pf_results_summary(r, &s), "summary");
        must(!pf_results_close(r), "results");
    }
}

static void metrics(void)
{
    static const char *const names[] = {"step", "loss", "lr"};
    static unsigned char b[1 << 18];
    pf_metrics *m = NULL;
    const char *path = place("h5_metrics", "sealed");
    must(!pf_metrics_open(path, names, 3, -1, &m), "metrics");
    for (int i = 0; i < 5; i++)
        must(!pf_metrics_append(m, (double[]){i, 0.5 * i, 1e-3}), "metrics");
    size_t n = slurp(path, b, sizeof b); /* as a kill leaves it */
    must(!pf_metrics_close(m, PF_OK), "metrics");
    put(place("h5_metrics", "killed"), b, 0, b, n);
}

static void foreign(void)
{
    double x[16] = {0}, t[2] = {0.5, 0.5};
    float a[6] = {1, 2, 3, 4, 5, 6};
    pf_out_array arrays[] = {{"x", 4, {2, 2, 2, 2}, x, NULL, NULL},
                             {"t", 1, {2}, t, NULL, NULL},
                             {"params/a", 2, {2, 3}, NULL, a, NULL},
                             {"params/b", 1, {3}, NULL, a, NULL}};
    pf_out_attr attrs[] = {{"net", "{\"nf\": 8}", 0}, {"beta_min", NULL, 0.1}};
    must(!pf_store_write(place("h5_foreign", "arrays"), arrays, 4, attrs, 2), "arrays");
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    root = argv[1];
    mkdir(root, 0777);
    idx();
    arrays();
    user();
    png();
    jpeg();
    yaml();
    csv();
    texts();
    datasets();
    checkpoints();
    results();
    metrics();
    foreign();
    return 0;
}
