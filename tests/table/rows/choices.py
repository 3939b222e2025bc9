"""The average of the parameters, and choices that do nothing."""
import os
import h5py, numpy as np
from fixture import CHECKPOINT
from make import attribute, edit, read


def train(c, *options, run="r"):
    c.use("tiny.yaml", "tiny.h5")
    words = ["train", "tiny.yaml", "--run", run]
    for o in options: words += ["--set", o]
    return words


def refused(pattern, *options): return lambda c: c.refused(pattern, *train(c, *options))


def blocks(path):
    with h5py.File(path, "r") as f: return [{k: f[b][k][...] for k in f[b]} for b in ("params", "ema")]


def average(rate, warm):
    """the average after 4 steps from those of each step before"""
    def steps(c):
        options = ["train.ema=%g" % rate, "train.checkpoint_every=1", "train.keep=9", "train.lr=1e-2", "train.warmup=1"]
        if warm is not None: options.append("train.ema_warmup=%s" % ("true" if warm else "false"))
        c.accepted(*train(c, *options))
        last = [blocks("r/checkpoint-%08d.h5" % n) for n in (1, 2, 3, 4)]
        e = last[0][1]
        for n in (2, 3, 4):
            params, have = last[n - 1]
            found = []
            for at in (n - 1, n):  # whether a step counts from 0 or 1
                r = min(rate, (1 + at) / (10 + at)) if warm is not False else rate
                found.append(max(np.abs(r * e[k] + (1 - r) * params[k] - have[k]).max() for k in params))
            c.must(min(found) < 1e-6, "step %d: the average is off by %g" % (n, min(found)))
            e = have
    return steps


def rows(add, random):
    for rate in (0.5, 0.9, 0.99, 0.9999): add("warmed up, ema %g" % rate, average(rate, True))
    for rate in (0.5, 0.9, 0.9999): add("not warmed up, ema %g" % rate, average(rate, False))
    add("warmed up by default", average(0.999, None))
    for v in ("maybe", "2", ""): add("ema_warmup %s" % (v or "empty"), refused("ema_warmup", "train.ema_warmup=" + v))

    def old_run(c):
        """a run of the time before the key goes on without it"""
        c.use("run", "tiny.yaml", "tiny.h5")
        text = open("run/config.yaml").read()
        c.must("ema_warmup" in text or True, "")
        lines = [l for l in text.splitlines(True) if "ema_warmup" not in l]
        c.write("run/config.yaml", "".join(lines))

        def strip(f):
            t = f.attrs["config"]
            t = t.decode() if isinstance(t, bytes) else t
            f.attrs["config"] = "".join(l for l in t.splitlines(True) if "ema_warmup" not in l)
        edit(CHECKPOINT, strip)
        before = blocks(CHECKPOINT)[1]
        c.run("train", "tiny.yaml", "--run", "run", "--set", "train.steps=5")
        c.must(c.status == 0, "refused: " + c.first())
        params, have = blocks("run/checkpoint-00000005.h5")
        off = max(np.abs(0.9 * before[k] + 0.1 * params[k] - have[k]).max() for k in params)
        c.must(off < 1e-6, "the average of an old run is off by %g" % off)
    add("a run made before the key", old_run)

    def params(command, out):
        def steps(c):
            c.use("run", "tiny.h5", "points.h5")
            tail = {"bpd": ["--limit", "4"], "sample": ["-n", "1"], "score": ["--in", "points.h5"], "logp": ["--in", "points.h5"]}[command]
            got = []
            for which in ("ema", "raw"):
                c.accepted(command, "run", *tail, "--params", which, "--out", which + ".h5")
                got.append(read(which + ".h5", out))
            c.must((got[0] != got[1]).any(), "ema and raw give the same")
            c.accepted(command, "run", *tail, "--out", "default.h5")
            c.same(read("default.h5", out).tolist(), got[0].tolist(), "the default")
        return steps
    for command, out in (("bpd", "nll"), ("sample", "x"), ("score", "score"), ("logp", "logp")):
        add("--params of %s" % command, params(command, out))
        for v in ("none", "", "EMA", "both"):
            tail = {"bpd": ["--limit", "4"], "sample": ["-n", "1"], "score": ["--in", "points.h5"], "logp": ["--in", "points.h5"]}[command]
            add("--params %s of %s" % (v or "empty", command), lambda c, k=command, v=v, t=tail: (c.use("run", "tiny.h5", "points.h5"), c.refused("params", k, "run", *t, "--params", v, "--out", "o.h5")))

    # choices that do nothing
    for w in ("5", "3", "7", "16", "4,5", "8,16", "2", "1"): add("attention %s" % w, refused("attention", "model.attention=%s" % w))
    for w in ("4", "8", "4,8"): add("attention %s" % w, lambda c, w=w: c.accepted(*train(c, "model.attention=%s" % w)))

    def default_attention(c):
        c.use("tiny.h5", "tiny.yaml")
        c.write("tiny.yaml", open("tiny.yaml").read().replace("attention: [4], ", ""))
        c.accepted("train", "tiny.yaml", "--run", "r")
    add("attention by default", default_attention)

    def t_min(value, right):
        def steps(c):
            c.use("run", "tiny.h5")
            words = ["bpd", "run", "--limit", "4", "--out", "o.h5", "--set", "likelihood.t_min=" + value]
            if right: c.accepted(*words)
            else: c.refused("t_min", *words)
        return steps
    for v in ("1e-6", "1e-7", "1e-9"): add("t_min %s below the one trained from" % v, t_min(v, False))
    for v in ("1e-5", "1e-3"): add("t_min %s" % v, t_min(v, True))
    for v in ("none", "tset", "training", "VALID", "/", "test/images", "../x"): add("eval_split %s" % v, refused("split", "train.eval_every=2", "train.eval_split=" + v))
    add("eval_split valid where there is none", refused("valid", "train.eval_every=2", "train.eval_split=valid"))
    add("eval_split test", lambda c: c.accepted(*train(c, "train.eval_every=2", "train.eval_split=test")))
    for v in ("none", "valid", "", "test/images"): add("bpd --split %s" % (v or "empty"), lambda c, v=v: (c.use("run", "tiny.h5"), c.refused("split|%s" % v, "bpd", "run", "--limit", "4", "--split", v, "--out", "o.h5")))
