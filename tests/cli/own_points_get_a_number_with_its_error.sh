#!/usr/bin/env bash
# logp of points from a table: the stated errors hold the closed form of a Gaussian, the same bits on any
# ranks and after a kill, pairs of models, pixels, and what cannot be scored.
. "$(dirname "$0")/common.sh"
cd "$tmp" || exit 1
cat >make.py <<'P'
import numpy as np, sys
r = np.random.default_rng(11)
def gauss(D, n, scale):
    a = r.normal(size=(D, D)) / D ** .5 * scale
    c = a @ a.T + (0.4 * scale) ** 2 * np.eye(D)
    return r.multivariate_normal(r.normal(size=D) * 0.3 * scale, c, size=n)
x = gauss(12, 6000, 0.4)
np.savetxt("train.csv", x[:5000], delimiter=",")
np.savetxt("p.csv", x[5000:], delimiter=",", header=",".join("c%d" % i for i in range(12)), comments="")
k = np.clip(np.rint(128 + gauss(12, 6000, 35)), 0, 255).astype(np.uint8).reshape(-1, 4, 3)
wide = np.pad(k[5000:5020], ((0, 0), (1, 1), (1, 1)))
for name, a in (("train-idx", k[:5000]), ("p-idx", k[5000:]), ("few-idx", k[5000:5020]), ("wide-idx", wide)):
    open(name, "wb").write(bytes([0, 0, 8, 3]) + b"".join(s.to_bytes(4, "big") for s in a.shape) + a.tobytes())
np.savetxt("k.csv", k[5000:].reshape(-1, 12), delimiter=",", fmt="%d")
np.savetxt("u.csv", k[5000:].reshape(-1, 12) + r.uniform(size=(1000, 12)) * 0.999, delimiter=",")
np.savetxt("far.csv", x[5000:5010] + 50, delimiter=",")
P
/usr/bin/python3 make.py || fail "cannot make the points"
cat >check.py <<'P'
"""check.py RUN POINTS TABLE: 93 to 97 % of the closed form within two errors, and the error within 20 % of the deviation"""
import csv, glob, sys
import h5py, numpy as np
def fitted(run):
    f = h5py.File(glob.glob(run + "/checkpoint-*.h5")[0])
    p = {}
    f.visititems(lambda n, o: p.update({n: o[()].astype(float)}) if isinstance(o, h5py.Dataset) else None)
    m, c = [[v for n, v in p.items() if w in n][0] for w in ("mean", "cov")]
    return m.ravel(), c.reshape(m.size, m.size)
def logp(run, x):
    m, c = fitted(run)
    d = x - m
    return -.5 * np.einsum("ni,ij,nj->n", d, np.linalg.inv(c), d) - .5 * np.linalg.slogdet(2 * np.pi * c)[1]
def expected(run, points):
    """of pixels: the mean over uniform u"""
    if points.endswith(".csv"): return logp(run, np.loadtxt(points, delimiter=",", skiprows=int(open(points).read(1) == "c")))
    k = np.frombuffer(open(points, "rb").read()[16:], np.uint8).reshape(-1, 12).astype(float)
    return logp(run, 2 * (k + .5) / 256 - 1) - .5 * np.trace(np.linalg.inv(fitted(run)[1])) * (2 / 256) ** 2 / 12 - 12 * np.log(128)
def read(path):
    if not path.endswith(".csv"):
        z = np.load(path)
        return {n: z[n] for n in (z.dtype.names if path.endswith(".npy") else z)}
    rows = list(csv.DictReader(open(path)))
    return {n: np.array([r[n] for r in rows] if n == "remark" else [float(r[n]) for r in rows]) for n in rows[0]}
def hold(value, error, truth, what):
    deviation, inside = np.mean((value - truth) ** 2) ** .5, np.mean(abs(value - truth) < 2 * error)
    stated = np.mean(error ** 2) ** .5
    assert .93 <= inside <= .97, "%s: %.3f within two errors" % (what, inside)
    assert .8 < stated / deviation < 1.2, "%s: error %g, deviation %g" % (what, stated, deviation)
if __name__ == "__main__":
    run, points, table = sys.argv[1:]
    t, truth = read(table), expected(run, points)
    hold(t["log_likelihood_nats"], t["error_nats"], truth, "log-likelihood")
    assert np.allclose(t["weight_correction_nats"], t["probe_error_nats"] ** 2 / 2)
    if "bits_per_dim" in t:
        hold(t["bits_per_dim"], t["error_bits_per_dim"], -truth / 12 / np.log(2), "bits/dim")
        hold(t["bound_bits_per_dim"], t["bound_error_bits_per_dim"], -truth / 12 / np.log(2), "bound")
