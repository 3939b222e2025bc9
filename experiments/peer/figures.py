"""Arithmetic and parsing of scripts/bench_peer; needs nothing beyond the standard library."""
import re
import statistics

from machine import narrow

AGAINST = {
    "step": "PyTorch f32", "bf16": "PyTorch f32", "rhs": "two passes", "small": "PyTorch f32", "small_config": "PyTorch f32",
    "memory": "PyTorch f32", "memory64": "PyTorch f32", "bpd": "published recipe", "text": "PyTorch f32", "lstm": "PyTorch f32", "ranks": "1 rank x 2 threads"}
# least ratio, and least share [%] of the limit; with AVX-512, and where it is another without; a row that is not there has no target
TARGETS = {"step": 1.6, "bf16": 3.0, "rhs": 1.8, "small": 2.0, "memory": 2.0, "memory64": 2.0, "bpd": 8.0, "text": 1.2, "lstm": 1.0, "ranks": 0.97}
LIMIT = {"step": 85.0, "bf16": 80.0, "rhs": 85.0}
NARROW_TARGETS = dict(TARGETS, step=1.4, bf16=None, rhs=2.5, small=1.2, small_config=1.2)
NARROW_LIMIT = dict(LIMIT, bf16=None, small=90.0)
MOST = {"outside": 5.0, "start": 50.0}  # rows of probflow alone: the most that they should read
ROWS = list(AGAINST) + list(MOST)
# what the rows with PyTorch import there
MODULES = {row: ("torch", "numpy", "h5py", "yaml") + ("scipy",) * (row == "bpd") for row in AGAINST if row != "ranks"}
SOLVER_LIMIT = 1e-3  # bits/dim
QUIET = 10.0  # % of the CPU time in use that others may have


def progress(text):
    """[(step, loss)] of the lines in what `probflow train` wrote to its terminal."""
    return [(int(s), float(l)) for s, l in re.findall(r"step (\d+)/\d+ +loss ([-+.\deEnaif]+)", text)]


def rate(marks, batch):
    """Images/s of marks [(seconds, step)], from the first to the last: the first step warms up."""
    if len(marks) < 2 or marks[-1][1] == marks[0][1]:
        raise ValueError("fewer than two steps were seen")
    return batch * (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])


def bench_csv(text):
    """{(what, unit): (min, median, max)} of the lines that `probflow bench --csv` wrote."""
    rows = [l.rsplit(",", 4) for l in text.splitlines()[1:]]
    return {(what.strip(), unit): tuple(float(v) for v in three) for what, unit, *three in rows}


def numbers(dump):
    """Of a dataset that `h5dump -y` printed."""
    return [float(v) for v in re.search(r"DATA \{(.*?)\}", dump, re.S).group(1).replace(",", " ").split()]


def peak(status):
    """MiB of VmHWM in the text of /proc/PID/status."""
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.M).group(1)) / 1024.0


def busy(stat):
    """Clock ticks that all CPUs spent on anything, from the text of /proc/stat."""
    user, nice, system, _, _, irq, soft, steal = (int(n) for n in stat.split("\n", 1)[0].split()[1:9])
    return user + nice + system + irq + soft + steal


def others(all_ticks, own_ticks):
    """Share [%] of the CPU time in use that other processes had."""
    return 100.0 * max(all_ticks - own_ticks, 0) / all_ticks if all_ticks > 0 else 0.0


def spread(values):
    return min(values), statistics.median(values), max(values)


def best(readings, smaller=False):
    """Of {variant: [figure of a round]} the variant with the best median."""
    return (min if smaller else max)(readings, key=lambda v: statistics.median(readings[v]))


def variants(row, kind):
    """Of a row the readings of one kind, as {layout: [...]}; they are stored as "kind layout"."""
    return {k.rsplit(" ", 1)[1]: v for k, v in row["theirs"].items() if k.rsplit(" ", 1)[0] == kind}


def ratios(row, kind):
    """(variant, [ratio of a round, above 1 where probflow is better]) against the best variant of a kind."""
    of = variants(row, kind)
    name = best(of, row["smaller"])
    return name, [(b / a if row["smaller"] else a / b) for a, b in zip(row["ours"], of[name])]


