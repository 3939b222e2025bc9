"""Row `bpd` of scripts/bench_peer: a whole likelihood of the same images under a trained network, by both sides."""
import os

import figures
from process import Clock, fail, say, sets


def newest(run):
    """The checkpoint of a run directory, or the one that is named: names sort by step."""
    if not os.path.isdir(run):
        return run
    return sorted(os.path.join(run, f) for f in os.listdir(run) if f.startswith("checkpoint-"))[-1]


class Whole:
    """bench: scripts/bench_peer's; checkpoint: of the trained network."""

    def __init__(self, bench, checkpoint):
        self.bench, self.a, self.checkpoint = bench, bench.a, checkpoint
        self.peer, self.keys = bench.start_peer(), ["likelihood.t_min=1e-5"] + bench.a.sets
        self.points, self.few = bench.work + "/images.h5", bench.work + "/few.h5"
        config = self.peer.ask("load", name="trained", checkpoint=checkpoint)
        self.data, self.tolerances = self.a.data or config["data"], config["tolerances"]
        self.about = self.peer.ask("images", data=self.data, split="test", out=self.points, n=self.a.images)
        self.peer.ask("part", points=self.points, out=self.few, n=min(self.a.few, self.a.images))

    def tight(self, factor):
        return self.keys + ["likelihood.%s=%.3g" % (k, v * factor) for k, v in self.tolerances.items()]

    def logp(self, points, factor):
        """log p of points at the run's tolerances times factor: nats, evaluations."""
        out = self.bench.work + "/logp.h5"
        self.bench.probflow("logp", self.checkpoint, "--in", points, "--out", out, "--quiet", *sets(self.tight(factor)))
        return self.peer.ask("logp_of", result=out)

    def bits(self, found):
        return figures.bits(found["logp"], self.about["dim"], self.about["levels"])

    def choose(self):
        """The loosest multiple of the run's tolerances whose largest error on a few images, solved among all, is within
        the limit, and the bits/dim of these images at a hundredth of it."""
        for factor in (3.0, 2.0, 1.5, 1.0, 0.6, 0.3, 0.1, 0.01):
            exact = self.bits(self.logp(self.few, 0.01 * factor))
            error = figures.errors(self.bits(self.logp(self.points, factor)), exact)
            say("tolerances times %g: error %.1e on average, %.1e at most bits/dim" % (factor, *error))
            if error[1] <= figures.SOLVER_LIMIT:
                return factor, exact
        fail("no tolerance of probflow keeps the solver's error within %g bits/dim" % figures.SOLVER_LIMIT)

    def fastest(self):
        """Variant and job of the right-hand side in two passes of all images."""
        jobs = {k.split()[1]: job for k, job in self.bench.jobs("trained", self.a.images, ["two_pass"]).items()}
        speed = {v: [self.peer.ask("time", job=job, seconds=1)["images_s"] for _ in range(2)] for v, job in jobs.items()}
        best = figures.best(speed)
        return best, jobs[best]

    def ours(self, factor):
        """Seconds of `probflow bpd`, from start to exit."""
        result = self.bench.work + "/bpd.h5"
        seconds = self.bench.probflow("bpd", self.checkpoint, "--data", self.data, "--limit", str(self.a.images), "--out", result, "--quiet", *sets(
            self.tight(factor) + ["likelihood.check_groups=0", "likelihood.dequantisation=uniform"]))[1]
        os.remove(result)
        return seconds

    def theirs(self, job):
        clock = Clock(self.peer.p.pid)
        found = self.peer.ask("likelihood", job=job, points=self.points, tolerance=1e-5)
        self.bench.note("bpd", clock.others())
        return found

    def agreement(self, factor, exact, theirs):
        """Notes on how near the two sides come to each other and to the exact solution."""
        mine = self.logp(self.points, factor)
        a, b = self.bits(mine), self.bits(theirs)
        apart, error, theirs_error = figures.errors(a, b), figures.errors(a, exact), figures.errors(b, exact)
        if error[1] > figures.SOLVER_LIMIT:
            fail("in groups of the whole set the solver's error is %.1e bits/dim, above %g" % (error[1], figures.SOLVER_LIMIT))
        return ["same images and probes, %d of %s: probflow %.5f, PyTorch %.5f bits/dim; an image differs by %.1e on average, %.1e at most" % (
                    len(a), os.path.basename(self.data), sum(a) / len(a), sum(b) / len(b), *apart),
                "solver's error on %d images against a hundredth of the tolerances: probflow (%g times the run's) %.1e on average, %.1e at most "
                "(limit %g), PyTorch %.1e, %.1e bits/dim" % (len(exact), factor, *error, figures.SOLVER_LIMIT, *theirs_error),
                "evaluations: probflow %d, summed over groups, of one pass; PyTorch %d of the whole batch, of two passes" % (
                    mine["evaluations"], theirs["evaluations"])]

    def row(self, name):
        factor, exact = self.choose()
        variant, job = self.fastest()
        ours, theirs = [], []
        for i in range(self.a.rounds):
            ours.append(self.ours(factor))
            found = self.theirs(job)
            theirs.append(found["seconds"])
            say("bpd, round %d of %d: %.1f s; PyTorch %s %.1f s" % (i + 1, self.a.rounds, ours[-1], variant, theirs[-1]))
        return {"title": "bpd of %d images, trained %s" % (self.about["images"], name), "ours": ours, "theirs": {"two_pass " + variant: theirs},
                "unit": "s", "smaller": True, "against": "two_pass", "notes": self.agreement(factor, exact, found)}
