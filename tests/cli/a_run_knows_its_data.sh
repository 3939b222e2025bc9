# A run belongs to its data, by what they hold and not by where they lie; what it made keeps its rate; its
# choices have an effect, and what evaluates it can take the parameters or their average.
. "$(dirname "$0")/common.sh"
cd "$tmp"
python=/usr/bin/python3
cat >make.py <<'PY'
import sys, struct, gzip, hashlib, os
import numpy as np
def idx(path, a):
    f = gzip.open(path, "wb") if path.endswith(".gz") else open(path, "wb")
    f.write(b"\0\0\x08" + bytes([a.ndim]) + struct.pack(">%dI" % a.ndim, *a.shape) + a.astype("u1").tobytes()); f.close()
r = np.random.RandomState(1)
x, y, z = r.randint(0, 256, (32, 8, 8)), r.randint(0, 10, 32), r.randint(0, 256, (8, 8, 8))
idx("train-images", x); idx("train-labels", y); idx("test-images", z); idx("other-train.gz", x); idx("y-train.gz", y)
y[31] ^= 1; idx("label-train", y); x[31, 7, 7] ^= 1; idx("pixel-train", x)
PY
$python make.py
data() { "$probflow" data "$@" --quiet >/dev/null || fail "data $*"; }
data train-images train-labels test-images d.h5
data other-train.gz y-train.gz test-images again.h5
data train-images label-train test-images label.h5
data pixel-train train-labels test-images pixel.h5
data train-images test-images unlabelled.h5
cp d.h5 moved.h5

# the stored sum is that of the documented bytes; a file without it has the same
$python - <<'PY' || fail "the attribute content is not the sum of header, values and labels"
import h5py, hashlib
for name in "d.h5", "again.h5":
    with h5py.File(name, "r") as f:
        g = f["train"]
        head = "probflow split\nvalues images\nlevels 256\nshape 8 8 1\nrows 32\nlabels yes\n"
        want = hashlib.sha256(head.encode() + g["images"][...].tobytes() + g["labels"][...].astype("<i4").tobytes()).hexdigest()
        assert g.attrs["content"].decode() == want if isinstance(g.attrs["content"], bytes) else g.attrs["content"] == want
PY
# takes what is stored of the content out of a file, and of the average's warm-up: as in files made before
cat >bare.py <<'PY'
import sys, struct, zlib, h5py
p = sys.argv[1]; b = open(p, "rb").read(); n = struct.unpack("<Q", b[-24:-16])[0]; open(p, "wb").write(b[:n])
with h5py.File(p, "r+") as f:
    for g in list(f.values()):
        if "content" in g.attrs: del g.attrs["content"]
    if "data_content" in f.attrs: del f.attrs["data_content"]
    if "config" in f.attrs:
        c = f.attrs["config"]; c = c.decode() if isinstance(c, bytes) else c
        c = "".join(l for l in c.splitlines(True) if "ema_warmup" not in l and "eval_split" not in l)
        del f.attrs["config"]; f.attrs["config"] = c
b = open(p, "rb").read(); s = b"PFSEAL1\n" + struct.pack("<QQI", len(b), 0, zlib.crc32(b))
open(p, "ab").write(s + struct.pack("<I", zlib.crc32(s)))
PY
cp d.h5 bare.h5; $python bare.py bare.h5

