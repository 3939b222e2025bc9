/* .npz: an archive, or the members of one.
 *
 *     input   flags, 2 bytes CUT, then the archive; with flags 1 two members, [0,CUT) and [CUT,...), of an
 *             archive that is made right here
 *     flags   2: they are called data and labels, else x_train and conditions_train */
#include <string.h>
#include <zlib.h>
#include "convert.h"

enum { MOST = 1 << 17 };

typedef struct out {
    uint8_t b[MOST];
    size_t n;
} out;

static void put(out *o, int bytes, uint64_t v)
{
    for (; bytes > 0; bytes--, v >>= 8) o->b[o->n++] = (uint8_t)v;
}

static void put_bytes(out *o, const void *p, size_t n)
{
    if (n) memcpy(o->b + o->n, p, n);
    o->n += n;
}

typedef struct member {
    const char *name;
    const uint8_t *p;
    size_t n, at;
} member;

static void put_head(out *o, const member *m)
{
    put(o, 2, 20), put(o, 2, 0), put(o, 2, 0), put(o, 4, 0x210000);
    put(o, 4, crc32_z(crc32_z(0, NULL, 0), m->p, m->n)), put(o, 4, m->n), put(o, 4, m->n);
    put(o, 2, strlen(m->name)), put(o, 2, 0);
}

static const char *put_archive(member m[2])
{
    static out o;
    o.n = 0;
    for (int i = 0; i < 2; i++) {
        m[i].at = o.n;
        put(&o, 4, 0x04034b50);
        put_head(&o, &m[i]);
        put_bytes(&o, m[i].name, strlen(m[i].name));
        put_bytes(&o, m[i].p, m[i].n);
    }
    size_t at = o.n;
    for (int i = 0; i < 2; i++) {
        put(&o, 4, 0x02014b50), put(&o, 2, 20);
        put_head(&o, &m[i]);
        put(&o, 6, 0), put(&o, 4, 0), put(&o, 4, m[i].at);
        put_bytes(&o, m[i].name, strlen(m[i].name));
    }
    size_t size = o.n - at;
    put(&o, 4, 0x06054b50), put(&o, 4, 0), put(&o, 2, 2), put(&o, 2, 2);
    put(&o, 4, size), put(&o, 4, at), put(&o, 2, 0);
    return fuzz_put("f.npz", o.b, o.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > MOST / 2) return 0;
    unsigned flags = data[0];
    size_t cut = data[1] | (size_t)data[2] << 8;
    data += 3, size -= 3;
    if (cut > size) cut = size;
    member m[2] = {
        {flags & 2 ? "data.npy" : "x_train.npy", data, cut, 0},
        {flags & 2 ? "labels.npy" : "conditions_train.npy", data + cut, size - cut, 0}};
    const char *source = flags & 1 ? put_archive(m) : fuzz_put("f.npz", data, size);
    convert(&source, 1);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    (void)seed;
    return LLVMFuzzerMutate(data, size, max);
}
