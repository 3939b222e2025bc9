"""NCSN++, DDPM++ and DDPM of score_sde: their modules in order, and the same tensors under the names of flax and of EDM.

    all_modules.N.LEAF     score_sde_pytorch, and probflow: N counts modules in the order in which they are registered
    KIND_K/LEAF            score_sde and score_flow: K counts the modules of a kind; kernels are HWIO and [in, out]
    enc.RES_*, dec.RES_*   SongUNet of EDM: blocks with their attention inside, whose q, k, v are one 1x1 convolution

Options are those of `probflow import`: nf, ch_mult, blocks, attn, size, ch, fir, embedding, resblock, progressive_input,
progressive.  Source  Song et al. 2021 and its published code; Karras et al. 2022 and its.  Test  tests/table/rows/published.py"""
import numpy as np
from published.pickles import Refused

DEFAULTS = {"nf": 128, "ch_mult": [1, 2, 2, 2], "blocks": 4, "attn": [16], "ch": 3, "fir": False, "embedding": "positional", "resblock": "biggan",
            "progressive_input": "none", "progressive": "none"}


def conv(name, cin, cout, k=3): return [(name + "weight", (cout, cin, k, k)), (name + "bias", (cout,))]
def linear(name, cin, cout): return [(name + "weight", (cout, cin)), (name + "bias", (cout,))]
def norm(name, c): return [(name + "weight", (c,)), (name + "bias", (c,))]
def nin(name, cin, cout): return [(name + "W", (cin, cout)), (name + "b", (cout,))]


