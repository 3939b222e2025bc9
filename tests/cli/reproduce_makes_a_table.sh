# A table from one command: rows are listed, a small one is trained, scored, measured and written; a row
# that fails is told and loses no other; running again keeps what is done.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 -c 'import h5py, yaml' 2>/dev/null || fail "python3-h5py and python3-yaml are missing: scripts/setup tables"
export PROBFLOW_BUILD=$build
reproduce() { "$root/scripts/reproduce" "$@" >"$tmp/out" 2>&1; }

reproduce weighting --rows || { cat "$tmp/out"; fail "the table of experiments/weighting cannot be read"; }
[ "$(grep -czx "" "$tmp/out")" = 18 ] || { tr "\0" "\n" <"$tmp/out"; fail "the table has not 2 data sets x 3 SDEs x 3 weightings"; }

mkdir "$tmp/small"
"$probflow" data density:checkerboard:300 "$tmp/points.h5" >/dev/null || fail "no points"
cat >"$tmp/small/points.yaml" <<YAML
seed: 1
shards: 2
data: {path: $tmp/points.h5}
sde: {name: vp}
model: {name: mlp, width: 8, depth: 1}
train: {steps: 3, batch: 8}
likelihood: {dequantisation: none, probe: exact, rtol: 1.0e-2, atol: 1.0e-2, div_tol: 1.0e-2}
YAML
cat >"$tmp/small/table.yaml" <<YAML
title: small
variance: {batches: 4}
axes:
  - name: data
    entries: [{name: points, config: points.yaml, limit: 20}]
  - name: law
    entries:
      - {name: uniform, title: "t uniform", set: {objective.time: uniform}}
      - {name: importance, set: {objective.time: importance}}
      - {name: broken, set: {train.lr: -1}}
compare: {axis: law, to: importance}
published: [{when: [uniform], value: "1.5"}]
YAML
reproduce "$tmp/small" --run "$tmp/table" && fail "a table with a broken row is no success"
grep -q '^reproduce: error: 1 of 3 rows are missing' "$tmp/out" || { cat "$tmp/out"; fail "not said how many rows are missing"; }
grep -q 'row points-broken: exit status 1' "$tmp/out" || { cat "$tmp/out"; fail "the broken row is not named"; }
number='[0-9.]* ± [0-9.]*'
grep -qE "^\| points \| t uniform \| $number \| $number \| [+-]$number \| [0-9.e+]+ \| [0-9]+ \| 1.5 \|" "$tmp/table/table.md" ||
    { cat "$tmp/table/table.md"; fail "the row is not what was measured"; }
nll=$("$probflow" info "$tmp/table/points-uniform/bpd-test.h5" | awk '$1 == "nll" { print $2 }')
grep -q "uniform.*$nll" "$tmp/table/table.csv" || { cat "$tmp/table/table.csv"; fail "the table does not hold $nll"; }
results() { sha256sum "$tmp/table"/points-*/{checkpoint,bpd,variance}*.h5; }
before=$(results)
reproduce "$tmp/small" --run "$tmp/table" --only uniform || { cat "$tmp/out"; fail "the finished row fails"; }
[ "$before" = "$(results)" ] || fail "a finished row was run again"
reproduce nothing --rows && fail "a table that does not exist was taken"
grep -q '^reproduce: error: .*table.yaml does not exist' "$tmp/out" || { cat "$tmp/out"; fail "no sentence"; }
exit 0