P
"$probflow" data train.csv set.h5 --quiet >/dev/null || fail "cannot read train.csv"
"$probflow" data train-idx px.h5 --quiet >/dev/null || fail "cannot read train-idx"
cat >g.yaml <<'YAML'
name: g
seed: 1
shards: 4
data: {path: set.h5}
sde: {name: vp}
model: {name: gaussian}
likelihood: {dequantisation: none, probe: rademacher, probes: 1, group: 64, rtol: 1.0e-4, atol: 1.0e-4, div_tol: 1.0e-4}
YAML
sed 's/{name: gaussian}/{name: gaussian, noise_variance: 1.0e-3}/' g.yaml >h.yaml
sed 's/set.h5/px.h5/; s/dequantisation: none/dequantisation: uniform/' g.yaml >px.yaml
for m in g h px; do "$probflow" train $m.yaml --run $m --quiet >/dev/null || fail "cannot fit $m"; done

# one probe: the errors come from points that were drawn twice
for f in csv npz npy; do
    "$probflow" logp g --in p.csv --out r.$f --quiet >page 2>&1 || { cat page; fail "logp into .$f"; }
    /usr/bin/python3 check.py g p.csv r.$f || fail "logp into .$f"
done
"$probflow" logp g --in p.csv --quiet >/dev/null && cmp r.csv p-logp.csv || fail "not in the format read"
grep -q 'nats of density' page || fail "no unit in words"
"$probflow" logp g --in p.csv --out r.h5 --quiet >/dev/null || fail "logp into .h5"
/usr/bin/python3 - <<'P' || fail "the formats hold other numbers"
import h5py, numpy as np, zipfile
from check import read
assert zipfile.ZipFile("r.npz").testzip() is None
a, b, c, d = read("r.csv"), np.load("r.npz"), np.load("r.npy"), h5py.File("r.h5")
for n in set(a) - {"remark"}:
    assert (a[n] == b[n]).all() and (a[n] == c[n]).all() and (a[n] == d[n][()]).all(), n
P

# two probes say it themselves, exact says 0
"$probflow" logp g --in p.csv --out two.csv --set likelihood.probes=2 --quiet >/dev/null || fail "two probes"
/usr/bin/python3 check.py g p.csv two.csv || fail "two probes"
"$probflow" logp g --in p.csv --out exact.npz --set likelihood.probe=exact --gradient --quiet >/dev/null || fail "exact"
/usr/bin/python3 - <<'P' || fail "the exact trace or the gradient"
import numpy as np
from check import expected, fitted
z, x = np.load("exact.npz"), np.loadtxt("p.csv", delimiter=",", skiprows=1)
assert (z["error_nats"] == 0).all()
assert abs(z["log_likelihood_nats"] - expected("g", "p.csv")).max() < 0.02 # rtol 1e-4 and t_min = 1e-5
m, c = fitted("g")
g = -(x - m) @ np.linalg.inv(c)
assert abs(z["gradient"] - g).max() < 2e-3 * abs(g).max() # t_min = 1e-5
P

# pixels, by both estimands; the same numbers as floats; dequantised by the caller
"$probflow" logp px --in p-idx --out px.csv --set likelihood.estimand=nll_and_bound --quiet >page || fail "pixels"
/usr/bin/python3 check.py px p-idx px.csv || fail "pixels"
grep -q 'nats of probability' page && grep -q 'bits/dim' page || { cat page; fail "no units of pixels"; }
"$probflow" logp px --in k.csv --scale pixels --out k-out.csv --set likelihood.estimand=nll_and_bound --quiet >/dev/null || fail "pixels as a table"
cmp px.csv k-out.csv || fail "pixels as a table are scored otherwise"
"$probflow" logp px --in u.csv --scale pixels --out u-out.csv --set likelihood.probe=exact --quiet >/dev/null || fail "dequantised pixels"
/usr/bin/python3 - <<'P' || fail "pixels that the caller dequantised"
import numpy as np
from check import logp, read
x = 2 * np.loadtxt("u.csv", delimiter=",") / 256 - 1
assert abs(read("u-out.csv")["log_likelihood_nats"] - logp("px", x) + 12 * np.log(128)).max() < 0.02
P

