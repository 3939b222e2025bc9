"""Checkpoints of torch.save in both of its formats, and plain pickles with tensors; without torch, and nothing is run.

  zip     members NAME/data.pkl, one pickle, and NAME/data/KEY, the bytes of a storage; all of them stored as they are
  legacy  five pickles, magic number, protocol, machine, object, keys of storages; then of each key its number of
          entries, int64, and its bytes
  plain   a pickle whose storages are bytes in the legacy format

A tensor is an offset, sizes and strides into a storage.  They are held against the storage, and that against the file,
before anything is taken.  Objects of torch_utils.persistence are records: the state they hold is read, the source that
they hold is not.  Test  tests/table/rows/published.py"""
import mmap, struct, zipfile
import numpy as np
from published.pickles import Global, KNOWN, Machine, Refused, text

KINDS = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "bf16", "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1",
         "Byte": "u1", "Bool": "?"}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def size_of(kind): return 2 if kind == "bf16" else np.dtype(kind).itemsize


def whole(n, what):
    if type(n) is not int or not 0 <= n < 2 ** 48: raise Refused("%s is %.40r, no size" % (what, n))
    return n


class Storage:
    """n entries of a kind; `bytes_of` gives their bytes, at least as many"""

    def __init__(self, kind, n, bytes_of=None):
        self.kind, self.n, self.bytes_of, self.read = kind, n, bytes_of, None

    def entries(self):
        if self.read is None: self.read = self.load()
        return self.read

    def load(self):
        if not self.bytes_of: raise Refused("a tensor's numbers are not in the file")
        b = self.bytes_of()
        if len(b) != self.n * size_of(self.kind): raise Refused("a storage of %d entries has %d bytes" % (self.n, len(b)))
        return np.frombuffer(b, "<u2" if self.kind == "bf16" else self.kind)


class Tensor:
    def __init__(self, storage, offset, size, stride):
        if not isinstance(storage, Storage): raise Refused("a tensor has no storage")
        for v in size, stride:
            if not isinstance(v, tuple) or len(v) > 8: raise Refused("a tensor has no shape but %.60r" % (v,))
        if len(size) != len(stride): raise Refused("a tensor has %d sizes and %d strides" % (len(size), len(stride)))
        last = whole(offset, "the offset of a tensor")
        count = 1
        for n, step in zip(size, stride):
            count *= whole(n, "a size of a tensor")
            last += max(n - 1, 0) * whole(step, "a stride of a tensor")
        if count and last >= storage.n or count > storage.n:
            raise Refused("a tensor of the shape %s reaches beyond its storage of %d entries" % (list(size), storage.n))
        self.storage, self.offset, self.shape, self.stride, self.count = storage, offset, size, stride, count

    def array(self):
        """its numbers, float32; whole numbers and float64 as they are"""
        a = self.storage.entries()
        if not self.count: a = np.zeros(self.shape, a.dtype)
        else: a = np.lib.stride_tricks.as_strided(a[self.offset:], self.shape, [s * a.itemsize for s in self.stride])
        if self.storage.kind == "bf16": return np.ascontiguousarray((a.astype("<u4") << 16).view("<f4"))
        return np.ascontiguousarray(a, "<f4" if self.storage.kind == "<f2" else None)


class Record:
    """an object of torch_utils.persistence, or a container of modules: its class by name, and its state"""

    def __init__(self, name, state): self.name, self.state = name, state


CONTAINERS = ("ModuleDict", "ModuleList", "Sequential")
NAMES = {("torch", k + "Storage") for k in KINDS} | {("torch._utils", n) for n in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")} | {
    ("torch", "Size"), ("torch", "device"), ("torch.storage", "_load_from_bytes"), ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    ("dnnlib.util", "EasyDict"), ("builtins", "set"), ("__builtin__", "set")} | {("torch.nn.modules.container", n) for n in CONTAINERS}


