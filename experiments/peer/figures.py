"""Arithmetic and parsing of scripts/bench_peer; needs nothing beyond the standard library."""
import re
import statistics

TARGETS = {  # row: (least ratio, what it is against)
    "step": (1.6, "PyTorch f32"), "bf16": (3.0, "PyTorch f32"), "rhs": (1.8, "two passes"), "small": (2.0, "PyTorch f32"),
    "memory": (2.0, "PyTorch f32"), "bpd": (8.0, "published recipe")}
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


def bench_rate(text, row="likelihood evaluation"):
    """Images/s of a row of what `probflow bench` prints."""
    found = re.search(r"^%s +([\d.]+) " % re.escape(row), text, re.M)
    if not found:
        raise ValueError("probflow bench printed no row '%s'" % row)
    return float(found.group(1))


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
    """Readings of two calls together, unless the build or the work changed in between."""
    if not old or any(old.get(k) != new[k] for k in ("title", "build", "unit")) or old["theirs"].keys() != new["theirs"].keys():
        return new
    return dict(new, ours=old["ours"] + new["ours"], others=old["others"] + new["others"],
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


HEAD = ["| row | probflow | PyTorch | ratio min / median / max | target | rounds | CPU taken by others |", "|---|---|---|---|---|---|---|"]


def line(row, r):
    """A line of the table from the readings of a row."""
    least, against = TARGETS[row]
    layout, ratio = ratios(r, r["against"])
    low, mid, high = spread(ratio)
    others_ = statistics.mean(r["others"])
    verdict = "machine not quiet" if others_ > QUIET else "reached" if mid >= least else "not reached"
    return "| %s | %.4g %s | %.4g %s | %.2f / %.2f / %.2f against %s | %.1f %s | %d | %.0f %% |" % (
        r["title"], spread(r["ours"])[1], r["unit"], spread(variants(r, r["against"])[layout])[1], r["unit"],
        low, mid, high, against, least, verdict, len(r["ours"]), others_)


def notes(row, r):
    yield from r["notes"]
    for kind in dict.fromkeys(k.rsplit(" ", 1)[0] for k in r["theirs"]):
        layout, ratio = ratios(r, kind)
        yield "PyTorch, %s: %s; against %s %.2f / %.2f / %.2f" % (
            kind, ", ".join("%s %.4g %s" % (k, spread(v)[1], r["unit"]) for k, v in variants(r, kind).items()), layout, *spread(ratio))


def table(rows):
    text = HEAD + [line(k, rows[k]) for k in TARGETS if k in rows] + [""]
    return "\n".join(text + ["- %s: %s" % (k, n) for k in TARGETS if k in rows for n in notes(k, rows[k])])
