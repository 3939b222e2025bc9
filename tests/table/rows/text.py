"""Text: rows of 256 bytes, the last of a split shorter, ranks of the bytes that occur, cut 90/5/5; its other rules."""
import numpy as np
from make import attribute, grey, idx, read


def content(n, random): return bytes(random.choice(b"abcdefgh \n") for _ in range(n))


def refused(b, name="a.txt", also=(), pattern=None):
    def steps(c):
        c.write(name, b)
        for n, x in also: c.write(n, x)
        c.refused(pattern or name.replace(".", r"\."), "data", name, *[n for n, _ in also], "o.h5")
    return steps


def taken(b, name="a.txt", L=256, *options):
    def steps(c):
        c.write(name, b)
        c.accepted("data", name, "o.h5", *options)
        rank = {v: i for i, v in enumerate(sorted(set(b)))}
        c.same(attribute("o.h5", "vocabulary"), "".join("%02x" % v for v in sorted(rank)), "vocabulary")
        at = 0
        train, valid = len(b) // 20 * 18, len(b) // 20
        for split, n in (("train", train), ("valid", valid), ("test", len(b) - train - valid)):
            want = [rank[v] for v in b[at:at + n]]
            at += n
            rows = -(-n // L)
            got = read("o.h5", split + "/tokens")
            c.same(got.dtype.name, "uint8", "type of tokens")
            c.same(got.reshape(-1).tolist(), want + [0] * (rows * L - n), "tokens of " + split)
            if n % L: c.same(read("o.h5", split + "/length").tolist(), [L] * (rows - 1) + [n % L], "lengths of " + split)
    return steps


def with_options(b, *options, pattern=None, name="a.txt", also=()):
    def steps(c):
        c.write(name, b)
        for n, x in also: c.write(n, x)
        args = ("data", name, "o.h5") + options
        if pattern: c.refused(pattern, *args)
        else: c.accepted(*args)
    return steps


def a_folder(c):
    c.write("d/a.bin", b"abc" * 50)
    c.refused("text", "data", "d", "o.h5", "--text", "bytes")


def options(add, random):
    b = content(600, random)
    add("rows dropped that are not full", with_options(b, "--length", "25", "--remainder", "drop"))
    add("no whole row, and remainders dropped", with_options(b, "--length", "1000", "--remainder", "drop", pattern="row"))
    for n in ("0", "-1", "x", "9999999999"): add("rows of " + n, with_options(b, "--length", n, pattern="--length"))
    add("rows that are words", with_options(b, "--rows", "words", pattern="--rows"))
    add("a remainder that is kept", with_options(b, "--remainder", "keep", pattern="--remainder"))
    add("lines whose remainder is dropped", with_options(b, "--rows", "lines", "--remainder", "drop", pattern="--remainder"))
    add("lines", with_options(b"ab\ncd\n" * 50, "--rows", "lines"))
    add("nothing but ends of lines", with_options(b"\n" * 50, "--rows", "lines", pattern=r"a\.txt"))
    add("text8 of no letter", with_options(b"\xff" * 50, "--text", "text8", pattern=r"a\.txt|symbols"))
    add("a vocabulary that is not there", with_options(b, "--text", "nowhere.vocab", pattern=r"nowhere\.vocab"))
    add("a vocabulary that is a folder", with_options(b, "--text", ".", pattern=r"\."))
    for why, v in (("empty", b""), ("one symbol", b"a\n"), ("twice", b"a\nb\na\n"), ("an empty line", b"a\n\nb\n"), ("bad escape", b"a\n\\q\n")):
        add("vocabulary: " + why, with_options(b"ab" * 30, "--text", "v", pattern=r"\bv\b", also=[("v", v)]))
    add("a byte that no symbol has", with_options(b"abz" * 30, "--text", "v", pattern=r"a\.txt", also=[("v", b"a\nb\n")]))
    add("70,000 symbols", with_options(b"1234" * 30, "--text", "v", pattern=r"\bv\b", also=[("v", b"".join(b"%d\n" % i for i in range(70000)))]))
    add("60,000 symbols", with_options(b"1234" * 30, "--text", "v", also=[("v", b"".join(b"%d\n" % i for i in range(60000)))]))
    add("text options of images", with_options(idx(grey(4, 1)), "--shrink", "2", "--text", "bytes", name="train-x", pattern="shrunk|images|train-x"))
    add("text options of a folder", a_folder)


def rows(add, random):
    for n in (20, 100, 255, 300, 5120, 10000, 25600, 30001): add("%d bytes" % n, taken(content(n, random)))
    add("rows of 7", taken(content(1000, random), "a.txt", 7, "--length", "7"))
    add("any file, as a text", taken(content(1000, random), "a.bin", 256, "--text", "as-is"))
    add("all bytes", taken(bytes(range(256)) * 40))
    add("one byte over and over", refused(b"a" * 6000))
    add("zero bytes", taken(b"a\0b" * 3000))
    add("no UTF-8", taken(b"\xff\xfe\x80" * 3000))
    add("text8", taken(content(9000, random), "text8"))
    for n in (0, 1, 19): add("only %d bytes" % n, refused(content(n, random)))
    options(add, random)
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
