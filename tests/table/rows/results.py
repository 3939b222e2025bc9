"""Results of bpd: continued when they are right; refused when they are of another definition or damaged."""
import os, shutil
import h5py, numpy as np
from make import attribute, edit, flip, read, replace, seal, strip

BPD = ["bpd", "run", "--limit", "4", "--out", "x.h5"]


def begin(c, change):
    c.use("run", "tiny.h5", "results.h5")
    os.rename("results.h5", "x.h5")
    change("x.h5")


def refused(change, pattern=r"x\.h5"):
    def steps(c):
        begin(c, change)
        c.refused(pattern, *BPD, memory=1500 << 20)
    return steps


def right(change):
    """the numbers are those of the whole file, or one sentence"""
    def steps(c):
        begin(c, lambda p: None)
        want = read("x.h5", "nll").tolist()
        change("x.h5")
        c.run(*BPD)
        if c.status: c.said(r"x\.h5")
        else: c.same(read("x.h5", "nll").tolist(), want, "nll")
    return steps


def shown(change, name):
    """info says (not readable), or refuses"""
    def steps(c):
        begin(c, change)
        if c.either("x.h5|" + name, "info", "x.h5"):
            lines = [l for l in c.out.splitlines() if name.split("_")[0] in l.lower()]
            c.must(not any(ch.isdigit() for l in lines for ch in l.replace("bits/dim", "")) or any("not readable" in l or "unreadable" in l for l in lines), "taken as a number: %s" % lines[:1])
    return steps


def edited(change): return lambda path: edit(path, change)


def put(name, value):
    def change(f):
        if name in f.attrs: del f.attrs[name]
        f.attrs[name] = value
    return edited(change)


def rows(add, random):
    def good(c):
        begin(c, lambda p: None)
        nll = read("x.h5", "nll")
        c.accepted(*BPD, changes=("x.h5",))
        c.same(read("x.h5", "nll").tolist(), nll.tolist(), "nll")
        said = [float(l.split()[1]) for l in c.out.splitlines() if l.startswith("nll_ode")]
        c.must(said and abs(said[0] - nll.mean()) < 1e-4, "printed %s, the mean is %.5f" % (said, nll.mean()))
    add("good, again", good)

    def one_missing(c):
        begin(c, lambda p: None)
        nll = read("x.h5", "nll")
        edit("x.h5", lambda f: f["done"].__setitem__(0, 0))
        c.accepted(*BPD, changes=("x.h5",))
        c.same(read("x.h5", "nll").tolist(), nll.tolist(), "nll")
    add("a group not done", one_missing)

    for k in ("images", "draws", "group"):
        for v in (0, -1, 1 << 40, 1 << 62, (1 << 32) + 4): add("%s %d" % (k, v), refused(put(k, np.int64(v))))
        add("%s twice" % k, refused(put(k, np.array([4, 4]))))
        add("%s a text" % k, refused(put(k, "four")))
    for k in ("nll", "done", "rows_crc32", "image"):
        add("no %s" % k, refused(edited(lambda f, k=k: f.__delitem__(k))))
        add("%s too short" % k, refused(edited(lambda f, k=k: replace(f, k, f[k][:0] if len(f[k]) == 1 else f[k][:-1]))))
        add("%s of other numbers" % k, refused(edited(lambda f, k=k: replace(f, k, f[k][...].astype("f4")))))
    add("nll in chunks", refused(edited(lambda f: replace(f, "nll", f["nll"][...], chunks=(1,)))))
    add("no config", refused(edited(lambda f: f.attrs.__delitem__("config"))))
    add("config of another rtol", refused(edited(lambda f: f.attrs.__setitem__("config", (f.attrs["config"] if isinstance(f.attrs["config"], str) else f.attrs["config"].decode()).replace("rtol: 0.01", "rtol: 0.02")))))
    add("kind arrays", refused(put("kind", "arrays")))
    for at in sorted(random.sample(range(0, 12000), 14)): add("bit of byte %d" % at, right(lambda p, at=at: flip(p, at % os.path.getsize(p), 1 << at % 8)))
    for n in (0, 50, 4000, 12000): add("cut to %d bytes" % n, refused(lambda p, n=n: os.truncate(p, n)))
    add("other limit", lambda c: (begin(c, lambda p: None), c.refused(r"x\.h5", "bpd", "run", "--limit", "8", "--out", "x.h5")))
    add("a nll changed", right(edited(lambda f: f["nll"].__setitem__(0, 1.0))))

    for k in ("nll", "nll_se", "summary_images", "prior", "bound", "steps", "evaluations", "solver_error_max"):
        add("info, %s of 4000 numbers" % k, shown(put(k, np.full(4000, 1.25)), k))
        add("info, %s a text" % k, shown(put(k, "text"), k))

    def merged(change, pattern):
        def steps(c):
            begin(c, change)
            c.refused(pattern, "bpd", "run", "--limit", "4", "--out", "o.h5", "--from", "x.h5")
        return steps
    add("--from of another definition", merged(edited(lambda f: f.attrs.__setitem__("config", "other: 1\n")), r"x\.h5"))
    add("--from a dataset", lambda c: (c.use("run", "tiny.h5"), c.refused(r"tiny\.h5", "bpd", "run", "--limit", "4", "--out", "o.h5", "--from", "tiny.h5")))
    add("--from nothing", lambda c: (c.use("run", "tiny.h5"), c.refused(r"none\.h5", "bpd", "run", "--limit", "4", "--out", "o.h5", "--from", "none.h5")))
