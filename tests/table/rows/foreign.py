"""HDF5 of other programs: points of score and logp, published weights of import."""
import os
import h5py, numpy as np
from make import edit, flip, read, replace

MEMORY = 1500 << 20


def points(change, pattern=r"p\.h5", command="score"):
    def steps(c):
        c.use("run", "points.h5")
        os.rename("points.h5", "p.h5")
        with h5py.File("p.h5", "r+") as f: change(f)
        c.refused(pattern, command, "run", "--in", "p.h5", "--out", "s.h5", memory=MEMORY)
    return steps


def weights(change, pattern=r"w\.h5"):
    def steps(c):
        c.use("weights.h5")
        os.rename("weights.h5", "w.h5")
        with h5py.File("w.h5", "r+") as f: change(f)
        c.refused(pattern, "import", "w.h5", "o.h5", memory=MEMORY)
    return steps


def damaged(which, at=None, cut=None):
    """flipped or cut: a sentence, or a result of finite numbers; never a crash"""
    def steps(c):
        c.use("run", which)
        os.rename(which, "p.h5")
        if cut is not None: os.truncate("p.h5", cut)
        else: flip("p.h5", at, 1 << at % 8)
        if which == "points.h5": c.either(r"p\.h5", "score", "run", "--in", "p.h5", "--out", "s.h5", memory=MEMORY, env={"MALLOC_PERTURB_": "65"})
        else: c.either(r"p\.h5", "import", "p.h5", "o.h5", memory=MEMORY, env={"MALLOC_PERTURB_": "65"})
    return steps


