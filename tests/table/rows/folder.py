"""Folders of PNG files (JPEG: jpeg.py, options: convert.py): sizes that differ, what is no image, names, depth, links."""
import os
import numpy as np
from make import grey, images, png, read, splits


def put(c, names, seed=1):
    a = grey(len(names), seed)
    for name, x in zip(names, a): c.write(name, png(x))
    return a


def rows(add, random):
    def order(c):
        names = ["d/%d.png" % i for i in (3, 1, 2)]
        a = put(c, names)
        c.accepted("data", "d", "o.h5")
        c.same(sorted(x.tobytes() for x in read("o.h5", "train/images")), sorted(x.tobytes() for x in a), "pixels")
    add("good", order)

    def capitals(c):
        a = put(c, ["d/a.PNG", "d/b.png"])
        c.accepted("data", "d", "o.h5")
        c.same(len(read("o.h5", "train/images")), 2, "images")
    add("PNG in capitals", capitals)

    def odd(name):
        def steps(c):
            put(c, ["%s/x.png" % name])
            c.accepted("data", "./" + name, "o.h5")
            c.same(len(read("o.h5", "train/images")), 1, "images")
        return steps
    for name in ("a b", "it's", 'a"b', "$(x)", "a\nb", "ä", "a:b", "*", "-d", "a;b", "%s%n"): add("folder " + repr(name), odd(name))

    def refused(pattern, files, dirs=(), args=()):
        def steps(c):
            for name, content in files: c.write(name, content)
            for d in dirs: os.makedirs(d, exist_ok=True)
            c.refused(pattern, "data", "d", *args, "o.h5")
        return steps
    g = png(grey(1, 1)[0])
    add("empty", refused("d", [], ["d"]))
    add("only folders", refused("d", [], ["d/train", "d/test"]))
    add("only texts", refused("d", [("d/a.txt", "x"), ("d/b.txt", "y")]))
    add("another size", refused(r"b\.png", [("d/a.png", g), ("d/b.png", png(grey(1, 2, 9)[0]))]))
    add("another height", refused(r"b\.png", [("d/a.png", g), ("d/b.png", png(grey(1, 2)[0][:7]))]))
    add("grey and colour", refused(r"b\.png", [("d/a.png", g), ("d/b.png", png(images(1, 2, 8, 3)[0]))]))
    add("a text called png", refused(r"b\.png", [("d/a.png", g), ("d/b.png", "text")]))
    add("an empty png", refused(r"b\.png", [("d/a.png", g), ("d/b.png", "")]))
    add("one cut off", refused(r"c/b\.png", [("d/c/a.png", g), ("d/c/b.png", g[:50])]))
    add("labels for some", refused("d", [("d/a.png", g), ("d/c/b.png", png(grey(1, 2)[0]))]))
    add("labels too few for it", refused(r"1 images and 2 labels .* of d, the last labels of train-labels", [("d/a.png", g), ("train-labels", b"\0\0\x08\1\0\0\0\2\1\2")], args=["train-labels"]))
    add("the same folder twice", refused("d", [("d/a.png", g)], args=["d"]))
    add("shrink 3 of 8", refused("8x8|3", [("d/a.png", g)], args=["--shrink", "3"]))
    for k in ("0", "-1", "x", "4097", "1.5", "", "2x"): add("shrink %s" % (k or "empty"), refused("shrink", [("d/a.png", g)], args=["--shrink", k]))

    def shrunk(c):
        put(c, ["d/a.png"])
        c.accepted("data", "d", "o.h5", "--shrink", "2")
        x = grey(1, 1)[0].astype(int)
        want = (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2] + 2) // 4
        c.same(read("o.h5", "train/images")[0, ..., 0].tolist(), want.tolist(), "pixels")
    add("shrink 2", shrunk)

    def cycle(c):
        put(c, ["d/c/a.png"])
        os.symlink("..", "d/c/up")
        c.refused("d", "data", "d", "o.h5")
    add("a link to the folder above", cycle)

    def dangling(c):
        put(c, ["d/a.png"])
        os.symlink("none", "d/b.png")
        c.refused(r"b\.png", "data", "d", "o.h5")
    add("a link to nothing", dangling)

    def fifo(c):
        put(c, ["d/a.png"])
        os.mkfifo("d/b.png")
        c.refused(r"b\.png", "data", "d", "o.h5")
    add("a FIFO called png", fifo)

    def counted(c):
        put(c, ["d/a.png", "d/b.png"])
        for i in range(3): c.write("d/%d.gif" % i, "x")
        c.write("d/notes.txt", "x")
        c.run("probflow", "data", "d", "o.h5")
        c.must(c.status == 0, "refused: " + c.first())
        text = c.out + c.err
        c.must(any("gif" in l and "3" in l for l in text.splitlines()), "three files of gif are left out without a word")
        c.must(any("txt" in l and "1" in l for l in text.splitlines()), "a file of txt is left out without a word")
    add("what is not read is counted", counted)

    def hidden(c):
        put(c, ["d/a.png"])
        c.write("d/.DS_Store", "x"), c.write("d/._a.png", "x"), c.write("d/__MACOSX/._a.png", "x")
        c.accepted("data", "d", "o.h5")
        c.same(splits("o.h5"), {"train": 1}, "splits")
    add("hidden files", hidden)

    def long_name(c):
        put(c, ["d/%s.png" % ("x" * 240)])
        c.accepted("data", "d", "o.h5")
    add("a long file name", long_name)
