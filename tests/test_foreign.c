/* Files that are not ours, or no longer what they were: each is read, or refused by one sentence that
 * names it, and neither leaves memory or descriptors behind. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <zlib.h>
#include "scratch.h"
#include "store/h5.h"

enum { N = 6 };

static hid_t fresh(const char *path)
{
    pf_h5_quiet();
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(f > 0);
    return f;
}

/* A dataset of these dims; v NULL: nothing is written.  plist 0: the usual one. */
static void add(hid_t at, const char *name, hid_t type, int rank, const hsize_t *dim,
                hid_t memory, const void *v, hid_t plist)
{
    hid_t space = H5Screate_simple(rank, dim, NULL), links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    hid_t d =
        H5Dcreate2(at, name, type, space, links, plist > 0 ? plist : H5P_DEFAULT, H5P_DEFAULT);
    assert_true(d > 0);
    if (v) assert_true(H5Dwrite(d, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
    H5Dclose(d);
    H5Pclose(links);
    H5Sclose(space);
}

static void attr(hid_t at, const char *name, hid_t type, hsize_t n, hid_t memory, const void *v)
{
    hid_t space = n ? H5Screate_simple(1, &n, NULL) : H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(a > 0 && H5Awrite(a, memory, v) >= 0);
    H5Aclose(a);
    H5Sclose(space);
}

static hid_t text_type(size_t n)
{
    hid_t t = H5Tcopy(H5T_C_S1);
    H5Tset_size(t, n);
    return t;
}

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Refused with a sentence that names the file and says why. */
static void refused(const char *path, pf_status st, const char *why)
{
    if (!st) fail_msg("%s was accepted", path);
    if (!strstr(pf_error_message(), path) || !strstr(pf_error_message(), why))
        fail_msg("not '%s' but: %s", why, pf_error_message());
}

static pf_status read_x(const char *path)
{
    pf_array a;
    pf_status st = pf_store_read_array(path, "x", &a);
    if (!st) pf_array_free(&a);
    return st;
}

static pf_status print_to_nowhere(const char *path)
{
    FILE *f = fopen("/dev/null", "w");
    pf_status st = pf_store_info(path, f);
    fclose(f);
    return st;
}

static pf_status compare(const char *a, const char *b, int *same, char *text, size_t n)
{
    FILE *f = fmemopen(text, n, "w");
    pf_status st = pf_store_compare(a, b, f, same);
    fclose(f);
    return st;
}

/* ---- what is read ---------------------------------------------------------------------------- */

static void foreign_values_come_back_unchanged(void **state)
{
    (void)state;
    const char *path = in_dir("good.h5");
    const double v[N] = {1, -2.5, 3, 0, 1e9, -1e-9};
    const int k[2] = {-5, 70000};
    const char *word = "two words";
    hid_t f = fresh(path), packed = H5Pcreate(H5P_DATASET_CREATE), t = text_type(H5T_VARIABLE);
    hsize_t chunk[2] = {1, 2};
    H5Pset_chunk(packed, 2, chunk);
    H5Pset_shuffle(packed);
    H5Pset_deflate(packed, 6);
    H5Pset_fletcher32(packed);
    add(f, "x", H5T_IEEE_F64BE, 2, (hsize_t[]){3, 2}, H5T_NATIVE_DOUBLE, v, packed);
    add(f, "params/b", H5T_IEEE_F32LE, 1, (hsize_t[]){N}, H5T_NATIVE_DOUBLE, v, 0);
    add(f, "params/a", H5T_IEEE_F64LE, 1, (hsize_t[]){2}, H5T_NATIVE_DOUBLE, v, 0);
    add(f, "i", H5T_STD_I32BE, 1, (hsize_t[]){2}, H5T_NATIVE_INT, k, 0);
    add(f, "s", t, 1, (hsize_t[]){1}, t, &word, 0);
    attr(f, "word", t, 0, t, &word);
    attr(f, "pair", H5T_STD_I32BE, 2, H5T_NATIVE_INT, k);
    H5Tclose(t);
    H5Pclose(packed);
    H5Fclose(f);

    int open = open_descriptors(), n = 0;
    pf_array a;
    must(pf_store_read_array(path, "x", &a));
    assert_true(a.rank == 2 && a.dim[0] == 3 && a.dim[1] == 2);
    assert_memory_equal(a.v, v, sizeof v);
    pf_array_free(&a);
    must(pf_store_read_array(path, "/i", &a));
    assert_true(a.v[0] == -5 && a.v[1] == 70000);
    pf_array_free(&a);
    pf_param *views = NULL;
    float *flat = NULL;
    must(pf_store_read_group(path, "params", &n, &views, &flat));
    assert_int_equal(n, 2);
    assert_string_equal(views[0].name, "a"); /* no order was recorded: by name */
    assert_true(flat[1] == -2.5f && flat[2 + 1] == -2.5f && flat[2 + 4] == 1e9f);
    pf_free(views);
    pf_free(flat);
    char *text = NULL;
    must(pf_store_read_attr(path, "word", &text));
    assert_string_equal(text, "two words");
    pf_free(text);
    must(pf_store_read_attr(path, "pair", &text));
    assert_string_equal(text, "-5 70000");
    pf_free(text);
    assert_true(pf_store_has(path, "params/b"));
    assert_false(pf_store_has(path, "params/c"));
    must(print_to_nowhere(path));
    refused(path, pf_store_read_array(path, "s", &a), "holds text, want numbers");
    assert_int_equal(open_descriptors(), open);
}

/* ---- what is not ----------------------------------------------------------------------------- */

static void soft(hid_t f)
{
    H5Lcreate_soft("/y", f, "x", H5P_DEFAULT, H5P_DEFAULT);
}

static void outward(hid_t f)
{
    H5Lcreate_external("/etc/passwd", "/", f, "x", H5P_DEFAULT, H5P_DEFAULT);
}

static void round_in_itself(hid_t f)
{
    hid_t g = H5Gcreate2(f, "x", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(g, ".", g, "again", H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(g);
}

static void deep(hid_t f)
{
    char name[128] = "x";
    for (int i = 0; i < 20; i++) strcat(name, "/g");
    add(f, name, H5T_STD_U8LE, 1, (hsize_t[]){1}, 0, NULL, 0);
}

/* Each level names the next twice: 2^14 ways through 14 groups. */
static void many_ways(hid_t f)
{
    hid_t g = H5Gcreate2(f, "x", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    for (int i = 0; i < 14; i++) {
        hid_t next = H5Gcreate2(g, "a", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Lcreate_hard(next, ".", g, "b", H5P_DEFAULT, H5P_DEFAULT);
        H5Gclose(g);
        g = next;
    }
    H5Gclose(g);
}

static void elsewhere(hid_t f)
{
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(p, "/etc/passwd", 0, 64);
    add(f, "x", H5T_STD_U8LE, 1, (hsize_t[]){64}, 0, NULL, p);
    H5Pclose(p);
}

static void virtual(hid_t f)
{
    hsize_t n = 4;
    hid_t p = H5Pcreate(H5P_DATASET_CREATE), s = H5Screate_simple(1, &n, NULL);
    H5Pset_virtual(p, s, "/etc/passwd", "x", s);
    add(f, "x", H5T_STD_U8LE, 1, &n, 0, NULL, p);
    H5Sclose(s);
    H5Pclose(p);
}

static void never_written(hid_t f)
{
    add(f, "x", H5T_IEEE_F64LE, 1, (hsize_t[]){1 << 28}, 0, NULL, 0);
}

static void few_chunks(hid_t f)
{
    hsize_t chunk = 4096;
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, 1, &chunk);
    add(f, "x", H5T_IEEE_F64LE, 1, (hsize_t[]){(hsize_t)1 << 59}, 0, NULL, p);
    H5Pclose(p);
}

static void large_chunk(hid_t f)
{
    hsize_t chunk = 1 << 29, n = 8, unlimited = H5S_UNLIMITED;
    hid_t p = H5Pcreate(H5P_DATASET_CREATE), s = H5Screate_simple(1, &n, &unlimited);
    H5Pset_chunk(p, 1, &chunk);
    hid_t d = H5Dcreate2(f, "x", H5T_STD_U8LE, s, H5P_DEFAULT, p, H5P_DEFAULT);
    H5Dclose(d);
    H5Sclose(s);
    H5Pclose(p);
}

static void unknown_filter(hid_t f)
{
    hsize_t chunk = 8;
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, 1, &chunk);
    H5Pset_scaleoffset(p, H5Z_SO_INT, 0);
    add(f, "x", H5T_STD_I32LE, 1, &chunk, 0, NULL, p);
    H5Pclose(p);
}

static void no_numbers(hid_t f)
{
    hid_t t = H5Tcreate(H5T_COMPOUND, 16);
    H5Tinsert(t, "a", 0, H5T_NATIVE_DOUBLE);
    H5Tinsert(t, "b", 8, H5T_NATIVE_DOUBLE);
    add(f, "x", t, 1, (hsize_t[]){2}, 0, NULL, 0);
    H5Tclose(t);
}

static void claims_a_seal(hid_t f)
{
    int yes = 1;
    attr(f, "sealed", H5T_STD_I32LE, 0, H5T_NATIVE_INT, &yes);
}

static const struct {
    void (*make)(hid_t f);
    const char *why;
} strange[] = {
    {soft, "is a link to elsewhere"},
    {outward, "is a link to elsewhere"},
    {round_in_itself, "contains itself"},
    {deep, "nest too deep"},
    {many_ways, "more objects than fit"},
    {elsewhere, "lies in other files"},
    {virtual, "lies in other files"},
    {never_written, "are stored"},
    {few_chunks, "are stored"},
    {large_chunk, "are stored"},
    {unknown_filter, "which is not known here"},
    {no_numbers, "holds other128, want numbers"},
    {claims_a_seal, "its checksum is missing"},
};

/* With a seal, which anyone can put, and without. */
static void what_leads_astray_is_refused(void **state)
{
    (void)state;
    int open = open_descriptors();
    size_t live = pf_alloc_live();
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        hid_t f = fresh(in_dir("strange.h5"));
        strange[i].make(f);
        H5Fclose(f);
        refused(in_dir("strange.h5"), read_x(in_dir("strange.h5")), strange[i].why);
        (void)!print_to_nowhere(in_dir("strange.h5"));
        must(pf_h5_seal_append(in_dir("strange.h5")));
        if (strange[i].make != claims_a_seal)
            refused(in_dir("strange.h5"), read_x(in_dir("strange.h5")), strange[i].why);
        (void)!print_to_nowhere(in_dir("strange.h5"));
        assert_int_equal(open_descriptors(), open);
        assert_int_equal(pf_alloc_live(), live);
    }
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    alarm(20); /* ends the test where an open waits */
    refused(in_dir("fifo"), read_x(in_dir("fifo")), "is no regular file");
    refused("/dev/zero", read_x("/dev/zero"), "is no regular file");
    refused(scratch, read_x(scratch), "is a folder");
    refused(in_dir("none"), read_x(in_dir("none")), "cannot open");
    spill(in_dir("empty"), "", 0);
    refused(in_dir("empty"), read_x(in_dir("empty")), "is empty");
    spill(in_dir("text"), "\211HDF\r\n\032", 7);
    refused(in_dir("text"), read_x(in_dir("text")), "is not an HDF5 file");
    alarm(0);
}

/* ---- the child ------------------------------------------------------------------------------- */

static pf_status crash(void *self)
{
    raise(*(int *)self);
    return PF_OK;
}

static pf_status complain(void *self)
{
    PF_FAIL(PF_ENUMERIC, "%s", (const char *)self);
}

static pf_status hunger(void *self)
{
    (void)self;
    void *p = pf_zalloc((size_t)1 << 36);
    PF_REQUIRE(p, PF_EMEM, "no memory for that");
    pf_free(p);
    return PF_OK;
}

static pf_status vanish(void *self)
{
    (void)self;
    _exit(0);
}

static void an_end_of_the_child_is_one_sentence(void **state)
{
    (void)state;
    int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGKILL}, open = open_descriptors();
    const char *names[] = {"by SIGSEGV", "by SIGBUS", "by SIGABRT", "by SIGKILL"};
    for (int i = 0; i < 4; i++)
        refused("some.h5", pf_h5_in_child("some.h5", 100, crash, &deadly[i]), names[i]);
    refused("some.h5", pf_h5_in_child("some.h5", 100, vanish, NULL), "without an answer");
    assert_int_equal(pf_h5_in_child("some.h5", 100, complain, "a sentence"), PF_ENUMERIC);
    assert_string_equal(pf_error_message(), "a sentence");
#if !defined(__SANITIZE_ADDRESS__)
    assert_int_equal(pf_h5_in_child("some.h5", 100, hunger, NULL), PF_EMEM);
#endif
    assert_int_equal(open_descriptors(), open);
}

/* ---- seals ----------------------------------------------------------------------------------- */

typedef struct part {
    uint64_t at, n;
} part;

/* Puts a seal whose checksums hold, as far as the ranges can be followed. */
static void put_seal(const char *path, const unsigned char *b, size_t size, const part *r,
                     uint64_t n, uint64_t told, uint64_t bytes)
{
    struct {
        char magic[8];
        uint64_t bytes, n;
        uint32_t rest, trailer;
    } s = {.magic = {'P', 'F', 'S', 'E', 'A', 'L', '1', '\n'}, .bytes = bytes, .n = told};
    uint64_t at = 0;
    for (uint64_t i = 0; i <= n; i++) {
        uint64_t end = i < n ? r[i].at : size;
        if (end > at && end <= size) s.rest = (uint32_t)crc32_z(s.rest, b + at, end - at);
        if (i < n) at = end + r[i].n;
    }
    s.trailer = (uint32_t)crc32_z(0, (const void *)r, n * sizeof *r);
    s.trailer = (uint32_t)crc32_z(s.trailer, (void *)&s, offsetof(typeof(s), trailer));
    FILE *f = fopen(path, "wb");
    fwrite(b, 1, size, f);
    fwrite(r, sizeof *r, n, f);
    fwrite(&s, 1, sizeof s, f);
    fclose(f);
}

static void a_seal_has_ascending_disjoint_ranges_inside(void **state)
{
    (void)state;
    const char *path = in_dir("seal.h5");
    const double v[256] = {1};
    pf_out_array a = {.name = "x", .rank = 1, .dim = {256}, .f64 = v};
    hid_t f = fresh(path);
    add(f, "x", H5T_IEEE_F64LE, 1, (hsize_t[]){256}, H5T_NATIVE_DOUBLE, v, 0);
    H5Fclose(f);
    size_t n = 0;
    unsigned char *b = slurp(path, &n);
    part good[2] = {{n - 2048, 500}, {n - 1000, 1000}};
    put_seal(path, b, n, good, 2, 2, n);
    must(read_x(path));
    const part wrong[][2] = {{{900, 10}, {500, 10}},
                             {{500, 100}, {550, 100}},
                             {{500, 10}, {n - 10, 11}},
                             {{500, 10}, {n + 1, 0}},
                             {{500, UINT64_MAX - 400}, {100, 10}},
                             {{n, UINT64_MAX - n + 1}, {0, n}}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_seal(path, b, n, wrong[i], 2, 2, n);
        refused(path, read_x(path), "is damaged");
    }
    const uint64_t told[] = {1,     3, UINT64_MAX, (uint64_t)1 << 60, ((uint64_t)1 << 60) + 2,
                             n / 16};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        put_seal(path, b, n, good, 2, told[i], n);
        refused(path, read_x(path), "is damaged");
        put_seal(path, b, n, good, 2, told[i], n + 32 - 16 * told[i]); /* as if they fitted */
        refused(path, read_x(path), "is damaged");
    }
    free(b);
    must(pf_store_write(path, &a, 1, NULL, 0)); /* ours still is whole */
    must(read_x(path));
}

/* ---- every failing read and allocation --------------------------------------------------------- */

static const pf_results_info about = {.images = 5, .draws = 1, .group = 2, .config = "a: b\n"};

static pf_status read_dataset(const char *path)
{
    pf_dataset *d = NULL;
    uint8_t k[4 * 6];
    int32_t label[4];
    PF_TRY(pf_dataset_open(path, "train", &d));
    pf_status st = pf_dataset_images(d, 0, 4, k);
    if (!st) st = pf_dataset_labels(d, 0, 4, label);
    pf_dataset_close(d);
    return st;
}

static pf_status read_checkpoint(const char *path)
{
    pf_checkpoint c;
    pf_status st = pf_checkpoint_read(path, 0, &c);
    if (!st) pf_checkpoint_free(&c);
    return st;
}

static pf_status read_results(const char *path)
{
    pf_results *r = NULL;
    pf_ledger *rows = NULL;
    int64_t n = 0;
    PF_TRY(pf_results_open(path, &about, &r));
    pf_status st = pf_results_rows(r, &rows, &n);
    pf_free(rows);
    pf_status closed = pf_results_close(r);
    return st ? st : closed;
}

static pf_status read_group(const char *path)
{
    int n = 0;
    pf_param *v = NULL;
    float *flat = NULL;
    pf_status st = pf_store_read_group(path, "params", &n, &v, &flat);
    pf_free(v);
    pf_free(flat);
    return st;
}

static pf_status compare_with_itself(const char *path)
{
    char text[512];
    int same = 0;
    pf_status st = compare(path, path, &same, text, sizeof text);
    return st ? st : same ? PF_OK : PF_EFORMAT;
}

static pf_status fetch_text(const char *path)
{
    char *text = NULL;
    pf_status st = pf_store_read_attr(path, "kind", &text);
    pf_free(text);
    return st;
}

static void make_ours(void)
{
    static float v[6] = {1, 2, 3, 4, 5, 6};
    static const uint8_t k[24] = {1, 0, 1};
    static const int32_t label[4] = {0, 1, 2, 3};
    pf_param views[2] = {{.name = "w", .rank = 2, .dim = {2, 2}, .size = 4},
                         {.name = "b", .rank = 1, .dim = {2}, .offset = 4, .size = 2}};
    pf_checkpoint c = {.n_views = 2,
                       .views = views,
                       .floats = 6,
                       .params = v,
                       .ema = v,
                       .adam_m = v,
                       .adam_v = v,
                       .shards = 1,
                       .shape = {1, 2, 3},
                       .config = "a: b\n"};
    must(pf_checkpoint_write(in_dir("c.h5"), &c));
    pf_dataset_info d = {.name = "d", .levels = 2, .shape = {2, 3, 1}};
    pf_dataset_split s = {.split = "train", .n = 4, .values = k, .labels = label};
    must(pf_dataset_write(in_dir("d.h5"), &d, &s, 1));
    pf_results *r = NULL;
    pf_ledger rows[2] = {{.image = 0, .nll = 1}, {.image = 1, .nll = 2}};
    must(pf_results_open(in_dir("r.h5"), &about, &r));
    must(pf_results_put(r, 0, rows, 2));
    must(pf_results_close(r));
    hid_t f = fresh(in_dir("f.h5"));
    add(f, "x", H5T_IEEE_F32LE, 1, (hsize_t[]){6}, H5T_NATIVE_FLOAT, v, 0);
    add(f, "params/w", H5T_IEEE_F32LE, 1, (hsize_t[]){6}, H5T_NATIVE_FLOAT, v, 0);
    attr(f, "kind", H5T_STD_I8LE, 0, H5T_NATIVE_FLOAT, v);
    H5Fclose(f);
}

static const struct {
    pf_status (*read)(const char *path);
    const char *file;
} readers[] = {{read_dataset, "d.h5"},        {read_checkpoint, "c.h5"},
               {read_results, "r.h5"},        {read_x, "f.h5"},
               {read_group, "f.h5"},          {fetch_text, "f.h5"},
               {read_group, "c.h5"},          {print_to_nowhere, "d.h5"},
               {print_to_nowhere, "c.h5"},    {print_to_nowhere, "r.h5"},
               {print_to_nowhere, "f.h5"},    {compare_with_itself, "d.h5"},
               {compare_with_itself, "f.h5"}, {compare_with_itself, "c.h5"}};

static void every_failure_frees_once(void (*fail_at)(int64_t), const char *what)
{
    make_ours();
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        const char *path = in_dir(readers[i].file);
        must(readers[i].read(path)); /* HDF5 keeps what it takes at first */
        int open = open_descriptors(), failures = 0;
        size_t live = pf_alloc_live();
        pf_status st = PF_EIO;
        for (int n = 1; st; n++) {
            fail_at(n);
            st = readers[i].read(path);
            fail_at(0);
            failures += st != PF_OK;
            if (pf_alloc_live() != live || open_descriptors() != open)
                fail_msg("%s %d of reader %zu leaves something open", what, n, i);
            if (n > 5000) fail_msg("%s: reader %zu never succeeds", what, i);
        }
        if (failures < 3) fail_msg("%s: reader %zu failed only %d times", what, i, failures);
        must(readers[i].read(path));
    }
}

