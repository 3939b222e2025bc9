"""CIFAR-100 binary, folders of CIFAR batches and of IDX files as they are published, IDX labels."""
import gzip, os, struct
import numpy as np
from make import cifar, classes, grey, idx, images, read, splits

FINE = ["apple", "aquarium_fish"] + ["class_%02d" % i for i in range(98)]
COARSE = ["coarse_%02d" % i for i in range(20)]


def hundred(n, seed):
    x = images(n, seed, 32, 3)
    coarse, fine = [(7 * i + seed) % 20 for i in range(n)], [(13 * i + seed) % 100 for i in range(n)]
    return b"".join(bytes([a, b]) + im.transpose(2, 0, 1).tobytes() for a, b, im in zip(coarse, fine, x)), x, fine, coarse


def refused(content, name="train.bin", pattern=None):
    def steps(c):
        c.write(name, content)
        c.refused(pattern or name.replace(".", r"\."), "data", name, "o.h5")
    return steps


def check(c, split, x, labels, coarse=None):
    c.same(read("o.h5", split + "/images").tobytes(), x.tobytes(), "pixels of " + split)
    c.same(read("o.h5", split + "/labels").tolist(), labels, "labels of " + split)
    if coarse is not None: c.same(read("o.h5", split + "/coarse_labels").tolist(), coarse, "coarse labels of " + split)


