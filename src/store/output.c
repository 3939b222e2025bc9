/* What may become an output: nothing that is there is replaced unless probflow wrote it and it is of
 * the same kind. */
#include <probflow/file.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All our HDF5 files begin so: signature, superblock of version 2 or 3. */
static const unsigned char h5_signature[8] = "\211HDF\r\n\032\n";

/* Bytes by which another file of ours is known. */
typedef struct known {
    const char *what;
    off_t at; /* below 0: from the end */
    size_t n;
    const char *bytes;
} known;

static int same_inode(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Do two paths stand for one file, one that need not exist? */
static int same_file(const char *target, const char *path)
{
    struct stat a, b;
    char other[PATH_MAX], dir[PATH_MAX];
    int no_a = stat(target, &a), no_b = stat(path, &b);
    if (!no_a && !no_b) return same_inode(&a, &b);
    if (!no_a || !no_b || pf_file_target(path, other)) return 0;
    const char *name = pf_file_folder(target, dir);
    if (stat(dir, &a) || strcmp(name, pf_file_folder(other, dir)) || stat(dir, &b)) return 0;
    return same_inode(&a, &b);
}

/* Does target lie in this folder, at any depth? */
static int lies_in(const char *target, const struct stat *folder)
{
    struct stat sb;
    char dir[PATH_MAX], at[PATH_MAX];
    pf_file_folder(target, dir);
    if (!realpath(dir, at)) return 0;
    for (;;) {
        if (!stat(at, &sb) && same_inode(&sb, folder)) return 1;
        if (!strcmp(at, "/")) return 0;
        pf_file_folder(at, dir);
        memcpy(at, dir, sizeof at);
    }
}

static PF_MUST_USE pf_status check_input(const char *path, const char *target,
                                         const char *input)
{
    struct stat sb;
    int inside = !stat(input, &sb) && S_ISDIR(sb.st_mode) && lies_in(target, &sb);
    PF_REQUIRE(!inside, PF_EARG,
               "the output %s lies in %s, which is also an input: choose another output", path,
               input);
    PF_REQUIRE(!same_file(target, input), PF_EARG,
               "the output %s is also an input or another output of this command: choose "
               "another one",
               path);
    return PF_OK;
}

/* Up to n bytes at `at`, below 0 from the end: their number, -1 when the file cannot be read. */
static ssize_t peek(const char *path, void *b, size_t n, off_t at)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    off_t from = fd >= 0 && at < 0 ? lseek(fd, at, SEEK_END) : at;
    ssize_t k = fd < 0 ? -1 : from < 0 ? 0 : pread(fd, b, n, from);
    if (fd >= 0) close(fd);
    return k;
}

/* Is this an HDF5 file of ours, whole or damaged, by one of its ends? */
static int starts_as_ours(const char *path)
{
    unsigned char b[9];
    struct stat sb;
    int sealed = 0;
    ssize_t n = peek(path, b, sizeof b, 0);
    if (n < 0 || stat(path, &sb)) return 0;
    if (!memcmp(b, h5_signature, (size_t)n < 8 ? (size_t)n : 8))
        return n < 9 || b[8] == 2 || b[8] == 3;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && pf_h5_seal_check(fd, path, &sealed))
        sealed = sealed != 0; /* broken, but there */
    if (fd >= 0) close(fd);
    return sealed;
}

