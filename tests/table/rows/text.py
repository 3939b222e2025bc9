"""Text: rows of 256 bytes, ranks of the bytes that occur, cut 90/5/5."""
import numpy as np
from make import attribute, grey, idx, read


def content(n, random): return bytes(random.choice(b"abcdefgh \n") for _ in range(n))


def refused(b, name="a.txt", also=(), pattern=None):
    def steps(c):
        c.write(name, b)
        for n, x in also: c.write(n, x)
        c.refused(pattern or name.replace(".", r"\."), "data", name, *[n for n, _ in also], "o.h5")
    return steps


def taken(b, name="a.txt"):
    def steps(c):
        c.write(name, b)
        c.accepted("data", name, "o.h5")
        rank = {v: i for i, v in enumerate(sorted(set(b)))}
        c.same(attribute("o.h5", "vocabulary"), "".join("%02x" % v for v in sorted(rank)), "vocabulary")
        at = 0
        train, valid = len(b) // 20 * 18, len(b) // 20
        for split, n in (("train", train), ("valid", valid), ("test", len(b) - train - valid)):
            want = [rank[v] for v in b[at:at + n // 256 * 256]]
            at += n
            if want: c.same(read("o.h5", split + "/tokens").reshape(-1).tolist(), want, "tokens of " + split)
    return steps


def rows(add, random):
    for n in (300, 5120, 10000, 25600, 30001): add("%d bytes" % n, taken(content(n, random)))
    add("all bytes", taken(bytes(range(256)) * 40))
    add("one byte over and over", refused(b"a" * 6000))
    add("zero bytes", taken(b"a\0b" * 3000))
    add("no UTF-8", taken(b"\xff\xfe\x80" * 3000))
    add("text8", taken(content(9000, random), "text8"))
    for n in (0, 1, 100, 255): add("only %d bytes" % n, refused(content(n, random)))
    add("256 bytes, no whole row of train", refused(content(256, random), pattern=r"a\.txt|row|data"))
    add("270 bytes, no whole row of train", refused(content(270, random), pattern=r"a\.txt|row|data"))
    b = content(6000, random)
    add("two texts", refused(b, also=[("b.txt", content(6000, random))], pattern=r"a\.txt|b\.txt"))
    add("the same text twice", refused(b, also=[("b.txt", b)], pattern=r"a\.txt|b\.txt"))
    add("a text, then images", refused(b, also=[("train-x", idx(grey(4, 1)))], pattern=r"a\.txt|train-x"))
    bytes256 = idx(np.arange(1024).reshape(4, 1, 1, 256).astype("u1"))
    add("a text, then images of 256 bytes", refused(b, also=[("train-x", bytes256)], pattern=r"a\.txt|train-x"))

    def images_first(c):
        c.write("train-x", bytes256), c.write("a.txt", b)
        c.refused(r"a\.txt|train-x", "data", "train-x", "a.txt", "o.h5")
    add("images of 256 bytes, then a text", images_first)

    def density(name, spec, pattern="density"):
        add(name, lambda c: c.refused(pattern, "data", spec, "o.h5"))
    for spec in ("density:", "density:ring", "density:none:10", "density:ring:4", "density:ring:-5", "density:ring:10:", "density:ring:10:x",
                 "density:ring:10:1:2", "density:ring:1e3", "density:ring:100000001", "density:ring:99999999999999999999", "density:ring:10:-1", "density:ring:10 "):
        density(spec, spec)

    def ring(c):
        c.accepted("data", "density:ring:20:3", "o.h5")
        c.same(read("o.h5", "train/x").shape, (20, 2), "points")
        c.must(np.isfinite(read("o.h5", "train/logp")).all(), "log-density not finite")
    add("density of 20 points", ring)

    def mixed(c):
        c.write("a.txt", b)
        c.refused("density|a.txt", "data", "a.txt", "density:ring:20", "o.h5")
    add("a text, then a density", mixed)

    def zero(c):
        import os
        os.symlink("/dev/zero", "zero.txt")
        c.refused(r"zero\.txt", "data", "zero.txt", "o.h5", memory=1500 << 20)
    add("a link to /dev/zero", zero)

    def shrink(c):
        c.write("a.txt", b)
        c.refused("shrink|shrunk|image", "data", "a.txt", "o.h5", "--shrink", "2")
    add("a text shrunk", shrink)
