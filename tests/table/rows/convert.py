"""What --alpha, --grey, --rgb, --crop and --resize make of pictures, by code that is not the program's."""
import numpy as np
from make import attribute, chunk, cifar, grey, idx, images, png, read


def luma(x):
    x = x.astype(int)
    return ((19595 * x[..., 0] + 38470 * x[..., 1] + 7471 * x[..., 2] + 32768) >> 16).astype("u1")[..., None]


def crop(x, h, w):
    top, left = (x.shape[0] - h) // 2, (x.shape[1] - w) // 2
    return x[top:top + h, left:left + w]


def weights(n, m):
    """[m,n] of a triangle, as wide as a pixel of the result when that is larger"""
    s = n / m
    k = max(s, 1.0)
    d = np.abs((np.arange(n) + 0.5)[None, :] - (np.arange(m) + 0.5)[:, None] * s) / k
    w = np.maximum(0, 1 - d)
    return w / w.sum(1, keepdims=True)


def resized(x, h, w):
    """before rounding"""
    return np.einsum("yi,ijc,xj->yxc", weights(x.shape[0], h), x.astype(float), weights(x.shape[1], w))


def near(c, have, exact):
    """rounded to the nearest; on a tie either neighbour, for the order of a sum is free"""
    off = np.abs(have.astype(float) - exact).max()
    c.must(have.shape == exact.shape and off <= 0.5 + 1e-9, "not the rounded resize: off by %g" % off)
    ties = np.abs(exact - np.floor(exact) - 0.5) < 1e-9
    c.same(have[~ties].tolist(), np.floor(exact + 0.5)[~ties].astype(int).tolist(), "pixels")


def photo(h, w, c, seed):
    r = np.random.RandomState(seed)
    return r.randint(0, 256, (h, w, c)).astype("u1")