# three draws: the share of the probes is that of one draw, divided by three
"$probflow" logp px --in p-idx --out three.npz --set likelihood.draws=3 --set likelihood.estimand=nll_and_bound --quiet >/dev/null || fail "three draws"
/usr/bin/python3 check.py px p-idx three.npz && /usr/bin/python3 - <<'P' || fail "the errors of three draws"
import numpy as np
from check import read
one, three = read("px.csv")["probe_error_nats"], np.load("three.npz")["probe_error_nats"]
assert abs(np.mean(three ** 2) / np.mean(one ** 2) * 3 - 1) < 0.25 # each of 512 pairs, known to 6 %
P

# a split by bpd and its images by logp: the same bits
cp p-idx t10k-images-idx3-ubyte
"$probflow" data train-idx t10k-images-idx3-ubyte both.h5 --quiet >/dev/null || fail "cannot read both splits"
for d in uniform truncated_normal; do
    rm -f split.h5
    "$probflow" bpd px --data both.h5 --out split.h5 --set likelihood.estimand=nll_and_bound --set likelihood.dequantisation=$d --quiet >/dev/null || fail "bpd, $d"
    "$probflow" logp px --in p-idx --out split.npz --set likelihood.estimand=nll_and_bound --dequantisation $d --gradient --quiet >/dev/null || fail "logp, $d"
    /usr/bin/python3 - <<'P' || fail "bpd and logp differ, or the gradient is that of no pixel, $d"
import h5py, numpy as np
from check import fitted
b, z = h5py.File("split.h5"), np.load("split.npz")
order = np.argsort(b["image"][()])
assert (b["nll"][()][order] == z["bits_per_dim"]).all() and (b["bound"][()][order] == z["bound_bits_per_dim"]).all()
none = z["dequantisation_nats"] == 0
assert not np.signbit(z["dequantisation_nats"][none]).any()
# the score of a Gaussian is -C^-1 (x - m): it gives back the place in its level of each pixel
k = np.frombuffer(open("p-idx", "rb").read()[16:], np.uint8).reshape(-1, 12)
m, c = fitted("px")
u = ((m - z["gradient"] * 128 @ c) + 1) * 128 - k
assert -0.01 < u.min() < 0.2 and 0.8 < u.max() < 1.01 and abs(u.mean() - 0.5) < 0.01, (u.min(), u.max(), u.mean())
P
done

# images that are made what the model was trained on, as data makes them
for f in few wide; do
    crop=(); [ $f = few ] || crop=(--crop 4x3)
    "$probflow" logp px --in $f-idx "${crop[@]}" --out $f.csv --quiet >/dev/null || fail "$f images"
done
cmp few.csv wide.csv || fail "cropped images are scored otherwise"
refuses 'holds points of 6x5x1 values' "$probflow" logp px --in wide-idx --out x.csv
refuses 'which has no columns for --label' "$probflow" logp px --in few-idx --label 1 --out x.csv

# remarks
"$probflow" logp px --in k.csv --out grid.csv --quiet >page 2>&1 || { cat page; fail "pixels in model scale"; }
grep -q '1000 of 1000 points lie on a grid' page && grep -q 'outside the range' page || { cat page; fail "no remark"; }
cut -d, -f9- grid.csv | tail -n 1 | grep -q 'grid; outside' || fail "no remark in the table"
"$probflow" logp g --in far.csv --out far-out.csv --quiet >page || fail "far points"
grep -q '10 of 10 points lie outside' page || { cat page; fail "no remark of far points"; }

# two models: within its own errors, at least 5 times below the unpaired one; a model against itself
"$probflow" logp g --against h --in p.csv --out d.npz --quiet >/dev/null || fail "logp --against"
/usr/bin/python3 - <<'P' || fail "the difference of two models"
import numpy as np
from check import expected, hold
z = np.load("d.npz")
d, e, truth = z["difference_nats"], z["difference_error_nats"], expected("g", "p.csv") - expected("h", "p.csv")
hold(d, e, truth, "difference")
assert abs(d.mean() - truth.mean()) < 2.5 * e.mean() / len(d) ** .5 # of points of independent probes; 2.5: once in 80
assert (e < z["error_nats"] * 2 ** .5 / 5).all()
assert np.allclose(d, z["log_likelihood_nats"] - z["against_log_likelihood_nats"])
P
"$probflow" logp g --against g --in p.csv --out e.npz --quiet >/dev/null || fail "logp against itself"
/usr/bin/python3 -c 'import numpy as np; z = np.load("e.npz"); assert not z["difference_nats"].any() and not z["difference_error_nats"].any()' || fail "a model differs from itself"

