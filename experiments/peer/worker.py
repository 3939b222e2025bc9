#!/usr/bin/python3
"""The PyTorch side of scripts/bench_peer: reads commands as lines of JSON, answers each with a line of JSON.

A command is {"do": NAME, ...}, where NAME is a method of Peer and the rest are its arguments.  One process keeps
its networks between commands, so that it is warm when its next slice of time begins.  Its words are MODULE=ROW, what
must be there and for what.
"""
import copy
import ctypes
import importlib
import json
import os
import re
import sys
import time

for module, row in (word.split("=") for word in sys.argv[1:]):
    try:
        importlib.import_module(module)
    except ImportError as e:
        print(json.dumps({"error": "%s has no module %s, which row %s needs (%s)" % (sys.executable, module, row, e)}))
        sys.exit(1)

import numpy as np  # noqa: E402
import torch  # noqa: E402

import dit  # noqa: E402
import machine  # noqa: E402
import recipe  # noqa: E402
import twin as twins  # noqa: E402

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def peak_mib():
    with open("/proc/self/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024.0


def blas(maps, mkl):
    """Name and, of OpenBLAS, core of the BLAS in use; None: the reference's."""
    if torch.backends.mkl.is_available():
        return "MKL %s" % mkl, None
    path = machine.openblas(maps)
    if not path:
        return None, None
    lib = ctypes.CDLL(path)
    lib.openblas_get_config.restype = lib.openblas_get_corename.restype = ctypes.c_char_p
    return " ".join(lib.openblas_get_config().decode().split()[:2]), lib.openblas_get_corename().decode()


def different(compiled, eager, limit=1e-4):
    """Raises when the drift of a compiled network is another.  A loss is random: it says nothing."""
    if isinstance(eager, tuple):
        d = float((compiled[0] - eager[0]).abs().max() / eager[0].square().mean().sqrt())
        if not d <= limit:
            raise ValueError("the compiled network differs by %.1e of the rms" % d)


def pixels_to_model(pixels, levels, rng):
    return 2.0 * (pixels + rng.random(pixels.shape)) / levels - 1.0


class Peer:
    def __init__(self):
        self.net, self.jobs = {}, {}

    def start(self, threads):
        torch.set_num_threads(threads)
        torch.ones(8, 8) @ torch.ones(8, 8)  # loads the BLAS
        with open("/proc/self/maps") as f:
            maps = f.read()
        about = machine.torch_config(torch.__config__.show())
        name, core = blas(maps, about["mkl"])
        return {"torch": torch.__version__, "threads": torch.get_num_threads(), "kernels": about["kernels"], "blas": name, "core": core,
                "onednn": about["onednn"] if torch.backends.mkldnn.is_available() else None, "allocator": machine.allocator(maps),
                "compile": hasattr(torch, "compile")}

    # ---- the same function ----

    def points(self, checkpoint, out, n):
        """Points, times and probes on which the two networks are compared."""
        import h5py
        _, config = twins.load(checkpoint)
        rng = np.random.default_rng(1)
        shape = [n] + config["shape"]
        with h5py.File(out, "w") as f:
            f["x"] = rng.standard_normal(shape)
            f["t"] = np.geomspace(1e-3, 1.0, n)
            f["probe"] = rng.choice([-1.0, 1.0], shape)
        return {}

    def compare(self, checkpoint, points, score):
        """Largest difference of net and of probe' d net/dx from what `probflow score` wrote, in units of their rms."""
        import h5py
        twin, config = twins.load(checkpoint)
        sde = recipe.Sde(config["sde"])
        twin.eval().requires_grad_(False)
        with h5py.File(points) as f:
            x, t, probe = (f[k][...] for k in ("x", "t", "probe"))
        with h5py.File(score) as f:
            net, vjp = f["net"][...], f["vjp"][...]
        scale = np.array([sde.scale(s) for s in t])[:, None, None, None]
        found = {}
        for name, layout in LAYOUTS.items():
            xt, v = recipe.to_tensor(x, layout).requires_grad_(True), recipe.to_tensor(probe, layout)
            out = twin(xt, *(torch.tensor([of(s) for s in t], dtype=torch.float32) for of in (sde.cond, sde.noise, sde.mean)))
            jv, = torch.autograd.grad(out, xt, v)
            for what, ours, theirs in (("net", net, out.detach()), ("vjp", vjp / scale, jv)):
                d = np.abs(theirs.permute(0, 2, 3, 1).numpy() - ours).max() / np.sqrt(np.mean(ours ** 2))
                found[what] = max(float(d), found.get(what, 0.0))
        return {"difference": found, "parameters": sum(p.numel() for p in twin.parameters())}

    # ---- speed ----

    def load(self, name, checkpoint):
        self.net[name] = twins.load(checkpoint)
        config = self.net[name][1]
        return {"data": config["data"]["path"], "tolerances": {k: config["likelihood"][k] for k in ("rtol", "atol", "div_tol")}}

    def prepare(self, job, net, layout, batch, autocast=False, compiled=False):
        """A job of one network, warm: `job` is step, one_pass or two_pass.  Answers its key and seconds of a run, or why it
        cannot be compiled."""
        twin, config = self.net[net]
        memory = LAYOUTS[layout]
        mine, sde = copy.deepcopy(twin).to(memory_format=memory), recipe.Sde(config["sde"])
        h, w, c = config["shape"]
        rng = np.random.default_rng(2)
        x = recipe.to_tensor(rng.uniform(-1, 1, (batch, h, w, c)), memory)
        if job == "step":
            model = recipe.Training(mine, sde, config["train"], autocast)
            run = lambda: model.step(x)
        else:
            model, v = recipe.Flow(mine, sde), recipe.to_tensor(rng.choice([-1.0, 1.0], (batch, h, w, c)), memory)
            run = lambda: getattr(model, job)(x, 0.5, v)
        if compiled:
            try:
                eager = run()
                model.net = recipe.compiled(mine)
                different(run(), eager)
            except Exception as e:  # of a compiler that is not there, or does not take this network
                return {"remark": "%s: %s" % (type(e).__name__, (str(e).strip().splitlines() or [""])[0][:150])}
        for _ in range(2):  # warm-up; the second pays in small networks alone
            begun = time.perf_counter()
            run()
            seconds = time.perf_counter() - begun
            if seconds > 1.0:
                break
        key = "%s %s %s%s%s" % (net, job, layout, " bf16" if autocast else "", " compiled" if compiled else "")
        self.jobs[key] = run, batch, model, memory
        return {"job": key, "seconds": seconds}

    def published(self, path):
        return {"difference": dit.difference(path)}

    def text(self, variant, batch, length, symbols, **o):
        """A warm job of training a transformer of tokens: plain, with fused attention, or by torch.compile with it."""
        net = dit.Dit(symbols=symbols + 1, columns=symbols, **o)
        net.fused = variant != "plain"
        train = {"lr": 2e-4, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "clip": 1.0, "ema": 0.9999}
        model, x = dit.Training(net, train, symbols), torch.randint(symbols, (batch, length))
        if variant == "compiled":
            model.net = torch.compile(net)
        try:
            model.step(x)
        except Exception as e:
            return {"remark": "%s: %s" % (type(e).__name__, (str(e).strip().splitlines() or [""])[0][:150])}
        self.jobs["text " + variant] = (lambda: model.step(x)), batch, model, None
        return {"job": "text " + variant}

    def time(self, job, seconds, least=2):
        """Images/s of a slice of time; at least `least` runs."""
        run, batch = self.jobs[job][:2]
        n, begun = 0, time.perf_counter()
        while n < least or time.perf_counter() - begun < seconds:
            run()
            n += 1
        return {"images_s": n * batch / (time.perf_counter() - begun)}

    def memory(self, checkpoint, layout, batch, steps):
        """MiB at the peak of some training steps in this process, which must be fresh."""
        config = twins.configuration(checkpoint)
        twin = twins.Twin(twins.model_options(config), config["shape"]).to(memory_format=LAYOUTS[layout])
        for p in twin.parameters():
            torch.nn.init.normal_(p, std=0.03)
        h, w, c = config["shape"]
        train = recipe.Training(twin, recipe.Sde(config["sde"]), config["train"])
        x = torch.rand(batch, c, h, w).contiguous(memory_format=LAYOUTS[layout])
        for _ in range(steps):
            train.step(x)
        return {"mib": peak_mib()}

    # ---- a whole likelihood ----

    def images(self, data, split, out, n):
        """Dequantised test images in model scale and a Rademacher probe for each."""
        import h5py
        rng = np.random.default_rng(3)
        with h5py.File(data) as f:
            pixels, levels = f[split]["images"][:n], int(f.attrs.get("levels", 256))
        with h5py.File(out, "w") as f:
            f["x"] = pixels_to_model(pixels, levels, rng)
            f["probe"] = rng.choice([-1.0, 1.0], pixels.shape)
        return {"images": len(pixels), "dim": int(np.prod(pixels.shape[1:])), "levels": levels}

    def part(self, points, out, n):
        """The first n of a file of points."""
        import h5py
        with h5py.File(points) as f, h5py.File(out, "w") as g:
            for k in ("x", "probe"):
                g[k] = f[k][:n]
        return {}

    def logp_of(self, result):
        import h5py
        with h5py.File(result) as f:
            return {"logp": f["logp"][...].tolist(), "evaluations": int(f.attrs["evaluations"])}

    def likelihood(self, job, points, tolerance):
        """By the network of a job two_pass."""
        import h5py
        flow, memory = self.jobs[job][2:]
        with h5py.File(points) as f:
            x, probe = f["x"][...], f["probe"][...]
        logp, evaluations, seconds = recipe.published_logp(flow, x, probe, memory, tolerance)
        return {"logp": logp.tolist(), "evaluations": evaluations, "seconds": seconds}


def main():
    peer, answers = Peer(), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for text in sys.stdin:
        command = json.loads(text)
        try:
            answer = getattr(peer, command.pop("do"))(**command)
        except Exception as e:
            answer = {"error": "%s: %s" % (type(e).__name__, e)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
