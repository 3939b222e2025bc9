# D3PM: the same bits on any ranks and after a kill, of images by a near-by kernel and of bits by masks and by an even one; bounds
# that are bounds, samples that are data and agree with what is known of them; what does not go together is refused.
. "$(dirname "$0")/common.sh"
"$probflow" data density:heartbeat:2000 "$tmp/heartbeat.h5" --quiet >/dev/null || fail "heartbeats"

cat >"$tmp/image.yaml" <<YAML
name: image
seed: 2
shards: 8
data: {path: $tmp/tiny.h5}
method: {name: d3pm, kernel: gaussian, head: logistic, steps: 8, times: second_moment}
model: {name: ddpmpp, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
train: {steps: 8, batch: 8, lr: 1.0e-3, warmup: 2, ema: 0.9, checkpoint_every: 2, eval_every: 4, eval_images: 8, log_every: 4}
likelihood: {group: 4, terms: 2}
YAML
recipe() { # METHOD OPTIONS: its training on heartbeats
    cat <<YAML
name: $1
seed: 1
shards: 8
data: {path: $tmp/heartbeat.h5}
method: {name: d3pm, $2}
model: {name: mlp, width: 64, depth: 2, embed: 32}
train: {steps: 2000, batch: 64, lr: 2.0e-3, warmup: 100, decay: 1000, clip: 1, ema: 0.99, checkpoint_every: 500, eval_every: 500, eval_images: 200, log_every: 250}
likelihood: {group: 50}
YAML
}

last=checkpoint-00000008.h5
for n in 1 2 4; do
    ranks $n "$probflow" train "$tmp/image.yaml" --run "$tmp/image-$n" --quiet || fail "training on $n ranks"
    ranks $n "$probflow" bpd "$tmp/image-1" --limit 8 --out "$tmp/image-$n.h5" --quiet >/dev/null || fail "bpd on $n ranks"
    ranks $n "$probflow" sample "$tmp/image-1" -n 4 --out "$tmp/image-$n-samples.h5" --quiet >/dev/null || fail "samples on $n ranks"
done
for n in 2 4; do
    same "$tmp/image-1/$last" "$tmp/image-$n/$last"
    same "$tmp/image-1.h5" "$tmp/image-$n.h5"
    same "$tmp/image-1-samples.h5" "$tmp/image-$n-samples.h5"
done
more=(--set train.steps=24 --quiet)
last=checkpoint-00000024.h5
ranks 1 "$probflow" train "$tmp/image.yaml" --run "$tmp/whole" "${more[@]}" || fail "in one go"
kill_in_training 2 "$tmp/killed" "$tmp/image.yaml" "${more[@]}"
[ -e "$tmp/killed/$last" ] && fail "ended before it was killed"
ranks 1 "$probflow" train "$tmp/image.yaml" --run "$tmp/killed" "${more[@]}" || fail "continued"
same "$tmp/whole/$last" "$tmp/killed/$last"
"$probflow" sample "$tmp/whole" -n 2 --inpaint test --known left --out "$tmp/halves.h5" --quiet >"$tmp/halves.out" || fail "halves"
grep -q 'known 0.0000' "$tmp/halves.out" || { cat "$tmp/halves.out"; fail "known levels changed"; }

# the law of the heartbeat: a bound is at least log2 5 bits a datum, less three standard errors, and near it
recipe masks "mask: own, steps: 20, first: posterior, loss: bound" >"$tmp/masks.yaml"
recipe even "kernel: uniform, steps: 20, first: posterior, loss: bound" >"$tmp/even.yaml"
for e in masks even; do
    "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e" --quiet || fail "the heartbeat by $e"
    "$probflow" bpd "$tmp/$e" --limit 200 --out "$tmp/$e.h5" --quiet >"$tmp/$e.out" || fail "its bound by $e"
    "$probflow" sample "$tmp/$e" -n 50 --out "$tmp/$e-beats.h5" --quiet >/dev/null || fail "heartbeats by $e"
done
"$probflow" bpd "$tmp/masks" --limit 200 --set method.bound=published --out "$tmp/published.h5" --quiet >/dev/null || fail "as published"
/usr/bin/python3 - "$tmp" <<'P' || { cat "$tmp"/masks.out "$tmp"/even.out; fail "laws of the heartbeat"; }
import h5py, math, sys
tmp = sys.argv[1]
def bound(name):
    v = h5py.File(f"{tmp}/{name}.h5")["vlb"][()].ravel() * 20
    return v.mean(), v.std(ddof=1) / math.sqrt(len(v))
for e in ("masks", "even"):
    mean, error = bound(e)
    print(e, mean, error)
    assert math.log2(5) - 3 * error <= mean <= 3.0, (e, mean, error)
    x = h5py.File(f"{tmp}/{e}-beats.h5")["images"][()].reshape(50, 20)
    good = [all(row[i] == (i % 5 == list(row).index(1)) for i in range(20)) for row in x if row.any()]
    assert sum(good) >= 35, (e, sum(good))
# the floor in posteriors moves the same draws by about 1e-6 of its logarithm a term
assert 0 < abs(bound("published")[0] - bound("masks")[0]) < 0.05
P
refuses 'leaves symbols that are not masked at its end' "$probflow" train "$tmp/masks.yaml" --run "$tmp/x" --set method.schedule=linear --set method.beta_end=0.5
refuses 'method.mask_logit is of a mask that is a symbol of its own' "$probflow" train "$tmp/masks.yaml" --run "$tmp/x" --set method.mask=value --set method.mask_logit=yes
refuses 'method.bands is 3, but acts only where method.kernel is uniform' "$probflow" train "$tmp/masks.yaml" --run "$tmp/x" --set method.bands=3
refuses 'draws by its own steps' "$probflow" sample "$tmp/masks" -n 2 --set sample.name=ddim --out "$tmp/x.h5"
refuses 'takes all of its steps' "$probflow" bpd "$tmp/masks" --set likelihood.respacing=5 --out "$tmp/x.h5"
exit 0