class Layout(list):
    """(kind, tensors, what it is to EDM): a module; tensors are (leaf, shape) in the order of registration"""

    def __init__(self, options):
        list.__init__(self)
        self.o = dict(DEFAULTS, **{k: v for k, v in options.items() if k in DEFAULTS or k == "size"})
        for k in "size", "nf", "blocks", "ch":
            if type(self.o.get(k)) is not int or not 0 < self.o[k] <= 65536: raise Refused("the network's description lacks '%s', or has no number there" % k)
        for k in "ch_mult", "attn":
            v = self.o[k]
            if not isinstance(v, (list, tuple)) or not all(type(n) is int and 0 < n <= 65536 for n in v) or len(v) > 16 or (k == "ch_mult" and not v):
                raise Refused("the network's %s is no list of numbers" % k)
        if self.o["blocks"] * len(self.o["ch_mult"]) > 4096: raise Refused("the network's blocks are more than a file holds")
        self.e, self.ddpm = 4 * self.o["nf"], self.o["resblock"] == "ddpm"
        self.old = self.ddpm and not options.get("skip_rescale", True)  # the network of DDPM itself
        self.build()

    def put(self, kind, tensors=(), edm=None): self.append((kind, list(tensors), edm))

    def block(self, cin, cout, edm, resized=False):
        shortcut = [] if cin == cout and not resized else nin("NIN_0.", cin, cout) if self.ddpm else conv("Conv_2.", cin, cout, 1)
        first, second, time = norm("GroupNorm_0.", cin), norm("GroupNorm_1.", cout), linear("Dense_0.", self.e, cout)
        in_, out = conv("Conv_0.", cin, cout), conv("Conv_1.", cout, cout)
        if self.old: self.put("ResnetBlockDDPM", first + second + in_ + out + time + shortcut, edm)
        else: self.put("ResnetBlockDDPMpp" if self.ddpm else "ResnetBlockBigGANpp", first + in_ + time + second + out + shortcut, edm)

    def attention(self, c, edm):
        self.put("AttnBlock" if self.old else "AttnBlockpp", norm("GroupNorm_0.", c) + sum((nin("NIN_%d." % i, c, c) for i in range(4)), []), edm)

    def listed(self, width, c, edm):
        if width in self.o["attn"]: self.attention(c, edm)

    def resized(self, kind, c, edm):
        if not self.ddpm: self.block(c, c, edm, True)
        else: self.put(kind, conv("Conv2d_0." if self.o["fir"] else "Conv_0.", c, c))

    def pyramid(self, kind, cin, cout): self.put(kind, conv("Conv2d_0." if self.o["fir"] else "Conv_0.", cin, cout))

    def head(self, c, cout, edm):
        self.put("GroupNorm", norm("", c), edm + "_norm")
        self.put("Conv", conv("", c, cout), edm + "_conv")

    def down(self):
        o = self.o
        c, seen, skips = o["nf"], o["ch"], [o["nf"]]
        self.put("Conv", conv("", o["ch"], c), "enc.%dx%d_conv" % (o["size"], o["size"]))
        for level, times in enumerate(o["ch_mult"]):
            width = o["size"] >> level
            for i in range(o["blocks"]):
                name = "enc.%dx%d_block%d" % (width, width, i)
                self.block(c, o["nf"] * times, name)
                c = o["nf"] * times
                self.listed(width, c, name)
                skips.append(c)
            if level + 1 == len(o["ch_mult"]): break
            name = "enc.%dx%d_" % (width // 2, width // 2)
            self.resized("Downsample", c, name + "down")
            if o["progressive_input"] == "input_skip":
                self.put("Downsample")
                self.put("Combine", conv("Conv.", seen, c, 1), name + "aux_skip")
            elif o["progressive_input"] == "residual":
                self.put("Downsample", conv("Conv2d_0." if o["fir"] else "Conv_0.", seen, c), name + "aux_residual")
                seen = c
            skips.append(c)
        return c, skips

    def up(self, c, skips):
        o = self.o
        before = 0
        for level in reversed(range(len(o["ch_mult"]))):
            width, cout = o["size"] >> level, o["nf"] * o["ch_mult"][level]
            name = "dec.%dx%d_" % (width, width)
            for i in range(o["blocks"] + 1):
                self.block(c + skips.pop(), cout, name + "block%d" % i)
                c = cout
            self.listed(width, c, name + "block%d" % o["blocks"])
            if o["progressive"] == "output_skip":
                if before: self.put("Upsample")
                self.head(c, o["ch"], name + "aux")
            elif o["progressive"] == "residual":
                if before: self.pyramid("Upsample", before, c)
                else: self.head(c, c, name + "aux")
            before = c
            if level: self.resized("Upsample", c, "dec.%dx%d_up" % (2 * width, 2 * width))
        return c

    def build(self):
        o = self.o
        if o["embedding"] == "fourier": self.put("GaussianFourierProjection", [("W", (o["nf"],))], "map_noise")
        self.put("Dense", linear("", o["nf"] * (2 if o["embedding"] == "fourier" else 1), self.e), "map_layer0")
        self.put("Dense", linear("", self.e, self.e), "map_layer1")
        c, skips = self.down()
        name = "dec.%dx%d_in" % ((o["size"] >> len(o["ch_mult"]) - 1,) * 2)
        self.block(c, c, name + "0")
        self.attention(c, name + "0")
        self.block(c, c, name + "1")
        c = self.up(c, skips)
        if o["progressive"] != "output_skip": self.head(c, o["ch"], "dec.%dx%d_aux" % (o["size"], o["size"]))

    def names(self, trained=True):
        """(name, shape) of all tensors, or of those that are trained"""
        return [("all_modules.%d.%s" % (i, leaf), shape) for i, (kind, tensors, _) in enumerate(self) for leaf, shape in tensors
                if not trained or kind != "GaussianFourierProjection"]


# ---- what shapes tell ----
def modules_of(shapes):
    """leaves and shapes of each module by its number; none where names are others"""
    found = {}
    for name, shape in shapes.items():
        parts = name.split(".", 2)
        if len(parts) < 3 or parts[0] != "all_modules" or not parts[1].isdigit() or len(parts[1]) > 4: return []
        found.setdefault(int(parts[1]), {})[parts[2]] = tuple(shape)
    return [found.get(i, {}) for i in range(max(found) + 1)] if found else []


def walked(m, at, nf, blocks, levels, between):
    """multipliers of the levels, and which of them have attention; None where modules are others"""
    mult, listed = [], []
    for level in range(levels):
        for _ in range(blocks):
            cout = m[at].get("Conv_0.weight", (0,))[0] if at < len(m) and "GroupNorm_1.weight" in m[at] else 0
            if not cout or cout % nf: return None
            at += 1
            attends = at < len(m) and "NIN_3.W" in m[at]
            at += attends
        mult.append(cout // nf)
        if attends: listed.append(level)
        at += between
    return mult, listed


def derived(shapes, size):
    """the options whose names and shapes these are, for images of this size; what changes no shape is left out"""
    m = modules_of(shapes)
    fourier = bool(m) and "W" in m[0]
    at = 3 if fourier else 2
    if len(m) <= at or len(m[at].get("weight", ())) != 4: return None
    nf, ch = m[at]["weight"][:2]
    leaves = {leaf for x in m for leaf in x}
    pyramid = "input_skip" if "Conv.weight" in leaves else "residual" if any(set(x) == {k + ".weight", k + ".bias"} and x[k + ".weight"][1] == ch != nf
                                                                             for x in m for k in ("Conv2d_0", "Conv_0")) else "none"
    o = {"nf": nf, "ch": ch, "size": size, "embedding": "fourier" if fourier else "positional", "progressive_input": pyramid,
         "progressive": "output_skip" if pyramid == "input_skip" else "none", "fir": "Conv2d_0.weight" in leaves or pyramid == "input_skip"}
    for resblock in "biggan", "ddpm":
        for levels in range(1, 12):
            for blocks in range(1, 17):
                found = walked(m, at + 1, nf, blocks, levels, {"none": 1, "residual": 2, "input_skip": 3}[pyramid])
                if not found or not size >> levels - 1: continue
                o.update(resblock=resblock, blocks=blocks, ch_mult=found[0], attn=[size >> level for level in found[1]])
                for rescale in (True, False) if resblock == "ddpm" else (True,):
                    if dict(Layout(dict(o, skip_rescale=rescale)).names(False)) == shapes: return dict(o, skip_rescale=rescale and resblock == "biggan")
    return None


# ---- flax ----
def flax_leaf(leaf, a):
    """our leaf, and the array as we lay it out, of theirs"""
    inner, _, last = leaf.rpartition("/")
    if last in ("kernel", "weight"): last, a = "weight", a.transpose(3, 2, 0, 1) if a.ndim == 4 else a.T
    elif last == "scale": last = "weight"
    return (inner + "." if inner else "") + last, a


def flat(tree, path=""):
    found = {}
    for k, v in tree.items():
        name = "%s/%s" % (path, k) if path else str(k)
        if isinstance(v, dict): found.update(flat(v, name))
        elif isinstance(v, np.ndarray): found[name] = v
        elif v is not None: raise Refused("leaf %.80s is no array" % name)
    return found


def of_flax(tree, options):
    """arrays of a network of flax by the names of score_sde_pytorch; modules that are left over keep their own"""
    numbers, counts, out = {}, {}, {}
    for i, (kind, _, _) in enumerate(Layout(options)):
        numbers["%s_%d" % (kind, counts.get(kind, 0))] = i
        counts[kind] = counts.get(kind, 0) + 1
    for name, a in flat(tree).items():
        module, _, leaf = name.partition("/")
        if module not in numbers:
            out[name.replace("/", ".")] = a
            continue
        leaf, a = flax_leaf(leaf.replace("Conv_0/", "Conv/") if module.startswith("Combine") else leaf, a)
        out["all_modules.%d.%s" % (numbers[module], leaf)] = a
    return out


# ---- EDM ----
BLOCK = {"GroupNorm_0.": "norm0.", "Conv_0.": "conv0.", "Dense_0.": "affine.", "GroupNorm_1.": "norm1.", "Conv_1.": "conv1.", "Conv_2.": "skip."}


def attention_of_edm(take, name):
    """channels of q, k, v lie next to each other: entry 3 c + j is channel c of the j-th"""
    w, b = take(name + ".qkv.weight"), take(name + ".qkv.bias")
    out = {"GroupNorm_0.weight": take(name + ".norm2.weight"), "GroupNorm_0.bias": take(name + ".norm2.bias")}
    for j in range(3): out["NIN_%d.W" % j], out["NIN_%d.b" % j] = w[j::3, :, 0, 0].T, b[j::3]
    out["NIN_3.W"], out["NIN_3.b"] = take(name + ".proj.weight")[:, :, 0, 0].T, take(name + ".proj.bias")
    return out


def of_edm(tensors, options):
    """arrays of SongUNet by the names of score_sde_pytorch; what is left over keeps its own name"""
    left, out = dict(tensors), {}

    def take(name):
        if name not in left: raise Refused("parameter %s is missing, which the network of these options needs" % name)
        return left.pop(name)
    for i, (kind, leaves, edm) in enumerate(Layout(options)):
        if kind == "AttnBlockpp": found = attention_of_edm(take, edm)
        elif kind == "GaussianFourierProjection": found = {"W": take(edm + ".freqs")}
        else:
            def theirs(leaf):
                inner, _, last = leaf.rpartition(".")
                return "%s.%s%s" % (edm, BLOCK.get(inner + ".", ""), last)
            found = {leaf: take(theirs(leaf)) for leaf, _ in leaves}
        out.update({"all_modules.%d.%s" % (i, leaf): a for leaf, a in found.items()})
    for name in list(left):
        if name.endswith("resample_filter") or name == "map_augment.weight": left.pop(name)
    out.update(left)
    return out
