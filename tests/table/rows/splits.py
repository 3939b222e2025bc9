"""Which split a name says, which class a folder is: one rule for every format."""
import numpy as np
from make import cifar, classes, grey, idx, png, read, splits

SAYS = {
    "train": "train training TRAIN Train train_32x32 imagenet_train my-training-set x.train.y train-images-idx3-ubyte",
    "valid": "val valid validation dev VAL Validation val-images-idx3-ubyte imagenet_val x.dev.y valid_32x32",
    "test": "test testing t10k TEST Test_32 imagenet_test t10k-images-idx3-ubyte T10K x.test.y testing-set",
    None: "latest contest attest devices device develop evaluation valley intrain trainer testament images t10kb invalid mydev",
}
TWO = ("train_test", "test-train-images", "val_test", "training.validation", "train-dev", "t10k_train", "dev.test", "TRAIN_TEST")


def images_of(c, folder, n, seed):
    for i, a in enumerate(grey(n, seed)): c.write("%s/%02d.png" % (folder, i), png(a))
    return sorted(a.tobytes() for a in grey(n, seed))


def pixels(split): return sorted(a.tobytes() for a in read("o.h5", split + "/images"))


def file_named(name, split):
    def steps(c):
        a = grey(3, 1)
        c.write(name, idx(a))
        c.accepted("data", name, "o.h5")
        c.same(splits("o.h5"), {split or "train": 3}, "splits")
    return steps


