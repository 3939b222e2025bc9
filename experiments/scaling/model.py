#!/usr/bin/python3
"""Predicts the time of a training step and of bpd on many ranks, and checks the prediction against
what scripts/bench_scaling measured.  The formulas are those of README.md, in the same letters.

    experiments/scaling/model.py [--measured FILE.json] [--fill]     --fill writes the tables into README.md
"""
import argparse
import heapq
import json
import math
import os
import statistics

HERE = os.path.dirname(os.path.abspath(__file__))
BUCKETS, BUCKET_MIN, BUCKET_MAX = 16, 1 << 12, 1 << 20  # src/train/step.c
BACKWARD = 2.0 / 3.0  # of a pass: two products for each of the forward pass
# Traffic of a parameter in bytes; Adam with its average reads 5 floats and writes 4.
ADAM, ADD, ZERO, SQUARE = 36.0, 12.0, 4.0, 4.0
# Assumed, not measured: latency [s] and bytes/s of a host's port.  MPI over nominal 10 Gbit/s Ethernet
# (TCP) and over 200 Gbit/s InfiniBand at nine tenths of the wire.
NETWORKS = {"Ethernet 10 Gbit/s": (25e-6, 1.1e9), "InfiniBand 200 Gbit/s": (2e-6, 22e9)}
DISK = 0.5e9  # bytes/s of a checkpoint, assumed


def interpolate(table):
    """Seconds of one exchange of n bytes, linear between measured sizes and beyond the last."""
    def t(n, level=0):
        for (n0, t0), (n1, t1) in zip(table, table[1:]):
            if n <= n1 or n1 == table[-1][0]:
                return t0 + max(n - n0, 0.0) * (t1 - t0) / (n1 - n0)
    return t


def cluster(network, inside, per_host):
    """Exchange of a level of the recursion: ranks of one host meet first (rank ^ 1, ^ 2, ...); all
    ranks of a host share its port."""
    alpha, rate = NETWORKS[network]

    def t(n, level=0):
        return inside(n) if 1 << level < per_host else alpha + n * per_host / rate
    return t


