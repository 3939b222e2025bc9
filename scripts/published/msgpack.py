"""Checkpoints of flax: MessagePack with arrays.

  map, array, text, bytes, numbers, nothing   as the format has them
  extension 1, 3                              an array, a number: (shape, name of the type, bytes), packed again
  extension 2                                 a complex number: none of a network, so nothing
  {"__msgpack_chunked_array__": true, ...}    an array in pieces: shape and chunks, dictionaries of "0", "1", ...

Every length is held against what is left of the file before anything is taken.
Source  the MessagePack specification; flax.serialization.  Test  tests/table/rows/published.py"""
import struct
import numpy as np
from published.pickles import Refused

DEPTH = 64
TYPES = {"float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"}
NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
SIZED = {0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"), 0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
         0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"), 0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I")}


class Reader:
    def __init__(self, b): self.b, self.at = b, 0

    def take(self, n):
        if n > len(self.b) - self.at: raise Refused("it is cut short, or no MessagePack")
        self.at += n
        return self.b[self.at - n:self.at]

    def number(self, how): return struct.unpack(how, self.take(struct.calcsize(how)))[0]

    def sized(self, what, n, depth):
        if what in ("list", "map") and n > len(self.b) - self.at: raise Refused("it is cut short, or no MessagePack")
        if what == "bytes": return self.take(n)
        if what == "list": return [self.value(depth + 1) for _ in range(n)]
        if what == "ext": return extension(self.number(">b"), self.take(n), depth)
        if what == "map": return self.map(n, depth)
        try: return self.take(n).decode()
        except UnicodeDecodeError: raise Refused("a text is no UTF-8")

    def map(self, n, depth):
        d = {}
        for _ in range(n):
            k = self.value(depth + 1)
            if not isinstance(k, (str, int)) or k in d: raise Refused("a key of a map is no text, or is there twice: %.40r" % (k,))
            d[k] = self.value(depth + 1)
        return joined(d) if "__msgpack_chunked_array__" in d else d

    def value(self, depth=0):
        if depth > DEPTH: raise Refused("its maps lie in each other too deep")
        c = self.take(1)[0]
        if c < 0x80: return c
        if c >= 0xE0: return c - 256
        if c < 0x90: return self.sized("map", c & 15, depth)
        if c < 0xA0: return self.sized("list", c & 15, depth)
        if c < 0xC0: return self.sized("text", c & 31, depth)
        if c in NUMBERS: return self.number(NUMBERS[c])
        if c in SIZED:
            what, how = SIZED[c]
            return self.sized(what, self.number(how), depth)
        if 0xD4 <= c <= 0xD8: return self.sized("ext", 1 << (c - 0xD4), depth)
        if c in (0xC0, 0xC2, 0xC3): return {0xC0: None, 0xC2: False, 0xC3: True}[c]
        raise Refused("it is no MessagePack: a byte is 0x%02x" % c)


def whole(b, depth=0):
    r = Reader(b)
    v = r.value(depth)
    if r.at != len(b): raise Refused("something else stands behind it")
    return v


def extension(code, b, depth):
    if code == 2: return None
    if code not in (1, 3): raise Refused("it holds an extension %d of MessagePack, which flax does not write" % code)
    parts = whole(b, depth + 1)
    if not isinstance(parts, list) or len(parts) != 3: raise Refused("an array is not of shape, type and bytes")
    shape, kind, raw = parts
    if not isinstance(shape, list) or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2 ** 40 for n in shape):
        raise Refused("an array has no shape but %.60r" % (shape,))
    if kind != "bfloat16" and kind not in TYPES: raise Refused("an array is of %.40r, no numbers" % (kind,))
    size = 2 if kind == "bfloat16" else np.dtype(kind).itemsize
    for n in shape: size *= n
    if not isinstance(raw, bytes) or len(raw) != size: raise Refused("an array of the shape %s does not fit its bytes" % shape)
    if kind == "bfloat16": a = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    else: a = np.frombuffer(raw, np.dtype(kind).newbyteorder("<"))
    return a.reshape(shape)


def dict_of(d, what):
    if not isinstance(d, dict) or sorted(map(str, d)) != sorted(str(i) for i in range(len(d))): raise Refused("%s of an array in pieces are not numbered" % what)
    return [d.get(str(i), d.get(i)) for i in range(len(d))]


def joined(d):
    shape, chunks = dict_of(d.get("shape"), "the sizes"), dict_of(d.get("chunks"), "the chunks")
    if not chunks or not all(isinstance(c, np.ndarray) for c in chunks) or not all(type(n) is int and 0 <= n < 2 ** 40 for n in shape):
        raise Refused("an array in pieces has no pieces, or no shape")
    a, n = np.concatenate([c.reshape(-1) for c in chunks]), 1
    for k in shape: n *= k
    if n != a.size: raise Refused("an array in pieces of the shape %s has %d entries" % (shape, a.size))
    return a.reshape(shape)


def read(path):
    with open(path, "rb") as f: return whole(f.read())
