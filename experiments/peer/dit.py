"""The transformer of model `transformer`, variant dit, in PyTorch: the same function with the same parameter names, to
measure its speed against; and a training step of masked diffusion with it.

    net = Dit(width, depth, heads, cond_width, symbols, columns)
    net(tokens, cond)                     tokens [B,L] int64, cond [B]; logits [B,L,columns]
    difference(path)                      from the published network of a file of vectors, in its largest output

Written for the speed of eager PyTorch: one map for queries, keys and values, batched products (or the fused attention of
PyTorch 2), addcmul where something is multiplied and added.  Sources: as of src/model/transformer.c.
"""
import json
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import recipe

FEATURES = 256


class Modulation(nn.Module):
    def forward(self, x, shift, scale):
        return torch.addcmul(shift, x, 1.0 + scale)


def norm(width):
    n = nn.LayerNorm(width)
    n.bias = None
    return n


class Embedding(nn.Module):
    def __init__(self, symbols, width):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(symbols, width) * width ** -0.5)

    def forward(self, tokens):
        return F.embedding(tokens, self.embedding)


class Noise(nn.Module):
    """Phases in double, as ours."""

    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        half = FEATURES // 2
        self.rate = torch.exp(-math.log(10000.0) / half * torch.arange(half, dtype=torch.float64))

    def forward(self, cond):
        angle = cond.double()[:, None] * self.rate
        return self.mlp(torch.cat((angle.cos(), angle.sin()), 1).float())


def rotated(x, cos, sin):
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attention(q, k, v, fused):
    if fused:
        return F.scaled_dot_product_attention(q, k, v)
    return torch.matmul(torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2)).softmax(-1), v)


class Block(nn.Module):
    def __init__(self, width, heads, cond):
        super().__init__()
        self.norm1, self.norm2 = norm(width), norm(width)
        self.attn_qkv, self.attn_out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.adaLN_modulation = nn.Linear(cond, 6 * width)
        self.heads, self.modulate = heads, Modulation()

    def forward(self, h, c, turn, fused):
        b, n, w = h.shape
        e = self.adaLN_modulation(c)[:, None].chunk(6, 2)
        x = self.attn_qkv(self.modulate(self.norm1(h), e[0], e[1]))
        q, k, v = x.view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        y = attention(rotated(q, *turn), rotated(k, *turn), v, fused)
        h = torch.addcmul(h, e[2], self.attn_out(y.transpose(1, 2).reshape(b, n, w)))
        return torch.addcmul(h, e[5], self.mlp(self.modulate(self.norm2(h), e[3], e[4])))


class Output(nn.Module):
    def __init__(self, width, cond, columns):
        super().__init__()
        self.norm_final, self.linear = norm(width), nn.Linear(width, columns)
        self.adaLN_modulation, self.modulate = nn.Linear(cond, 2 * width), Modulation()

    def forward(self, h, c):
        e = self.adaLN_modulation(c)[:, None].chunk(2, 2)
        return self.linear(self.modulate(self.norm_final(h), e[0], e[1]))


class Dit(nn.Module):
    def __init__(self, width, depth, heads, cond_width, symbols, columns):
        super().__init__()
        self.vocab_embed, self.sigma_map = Embedding(symbols, width), Noise(cond_width)
        self.blocks = nn.ModuleList(Block(width, heads, cond_width) for _ in range(depth))
        self.output_layer = Output(width, cond_width, columns)
        self.d, self.fused = width // heads, False

    def turn(self, n):
        rate = 10000.0 ** (-2.0 * torch.arange(self.d // 2, dtype=torch.float64) / self.d)
        phase = torch.arange(n, dtype=torch.float64)[:, None] * rate
        return phase.cos().float(), phase.sin().float()

    def forward(self, tokens, cond):
        c, h, turn = F.silu(self.sigma_map(cond)), self.vocab_embed(tokens), self.turn(tokens.shape[1])
        for b in self.blocks:
            h = b(h, c, turn, self.fused)
        return self.output_layer(h, c)


def generated(seed, index, size, offset, amplitude):
    """Parameter number `index` of a file of vectors, by its formula."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.uint64(index) * np.uint64(1 << 32) + np.arange(size, dtype=np.uint64)
        z += np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return offset + amplitude * (2.0 * (z >> np.uint64(11)).astype(np.float64) * 2.0 ** -53 - 1.0)


def difference(path):
    """Of this network from the authors', whose output the file holds, over its largest output."""
    import h5py
    with h5py.File(path) as f:
        o, seed = json.loads(f.attrs["options"]), int(f.attrs["seed"])
        net = Dit(o["hidden_size"], o["n_blocks"], o["n_heads"], o["cond_dim"], o["vocab_size"], o["vocab_size"])
        state = {}
        for i, (name, shape) in enumerate(zip(f["names"], f["shapes"])):
            shape = [int(n) for n in shape.decode().split("x")]
            a = generated(seed, i, int(np.prod(shape)), f["offset"][i], f["amplitude"][i])
            name = name.decode().replace("adaLN_modulation.1.", "adaLN_modulation.")
            state[name] = torch.from_numpy(a.reshape(shape)).float()
        net.load_state_dict(state)
        with torch.no_grad():
            out = net(torch.from_numpy(f["x"][...]), torch.from_numpy(f["sigma"][...]).float()).double().numpy()
        return float(np.abs(out - f["output"][...]).max() / np.abs(f["output"][...]).max())


class Training(recipe.Training):
    """A step of masked diffusion: a time a row, its symbols masked with that probability, cross entropy of what is masked
    over the time.  o: the `train` section of a configuration."""

    def __init__(self, net, o, symbols):
        super().__init__(net, None, o)
        self.mask = symbols

    def loss(self, x):
        t = torch.rand(x.shape[0], 1).clamp_(1e-3)
        hidden = torch.rand(x.shape) < t
        logits = self.net(torch.where(hidden, self.mask, x), torch.zeros(x.shape[0]))
        ce = F.cross_entropy(logits.view(-1, logits.shape[-1]), x.view(-1), reduction="none").view(x.shape)
        return (ce * hidden / t).mean()