static void every_failing_read_frees_once(void **state)
{
    (void)state;
    every_failure_frees_once(pf_h5_fail_read_at, "read");
}

static void every_failing_allocation_frees_once(void **state)
{
    (void)state;
    every_failure_frees_once(pf_alloc_fail_at, "allocation");
}

static void a_sealed_file_reads_the_same_in_a_child(void **state)
{
    (void)state;
    make_ours();
    pf_h5_read_in_child(1);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        must(readers[i].read(in_dir(readers[i].file)));
    pf_h5_read_in_child(0);
    must(read_results(in_dir("r.h5")));
}

/* ---- comparison ------------------------------------------------------------------------------ */

static hid_t start_pair(const char *path)
{
    const double v = 3;
    const char *word[2] = {"same", "word"};
    hid_t f = fresh(path), t = text_type(H5T_VARIABLE);
    add(f, "v", t, 1, (hsize_t[]){2}, t, word, 0);
    attr(f, "number", H5T_IEEE_F64LE, 0, H5T_NATIVE_DOUBLE, &v);
    attr(f, "words", t, 2, t, word);
    attr(f, "cpu", t, 0, t, &word[0]);
    H5Tclose(t);
    return f;
}

static void rewrite_attr(hid_t f, const char *name, hid_t type, hsize_t n, const void *v)
{
    H5Adelete(f, name);
    attr(f, name, type, n, type, v);
}

