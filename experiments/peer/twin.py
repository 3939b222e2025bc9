"""The network of model `ddpmpp` in PyTorch: the same function with the same parameter names, to measure
its speed against.

    twin = Twin(options, shape)          options: the `model` section of a configuration
    twin, config = load(checkpoint)      the averaged parameters of a checkpoint, through h5py; of model `lstm`
                                         the network of recurrent.py
    net = twin(x, cond, sigma, mean)     x [B,C,H,W] float32; cond [B] as the SDE gives it; sigma [B]
                                         noise over mean of x, used with input_fourier and levels; mean [B]
                                         that mean factor, used with levels

Written for the speed of eager PyTorch, as a user who cares would: linear maps of pixels are 1x1 convolutions, FIR
filters are depthwise convolutions, sums are made in place where no backward pass needs the addend, and any
memory format of x is kept.  `Twin.steps` is the list of what forward does, made once; see src/model/ddpmpp.c for
the picture.  Sources: as there.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

KEEP, UP, DOWN = "keep", "up", "down"
# What a step of the network does with h, the skips and the pyramid.
PLAIN, EMBEDDED, PUSH, POP, PYRAMID = range(5)


class GroupNorm(nn.GroupNorm):
    """In float32 also where a mixed-precision pass hands it bfloat16, as ours is."""

    def forward(self, x):
        return super().forward(x.float())


def group_norm(channels):
    return GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


def with_waves(x, sigma, octaves):
    """x beside sin and cos of 2^n pi x, each as faint as noise of deviation sigma makes it."""
    parts = [x]
    for n in octaves:
        turns = 2.0 ** (n - 1) * x  # exact, as is leaving whole turns out: large angles lose digits in float32
        angle = 2.0 * math.pi * (turns - turns.detach().round())
        fade = torch.exp(-0.5 * (math.pi * 2.0 ** n * sigma) ** 2)[:, None, None, None]
        parts += [fade * torch.sin(angle), fade * torch.cos(angle)]
    return torch.cat(parts, 1) if octaves else x


class Levels(nn.Module):
    """The noise expected in x by the frequencies of the levels alone; see pf_levels in include/probflow/graph.h.

    Of the levels those within reach of x are summed, as ours does."""

    REACH = 7.0

    def __init__(self, channels, n):
        super().__init__()
        self.n, self.weight = n, nn.Parameter(torch.full((channels, n), 1.0 / n), requires_grad=False)

    def near(self, u, reach):
        """Numbers [...,K] of the bins around u that lie within reach, and their weights; 0 where there is none."""
        n = self.n
        half = int(math.ceil(float(reach) * n / 2.0)) + 1
        if 2 * half + 1 >= n:
            k = torch.arange(n).expand(*u.shape, n)
        else:
            k = ((u.detach() + 1.0) * (n / 2.0)).floor().clamp(0, n - 1).long()[..., None] + torch.arange(-half, half + 1)
        channel = torch.arange(u.shape[1]).view(1, -1, 1, 1, 1)
        return k, self.weight[channel, k.clamp(0, n - 1)] * ((k >= 0) & (k < n))

    def bins(self, u, v):
        """In double: masses of bins are differences of nearly equal numbers."""
        k, w = self.near(u, self.REACH * v.max())
        v = v.double().view(-1, 1, 1, 1, 1)
        edges, u = torch.cat((k, k[..., -1:] + 1), -1) * (2.0 / self.n) - 1.0, u.double()[..., None]
        z = (u - edges) / v
        # over the density at the nearest point of [-1,1], so that nothing vanishes far outside; edges beyond it have no weight
        f = torch.exp((0.5 * ((u - u.clamp(-1.0, 1.0)) / v).square() - 0.5 * z * z).clamp(max=0.0))
        tail = 0.5 * torch.special.erfcx(z.abs() * 0.5 ** 0.5) * f
        below, left = torch.where(z < 0, tail, -tail), z >= 0
        mass = below[..., :-1] - below[..., 1:] + (left[..., :-1] & ~left[..., 1:])
        slope = (f[..., :-1] - f[..., 1:]) * (2.0 * math.pi) ** -0.5
        return -((w * slope).sum(-1) / (w * mass).sum(-1)).float()

    def narrow(self, u, v):
        s = torch.sqrt(v * v + (2.0 / self.n) ** 2 / 12.0)
        k, w = self.near(u, self.REACH * s.max())
        end, s = 1.0 - 1.0 / self.n, s.view(-1, 1, 1, 1)
        nearest = u.clamp(-end, end)
        far, a = (u - nearest) / s, (nearest[..., None] - ((k + 0.5) * (2.0 / self.n) - 1.0)) / s[..., None]
        weight = (w.log() - 0.5 * a * (a + 2.0 * far[..., None])).softmax(-1)
        return v.view(-1, 1, 1, 1) / s * (far + (weight * a).sum(-1))

    def forward(self, x, v, m):
        u, fine = x / m.view(-1, 1, 1, 1), v * self.n < 8.0
        if bool(fine.all()) or not bool(fine.any()):
            return (self.bins if bool(fine[0]) else self.narrow)(u, v)
        y = torch.empty_like(u)
        y[fine], y[~fine] = self.bins(u[fine], v[fine]), self.narrow(u[~fine], v[~fine])
        return y


def fir_taps(channels, gain, like):
    row = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=like.dtype) / 8.0
    return (gain * torch.outer(row, row)).expand(channels, 1, 4, 4)


def resample(x, how, fir):
    channels = x.shape[1]
    if how == KEEP:
        return x
    if not fir:
        return F.interpolate(x, scale_factor=2, mode="nearest") if how == UP else F.avg_pool2d(x, 2)
    if how == UP:  # zeros between the pixels, then the filter with 4 times its weight
        return F.conv_transpose2d(x, fir_taps(channels, 4.0, x), stride=2, padding=1, groups=channels)
    return F.conv2d(x, fir_taps(channels, 1.0, x), stride=2, padding=1, groups=channels)


class Fourier(nn.Module):
    """Fixed random frequencies of log cond; angles reach thousands of radians, so they are formed in double."""

    def __init__(self, n):
        super().__init__()
        self.W = nn.Parameter(torch.randn(n), requires_grad=False)

    def forward(self, cond):
        angle = 2.0 * math.pi * cond.double().log()[:, None] * self.W.double()
        return torch.cat((angle.sin(), angle.cos()), 1).float()


class Positional(nn.Module):
    """No parameters and, in the published numbering, no module number."""

    def __init__(self, n):
        super().__init__()
        half = n // 2
        self.rate = torch.exp(-math.log(10000.0) / (half - 1) * torch.arange(half, dtype=torch.float64))

    def forward(self, cond):
        angle = cond.double()[:, None] * self.rate
        return torch.cat((angle.sin(), angle.cos()), 1).float()


class Pixelwise(nn.Module):
    """A linear map of the channels, stored [in, out]."""

    def __init__(self, cin, cout):
        super().__init__()
        self.W = nn.Parameter(torch.empty(cin, cout))
        self.b = nn.Parameter(torch.empty(cout))

    def forward(self, x):
        return F.conv2d(x, self.W.t()[:, :, None, None], self.b)


class Attention(nn.Module):
    def __init__(self, channels, rescale):
        super().__init__()
        self.GroupNorm_0 = group_norm(channels)
        for i in range(4):
            self.add_module("NIN_%d" % i, Pixelwise(channels, channels))
        self.rescale = rescale

    def forward(self, x):
        n = self.GroupNorm_0(x)
        q, k, v = (m(n).flatten(2) for m in (self.NIN_0, self.NIN_1, self.NIN_2))
        weight = torch.bmm(q.transpose(1, 2) * q.shape[1] ** -0.5, k).softmax(-1)
        mixed = torch.bmm(v, weight.transpose(1, 2)).view(x.shape)
        return self.NIN_3(mixed).add_(x).mul_(self.rescale)


class Block(nn.Module):
    def __init__(self, cin, cout, embed, o, how=KEEP):
        super().__init__()
        self.GroupNorm_0 = group_norm(cin)
        self.Conv_0 = nn.Conv2d(cin, cout, 3, padding=1)
        self.Dense_0 = nn.Linear(embed, cout)
        self.GroupNorm_1 = group_norm(cout)
        self.Conv_1 = nn.Conv2d(cout, cout, 3, padding=1)
        if how != KEEP or cin != cout:
            self.Conv_2 = nn.Conv2d(cin, cout, 1)
        self.how, self.fir, self.dropout = how, o["fir"], o["dropout"]
        self.rescale = math.sqrt(0.5) if o["skip_rescale"] else 1.0

    def forward(self, x, e):
        h = resample(F.silu(self.GroupNorm_0(x)), self.how, self.fir)
        x = resample(x, self.how, self.fir)
        h = self.Conv_0(h).add_(self.Dense_0(e)[:, :, None, None])
        h = F.silu(self.GroupNorm_1(h))
        if self.training and self.dropout > 0:
            h = F.dropout(h, self.dropout)
        short = self.Conv_2(x) if hasattr(self, "Conv_2") else x
        return self.Conv_1(h).add_(short).mul_(self.rescale)


class StridedConv(nn.Module):
    """Behind the filter of the pyramid; a name of its own in published checkpoints."""

    def __init__(self, cin, cout):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(cout, cin, 3, 3))
        self.bias = nn.Parameter(torch.empty(cout))

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, stride=2)


class Pyramid(nn.Module):
    """The input, a level further down; joins h and replaces it."""

    def __init__(self, cin, cout, o):
        super().__init__()
        if o["fir"]:
            self.Conv2d_0 = StridedConv(cin, cout)
        else:
            self.Conv_0 = nn.Conv2d(cin, cout, 3, stride=2)
        self.rescale = math.sqrt(0.5) if o["skip_rescale"] else 1.0

    def forward(self, p, h):
        if hasattr(self, "Conv_0"):
            p = self.Conv_0(F.pad(p, (0, 1, 0, 1)))
        else:
            p = self.Conv2d_0(F.conv2d(p, fir_taps(p.shape[1], 1.0, p), padding=2, groups=p.shape[1]))
        return p.add_(h).mul_(self.rescale)


class Twin(nn.Module):
    def __init__(self, options, shape):
        super().__init__()
        self.o, self.steps, self.all_modules = options, [], nn.ModuleList()
        self.embed_steps = []
        self.channels, self.size = shape[2], shape[1]
        if options["levels"]:
            self.levels = Levels(self.channels, options["levels"])
        self._embedding()
        c = self._up(self._middle(self._down()))
        self._step(PLAIN, self._add(group_norm(c)))
        self._step(PLAIN, nn.SiLU())
        self._step(PLAIN, self._add(nn.Conv2d(c, self.channels, 3, padding=1)))

    def _add(self, module):
        self.all_modules.append(module)
        return module

    def _step(self, kind, module=None):
        # not assigned as attributes, so that a parameter has one name
        self.steps.append((kind, module))

    def _embedding(self):
        w = self.o["width"]
        fourier = self.o["embedding"] == "fourier"
        first = self._add(Fourier(w)) if fourier else Positional(w)
        dense = self._add(nn.Linear(2 * w if fourier else w, 4 * w))
        self.embed_steps = [first, dense, nn.SiLU(), self._add(nn.Linear(4 * w, 4 * w)), nn.SiLU()]

    def _block(self, cin, cout, how=KEEP):
        self._step(EMBEDDED, self._add(Block(cin, cout, 4 * self.o["width"], self.o, how)))
        return cout

    def _attention(self, c):
        self._step(PLAIN, self._add(Attention(c, math.sqrt(0.5) if self.o["skip_rescale"] else 1.0)))

    def _down(self):
        o, w, size, pyramid = self.o, self.o["width"], self.size, self.channels
        seen = self.channels * (1 + 2 * len(o["input_fourier"]) + (o["levels"] > 0))
        self._step(PLAIN, self._add(nn.Conv2d(seen, w, 3, padding=1)))
        self._step(PUSH)
        self.skips, c = [w], w
        for level, m in enumerate(o["multipliers"]):
            for _ in range(o["blocks"]):
                c = self._block(c, w * m)
                if size in o["attention"]:
                    self._attention(c)
                self._step(PUSH)
                self.skips.append(c)
            if level + 1 < len(o["multipliers"]):
                self._block(c, c, DOWN)
                size //= 2
                if o["progressive_input"] == "residual":
                    self._step(PYRAMID, self._add(Pyramid(pyramid, c, o)))
                    pyramid = c
                self._step(PUSH)
                self.skips.append(c)
        return c

    def _middle(self, c):
        self._block(c, c)
        self._attention(c)
        return self._block(c, c)

    def _up(self, c):
        o = self.o
        for level in reversed(range(len(o["multipliers"]))):
            for _ in range(o["blocks"] + 1):
                self._step(POP)
                c = self._block(c + self.skips.pop(), o["width"] * o["multipliers"][level])
            if self.size >> level in o["attention"]:
                self._attention(c)
            if level > 0:
                self._block(c, c, UP)
        return c

    def forward(self, x, cond, sigma=None, mean=None):
        e = cond
        for m in self.embed_steps:
            e = m(e)
        p = x if self.o["centered"] else 2.0 * x - 1.0
        h, skips = with_waves(p, sigma, self.o["input_fourier"]), []
        if self.o["levels"]:
            known = self.levels(x, sigma, mean)
            h = torch.cat((h, known), 1)
        for kind, m in self.steps:
            if kind == PLAIN:
                h = m(h)
            elif kind == EMBEDDED:
                h = m(h, e)
            elif kind == PUSH:
                skips.append(h)
            elif kind == POP:
                h = torch.cat((h, skips.pop()), 1)
            else:
                h = p = m(p, h)
        if self.o["levels"]:  # divided by sigma the network is the score, else the noise
            h = h - known if self.o["scale_by_sigma"] else h + known
        return h / cond[:, None, None, None] if self.o["scale_by_sigma"] else h


# Options of src/model/ddpmpp.c: a new one must be written above before this twin is the same network.
KNOWN = {"width", "multipliers", "blocks", "attention", "dropout", "fir", "skip_rescale", "init_scale", "embedding",
         "fourier_scale", "progressive_input", "input_fourier", "levels", "centered", "scale_by_sigma"}
# Those that the networks of the comparison leave at their defaults, and only so.
LEFT = {"label": False, "condition": False, "grid": "dequantised", "progressive": "none", "resblock": "biggan", "divisor": "cond",
        "unit": 1.0, "groups": 0}


def numbers(v):
    """A list option as YAML reads it: [1,2], one number, or nothing."""
    return [] if v in (None, "") else list(v) if isinstance(v, (list, tuple)) else [v]


def model_options(config):
    o = dict({"levels": 0}, **config["model"])
    if o.pop("name") != "ddpmpp":
        raise ValueError("the twin is of model ddpmpp")
    for name, default in LEFT.items():
        if o.pop(name, default) != default:
            raise ValueError("the twin has no model.%s" % name)
    if set(o) - KNOWN:
        raise ValueError("the twin does not know model.%s" % sorted(set(o) - KNOWN)[0])
    for name in ("multipliers", "attention", "input_fourier"):
        o[name] = numbers(o.get(name))
    return o


def typed(v):
    """YAML 1.1 takes 1e-05 for text."""
    if isinstance(v, dict):
        return {k: typed(w) for k, w in v.items()}
    try:
        return float(v) if isinstance(v, str) else v
    except ValueError:
        return v


def configuration(path):
    """Of a checkpoint, as nested dictionaries, and `shape` [H,W,C]."""
    import h5py
    import yaml

    with h5py.File(path, "r") as f:
        text = f.attrs["config"]
        config = typed(yaml.safe_load(text.decode() if isinstance(text, bytes) else text))
        config["shape"] = [int(n) for n in f["state"].attrs["shape"]]
    return config


def network(config):
    if config["model"]["name"] == "lstm":
        import recurrent
        return recurrent.Features(config["model"], config["shape"])
    return Twin(model_options(config), config["shape"])


def load(path, which="ema"):
    """The network of a checkpoint and its configuration.

    Every parameter must be there under its name with its shape, and no other."""
    import h5py

    config = configuration(path)
    with h5py.File(path, "r") as f:
        group = f[which] if which in f else f["params"]
        state = {name: torch.from_numpy(group[name][...]) for name in group}
    twin = network(config)
    twin.load_state_dict(state)
    return twin, config
