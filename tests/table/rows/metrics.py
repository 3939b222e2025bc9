"""metrics.h5: info refuses or shows it, train sets a damaged one aside and goes on."""
import gzip, os, shutil
import h5py, numpy as np
from make import edit, flip, read, replace, seal, strip, unsealed

RUN = ["train", "tiny.yaml", "--run", "run", "--set", "train.steps=5"]


def goes_on(change, kept=None):
    """train goes on; its steps are there once each, the last one is 5"""
    def steps(c):
        c.use("run", "tiny.yaml", "tiny.h5")
        change("run/metrics.h5")
        c.accepted(*RUN, changes=("run/metrics.h5", "run/config.yaml", "run/checkpoint-00000004.h5"), env={"MALLOC_PERTURB_": "65"})
        s = read("run/metrics.h5", "step").tolist()
        c.must(s and s[-1] == 5 and s == sorted(set(s)) and set(s) <= {1, 2, 3, 4, 5}, "steps %s" % s)
        if kept is not None: c.same(s, kept, "steps")
        c.must(os.path.exists("run/checkpoint-00000005.h5"), "no checkpoint of step 5")
    return steps


def info(change, pattern=r"m\.h5"):
    """one sentence, or what it holds"""
    def steps(c):
        c.use("metrics.h5")
        os.rename("metrics.h5", "m.h5")
        change("m.h5")
        c.either(pattern, "info", "m.h5", memory=1500 << 20, env={"MALLOC_PERTURB_": "65"})
    return steps


def edited(change): return lambda path: edit(path, change)


def without_end(path):
    """libhdf5 counts the chunks of a dataset of it for hours"""
    data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../damaged/metrics_without_end.h5.gz")
    with open(path, "wb") as f: f.write(gzip.open(data).read())


def compared_without_end(c):  # a child each
    without_end("m.h5")
    shutil.copy("m.h5", "n.h5")
    c.refused(r"[mn]\.h5", "info", "m.h5", "n.h5")


def without_seal(path):
    edit(path, lambda f: None)
    strip(path)


def foreign(change):
    """what is no metrics file of a run is set aside, or nothing is touched"""
    def steps(c):
        c.use("run", "tiny.yaml", "tiny.h5")
        change("run/metrics.h5")
        c.either(r"metrics\.h5", *RUN)
    return steps


def rows(add, random):
    add("good", goes_on(lambda p: None, [1, 2, 3, 4, 5]))
    add("info, without end", info(without_end))
    add("info A B, without end", compared_without_end)
    add("train, without end", foreign(without_end))
    add("missing", goes_on(os.unlink, [5]))
    add("without its seal", goes_on(strip, [1, 2, 3, 4, 5]))
    add("empty", goes_on(lambda p: os.truncate(p, 0)))
    add("a text", foreign(lambda p: open(p, "w").write("step 1\n")))
    for n in (1, 100, 3000, 20000, 50000): add("cut to %d bytes" % n, goes_on(lambda p, n=n: os.truncate(p, n)))
    for at in sorted(random.sample(range(0, 50000), 12)): add("train, bit of byte %d" % at, goes_on(lambda p, at=at: flip(p, at, 1 << at % 8)))
    for at in sorted(random.sample(range(0, 50000), 12)): add("train, bit of byte %d, no seal" % at, goes_on(lambda p, at=at: (strip(p), flip(p, at, 1 << at % 8))))
    for at in sorted(random.sample(range(0, 10000), 20)): add("info, bit of byte %d, no seal" % at, info(lambda p, at=at: (strip(p), flip(p, at, 1 << at % 8))))
    add("kind dataset", foreign(edited(lambda f: f.attrs.__setitem__("kind", "dataset"))))
    add("no checksums", goes_on(edited(lambda f: f.__delitem__("row_crc32"))))
    add("no column loss", goes_on(edited(lambda f: f.__delitem__("loss"))))
    add("a column of texts", goes_on(edited(lambda f: (f.__delitem__("loss"), f.create_dataset("loss", data=["a"] * 4, dtype=h5py.string_dtype())))))
    add("a column of rank 2", goes_on(edited(lambda f: replace(f, "loss", np.zeros((4, 2))))))
    add("a column of 2^40 rows", goes_on(edited(lambda f: (f.__delitem__("loss"), f.create_dataset("loss", (1 << 40,), "f8", chunks=(512,))))))

    def all_long(f):
        for k in list(f):
            d = f[k].dtype
            del f[k]
            f.create_dataset(k, (1 << 29,), d, chunks=(512,))
    add("every column of 2^29 rows", goes_on(edited(all_long)))
    add("info, every column of 2^29 rows", info(edited(all_long)))
    add("a column is a group", goes_on(edited(lambda f: (f.__delitem__("loss"), f.create_group("loss")))))
    add("a column is a link to itself", goes_on(edited(lambda f: (f.__delitem__("loss"), f.__setitem__("loss", h5py.SoftLink("/loss"))))))
    add("step not a number", goes_on(edited(lambda f: f["step"].__setitem__(2, np.nan))))
    add("a folder", lambda c: (c.use("run", "tiny.yaml", "tiny.h5"), os.unlink("run/metrics.h5"), os.mkdir("run/metrics.h5"), c.either("metrics", *RUN)))