static void other_words(hid_t f)
{
    const char *word[2] = {"same", "ward"};
    hid_t t = text_type(H5T_VARIABLE), d = H5Dopen2(f, "v", H5P_DEFAULT);
    H5Dwrite(d, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, word);
    H5Dclose(d);
    H5Tclose(t);
}

static void other_text_attr(hid_t f)
{
    const char *word[2] = {"same", "ward"};
    hid_t t = text_type(H5T_VARIABLE);
    rewrite_attr(f, "words", t, 2, word);
    H5Tclose(t);
}

static void other_number(hid_t f)
{
    rewrite_attr(f, "number", H5T_NATIVE_DOUBLE, 0, (double[]){4});
}

static void other_number_type(hid_t f)
{
    rewrite_attr(f, "number", H5T_NATIVE_FLOAT, 0, (float[]){3});
}

static void other_number_shape(hid_t f)
{
    rewrite_attr(f, "number", H5T_NATIVE_DOUBLE, 1, (double[]){3});
}

static void more_attributes(hid_t f)
{
    attr(f, "more", H5T_NATIVE_INT, 0, H5T_NATIVE_INT, (int[]){1});
}

static void more_members(hid_t f)
{
    H5Gclose(H5Gcreate2(f, "w", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void other_cpu(hid_t f)
{
    const char *word = "another";
    hid_t t = text_type(H5T_VARIABLE);
    rewrite_attr(f, "cpu", t, 0, &word);
    H5Tclose(t);
}

static void identical_means_that_everything_was_compared(void **state)
{
    (void)state;
    static void (*const change[])(hid_t) = {
        other_words,        other_text_attr, other_number, other_number_type,
        other_number_shape, more_attributes, more_members, no_numbers};
    char text[4096];
    int same = 0;
    H5Fclose(start_pair(in_dir("a.h5")));
    H5Fclose(start_pair(in_dir("b.h5")));
    must(compare(in_dir("a.h5"), in_dir("b.h5"), &same, text, sizeof text));
    assert_true(same);
    assert_string_equal(text, "identical\n");
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        hid_t f = start_pair(in_dir("b.h5"));
        change[i](f);
        H5Fclose(f);
        must(compare(in_dir("a.h5"), in_dir("b.h5"), &same, text, sizeof text));
        if (same || strstr(text, "identical")) fail_msg("change %zu was not seen", i);
        must(compare(in_dir("b.h5"), in_dir("a.h5"), &same, text, sizeof text));
        if (same) fail_msg("change %zu was not seen the other way round", i);
    }
    hid_t f = start_pair(in_dir("b.h5"));
    other_cpu(f);
    H5Fclose(f);
    must(compare(in_dir("a.h5"), in_dir("b.h5"), &same, text, sizeof text));
    assert_true(same);
    assert_string_equal(text, "identical\n  made with another cpu\n");
    f = fresh(in_dir("a.h5"));
    no_numbers(f); /* the same in both, and no one can tell */
    H5Fclose(f);
    must(compare(in_dir("a.h5"), in_dir("a.h5"), &same, text, sizeof text));
    assert_false(same);
    assert_non_null(strstr(text, "cannot be compared"));
}

/* Nothing grows with the square of the number of members. */
static void many_members_are_read_at_once(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    const char *path = in_dir("many.h5");
    char name[32], text[256];
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(fapl, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    H5Pclose(fapl);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "params/%d", i);
        add(f, name, H5T_IEEE_F32LE, 1, (hsize_t[]){1}, H5T_NATIVE_FLOAT, (float[]){1}, 0);
    }
    H5Fclose(f);
    int n = 0, same = 0;
    pf_param *v = NULL;
    float *flat = NULL;
    must(pf_store_read_group(path, "params", &n, &v, &flat));
    assert_int_equal(n, MANY);
    pf_free(v);
    pf_free(flat);
    must(print_to_nowhere(path));
    must(compare(path, path, &same, text, sizeof text));
    assert_true(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_values_come_back_unchanged),
        cmocka_unit_test(what_leads_astray_is_refused),
        cmocka_unit_test(what_is_no_regular_file_is_refused_at_once),
        cmocka_unit_test(an_end_of_the_child_is_one_sentence),
        cmocka_unit_test(a_seal_has_ascending_disjoint_ranges_inside),
        cmocka_unit_test(every_failing_read_frees_once),
        cmocka_unit_test(every_failing_allocation_frees_once),
        cmocka_unit_test(a_sealed_file_reads_the_same_in_a_child),
        cmocka_unit_test(identical_means_that_everything_was_compared),
        cmocka_unit_test(many_members_are_read_at_once),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
