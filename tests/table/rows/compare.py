"""info A B: identical only when everything was compared."""
import os, shutil
import h5py, numpy as np
from fixture import CHECKPOINT
from make import edit, replace, seal, strip


def rows(add, random):
    def foreign(name, a, b, same=False):
        def steps(c):
            for path, build in (("a.h5", a), ("b.h5", b)):
                with h5py.File(path, "w") as f: build(f)
            if same:
                c.accepted("info", "a.h5", "b.h5")
                c.must("identical" in c.out, "not said to be identical")
            else:
                c.run("info", "a.h5", "b.h5")
                c.must(c.status != 0 and "identical" not in c.out, "said to be identical")
                c.said(r"a\.h5|b\.h5")
        add(name, steps)
    put = lambda name, v, **how: (lambda f: f.create_dataset(name, data=v, **how))
    text = lambda *v: (lambda f: f.create_dataset("v", data=list(v), dtype=h5py.string_dtype()))
    fixed = lambda *v: (lambda f: f.create_dataset("v", data=np.array(v, "S4")))
    attr = lambda n, v: (lambda f: (f.create_dataset("v", data=np.zeros(2)), f.attrs.__setitem__(n, v)))
    dattr = lambda n, v: (lambda f: f.create_dataset("v", data=np.zeros(2)).attrs.__setitem__(n, v))

    def lists(*v):
        def build(f):
            d = f.create_dataset("v", (len(v),), h5py.vlen_dtype("i4"))
            for i, x in enumerate(v): d[i] = x
        return build
    foreign("numbers, the same", put("v", np.arange(9.0)), put("v", np.arange(9.0)), True)
    foreign("texts, the same", text("a", "b"), text("a", "b"), True)
    foreign("texts of fixed length, the same", fixed("a", "b"), fixed("a", "b"), True)
    foreign("one text", text("a", "b"), text("a", "c"))
    foreign("a text is longer", text("a", "b"), text("a", "bb"))
    foreign("one text of fixed length", fixed("a", "b"), fixed("a", "c"))

    def same_lists(c):
        for path in ("a.h5", "b.h5"):
            with h5py.File(path, "w") as f: lists([1, 2], [3])(f)
        c.run("info", "a.h5", "b.h5")
        c.must(("identical" in c.out) == (c.status == 0) and (c.status == 0 or "compared" in c.out), "neither identical nor not to be compared: " + c.out)
    add("lists, the same", same_lists)
    foreign("lists, one number", lists([1, 2], [3]), lists([1, 2], [4]))
    foreign("lists, another length", lists([1, 2], [3]), lists([1, 2], [3, 3]))
    foreign("one number", put("v", np.arange(9.0)), put("v", np.append(np.arange(8.0), 9)))
    foreign("the last bit", put("v", np.array([1.0])), put("v", np.array([np.nextafter(1.0, 2)])))
    foreign("f4 and f8", put("v", np.zeros(3, "f4")), put("v", np.zeros(3, "f8")))
    foreign("i4 and u4", put("v", np.zeros(3, "i4")), put("v", np.zeros(3, "u4")))
    foreign("another shape", put("v", np.zeros((2, 3))), put("v", np.zeros((3, 2))))
    foreign("one more", put("v", np.zeros(3)), put("v", np.zeros(4)))
    foreign("another name", put("v", np.zeros(3)), put("w", np.zeros(3)))
    foreign("a dataset more", put("v", np.zeros(3)), lambda f: (f.create_dataset("v", data=np.zeros(3)), f.create_dataset("w", data=np.zeros(3))))
    foreign("an empty group more", put("v", np.zeros(3)), lambda f: (f.create_dataset("v", data=np.zeros(3)), f.create_group("g")))
    foreign("a group and a dataset", put("v", np.zeros(3)), lambda f: f.create_group("v"))
    foreign("an attribute of the root", attr("note", 1), attr("note", 2))
    foreign("a text of the root", attr("note", "a"), attr("note", "b"))
    foreign("an attribute of the root more", attr("note", 1), put("v", np.zeros(2)))
    foreign("an array of the root", attr("note", np.arange(3)), attr("note", np.arange(1, 4)))
    foreign("an attribute of a dataset", dattr("note", 1), dattr("note", 2))
    foreign("texts of a dataset's attribute", dattr("note", ["a", "b"]), dattr("note", ["a", "c"]))
    foreign("an attribute of a group", lambda f: f.create_group("g").attrs.__setitem__("n", 1), lambda f: f.create_group("g").attrs.__setitem__("n", 2))
    kind = [("x", "f8"), ("y", "i4")]
    foreign("compounds, one number", put("v", np.array([(1, 2)], kind)), put("v", np.array([(1, 3)], kind)))
    foreign("NaN and NaN", put("v", np.array([np.nan])), put("v", np.array([np.nan])), True)
    foreign("0 and -0", put("v", np.array([0.0])), put("v", np.array([-0.0])))
    foreign("links to other places", lambda f: f.__setitem__("v", h5py.SoftLink("/a")), lambda f: f.__setitem__("v", h5py.SoftLink("/b")))
    foreign("numbers deep in", put("a/b/c", np.zeros(3)), put("a/b/c", np.ones(3)))
    foreign("past 8 MiB", put("v", np.zeros(1 << 20)), put("v", np.append(np.zeros((1 << 20) - 1), 1)))

    # files of ours
    def ours(name, files, change, same=False):
        def steps(c):
            c.use(*files[:1])
            shutil.copy(files[-1], "b.h5")
            change("b.h5")
            if same:
                c.accepted("info", files[-1], "b.h5")
                c.must("identical" in c.out, "not said to be identical")
            else:
                c.run("info", files[-1], "b.h5")
                c.must(c.status != 0 and "identical" not in c.out, "said to be identical")
        add(name, steps)
    for label, files in (("dataset", ["tiny.h5"]), ("checkpoint", ["run", CHECKPOINT]), ("results", ["results.h5"]), ("samples", ["samples.h5"]), ("metrics", ["metrics.h5"])):
        ours("%s with itself" % label, files, lambda p: None, True)
        ours("%s without its last kilobyte" % label, files, lambda p: os.truncate(p, os.path.getsize(p) - 1000))
        ours("%s, an attribute more" % label, files, lambda p: edit(p, lambda f: f.attrs.__setitem__("note", 1)))
    ours("one pixel", ["tiny.h5"], lambda p: edit(p, lambda f: f["test/images"].__setitem__((7, 7, 7, 0), 1)))
    ours("one parameter", ["run", CHECKPOINT], lambda p: edit(p, lambda f: (lambda k: replace(f, k, f[k][...] + 1))("params/" + sorted(f["params"])[3])))
    ours("another seed", ["run", CHECKPOINT], lambda p: edit(p, lambda f: f["state"].attrs.modify("seed", np.int64(9))))
    add("a file and nothing", lambda c: (c.use("tiny.h5"), c.refused(r"none\.h5", "info", "tiny.h5", "none.h5")))
    add("a file and a text", lambda c: (c.use("tiny.h5"), c.write("t", "text"), c.refused("t", "info", "tiny.h5", "t")))
    add("a dataset and a checkpoint", lambda c: (c.use("tiny.h5", "run"), c.refused("tiny|checkpoint", "info", "tiny.h5", CHECKPOINT)))
