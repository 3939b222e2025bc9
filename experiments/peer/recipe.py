"""What the published code does with a network, in PyTorch: a training step, the right-hand side of the
likelihood's ODE, and the likelihood itself.

    dx = f(t) x dt + g(t) dw,   x_t = mean x_0 + std z,   score = scale(t) net(x, cond(t))
    drift = f x - g^2 score/2,  d log p/dt = -probe' (d drift/dx) probe

Source: Song et al. 2021, eq. 9-13, 39 and appendix C, D; Song et al. 2021b (weights).  Tensors NCHW.
"""
import math
import time

import numpy as np
import torch


class Sde:
    """vp, subvp and ve as in src/sde; double, one t."""

    def __init__(self, o):
        self.o, self.name = o, o["name"]
        if self.name not in ("vp", "subvp", "ve"):
            raise ValueError("no SDE %s here" % self.name)

    def integral(self, t):
        return t * self.o["beta_min"] + 0.5 * t * t * (self.o["beta_max"] - self.o["beta_min"])

    def sigma(self, t):
        return self.o["sigma_min"] * (self.o["sigma_max"] / self.o["sigma_min"]) ** t

    def cond(self, t):
        return self.sigma(t) if self.name == "ve" else 999.0 * t

    def marginal(self, t):
        if self.name == "ve":
            return 1.0, self.sigma(t)
        b = self.integral(t)
        return math.exp(-0.5 * b), math.sqrt(-math.expm1(-b)) if self.name == "vp" else -math.expm1(-b)

    def coefficients(self, t):
        """f and g^2."""
        if self.name == "ve":
            return 0.0, 2.0 * math.log(self.o["sigma_max"] / self.o["sigma_min"]) * self.sigma(t) ** 2
        beta = self.o["beta_min"] + t * (self.o["beta_max"] - self.o["beta_min"])
        return -0.5 * beta, beta if self.name == "vp" else -beta * math.expm1(-2.0 * self.integral(t))

    def scale(self, t):
        return 1.0 if self.name == "ve" else -1.0 / self.marginal(t)[1]

    def noise(self, t):
        mean, std = self.marginal(t)
        return std / mean

    def mean(self, t):
        return self.marginal(t)[0]

    def prior_logp(self, z):
        """[B] nats of z [B,D] at t = 1."""
        std = self.o["sigma_max"] if self.name == "ve" else 1.0
        return -0.5 * np.sum(z * z, 1) / std ** 2 - z.shape[1] * (math.log(std) + 0.5 * math.log(2.0 * math.pi))


def compiled(twin):
    """The network by torch.compile, of PyTorch 2.  Its levels, whose shapes depend on values, stay eager."""
    if hasattr(twin, "levels"):
        twin.levels.forward = torch._dynamo.disable(twin.levels.forward)
    return torch.compile(twin)


def adam(params, o):
    """Fused where this PyTorch has it for the CPU, else in multi-tensor calls."""
    how = dict(lr=o["lr"], betas=(o["beta1"], o["beta2"]), eps=o["eps"])
    try:
        return torch.optim.Adam(params, **how, fused=True)
    except (RuntimeError, TypeError):  # for GPUs alone
        return torch.optim.Adam(params, **how, foreach=True)