def rows(add, random):
    def steps_of(x, args, want, said=None, how="png"):
        def steps(c):
            if how == "png": c.write("d/a.png", png(x))
            else: c.write("d", idx(x[None]))
            c.accepted("data", "d", "o.h5", *args)
            c.same(read("o.h5", "train/images")[0].shape, want.shape, "shape")
            if want.dtype == np.uint8: c.same(read("o.h5", "train/images")[0].tobytes(), want.tobytes(), "pixels")
            else: near(c, read("o.h5", "train/images")[0], want)
            if said: c.same(attribute("o.h5", "converted"), said, "converted")
        return steps
    rgb, g, rgba, ga = photo(21, 17, 3, 1), photo(21, 17, 1, 2), photo(21, 17, 4, 3), photo(21, 17, 2, 4)
    every = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 2, [0, 77, 128, 255], indexing="ij"), -1).reshape(52, 208, 3).astype("u1")
    add("grey", steps_of(every, ["--grey"], luma(every), "grey (19595 R + 38470 G + 7471 B + 32768) / 65536"))
    add("grey of grey", steps_of(g, ["--grey"], g))
    add("rgb", steps_of(g, ["--rgb"], np.repeat(g, 3, 2), "rgb of grey"))
    add("rgb of rgb", steps_of(rgb, ["--rgb"], rgb))
    add("alpha of colour", steps_of(rgba, ["--alpha", "drop"], rgba[..., :3], "alpha dropped"))
    add("alpha of grey", steps_of(ga, ["--alpha=drop"], ga[..., :1], "alpha dropped"))
    add("no alpha to drop", steps_of(rgb, ["--alpha", "drop"], rgb))
    add("alpha and grey", steps_of(rgba, ["--alpha", "drop", "--grey"], luma(rgba)))
    add("alpha and rgb", steps_of(ga, ["--rgb", "--alpha", "drop"], np.repeat(ga[..., :1], 3, 2)))
    add("alpha in IDX", steps_of(rgba, ["--alpha", "drop"], rgba[..., :3], how="idx"))
    for h, w in ((1, 1), (4, 4), (5, 4), (20, 16), (21, 1), (21, 17)):
        add("crop %dx%d" % (h, w), steps_of(rgb, ["--crop", "%dx%d" % (h, w)], crop(rgb, h, w)))
    add("crop 8", steps_of(g, ["--crop", "8"], crop(g, 8, 8), "crop 8x8", "idx"))
    for h, w in ((1, 1), (7, 5), (8, 8), (20, 16), (21, 9), (22, 18), (42, 34), (64, 64), (3, 64)):
        for x in (rgb, g): add("resize %dx%d of %d" % (h, w, x.shape[2]), steps_of(x, ["--resize", "%dx%d" % (h, w)], resized(x, h, w)))
    add("resize to the same", steps_of(rgb, ["--resize", "21x17"], rgb))
    for n, h, w in ((17, 21, 17), (8, 10, 8), (1, 1, 1), (34, 42, 34), (5, 6, 5)):
        add("resize %d" % n, steps_of(rgb, ["--resize", str(n)], resized(rgb, h, w)))
    celeb = photo(218, 178, 3, 9)
    add("CelebA", steps_of(celeb, ["--crop", "140", "--resize", "64"], resized(crop(celeb, 140, 140), 64, 64), "crop 140x140; resize 64x64 antialiased bilinear"))
    add("all of it", steps_of(rgba, ["--resize", "6x7", "--crop", "12x10", "--grey", "--alpha", "drop"], resized(crop(luma(rgba), 12, 10), 6, 7),
                              "alpha dropped; grey (19595 R + 38470 G + 7471 B + 32768) / 65536; crop 12x10; resize 6x7 antialiased bilinear"))

    def before_shrink(c):
        c.write("d/a.png", png(rgb))
        c.accepted("data", "d", "o.h5", "--crop", "16", "--shrink", "4")
        want = (crop(rgb, 16, 16).astype(int).reshape(4, 4, 4, 4, 3).sum((1, 3)) + 8) // 16
        c.same(read("o.h5", "train/images")[0].tolist(), want.tolist(), "pixels")
    add("crop before shrink", before_shrink)

    def sizes(c):
        xs = [photo(h, w, 3, h) for h, w in ((9, 12), (20, 8), (30, 31))]
        for i, x in enumerate(xs): c.write("d/%d.png" % i, png(x))
        c.refused(r"d/1\.png.*--crop", "data", "d", "o.h5")
        c.accepted("data", "d", "o.h5", "--crop", "8", "--resize", "6")
        for have, x in zip(read("o.h5", "train/images"), xs): near(c, have, resized(crop(x, 8, 8), 6, 6))
    add("pictures of many sizes", sizes)

    def kinds(c):
        c.write("d/a.png", png(rgb)), c.write("d/b.png", png(g))
        c.refused(r"d/b\.png.*--rgb", "data", "d", "o.h5")
        c.accepted("data", "d", "o.h5", "--rgb")
        c.same(read("o.h5", "train/images").tobytes(), rgb.tobytes() + np.repeat(g, 3, 2).tobytes(), "pixels")
        c.accepted("data", "d", "p.h5", "--grey")
        c.same(read("p.h5", "train/images").tobytes(), luma(rgb).tobytes() + g.tobytes(), "pixels")
    add("grey among colour", kinds)

    def palette(c):
        k = np.arange(256)
        c.write("d/a.png", png(g[..., 0] // 2, colour=3, palette=np.repeat(k[:128] * 2, 3).astype("u1").tobytes()))
        c.accepted("data", "d", "o.h5", "--grey")
        c.same(read("o.h5", "train/images")[0].tobytes(), (g // 2 * 2).tobytes(), "pixels")
    add("a palette of greys", palette)

    def batches(c):
        b, x, labels = cifar(3, 1)
        c.write("data_batch_1.bin", b)
        c.accepted("data", "data_batch_1.bin", "o.h5", "--grey", "--crop", "24")
        c.same(read("o.h5", "train/images").tobytes(), b"".join(crop(luma(i), 24, 24).tobytes() for i in x), "pixels")
        c.same(read("o.h5", "train/labels").tolist(), labels, "labels")
    add("CIFAR", batches)

    def two_sources(c):
        c.write("d/a.png", png(rgb)), c.write("train-images", idx(grey(3, 1, 16)))
        c.accepted("data", "d", "train-images", "o.h5", "--grey", "--resize", "8x8")
        near(c, read("o.h5", "train/images")[0], resized(luma(rgb), 8, 8))
        for have, x in zip(read("o.h5", "train/images")[1:], grey(3, 1, 16)): near(c, have, resized(x[..., None], 8, 8))
    add("folder and IDX", two_sources)

    def keyed(x, want, **how):  # one colour, or some of a palette, is transparent: its pixels stay what they are
        def steps(c):
            c.write("d/a.png", png(x, **how))
            c.refused(r"d/a\.png.*--alpha drop", "data", "d", "o.h5")
            c.accepted("data", "d", "o.h5", "--alpha", "drop")
            c.same(read("o.h5", "train/images")[0].tobytes(), want.tobytes(), "pixels")
        return steps
    colours = photo(4, 4, 3, 7).reshape(16, 3)
    add("transparent grey", keyed(g, g, extra=chunk(b"tRNS", b"\0\x80")))
    add("transparent colour", keyed(rgb, rgb, extra=chunk(b"tRNS", b"\0\x80" * 3)))
    add("transparent palette", keyed(g[..., 0] % 16, colours[g[..., 0] % 16], colour=3, palette=colours.tobytes(), extra=chunk(b"tRNS", b"\0\x80\xff")))

    # what is refused
    def refused(pattern, args, x=rgb, name="d/a.png", content=None):
        def steps(c):
            c.write(name, png(x) if content is None else content)
            c.refused(pattern, "data", name.split("/")[0], "o.h5", *args)
        return steps
    add("alpha, no option", refused(r"d/a\.png.*--alpha drop", [], rgba))
    add("alpha of 255, no option", refused(r"d/a\.png.*--alpha drop", [], np.concatenate([rgb, np.full((21, 17, 1), 255, "u1")], 2)))
    add("alpha of grey, no option", refused(r"d/a\.png.*--alpha drop", ["--grey"], ga))
    add("crop larger", refused(r"d/a\.png.*21x17", ["--crop", "18"]))
    add("crop higher", refused(r"d/a\.png", ["--crop", "22x1"]))
    add("grey and rgb", refused("--grey and --rgb", ["--grey", "--rgb"]))
    for v in ("keep", "", "DROP", "drop "): add("alpha %r" % v, refused("--alpha", ["--alpha", v]))
    for flag in ("--crop", "--resize"):
        for v in ("0", "-1", "4097", "", "x", "8x", "x8", "8x0", "8x8x8", "8.5", "8 8", "0x8", "8x-1", "99999999999999999999", "8x4097", "nan"):
            add("%s %r" % (flag[2:], v), refused(flag, [flag, v]))
    points = ("a.txt", b"words and words " * 100)
    for args in (["--grey"], ["--rgb"], ["--alpha", "drop"], ["--crop", "4"], ["--resize", "4"]):
        add("text with " + args[0], refused(r"a\.txt.*--grey", args, name=points[0], content=points[1]))

        def density(c, args=args): c.refused("density.*--grey", "data", "density:ring:50", "o.h5", *args)
        add("density with " + args[0], density)
    add("four channels to grey", refused("d.*--alpha drop", ["--grey"], name="d", content=idx(rgba[None])))
    add("five channels to rgb", refused("d.*channels", ["--rgb"], name="d", content=idx(photo(8, 8, 5, 1)[None])))

    def differ(c):
        c.write("d/a.png", png(rgb)), c.write("d/b.png", png(photo(30, 17, 3, 5)))
        c.refused(r"d/b\.png.*d/a\.png.*--resize HxW", "data", "d", "o.h5", "--resize", "8")
    add("sizes that still differ", differ)