def rows(add, random):
    for split, names in SAYS.items():
        for name in names.split(): add("file %s" % name, file_named(name, split))
    for name in TWO: add("file %s says two" % name, (lambda name: lambda c: (c.write(name, idx(grey(3, 1))), c.refused(name, "data", name, "o.h5")))(name))

    # folders
    def top_folders(a, b, split):
        def steps(c):
            x, y = images_of(c, "d/" + a, 3, 1), images_of(c, "d/" + b, 2, 2)
            c.accepted("data", "d", "o.h5")
            c.same(splits("o.h5"), {"train": 3, split: 2}, "splits")
            c.same((pixels("train"), pixels(split)), (x, y), "pixels")
        return steps
    for a, b, split in (("train", "val", "valid"), ("train", "dev", "valid"), ("training", "validation", "valid"), ("TRAIN", "Test", "test"),
                        ("Train", "testing", "test"), ("train_32x32", "valid_32x32", "valid"), ("train", "t10k", "test")):
        add("folders %s and %s" % (a, b), top_folders(a, b, split))

    def above_classes(a, b, split):
        def steps(c):
            for k, n in (("cat", 2), ("dog", 1)): images_of(c, "d/%s/%s" % (a, k), n, 10 + n)
            images_of(c, "d/%s/dog" % b, 2, 20)
            c.accepted("data", "d", "o.h5")
            c.same(splits("o.h5"), {"train": 3, split: 2}, "splits")
            c.same(sorted(read("o.h5", "train/labels").tolist()), [0, 0, 1], "labels of train")
            c.same(read("o.h5", split + "/labels").tolist(), [1, 1], "labels of " + split)
            c.same(classes("o.h5"), ["cat", "dog"], "classes")
        return steps
    for a, b, split in (("train", "test", "test"), ("TRAIN", "VAL", "valid"), ("training", "dev", "valid")):
        add("classes below %s and %s" % (a, b), above_classes(a, b, split))

    def class_names(train, test, order, skip=()):
        def steps(c):
            for i, k in enumerate(train): images_of(c, "d/train/" + k, 1, i)
            for i, k in enumerate(test): images_of(c, "d/test/" + k, 1, 50 + i)
            for s in skip: c.write("d/train/%s/.keep" % s, ""), c.write("d/test/%s/.keep" % s, "")
            c.accepted("data", "d", "o.h5")
            for split, names, seed in (("train", train, 0), ("test", test, 50)):
                have = {a.tobytes(): int(l) for a, l in zip(read("o.h5", split + "/images"), read("o.h5", split + "/labels"))}
                for i, k in enumerate(names): c.same(have[grey(1, seed + i)[0].tobytes()], order.index(k), "label of %s in %s" % (k, split))
            c.same(classes("o.h5"), order, "classes")
        return steps
    add("a class missing in test", class_names(["a", "b", "c"], ["a", "c"], ["a", "b", "c"]))
    add("a class missing in train", class_names(["a", "c"], ["a", "b", "c"], ["a", "b", "c"]))
    add("no class in common", class_names(["b"], ["a"], ["a", "b"]))
    add("classes are numbers", class_names(["2", "10", "1"], ["10", "3"], ["1", "2", "3", "10"]))
    add("numbers with zeros", class_names(["002", "010"], ["001"], ["001", "002", "010"]))
    add("classes with spaces", class_names(["sea lion", "cat"], ["sea lion"], ["cat", "sea lion"]))
    add("classes in UTF-8", class_names(["Hänge", "Zug"], ["Zug"], ["Hänge", "Zug"]))
    add("an empty folder is no class", class_names(["b", "c"], ["b"], ["b", "c"], ["a"]))
    add("__MACOSX is no class", class_names(["b", "c"], ["b"], ["b", "c"], ["__MACOSX"]))
    add("a hidden folder is no class", class_names(["b", "c"], ["b"], ["b", "c"], [".thumbs"]))
    add("a class called latest", class_names(["latest", "old"], ["old"], ["latest", "old"]))

    # the name of the source
    def source(name, split):
        def steps(c):
            x = images_of(c, name, 3, 1)
            c.accepted("data", name, "o.h5")
            c.same(splits("o.h5"), {split: 3}, "splits")
            c.same(pixels(split), x, "pixels")
        return steps
    for name, split in (("imagenet_test", "test"), ("imagenet_val", "valid"), ("TRAIN", "train"), ("latest", "train"), ("testing/", "test")):
        add("source %s" % name, source(name, split))
    add("source test with a folder train", lambda c: (images_of(c, "test/train", 2, 1), c.refused("train|test", "data", "test", "o.h5")))
    add("a folder that says two", lambda c: (images_of(c, "d/train_test", 2, 1), c.refused("train_test", "data", "d", "o.h5")))

    # said outright
    def outright(split, name):
        def steps(c):
            c.write(name, idx(grey(3, 1)))
            c.accepted("data", "--split", "%s=%s" % (split, name), "o.h5")
            c.same(splits("o.h5"), {split: 3}, "splits")
        return steps
    for split, name in (("train", "test-images"), ("valid", "images"), ("test", "train_test"), ("valid", "train-images")):
        add("--split %s=%s" % (split, name), outright(split, name))

    def both(c):
        c.write("a", idx(grey(3, 1))), c.write("b", idx(grey(2, 2)))
        c.accepted("data", "--split", "train=a", "--split", "test=b", "o.h5")
        c.same(splits("o.h5"), {"train": 3, "test": 2}, "splits")
    add("--split twice", both)
    for text in ("=a", "train", "train=", "Train=a", "other=a", "a=train", "train a", "train=none-there", "train=a=b"):
        add("--split %s" % text, (lambda text: lambda c: (c.write("a", idx(grey(3, 1))), c.refused("split|none-there|a=b", "data", "--split", text, "o.h5")))(text))

    # the same content
    def twice(first, second):
        def steps(c):
            c.write(first, idx(grey(3, 1))), c.write(second, idx(grey(3, 1)))
            c.refused("%s|%s" % (first, second), "data", first, second, "o.h5")
        return steps
    for first, second in (("train-a", "train-b"), ("train-a", "test-a"), ("a", "val-a")): add("%s and %s are the same" % (first, second), twice(first, second))

    def itself(c):
        c.write("train-a", idx(grey(3, 1)))
        c.refused("train-a", "data", "train-a", "./train-a", "o.h5")
    add("one file twice", itself)

    def told(c):
        c.write("train-a", idx(grey(3, 1))), c.write("val-a", idx(grey(2, 2)))
        c.run("probflow", "data", "train-a", "val-a", "o.h5")
        for name, split in (("train-a", "train"), ("val-a", "valid")):
            c.must(any(name in l and split in l for l in (c.out + c.err).splitlines() if l.split()[0] != "source"), "no line says that %s is %s" % (name, split))
    add("a line for each source", told)