class Training:
    """Adam, clipping and the average as a user of PyTorch has them at their fastest: multi-tensor
    calls, gradients dropped instead of zeroed, no copy of the parameters to host (it is the host).
    net: what is called for the network: the twin, or what torch.compile makes of it."""

    def __init__(self, twin, sde, o, autocast=False):
        self.net, self.sde, self.o, self.autocast = twin.train(), sde, o, autocast
        self.params = [p for p in twin.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.params]
        self.adam = adam(self.params, o)

    def loss(self, x):
        """Mean over pixels and images of |net - z|^2: the likelihood weight with importance-sampled t, whose
        draw costs nothing here or there."""
        t = torch.rand(x.shape[0]).clamp_(1e-5).tolist()
        mean, std = zip(*(self.sde.marginal(s) for s in t))
        shape = (-1, 1, 1, 1)
        z = torch.randn_like(x)
        xt = torch.tensor(mean).view(shape) * x + torch.tensor(std).view(shape) * z
        net = self.net(xt, *(torch.tensor([of(s) for s in t]) for of in (self.sde.cond, self.sde.noise, self.sde.mean)))
        return (net - z).square().mean()

    def step(self, x):
        self.adam.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            loss = self.loss(x)
        loss.backward()
        grads = [p.grad for p in self.params]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))))
        if self.o["clip"] > 0 and norm > self.o["clip"]:
            torch._foreach_mul_(grads, self.o["clip"] / norm)
        self.adam.step()
        self.follow([p.detach() for p in self.params])
        return loss.item()

    def follow(self, params):
        """The average takes its share of the parameters: in one pass where this PyTorch has it."""
        if hasattr(torch, "_foreach_lerp_"):
            torch._foreach_lerp_(self.average, params, 1.0 - self.o["ema"])
            return
        torch._foreach_mul_(self.average, self.o["ema"])
        torch._foreach_add_(self.average, params, alpha=1.0 - self.o["ema"])


class Flow:
    """The probability flow of a twin; net as in Training."""

    def __init__(self, twin, sde):
        self.net, self.sde = twin.eval().requires_grad_(False), sde

    def drift(self, x, t):
        f, g2 = self.sde.coefficients(t)
        net = self.net(x, *(torch.full((x.shape[0],), v) for v in (self.sde.cond(t), self.sde.noise(t), self.sde.mean(t))))
        return f * x - (0.5 * g2 * self.sde.scale(t)) * net

    def divergence(self, x, t, probe):
        """drift and probe' J probe [B] of one forward and one backward pass."""
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            f = self.drift(x, t)
            jv, = torch.autograd.grad(f, x, probe)
        return f.detach(), (jv * probe).flatten(1).sum(1)

    def two_pass(self, x, t, probe):
        """As published: the drift by itself, then once more with its gradient."""
        with torch.no_grad():
            f = self.drift(x, t)
        return f, self.divergence(x, t, probe)[1]

    def one_pass(self, x, t, probe):
        return self.divergence(x, t, probe)


def to_tensor(x, layout):
    """[B,H,W,C] numpy -> [B,C,H,W] float32 in a memory format."""
    t = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).permute(0, 3, 1, 2)
    return t.contiguous(memory_format=layout)


def published_logp(flow, x, probe, layout, tolerance=1e-5, t_min=1e-5):
    """The published recipe: scipy's RK45 on [x of the whole batch, log p] in float64 with one norm over all of it,
    the network in float32, drift and divergence in two passes.  x, probe [B,H,W,C]; t from t_min to 1.
    Returns logp [B] in nats, evaluations, seconds."""
    from scipy.integrate import solve_ivp

    b, n = x.shape[0], x.size
    eps = to_tensor(probe, layout)
    shape = eps.shape

    def field(t, y):
        s = torch.from_numpy(y[:n].astype(np.float32)).view(shape).contiguous(memory_format=layout)
        f, div = flow.two_pass(s, t, eps)
        return np.concatenate((f.contiguous().view(-1).double().numpy(), div.double().numpy()))

    y0 = np.concatenate((np.moveaxis(x, 3, 1).reshape(-1).astype(np.float64), np.zeros(b)))
    begun = time.perf_counter()
    end = solve_ivp(field, (t_min, 1.0), y0, method="RK45", rtol=tolerance, atol=tolerance)
    seconds = time.perf_counter() - begun
    if not end.success:
        raise RuntimeError(end.message)
    y = end.y[:, -1]
    return flow.sde.prior_logp(y[:n].reshape(b, -1)) + y[n:], end.nfev, seconds
