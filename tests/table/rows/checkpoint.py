"""Checkpoints, changed and sealed again, or damaged: sample, info and bpd."""
import os, shutil
import h5py, numpy as np
from fixture import CHECKPOINT
from make import attribute, edit, flip, read, replace, seal, strip, unsealed

MEMORY = 1500 << 20


def refused(change, pattern=r"c\.h5"):
    def steps(c):
        c.use("run")
        os.rename(CHECKPOINT, "c.h5")
        change("c.h5")
        c.refused(pattern, "sample", "c.h5", "-n", "1", "--out", "s.h5", memory=MEMORY)
    return steps


def taken(change):
    def steps(c):
        c.use("run", "samples.h5")
        os.rename(CHECKPOINT, "c.h5")
        change("c.h5")
        c.accepted("sample", "c.h5", "-n", "1", "--out", "s.h5")
        c.same(read("s.h5", "images").tobytes(), read("samples.h5", "images").tobytes(), "the sample")
    return steps


def edited(change): return lambda path: edit(path, change)


def state(name, value):
    def change(f):
        at = f["state"].attrs
        del at[name]
        at[name] = value
    return edited(change)


def a_view(f): return sorted(f["params"], key=lambda k: -f["params/" + k].size)[0]


def rows(add, random):
    add("good", taken(lambda p: None))
    add("an attribute more", taken(edited(lambda f: f.attrs.__setitem__("note", 1))))
    i8 = np.int64
    for v in (0, -1, 1, 48248, 48250, 3 << 28, 1 << 40, 1 << 62): add("state/floats %d" % v, refused(state("floats", i8(v))))
    for v in ([2**32 + 8, 8, 1], [0, 8, 1], [-8, 8, 1], [8, 8, 2**31], [8, 8], [8, 8, 1, 1], [1 << 20, 1 << 20, 1], [7, 7, 1], [8, 8, 1 << 40]):
        add("state/shape %s" % v, refused(state("shape", np.array(v, i8)), r"c\.h5|images of|output would be"))
    for name in ("step", "seed", "shards"):
        add("state/%s twice" % name, refused(state(name, np.array([4, 4], i8))))
        add("state/%s a text" % name, refused(state(name, "four")))
    for v in (-1, -(1 << 63)): add("state/step %d" % v, refused(state("step", i8(v))))
    for v in (-4, (1 << 32) + 4): add("state/shards %d" % v, refused(state("shards", i8(v)), r"c\.h5|shards"))
    for name in ("step", "shape", "floats"): add("no state/%s" % name, refused(edited(lambda f, n=name: f["state"].attrs.__delitem__(n))))
    add("no state", refused(edited(lambda f: f.__delitem__("state"))))
    add("no params", refused(edited(lambda f: f.__delitem__("params"))))
    add("params empty", refused(edited(lambda f: (f.__delitem__("params"), f.create_group("params")))))
    add("no config", refused(edited(lambda f: f.attrs.__delitem__("config"))))
    add("config no YAML", refused(edited(lambda f: f.attrs.__setitem__("config", "{a: "))))
    add("config of another model", refused(edited(lambda f: f.attrs.__setitem__("config", f.attrs["config"].replace("width: 8", "width: 16") if isinstance(f.attrs["config"], str) else f.attrs["config"].decode().replace("width: 8", "width: 16")))))

    def layout(change):
        def edit_it(f):
            v = f["state/layout"][...]
            change(v)
            replace(f, "state/layout", v)
        return edited(edit_it)
    add("layout beyond the block", refused(layout(lambda v: v.__setitem__((0, 0), 1 << 40))))
    add("layout negative", refused(layout(lambda v: v.__setitem__((0, 0), -1))))
    add("layout 2^62", refused(layout(lambda v: v.__setitem__((3, 0), 1 << 62))))
    add("layout: all at one place", refused(layout(lambda v: v.__setitem__((slice(None), 0), 0))))
    add("layout of 3 columns", refused(edited(lambda f: replace(f, "state/layout", np.zeros((len(f["params"]), 3), "i8")))))
    add("layout of floats", refused(edited(lambda f: replace(f, "state/layout", f["state/layout"][...] + 0.5))))

    def view(make): return edited(lambda f: replace(f, "params/" + a_view(f), make(f["params/" + a_view(f)][...])))
    add("a parameter of f8", refused(view(lambda v: v.astype("f8"))))
    add("a parameter of i4", refused(view(lambda v: v.astype("i4"))))
    add("a parameter misshapen", refused(view(lambda v: v.reshape(-1))))
    add("a parameter too short", refused(view(lambda v: v[:1])))
    add("a parameter not a number", refused(view(lambda v: v * np.nan), r"c\.h5|nan|not finite"))
    add("a parameter of 2^40 values", refused(edited(lambda f: (lambda k: (f.__delitem__("params/" + k), f.create_dataset("params/" + k, (1 << 40,), "f4", chunks=(4096,))))(a_view(f)))))
    add("a parameter is a group", refused(edited(lambda f: (lambda k: (f.__delitem__("params/" + k), f.create_group("params/" + k)))(a_view(f)))))
    add("a parameter missing", refused(edited(lambda f: f.__delitem__("params/" + a_view(f)))))
    add("a parameter too many", refused(edited(lambda f: f["params"].create_dataset("zz.extra", data=np.zeros(3, "f4")))))
    add("a parameter linked to itself", refused(edited(lambda f: (lambda k: (f.__delitem__("params/" + k), f.__setitem__("params/" + k, h5py.SoftLink("/params/" + k))))(a_view(f)))))
    add("the average lacks one", refused(edited(lambda f: f.__delitem__("ema/" + a_view(f)))))
    add("a wrong crc32", refused(edited(lambda f: f["params/" + a_view(f)].attrs.modify("crc32", i8(1)))))
    add("a crc32 that is a text", refused(edited(lambda f: (f["params/" + a_view(f)].attrs.__delitem__("crc32"), f["params/" + a_view(f)].attrs.__setitem__("crc32", "1")))))
    add("kind dataset", refused(edited(lambda f: f.attrs.__setitem__("kind", "dataset"))))
    add("a dataset", lambda c: (c.use("tiny.h5"), c.refused(r"tiny\.h5", "sample", "tiny.h5", "-n", "1", "--out", "s.h5")))
    add("a text", lambda c: (c.write("c.h5", "no file"), c.refused(r"c\.h5", "sample", "c.h5", "-n", "1", "--out", "s.h5")))
    add("an empty folder", lambda c: (os.mkdir("d"), c.refused("d", "sample", "d", "-n", "1", "--out", "s.h5")))

    # a wrong byte is never read as a checkpoint
    for at in sorted(random.sample(range(0, 1000000), 20)): add("bit of byte %d" % at, refused(lambda p, at=at: flip(p, at, 1 << at % 8)))
    for n in (1, 31, 5000, 500000, 1000000): add("cut to %d bytes" % n, refused(lambda p, n=n: os.truncate(p, n)))
    add("without its seal", refused(strip))

    # the seal itself
    def sealed_anew(**how): return lambda p: (strip(p), seal(p, **how))
    add("seal: ranges out of order", refused(sealed_anew(ranges=[(900, 10), (500, 10)], rest=0)))
    add("seal: ranges overlap", refused(sealed_anew(ranges=[(500, 100), (550, 100)], rest=0)))
    add("seal: a range beyond the end", refused(sealed_anew(ranges=[(1 << 30, 10)], rest=0)))
    add("seal: a range that wraps", refused(sealed_anew(ranges=[(500, (1 << 64) - 400)], rest=0)))
    add("seal: 2^60 ranges", refused(sealed_anew(count=1 << 60)))
    add("seal: another length", refused(sealed_anew(total=12345)))
    add("seal: wrong sum", refused(sealed_anew(rest=1)))
    add("seal: all is one range", refused(lambda p: (strip(p), flip(p, 300), seal(p, ranges=[(0, os.path.getsize(p))]))))

    def renamed(c):
        c.use("run", "tiny.h5")
        c.accepted("train", "run/config.yaml", "--run", "two", "--set", "train.steps=2")
        shutil.copy("two/checkpoint-00000002.h5", CHECKPOINT)
        c.refused("checkpoint-00000004", "bpd", "run", "--limit", "4", "--out", "o.h5")
    add("named step 4, inside step 2", renamed)
