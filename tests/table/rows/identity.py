"""A run knows its data by content, its rate and its recipe: what may change when it goes on, and what not."""
import os, shutil
import h5py, numpy as np
from fixture import CHECKPOINT
from make import edit, grey, idx, read, replace

def run(steps, *options): return ["train", "tiny.yaml", "--run", "run", "--set", "train.steps=%d" % steps, *options]


CHANGES = ("run/metrics.h5", "run/config.yaml", CHECKPOINT)


def goes_on(change, *options, steps=6):
    """the run ends in the bits of one that nobody touched"""
    def body(c):
        c.use("run", "tiny.yaml", "tiny.h5", "train-images", "test-images")
        c.accepted("train", "tiny.yaml", "--run", "whole", "--set", "train.steps=%d" % steps)
        change(c)
        c.accepted(*run(steps, *options), changes=CHANGES)
        name = "checkpoint-%08d.h5" % steps
        with h5py.File("run/" + name, "r") as a, h5py.File("whole/" + name, "r") as b:
            for k in b["params"]: c.must((a["params"][k][...] == b["params"][k][...]).all(), "other bits in " + k)
    return body


def refused(change, pattern, *options, steps=6):
    def body(c):
        c.use("run", "tiny.yaml", "tiny.h5", "train-images", "test-images")
        change(c)
        c.refused(pattern, *run(steps, *options))
    return body


def rows(add, random):
    nothing = lambda c: None
    add("more steps", goes_on(nothing))
    add("data moved", goes_on(lambda c: os.rename("tiny.h5", "moved.h5"), "--set", "data.path=moved.h5"))
    add("data in another folder", goes_on(lambda c: (os.mkdir("a b"), os.rename("tiny.h5", "a b/x.h5")), "--set", "data.path=a b/x.h5"))
    add("data by an absolute path", goes_on(lambda c: None, "--set", "data.path=./tiny.h5"))
    add("data by a link", goes_on(lambda c: os.symlink("tiny.h5", "l.h5"), "--set", "data.path=l.h5"))
    def packed(c):
        import gzip
        c.write("train.gz", gzip.compress(open("train-images", "rb").read()))
        c.run("data", "train.gz", "test-images", "again.h5")
        c.must(c.status == 0, c.first())
    add("the same pixels from a .gz", goes_on(packed, "--set", "data.path=again.h5"))
    def renamed(c):
        shutil.copy("train-images", "other-name"), shutil.copy("test-images", "test-x")
        c.run("data", "other-name", "test-x", "again.h5")
        c.must(c.status == 0, c.first())
    add("the same pixels from other names", goes_on(renamed, "--set", "data.path=again.h5"))
    add("an attribute more", goes_on(lambda c: edit("tiny.h5", lambda f: f.attrs.__setitem__("note", 1))))

    def data_of(train, test, name="tiny.h5"):
        def change(c):
            c.write("train-x", idx(train)), c.write("test-x", idx(test))
            if os.path.exists(name): os.unlink(name)
            c.run("data", "train-x", "test-x", name)
            c.must(c.status == 0, c.first())
        return change
    a, b = grey(32, 5), grey(8, 6)
    add("other images under the same name", refused(data_of(grey(32, 9), b), r"tiny\.h5|data"))
    add("other images under another name", refused(data_of(grey(32, 9), b, "other.h5"), r"other\.h5", "--set", "data.path=other.h5"))
    add("fewer images", refused(data_of(a[:16], b), r"tiny\.h5|data"))
    add("more images", refused(data_of(grey(48, 5), b), r"tiny\.h5|data"))
    add("images in another order", refused(data_of(a[::-1], b), r"tiny\.h5|data"))
    one = a.copy()
    one[3, 2, 1] ^= 1
    add("one pixel", refused(data_of(one, b), r"tiny\.h5|data"))
    add("one pixel, changed in the file", refused(lambda c: edit("tiny.h5", lambda f: f["train/images"].__setitem__((5, 1, 1, 0), 255 - f["train/images"][5, 1, 1, 0])), r"tiny\.h5|data"))
    add("another size", refused(data_of(grey(32, 5, 16), grey(8, 6, 16)), r"tiny\.h5|data|16x16|8x8"))
    add("data gone", refused(lambda c: os.unlink("tiny.h5"), r"tiny\.h5"))
    add("labels more", refused(lambda c: edit("tiny.h5", lambda f: f["train"].create_dataset("labels", data=np.arange(32, dtype="i4") % 3)), r"tiny\.h5|data"))
    add("levels 128", refused(lambda c: edit("tiny.h5", lambda f: (f["train/images"].__setitem__(..., f["train/images"][...] // 2), f["test/images"].__setitem__(..., f["test/images"][...] // 2), f.attrs.modify("levels", np.int64(128)))), r"tiny\.h5|data|levels"))

    for option in ("train.lr=0.5", "train.batch=32", "seed=4", "shards=2", "train.ema=0.5", "train.beta1=0.5", "train.clip=2", "model.width=16", "sde.beta_max=10",
                   "objective.t_min=1e-3", "data.flip=true", "data.limit=16", "data.uniform_dequantisation=false", "train.warmup=8", "train.decay=2"):
        key = option.split("=")[0]
        add("another %s" % key, refused(nothing, key.split(".")[-1], "--set", option))
    for option in ("train.log_every=2", "train.keep=5", "train.checkpoint_every=5", "train.max_hours=1"):
        add("%s may change" % option.split("=")[0], goes_on(nothing, "--set", option))

    def decayed(c, n, *options):
        c.use("tiny.yaml", "tiny.h5")
        words = ["train", "tiny.yaml", "--run", "d", "--set", "train.decay=4", "--set", "train.warmup=0"]
        c.accepted(*words, "--set", "train.steps=8")
        c.run(*words, "--set", "train.steps=%d" % n)
        return c.status

    def longer(c):
        if decayed(c, 16) == 0:
            lr = read("d/metrics.h5", "lr")
            step = read("d/metrics.h5", "step")
            c.accepted("train", "tiny.yaml", "--run", "w", "--set", "train.decay=4", "--set", "train.warmup=0", "--set", "train.steps=16")
            c.same(lr.tolist(), read("w/metrics.h5", "lr").tolist(), "rates of all steps")
        else: c.said("decay|steps")
    add("longer, with decay", longer)
    add("the same length, with decay", lambda c: c.must(decayed(c, 8) == 0, "refused: " + c.first()))
    add("shorter", lambda c: (c.use("run", "tiny.yaml", "tiny.h5"), c.either("steps", *run(2), changes=CHANGES)))

    def evaluated(c):
        """bpd of a run whose data were swapped: another definition"""
        c.use("run", "tiny.yaml", "tiny.h5", "results.h5")
        data_of(a, grey(8, 99))(c)
        c.refused(r"results\.h5", "bpd", "run", "--limit", "4", "--out", "results.h5")
    add("bpd goes on with other data", evaluated)
