"""HDF5 that people made: images or x, labels, conditions, at the root or in groups of splits."""
import h5py, numpy as np
from make import images, read, splits


def made(c, name="own.h5", how=None, **arrays):
    with h5py.File(name, "w", **(how or {})) as f:
        for k, v in arrays.items(): f[k.replace("__", "/")] = v


def refused(pattern=r"own\.h5", change=None, **arrays):
    def steps(c):
        made(c, **arrays)
        if change:
            with h5py.File("own.h5", "r+") as f: change(f)
        c.refused(pattern, "data", "own.h5", "o.h5")
    return steps


def bytes_refused(change):
    def steps(c):
        made(c, x=np.random.RandomState(2).randn(6, 2))
        c.write("own.h5", change(open("own.h5", "rb").read()))
        c.refused(r"own\.h5", "data", "own.h5", "o.h5")
    return steps


def rows(add, random):
    x, y = images(6, 1, 8, 3), np.array([3, 1, 4, 1, 5, 9])
    p = np.random.RandomState(2).randn(6, 2)

    def groups(c, how=None):
        made(c, how=how, train__images=x, train__labels=y.astype("u1"), valid__images=x[:2] + 1, test__images=x[:3] + 2, test__labels=y[:3].astype(">i8"))
        c.accepted("data", "own.h5", "o.h5")
        c.same(splits("o.h5"), {"train": 6, "valid": 2, "test": 3}, "splits")
        c.same(read("o.h5", "train/images").tobytes(), x.tobytes(), "pixels")
        c.same(read("o.h5", "valid/images").tobytes(), (x[:2] + 1).tobytes(), "pixels of valid")
        c.same(read("o.h5", "test/labels").tolist(), y[:3].tolist(), "labels of test")
    add("groups", groups)
    add("groups, newest format", lambda c: groups(c, {"libver": "latest"}))

    def names(c):
        made(c, "own.hdf5", train_x=p, train_y=y, test_x=p + 1)
        c.accepted("data", "own.hdf5", "o.h5")
        c.same(read("o.h5", "train/x").tobytes(), p.tobytes(), "points")
        c.same(read("o.h5", "test/x").tobytes(), (p + 1).tobytes(), "points of test")
        c.same(read("o.h5", "train/labels").tolist(), y.tolist(), "labels")
    add("names at the root", names)

    def packed(c):
        with h5py.File("own.h5", "w") as f:
            f.create_dataset("x", data=p.astype(">f4"), chunks=(4, 1), compression="gzip", shuffle=True, fletcher32=True)
            f.create_dataset("conditions", data=p, maxshape=(None, 2))
            f.create_dataset("labels", data=y, chunks=(1,))
        c.accepted("data", "own.h5", "o.h5")
        c.same(read("o.h5", "train/x").tolist(), p.astype("f4").tolist(), "points")
        c.same(read("o.h5", "train/conditions").tobytes(), p.tobytes(), "conditions")
    add("chunks and filters", packed)

    for t in "f2 f4 f8 >f8 i1 >i2 i4 u2 u4 >u8".split():
        def typed(c, t=t):
            q = np.random.RandomState(3).randint(0, 100, (5, 3)).astype(t)
            made(c, x=q)
            c.accepted("data", "own.h5", "o.h5")
            c.same(read("o.h5", "train/x").tolist(), q.astype("f8").tolist(), "points")
        add("points " + t, typed)

    def first(c):  # planes of colour, other objects, one only array
        with h5py.File("own.h5", "w") as f:
            f["photographs"] = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
            f.attrs["note"] = "by hand"
            f.create_group("empty")
        c.accepted("data", "--split", "test=own.h5", "o.h5")
        c.same(read("o.h5", "test/images").tobytes(), x.tobytes(), "pixels")
    add("the only array, channels first", first)

    def told(c):
        made(c, x=p, mean=p[0], note="by hand")
        c.run("probflow", "data", "own.h5", "o.h5")
        c.same(c.status, 0, "status")
        c.must("mean" in c.err and "note" in c.err, "what was not read is not told: " + c.err)
    add("what is not read is told", told)

    # ---- refused ----
    add("nothing", refused())
    add("an empty group", refused(change=lambda f: f.create_group("train")))
    add("no known name", refused(foo=p, bar=p))
    add("two of images", refused("images.*x|x.*images", images=x, x=p))
    add("two of a split", refused(train__x=p, train_x=p))
    add("two splits in a name", refused("test/train_x", test__train_x=p, x=p))
    add("labels alone", refused(labels=y))
    add("a label too few", refused(x=p, labels=y[1:]))
    add("a condition too many", refused(x=p, conditions=np.ones((7, 1))))
    add("one-hot", refused(x=p, labels=np.eye(6)))
    add("text", refused(x=np.array([b"a", b"b"])))
    add("structured", refused(x=np.zeros(3, [("a", "f4"), ("b", "i4")])))
    add("complex", refused(x=p.astype("c16")))
    add("bool", refused(x=p > 0))
    add("a number", refused(x=np.float64(3)))
    add("no rows", refused(x=p[:0]))
    add("six axes", refused(x=np.zeros((2, 1, 1, 1, 1, 2))))
    add("bytes without a shape", refused(x=x.reshape(6, -1)))
    add("pixel 256", refused("row 5", images=np.where(np.arange(6)[:, None, None] < 5, 1, np.full((6, 2, 2), 256))))
    for v in (np.nan, np.inf):
        q = p.copy()
        q[3, 1] = v
        add("a value of %s" % v, refused("row 3", x=q))
        add("a condition of %s" % v, refused("row 3", x=p, conditions=q))
    add("a soft link", refused(x=p, change=lambda f: f.__setitem__("data", h5py.SoftLink("/x"))))
    add("an external link", refused(change=lambda f: f.__setitem__("x", h5py.ExternalLink("other.h5", "/x"))))
    add("a group in itself", refused(x=p, change=lambda f: f.__setitem__("g/again", f.create_group("g"))))
    add("lzf", refused(change=lambda f: f.create_dataset("x", data=np.zeros((600, 400)), chunks=(600, 400), compression="lzf")))
    add("a terabyte of fill", refused(change=lambda f: f.create_dataset("x", (1 << 20, 1 << 17), "f8", chunks=(1 << 10, 1 << 10))))
    add("lying elsewhere", refused(change=lambda f: f.create_dataset("x", (6, 2), "f8", external=[("own.h5", 0, 96)])))

    def ours(c):
        c.use("tiny.h5")
        c.refused(r"tiny\.h5.*dataset", "data", "tiny.h5", "o.h5")
    add("a dataset of ours", ours)

    def itself(c):
        made(c, x=p)
        c.refused(r"own\.h5", "data", "own.h5", "own.h5")
    add("onto itself", itself)

    def other(c):
        made(c, x=p), made(c, "o.h5", x=p)
        c.refused(r"o\.h5", "data", "own.h5", "o.h5")
    add("onto a file of others", other)
    add("empty", bytes_refused(lambda b: b""))
    for n in sorted(random.sample(range(8, 2000), 6)): add("cut to %d bytes" % n, bytes_refused(lambda b, n=n: b[:n]))
    for k in range(12):
        def steps(c, at=random.random(), bit=1 << random.randrange(8)):
            made(c, how={"libver": "latest"}, x=p)
            b = bytearray(open("own.h5", "rb").read())
            b[int(at * len(b))] ^= bit
            c.write("own.h5", b)
            if c.either(r"own\.h5", "data", "own.h5", "o.h5"):  # values have no checksum there
                c.must(np.sum(read("o.h5", "train/x") != p) <= 1, "more than one value is another")
        add("bit %d" % k, steps)
