"""An interpreter of the part of pickles that makes numbers, texts, containers and arrays of numbers.

A pickle is a program.  Nothing of it is run here: names of functions are looked up in a table of the few that make
arrays, and whatever else it names is refused in one sentence.  No size is believed beyond the file's.  scripts/unpickle
reads data with it; torchfile.py widens it to tensors.  Test  tests/table/rows/pickle.py, tests/table/rows/published.py"""
import codecs, pickletools, re
import numpy as np


class Refused(Exception):
    pass


class Global(str):
    """a name that is known, and nothing behind it"""


class Array:
    """an array before its state, or with it"""

    def __init__(self): self.value = None


class Kind:
    """numpy's dtype"""

    def __init__(self, code):
        if not isinstance(code, str) or not re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f[248]|[?bBhHiIlLqQefd])", code):
            raise Refused("it holds an array of %.40r, no numbers" % (code,))
        self.kind = np.dtype(code)


CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
KNOWN = ({(m, n) for m in CORES for n in ("_reconstruct", "scalar")} |
         {(m, "_frombuffer") for m in ("numpy.core.numeric", "numpy._core.numeric")} |
         {(m, n) for m in ("__builtin__", "builtins") for n in ("bytes", "bytearray")} |
         {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("collections", "OrderedDict")})


def text(b): return b.decode("latin-1") if isinstance(b, (bytes, bytearray)) else b


def shape_of(shape, kind, n):
    """of n bytes"""
    if isinstance(shape, int): shape = (shape,)
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(type(k) is int and 0 <= k < 2 ** 40 for k in shape):
        raise Refused("an array has no shape but %.60r" % (shape,))
    size = kind.itemsize
    for k in shape: size *= k
    if size != n: raise Refused("an array of the shape %s does not fit its %d bytes" % (shape, n))
    return shape


def array(kind, shape, fortran, raw):
    if not isinstance(kind, Kind): raise Refused("an array has no type")
    if isinstance(raw, str): raw = raw.encode("latin-1")
    if not isinstance(raw, (bytes, bytearray)): raise Refused("an array holds objects, no numbers")
    shape = shape_of(shape, kind.kind, len(raw))
    return np.frombuffer(raw, kind.kind).reshape(shape, order="F" if fortran else "C")


MARK = object()
PUSHED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}
LITERAL = """INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE
    BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8""".split()
BYTES = "STRING BINSTRING SHORT_BINSTRING".split()  # of Python 2: bytes


def quoted(f):
    """a text of protocol 0, of any bytes; pickletools reads ASCII alone"""
    line = f.readline()
    if len(line) < 3 or line[-1:] != b"\n" or line[:1] not in b"'\"" or line[-2:-1] != line[:1]: raise ValueError("no text between quotes")
    return codecs.escape_decode(line[1:-2])[0].decode("latin-1")


pickletools.stringnl.reader = quoted


