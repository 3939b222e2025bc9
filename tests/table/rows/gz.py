"""gzip around IDX: whole, cut, damaged, several members, bombs."""
import gzip, struct, zlib
import numpy as np
from make import grey, idx, read

MEMORY = 1500 << 20


def refused(content, name="train-images.gz", pattern=None):
    def steps(c):
        c.write(name, content)
        c.refused(pattern or name, "data", name, "o.h5", memory=MEMORY)
    return steps


def taken(content, a, name="train-images.gz"):
    def steps(c):
        c.write(name, content)
        c.accepted("data", name, "o.h5")
        c.same(read("o.h5", "train/images").tobytes(), a.tobytes(), "pixels")
    return steps


def bomb(head, zeros):
    z = zlib.compressobj(9, 8, 31)
    part = bytes(1 << 20)
    return z.compress(head) + b"".join(z.compress(part) for _ in range(zeros)) + z.flush()


def rows(add, random):
    a = grey(40, 1)
    raw = idx(a)
    good = gzip.compress(raw, mtime=0)
    add("good", taken(good, a))
    add("without the ending", taken(good, a, "train-images"))
    add("stored, not packed", taken(gzip.compress(raw, 0, mtime=0), a))
    head = bytes([31, 139, 8, 8, 0, 0, 0, 0, 0, 3]) + b"name\0"
    add("with a file name", taken(head + good[10:], a))

    def members(c):
        c.write("train-images.gz", gzip.compress(raw[:900]) + gzip.compress(raw[900:]))
        if c.either(r"train-images\.gz", "data", "train-images.gz", "o.h5"):
            c.same(read("o.h5", "train/images").tobytes(), a.tobytes(), "pixels")
    add("two members", members)

    for n in sorted(random.sample(range(1, len(good) - 8), 8)): add("cut to %d bytes" % n, refused(good[:n]))
    add("without the last byte", refused(good[:-1]))
    add("without its checksum", refused(good[:-8]))
    for at in sorted(random.sample(range(12, len(good) - 8), 8)):
        add("bit of byte %d" % at, refused(good[:at] + bytes([good[at] ^ 4]) + good[at + 1:]))
    add("wrong checksum", refused(good[:-8] + b"\0\0\0\0" + good[-4:]))
    add("wrong length", refused(good[:-4] + struct.pack("<I", len(raw) + 1)))
    add("garbage behind", refused(good + b"garbage"))
    add("a line behind", refused(good + b"\n"))
    add("half a member behind", refused(good + good[: len(good) // 2]))
    add("an IDX file behind, not packed", refused(good + raw))
    add("packed twice", refused(gzip.compress(good)))
    add("empty content", refused(gzip.compress(b"")))
    add("empty file", refused(b""))
    add("other method", refused(good[:2] + b"\7" + good[3:]))
    add("reserved flags", refused(good[:3] + b"\xe0" + good[4:]))
    add("zlib and not gzip", refused(zlib.compress(raw)))
    add("content cut", refused(gzip.compress(raw[:-1])))
    add("content too long", refused(gzip.compress(raw + b"\0")))
    one = b"\0\0\x08\3" + struct.pack(">3I", 1, 12, 12)
    add("1 GiB of zeros behind one image", refused(bomb(one, 1024)))
    add("64 MiB of zeros behind one image", refused(bomb(one, 64)))
    add("256 MiB of zeros behind a text", refused(bomb(b"no IDX", 256)))
    add("a size of 1 GiB that is not there", refused(gzip.compress(b"\0\0\x08\3" + struct.pack(">3I", 1 << 20, 32, 32) + bytes(100))))

    def labels(c):
        c.write("train-images.gz", good)
        c.write("train-labels.gz", gzip.compress(idx(np.arange(40, dtype="u1") % 10)))
        c.accepted("data", "train-images.gz", "train-labels.gz", "o.h5")
        c.same(read("o.h5", "train/labels").tolist(), [i % 10 for i in range(40)], "labels")
    add("images and labels", labels)
