"""CIFAR-10: binary records of a label and 3 planes of 32x32; PNG sheets of 1024 pixels a row."""
import numpy as np
from make import cifar, images, png, read, splits


def refused(content, name="data_batch_1.bin", pattern=None, also=()):
    def steps(c):
        c.write(name, content)
        for n, b in also: c.write(n, b)
        c.refused(pattern or name.replace(".", r"\."), "data", name, *[n for n, _ in also], "o.h5")
    return steps


def taken(b, x, labels, name="data_batch_1.bin", split="train"):
    def steps(c):
        c.write(name, b)
        c.accepted("data", name, "o.h5")
        c.same(read("o.h5", split + "/images").tobytes(), x.tobytes(), "pixels")
        c.same(read("o.h5", split + "/labels").tolist(), labels, "labels")
    return steps


def sheet(x): return png(x.reshape(len(x), 1024, 3))


def rows(add, random):
    b, x, labels = cifar(4, 1)
    add("good", taken(b, x, labels))
    add("one record", taken(*cifar(1, 2)))
    add("test by name", taken(b, x, labels, "test_batch.bin", "test"))

    def two(c):
        b2, x2, l2 = cifar(3, 7)
        c.write("data_batch_1.bin", b), c.write("data_batch_2.bin", b2)
        c.accepted("data", "data_batch_1.bin", "data_batch_2.bin", "o.h5")
        c.same(read("o.h5", "train/images").tobytes(), x.tobytes() + x2.tobytes(), "pixels")
        c.same(read("o.h5", "train/labels").tolist(), labels + l2, "labels")
    add("two batches", two)

    for n in sorted(random.sample(range(1, 3073), 4)) + [3072, 3074, 4 * 3073 - 1]:
        add("cut to %d bytes" % n, refused(b[:n]))
    add("one byte behind", refused(b + b"\1"))
    add("empty", refused(b""))
    for bad in (10, 11, 99, 128, 255):
        for at in (0, 3): add("label %d of record %d" % (bad, at), refused(b[:at * 3073] + bytes([bad]) + b[at * 3073 + 1:]))

    def hundred(c):  # two labels a record: another format, refused or read, never shifted by a byte
        y = images(3073, 3, 2, 1).reshape(-1)[:3072]
        c.write("train.bin", b"".join(bytes([i % 9, i % 100]) + y.tobytes() for i in range(3073)))
        if c.either(r"train\.bin", "data", "train.bin", "o.h5"):
            c.same(len(read("o.h5", "train/images")), 3073, "images")
            c.same(read("o.h5", "train/images")[5].transpose(2, 0, 1).tobytes(), y.tobytes(), "pixels")
    add("CIFAR-100", hundred)

    add("the same batch twice", refused(b, also=[("data_batch_2.bin", b)], pattern="data_batch"))
    add("the same batch as test", refused(b, also=[("test_batch.bin", b)], pattern="test_batch|data_batch"))
    add("batch and IDX of 8x8", refused(b, also=[("train-more", b"\0\0\x08\3\0\0\0\1\0\0\0\x08\0\0\0\x08" + bytes(64))], pattern="train-more"))

    # sheets
    def sheet_steps(split, name, labels_name, x=x):
        def steps(c):
            c.write(name, sheet(x)), c.write(labels_name, "[3, 1, 4, 1]")
            c.accepted("data", name, labels_name, "o.h5")
            c.same(read("o.h5", split + "/images").tobytes(), x.tobytes(), "pixels")
            c.same(read("o.h5", split + "/labels").tolist(), [3, 1, 4, 1], "labels")
        return steps
    add("sheet", sheet_steps("train", "data_batch_1.png", "train_labels.json"))
    add("sheet of test", sheet_steps("test", "test_batch.png", "test_labels.json"))

    def alone(c):
        c.write("data_batch_1.png", sheet(x))
        c.accepted("data", "data_batch_1.png", "o.h5")
        c.same(splits("o.h5"), {"train": 4}, "splits")
    add("sheet without labels", alone)
    s = sheet(x)
    for n in (7, 30, 60, len(s) - 20): add("sheet cut to %d bytes" % n, refused(s[:n], "data_batch_1.png"))
    add("sheet of width 1023", refused(png(x.reshape(4, 1024, 3)[:, :1023]), "data_batch_1.png"))
    add("sheet of width 1025", refused(png(np.zeros((4, 1025, 3))), "data_batch_1.png"))
    add("sheet, a label too few", refused(s, "data_batch_1.png", "3", [("train_labels.json", b"[1,2,3]")]))
    add("sheet, a label too many", refused(s, "data_batch_1.png", "5", [("train_labels.json", b"[1,2,3,4,5]")]))
    add("sheet, labels of test", refused(s, "data_batch_1.png", "label", [("test_labels.json", b"[1,2,3,4]")]))
    add("sheet twice", refused(s, "data_batch_1.png", "data_batch", [("data_batch_2.png", s)]))

    def wide(c):
        c.write("d/panorama.png", png(np.arange(2 * 1024 * 3).reshape(2, 1024, 3) % 251))
        c.refused("panorama", "data", "d/panorama.png", "o.h5")
    add("a wide photograph", wide)
