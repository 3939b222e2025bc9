"""One array of NumPy: images, points or labels, of any number type, in both orders of axes and bytes."""
import gzip, os
import numpy as np
from make import images, npy, read


def refused(content, name="train.npy", pattern=None, also=()):
    def steps(c):
        c.write(name, content)
        for n, b in also: c.write(n, b)
        c.refused(pattern or name.replace(".", r"\."), "data", name, *[n for n, _ in also], "o.h5")
    return steps


def taken(content, want, what="images", name="train.npy", split="train"):
    def steps(c):
        c.write(name, content)
        c.accepted("data", name, "o.h5")
        have = read("o.h5", split + "/" + what)
        c.same((have.shape, have.tobytes()), (want.shape, want.tobytes()), "values")
    return steps


def rows(add, random):
    x = images(5, 1, 6, 3)
    p = np.random.RandomState(2).randn(7, 3)
    add("images", taken(npy(x), x))
    add("images of Fortran's order", taken(npy(np.asfortranarray(x)), x))
    add("channels first", taken(npy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))), x))
    add("channels first, Fortran's order", taken(npy(np.asfortranarray(x.transpose(0, 3, 1, 2))), x))
    add("grey", taken(npy(x[..., 0]), x[..., :1].copy()))
    add("compressed", taken(gzip.compress(npy(x)), x, name="train.npy.gz"))
    for t in "<i2 >i4 <i8 >u2 <u4 >u8".split(): add("pixels as " + t, taken(npy(x.astype(t)), x))
    for t in "<f2 >f2 <f4 >f4 <f8 >f8".split():
        q = p.astype(t)
        for order in "CF": add("points %s %s" % (t, order), taken(npy(np.array(q, order=order)), q.astype("<f8"), "x"))
    for t in "i1 <i2 >i2 >i4 <i8 >u2 <u8".split():
        q = np.random.RandomState(3).randint(0, 100, (4, 2)).astype(t)
        add("points " + t, taken(npy(q), q.astype("<f8"), "x"))
    for v in ((2, 0), (3, 0)): add("version %d" % v[0], taken(npy(x, version=v), x))
    add("one point", taken(npy(p[:1]), p[:1], "x"))
    add("numbers", taken(npy(p[:, 0].copy()), p[:, :1].copy(), "x"))
    add("bool images", taken(npy(x[..., :1] > 3), (x[..., :1] > 3).astype("u1")))
    add("test by name", taken(npy(x), x, name="x_test.npy", split="test"))

    for name, y in {"int64": np.arange(5), "a column of uint8": np.arange(5, dtype="u1")[:, None], "whole floats": np.arange(5.0),
                    "bool": np.arange(5) > 2, "big-endian": np.arange(5, dtype=">i2")}.items():
        def steps(c, y=y):
            c.write("x_train.npy", npy(x)), c.write("y_train.npy", npy(y))
            c.accepted("data", "x_train.npy", "y_train.npy", "o.h5")
            c.same(read("o.h5", "train/labels").tolist(), [int(v) for v in y.reshape(-1)], "labels")
        add("labels: " + name, steps)

    def conditioned(c):
        w = np.random.RandomState(4).randn(7, 2).astype("f4")
        c.write("x.npy", npy(p)), c.write("conditions.npy", npy(w)), c.write("y.npy", npy(np.arange(7)))
        c.accepted("data", "x.npy", "y.npy", "conditions.npy", "o.h5")
        c.same(read("o.h5", "train/conditions").tolist(), w.astype("f8").tolist(), "conditions")
        c.same(read("o.h5", "train/labels").tolist(), list(range(7)), "labels")
    add("conditions and labels of points", conditioned)

    # ---- refused ----
    b = npy(x)
    for n in sorted(random.sample(range(1, len(b)), 8)) + [6, 8, 10, 127, len(b) - 1]: add("cut to %d bytes" % n, refused(b[:n]))
    add("one byte behind", refused(b + b"\1"))
    add("empty", refused(b""))
    for v in ((0, 0), (1, 1), (4, 0), (255, 255)): add("version %d.%d" % v, refused(npy(x, version=v, values=x.tobytes())))
    add("header of 4 GB", refused(b"\x93NUMPY\2\0" + b"\xff" * 4 + b[10:]))
    for name, a in {"objects": np.array([{}, 1], dtype=object), "complex": p.astype("c16"), "text": np.array(["a", "b"]), "bytes": np.array([b"a"]),
                    "dates": np.array(["2020-01-01"], "M8[D]"), "structured": np.zeros(3, [("a", "f4"), ("b", "i4", 2)]), "long doubles": p.astype("f16"),
                    "raw": np.zeros(3, "V4"), "bytes without a shape": x.reshape(5, -1), "a number": np.float64(3),
                    "no rows": p[:0], "no columns": p[:, :0], "five axes": p.reshape(1, 7, 3, 1, 1), "two channels": x[..., :2].copy(),
                    "pixel 256": x.astype("i4") + 256, "pixel -1": x.astype("i4") - 64 * 4}.items():
        add(name, refused(npy(a), pattern=r"train\.npy"))
    for v in (np.nan, np.inf, -np.inf):
        q = p.copy()
        q[4, 1] = v
        add("a value of %s" % v, refused(npy(q), pattern=r"train\.npy.*row 4"))
    q = np.zeros((3, 2), "i8")
    q[2, 0] = 2**53 + 1
    add("beyond 2^53", refused(npy(q), pattern="row 2"))
    for name, y in {"one-hot": np.eye(5), "halves": np.arange(5) / 2, "beyond int32": np.arange(5) + 2**31, "not a number": np.full(5, np.nan),
                    "four for five": np.arange(4), "of the test split": None}.items():
        also = ("y_test.npy", npy(np.arange(5))) if y is None else ("y_train.npy", npy(y))
        add("labels: " + name, refused(npy(x), "x_train.npy", "y_t", [also]))
    for name, head in {"no dictionary": "[1]", "code": "{'descr': __import__('os').system('touch it'), 'fortran_order': False, 'shape': (1,)}",
                       "a missing key": "{'descr': '|u1', 'shape': (1,)}", "a key twice": "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}",
                       "sizes below 0": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 2, 2)}",
                       "sizes beyond memory": "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 4, %d)}" % (2**62, 2**62),
                       "more than is there": "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000, 1000)}",
                       "no end": "{'descr': '|u1', 'fortran_order': False, 'shape': (1,", "nested": "{'descr': " + "[" * 9000 + ", 'fortran_order': False, 'shape': (1,)}"}.items():
        add("header: " + name, refused(npy(x, head=head), pattern=r"train\.npy"))
    add("vast and compressed", refused(gzip.compress(npy(x, head="{'descr': '<f8', 'fortran_order': False, 'shape': (100000000, 1000)}")), "train.npy.gz"))
    add("twice", refused(b, also=[("train2.npy", b)], pattern="train2"))
    add("points behind images", refused(b, also=[("train2.npy", npy(p))], pattern="train2"))
    for k in range(8):
        at = random.randrange(10, 90)
        def steps(c, at=at, bit=1 << random.randrange(8)):
            f = bytearray(npy(x))
            f[at] ^= bit
            c.write("train.npy", f)
            if c.either(r"train\.npy", "data", "train.npy", "o.h5"):  # a space, or another order of the axes
                c.same(sorted(read("o.h5", "train/images").tobytes()), sorted(x.tobytes()), "pixels")
        add("bit %d of the header" % k, steps)
