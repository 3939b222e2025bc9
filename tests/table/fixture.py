"""What rows start from, made once: a small dataset, its sources, a configuration, a trained run, one file
of each kind.

    train-images test-images   IDX, 32 and 8 images of 8x8       tiny.yaml   tiny.h5
    run/                       4 steps; checkpoint-00000004.h5   results.h5 samples.h5 metrics.h5
    points.h5                  x [2,8,8,1], t                    weights.h5  published weights"""
import os, shutil, subprocess, sys
import h5py, numpy as np
import case, make

place = None
CHECKPOINT = "run/checkpoint-00000004.h5"
YAML = """seed: 3
shards: 4
data: {path: tiny.h5}
sde: {name: vp}
model: {name: ddpmpp, width: 8, multipliers: [1, 2], blocks: 1, attention: [4], dropout: 0, embedding: fourier, fourier_scale: 0.25}
objective: {weight: likelihood, time: importance}
train: {steps: 4, batch: 16, lr: 1.0e-3, warmup: 4, ema: 0.9, checkpoint_every: 0, eval_every: 0, log_every: 1}
likelihood: {group: 4, dequantisation: uniform, rtol: 1.0e-2, atol: 1.0e-2, div_tol: 1.0e-2, check_groups: 0}
sample: {steps: 2}
"""


def prepare(probflow, top):
    global place
    place = top + "/fixture"
    os.mkdir(place)
    os.chdir(place)
    c = case.Case(probflow, place, None)
    try:
        c.write("train-images", make.idx(make.grey(32, 5)))
        c.write("test-images", make.idx(make.grey(8, 6)))
        c.write("tiny.yaml", YAML)
        c.accepted("data", "train-images", "test-images", "tiny.h5")
        c.same(make.read("tiny.h5", "train/images").tobytes(), make.grey(32, 5).tobytes(), "pixels of train")
        c.same(make.read("tiny.h5", "test/images").tobytes(), make.grey(8, 6).tobytes(), "pixels of test")
        c.accepted("train", "tiny.yaml", "--run", "run")
        shutil.copy("run/metrics.h5", "metrics.h5")
        c.accepted("bpd", "run", "--limit", "4", "--out", "results.h5")
        c.accepted("sample", "run", "-n", "1", "--out", "samples.h5")
        with h5py.File("points.h5", "w") as f:
            f["x"] = np.linspace(-1, 1, 128).reshape(2, 8, 8, 1)
            f["t"] = np.full(2, 0.5)
        shutil.copy(os.path.dirname(os.path.abspath(__file__)) + "/../golden/ddpmpp_gray28_vp.h5", "weights.h5")
    except case.Failed as e:
        sys.exit("the good inputs: %s" % e)
    os.chdir("/")