cat >run.yaml <<'Y'
seed: 3
shards: 4
data: {path: d.h5}
sde: {name: vp}
model: {name: ddpmpp, width: 8, multipliers: [1, 2], blocks: 1, dropout: 0, embedding: fourier, fourier_scale: 0.25}
objective: {weight: likelihood, time: importance}
train: {steps: 8, batch: 8, lr: 1.0e-3, warmup: 0, ema: 0.9, checkpoint_every: 2, keep: 9, eval_every: 0, log_every: 1}
likelihood: {group: 4, dequantisation: uniform, rtol: 1.0e-3, atol: 1.0e-3, div_tol: 1.0e-3, check_groups: 0}
sample: {steps: 3}
Y
trains() { local d=$1; shift; "$probflow" train run.yaml --run "$d" --quiet "$@" 2>"$tmp/out" || { cat "$tmp/out"; fail "train $d $*"; }; }
last() { echo "$1/checkpoint-$(printf %08d "$2").h5"; }
sums() { find . -type f ! -name out ! -name same ! -name before ! -name after | sort | xargs -d '\n' sha256sum; }
unchanged() { sums >before; refuses "$@"; sums >after; cmp -s before after || { diff before after; fail "files changed: $*"; }; }
goes_on() { # goes_on DIR OPTION...: a copy of the half run ends in the bits of the whole one
    local d=$1; shift
    rm -rf "$d"; cp -r half "$d"; trains "$d" "$@"; same "$(last "$d" 8)" "$(last whole 8)"
}
trains whole
trains half --set train.steps=4
goes_on a
goes_on b --set data.path=moved.h5
goes_on c --set data.path=again.h5
goes_on e --set data.path=bare.h5
grep -q 'path: bare.h5' e/config.yaml || fail "the run's configuration does not name its data"
for other in label pixel unlabelled; do
    unchanged "$other.h5 holds other data" "$probflow" train run.yaml --run half --quiet --set data.path=$other.h5
done
cp label.h5 there.h5; mv d.h5 kept.h5; cp label.h5 d.h5
unchanged 'd.h5 holds other data' "$probflow" train run.yaml --run half --quiet
mv kept.h5 d.h5

# a closed-form fit is of its data, too
sed -e 's/^model:.*/model: {name: gaussian, noise_variance: 1.0e-3}/' run.yaml >fit.yaml
"$probflow" train fit.yaml --run fit --quiet || fail "a fit"
"$probflow" train fit.yaml --run fit --quiet --set data.path=moved.h5 || fail "the same fit of moved data"
unchanged 'pixel.h5 holds other data' "$probflow" train fit.yaml --run fit --quiet --set data.path=pixel.h5

# begun before any of it was stored: at the word of the path, or of the file that is still there
trains plain --set train.ema_warmup=false
trains first --set train.ema_warmup=false --set train.steps=4
cp -r first old
for f in old/checkpoint-*.h5; do $python bare.py "$f" old; done
sed -i -e '/ema_warmup/d' -e '/eval_split/d' old/config.yaml
cp -r old old2; cp -r old old3
trains old; same "$(last old 8)" "$(last plain 8)"
trains old2 --set data.path=again.h5; same "$(last old2 8)" "$(last plain 8)"
mv d.h5 kept.h5
unchanged 'cannot be read to see whether' "$probflow" train run.yaml --run old3 --quiet --set data.path=moved.h5
mv kept.h5 d.h5
unchanged 'pixel.h5 holds other data' "$probflow" train run.yaml --run old3 --quiet --set data.path=pixel.h5
unchanged 'ema_warmup is false, not true' "$probflow" train run.yaml --run old3 --quiet --set train.ema_warmup=true
$python - <<'PY' || fail "the warm-up of the average changes nothing"
import h5py, numpy as np
a, b = h5py.File("whole/checkpoint-00000008.h5", "r"), h5py.File("plain/checkpoint-00000008.h5", "r")
assert all((a["params"][k][...] == b["params"][k][...]).all() for k in a["params"])
assert any((a["ema"][k][...] != b["ema"][k][...]).any() for k in a["ema"])
PY

# another train.steps under train.decay: from where the rate was whole, or not at all
decay=(--set train.decay=3)
trains d12 "${decay[@]}" --set train.steps=12
trains d8 "${decay[@]}" --set train.steps=8
"$probflow" train run.yaml --run d8 "${decay[@]}" --set train.steps=12 >"$tmp/out" 2>&1 || { cat "$tmp/out"; fail "a longer run with decay"; }
grep -q 'train.decay.*checkpoint-00000006.h5, where it was whole' "$tmp/out" || { cat "$tmp/out"; fail "not said from where it continues"; }
same "$(last d8 12)" "$(last d12 12)"
trains d10 "${decay[@]}" --set train.steps=10
rm -rf s; cp -r d12 s; trains s "${decay[@]}" --set train.steps=10; same "$(last s 10)" "$(last d10 10)"
trains only "${decay[@]}" --set train.checkpoint_every=0
unchanged 'train.decay is 3' "$probflow" train run.yaml --run only --quiet "${decay[@]}" --set train.steps=12
unchanged 'train.decay is 3' "$probflow" train run.yaml --run only --quiet "${decay[@]}" --set train.steps=7

