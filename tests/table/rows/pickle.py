"""scripts/unpickle: arrays out of pickles, which run nothing."""
import collections, io, os, pickle, struct
import numpy as np
from make import images


class Runs:
    """what a hostile pickle holds"""

    def __init__(self, what, *args): self.what, self.args = what, args
    def __reduce__(self): return self.what, self.args


class Plain:
    pass


def planes(x): return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), -1)


def python2(d):
    """a dictionary as cPickle of Python 2 wrote it, protocol 2: texts are bytes"""
    def word(s): return (b"U" + bytes([len(s)]) if len(s) < 256 else b"T" + struct.pack("<I", len(s))) + s

    def value(v):
        if isinstance(v, bytes): return word(v)
        if isinstance(v, list): return b"](" + b"".join(b"J" + struct.pack("<i", k) for k in v) + b"e"
        kind = b"cnumpy\ndtype\n" + word(b"u1") + b"K\x00K\x01\x87R(K\x03" + word(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        return (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + word(b"b") + b"\x87R(K\x01" +
                b"(" + b"".join(b"J" + struct.pack("<i", k) for k in v.shape) + b"t" + kind + b"\x89" + word(v.tobytes()) + b"tb")
    return b"\x80\x02}(" + b"".join(word(k) + value(v) for k, v in d.items()) + b"u."


def taken(sources, want, before=None, left_out=None):
    """sources: name -> content; want: member -> array"""
    def steps(c):
        for n, b in sources.items(): c.write(n, b)
        if before: before(c)
        c.accepted(c.scripts + "/unpickle", *sources, "o.npz", changes=("o.npz",))
        have = np.load("o.npz", allow_pickle=False)
        c.same(sorted(have.files), sorted(want), "members")
        for k, a in want.items():
            c.same((have[k].dtype.str, have[k].shape), (np.asarray(a).dtype.str, np.shape(a)), "type of " + k)
            c.same(have[k].tobytes(), np.asarray(a).tobytes(), k)
        if left_out: c.must(left_out in c.out, "nothing is said of " + left_out)
    return steps


def refused(b, pattern, name="a", also=None):
    def steps(c):
        c.write(name, b)
        if also: also(c)
        c.refused(pattern, c.scripts + "/unpickle", name, "o.npz")
        c.must(not os.path.exists("ran"), "it ran something")
    return steps


def rows(add, random):
    x, y = images(6, 1, 32, 3), images(4, 2, 32, 3)
    lx, ly = [3, 1, 4, 1, 5, 9], [2, 6, 5, 3]
    for p in range(6):
        def cifar(x, l): return pickle.dumps({b"batch_label": b"training batch 1 of 5", b"labels": l, b"data": planes(x), b"filenames": [b"a.png"]}, p)
        add("CIFAR-10, protocol %d" % p, taken({"data_batch_1": cifar(x, lx), "data_batch_2": cifar(y, ly), "test_batch": cifar(y, ly)},
            {"images_train": np.concatenate([x, y]), "labels_train": np.array(lx + ly), "images_test": y, "labels_test": np.array(ly)}, left_out="filenames"))
        hundred = {"fine_labels": lx, "coarse_labels": lx[::-1], "data": planes(x)}
        add("CIFAR-100, protocol %d" % p, taken({"train": pickle.dumps(hundred, p)},
            {"images_train": x, "labels_train": np.array(lx), "coarse_labels_train": np.array(lx[::-1])}))
        small = images(5, 3, 16, 3)
        add("ImageNet, protocol %d" % p, taken({"val_data": pickle.dumps({"data": planes(small), "labels": [1000, 1, 2, 3, 4], "mean": np.zeros(768)}, p)},
            {"images_valid": small, "labels_valid": np.array([1000, 1, 2, 3, 4])}, left_out="mean"))
        odd = {"f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "big": np.arange(4, dtype=">i2"), "none": np.zeros((0, 3), "f4"),
               "more": (np.array([True, False]), [1.5, 2]), "scalar": np.arange(3)[:1]}
        add("arrays, protocol %d" % p, taken({"a.pkl": pickle.dumps(odd, p)},
            {"f": odd["f"], "big": odd["big"].astype("<i2"), "none": odd["none"], "more_0": odd["more"][0], "more_1": np.array([1.5, 2]), "scalar": odd["scalar"]}))
        add("one array, protocol %d" % p, taken({"points.pkl": pickle.dumps(np.linspace(0, 1, 7), p)}, {"points": np.linspace(0, 1, 7)}))
        add("an object that runs, protocol %d" % p, refused(pickle.dumps({"data": Runs(os.system, "touch ran")}, p), r"system.*not run"))
    add("ordered, with scalars", taken({"a": pickle.dumps(collections.OrderedDict(v=[np.int32(3), np.int32(-4)]))}, {"v": np.array([3, -4])}))
    old = python2({b"data": planes(x), b"labels": lx, b"batch_label": b"one"})
    add("CIFAR-10 by Python 2", taken({"data_batch_1": old}, {"images_train": x, "labels_train": np.array(lx)}))
    protocol0 = (b"(dp0\nS'a'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I3\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
                 b"(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\xff\\n'\ntbs.")
    add("protocol 0 by Python 2", taken({"a": protocol0}, {"a": np.array([0, 255, 10], "u1")}))
    add("its own older output", taken({"a": pickle.dumps([1, 2])}, {"a": np.array([1, 2])},
                                      before=lambda c: (c.write("b", pickle.dumps([3])), c.accepted(c.scripts + "/unpickle", "b", "o.npz"))))

    def foreign(what):
        def put(c):
            if what == "npz": np.savez("o.npz", a=np.zeros(3))
            elif what == "a link": os.symlink("a", "o.npz")
            else: c.write("o.npz", what)
        return put
    good = pickle.dumps({"a": np.arange(5.0)})
    for what in ("npz", "a text", "", "a link"): add("over %s" % (what or "an empty file"), refused(good, "o.npz.*not written", also=foreign(what)))

    # ---- hostile ----
    for name, value in {"eval": Runs(eval, "open('ran', 'w')"), "exec": Runs(exec, "open('ran', 'w')"), "open": Runs(open, "ran", "w"),
                        "getattr": Runs(getattr, "a", "upper"), "bytearray": Runs(bytearray, 10 ** 12), "numpy": Runs(np.zeros, 10 ** 9),
                        "load": Runs(np.load, "ran", None, True), "an object": Plain(), "a set": {1, 2}, "a complex": np.zeros(3, "c16"),
                        "objects": np.array([1, "a"], object), "records": np.zeros(2, "i4,f4"), "texts": np.array(["a"]), "dates": np.array(["2000"], "M8[Y]")}.items():
        add("hostile: " + name, refused(pickle.dumps({"data": value}, 2 if name == "an object" else 4), "it (asks|calls|uses|holds)|an array"))
    add("hostile: the old opcode of instances", refused(b"(S'touch ran'\nios\nsystem\n.", "uses INST"))
    add("hostile: OBJ", refused(b"(cos\nsystem\nS'touch ran'\no.", "not run"))
    add("hostile: an extension", refused(b"\x80\x02\x82\x01.", "uses EXT1"))
    add("hostile: a persistent name", refused(b"Pname\n.", "uses PERSID"))
    add("hostile: a name of two modules", refused(b"\x80\x04\x8c\x05numpy\x8c\x0bos.system.x\x93.", "not run"))
    add("hostile: a list of itself", refused(b"]q\x00h\x00a.", "too deep"))
    laughs = b"](K\x01K\x01K\x01e" + b"".join(b"q\x000](" + b"h\x00" * 30 + b"e" for _ in range(12)) + b"."
    add("hostile: lists of lists of lists", refused(laughs, "repeat"))
    one = pickle.dumps(np.zeros(10000, "u1"), 2)[:-1]
    add("hostile: an array again and again", refused(b"](" + one[2:] + b"q\x01" + b"h\x01" * 2000 + b"e.", "repeat"))
    # ---- malformed ----
    for n in sorted(random.sample(range(1, len(old) - 1), 6)): add("cut to %d bytes" % n, refused(old[:n], "damaged|stack|fit"))
    add("empty", refused(b"", "damaged"))
    add("a text", refused(b"precious", "damaged|stack"))
    add("bytes behind it", refused(good + b"x", "behind"))
    add("no array", refused(pickle.dumps({"a": "b"}), "no array"))
    add("a longer shape", refused(old.replace(struct.pack("<i", 3072), struct.pack("<i", 3073)), "does not fit"))
    add("a vast shape", refused(old.replace(struct.pack("<i", 3072), struct.pack("<i", 2 ** 31 - 1)), "does not fit"))
    add("a negative shape", refused(old.replace(struct.pack("<i", 3072), struct.pack("<i", -1)), "no shape"))
    add("a vast text", refused(b"\x80\x04\x8e" + struct.pack("<Q", 2 ** 60) + b"abc.", "damaged"))
    add("a number of 10^6 digits", refused(b"I" + b"9" * 10 ** 6 + b"\n.", "damaged"))
    add("a label too few", refused(pickle.dumps({"data": planes(x), "labels": lx[:-1]}), "labels are not"))
    add("labels of texts", refused(pickle.dumps({"data": planes(x), "labels": list("abcdef")}), "labels are not"))
    add("two splits", refused(good, "two splits", "train_test"))

    def absent(c): c.refused("absent", c.scripts + "/unpickle", "absent", "o.npz")
    add("no such file", absent)

    def widths(c):
        c.write("data_batch_1", pickle.dumps({"data": planes(x)})), c.write("data_batch_2", pickle.dumps({"data": planes(images(2, 1, 16, 3))}))
        c.refused("images_train", c.scripts + "/unpickle", "data_batch_1", "data_batch_2", "o.npz")
    add("batches of two sizes", widths)
    for i in range(20):
        at, value = random.randrange(len(old)), random.randrange(256)

        def changed(c, at=at, value=value):
            c.write("a", old[:at] + bytes([value]) + old[at + 1:])
            if c.either("unpickle: ", c.scripts + "/unpickle", "a", "o.npz"): np.load("o.npz", allow_pickle=False)
        add("byte %d is %d" % (at, value), changed)
