"""Datasets, changed and sealed again, or damaged: train and bpd read what is right, refuse what is not."""
import os, shutil, struct
import h5py, numpy as np
from make import edit, flip, read, replace, seal, strip, unsealed

ONE = ["--set", "train.steps=1", "--set", "data.path=x.h5"]
MEMORY = 1500 << 20


def refused(change, pattern=r"x\.h5"):
    def steps(c):
        c.use("tiny.h5", "tiny.yaml")
        os.rename("tiny.h5", "x.h5")
        change("x.h5")
        c.refused(pattern, "train", "tiny.yaml", "--run", "r", *ONE, memory=MEMORY)
    return steps


def taken(change):
    def steps(c):
        c.use("tiny.h5", "tiny.yaml")
        os.rename("tiny.h5", "x.h5")
        change("x.h5")
        c.accepted("train", "tiny.yaml", "--run", "r", *ONE)
        c.must(np.isfinite(read("r/checkpoint-00000001.h5", "params/" + first("r/checkpoint-00000001.h5"))).all(), "parameters not finite")
    return steps


def first(path):
    with h5py.File(path, "r") as f: return sorted(f["params"])[0]


def edited(change): return lambda path: edit(path, change)


def both(f, make):
    for s in ("train", "test"): replace(f, s + "/images", make(f[s + "/images"][...]))


def rows(add, random):
    add("good", taken(lambda p: None))
    add("an attribute more", taken(edited(lambda f: f.attrs.__setitem__("note", 1))))
    add("without its seal", taken(lambda p: (edit(p, lambda f: f.attrs.__delitem__("sealed") if "sealed" in f.attrs else None), strip(p))))
    add("labels", taken(edited(lambda f: [f[s].create_dataset("labels", data=np.zeros(len(f[s + "/images"]), "i4")) for s in ("train", "test")])))

    for d in ("f4", "f8", "f2", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "bool"):
        add("images of " + d, refused(edited(lambda f, d=d: both(f, lambda v: v.astype(d)))))
    add("images of texts", refused(edited(lambda f: both(f, lambda v: np.full(v.shape, b"a", "S1")))))
    add("images of big-endian u2", refused(edited(lambda f: both(f, lambda v: v.astype(">u2")))))
    for rank, shape in ((1, (2048,)), (2, (32, 64)), (3, (32, 8, 8)), (5, (32, 8, 8, 1, 1))):
        add("images of rank %d" % rank, refused(edited(lambda f, s=shape: replace(f, "train/images", f["train/images"][...].reshape(s)))))
    add("no images", refused(edited(lambda f: f.__delitem__("train/images")), r"x\.h5"))
    add("no train", refused(edited(lambda f: f.__delitem__("train")), r"x\.h5.*train"))
    add("zero rows", refused(edited(lambda f: replace(f, "train/images", np.zeros((0, 8, 8, 1), "u1"), maxshape=(None, 8, 8, 1))), r"x\.h5|shards"))
    add("images is a group", refused(edited(lambda f: (f.__delitem__("train/images"), f.create_group("train/images")))))
    add("images is a link to itself", refused(edited(lambda f: (f.__delitem__("train/images"), f.__setitem__("train/images", h5py.SoftLink("/train/images"))))))
    add("images is a link to another file", refused(edited(lambda f: (f.__delitem__("train/images"), f.__setitem__("train/images", h5py.ExternalLink("other.h5", "/train/images"))))))

    for n in (2, 128, 200): add("%d levels, pixels beyond" % n, refused(edited(lambda f, n=n: f.attrs.modify("levels", np.int64(n)))))
    for v in (-1, 1, 1 << 25, 1 << 40, (1 << 32) + 256): add("levels %d" % v, refused(edited(lambda f, v=v: f.attrs.modify("levels", np.int64(v))), r"x\.h5|levels"))

    def levels_as(v):
        def change(f):
            del f.attrs["levels"]
            f.attrs["levels"] = v
        return edited(change)
    add("levels twice", refused(levels_as([256, 256])))
    add("levels a text", refused(levels_as("many"), r"x\.h5|levels"))
    add("levels not a number", refused(levels_as(float("nan")), r"x\.h5|levels"))
    add("no levels", refused(edited(lambda f: f.attrs.__delitem__("levels")), r"x\.h5|levels"))
    add("levels half", refused(levels_as(255.5), r"x\.h5|levels"))

    def one_pixel(f):
        both(f, lambda v: v // 2)
        f["train/images"][3, 0, 0, 0] = 129
        f.attrs.modify("levels", np.int64(128))
    add("one pixel of 129 in 128 levels", refused(edited(one_pixel), r"x\.h5.*(image|row) 3\b|x\.h5"))

    def labels(v): return edited(lambda f: f["train"].create_dataset("labels", data=v, dtype=h5py.string_dtype() if isinstance(v, list) else None))
    for name, v in (("texts", ["a"] * 32), ("31", np.zeros(31, "i4")), ("33", np.zeros(33, "i4")), ("of rank 2", np.zeros((32, 1), "i4")), ("floats", np.full(32, 0.5)), ("none", np.zeros(0, "i4"))):
        add("labels: " + name, refused(labels(v), r"x\.h5|labels"))
    for v in ("checkpoint", "results", "metrics"): add("kind %s" % v, refused(edited(lambda f, v=v: f.attrs.__setitem__("kind", v))))
    add("no kind", refused(edited(lambda f: f.attrs.__delitem__("kind"))))

    # sizes that nothing stands behind
    for n in (1 << 20, 1 << 31, 1 << 40):
        add("%d rows declared" % n, refused(edited(lambda f, n=n: (f.__delitem__("train/images"), f.create_dataset("train/images", (n, 8, 8, 1), "u1", chunks=(1, 8, 8, 1))))))
    add("images of 2^23 pixels declared", refused(edited(lambda f: (f.__delitem__("train/images"), f.create_dataset("train/images", (4, 1 << 11, 1 << 12, 1), "u1", chunks=(1, 64, 64, 1))))))

    # damage
    for at in sorted(random.sample(range(64, 15000), 16)): add("bit of byte %d" % at, damaged(at))
    for n in (0, 1, 100, 2000, 10000, 20000): add("cut to %d bytes" % n, refused(lambda p, n=n: os.truncate(p, n)))
    add("the seal cut in half", refused(lambda p: os.truncate(p, os.path.getsize(p) - 16)))
    add("one byte behind", refused(lambda p: open(p, "ab").write(b"x")))


def damaged(at):
    """a flipped bit: refused, or in what nobody reads; the parameters are those of the whole file"""
    def steps(c):
        c.use("tiny.h5", "tiny.yaml")
        shutil.copy("tiny.h5", "x.h5")
        c.accepted("train", "tiny.yaml", "--run", "good", "--set", "train.steps=1")
        flip("x.h5", at, 1 << at % 8)
        if c.either(r"x\.h5", "train", "tiny.yaml", "--run", "r", *ONE):
            name = first("r/checkpoint-00000001.h5")
            c.must((read("r/checkpoint-00000001.h5", "params/" + name) == read("good/checkpoint-00000001.h5", "params/" + name)).all(), "other parameters from a damaged file")
        elif os.path.exists("r/checkpoint-00000001.h5"): c.must(False, "refused, but trained")
    return steps
