"""Arithmetic and parsing of scripts/bench_peer; needs nothing beyond the standard library."""
import re
import statistics

TARGETS = {  # row: (least ratio, what it is against)
    "step": (1.6, "PyTorch f32"), "bf16": (3.0, "PyTorch f32"), "rhs": (1.8, "two passes"), "small": (2.0, "PyTorch f32"),
    "memory": (2.0, "PyTorch f32"), "memory64": (2.0, "PyTorch f32"), "bpd": (8.0, "published recipe"), "ranks": (0.97, "1 rank x 2 threads")}
MOST = {"outside": 5.0, "start": 50.0}  # rows of probflow alone: the most that they should read
LIMIT = {"step": 85.0, "bf16": 80.0, "rhs": 85.0}  # least share [%] of the limit
ROWS = list(TARGETS) + list(MOST)
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
    """Readings of two calls together, unless the build or the work changed in between."""
    if not old or any(old.get(k) != new[k] for k in ("title", "build", "unit")) or old["theirs"].keys() != new["theirs"].keys():
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


def verdict(good, others_):
    return "machine not quiet" if others_ > QUIET else "reached" if good else "not reached"


def limits(row, r, others_):
    """Of the share of the limit, where it was measured."""
    if not r.get("limit"):
        return ""
    three = spread(r["limit"])
    return "%.0f / %.0f / %.0f %%, %.0f %s" % (*three, LIMIT[row], verdict(three[1] >= LIMIT[row], others_))


def line(row, r):
    """A line of the table from the readings of a row."""
    others_ = statistics.mean(r["others"]) if r["unit"] != "MiB" else 0.0  # memory does not depend on them
    end = "| %s | %d | %.0f %% |" % (limits(row, r, others_), len(r["ours"]), others_)
    if row in MOST:
        three = spread(r["ours"])
        return "| %s | %.3g / %.3g / %.3g %s | | | at most %g %s %s" % (
            r["title"], *three, r["unit"], MOST[row], verdict(three[1] <= MOST[row], others_), end)
    least, against = TARGETS[row]
    layout, ratio = ratios(r, r["against"])
    return "| %s | %.4g %s | %.4g %s | %.2f / %.2f / %.2f against %s | %g %s %s" % (
        r["title"], spread(r["ours"])[1], r["unit"], spread(variants(r, r["against"])[layout])[1], r["unit"],
        *spread(ratio), against, least, verdict(spread(ratio)[1] >= least, others_), end)


def notes(row, r):
    yield from r["notes"]
    for kind in dict.fromkeys(k.rsplit(" ", 1)[0] for k in r["theirs"]):
        layout, ratio = ratios(r, kind)
        yield "%s: %s; against %s %.2f / %.2f / %.2f" % (
            kind, ", ".join("%s %.4g %s" % (k, spread(v)[1], r["unit"]) for k, v in variants(r, kind).items()), layout, *spread(ratio))


def table(rows):
    text = HEAD + [line(k, rows[k]) for k in ROWS if k in rows] + [""]
    return "\n".join(text + ["- %s: %s" % (k, n) for k in ROWS if k in rows for n in notes(k, rows[k])])
