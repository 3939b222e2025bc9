#!/usr/bin/python3
"""The PyTorch side of scripts/bench_peer: reads commands as lines of JSON, answers each with a line of JSON.

A command is {"do": NAME, ...}, where NAME is a method of Peer and the rest are its arguments.  One process keeps
its networks between commands, so that it is warm when its next slice of time begins.
"""
import copy
import ctypes
import json
import os
import re
import sys
import time

import numpy as np
import torch

import recipe
import twin as twins

LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def peak_mib():
    with open("/proc/self/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024.0


def blas():
    """Name of the BLAS that a product of matrices has loaded."""
    torch.ones(8, 8) @ torch.ones(8, 8)
    with open("/proc/self/maps") as f:
        found = re.search(r"(\S*libopenblas\S*)", f.read())
    if found:
        lib = ctypes.CDLL(found.group(1))
        lib.openblas_get_config.restype = lib.openblas_get_corename.restype = ctypes.c_char_p
        return "%s, kernels %s" % (lib.openblas_get_config().decode().strip(), lib.openblas_get_corename().decode())
    return "MKL" if torch.backends.mkl.is_available() else "reference BLAS"


def pixels_to_model(pixels, levels, rng):
    return 2.0 * (pixels + rng.random(pixels.shape)) / levels - 1.0


class Peer:
    def __init__(self):
        self.net, self.jobs = {}, {}

    def describe(self, threads):
        torch.set_num_threads(threads)
        torch.backends.mkldnn.flags(enabled=True).__enter__()
        about = torch.__config__.show()
        return {"torch": torch.__version__, "blas": blas(), "threads": torch.get_num_threads(),
                "onednn": re.search(r"MKL-DNN v([\d.]+)", about).group(1) if torch.backends.mkldnn.is_available() else None,
                "kernels": re.search(r"CPU capability usage: (.*)", about).group(1)}

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

    def prepare(self, job, net, layout, batch, autocast=False):
        """A job of one network: `job` is step, one_pass or two_pass."""
        twin, config = self.net[net]
        memory = LAYOUTS[layout]
        mine, sde = copy.deepcopy(twin).to(memory_format=memory), recipe.Sde(config["sde"])
        h, w, c = config["shape"]
        rng = np.random.default_rng(2)
        x = recipe.to_tensor(rng.uniform(-1, 1, (batch, h, w, c)), memory)
        if job == "step":
            train = recipe.Training(mine, sde, config["train"], autocast)
            run = lambda: train.step(x)
        else:
            flow, v = recipe.Flow(mine, sde), recipe.to_tensor(rng.choice([-1.0, 1.0], (batch, h, w, c)), memory)
            run = lambda: getattr(flow, job)(x, 0.5, v)
        for _ in range(2):  # warm-up; the second pays in small networks alone
            begun = time.perf_counter()
            run()
            if time.perf_counter() - begun > 1.0:
                break
        key = "%s %s %s%s" % (net, job, layout, " bf16" if autocast else "")
        self.jobs[key] = run, batch
        return {"job": key}

    def time(self, job, seconds, least=2):
        """Images/s of a slice of time; at least `least` runs."""
        run, batch = self.jobs[job]
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

    def rows_of(self, result):
        """Of a result of `probflow bpd`."""
        import h5py
        with h5py.File(result) as f:
            return {"nll": float(f["nll"][...].mean()), "evaluations": float(f["evaluations"][...].mean())}

    def likelihood(self, net, points, layout, tolerance):
        import h5py
        twin, config = self.net[net]
        with h5py.File(points) as f:
            x, probe = f["x"][...], f["probe"][...]
        flow = recipe.Flow(twin.to(memory_format=LAYOUTS[layout]), recipe.Sde(config["sde"]))
        logp, evaluations, seconds = recipe.published_logp(flow, x, probe, LAYOUTS[layout], tolerance)
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