# choices that do nothing
unchanged 'model.attention has 5, the widths are 8 and 4' "$probflow" train run.yaml --run no --quiet --set model.attention=4,5
unchanged 'model.attention has 16, the widths are 8 and 4' "$probflow" train run.yaml --run no --quiet --set model.attention=16
unchanged 'likelihood.t_min is 1e-06' "$probflow" bpd whole --set likelihood.t_min=1e-6
unchanged 'fourier_scale' "$probflow" train run.yaml --run no --quiet --set model.embedding=positional
unchanged 'eval_split is nowhere.* no split nowhere' "$probflow" train run.yaml --run no --quiet --set train.eval_split=nowhere
[ ! -e no ] || fail "a refused run left its directory"
"$probflow" train whole/config.yaml --run again --quiet || fail "the stored configuration does not make a run"
same "$(last again 8)" "$(last whole 8)"

# the average or the parameters
trains raw --set train.ema=0 --set train.ema_warmup=false
"$probflow" bpd whole --params raw --quiet | grep -q 'results .*-bpd-test-raw.h5' || fail "bpd --params raw"
"$probflow" bpd raw --quiet >/dev/null || fail "bpd of a run without an average"
"$probflow" bpd whole --quiet >/dev/null || fail "bpd"
same_numbers "$(last whole 8 | sed 's/.h5$/-bpd-test-raw.h5/')" "$(last raw 8 | sed 's/.h5$/-bpd-test.h5/')"
"$probflow" info "$(last whole 8 | sed 's/.h5$/-bpd-test-raw.h5/')" "$(last whole 8 | sed 's/.h5$/-bpd-test.h5/')" >/dev/null 2>&1 && fail "the average equals the parameters"
for p in ema raw; do
    "$probflow" sample whole -n 2 --out s-$p.h5 --params $p --quiet >/dev/null || fail "sample --params $p"
done
"$probflow" sample raw -n 2 --out s-0.h5 --quiet >/dev/null; "$probflow" sample whole -n 2 --out s-d.h5 --quiet >/dev/null
same_numbers s-raw.h5 s-0.h5; same s-ema.h5 s-d.h5
$python -c 'import h5py, numpy as np
f = h5py.File("p.h5", "w"); r = np.random.RandomState(2); f["x"] = r.randn(2, 8, 8, 1); f["t"] = [0.5, 0.9]; f["probe"] = r.choice([-1.0, 1.0], (2, 8, 8, 1))'
for c in score logp; do
    "$probflow" $c whole --in p.h5 --out $c-raw.h5 --params raw --quiet && "$probflow" $c raw --in p.h5 --out $c-0.h5 --quiet || fail "$c --params raw"
    same_numbers $c-raw.h5 $c-0.h5
    "$probflow" $c whole --in p.h5 --out $c-ema.h5 --quiet || fail "$c"
    "$probflow" info $c-raw.h5 $c-ema.h5 >/dev/null 2>&1 && fail "$c: the average equals the parameters"
done
"$probflow" bpd whole --params mean >"$tmp/out" 2>&1; [ $? = 2 ] && grep -q "params is 'mean'" "$tmp/out" || fail "--params mean"
trains slow --set train.ema=0.9999 --set train.ema_warmup=false
"$probflow" sample slow -n 1 --out s.h5 2>&1 | grep -q 'average is 100 % initial values.*--params raw' || fail "not said that the average is initial values"
"$probflow" sample whole -n 1 --out s.h5 2>&1 | grep -q 'initial values' && fail "a good average is remarked on"

# results are of what the split holds
"$probflow" bpd whole --out r.h5 --limit 4 --quiet >/dev/null && "$probflow" bpd whole --out r.h5 --limit 4 --data again.h5 --quiet >/dev/null || fail "the same images from other sources"
$python -c 'import h5py, sys; sys.path.insert(0, "."); from make import idx, z; z[7, 0, 0] ^= 1; idx("test-pixel", z)'
data train-images train-labels test-pixel test.h5
unchanged 'data_content' "$probflow" bpd whole --out r.h5 --limit 4 --data test.h5 --quiet
exit 0