# the same bits on 2 ranks, and after a kill
ranks 2 "$probflow" logp g --in p.csv --out ranks.csv --quiet >/dev/null || fail "on 2 ranks"
cmp r.csv ranks.csv || fail "other bits on 2 ranks"
"$probflow" logp g --in p.csv --out killed.csv --set likelihood.rtol=1e-8 --set likelihood.atol=1e-8 --set likelihood.div_tol=1e-8 --quiet >/dev/null 2>&1 &
for _ in $(seq 200); do [ -s killed.csv.progress.h5 ] && break; sleep 0.02; done
sleep 0.3
kill -9 $!; wait $! 2>/dev/null
[ -e killed.csv ] && fail "it was done before the kill"
"$probflow" logp g --in p.csv --out killed.csv --set likelihood.rtol=1e-8 --set likelihood.atol=1e-8 --set likelihood.div_tol=1e-8 >/dev/null 2>log || fail "after a kill"
grep -q 'killed.csv.progress.h5: continues' log || { cat log; fail "it did not continue"; }
"$probflow" logp g --in p.csv --out whole.csv --set likelihood.rtol=1e-8 --set likelihood.atol=1e-8 --set likelihood.div_tol=1e-8 --quiet >/dev/null || fail "whole"
cmp killed.csv whole.csv || fail "other bits after a kill"
[ ! -e killed.csv.progress.h5 ] || fail "the file of its progress is left"

# work half done is not continued by other options, nor lost to them
"$probflow" logp g --in p.csv --out half.csv --max-minutes 0.0001 --quiet >/dev/null 2>&1
[ $? = 75 ] && [ -s half.csv.progress.h5 ] || fail "it did not stop in time"
refuses "half.csv.progress.h5 was made with another configuration.*'seed: 9'.*or remove that one" "$probflow" logp g --in p.csv --out half.csv --set likelihood.seed=9
"$probflow" logp g --in p.csv --out half.csv --quiet >/dev/null || fail "after a stop"
cmp r.csv half.csv || fail "other bits after a stop"

# what is refused, with nothing that was there changed
printf 'point,height\n1,2\n' >mine.csv # which begins as ours do
/usr/bin/python3 -c 'import numpy as np; np.save("mine.npy", np.zeros(3, [("point", "<i8"), ("height", "<f8")]))'
sha256sum mine.* >mine.sum
for f in csv npy; do refuses "mine.$f exists and is no" "$probflow" logp g --in p.csv --out mine.$f; done
sha256sum --quiet -c mine.sum || fail "a file of the user was replaced"
"$probflow" logp g --in p.csv --out two.npy --quiet >/dev/null && "$probflow" logp g --in p.csv --out two.npy --quiet >/dev/null || fail "its own kind is not replaced"
refuses 'p.csv is an input|p.csv.*input' "$probflow" logp g --in p.csv --out p.csv
refuses 'ends in none of' "$probflow" logp g --in p.csv --out x.txt
"$probflow" train tiny.yaml --run tiny --set train.steps=1 --quiet >/dev/null 2>&1
refuses 'holds points of 1x1x12 values.* made for 28x28x1|12 values' "$probflow" logp tiny --in p.csv --out x.csv
refuses 'whose density has no bound without dequantisation' "$probflow" logp px --in p-idx --out x.csv --dequantisation none
refuses "say --scale pixels" "$probflow" logp px --in k.csv --out x.csv --dequantisation uniform
refuses 'point 0 holds -?[0-9.e-]+, which is no pixel value' "$probflow" logp px --in p.csv --scale pixels --out x.csv
refuses "want model or pixels" "$probflow" logp px --in k.csv --scale wide --out x.csv
refuses '8 bits: --scale model' "$probflow" logp px --in p-idx --scale model --out x.csv
refuses 'cannot open no.h5' "$probflow" logp g --in p.csv --out x.csv --data no.h5
refuses 'train split of px.h5 is 4x3x1, the points of p.csv are 1x1x12' "$probflow" logp g --in p.csv --out x.csv --data px.h5
refuses 'a density to draw a data set from' "$probflow" logp g --in density:ring:20 --out x.csv
refuses 'score its splits by bpd --data' "$probflow" logp g --in set.h5 --out x.csv
refuses 'group of an HDF5 file' "$probflow" logp g --in p.csv --group a --out x.csv
echo mine >x.csv.against.progress.h5
refuses 'x.csv.against.progress.h5 exists and was not written by probflow' "$probflow" logp g --against h --in p.csv --out x.csv
for f in x.csv x.csv.progress.h5; do [ ! -e $f ] || fail "$f is left"; done
echo ok
