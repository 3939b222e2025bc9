"""PNG in a folder: what its head declares, what its chunks hold."""
import struct, zlib
import numpy as np
from make import chunk, images, png, read

MEMORY = 1500 << 20
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def refused(content, pattern=r"a\.png"):
    def steps(c):
        c.write("d/a.png", content)
        c.refused(pattern, "data", "d", "o.h5", memory=MEMORY)
    return steps


def taken(content, x):
    def steps(c):
        c.write("d/a.png", content)
        c.accepted("data", "d", "o.h5")
        c.same(read("o.h5", "train/images")[0].tolist(), x.tolist(), "pixels")
    return steps


def may(content, x):
    """a format that may be read or refused, but not misread"""
    def steps(c):
        c.write("d/a.png", content)
        if c.either(r"a\.png", "data", "d", "o.h5"): c.same(read("o.h5", "train/images")[0].tolist(), x.tolist(), "pixels")
    return steps


def rows(add, random):
    g, rgb = images(1, 1)[0], images(1, 2, 8, 3)[0]
    good = png(g)
    add("grey", taken(good, g))
    add("colour", taken(png(rgb), rgb))
    add("one pixel", taken(png(g[:1, :1]), g[:1, :1]))
    palette = [i % 256 for i in range(768)]
    index = g % 200
    add("palette", may(png(index, colour=3, palette=palette), np.array(palette).reshape(-1, 3)[index[..., 0]]))
    add("text chunk", taken(png(g, extra=chunk(b"tEXt", b"a\0b")), g))
    add("two data chunks", taken(SIGNATURE + good[8:33] + b"".join(chunk(b"IDAT", p) for p in (
        zlib.compress(b"".join(b"\0" + r.tobytes() for r in g))[:20], zlib.compress(b"".join(b"\0" + r.tobytes() for r in g))[20:])) + chunk(b"IEND", b""), g))

    for n in sorted(random.sample(range(1, len(good) - 12), 8)): add("cut to %d bytes" % n, refused(good[:n]))
    for at in sorted(random.sample(range(8, len(good) - 12), 10)):
        add("bit of byte %d" % at, refused(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:]))
    add("empty", refused(b""))
    add("a text", refused(b"no image at all\n" * 9))
    add("a JPEG head", refused(b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(80)))
    add("alpha", refused(png(images(1, 3, 8, 4)[0])))
    add("grey and alpha", refused(png(images(1, 3, 8, 2)[0])))
    add("transparent colour", refused(png(rgb, extra=chunk(b"tRNS", bytes(6)))))
    add("16 bits", refused(png(g, depth=16, raw=zlib.compress(b"".join(b"\0" + bytes(16) for _ in range(8))))))
    add("palette without a palette", refused(png(index, colour=3)))
    for size in ((0, 8), (8, 0), (1 << 31, 1), (60000, 60000), (16384, 65500), (1 << 30, 1 << 30), (8, 9), (9, 8), (1000000, 1)):
        add("declares %dx%d" % size, refused(png(g, size=size)))
    add("declares 30000x30000 in colour", refused(png(rgb, size=(30000, 30000))))
    for depth, colour in ((3, 0), (0, 0), (32, 0), (8, 1), (8, 5), (8, 7), (1, 2)):
        add("depth %d of colour type %d" % (depth, colour), refused(png(g, depth=depth, colour=colour)))
    add("other compression", refused(png(g, compression=1)))
    add("interlace 2", refused(png(g, interlace=2)))
    add("filter 9", refused(png(g, raw=zlib.compress(b"".join(b"\x09" + r.tobytes() for r in g)))))
    add("data end early", refused(png(g, raw=zlib.compress(b"\0" * 20))))
    add("data not packed", refused(png(g, raw=b"\0" * 72)))
    add("no data", refused(SIGNATURE + good[8:33] + chunk(b"IEND", b"")))
    add("no head", refused(SIGNATURE + good[33:]))
    add("head twice", refused(SIGNATURE + good[8:33] + good[8:]))
    add("head of 12 bytes", refused(png(g, header=struct.pack(">IIBBBB", 8, 8, 8, 0, 0, 0))))
    add("chunk longer than the file", refused(good[:33] + struct.pack(">I", 1 << 30) + b"IDAT" + bytes(50)))
    for kind in (b"tEXt", b"zTXt", b"iCCP", b"PLTE", b"tRNS", b"abCd"):
        add("1.7 GB of %s declared" % kind.decode(), refused(good[:33] + struct.pack(">I", 0x67000011) + kind + b"Software\0x" + good[33:]))
    add("wrong checksum", refused(SIGNATURE + chunk(b"IHDR", good[16:29], 1) + good[33:]))
    add("unknown critical chunk", refused(png(g, extra=chunk(b"ABCD", b"x"))))
    add("bits of 1", may(png(g, depth=1, raw=zlib.compress(b"\0\xaa" * 8)), np.array([[[255], [0]] * 4] * 8)))
