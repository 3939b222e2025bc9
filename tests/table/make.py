"""Inputs, written by code that is not the program's: IDX, PNG, CIFAR, HDF5 with its seal."""
import gzip, io, os, struct, zlib
import h5py, numpy as np


def images(n, seed, size=8, channels=1):
    r = np.random.RandomState(seed)
    ramp = np.arange(size * size * channels).reshape(1, size, size, channels) * 192 // (size * size * channels)
    return (r.randint(0, 64, (n, size, size, channels)) + ramp).astype("u1")


def idx(a, kind=8, rank=None, dims=None):
    a = np.asarray(a)
    dims = a.shape if dims is None else dims
    return struct.pack(">BBBB", 0, 0, kind, a.ndim if rank is None else rank) + struct.pack(">%dI" % len(dims), *dims) + a.tobytes()


def grey(n, seed, size=8):
    return images(n, seed, size)[..., 0]


def chunk(kind, data, crc=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)


def png(a, size=None, colour=None, depth=8, palette=None, raw=None, extra=b"", interlace=0, end=True, header=None, compression=0):
    """a: [H,W] or [H,W,C]; the rest makes it faulty"""
    a = np.asarray(a, "u1")
    a = a.reshape(a.shape[0], a.shape[1], -1)
    if colour is None: colour = {1: 0, 2: 4, 3: 2, 4: 6}[a.shape[2]]
    w, h = size or (a.shape[1], a.shape[0])
    if raw is None: raw = zlib.compress(b"".join(b"\0" + row.tobytes() for row in a))
    head = struct.pack(">IIBBBBB", w, h, depth, colour, compression, 0, interlace) if header is None else header
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + (chunk(b"PLTE", bytes(palette)) if palette is not None else b"") +
            extra + chunk(b"IDAT", raw) + (chunk(b"IEND", b"") if end else b""))


def cifar(n, seed, label=None):
    """records, and the images they hold [n,32,32,3]"""
    x = images(n, seed, 32, 3)
    labels = [(i * 3) % 10 for i in range(n)] if label is None else label
    b = b"".join(bytes([l]) + im.transpose(2, 0, 1).tobytes() for l, im in zip(labels, x))
    return b, x, labels


def npy(a, head=None, version=(1, 0), values=None):
    """an array as NumPy saves it; the rest makes it faulty"""
    if head is None and version == (1, 0) and values is None:
        b = io.BytesIO()
        np.save(b, a)
        return b.getvalue()
    a = np.asarray(a)
    head = head if head is not None else "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (a.dtype.str, a.shape)
    text = head.encode() + b"\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + (a.tobytes() if values is None else values)


def npz(packed=False, **arrays):
    b = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(b, **arrays)
    return b.getvalue()


# ---- HDF5 and its seal ----
def unsealed(path):
    """the length of the file without its seal, or None"""
    b = open(path, "rb").read()
    return struct.unpack("<Q", b[-24:-16])[0] if b[-32:-24] == b"PFSEAL1\n" else None


def seal(path, ranges=None, magic=b"PFSEAL1\n", total=None, count=None, rest=None):
    b = open(path, "rb").read()
    if rest is None:
        rest = at = 0
        for o, n in ranges or []:
            rest = zlib.crc32(b[at:o], rest)
            at = o + n
        rest = zlib.crc32(b[at:], rest)
    table = b"".join(struct.pack("<QQ", *r) for r in ranges or [])
    s = magic + struct.pack("<QQI", len(b) if total is None else total, len(ranges or []) if count is None else count, rest)
    open(path, "ab").write(table + s + struct.pack("<I", zlib.crc32(s, zlib.crc32(table))))


def strip(path):
    n = unsealed(path)
    if n is not None:
        b = open(path, "rb").read()
        open(path, "wb").write(b[:n])
    return n is not None


def edit(path, change):
    """change(f) of the open file, sealed again where it was sealed"""
    was = strip(path)
    with h5py.File(path, "r+", libver="latest") as f: change(f)
    if was: seal(path)


def replace(f, name, value, **how):
    attrs = dict(f[name].attrs) if name in f else {}
    if name in f: del f[name]
    d = f.create_dataset(name, data=value, **how)
    for k, v in attrs.items():
        if k != "crc32": d.attrs[k] = v
    return d


def flip(path, at, bit=1):
    b = bytearray(open(path, "rb").read())
    b[at] ^= bit
    open(path, "wb").write(b)


def read(path, name):
    with h5py.File(path, "r") as f: return f[name][...]


def attribute(path, name):
    with h5py.File(path, "r") as f:
        v = f.attrs[name]
        return v.decode() if isinstance(v, bytes) else v


def splits(path):
    with h5py.File(path, "r") as f:
        return {k: len(f[k + "/images"]) for k in f if isinstance(f[k], h5py.Group) and "images" in f[k]}


def classes(path):
    """names of the classes, wherever the file keeps them"""
    with h5py.File(path, "r") as f:
        for k, v in f.attrs.items():
            if "class" in k.lower():
                v = v.decode() if isinstance(v, bytes) else v
                return v.split("\n") if isinstance(v, str) and "\n" in v else v.split(",") if isinstance(v, str) else [x.decode() if isinstance(x, bytes) else str(x) for x in v]
        for k in f:
            if "class" in k.lower(): return [x.decode() if isinstance(x, bytes) else str(x) for x in f[k][...]]
    return None