class Run:
    """R ranks of W workers, S shards, a batch of B images; net: params, prepare, pass, image, update."""

    def __init__(self, net, R, W, S, B, t, cpu=None, overlap=True):
        self.P, self.R, self.W, self.S, self.B = net["params"], R, W, S, B
        self.net, self.t, self.cpu, self.overlap = net, t, cpu, overlap
        self.byte = 2.0 * net["update"] / ADAM  # one of two busy workers moves a byte in this time
        self.levels = range(int(math.log2(R)))
        f = min(max(self.P / BUCKETS, BUCKET_MIN), BUCKET_MAX)
        self.buckets = [f] * int(self.P // f) + ([self.P % f] if self.P % f >= 1 else [])

    def one_pass(self):
        return self.net["pass"] + self.B / self.S * self.net["image"]

    def compute(self):
        n = self.S / (self.R * self.W)
        tree = self.P * self.byte * (n * ZERO + (n - 1 + math.log2(self.W)) * ADD)
        return self.net["prepare"] / self.W + n * self.one_pass() + tree

    def bucket(self, f, t, add):
        """Recursive halving (add) or its way back: 1/2, 1/4, ... of a bucket of f floats."""
        return sum(t(4.0 * f / 2 ** (k + 1), k) + add * f / 2 ** (k + 1) * self.byte for k in self.levels)

    def exchange(self, window, add):
        """Seconds the workers lose to a round whose buckets become final evenly over `window`."""
        if self.R == 1:
            return 0.0
        cost = [self.bucket(f, self.t, add) for f in self.buckets]
        if not self.overlap:
            return sum(cost)
        # Moving data takes a core too: where none is free (cpu) it comes off the computation.
        stolen = sum(min(self.bucket(f, self.cpu, add), c) for f, c in zip(self.buckets, cost)) if self.cpu else 0.0
        end = 0.0
        for i, c in enumerate(cost):
            end = max(end, window * (i + 1) / len(cost)) + c
        return max(end - window, stolen)

    def parts(self):
        own = self.P / (self.R * self.W)
        words = 8.0 * (3 + 2 * self.S / self.R)
        small = sum(self.t(words * 2 ** k, k) for k in self.levels)
        adam = own * self.byte * ADAM
        return {"compute": self.compute(), "reduce": self.exchange(BACKWARD * self.one_pass(), ADD),
                "small": small + own * self.byte * SQUARE, "adam": adam, "gather": self.exchange(adam, 0.0)}

    def step(self):
        return sum(self.parts().values())

    def waiting(self):
        p = self.parts()
        return (p["reduce"] + p["small"] + p["gather"]) / sum(p.values())

    def checkpoint(self):
        """Average and two moments are gathered, rank 0 writes four blocks."""
        gather = sum(self.bucket(f, self.t, 0.0) for f in self.buckets)
        return 3.0 * gather * (self.R > 1) + 16.0 * self.P / DISK


def makespan(costs, workers):
    """Items in order, each to the worker that is free first."""
    free = [0.0] * workers
    for c in costs:
        heapq.heapreplace(free, free[0] + c)
    return max(free)


def check(m):
    """Predicted beside measured at 2 workers."""
    lines = ["| network | where | measured [ms] | predicted [ms] | error | waiting measured | predicted |", "|---|---|---|---|---|---|---|"]
    errors = []

    def row(net, where, measured, run, wait=None):
        step, seen = run.step(), statistics.median(measured)
        errors.append(abs(step / seen - 1))
        lines.append("| %s | %s | %.1f | %.1f | %+.0f %% | %s | %.0f %% |" % (
            net, where, 1e3 * seen, 1e3 * step, 100 * (step / seen - 1),
            "" if wait is None else "%.0f %%" % (100 * statistics.median(w / s for w, s in zip(wait, measured))), 100 * run.waiting()))

    memory = interpolate(m["exchange"]["one host"])
    for name, r in m["ranks"].items():
        n = m["nets"][name]
        row(name, "1 rank, 2 threads", r["1x2"], Run(n, 1, 2, n["shards"], n["batch"], memory))
        row(name, "2 ranks, 1 thread", r["2x1"], Run(n, 2, 1, n["shards"], n["batch"], memory, overlap=False))
    free = interpolate(m["exchange"].get("not limited", m["exchange"]["one host"]))
    for h in m["hosts"]:
        n, link = m["nets"][h["net"]], "%d Mbit/s" % h["rate"] if h["rate"] else "not limited"
        run = Run(n, 2, 1, n["shards"], n["batch"], interpolate(m["exchange"][link]), cpu=free, overlap=h["overlap"] == "yes")
        row(h["net"], "2 hosts, %s, %s" % (link, "overlap" if h["overlap"] == "yes" else "none"), h["step"], run, h["wait"])
    lines.append("\nError of the step: mean %.0f %%, largest %.0f %%." % (100 * statistics.mean(errors), 100 * max(errors)))
    return "\n".join(lines)


def inputs(m):
    lines = ["| network | parameters | GFLOP an image, forward | a step [ms] | a pass [ms] | an image [ms] | Adam [ns a parameter and worker] |", "|---|---|---|---|---|---|---|"]
    for name, n in m["nets"].items():
        lines.append("| %s | %.2f M | %.2f | %.1f | %.1f | %.1f | %.2f |" % (
            name, 1e-6 * n["params"], n["gflop"], 1e3 * n["prepare"], 1e3 * n["pass"], 1e3 * n["image"], 2e9 * n["update"]))
    lines += ["", "| exchange, both ways at once | 8 B [us] | 64 KiB [us] | 1 MiB [us] | GB/s at 64 KiB |", "|---|---|---|---|---|"]
    for name, table in m["exchange"].items():
        t = interpolate(table)
        lines.append("| %s | %.1f | %.0f | %.0f | %.3f |" % (name, 1e6 * t(8), 1e6 * t(65536), 1e6 * t(1 << 20), 65536e-9 / t(65536)))
    for name, (alpha, rate) in NETWORKS.items():
        lines.append("| %s (assumed) | %.1f | %.0f | %.0f | %.3f |" % (
            name, 1e6 * alpha, 1e6 * (alpha + 65536 / rate), 1e6 * (alpha + 1048576 / rate), 65536e-9 / (alpha + 65536 / rate)))
    return "\n".join(lines)


def predict(m):
    """Step times of DDPM++ with 61.8 M parameters, one thread a rank, 32 ranks a host."""
    net, inside, lines = m["nets"]["ddpm++"], interpolate(m["exchange"]["one host"]), []
    for B in (128, 1024, 4096):
        lines += ["", "Global batch %d, as many shards as ranks:" % B, "", "| ranks | hosts | images a rank | " + " | ".join(
            "%s: step [s] | efficiency | waiting" % n for n in NETWORKS) + " |", "|---" * (3 + 3 * len(NETWORKS)) + "|"]
        for R in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
            if R > B:
                lines.append("| %d | | | batch %d has no image for each rank" % (R, B) + " | " * (3 * len(NETWORKS)) + "|")
                break
            cells = []
            for name in NETWORKS:
                one = Run(net, 1, 1, 1, B, inside).step()
                run = Run(net, R, 1, R, B, cluster(name, inside, min(R, 32)), overlap=R > 32)
                cells.append("%.2f | %.0f %% | %.1f %%" % (run.step(), 100 * one / run.step() / R, 100 * run.waiting()))
            lines.append("| %d | %d | %g | %s |" % (R, max(R // 32, 1), B / R, " | ".join(cells)))
    lines += ["", "Shards a rank, 64 ranks on 2 hosts, InfiniBand, batch 1024 (the number of shards is part of the run):", "",
              "| shards | a rank | images a pass | step [s] | lost against 64 shards |", "|---|---|---|---|---|"]
    t = cluster("InfiniBand 200 Gbit/s", inside, 32)
    least = Run(net, 64, 1, 64, 1024, t).step()
    for S in (64, 128, 256, 512, 1024):
        step = Run(net, 64, 1, S, 1024, t).step()
        lines.append("| %d | %d | %d | %.2f | %.0f %% |" % (S, S // 64, 1024 // S, step, 100 * (step / least - 1)))
    run = Run(net, 1024, 1, 1024, 1024, t)
    lines += ["", "Overlap, 1,024 ranks, batch 1024:", "", "| network | step with overlap [s] | without [s] |", "|---|---|---|"]
    for name in NETWORKS:
        t = cluster(name, inside, 32)
        both = [Run(net, 1024, 1, 1024, 1024, t, overlap=o).step() for o in (True, False)]
        lines.append("| %s | %.2f | %.2f |" % (name, *both))
    lines += ["", "A checkpoint of 1,024 ranks takes %.1f s over InfiniBand, %.1f of them writing at %.1f GB/s." % (
        run.checkpoint(), 16.0 * run.P / DISK, DISK * 1e-9)]
    return "\n".join(lines).strip()


def bpd(m):
    """Tail of the queue: 10,000 images in groups of 16 with the measured spread of evaluations."""
    seen = m["bpd"]["1x2"][0]["evaluations"]
    groups = [seen[i % len(seen)] for i in range(625)]
    lines = ["Evaluations a group: least %d, mean %.0f, most %d of %d groups." % (min(seen), statistics.mean(seen), max(seen), len(seen)),
             "", "| workers (ranks x threads) | groups a worker | efficiency | with groups of 4 images |", "|---|---|---|---|"]
    small = [c for c in groups for _ in range(4)]
    for W in (1, 2, 8, 32, 64, 128, 256, 512, 1024):
        lines.append("| %d | %.1f | %.0f %% | %.0f %% |" % (W, 625 / W, *(100 * sum(g) / (W * makespan(g, W)) for g in (groups, small))))
    return "\n".join(lines)


def fill(blocks):
    path = HERE + "/README.md"
    text = open(path).read()
    for name, block in blocks.items():
        begin, end = "<!-- %s -->\n" % name, "<!-- end of %s -->" % name
        head, rest = text.split(begin)
        text = head + begin + "\n" + block + "\n\n" + end + rest.split(end)[1]
    open(path, "w").write(text)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--measured", default=HERE + "/measured.json")
    a.add_argument("--fill", action="store_true", help="write the tables into README.md")
    a = a.parse_args()
    m = json.load(open(a.measured))
    blocks = {"measured": m["tables"], "inputs": inputs(m), "check": check(m), "predicted": predict(m), "bpd": bpd(m)}
    if a.fill:
        fill(blocks)
    else:
        print("\n\n".join("## %s\n\n%s" % b for b in blocks.items()))


if __name__ == "__main__":
    main()
