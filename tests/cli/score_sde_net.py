"""The networks of score_sde in float64, from their formulas: DDPM, DDPM++ and NCSN++ with every pyramid.

    score_sde_net OPTIONS.json FILE.h5 CHECKPOINT.pth
writes a checkpoint of random weights, and x [B,H,W,C], t [B] and what the network gives there.  OPTIONS have, beside
net, the SDE, or the method ncsn.  Images are NCHW inside.  Written after the papers (Ho et al. 2020; Song et al. 2021,
appendix H); the order of modules and names of parameters are read from scripts/published/networks.py."""
import collections, json, math, os, sys

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
sys.path[:0] = [os.path.join(root, "tests/table"), os.path.join(root, "scripts")]
sys.dont_write_bytecode = True
import h5py
import numpy as np
import foreign_files as foreign
from published.networks import Layout

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0


def silu(x): return x / (1 + np.exp(-x))


def conv(x, w, b, stride=1, pads=None):
    k = w.shape[-1]
    lo, hi = pads or ((k - 1) // 2,) * 2
    x = np.pad(x, ((0, 0), (0, 0), (lo, hi), (lo, hi)))
    h, v = (x.shape[2] - k) // stride + 1, (x.shape[3] - k) // stride + 1
    out = np.zeros((x.shape[0], w.shape[0], h, v))
    for i in range(k):
        for j in range(k):
            out += np.einsum("bchw,oc->bohw", x[:, :, i:i + h * stride:stride, j:j + v * stride:stride], w[:, :, i, j])
    return out + b[None, :, None, None]


def filtered(x, up, down, lo, hi, gain):
    """zeros between pixels, pads, the filter, every down-th"""
    B, C, H, W = x.shape
    wide = np.zeros((B, C, H * up, W * up))
    wide[:, :, ::up, ::up] = x
    w = (gain * FILTER)[None, None].repeat(1, 0)
    flat = wide.reshape(B * C, 1, H * up, W * up)
    out = conv(flat, w, np.zeros(1), down, (lo, hi))
    return out.reshape(B, C, out.shape[2], out.shape[3])


class Net:
    def __init__(self, o, w):
        self.o, self.w, self.i, self.r = o, w, 0, math.sqrt(0.5) if o["skip_rescale"] else 1.0

    def p(self, leaf): return self.w["all_modules.%d.%s" % (self.i, leaf)]
    def has(self, leaf): return "all_modules.%d.%s" % (self.i, leaf) in self.w

    def norm(self, x, leaf):
        c = x.shape[1]
        g = x.reshape(len(x), self.o.get("groups") or min(c // 4, 32), -1)
        g = (g - g.mean(2, keepdims=True)) / np.sqrt(g.var(2, keepdims=True) + 1e-6)
        return g.reshape(x.shape) * self.p(leaf + "weight")[None, :, None, None] + self.p(leaf + "bias")[None, :, None, None]

    def nin(self, x, leaf): return np.einsum("bchw,co->bohw", x, self.p(leaf + "W")) + self.p(leaf + "b")[None, :, None, None]
    def conv(self, x, leaf, *how): return conv(x, self.p(leaf + "weight"), self.p(leaf + "bias"), *how)
    def linear(self, x, leaf): return x @ self.p(leaf + "weight").T + self.p(leaf + "bias")

    def up(self, x): return filtered(x, 2, 1, 2, 1, 4) if self.o["fir"] else x.repeat(2, 2).repeat(2, 3)
    def down(self, x):
        if self.o["fir"]: return filtered(x, 1, 2, 1, 1, 1)
        return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4

    def block(self, x, resize=None):
        h = silu(self.norm(x, "GroupNorm_0."))
        if resize: h, x = resize(h), resize(x)
        h = self.conv(h, "Conv_0.") + self.linear(silu(self.e), "Dense_0.")[:, :, None, None]
        h = self.conv(silu(self.norm(h, "GroupNorm_1.")), "Conv_1.")
        if self.has("Conv_2.weight"): x = self.conv(x, "Conv_2.")
        if self.has("NIN_0.W"): x = self.nin(x, "NIN_0.")
        self.i += 1
        return self.r * (x + h)

    def attention(self, x):
        B, C, H, W = x.shape
        h = self.norm(x, "GroupNorm_0.")
        q, k, v = (self.nin(h, "NIN_%d." % j).reshape(B, C, H * W) for j in range(3))
        a = np.einsum("bci,bcj->bij", q, k) / math.sqrt(C)
        a = np.exp(a - a.max(2, keepdims=True))
        h = np.einsum("bij,bcj->bci", a / a.sum(2, keepdims=True), v).reshape(x.shape)
        h = self.nin(h, "NIN_3.")
        self.i += 1
        return self.r * (x + h)

    def at(self, x): return self.attention(x) if x.shape[3] in self.o["attn"] else x

    def strided(self, x):
        """a convolution of stride 2, filtered before or not"""
        if self.o["fir"]: x = self.conv(filtered(x, 1, 1, 2, 2, 1), "Conv2d_0.", 2, (0, 0))
        else: x = self.conv(x, "Conv_0.", 2, (0, 1))
        self.i += 1
        return x

    def resized(self, x, way):
        if self.o.get("resblock") != "ddpm": return self.block(x, self.up if way == "up" else self.down)
        if way == "down": return self.strided(x)
        x = self.conv(x.repeat(2, 2).repeat(2, 3), "Conv_0.")
        self.i += 1
        return x

    def head(self, x):
        h = silu(self.norm(x, ""))
        self.i += 1
        h = self.conv(h, "")
        self.i += 1
        return h

    def embed(self, cond):
        if self.o["embedding"] == "fourier":
            a = 2 * math.pi * np.log(self.o.get("unit", 1) * cond)[:, None] * self.p("W")[None]
            self.i += 1
        else: a = cond[:, None] * np.exp(-math.log(10000) * np.arange(self.o["nf"] // 2) / (self.o["nf"] // 2 - 1))[None]
        e = self.linear(np.concatenate([np.sin(a), np.cos(a)], 1), "")
        self.i += 1
        self.e = self.linear(silu(e), "")
        self.i += 1

    def __call__(self, x, cond, sigma):
        o, n = self.o, len(self.o["ch_mult"])
        self.embed(cond)
        if not o["centered"]: x = 2 * x - 1
        p, h = x, self.conv(x, "")
        self.i += 1
        skips = [h]
        for level in range(n):
            for _ in range(o["blocks"]):
                h = self.at(self.block(h))
                skips.append(h)
            if level + 1 == n: break
            h = self.resized(h, "down")
            if o["progressive_input"] == "residual": p = h = self.r * (self.strided(p) + h)
            elif o["progressive_input"] == "input_skip":
                p = self.down(p)
                self.i += 1
                h = self.conv(p, "Conv.") + h
                self.i += 1
            skips.append(h)
        h = self.block(self.attention(self.block(h)))
        image = None
        for level in reversed(range(n)):
            for _ in range(o["blocks"] + 1): h = self.block(np.concatenate([h, skips.pop()], 1))
            h = self.at(h)
            if o.get("progressive") == "output_skip":
                if image is None: image = self.head(h)
                else:
                    image = self.up(image)
                    self.i += 1
                    image = image + self.head(h)
            if level: h = self.resized(h, "up")
        if image is None: image = self.head(h)
        return image / sigma[:, None, None, None] if o["scale_by_sigma"] else image


def told(d, t):
    """what the network is told, and the noise it is divided by"""
    if d.get("sde") == "ve":
        sigma = d["sigma_min"] * (d["sigma_max"] / d["sigma_min"]) ** t
        return sigma, sigma
    if d.get("method") == "ncsn":  # t falls on levels
        level = (1 - t) * (d["levels"] - 1)
        return level, d["sigma_end"] * (d["sigma_begin"] / d["sigma_end"]) ** t
    return 999 * t, np.ones_like(t)


def main(options, out, checkpoint):
    d = json.load(open(options))
    o, r = d["net"], np.random.RandomState(7)
    w = collections.OrderedDict()
    for n, shape in Layout(o).names(False):
        fan = np.prod(shape[1:]) if len(shape) > 1 else 1
        a = r.standard_normal(shape) / math.sqrt(fan) if len(shape) > 1 else 0.3 * r.standard_normal(shape)
        w[n] = (a + (1 if len(shape) == 1 and n.endswith("weight") else 0)).astype("f4")
    B, t = 3, np.array([1e-3, 0.4, 1.0])
    if d.get("method") == "ncsn": t = np.array([1.0, 3.0, d["levels"] - 1.0]) / (d["levels"] - 1)
    x = r.standard_normal((B, o["ch"], o["size"], o["size"]))
    net = Net(o, {n: a.astype("f8") for n, a in w.items()})
    y = net(x, *told(d, t))
    assert net.i == len(Layout(o)), "modules are left"
    with h5py.File(out, "w") as f: f["x"], f["t"], f["net"] = x.transpose(0, 2, 3, 1), t, y.transpose(0, 2, 3, 1)
    state = {"model": collections.OrderedDict(("module." + n, foreign.T(a * 0 + 1)) for n, a in w.items()), "step": 1, "ema": {
        "decay": 0.999, "num_updates": 1, "shadow_params": [foreign.T(a) for n, a in w.items() if n != "all_modules.0.W"]}}
    if "all_modules.0.W" in w: state["model"]["module.all_modules.0.W"] = foreign.T(w["all_modules.0.W"])
    with open(checkpoint, "wb") as f: f.write(foreign.zipped(state))


if __name__ == "__main__": main(*sys.argv[1:])