static PF_MUST_USE pf_status check_root(hid_t file, const char *path, const char *kind,
                                        const char *first)
{
    char *text = NULL;
    pf_status st =
        pf_h5_has_attr(file, "kind") ? pf_h5_get_text(file, path, "kind", &text) : PF_OK;
    if (!st && !text)
        st = pf_raise(PF_EARG, PF_WHERE,
                      "%s exists and was not written by probflow: choose another output", path);
    else if (!st && strcmp(text, kind))
        st = pf_raise(PF_EARG, PF_WHERE,
                      "%s exists and is of the kind %s, not %s: choose another output", path,
                      text, kind);
    else if (!st && first && !pf_h5_has(file, first))
        st = pf_raise(PF_EARG, PF_WHERE,
                      "%s exists and is of another command, without %s: choose another output",
                      path, first);
    pf_free(text);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_h5_replaces(const char *path, const char *kind, const char *first)
{
    hid_t file = 0;
    struct stat sb;
    if (stat(path, &sb)) return PF_OK;
    PF_REQUIRE(starts_as_ours(path), PF_EARG,
               "%s exists and was not written by probflow: choose another output", path);
    pf_status st = pf_h5_open(path, PF_H5_LIST, first ? first : "", &file);
    if (st == PF_EMEM) return pf_trail(st, PF_WHERE);
    PF_REQUIRE(!st, PF_EFORMAT,
               "%s exists and is empty or damaged, so that nobody can tell what it was: remove "
               "it or choose another output",
               path);
    st = check_root(file, path, kind, first);
    pf_h5_close(file);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status check_other(const char *path, const known *k)
{
    char b[512] = "";
    PF_REQUIRE(k->n <= sizeof b, PF_EARG, "a %s is known by too many bytes", k->what);
    ssize_t n = peek(path, b, k->n, k->at);
    if (n < 0 && errno == ENOENT) return PF_OK;
    PF_REQUIRE(n == (ssize_t)k->n && !memcmp(b, k->bytes, k->n), PF_EARG,
               "%s exists and is no %s of probflow: choose another output", path, k->what);
    return PF_OK;
}

/* An array whose first field has this name, spelled as we spell it; "FIRST,SECOND": its first two, the
 * first a whole number. */
static PF_MUST_USE pf_status check_npy(const char *path, const char *first)
{
    enum { HEAD = 10 }; /* magic, version, length */
    char b[256] = "", want[128];
    ssize_t n = peek(path, b, sizeof b - 1, 0);
    if (n < 0 && errno == ENOENT) return PF_OK;
    int n_first = (int)strcspn(first, ",");
    const char *second = first + n_first + (first[n_first] == ',');
    snprintf(want, sizeof want, "{'descr': [('%.*s', '<%s%s%s", n_first, first,
             *second ? "i8'), ('" : "", second, *second ? "', '<" : "");
    PF_REQUIRE(
        n > HEAD && !memcmp(b, "\x93NUMPY\1\0", 8) && !strncmp(b + HEAD, want, strlen(want)),
        PF_EARG, "%s exists and is no NPY array of probflow: choose another output", path);
    return PF_OK;
}

static PF_MUST_USE pf_status check_old(const char *path, const char *kind)
{
    char root[32];
    const char *first = strchr(kind, '/'), *head = kind + sizeof PF_OUTPUT_CSV - 1;
    if (!strcmp(kind, PF_OUTPUT_PNG)) {
        const known png = {"PNG image", 37, sizeof PF_PNG_SOFTWARE - 1, PF_PNG_SOFTWARE};
        PF_TRY(check_other(path, &png));
        return PF_OK;
    }
    if (!strcmp(kind, PF_OUTPUT_NPZ)) {
        enum { N = sizeof PF_NPZ_COMMENT - 1 };
        PF_TRY(check_other(path, &(known){"NPZ archive", -N, N, PF_NPZ_COMMENT}));
        return PF_OK;
    }
    if (!strncmp(kind, PF_OUTPUT_CSV, sizeof PF_OUTPUT_CSV - 1)) {
        PF_TRY(check_other(path, &(known){"such table", 0, strlen(head), head}));
        return PF_OK;
    }
    snprintf(root, sizeof root, "%.*s", (int)strcspn(kind, "/"), kind);
    if (first && !strcmp(root, PF_OUTPUT_NPY)) {
        PF_TRY(check_npy(path, first + 1));
        return PF_OK;
    }
    PF_TRY(pf_h5_replaces(path, root, first ? first + 1 : NULL));
    return PF_OK;
}

pf_status pf_output_check(const char *path, const char *kind, const char *const *inputs, int n)
{
    char target[PATH_MAX], dir[PATH_MAX];
    struct stat sb;
    PF_TRY(pf_file_target(path, target));
    pf_file_folder(target, dir);
    int bad = stat(dir, &sb) || access(dir, W_OK | X_OK) ? errno : 0;
    PF_REQUIRE(!bad, PF_EIO, "cannot create %s: %s", path, strerror(bad));
    for (int i = 0; i < n; i++)
        if (inputs[i]) PF_TRY(check_input(path, target, inputs[i]));
    PF_TRY(check_old(path, kind));
    return PF_OK;
}

void pf_store_tidy(const char *dir)
{
    pf_file_tidy(dir, NULL, h5_signature, sizeof h5_signature);
}