def rows(add, random):
    def good(c):
        c.use("run", "points.h5")
        c.accepted("score", "run", "--in", "points.h5", "--out", "s.h5")
        c.same(read("s.h5", "score").shape, (2, 8, 8, 1), "shape")
        c.must(np.isfinite(read("s.h5", "score")).all(), "score not finite")
        c.accepted("logp", "run", "--in", "points.h5", "--out", "l.h5")
        c.same(len(read("l.h5", "logp")), 2, "points")
    add("good points", good)

    def good_weights(c):
        c.use("weights.h5")
        c.accepted("import", "weights.h5", "o.h5")
        with h5py.File("o.h5", "r") as f, h5py.File("weights.h5", "r") as w:
            c.same(sum(v.size for v in f["params"].values()), sum(v.size for v in w["params"].values()), "values")
    add("good weights", good_weights)

    def group(c):
        c.use("run")
        with h5py.File("p.h5", "w") as f: f["a/x"], f["a/t"] = np.zeros((1, 8, 8, 1)), np.full(1, 0.5)
        c.accepted("score", "run", "--in", "p.h5", "--group", "a", "--out", "s.h5")
        c.refused("p.h5.*b", "score", "run", "--in", "p.h5", "--group", "b", "--out", "z.h5")
    add("points in a group", group)

    both = ("score", "logp")
    shapes = {"rank 3": (2, 8, 8), "rank 5": (2, 8, 8, 1, 1), "no points": (0, 8, 8, 1), "another size": (2, 7, 8, 1), "another channel": (2, 8, 8, 3), "rank 1": (128,), "rank 0": ()}
    for name, s in shapes.items():
        for command in both: add("%s: x of %s" % (command, name), points(lambda f, s=s: replace(f, "x", np.zeros(s)), command=command))
    for command in both:
        add(command + ": x of texts", points(lambda f: replace(f, "x", np.full((2, 8, 8, 1), b"a", "S1")), command=command))
        add(command + ": no x", points(lambda f: f.__delitem__("x"), command=command))
        add(command + ": x is a group", points(lambda f: (f.__delitem__("x"), f.create_group("x")), command=command))
        add(command + ": x is a link to itself", points(lambda f: (f.__delitem__("x"), f.__setitem__("x", h5py.SoftLink("/x"))), command=command))
        if command == "logp": add(command + ": x not a number", points(lambda f: f["x"].__setitem__((0, 0, 0, 0), np.nan), r"p\.h5|nan|not finite", command))
        add(command + ": 3 GiB declared", points(lambda f: (f.__delitem__("x"), f.create_dataset("x", (6291456, 8, 8, 1), "f8", chunks=(1, 8, 8, 1))), command=command))
        add(command + ": 2^59 declared", points(lambda f: (f.__delitem__("x"), f.create_dataset("x", (1 << 53, 8, 8, 1), "f8", chunks=(1, 8, 8, 1))), command=command))
        add(command + ": a text", lambda c, k=command: (c.use("run"), c.write("p.h5", "no file"), c.refused(r"p\.h5", k, "run", "--in", "p.h5", "--out", "s.h5")))
        add(command + ": missing", lambda c, k=command: (c.use("run"), c.refused(r"p\.h5", k, "run", "--in", "p.h5", "--out", "s.h5")))
    for v in (0, -1, 2, np.nan, np.inf): add("t of %s" % v, points(lambda f, v=v: f["t"].__setitem__(1, v)))
    add("t of one", points(lambda f: replace(f, "t", np.full(1, 0.5))))
    add("no t", points(lambda f: f.__delitem__("t")))
    add("probe of another shape", points(lambda f: f.create_dataset("probe", data=np.zeros((2, 8, 8)))))

    # import
    add("no attribute net", weights(lambda f: f.attrs.__delitem__("net")))
    add("no attribute sde", weights(lambda f: f.attrs.__delitem__("sde")))
    for name, text in (("empty", ""), ("a word", "word"), ("not closed", '{"nf": 8'), ("a list", "[1]"), ("negative", '{"nf": -8, "ch_mult": [1], "blocks": 1, "attn": [], "size": 28, "ch": 1}'),
                       ("huge", '{"nf": 1000000000, "ch_mult": [1], "blocks": 1, "attn": [], "size": 28, "ch": 1}')):
        add("net: " + name, weights(lambda f, t=text: f.attrs.__setitem__("net", t), r"w\.h5|net|model|nf"))
    add("net is a number", weights(lambda f: (f.attrs.__delitem__("net"), f.attrs.__setitem__("net", 7)), r"w\.h5|net"))
    add("sde unknown", weights(lambda f: f.attrs.__setitem__("sde", "none"), "none|sde"))
    add("beta_min a text", weights(lambda f: (f.attrs.__delitem__("beta_min"), f.attrs.__setitem__("beta_min", "x")), "beta_min"))
    add("beta_min of many", weights(lambda f: (f.attrs.__delitem__("beta_min"), f.attrs.__setitem__("beta_min", np.zeros(4000))), "beta_min"))
    add("no params", weights(lambda f: f.__delitem__("params")))
    add("params is a dataset", weights(lambda f: (f.__delitem__("params"), f.create_dataset("params", data=np.zeros(3)))))

    def tensor(f): return sorted(f["params"], key=lambda k: -f["params/" + k].size)[0]

    def with_tensor(make): return lambda f: (lambda k: make(f, "params/" + k))(tensor(f))
    add("a tensor missing", weights(with_tensor(lambda f, k: f.__delitem__(k))))
    add("a tensor too many", weights(lambda f: f["params"].create_dataset("zz.weight", data=np.zeros(3, "f4"))))
    add("a tensor misshapen", weights(with_tensor(lambda f, k: replace(f, k, f[k][...].reshape(-1)))))
    add("a tensor of 2^40", weights(with_tensor(lambda f, k: (f.__delitem__(k), f.create_dataset(k, (1 << 40,), "f4", chunks=(4096,))))))
    add("a tensor of rank 6", weights(with_tensor(lambda f, k: replace(f, k, np.zeros((1,) * 6, "f4")))))
    add("a tensor of whole numbers", weights(with_tensor(lambda f, k: replace(f, k, f[k][...].astype("i4")))))
    add("a tensor of texts", weights(with_tensor(lambda f, k: replace(f, k, np.full(4, b"a", "S1")))))
    add("a tensor not a number", weights(with_tensor(lambda f, k: replace(f, k, f[k][...] * np.nan)), r"w\.h5|nan|not finite"))

    def overflow(f):
        for i in range(4): f["params"].create_dataset("a%d" % i, ((1 << 60) - 1,), "f4", chunks=(4096,))
        f["params"].create_dataset("b", (5,), "f4")
    add("sizes whose sum wraps", weights(overflow))

    def many(f):
        for i in range(20000): f["params"].create_group("g%d" % i)

    def many_groups(c):
        c.use("weights.h5")
        with h5py.File("weights.h5", "r+") as f: many(f)
        c.either(r"weights\.h5", "import", "weights.h5", "o.h5", memory=MEMORY)
    add("20000 groups among the tensors", many_groups)
    for at in sorted(random.sample(range(0, 3000), 12)): add("points, bit of byte %d" % at, damaged("points.h5", at))
    for n in (1, 100, 1000, 2500): add("points, cut to %d bytes" % n, damaged("points.h5", cut=n))
    for at in sorted(random.sample(range(0, 200000), 10)): add("weights, bit of byte %d" % at, damaged("weights.h5", at))
    for n in (50, 5000, 1000000): add("weights, cut to %d bytes" % n, damaged("weights.h5", cut=n))
