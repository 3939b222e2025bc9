"""Ranks that were started with different words, files or data: one sentence; the same ones: the same bits."""
import os, shutil
from fixture import YAML
from make import edit, grey, idx


def rows(add, random):
    def two(c, a, b, **how):
        c.run("mpirun", "-n", "1", *[c.probflow if w == "probflow" else w for w in a], ":", "-n", "1", *[c.probflow if w == "probflow" else w for w in b], **how)

    def start(c): c.use("tiny.yaml", "tiny.h5", "run")
    train = ["probflow", "train", "tiny.yaml", "--quiet", "--run", "r"]
    bpd = ["probflow", "bpd", "run", "--quiet", "--out", "o.h5", "--limit", "8"]
    sample = ["probflow", "sample", "run", "--quiet", "--out", "s.h5", "-n", "2"]

    def differ(name, a, b, pattern, prepare=None):
        def steps(c):
            start(c)
            if prepare: prepare(c)
            two(c, a, b)
            c.must(c.status != 0, "accepted, status 0")
            said = [l for l in c.err.splitlines() if "probflow: error" in l]
            c.same(len(said), 1, "sentences")
            import re
            c.must(re.search(pattern, said[0], re.I), "the sentence does not match %s: %s" % (pattern, said[0][:160]))
            c.must(not os.path.exists("r") or not [f for f in os.listdir("r") if f.startswith("checkpoint")], "a checkpoint is left")
            c.must(not os.path.exists("o.h5") and not os.path.exists("s.h5"), "a file is left")
        add(name, steps)

    def same(name, words, check):
        def steps(c):
            start(c)
            two(c, words, words)
            c.must(c.status == 0, "refused, status %d: %s" % (c.status, c.first()))
            c.must(os.path.exists(check), "no " + check)
        add(name, steps)
    same("train, the same", train, "r/checkpoint-00000004.h5")
    same("bpd, the same", bpd, "o.h5")
    same("sample, the same", sample, "s.h5")

    for option in ("train.batch=32", "train.lr=0.5", "train.steps=20", "seed=4", "train.ema=0.5", "data.flip=true", "sde.beta_max=10", "model.width=16", "train.clip=0", "shards=8"):
        differ("train, %s on one" % option, train, train + ["--set", option], option.split("=")[0].split(".")[-1] + "|rank")
        differ("train, %s on the first" % option, train + ["--set", option], train, option.split("=")[0].split(".")[-1] + "|rank") if option.startswith("seed") else None
    differ("bpd, --limit 8 and 6", bpd, bpd[:-1] + ["6"], "limit|rank")
    differ("bpd, another tolerance", bpd, bpd + ["--set", "likelihood.rtol=1e-3"], "rtol|rank|likelihood")
    differ("bpd, another split", bpd, bpd + ["--split", "train"], "split|rank")
    differ("bpd, another output", bpd, ["probflow", "bpd", "run", "--quiet", "--out", "p.h5", "--limit", "8"], "out|p.h5|rank")
    differ("sample, another number", sample, sample[:-1] + ["3"], r"\bn\b|rank")
    differ("sample, other steps", sample, sample + ["--set", "sample.steps=3"], "steps|rank|sample")
    differ("train and bpd", train, bpd, "train|bpd|rank")
    differ("sample and bpd", sample, bpd, "sample|bpd|rank")
    differ("train, another configuration file", train, [w.replace("tiny.yaml", "other.yaml") for w in train], "yaml|lr|rank",
           lambda c: c.write("other.yaml", YAML.replace("lr: 1.0e-3", "lr: 2.0e-3")))
    differ("train, another run", train, train[:-1] + ["q"], "run|rank|q")

    def other_data(c):
        c.write("train-x", idx(grey(32, 77))), c.write("test-x", idx(grey(8, 78)))
        c.run("data", "train-x", "test-x", "other.h5")
    differ("train, other data", train, train + ["--set", "data.path=other.h5"], "data|rank|h5", other_data)
    differ("bpd, other data", bpd, bpd + ["--data", "other.h5"], "data|rank|h5", other_data)
    differ("bpd, another checkpoint", bpd, [w.replace("run", "other") for w in bpd], "checkpoint|rank|other", lambda c: c.accepted("train", "tiny.yaml", "--run", "other", "--set", "seed=9"))

    def environment(c):
        """the same words on both; what makes the one rank other is a wrapper"""
        start(c)
        two(c, train, ["env", "OMP_NUM_THREADS=2"] + train)
        c.must(c.status == 0, "other threads are refused: " + c.first())
    add("train, other threads", environment)

    def missing(c):
        start(c)
        two(c, train, train + ["--set", "data.path=none.h5"])
        c.must(c.status != 0, "accepted, status 0")
        c.same(len([l for l in c.err.splitlines() if "probflow: error" in l]), 1, "sentences")
    add("train, data missing on one", missing)
