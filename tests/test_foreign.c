/* Files that are not ours, or no longer what they were: each is read, or refused by one sentence that
 * names it, and neither leaves memory or descriptors behind. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <signal.h>
#include <sys/stat.h>
#include <zlib.h>
#include "foreign.h"

enum { N = 6 };

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
    int there = 0;
    assert_int_equal(pf_store_has(path, "params/b", &there), PF_OK);
    assert_true(there);
    assert_int_equal(pf_store_has(path, "params/c", &there), PF_OK);
    assert_false(there);
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

#if !defined(__SANITIZE_ADDRESS__) /* under which a child has no limit of memory */
static pf_status hunger(void *self)
{
    (void)self;
    void *p = pf_zalloc((size_t)1 << 36);
    PF_REQUIRE(p, PF_EMEM, "no memory for that");
    pf_free(p);
    return PF_OK;
}
#endif

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
    assert_int_equal(unlink(path), 0);
    must(pf_store_write(path, &a, 1, NULL, 0)); /* ours still is whole */
    must(read_x(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_values_come_back_unchanged),
        cmocka_unit_test(what_leads_astray_is_refused),
        cmocka_unit_test(what_is_no_regular_file_is_refused_at_once),
        cmocka_unit_test(an_end_of_the_child_is_one_sentence),
        cmocka_unit_test(a_seal_has_ascending_disjoint_ranges_inside),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
