"""Numbers of a file against the file itself: memory, loops, links, what is no regular file; any command."""
import os, struct
import h5py, numpy as np
from make import edit, replace, seal, strip

MEMORY = 1500 << 20


def rows(add, random):
    def hdf(name, build, words, pattern=r"x\.h5", sealed=False, either=False):
        def steps(c):
            c.use("run", "tiny.yaml")
            with h5py.File("x.h5", "w", libver="latest") as f: build(f)
            if sealed: seal("x.h5")
            (c.either if either else c.refused)(pattern, *words, memory=MEMORY)
        add(name, steps)
    info, train = ["info", "x.h5"], ["train", "tiny.yaml", "--run", "r", "--set", "data.path=x.h5"]
    compare = ["info", "x.h5", "x.h5"]

    def dataset(f, n=16, levels=256, shape=(8, 8, 1), dtype="u1"):
        f.attrs["kind"] = "dataset"
        f.attrs["levels"] = levels
        for s in ("train", "test"): f[s + "/images"] = np.full((n,) + shape, 7, dtype)

    def huge(n, **how):
        def build(f):
            dataset(f)
            f.create_dataset("train/labels", (n,), chunks=(1024,), **how).attrs["crc32"] = np.int64(0)
        return build
    for n in (1 << 28, 1 << 40, (1 << 59) + 1, (1 << 61)):
        hdf("train, %d labels" % n, huge(n, dtype="i4"), train)
        hdf("info twice, %d labels" % n, huge(n, dtype="i4"), compare, either=True)
    hdf("labels of arrays", huge((1 << 59) + 1, dtype=np.dtype(("f8", (4,)))), train)

    def rows_of(n, dims):
        def build(f):
            f.attrs["kind"], f.attrs["levels"] = "dataset", 256
            f.create_dataset("train/images", (n,) + dims, "u1", chunks=(1,) + tuple(min(d, 64) for d in dims))
        return build
    for n, dims in ((1 << 20, (64, 64, 3)), (1 << 40, (8, 8, 1)), (4, (1 << 20, 1, 1)), (16, (30000, 30000, 3)), (1 << 62, (1, 1, 1))):
        hdf("train, images [%d,%s]" % (n, ",".join(map(str, dims))), rows_of(n, dims), train)

    def links(build_link):
        def build(f):
            dataset(f)
            build_link(f)
        return build
    hdf("info, a cycle of groups", links(lambda f: f.__setitem__("train/up", f["/"])), info, either=True)
    hdf("info twice, a cycle of groups", links(lambda f: f.__setitem__("train/up", f["/"])), compare, either=True)
    hdf("info, a soft link to itself", links(lambda f: f.__setitem__("a", h5py.SoftLink("/a"))), info, either=True)
    hdf("info, soft links in a ring", links(lambda f: (f.__setitem__("a", h5py.SoftLink("/b")), f.__setitem__("b", h5py.SoftLink("/a")))), info, either=True)
    hdf("info, an external link", links(lambda f: f.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/"))), info, either=True)
    hdf("info, an external link to itself", links(lambda f: f.__setitem__("a", h5py.ExternalLink("x.h5", "/a"))), info, either=True)

    def deep(f):
        g = f
        for i in range(400): g = g.create_group("g")
    hdf("info, 400 groups deep", deep, info, either=True)

    def wide(f):
        for i in range(10000): f.create_group("g%d" % i)
    hdf("info, 10000 groups", wide, info, either=True)
    hdf("info twice, 10000 groups", wide, compare, either=True)
    hdf("info, many attributes", lambda f: [f.attrs.__setitem__("a%d" % i, i) for i in range(5000)], info, either=True)
    hdf("info, a name of 60000 letters", lambda f: f.create_group("n" * 60000), info, either=True)
    hdf("info, an attribute of 50000 letters", lambda f: f.attrs.__setitem__("a", "n" * 50000), info, either=True)
    hdf("info, rank 32", lambda f: f.create_dataset("a", (1,) * 32, "f8"), info, either=True)
    hdf("info, a compound type", lambda f: f.create_dataset("a", data=np.zeros(3, [("x", "f8"), ("y", "i4")])), info, either=True)
    hdf("info, references", lambda f: f.create_dataset("a", data=np.array([f.ref], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype), info, either=True)
    hdf("info, a null dataspace", lambda f: f.create_dataset("a", data=h5py.Empty("f4")), info, either=True)
    hdf("info twice, a null dataspace", lambda f: f.create_dataset("a", data=h5py.Empty("f4")), compare, either=True)

    def loop(c):
        c.use("run", "tiny.yaml")
        with h5py.File("x.h5", "w", libver="latest") as f: dataset(f)
        open("x.h5", "ab").write(bytes(3 << 20))
        n = os.path.getsize("x.h5")
        seal("x.h5", ranges=[(n, (1 << 64) - n)] * (n // 32), rest=0)
        c.refused(r"x\.h5", *info)
    add("a seal whose ranges go back", loop)

    # what is no regular file
    def special(name, make, words, target="x.h5", pattern=None):
        def steps(c):
            c.use("run", "tiny.yaml", "tiny.h5", "points.h5")
            make(target)
            c.refused(pattern or target.replace(".", r"\."), *words, memory=MEMORY)
        add(name, steps)
    every = {"info": ["info", "x.h5"], "train": train, "bpd": ["bpd", "run", "--data", "x.h5", "--limit", "4", "--out", "o.h5"], "sample": ["sample", "x.h5", "-n", "1", "--out", "o.h5"],
             "score": ["score", "run", "--in", "x.h5", "--out", "o.h5"], "import": ["import", "x.h5", "o.h5"], "data": ["data", "x.h5", "o.h5"], "variance": ["variance", "run", "--data", "x.h5", "--batches", "2"]}
    for k, words in every.items():
        special("%s of a FIFO" % k, os.mkfifo, words)
        special("%s of a folder" % k, os.mkdir, words, pattern=r"x\.h5" if k not in ("sample",) else "x.h5|checkpoint")
        special("%s of a link to /dev/zero" % k, lambda p: os.symlink("/dev/zero", p), words)
        special("%s of a link to itself" % k, lambda p: os.symlink(p, p), words)
        special("%s of nothing" % k, lambda p: None, words)
        special("%s of an empty file" % k, lambda p: open(p, "w").close(), words)
