"""Checkpoints as torch.save, flax and EDM write them, without their programs: Python's own pickle, and names that stand
for theirs."""
import collections, io, pickle, struct, sys, types, zipfile
import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
KINDS = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "i4": "Int", "u1": "Byte", "i1": "Char", "i2": "Short", "b1": "Bool"}


def module(name, **members):
    m = sys.modules.setdefault(name, types.ModuleType(name))
    for k, v in members.items():
        v.__module__, v.__qualname__, v.__name__ = name, k, k
        setattr(m, k, v)
    return m


def function(): return lambda *a: None


torch = module("torch", **{k + "Storage": type(k, (), {}) for k in list(KINDS.values()) + ["BFloat16"]})
utils = module("torch._utils", _rebuild_tensor_v2=function(), _rebuild_tensor=function(), _rebuild_parameter=function())
storages = module("torch.storage", _load_from_bytes=function())
persistence = module("torch_utils.persistence", _reconstruct_persistent_obj=function())
containers = module("torch.nn.modules.container", ModuleDict=type("ModuleDict", (), {}))
dnnlib = module("dnnlib.util", EasyDict=type("EasyDict", (dict,), {}))
for parent in "torch.nn", "torch.nn.modules", "torch_utils", "dnnlib": module(parent)


class Storage:
    count = 0

    def __init__(self, a, kind=None):
        self.a, self.kind = np.ascontiguousarray(a).reshape(-1), kind
        Storage.count += 1
        self.key = str(Storage.count)

    def class_of(self): return getattr(torch, (self.kind or KINDS[self.a.dtype.str[1:]]) + "Storage")

    def __reduce__(self): return storages._load_from_bytes, (legacy(self),)


class T:
    """a tensor, of an array; or with a storage, an offset, sizes and strides as they are said"""

    def __init__(self, a, offset=0, size=None, stride=None, kind=None):
        self.storage = a if isinstance(a, Storage) else Storage(a, kind)
        self.offset, self.size = offset, tuple(np.shape(a)) if size is None else size
        self.stride = stride
        if stride is None: self.stride = tuple(int(np.prod(self.size[i + 1:], dtype=int)) for i in range(len(self.size)))

    def __reduce__(self):
        return utils._rebuild_tensor_v2, (self.storage, self.offset, self.size, self.stride, False, collections.OrderedDict())


class Parameter(T):
    def __reduce__(self): return utils._rebuild_parameter, (T(self.storage, self.offset, self.size, self.stride), True, collections.OrderedDict())


class Writer(pickle._Pickler):
    """storages by persistent ids"""

    def __init__(self, f, protocol, legacy, said):
        pickle._Pickler.__init__(self, f, protocol)
        self.found, self.legacy, self.said = {}, legacy, said or (lambda pid: pid)

    def persistent_id(self, x):
        if not isinstance(x, Storage): return None
        self.found[x.key] = x
        return self.said(("storage", x.class_of(), x.key, "cpu", len(x.a)) + ((None,) if self.legacy else ()))


def content(v, protocol=2, legacy=False, said=None):
    f = io.BytesIO()
    w = Writer(f, protocol, legacy, said)
    w.dump(v)
    return f.getvalue(), w.found


def archive(members, compression=zipfile.ZIP_STORED):
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", compression) as z:
        for name, b in members: z.writestr(zipfile.ZipInfo(name), b, compression)
    return f.getvalue()


def members(v, protocol=2, said=None, pkl=None):
    b, found = content(v, protocol, said=said)
    return [("archive/data.pkl", b if pkl is None else pkl), ("archive/byteorder", b"little")] + [
        ("archive/data/" + k, s.a.tobytes()) for k, s in found.items()] + [("archive/version", b"3\n")]


def zipped(v, protocol=2): return archive(members(v, protocol))


def legacy(v, protocol=2, said=None, machine=None, pkl=None, magic=MAGIC):
    b, found = content(v, protocol, True, said)
    if machine is None: machine = dict(protocol_version=PROTOCOL, little_endian=True, type_sizes=dict(short=2, int=4, long=4))
    return (b"".join(pickle.dumps(x, protocol) for x in (magic, PROTOCOL, machine)) + (b if pkl is None else pkl) + pickle.dumps(sorted(found), protocol) +
            b"".join(struct.pack("<q", len(found[k].a)) + found[k].a.tobytes() for k in sorted(found)))


# ---- EDM ----
class Object:
    """of torch_utils.persistence: `source` is a program that nobody may run"""

    def __init__(self, name, source="open('ran', 'w')", **state): self.meta = dict(type="class", version=6, module_src=source, class_name=name, state=state)
    def __reduce__(self): return persistence._reconstruct_persistent_obj, (self.meta,)


def tree(tensors, make=lambda name, path, state: Object(name, **state), name="SongUNet", path=""):
    """modules in each other, of tensors by name"""
    own = collections.OrderedDict((k, Parameter(a)) for k, a in tensors.items() if "." not in k)
    inner = collections.OrderedDict()
    for k in tensors:
        if "." in k: inner.setdefault(k.split(".")[0], {})[k.split(".", 1)[1]] = tensors[k]
    buffers = {k: own.pop(k) for k in list(own) if k in ("freqs", "resample_filter")}
    state = dict(training=False, _parameters=own, _buffers=buffers, _non_persistent_buffers_set=set(), _modules=collections.OrderedDict(
        (k, tree(v, make, "Linear", path + k + ".")) for k, v in inner.items()))
    if path in ("enc.", "dec."):
        m = containers.ModuleDict()
        m.__dict__.update(state)
        return m
    return make(name, path, state)


# ---- flax ----
def pack(v):
    """MessagePack as flax writes it"""
    if v is None: return b"\xc0"
    if isinstance(v, bool): return b"\xc3" if v else b"\xc2"
    if isinstance(v, int): return struct.pack(">B", v) if 0 <= v < 128 else b"\xd3" + struct.pack(">q", v)
    if isinstance(v, float): return b"\xcb" + struct.pack(">d", v)
    if isinstance(v, str): return b"\xdb" + struct.pack(">I", len(v.encode())) + v.encode() if len(v) > 31 else bytes([0xA0 | len(v.encode())]) + v.encode()
    if isinstance(v, bytes): return b"\xc6" + struct.pack(">I", len(v)) + v
    if isinstance(v, (list, tuple)): return (bytes([0x90 | len(v)]) if len(v) < 16 else b"\xdd" + struct.pack(">I", len(v))) + b"".join(map(pack, v))
    if isinstance(v, dict): return (bytes([0x80 | len(v)]) if len(v) < 16 else b"\xdf" + struct.pack(">I", len(v))) + b"".join(pack(k) + pack(x) for k, x in v.items())
    b = pack([list(v.shape), v.dtype.name, v.tobytes()])
    return b"\xc9" + struct.pack(">Ib", len(b), 1 if v.shape else 3) + b


def nested(flat):
    out = {}
    for name, a in flat.items():
        d, parts = out, name.split("/")
        for p in parts[:-1]: d = d.setdefault(p, {})
        d[parts[-1]] = a
    return out


def pieces(a, n=3):
    def numbered(v): return {str(i): x for i, x in enumerate(v)}
    return {"__msgpack_chunked_array__": True, "shape": numbered(a.shape), "chunks": numbered(np.array_split(a.reshape(-1), n))}