class Machine:
    """A pickle's stack and memory.  What is made of numbers is this class's; a subclass may know more names."""
    known = KNOWN
    wanted = "array of numbers"  # for sentences: what a pickle should hold

    def __init__(self, b):
        self.b, self.stack, self.memo = b, [], {}

    # ---- what calls make ----
    def find(self, module, name):
        module, name = text(module), text(name)
        if not isinstance(module, str) or not isinstance(name, str): raise Refused("it asks for a name that is no text")
        if (module, name) not in self.known:
            raise Refused("it asks for %.80s, which is no %s and is not run" % (module + "." + name, self.wanted))
        return Global(name)

    def reduce(self, what, args):
        """the few calls that make arrays"""
        if not isinstance(what, Global) or not isinstance(args, tuple): raise Refused("it calls something that has no name")
        n = len(args)
        if what == "_reconstruct": return Array()
        if what == "dtype" and n >= 1: return Kind(text(args[0]))
        if what == "scalar" and n == 2: return array(args[0], (), False, args[1])[()]
        if what == "_frombuffer" and n == 4: return array(args[1], args[2], args[3] == "F", args[0])
        if what == "encode" and n == 2 and isinstance(args[0], str) and text(args[1]) in ("latin1", "latin-1"): return args[0].encode("latin-1")
        if what in ("bytes", "bytearray") and n == 0: return b""
        if what == "bytearray" and n == 1 and isinstance(args[0], bytes): return args[0]
        if what == "bytearray" and n == 2 and isinstance(args[0], str): return args[0].encode("latin-1")
        if what == "OrderedDict" and n == 0: return {}
        raise Refused("it calls %s in a way that makes no %s" % (what, self.wanted))

    def build(self, target, state):
        if isinstance(target, Array) and isinstance(state, tuple) and len(state) == 5:
            target.value = array(state[2], state[1], state[3], state[4])
        elif isinstance(target, Kind) and isinstance(state, tuple) and len(state) > 1:
            if any(x is not None for x in state[2:5]): raise Refused("it holds an array of records, no numbers")
            if text(state[1]) in ("<", ">"): target.kind = target.kind.newbyteorder(text(state[1]))
        else: raise Refused("it sets the state of something that is no array")

    def more(self, op, arg):
        """an opcode that arrays of numbers do not need"""
        raise Refused("it uses %s, which no %s needs" % (op, self.wanted))

    # ---- the stack ----

    def pop(self):
        if not self.stack or self.stack[-1] is MARK: raise Refused("its stack runs out")
        return self.stack.pop()

    def top(self):
        if not self.stack or self.stack[-1] is MARK: raise Refused("its stack runs out")
        return self.stack[-1]

    def marked(self):
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is MARK:
                items = self.stack[i + 1:]
                del self.stack[i:]
                return items
        raise Refused("its stack runs out")

    def put(self, d, items):
        if not isinstance(d, dict) or len(items) % 2: raise Refused("it fills something that is no dictionary")
        for k, v in zip(items[::2], items[1::2]):
            if not isinstance(k, (str, bytes, int)): raise Refused("a key of a dictionary is neither text nor number")
            d[k] = v

    def extend(self, items):
        if not isinstance(self.top(), list): raise Refused("it appends to something that is no list")
        self.top().extend(items)

    def step(self, op, arg):
        s = self.stack
        if op in LITERAL: s.append(arg)
        elif op in BYTES: s.append(arg.encode("latin-1"))
        elif op in PUSHED: s.append(PUSHED[op])
        elif op in EMPTY: s.append(EMPTY[op]())
        elif op == "MARK": s.append(MARK)
        elif op in ("PUT", "BINPUT", "LONG_BINPUT"): self.memo[arg] = self.top()
        elif op == "MEMOIZE": self.memo[len(self.memo)] = self.top()
        elif op in ("GET", "BINGET", "LONG_BINGET"):
            if arg not in self.memo: raise Refused("it takes number %d from its memory, where nothing is" % arg)
            s.append(self.memo[arg])
        elif op == "POP": self.pop()
        elif op == "POP_MARK": self.marked()
        elif op == "DUP": s.append(self.top())
        elif op == "TUPLE": s.append(tuple(self.marked()))
        elif op in ("TUPLE1", "TUPLE2", "TUPLE3"): s.append(tuple([self.pop() for _ in range(int(op[-1]))][::-1]))
        elif op == "LIST": s.append(self.marked())
        elif op == "DICT":
            items = self.marked()
            s.append({})
            self.put(s[-1], items)
        elif op == "APPEND": self.extend([self.pop()])
        elif op == "APPENDS": self.extend(self.marked())
        elif op == "SETITEM":
            value, key = self.pop(), self.pop()
            self.put(self.top(), [key, value])
        elif op == "SETITEMS":
            items = self.marked()
            self.put(self.top(), items)
        elif op == "GLOBAL": s.append(self.find(*arg.split(" ", 1)))
        elif op == "STACK_GLOBAL":
            name, module = self.pop(), self.pop()
            s.append(self.find(module, name))
        elif op == "REDUCE":
            args, what = self.pop(), self.pop()
            s.append(self.reduce(what, args))
        elif op == "BUILD":
            state = self.pop()
            self.build(self.top(), state)
        elif op not in ("PROTO", "FRAME", "STOP"): self.more(op, arg)

    def first(self):
        """the value of the first pickle of the bytes, and where it ends"""
        end = 0
        try:
            for op, arg, at in pickletools.genops(self.b):
                self.step(op.name, arg)
                end = at
        except Refused: raise
        except Exception as e: raise Refused("it is damaged, or no pickle (%.100s)" % e)
        value = self.pop()
        if self.stack: raise Refused("it leaves more than one value")
        return value, end + 1

    def run(self):
        value, end = self.first()
        if end != len(self.b): raise Refused("something else stands behind it")
        return value