class Tensors(Machine):
    """a pickle with tensors; storages are told of by `storage`, of the words of a persistent id"""
    known = KNOWN | NAMES
    wanted = "checkpoint of numbers"

    def __init__(self, b, storage=None):
        Machine.__init__(self, b)
        self.storage = storage

    def reduce(self, what, args):
        if not isinstance(what, Global) or not isinstance(args, tuple): raise Refused("it calls something that has no name")
        n = len(args)
        if what in ("_rebuild_tensor", "_rebuild_tensor_v2") and n >= 4: return Tensor(*args[:4])
        if what == "_rebuild_parameter" and n >= 1 and isinstance(args[0], Tensor): return args[0]
        if what == "_load_from_bytes" and n == 1 and isinstance(args[0], bytes): return legacy(args[0], Storage)
        if what == "_reconstruct_persistent_obj" and n == 1: return record(args[0])
        if what == "Size" and n == 1 and isinstance(args[0], (list, tuple)): return tuple(args[0])
        if what == "device" and n >= 1: return None
        if what == "set" and n <= 1 and all(isinstance(x, (str, int)) for a in args for x in a): return list(*args)
        if what in ("EasyDict", "OrderedDict") and n <= 1: return filled(args)
        return Machine.reduce(self, what, args)

    def build(self, target, state):
        """dictionaries of torch carry remarks (_metadata) of no numbers"""
        if isinstance(target, dict) and isinstance(state, dict): return
        if isinstance(target, Record) and isinstance(state, dict) and not target.state: target.state = state
        else: Machine.build(self, target, state)

    def more(self, op, arg):
        if op == "EMPTY_SET": self.stack.append([])
        elif op == "ADDITEMS":
            items = self.marked()
            self.extend(items)
        elif op == "NEWOBJ":
            args, what = self.pop(), self.pop()
            if not isinstance(what, Global) or args != () or what not in CONTAINERS + ("EasyDict",): Machine.more(self, op, arg)
            self.stack.append({} if what == "EasyDict" else Record(str(what), {}))
        elif op == "BINPERSID" and self.storage: self.stack.append(self.storage(self.pop()))
        else: Machine.more(self, op, arg)


def filled(args):
    """a dictionary of pairs"""
    d = {}
    for pair in args[0] if args else ():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], (str, int)): raise Refused("a dictionary is made of no pairs")
        d[pair[0]] = pair[1]
    return d


def record(meta):
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str) or not isinstance(meta.get("state"), dict):
        raise Refused("an object of torch_utils.persistence has no class and no state")
    return Record(meta["class_name"], meta["state"])


def words(pid):
    """the kind, the key, the number of entries, and the rest of a storage's persistent id"""
    if not isinstance(pid, tuple) or len(pid) < 5 or text(pid[0]) != "storage":
        raise Refused("it has a persistent id of something that is no storage: %.60r" % (pid,))
    if not isinstance(pid[1], Global) or pid[1][:-7] not in KINDS or pid[1][-7:] != "Storage": raise Refused("a storage has no kind but %.60r" % (pid[1],))
    if not isinstance(pid[2], (str, int)): raise Refused("a storage has no key but %.60r" % (pid[2],))
    return KINDS[pid[1][:-7]], text(pid[2]), whole(pid[4], "the number of entries of a storage"), pid[5:]


def once(storages, key, kind, n, bytes_of=None):
    """the storage of a key, which is always the same"""
    s = storages.setdefault(key, Storage(kind, n, bytes_of))
    if (s.kind, s.n) != (kind, n): raise Refused("storage %.40s is of two kinds or sizes" % key)
    return s


# ---- zip ----
def opened(path):
    """the archive, in which no two members are one, and none holds more than the file has"""
    try: z = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error, OSError) as e:
        raise Refused("it is damaged, or cut short (%.80s)" % e)
    z.fp.seek(0, 2)
    size, members = z.fp.tell(), {}
    for m in z.infolist():
        if m.filename in members: raise Refused("two members are called %.60s" % m.filename)
        if m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size:
            raise Refused("member %.60s is compressed, which torch.save never does" % m.filename)
        if m.flag_bits & 1: raise Refused("member %.60s is encrypted" % m.filename)
        members[m.filename] = m
    if sum(m.file_size for m in members.values()) > size: raise Refused("its members say that they are longer than the file")
    return z, members


