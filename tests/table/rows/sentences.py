"""A failure is one sentence that names what it is about; wrong usage says the usage; --trail shows the way."""
import os, re
import h5py, numpy as np
from fixture import CHECKPOINT
from make import edit, flip, read


def rows(add, random):
    def refused(name, pattern, *words, use=("run", "tiny.h5", "tiny.yaml", "points.h5"), prepare=None):
        def steps(c):
            c.use(*use)
            if prepare: prepare(c)
            c.refused(pattern, *words)
            c.same(c.err.count("probflow: error: "), 1, "sentences")
        add(name, steps)
    for w in ("tarin", "", "--quiet", "bpdd", "Data"): add("command %s" % (w or "empty"), lambda c, w=w: c.refused("command|%s" % w, c.probflow, w))
    for command in ("data", "train", "bpd", "sample", "score", "logp", "import", "variance"): refused("%s without words" % command, command, command)
    for command, words in {"sample": ["run", "-n", "x"], "bpd": ["run", "--limit", "-3"], "variance": ["run", "--batches", "1"], "bench": ["--seconds", "0"]}.items():
        refused("%s %s" % (command, words[-1]), words[-2], command, *words)
    for words in (["sample", "run", "-n", "0", "--out", "o"], ["sample", "run", "-n", "99999999999", "--out", "o"], ["sample", "run", "-n", "1e3", "--out", "o"]): refused("sample -n %s" % words[3], "-n", *words)
    refused("an unknown option", "--ouput.*--out", "sample", "run", "-n", "1", "--ouput", "o")
    add("an option without value", lambda c: (c.use("run"), c.refused("--out", c.probflow, "sample", "run", "-n", "1", "--out")))
    refused("sample without --out", "--out", "sample", "run", "-n", "1")
    refused("train without --run", "--run", "train", "tiny.yaml")
    refused("an argument too many", "extra", "train", "tiny.yaml", "extra", "--run", "r")
    refused("the model set of a checkpoint", r"model\.width", "sample", "run", "-n", "1", "--out", "o", "--set", "model.width=9")
    refused("--part 5/4", "part", "bpd", "run", "--part", "5/4", "--out", "o")
    for v in ("0/4", "x", "1/", "/4", "1/0", "-1/4", "1/4/2"): refused("--part %s" % v, "part", "bpd", "run", "--part", v, "--out", "o")
    for v in ("x", "-1", "nan", ""): refused("--max-minutes %s" % (v or "empty"), "minutes", "bpd", "run", "--max-minutes", v, "--out", "o")
    for v in ("8x8", "8x8x1x1", "x", "0x8x1", "-8x8x1", "8x8x"): refused("--size %s" % v, "size|%s" % v, "bench", "tiny.yaml", "--size", v)

    # options that would help
    refused("bpd of a run whose data are gone", "--data", "bpd", "run", "--limit", "4", "--out", "o.h5", prepare=lambda c: os.unlink("tiny.h5"))
    refused("variance of a run whose data are gone", "--data", "variance", "run", "--batches", "2", prepare=lambda c: os.unlink("tiny.h5"))
    refused("train, data gone", r"tiny\.h5", "train", "tiny.yaml", "--run", "r", prepare=lambda c: os.unlink("tiny.h5"))
    refused("bpd of another definition", "--out", "bpd", "run", "--limit", "8", "--out", "results.h5", use=("run", "tiny.h5", "results.h5"))

    def row(image, limit):
        def steps(c):
            c.use("run", "tiny.h5")
            with h5py.File("tiny.h5", "r") as f:
                i = f["test/images"].id.get_chunk_info_by_coord((image, 0, 0, 0))
            flip("tiny.h5", i.byte_offset + i.size // 2)
            c.run("bpd", "run", "--limit", str(limit), "--out", "o.h5")
            c.must(c.status != 0, "accepted, status 0")
            c.said(r"tiny\.h5.*rows? ([0-9]+ to )?[0-9]+")
            lo, hi = re.search(r"rows? ([0-9]+)(?: to ([0-9]+))?", c.err).groups()
            c.must(int(lo) <= image <= int(hi or lo), "row %d is damaged: %s" % (image, c.first()))
        return steps
    for image, limit in ((0, 4), (2, 4), (3, 8), (5, 8), (7, 8)): add("bpd, image %d of %d is damaged" % (image, limit), row(image, limit))

    def trail(c):
        c.run("probflow", "info", "none.h5", "--trail")
        c.must(c.status == 1 and "none.h5" in c.first(), c.first())
        c.must(len(c.err.splitlines()) > 1 and ".c:" in c.err, "no trail")
    add("--trail", trail)
    add("no trail without it", lambda c: (c.run("probflow", "info", "none.h5"), c.said(r"none\.h5"), c.same(len(c.err.splitlines()), 1, "lines")))

    def bar(limit):
        def steps(c):
            c.use("run", "tiny.h5")
            c.run("probflow", "bpd", "run", "--limit", str(limit), "--out", "o.h5")
            c.must(c.status == 0, "refused: " + c.first())
            at_end = re.search(r"nll_ode +(\S+) (?:\+-|±) ?(\S+)", c.out)
            running = [l for l in c.err.splitlines() if "bpd %d/%d" % (limit, limit) in l]
            c.must(at_end and running, "no progress or no result")
            said = re.search(r"(?:\+-|±) ?(\S+)", running[-1])
            if limit == 1: c.must(not said or said.group(1)[0] in "?-u", "one image has a bar: " + running[-1])
            else: c.must(said and abs(float(said.group(1)) - float(at_end.group(2))) < 1.1e-4, "%s, at the end %s" % (running[-1].strip(), at_end.group(2)))
        return steps
    for n in (1, 2, 4, 8): add("the bar of %d images" % n, bar(n))

    def share(c):
        c.use("run", "tiny.h5")
        c.accepted("bpd", "run", "--limit", "8", "--out", "o.h5", "--set", "likelihood.check_groups=1")
        line = [l for l in c.out.splitlines() if l.startswith("solver")]
        c.must(line and re.search("1 (group )?of 2|1/2", line[0]), "the share does not say of how many groups: %s" % line)
    add("the solver's share", share)
