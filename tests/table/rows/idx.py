"""IDX: big-endian head 0 0 TYPE RANK, RANK sizes, the values."""
import struct
import numpy as np
from make import grey, idx, images, read, splits


def refused(content, name="train-images", pattern=None, also=()):
    def steps(c):
        c.write(name, content)
        for n, b in also: c.write(n, b)
        c.refused(pattern or name, "data", name, *[n for n, _ in also], "o.h5")
    return steps


def taken(array, name="train-images", split="train"):
    def steps(c):
        c.write(name, idx(array))
        c.accepted("data", name, "o.h5")
        want = array if array.ndim == 4 else array[..., None]
        c.same(splits("o.h5"), {split: len(array)}, "splits")
        c.same(read("o.h5", split + "/images").tobytes(), want.tobytes(), "pixels")
    return steps


def rows(add, random):
    a = grey(6, 1)
    good, labels = idx(a), idx(np.arange(6, dtype="u1"))
    # what is right
    add("good", taken(a))
    add("one image", taken(grey(1, 2)))
    add("oblong", taken(images(4, 3)[:, :5, :, 0]))
    add("colour of rank 4", taken(images(4, 4, 8, 3)))
    add("one channel of rank 4", taken(images(4, 5, 8, 1)))
    add("test by name", taken(a, "t10k-images-idx3-ubyte", "test"))
    add("validation by name", taken(a, "val-images-idx3-ubyte", "valid"))

    def with_labels(c):
        c.write("train-images", good), c.write("train-labels", labels)
        c.accepted("data", "train-images", "train-labels", "o.h5")
        c.same(read("o.h5", "train/labels").tolist(), list(range(6)), "labels")
    add("images and labels", with_labels)

    # heads
    for n in sorted(random.sample(range(1, 16), 6)): add("head cut to %d bytes" % n, refused(good[:n]))
    for n in sorted(random.sample(range(17, len(good)), 4)): add("values cut to %d bytes" % n, refused(good[:n]))
    add("empty", refused(b""))
    add("one byte behind", refused(good + b"\0"))
    add("kilobytes behind", refused(good + bytes(5000)))
    for kind in (0, 7, 10, 15, 0x88, 255): add("type %d" % kind, refused(idx(a, kind=kind)))
    for rank in (0, 2, 5, 6, 16, 128, 255): add("rank %d" % rank, refused(idx(a, rank=rank)))
    add("rank 2, sizes right", refused(idx(np.zeros((4, 8), "u1"))))
    add("rank 5, sizes right", refused(idx(np.zeros((2, 2, 2, 2, 2), "u1"))))
    add("first bytes not zero", refused(b"\1\0" + good[2:]))
    add("little-endian sizes", refused(b"\0\0\x08\3" + struct.pack("<3I", 6, 8, 8) + a.tobytes()))
    for where in range(3):
        for size in (0, 1 << 15, 1 << 31, (1 << 32) - 1):
            dims = [6, 8, 8]
            dims[where] = size
            add("size %d is %d" % (where, size), refused(idx(a, dims=dims)))
    add("sizes whose product wraps to 384", refused(idx(a, dims=(1 << 31, 1 << 31, 4))))
    add("sizes 2^32-1 three times", refused(idx(a, dims=((1 << 32) - 1,) * 3)))
    add("one image too many", refused(idx(a, dims=(7, 8, 8))))
    add("one image too few", refused(idx(a, dims=(5, 8, 8))))
    add("wide as no image is", refused(idx(np.zeros((1, 1, 40000), "u1"))))
    # labels
    add("labels alone", refused(labels, "train-labels", "no data|images|labels"))
    add("five labels of six", refused(good, also=[("train-labels", idx(np.arange(5, dtype="u1")))], pattern="5"))
    add("seven labels of six", refused(good, also=[("train-labels", idx(np.arange(7, dtype="u1")))], pattern="7"))
    add("labels of the other split", refused(good, also=[("test-labels", labels)], pattern="label"))
    add("labels cut", refused(good, also=[("train-labels", labels[:-1])], pattern="train-labels"))
    add("labels twice", refused(good, also=[("train-labels", labels), ("train-labels-2", labels)], pattern="label|same|twice"))
    # several
    add("two sizes", refused(good, also=[("train-more", idx(grey(3, 1, 9)))], pattern="train-more"))
    add("grey and colour", refused(good, also=[("train-more", idx(images(3, 1, 8, 3)))], pattern="train-more"))
    add("a text behind", refused(good, also=[("a.txt", b"words " * 200)], pattern=r"a\.txt|train-images"))

    def pipe(c):
        c.write("train-images", good)
        script = '"$0" data <(cat train-images) o.h5 --quiet'
        if c.either("regular|pipe", "bash", "-c", script, c.probflow):
            split = list(splits("o.h5"))[0]
            c.same(read("o.h5", split + "/images").tobytes(), a.tobytes(), "pixels")
    add("by a pipe", pipe)

    def nothing(c): c.refused("nothing-there", "data", "nothing-there", "o.h5")
    add("no such file", nothing)

    def folder(c):
        c.write("d/x", "text")
        c.refused("d", "data", "d", "o.h5")
    add("a folder without images", folder)

    def unreadable(c): c.refused("/proc/self/mem", "data", "/proc/self/mem", "o.h5")
    add("a file that cannot be read", unreadable)