def member(z, name):
    try: return z.read(name)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error, RuntimeError, OSError) as e:
        raise Refused("member %.60s is damaged (%.80s)" % (name, e))


def zipped(path):
    z, members = opened(path)
    found = [n for n in members if n.count("/") == 1 and n.endswith("/data.pkl")]
    if len(found) != 1: raise Refused("it is an archive without data.pkl: no checkpoint of torch.save")
    top = found[0][:-len("data.pkl")]
    if any(n.startswith(top + "code/") for n in members): raise Refused("it is an archive of TorchScript, which is a program")
    order = top + "byteorder"
    if order in members and members[order].file_size < 16 and member(z, order).strip() != b"little": raise Refused("its numbers are big-endian")
    storages = {}

    def storage(pid):
        kind, key, n, _ = words(pid)
        name = "%sdata/%s" % (top, key)
        if name not in members: raise Refused("storage %.60s is missing from the archive" % name)
        if members[name].file_size != n * size_of(kind):
            raise Refused("storage %.60s has %d bytes, and %d entries want %d" % (name, members[name].file_size, n, n * size_of(kind)))
        return once(storages, key, kind, n, lambda: member(z, name))
    return Tensors(member(z, found[0]), storage).run()


# ---- legacy ----
def views(storage, rest):
    """older files have storages that are a part of another one"""
    if not rest or rest[0] is None: return storage
    v = rest[0]
    if not isinstance(v, tuple) or len(v) != 3: raise Refused("a part of a storage is told by %.60r" % (v,))
    at, n = whole(v[1], "the offset of a storage"), whole(v[2], "the number of entries of a storage")
    if at + n > storage.n: raise Refused("a part of a storage reaches beyond it")
    size = size_of(storage.kind)
    return Storage(storage.kind, n, lambda: storage.entries().view("u1")[at * size:(at + n) * size].tobytes())


def little(machine):
    if not isinstance(machine, dict) or {text(k): v for k, v in machine.items()}.get("little_endian") is not True:
        raise Refused("its numbers are not said to be little-endian")


def fill(b, at, keys, storages):
    """the storages follow the last pickle in the order of their keys"""
    if not isinstance(keys, list) or len(set(map(str, keys))) != len(keys): raise Refused("it has no list of different storages")
    for key in keys:
        key = text(key)
        if key not in storages: raise Refused("storage %.40s belongs to nothing" % (key,))
        s = storages[key]
        size = s.n * size_of(s.kind)
        if at + 8 + size > len(b): raise Refused("it ends within storage %.40s" % key)
        if struct.unpack("<q", b[at:at + 8])[0] != s.n: raise Refused("storage %.40s has two numbers of entries" % key)
        s.bytes_of = lambda at=at + 8, size=size: b[at:at + size]
        at += 8 + size
    if at != len(b): raise Refused("something else stands behind its storages")


def legacy(b, want=object):
    """bytes or a map of a file"""
    at, values, storages = 0, [], {}

    def storage(pid):
        kind, key, n, rest = words(pid)
        return views(once(storages, key, kind, n), rest)
    for i in range(5):
        value, at = Tensors(Part(b, at), storage if i == 3 else None).first()
        values.append(value)
        if i == 0 and value != MAGIC: raise Refused("it is no checkpoint of torch.save")
    if values[1] != PROTOCOL: raise Refused("it is of another protocol of torch.save, %.20r" % (values[1],))
    little(values[2])
    fill(b, at, values[4], storages)
    if not isinstance(values[3], want): raise Refused("bytes that should be a storage are none")
    return values[3]


class Part:
    """what follows a place, to be read; no more is taken than is there"""

    def __init__(self, b, at): self.b, self.at = b, at

    def read(self, n):
        part = self.b[self.at:self.at + max(n, 0)]
        self.at += len(part)
        return part

    def readline(self):
        end = self.b.find(b"\n", self.at) + 1 or len(self.b)
        return self.read(end - self.at)

    def tell(self): return self.at


def pickled(path):
    with open(path, "rb") as f: b = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    value, end = Tensors(Part(b, 0)).first()
    if type(value) is int and value == MAGIC: return legacy(b)
    if end != len(b): raise Refused("something else stands behind it")
    return value
