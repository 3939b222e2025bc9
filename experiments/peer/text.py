"""Row `text` of scripts/bench_peer: a training step of a transformer of tokens, by both sides."""
import os
import random
import subprocess

import figures
from process import fail, say

BATCH, LENGTH, SYMBOLS = 16, 256, 27
NET = {"width": 256, "depth": 12, "heads": 8, "cond_width": 128}
CONFIG = "name: text\nseed: 1\nshards: 2\ndata: {path: %s}\nmethod: {name: masked}\nmodel: {name: transformer, variant: dit, %s}\n" \
    "train: {batch: %d}\n"
LIMIT = 1e-5  # float32 rounding gives 1e-6


class Text:
    """bench: scripts/bench_peer's; build: the folder that holds tests/check_vectors."""

    def __init__(self, bench, root, build):
        self.bench, self.vectors = bench, os.path.join(root, "tests/golden/net_mdlm_dit.h5")
        self.check, self.path = os.path.join(build, "tests/check_vectors"), os.path.join(bench.work, "text.yaml")

    def config(self):
        data = os.path.join(self.bench.work, "text.h5")
        if not os.path.exists(data):
            source, draw = os.path.join(self.bench.work, "text.txt"), random.Random(1)
            with open(source, "w") as f:  # speed does not depend on what it says
                f.write(" ".join("".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(5)) for _ in range(100000)))
            self.bench.probflow("data", source, data, "--text", "text8", "--length", str(LENGTH), "--quiet")
        with open(self.path, "w") as f:
            f.write(CONFIG % (data, ", ".join("%s: %d" % kv for kv in NET.items()), BATCH))

    def same(self):
        """Both sides compute the authors' network; ends the program where one does not."""
        if not os.path.exists(self.check):
            fail("row text needs %s: build the tests too" % self.check)
        found = self.bench.start_peer().ask("published", path=self.vectors)["difference"]
        why = figures.same_function({"net": found}, LIMIT)
        if why:
            fail("published DiT: " + why)
        p = subprocess.run([self.check, self.vectors], capture_output=True, text=True)
        if p.returncode:
            fail("published DiT: %s: %s" % (self.check, (p.stdout + p.stderr).strip()[-300:]))
        text = "same function: both are the published DiT of tests/golden/net_mdlm_dit.h5: PyTorch's differs by %.1e of the largest output" % found
        say(text)
        return text

    def jobs(self):
        peer, o, new = self.bench.peer, {"batch": BATCH, "length": LENGTH, "symbols": SYMBOLS, **NET}, self.bench.peer.about["compile"]
        made = {v: peer.ask("text", variant=v, **o) for v in ("plain",) + ("fused",) * new + ("compiled",) * (new and self.bench.torch.compiles)}
        return {"step " + v: m["job"] for v, m in made.items() if "job" in m}

    def row(self):
        self.config()
        same = self.same()
        race = self.bench.race("text", lambda: self.bench.train("text", self.path, [], BATCH)[0], self.jobs())
        return dict(race, unit="rows/s", against="step", notes=[same], title="training step, transformer of 12 layers, width %d, %d symbols, batch %d, f32" % (
            NET["width"], LENGTH, BATCH), limit=self.bench.limit("text", self.path, [], None))
