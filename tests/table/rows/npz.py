"""Archives of NumPy: those of Keras, medMNIST and the downsampled ImageNet, and people's own."""
import io, struct, warnings, zipfile
import numpy as np
from make import images, npy, npz, read, splits
from rows.npy import refused as refused_file


def refused(content, name="own.npz", pattern=None): return refused_file(content, name, pattern)


def archive(members, method=zipfile.ZIP_STORED):
    b = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(b, "w", method) as z:
        warnings.simplefilter("ignore")
        for name, content in members: z.writestr(name, content)
    return b.getvalue()


def patched(b, signature, at, bytes_):
    """bytes at an offset behind the first record of a signature"""
    k = b.index(signature) + at
    return b[:k] + bytes_ + b[k + len(bytes_):]


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


def rows(add, random):
    x, y = images(6, 1, 8, 1)[..., 0], np.array([3, 1, 4, 1, 5, 9])
    p = np.random.RandomState(2).randn(6, 2)

    def mnist(c):
        c.write("mnist.npz", npz(x_train=x, y_train=y.astype("u1"), x_test=x[:2] + 1, y_test=y[:2].astype("u1")))
        c.accepted("data", "mnist.npz", "o.h5")
        c.same(splits("o.h5"), {"train": 6, "test": 2}, "splits")
        c.same(read("o.h5", "train/images").tobytes(), x.tobytes(), "pixels")
        c.same(read("o.h5", "test/images").tobytes(), (x[:2] + 1).tobytes(), "pixels of test")
        c.same(read("o.h5", "train/labels").tolist(), y.tolist(), "labels")
    add("Keras", mnist)

    def medmnist(c):
        parts = {n: images(k, k, 28, 3) for n, k in (("train", 4), ("val", 3), ("test", 2))}
        arrays = {n + "_images": v for n, v in parts.items()}
        arrays.update({n + "_labels": np.arange(len(v), dtype="u1")[:, None] for n, v in parts.items()})
        c.write("pathmnist.npz", npz(True, **arrays))
        c.accepted("data", "pathmnist.npz", "o.h5")
        for n, v in parts.items():
            n = {"val": "valid"}.get(n, n)
            c.same(read("o.h5", n + "/images").tobytes(), v.tobytes(), "pixels of " + n)
            c.same(read("o.h5", n + "/labels").tolist(), list(range(len(v))), "labels of " + n)
    add("medMNIST", medmnist)

    for side in (32, 64):
        def imagenet(c, side=side):
            x = images(5, side, side, 3)
            data = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(5, -1)
            labels = np.array([1, 1000, 17, 2, 999])
            c.write("train_data_batch_1.npz", npz(data=data, labels=labels, mean=data.mean(0)))
            c.write("val_data.npz", npz(data=data[:2] + 1, labels=labels[:2]))
            c.accepted("data", "train_data_batch_1.npz", "val_data.npz", "o.h5")
            have = read("o.h5", "train/images")
            c.same(have[0].tobytes(), x[0].tobytes(), "the first record")
            c.same(have[4].tobytes(), x[4].tobytes(), "the last record")
            c.same(read("o.h5", "train/labels").tolist(), labels.tolist(), "labels, as stored")
            c.same(read("o.h5", "valid/images").tobytes(), (x[:2] + 1).tobytes(), "pixels of valid")
        add("ImageNet %d" % side, imagenet)

    def told(c):
        c.write("own.npz", npz(data=np.zeros((1, 3072), "u1"), labels=y[:1], mean=np.zeros(3072), std=np.ones(3)))
        c.run("probflow", "data", "own.npz", "o.h5")
        c.same(c.status, 0, "status")
        c.must("mean, std" in c.err and "planes" in c.err and "3 of 32x32" in c.err, "what was not read, and what was made of data, is not told: " + c.err)
    add("what is not read is told", told)

    def saved(c):
        b = io.BytesIO()
        np.savez(b, p)
        c.write("own.npz", b.getvalue())
        c.accepted("data", "own.npz", "o.h5")
        c.same(read("o.h5", "train/x").tobytes(), p.tobytes(), "points")
    add("savez without names", saved)

    def conditioned(c):
        c.write("own.npz", npz(True, points=p.astype(">f4"), targets=y, conditions=p[:, :1]))
        c.accepted("data", "own.npz", "o.h5")
        c.same(read("o.h5", "train/x").tolist(), p.astype("f4").tolist(), "points")
        c.same(read("o.h5", "train/labels").tolist(), y.tolist(), "labels")
        c.same(read("o.h5", "train/conditions").tolist(), p[:, :1].tolist(), "conditions")
    add("points, labels, conditions", conditioned)

    def by_option(c):
        c.write("own.npz", npz(x_train=p, x_test=p + 1))
        c.accepted("data", "--split", "test=own.npz", "o.h5")
        c.same(read("o.h5", "test/x").tobytes(), p.tobytes() + (p + 1).tobytes(), "points")
    add("all of it as test", by_option)

    # ---- refused ----
    good = npz(x=p, labels=y)
    packed = npz(True, x=p, labels=y)
    for n in sorted(random.sample(range(4, len(good)), 8)) + [4, len(good) - 1, len(good) - 22]: add("cut to %d bytes" % n, refused(good[:n]))
    add("empty", refused(b""))
    add("an archive of nothing", refused(archive([])))
    add("an archive of texts", refused(archive([("a.txt", "a"), ("b.png", "b")])))
    add("a member twice", refused(archive([("x.npy", npy(p)), ("x.npy", npy(p + 1))]), pattern="x twice"))
    add("a member that is no array", refused(archive([("x.npy", "nothing")])))
    add("an empty member", refused(archive([("x.npy", "")])))
    add("a member cut", refused(archive([("x.npy", npy(p)[:-1])])))
    add("a member too long", refused(archive([("x.npy", npy(p) + b"\1")])))
    add("bzip2", refused(archive([("x.npy", npy(p))], zipfile.ZIP_BZIP2)))
    add("lzma", refused(archive([("x.npy", npy(p))], zipfile.ZIP_LZMA)))
    add("a bit of the values", refused(good[:200] + bytes([good[200] ^ 1]) + good[201:]))
    k = packed.index(LOCAL) + 100
    add("a bit of the packed values", refused(packed[:k] + bytes([packed[k] ^ 8]) + packed[k + 1:]))
    one = archive([("x.npy", npy(p))])
    crypt = patched(patched(one, LOCAL, 6, b"\1\0"), CENTRAL, 8, b"\1\0")
    add("encrypted", refused(crypt, pattern="encrypted"))
    for name, size in {"4 GB": 0xfffffff0, "a byte more": len(npy(p)) + 1, "nothing": 0}.items():
        s = struct.pack("<I", size)
        add("claims " + name, refused(patched(patched(one, LOCAL, 22, s), CENTRAL, 24, s)))
        add("claims to be stored as " + name, refused(patched(patched(one, LOCAL, 18, s), CENTRAL, 20, s)))
    tiny = archive([("x.npy", npy(p))], zipfile.ZIP_DEFLATED)
    s = struct.pack("<I", 2**31)
    add("a bomb", refused(patched(patched(tiny, LOCAL, 22, s), CENTRAL, 24, s), pattern="claims"))
    vast = npy(p, head="{'descr': '<f8', 'fortran_order': False, 'shape': (100000000, 1000)}")
    add("a header of 800 GB", refused(archive([("x.npy", vast)], zipfile.ZIP_DEFLATED)))
    add("65535 members", refused(patched(patched(one, END, 8, b"\xff\xff"), END, 10, b"\xff\xff")))
    for name, arrays in {"two of images": dict(x=p, data=p), "two of train": dict(x_train=p, train_points=p), "no known name": dict(foo=p, bar=p),
                         "only other arrays": dict(mean=p, std=p), "objects": dict(x=np.array([{}], dtype=object)), "text labels": dict(x=p, labels=np.array(list("abcdef"))),
                         "a label too few": dict(x=p, labels=y[1:]), "a condition too few": dict(x=p, conditions=p[1:]), "one-hot": dict(x=p, labels=np.eye(6)),
                         "labels alone": dict(labels=y), "two splits in a name": dict(x_train_test=p, y=y), "widths of 2 and 3": dict(x_train=p, x_test=np.ones((2, 3))),
                         "uint8 without labels": dict(data=np.zeros((2, 3072), "u1"))}.items():
        add(name, refused(npz(**arrays)))
    for k in range(12):
        at, bit = random.randrange(len(packed)), 1 << random.randrange(8)
        def steps(c, at=at, bit=bit):
            f = bytearray(packed)
            f[at] ^= bit
            c.write("own.npz", f)
            if c.either(r"own\.npz", "data", "own.npz", "o.h5"):  # a time or a version
                c.same(read("o.h5", "train/x").tobytes(), p.tobytes(), "points")
        add("bit %d of byte %d, %d" % (bit, at, k), steps)
