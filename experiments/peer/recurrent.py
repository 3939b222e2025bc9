"""The network of model `lstm`, variant features, in PyTorch: the same function with the same parameter names, to measure its
speed against.

    twin = Features(options, shape)      options: the `model` section of a configuration
    net = twin(x, cond, sigma, mean)     x [B,C,1,L] float32; what else a score network is told is not read

Written for the speed of eager PyTorch: torch.nn.LSTM of all layers in one call, and weights under a mask multiplied where they are
used.  Sources: as of src/model/lstm.c.
"""
import torch
import torch.nn.functional as F
from torch import nn

KNOWN = {"variant", "width", "depth", "places", "dropout", "input_dropout"}


class Places(nn.Module):
    """The one-hots of a place from both ends, times a matrix: two columns of it."""

    def __init__(self, most, width):
        super().__init__()
        self.time_embed_layer, self.most = nn.Linear(2 * most, width), most

    def forward(self, x):
        n = x.shape[1]
        w = self.time_embed_layer.weight
        table = (w[:, :n] + w[:, self.most:self.most + n].flip(1)).t() + self.time_embed_layer.bias
        return torch.cat((x, table.expand(x.shape[0], n, -1)), -1)


class Masked(nn.Linear):
    def __init__(self, inputs, outputs, mask):
        super().__init__(inputs, outputs)
        self.register_buffer("mask", mask.float(), persistent=False)

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


def blocks(n, size):
    return torch.arange(n) // size


class ByChannel(nn.Module):
    def __init__(self, channels, per, wide):
        super().__init__()
        seen, hidden = channels - 1, wide // 2
        own = min(max(1, int(wide * 9.0 / 16.0 / seen)), 96)
        known = torch.cat((torch.full((wide,), -1), blocks(own * seen, own)))
        same = lambda n, a, m, b: blocks(n, a)[:, None] == blocks(m, b)
        self.in_to_features = Masked(3 * seen, own * seen, same(own * seen, own, 3 * seen, 3))
        self.features_to_hidden = Masked(wide + own * seen, hidden * channels, known < blocks(hidden * channels, hidden)[:, None])
        self.hidden_to_out = Masked(hidden * channels, per * channels, same(per * channels, per, hidden * channels, hidden))

    def forward(self, f, x):
        x = x[..., :-1]
        bent = torch.stack((x, F.elu(x), F.elu(-x)), -1).flatten(-2)
        f = torch.cat((f, F.gelu(self.in_to_features(bent))), -1)
        return self.hidden_to_out(F.gelu(self.features_to_hidden(f)))


class Model(nn.Module):
    def __init__(self, o, length, channels, per):
        super().__init__()
        w, place = o["width"], o["width"] // 8
        self.input_embed = nn.Sequential(nn.Linear(channels, w // 2), nn.GELU(), nn.Linear(w // 2, w // 2 - place), nn.GELU())
        self.time_concat = Places(o["places"] or length, place)
        self.lstm_module = nn.LSTM(w // 2, w, o["depth"], batch_first=True)
        self.net = nn.Sequential(nn.Dropout(o["dropout"]), nn.Linear(w, w // 2), nn.GELU(), nn.Dropout(o["dropout"]))
        self.out_layer, self.input_dropout = ByChannel(channels, per, w // 2), o["input_dropout"]

    def forward(self, x):
        h = self.input_embed(x)
        if self.training and self.input_dropout > 0:
            h = h * (torch.rand(h.shape[:2])[..., None] >= self.input_dropout)
        h = F.pad(self.time_concat(h)[:, :-1], (0, 0, 1, 0))
        return self.out_layer(self.net(self.lstm_module(h)[0]), x)


class Features(nn.Module):
    def __init__(self, options, shape):
        super().__init__()
        if set(options) - {"name"} != KNOWN or options["variant"] != "features" or shape[0] != 1:
            raise ValueError("no network %s of %s here" % (options, shape))
        self.lstm_model = Model(options, shape[1], shape[2], 1)

    def forward(self, x, cond, sigma=None, mean=None):
        return self.lstm_model(x[:, :, 0].transpose(1, 2)).transpose(1, 2)[:, :, None]
