#!/usr/bin/env bash
# What a model is told beside the data reaches its density: a conditional Gaussian has its closed form with y and without,
# labels change scores and samples, ranks change no bit, and data that lack what the model reads are refused.
. "$(dirname "$0")/common.sh"
cd "$tmp" || exit 1
pairs() { /usr/bin/python3 "$root/experiments/conditional/pairs" "$@"; }
pairs make 10000 train.csv 5 && pairs make 200 test.csv 6 || fail "no pairs"
y=(--condition y0 --condition y1)
"$probflow" data train.csv test.csv d.h5 "${y[@]}" --quiet >/dev/null || fail "no data set"
sed "s#data/conditional.h5#d.h5#" "$root/experiments/conditional/conditional.yaml" >c.yaml
short=(--set model.width=64 --set train.batch=128 --set train.lr=4e-3 --set train.steps=3500 --set train.decay=3000 --set train.ema=0.98
    --set train.eval_images=64 --set likelihood.group=100 --set likelihood.rtol=1e-4 --set likelihood.atol=1e-4)
"$probflow" train c.yaml --run c "${short[@]}" --quiet >/dev/null 2>&1 || fail "does not train"

# the law
one=(--set likelihood.check_groups=1 --quiet)
"$probflow" logp c --in test.csv "${y[@]}" --out with.csv "${one[@]}" >/dev/null || fail "logp"
"$probflow" logp c --in test.csv "${y[@]}" --unconditional --out without.csv "${one[@]}" >/dev/null || fail "logp --unconditional"
pairs check test.csv with.csv without.csv || fail "another density than in closed form"

# ranks, and bpd of a data set that brings the same conditions
ranks 2 "$probflow" logp c --in test.csv "${y[@]}" --out two.csv "${one[@]}" >/dev/null || fail "logp on 2 ranks"
cmp with.csv two.csv || fail "2 ranks give other numbers"
"$probflow" bpd c --data d.h5 --out b.h5 --quiet >/dev/null || fail "bpd"
/usr/bin/python3 - b.h5 with.csv <<'P' || fail "bpd and logp differ"
import csv, h5py, sys
import numpy as np
nll = h5py.File(sys.argv[1])["nll"][()]
p = [float(r["log_likelihood_nats"]) for r in csv.DictReader(open(sys.argv[2]))]
assert np.allclose(-nll * 4 * np.log(2), p, atol=1e-9, rtol=0), abs(-nll * 4 * np.log(2) - p).max()
P
refuses 'b.h5 was made with another configuration.*unconditional' "$probflow" bpd c --data d.h5 --out b.h5 --unconditional
"$probflow" train c.yaml --run plain "${short[@]}" --set model.condition=false --set train.drop_conditions=0 --set train.steps=40 --set train.decay=0 \
    --quiet >/dev/null 2>&1 || fail "does not train without"
"$probflow" bpd c --against plain --data d.h5 --limit 20 --out against.h5 --quiet >page || fail "--against one that reads nothing"
grep -q '^difference' page || fail "no difference"

# samples stand about W y + b
"$probflow" sample c -n 64 --condition 1,-1 --out s.h5 --quiet >/dev/null || fail "sample"
/usr/bin/python3 -c '
import h5py, numpy as np
m = h5py.File("s.h5")["x"][()].reshape(64, 4).mean(0) - np.array([0.5, -0.9, 0.7, 0.05])
assert abs(m).max() < 0.15, m' || fail "samples of another condition"

# what is not there is refused
cut -d, -f1-4 test.csv >bare.csv
refuses 'reads 2 conditions of each row, and bare.csv has none; --unconditional' "$probflow" logp c --in bare.csv --out bare-logp.csv
cut -d, -f1-5 test.csv >half.csv
refuses 'reads 2 conditions of each row, and half.csv has 1' "$probflow" logp c --in half.csv --condition y0 --out half-logp.csv
refuses 'reads 2 conditions: say --condition or --unconditional' "$probflow" sample c -n 2 --out s2.h5
refuses '--condition has 1 numbers' "$probflow" sample c -n 2 --condition 1 --out s2.h5
refuses 'reads no labels' "$probflow" sample c -n 2 --label 1 --condition 1,1 --out s2.h5
refuses 'model.label is true, but the rows of d.h5 have no labels' "$probflow" train c.yaml --run l --set model.label=true
refuses 'train.drop_conditions is 0.1, but the network reads neither' "$probflow" train c.yaml --run l --set model.condition=false

# labels
told=(--set model.label=true --set train.drop_conditions=0.2 --quiet)
"$probflow" train tiny.yaml --run one "${told[@]}" >/dev/null 2>&1 || fail "does not train with labels"
ranks 2 "$probflow" train tiny.yaml --run two "${told[@]}" >/dev/null 2>&1 || fail "does not train with labels on 2 ranks"
same one/checkpoint-00000012.h5 two/checkpoint-00000012.h5
/usr/bin/python3 -c '
import h5py
f = h5py.File("one/checkpoint-00000012.h5")
assert f["params/label_emb.weight"].shape == (10, 32) and "classes 10," in str(f.attrs["space"]), list(f["params"])' || fail "no embedding of the labels"
"$probflow" bpd one --limit 8 --out l.h5 --quiet >/dev/null || fail "bpd with labels"
"$probflow" bpd one --limit 8 --out u.h5 --unconditional --quiet >/dev/null || fail "bpd without labels"
/usr/bin/python3 -c '
import h5py
a, b = (h5py.File(f)["nll"][()] for f in ("l.h5", "u.h5"))
assert (a != b).all()' || fail "labels change nothing"
"$probflow" sample one -n 11 --label all --out all.h5 --set sample.steps=2 --set sample.name=euler_maruyama --quiet >/dev/null || fail "sample --label all"
"$probflow" sample one -n 11 --label 0 --out zero.h5 --set sample.steps=2 --set sample.name=euler_maruyama --quiet >/dev/null || fail "sample --label 0"
/usr/bin/python3 -c '
import h5py
a, b = (h5py.File(f)["x"][()] for f in ("all.h5", "zero.h5"))
same = [bool((p == q).all()) for p, q in zip(a, b)]
assert same == [i % 10 == 0 for i in range(11)], same' || fail "not the classes in turn"
# classes that are names have numbers of their own in each file
for i in $(seq 40); do echo "0.$i,1.$((i % 7)),$((i % 2))"; done | { echo a,b,label; cat; } >classes.csv
awk -F, 'NR > 1 { $3 = $3 ? "dog" : "cat" } { print $1 "," $2 "," $3 }' classes.csv >names.csv
"$probflow" data classes.csv classes.h5 --quiet >/dev/null || fail "classes"
cat >classes.yaml <<'YAML'
shards: 1
data: {path: classes.h5}
sde: {name: vp}
model: {name: mlp, width: 8, depth: 1, label: true}
train: {steps: 2, batch: 4, eval_every: 0}
likelihood: {dequantisation: none, probe: exact, rtol: 1.0e-2, atol: 1.0e-2, div_tol: 1.0e-2}
YAML
"$probflow" train classes.yaml --run classes --quiet >/dev/null 2>&1 || fail "does not train with classes of points"
"$probflow" logp classes --in classes.csv --out classes-logp.csv --quiet >/dev/null || fail "logp with classes"
refuses 'the classes of names.csv are names, whose numbers' "$probflow" logp classes --in names.csv --out names-logp.csv
refuses "label: '10'|--label" "$probflow" sample one -n 2 --label 10 --out s3.h5
echo ok
