#!/usr/bin/env bash
# docs/own-data.md, followed literally but for fewer steps and points: its commands run in their order, the tables hold the
# columns that the page says and no others, and what the page says of a table holds.
. "$(dirname "$0")/common.sh"
mkdir "$tmp/my" && cd "$tmp/my" || exit 1
page=$root/docs/own-data.md
awk '/^```/ { on = $0 == "```sh"; next } on' "$page" >commands
for what in 'steps: 2000' 'decay: 1000' 'points 1001 20000' 'points 3003 200'; do grep -q "$what" commands || fail "the page holds no '$what'"; done
sed -i 's/steps: 2000/steps: 40/; s/decay: 1000/decay: 20/; s/points 1001 20000/points 1001 2000/; s/points 3003 200/points 3003 20/' commands
PATH=$(dirname "$probflow"):$PATH bash -euo pipefail commands >log 2>&1 || { tail -n 20 log; fail "a command of the page"; }
grep -q '^truth -[0-9.]*, model minus truth -\?[0-9.]* +- [0-9.]*$' log || fail "the truth is not compared"
grep -q '20 points; all of it; 2 values a point' log || fail "the new points are not all read"

# pixels, with all that a table can hold
"$probflow" train "$tmp/tiny.yaml" --run tiny --set train.steps=1 --quiet >/dev/null 2>&1 || fail "cannot train on images"
/usr/bin/python3 -c '
import h5py, numpy as np
f = h5py.File("images.h5", "w")
f["images"], f["labels"] = np.arange(2 * 28 * 28).reshape(2, 28, 28).astype("u1"), np.arange(2)'
"$probflow" logp tiny --in images.h5 --out pixels.csv --set likelihood.estimand=nll_and_bound --set likelihood.bound_samples=2 --quiet >/dev/null || fail "pixels"

/usr/bin/python3 - "$page" <<'P' || fail "the page and the tables differ"
import csv, re, sys
text = open(sys.argv[1]).read()
said = set(w for row in re.findall(r"^\| (`.*?) \|", text, re.M) for w in re.findall(r"`([a-z_.]+)`", row))
said |= {w for w in re.findall(r"`([a-z_]+)`", text) if w.startswith(("against_", "difference_"))}
def known(c): return c in said or c.startswith("bound_") and "bound_..." in said or c == "difference_nats"
read = lambda name: list(csv.DictReader(open(name)))
tables = {n: read(n + ".csv") for n in ("result", "versus", "pixels")}
for n, rows in tables.items():
    assert not [c for c in rows[0] if not known(c)], (n, list(rows[0]))
have = set().union(*(rows[0] for rows in tables.values()))
assert not said - have - {"bound_..."}, said - have
assert len(tables["result"]) == len(tables["versus"]) == 20
f = lambda r, *names: sum(float(r[n]) for n in names)
for r in tables["result"]:
    assert abs(f(r, "prior_nats", "integral_nats") - f(r, "log_likelihood_nats")) < 1e-9
    assert abs(f(r, "probe_error_nats") ** 2 / 2 - f(r, "weight_correction_nats")) < 1e-12
for r in tables["pixels"]:
    parts = f(r, "prior_nats", "integral_nats", "dequantisation_nats", "offset_nats")
    assert abs(parts - f(r, "log_likelihood_nats")) < 1e-6 * abs(parts)
    assert abs(f(r, "bits_per_dim") * 784 * 0.6931471805599453 + f(r, "log_likelihood_nats")) < 1e-6 * abs(parts)
P
echo ok