def merged(old, new):
    """Readings of two calls together, unless the build, the machine, PyTorch or the work changed in between."""
    if not old or any(old.get(k) != new.get(k) for k in ("title", "build", "unit", "machine", "peer")) or old["theirs"].keys() != new["theirs"].keys():
        return new
    return dict(new, ours=old["ours"] + new["ours"], others=old["others"] + new["others"], limit=old.get("limit", []) + new.get("limit", []),
                theirs={k: old["theirs"][k] + v for k, v in new["theirs"].items()})


def same_function(found, limit):
    """None, or why nets that differ by found {what: relative difference} are not compared."""
    for what, difference in found.items():
        if not difference <= limit:  # also when it is not a number
            return "%s differs by %.2g of its rms, more than %.0e: the two are not the same function" % (what, difference, limit)
    return None


def bits(logp, dim, levels=256):
    """Bits/dim of 8-bit data in [-1,1] from nats of log p(x)."""
    from math import log, log2
    return [-l / (dim * log(2.0)) + log2(levels / 2.0) for l in logp]


def errors(values, reference):
    """Mean and largest |value - reference| over the images that both have."""
    d = [abs(a - b) for a, b in zip(values, reference)]
    return sum(d) / len(d), max(d)


HEAD = ["| row | probflow | against | ratio min / median / max | target | of limit min / median / max | rounds | CPU taken by others |",
        "|---|---|---|---|---|---|---|---|"]


def needs(rows):
    """{module of PyTorch's side: the first of the rows that needs it}"""
    return {m: row for row in reversed(rows) for m in MODULES.get(row, ())}


def verdict(good, others_):
    return "machine not quiet" if others_ > QUIET else "reached" if good else "not reached"


def against_target(least, value, others_):
    """least None: there is no target."""
    if least is None:
        return verdict(True, others_) if others_ > QUIET else "none"
    return "%g %s" % (least, verdict(value >= least, others_))


def targets(r):
    """Least ratio and least share of the limit by row, for the instruction set that a row was measured with."""
    return (NARROW_TARGETS, NARROW_LIMIT) if narrow(r.get("isa", "avx512")) else (TARGETS, LIMIT)


def limits(row, r, others_):
    """Of the share of the limit, where it was measured."""
    if not r.get("limit"):
        return ""
    three = spread(r["limit"])
    return "%.0f / %.0f / %.0f %%, %s" % (*three, against_target(targets(r)[1].get(row), three[1], others_))


def line(row, r):
    """A line of the table from the readings of a row."""
    others_ = statistics.mean(r["others"]) if r["unit"] != "MiB" else 0.0  # memory does not depend on them
    end = "| %s | %d | %.0f %% |" % (limits(row, r, others_), len(r["ours"]), others_)
    if row in MOST:
        three = spread(r["ours"])
        return "| %s | %.3g / %.3g / %.3g %s | | | at most %g %s %s" % (
            r["title"], *three, r["unit"], MOST[row], verdict(three[1] <= MOST[row], others_), end)
    layout, ratio = ratios(r, r["against"])
    return "| %s | %.4g %s | %.4g %s | %.2f / %.2f / %.2f against %s | %s %s" % (
        r["title"], spread(r["ours"])[1], r["unit"], spread(variants(r, r["against"])[layout])[1], r["unit"],
        *spread(ratio), AGAINST[row], against_target(targets(r)[0].get(row), spread(ratio)[1], others_), end)


def notes(row, r):
    yield from r["notes"]
    for kind in dict.fromkeys(k.rsplit(" ", 1)[0] for k in r["theirs"]):
        layout, ratio = ratios(r, kind)
        yield "%s: %s; against %s %.2f / %.2f / %.2f" % (
            kind, ", ".join("%s %.4g %s" % (k, spread(v)[1], r["unit"]) for k, v in variants(r, kind).items()), layout, *spread(ratio))


def heading(rows):
    """On which machine and against which PyTorch: a line each, with its rows where there are several."""
    for key in ("machine", "peer"):
        of = {}
        for row in (k for k in ROWS if k in rows and rows[k].get(key)):
            of.setdefault(rows[row][key], []).append(row)
        for text, names in of.items():
            yield "%s%s" % (text, "" if len(of) == 1 else " (%s)" % ", ".join(names))


def table(rows):
    text = [*heading(rows), ""] + HEAD + [line(k, rows[k]) for k in ROWS if k in rows] + [""]
    return "\n".join(text + ["- %s: %s" % (k, n) for k in ROWS if k in rows for n in notes(k, rows[k])])