def rows(add, random):
    b, x, fine, coarse = hundred(5, 1)
    b2, x2, fine2, coarse2 = hundred(3, 2)

    def files(packed):
        def steps(c):
            end = ".gz" if packed else ""
            put = gzip.compress if packed else bytes
            c.write("train.bin" + end, put(b)), c.write("test.bin" + end, put(b2))
            c.accepted("data", "train.bin" + end, "test.bin" + end, "o.h5")
            check(c, "train", x, fine, coarse), check(c, "test", x2, fine2, coarse2)
        return steps
    add("good", files(False))
    add("packed", files(True))
    for n in sorted(random.sample(range(1, 3072), 3)) + [3072, 3075, len(b) - 1]: add("cut to %d bytes" % n, refused(b[:n]))
    add("one byte behind", refused(b + b"\0"))
    for at in (0, 4):
        for bad in (20, 99, 255): add("coarse %d of record %d" % (bad, at), refused(b[:at * 3074] + bytes([bad]) + b[at * 3074 + 1:], pattern="record %d" % at))
        for bad in (100, 255): add("fine %d of record %d" % (bad, at), refused(b[:at * 3074 + 1] + bytes([bad]) + b[at * 3074 + 2:], pattern="record %d" % at))
    add("called a batch of CIFAR-10", refused(b, "data_batch_1.bin"))
    add("packed and cut", refused(gzip.compress(b)[:-9], "train.bin.gz"))
    add("packed, a record cut", refused(gzip.compress(b[:-1]), "train.bin.gz"))

    def beside_ten(c):
        c.write("train.bin", b), c.write("data_batch_1.bin", cifar(2, 3)[0])
        c.refused(r"data_batch_1\.bin.*classes.*train\.bin", "data", "train.bin", "data_batch_1.bin", "o.h5")
    add("beside CIFAR-10", beside_ten)

    # folders
    def put_hundred(c, d="cifar-100-binary"):
        c.write(d + "/train.bin", b), c.write(d + "/test.bin", b2)
        c.write(d + "/fine_label_names.txt", "\n".join(FINE) + "\n"), c.write(d + "/coarse_label_names.txt", "\n".join(COARSE) + "\n")

    def folder100(c):
        put_hundred(c)
        c.accepted("data", "cifar-100-binary", "o.h5")
        check(c, "train", x, fine, coarse), check(c, "test", x2, fine2, coarse2)
        c.same(classes("o.h5"), FINE, "classes")
        import h5py
        with h5py.File("o.h5") as f: c.same([v.decode() for v in f.attrs["coarse_classes"]], COARSE, "coarse classes")
    add("folder", folder100)

    def folder10(c):
        names = "airplane automobile bird cat deer dog frog horse ship truck".split()
        parts = [cifar(2, i) for i in range(6)]
        for i, p in enumerate(parts[:5]): c.write("cifar-10-batches-bin/data_batch_%d.bin" % (i + 1), p[0])
        c.write("cifar-10-batches-bin/test_batch.bin", parts[5][0])
        c.write("cifar-10-batches-bin/batches.meta.txt", "\n".join(names) + "\n\n"), c.write("cifar-10-batches-bin/readme.html", "<html>")
        c.run("probflow", "data", "cifar-10-batches-bin", "o.h5")
        c.must(c.status == 0, "refused: " + c.first())
        c.must("1 .html" in c.err, "readme.html is left out without a word")
        check(c, "train", np.concatenate([p[1] for p in parts[:5]]), sum((p[2] for p in parts[:5]), []))
        check(c, "test", parts[5][1], parts[5][2])
        c.same(classes("o.h5"), names, "classes")
    add("folder of CIFAR-10", folder10)

    def spoiled(change, pattern):
        def steps(c):
            put_hundred(c, "d")
            change(c)
            c.refused(pattern, "data", "d", "o.h5")
        return steps
    add("folder, one file cut", spoiled(lambda c: c.write("d/test.bin", b2[:-5]), r"d/test\.bin"))
    add("folder, one file empty", spoiled(lambda c: c.write("d/test.bin", ""), r"d/test\.bin"))
    add("folder, a batch of CIFAR-10 too", spoiled(lambda c: c.write("d/data_batch_1.bin", cifar(2, 3)[0]), r"d/test\.bin.*classes.* d$"))
    add("folder, too few names", spoiled(lambda c: c.write("d/fine_label_names.txt", "a\nb\n"), "fine_label_names"))
    add("folder, too few coarse names", spoiled(lambda c: c.write("d/coarse_label_names.txt", "a\n"), "coarse_label_names"))
    add("folder, names empty", spoiled(lambda c: c.write("d/fine_label_names.txt", "\n \n"), "fine_label_names"))
    add("folder, names binary", spoiled(lambda c: c.write("d/fine_label_names.txt", b"a\0b\n" * 100), "fine_label_names"))
    add("folder, names of a megabyte", spoiled(lambda c: c.write("d/fine_label_names.txt", "a\n" * 500000), "fine_label_names"))
    add("folder, a FIFO", spoiled(lambda c: os.mkfifo("d/more.bin"), r"d/more\.bin"))
    add("folder, a name of two splits", spoiled(lambda c: c.write("d/train_test.bin", b), "train_test"))

    def whole(c):
        put_hundred(c, "d")
        c.accepted("data", "--split", "test=d", "o.h5")
        c.same(splits("o.h5"), {"test": 8}, "splits")
    add("folder as one split", whole)

    # MNIST/raw as torchvision leaves it
    def put_mnist(c, d="MNIST/raw"):
        a, t = grey(6, 1), grey(4, 2)
        parts = {"train-images-idx3-ubyte": idx(a), "train-labels-idx1-ubyte": idx(np.arange(6, dtype="u1")),
                 "t10k-images-idx3-ubyte": idx(t), "t10k-labels-idx1-ubyte": idx(np.arange(4, dtype="u1")[::-1])}
        for k, v in parts.items(): c.write(d + "/" + k, v), c.write(d + "/" + k + ".gz", gzip.compress(v))
        return a, t

    def mnist(c):
        a, t = put_mnist(c)
        c.accepted("data", "MNIST/raw", "o.h5")
        check(c, "train", a, list(range(6))), check(c, "test", t, [3, 2, 1, 0])
    add("MNIST raw", mnist)

    def only_packed(c):
        a, t = put_mnist(c)
        for k in os.listdir("MNIST/raw"):
            if not k.endswith(".gz"): os.remove("MNIST/raw/" + k)
        c.accepted("data", "MNIST/raw", "o.h5")
        check(c, "train", a, list(range(6))), check(c, "test", t, [3, 2, 1, 0])
    add("MNIST raw, packed", only_packed)

    def two_sets(c):
        put_mnist(c)
        c.write("MNIST/raw/emnist-train-images-idx3-ubyte", idx(grey(2, 9)))
        c.refused("more than one set", "data", "MNIST/raw", "o.h5")
    add("two sets in a folder", two_sets)

    # labels
    a = grey(6, 1)

    def labelled(values, kind, name="train-labels-idx1", column=None):
        def steps(c):
            c.write("train-images", idx(a)), c.write(name, idx(values, kind=kind))
            c.accepted("data", "train-images", name, "o.h5")
            want = values if column is None else values[:, column]
            c.same(read("o.h5", "train/labels").tolist(), want.astype(int).tolist(), "labels")
        return steps

    def unlabelled(content, pattern="train-labels"):
        def steps(c):
            c.write("train-images", idx(a)), c.write("train-labels", content)
            c.refused(pattern, "data", "train-images", "train-labels", "o.h5")
        return steps
    add("labels int8", labelled(np.array([0, 1, 127, 3, 4, 5], "i1"), 9))
    add("labels int16", labelled(np.array([0, 1, 32767, 258, 4, 5], ">i2"), 11))
    add("labels int32", labelled(np.array([0, 1, 2**31 - 1, 66051, 4, 5], ">i4"), 12))
    q = np.arange(48).reshape(6, 8).astype(">i4")
    add("labels of QMNIST", labelled(q, 12, "qmnist-train-labels-idx2-int", 0))
    add("labels int8 below 0", unlabelled(idx(np.array([0, 1, 2, 3, 4, -1], "i1"), kind=9), "label 5 is -1"))
    add("labels int16 below 0", unlabelled(idx(np.array([-300, 1, 2, 3, 4, 5], ">i2"), kind=11), "label 0 is -300"))
    add("labels float", unlabelled(idx(np.zeros(6, ">f4"), kind=13), "type 13"))
    add("labels double", unlabelled(idx(np.zeros(6, ">f8"), kind=14), "type 14"))
    add("labels int16 cut", unlabelled(idx(np.zeros(6, ">i2"), kind=11)[:-1]))
    add("labels int32 called int16", unlabelled(idx(np.zeros(6, ">i4"), kind=11)))
    add("labels int16 called int32", unlabelled(idx(np.zeros(6, ">i2"), kind=12)))
    add("labels of 7 columns", unlabelled(idx(np.zeros((6, 7), ">i4"), kind=12), "7 columns"))
    add("labels of QMNIST as int16", unlabelled(idx(np.zeros((6, 8), ">i2"), kind=11), "rank 2"))
    add("labels of QMNIST cut", unlabelled(idx(q, kind=12)[:-4]))
    add("labels 2^31 rows", unlabelled(idx(q, kind=12, dims=(1 << 31, 8))))
    add("images int32", unlabelled(idx(np.zeros((6, 8, 8), ">i4"), kind=12), "type 12"))
