"""JPEG: what cjpeg writes is read as djpeg reads it, to the pixel; damaged files are refused."""
import random as seeded, struct, subprocess
import numpy as np
from make import attribute, grey, images, png, read


def ppm(x):
    h, w = x.shape[:2]
    return b"P%d %d %d 255\n" % (6 if x.ndim == 3 else 5, w, h) + x.tobytes()


def cjpeg(x, *options):
    return subprocess.run(["cjpeg", *options], input=ppm(x), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def djpeg(b):
    p = subprocess.run(["djpeg", "-pnm"], input=b, stdout=subprocess.PIPE, check=True).stdout
    magic, size, most, rest = p.split(b"\n", 3)
    w, h = map(int, size.split())
    return np.frombuffer(rest, "u1").reshape(h, w, 3 if magic == b"P6" else 1)


def photo(h, w, c=3):
    """smooth with edges, as photographs are"""
    y, x = np.mgrid[:h, :w]
    a = np.stack([128 + 90 * np.sin(x / (3 + k) + y / 5) + 20 * ((x // 7 + y // 5 + k) % 2) for k in range(3)], 2)
    a = np.clip(a, 0, 255).astype("u1")
    return a if c == 3 else a[..., 0]


def exif(b, value, little=False):
    e = "<" if little else ">"
    tiff = (b"II" if little else b"MM") + struct.pack(e + "HIHHHIHHI", 42, 8, 1, 0x112, 3, 1, value, 0, 0)
    body = b"Exif\0\0" + tiff
    return b[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + b[2:]


def marker(b, code):
    """where the segment of a marker begins"""
    at = 2
    while b[at + 1] != code: at += 2 + struct.unpack(">H", b[at + 2:at + 4])[0]
    return at


def rows(add, random):
    def exact(x, *options):
        def steps(c):
            b = cjpeg(x, *options)
            c.write("d/a.jpg", b)
            c.accepted("data", "d", "o.h5")
            want = djpeg(b)
            c.same(read("o.h5", "train/images")[0].shape, want.shape, "shape")
            c.same(read("o.h5", "train/images")[0].tobytes(), want.tobytes(), "pixels")
            c.same(attribute("o.h5", "converted"), "decoded from JPEG", "converted")
        return steps
    add("4:2:0", exact(photo(37, 53)))
    add("4:2:2", exact(photo(37, 53), "-sample", "2x1"))
    add("4:4:0", exact(photo(37, 53), "-sample", "1x2"))
    add("4:4:4", exact(photo(37, 53), "-sample", "1x1"))
    add("4:1:1", exact(photo(37, 53), "-sample", "4x1"))
    add("grey", exact(photo(24, 17, 1)))
    add("colour as grey", exact(photo(24, 17), "-grayscale"))
    add("RGB", exact(photo(24, 17), "-rgb"))
    add("progressive", exact(photo(64, 48), "-progressive"))
    add("progressive grey", exact(photo(64, 48, 1), "-progressive"))
    add("restarts", exact(photo(64, 48), "-restart", "1"))
    add("optimised", exact(photo(64, 48), "-optimize"))
    add("one pixel", exact(photo(1, 1)))
    add("one column", exact(photo(99, 1)))
    for q in (1, 10, 50, 95, 100): add("quality %d" % q, exact(photo(40, 40), "-quality", str(q)))

    def beside(c):
        x, b = photo(16, 16), cjpeg(photo(16, 16), "-quality", "90")
        c.write("d/train/cat/1.JPG", b), c.write("d/train/dog/2.png", png(x)), c.write("d/test/cat/3.jpeg", exif(b, 1))
        c.accepted("data", "d", "o.h5")
        c.same(read("o.h5", "train/images").tobytes(), djpeg(b).tobytes() + x.tobytes(), "pixels")
        c.same(read("o.h5", "train/labels").tolist() + read("o.h5", "test/labels").tolist(), [0, 1, 0], "labels")
    add("beside PNG", beside)

    def single(c):
        b = cjpeg(photo(16, 24))
        c.write("test.jpg", b)
        c.accepted("data", "test.jpg", "o.h5")
        c.same(read("o.h5", "test/images")[0].tobytes(), djpeg(b).tobytes(), "pixels")
    add("a single file", single)

    def content(c):
        b = cjpeg(photo(16, 16))
        c.write("d/a.png", b), c.write("d/b.jpg", png(photo(16, 16)))
        c.accepted("data", "d", "o.h5")
        c.same(read("o.h5", "train/images").tobytes(), djpeg(b).tobytes() + photo(16, 16).tobytes(), "pixels")
    add("by content, not by name", content)

    def turned(value, little):
        def steps(c):
            b = cjpeg(photo(8, 16))
            c.write("d/a.jpg", exif(b, value, little))
            c.run("probflow", "data", "d", "o.h5")
            c.must(c.status == 0, "refused: " + c.first())
            c.same("orientation" in c.err, value > 1, "a remark on the orientation")
            c.must("decoded image" in c.err, "no remark that the likelihood is of the decoded image")
            c.same(read("o.h5", "train/images")[0].tobytes(), djpeg(b).tobytes(), "pixels")
        return steps
    for value in (1, 3, 6, 8): add("orientation %d" % value, turned(value, value == 6))

    def shown(c):
        c.write("d/a.jpg", cjpeg(photo(30, 20)))
        c.accepted("data", "d", "o.h5", "--grey", "--crop", "16", "--resize", "8")
        c.run("probflow", "info", "o.h5")
        c.must("decoded from JPEG; grey" in c.out and "crop 16x16; resize 8x8" in c.out, "info does not say what was done: " + c.out[:300])
    add("info says what was done", shown)

    # what is refused
    def refused(make, pattern=r"d/b\.jpg"):
        def steps(c):
            c.write("d/a.jpg", cjpeg(photo(40, 40)))
            c.write("d/b.jpg", make(cjpeg(photo(40, 40, 3)[::-1])))
            c.refused(pattern, "data", "d", "o.h5")
        return steps
    for part in (0.02, 0.2, 0.5, 0.7, 0.9, 0.97): add("cut to %g" % part, refused(lambda b, p=part: b[:int(len(b) * p)]))
    add("no end of image", refused(lambda b: b[:-2]))
    add("empty", refused(lambda b: b""))
    add("three bytes", refused(lambda b: b[:3]))
    add("text", refused(lambda b: b"no picture"))
    add("zeros in the scan", refused(lambda b: b[:-200] + bytes(198) + b[-2:]))
    add("packed", refused(lambda b: __import__("gzip").compress(b)))
    add("arithmetic coding", refused(lambda b: cjpeg(photo(40, 40), "-arithmetic"), "arithmetic"))

    def bare(b): return b[:marker(b, 0xc4)] + b[marker(b, 0xda):]

    def patch(b, code, offset, value):
        at = marker(b, code) + 4 + offset
        return b[:at] + value + b[at + len(value):]
    add("12 bits", refused(lambda b: patch(b, 0xc0, 0, b"\x0c")))
    add("height 0", refused(lambda b: patch(b, 0xc0, 1, b"\0\0")))
    add("width 0", refused(lambda b: patch(b, 0xc0, 3, b"\0\0")))
    add("65500 x 65500", refused(lambda b: patch(b, 0xc0, 1, b"\xff\xdc\xff\xdc"), "larger"))
    add("8000 x 8000 in a small file", refused(lambda b: patch(b, 0xc0, 1, b"\x1f\x40\x1f\x40"), "more pixels"))
    add("higher than its scan", refused(lambda b: patch(b, 0xc0, 1, b"\0\x60")))
    add("two components", refused(lambda b: patch(b, 0xc0, 5, b"\2")))
    add("four components", refused(lambda b: patch(b, 0xc0, 5, b"\4")))
    add("sampling 0", refused(lambda b: patch(b, 0xc0, 7, b"\0")))
    add("sampling 5x5", refused(lambda b: patch(b, 0xc0, 7, b"\x55")))
    add("quantisation table 3", refused(lambda b: patch(b, 0xc0, 8, b"\3")))
    for code in (0xc3, 0xc5, 0xc7, 0xcb): add("process %02x" % code, refused(lambda b, k=code: b.replace(b"\xff\xc0", b"\xff" + bytes([k]), 1)))
    add("no tables of Huffman", refused(lambda b: bare(cjpeg(photo(40, 40), "-optimize"))))
    add("no frame", refused(lambda b: b[:marker(b, 0xc0)] + b[marker(b, 0xc4):]))
    add("a segment of length 0", refused(lambda b: patch(b, 0xdb, -2, b"\0\0")))
    add("two starts", refused(lambda b: b[:2] + b))
    add("another size", refused(lambda b: cjpeg(photo(41, 40)), "--crop"))
    add("grey beside colour", refused(lambda b: cjpeg(photo(40, 40, 1)), "--grey"))

    def bomb(c):  # many scans of nothing: one of a progressive picture, again and again
        b = cjpeg(photo(64, 64), "-progressive")
        last = b.rindex(b"\xff\xda")
        c.write("d/a.jpg", b[:-2] + b[last:-2] * 2000 + b[-2:])
        c.refused(r"d/a\.jpg", "data", "d", "o.h5")
    add("thousands of scans", bomb)

    def flipped(seed):
        def steps(c):  # a changed bit: refused, or read as djpeg reads it
            r = seeded.Random(seed)
            b = bytearray(cjpeg(photo(40, 40), *[[], ["-progressive"]][seed % 2]))
            b[r.randrange(2, len(b))] ^= 1 << r.randrange(8)
            c.write("d/a.jpg", bytes(b))
            if c.either(r"d/a\.jpg", "data", "d", "o.h5"):
                c.same(read("o.h5", "train/images")[0].tobytes(), djpeg(bytes(b)).tobytes(), "pixels")
        return steps
    for i in range(24): add("a bit flipped %d" % i, flipped(random.randrange(1 << 30)))
