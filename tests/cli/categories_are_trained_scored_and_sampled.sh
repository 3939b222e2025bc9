# Multinomial and masked diffusion of bits: the same bits on any ranks and after a kill, bounds that are bounds, samples that
# are data and agree with what is known of them; what does not go together is refused.
. "$(dirname "$0")/common.sh"
"$probflow" data density:heartbeat:2000 "$tmp/heartbeat.h5" --quiet >/dev/null || fail "heartbeats"
recipe() { # METHOD: its training
    cat <<YAML
name: $1
seed: 1
shards: 8
data: {path: $tmp/heartbeat.h5}
method: {name: $1}
model: {name: mlp, width: 64, depth: 2, embed: 32}
train: {steps: 2000, batch: 64, lr: 2.0e-3, warmup: 100, decay: 1000, clip: 1, ema: 0.99, checkpoint_every: 500, eval_every: 500, eval_images: 200, log_every: 250}
likelihood: {group: 50}
YAML
}
own() { case $1 in multinomial) echo "--set method.steps=20 --set method.times=second_moment" ;; masked) echo "--set method.steps=20" ;; esac; }

short=(--set train.steps=400 --set train.checkpoint_every=100 --set train.eval_every=200 --set train.decay=0 --set model.width=16 --quiet)
for e in multinomial masked; do
    recipe $e >"$tmp/$e.yaml"
    read -ra more <<<"$(own $e)"
    more+=("${short[@]}")
    last=checkpoint-00000400.h5
    for n in 1 2 4; do
        ranks $n "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-$n" "${more[@]}" || fail "training $e on $n ranks"
        ranks $n "$probflow" bpd "$tmp/$e-1" --limit 20 --set likelihood.group=5 --set likelihood.terms=4 --out "$tmp/$e-$n.h5" --quiet >/dev/null ||
            fail "bpd of $e on $n ranks"
        ranks $n "$probflow" sample "$tmp/$e-1" -n 40 --out "$tmp/$e-$n-samples.h5" --quiet >/dev/null || fail "samples of $e on $n ranks"
    done
    for n in 2 4; do
        same "$tmp/$e-1/$last" "$tmp/$e-$n/$last"
        same "$tmp/$e-1.h5" "$tmp/$e-$n.h5"
        same "$tmp/$e-1-samples.h5" "$tmp/$e-$n-samples.h5"
    done
    more+=(--set train.steps=3000)
    last=checkpoint-00003000.h5
    ranks 1 "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-whole" "${more[@]}" || fail "$e in one go"
    kill_in_training 2 "$tmp/$e-killed" "$tmp/$e.yaml" "${more[@]}"
    [ -e "$tmp/$e-killed/$last" ] && fail "$e ended before it was killed"
    ranks 1 "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-killed" "${more[@]}" || fail "$e continued"
    same "$tmp/$e-whole/$last" "$tmp/$e-killed/$last"
    "$probflow" info "$tmp/$e-whole/$last" >"$tmp/info" || fail "info of $e"
done
"$probflow" info "$tmp/multinomial-whole/checkpoint-00003000.h5" | grep -q 'a mean square of the losses of each of 20 indices' || fail "info does not say what the law remembers"

# the law of the heartbeat: a bound is at least log2 5 bits a datum, less three standard errors, and near it
for e in multinomial masked; do
    read -ra more <<<"$(own $e)"
    "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e" "${more[@]}" --quiet || fail "the heartbeat by $e"
    "$probflow" bpd "$tmp/$e" --limit 200 --out "$tmp/$e.h5" --quiet >"$tmp/$e.out" || fail "its bound by $e"
    "$probflow" sample "$tmp/$e" -n 50 --out "$tmp/$e-beats.h5" --previews 2 --quiet >/dev/null || fail "heartbeats by $e"
    "$probflow" sample "$tmp/$e" -n 20 --inpaint test --known left --out "$tmp/$e-halves.h5" --quiet >"$tmp/$e-halves.out" || fail "halves by $e"
    grep -q 'known 0.0000' "$tmp/$e-halves.out" || { cat "$tmp/$e-halves.out"; fail "known bits changed by $e"; }
done
"$probflow" bpd "$tmp/masked" --limit 200 --set method.schedule=cosine --out "$tmp/cosine.h5" --quiet >/dev/null || fail "another schedule"
"$probflow" bpd "$tmp/masked" --limit 200 --set method.estimator=mdlm --set method.schedule=loglinear --out "$tmp/mdlm.h5" --quiet >/dev/null || fail "the other estimator"
"$probflow" bpd "$tmp/masked" --limit 200 --set method.bound=published --out "$tmp/published.h5" --quiet >/dev/null || fail "as published"
/usr/bin/python3 - "$tmp" <<'P' || { cat "$tmp"/m*.out; fail "laws of the heartbeat"; }
import h5py, math, sys
tmp = sys.argv[1]
def bound(name):
    f = h5py.File(f"{tmp}/{name}.h5")
    v = f["vlb"][()].ravel() * 20
    return v.mean(), v.std(ddof=1) / math.sqrt(len(v)), f
for e in ("multinomial", "masked", "cosine", "mdlm"):
    mean, error, _ = bound(e)
    print(e, mean, error)
    assert math.log2(5) - 3 * error <= mean <= 3.0, (e, mean, error)
masked, _, a = bound("masked")
for e in ("cosine", "mdlm"):
    mean, error, _ = bound(e)
    assert abs(mean - masked) <= 4 * math.hypot(error, bound("masked")[1]), (e, mean, masked)
_, _, b = bound("published")
assert (a["diffusion"][()] == b["diffusion"][()]).all() and (a["decoder"][()] == b["decoder"][()]).all()
assert (a["prior"][()] > 0).all() and (b["prior"][()] == 0).all()
for e in ("multinomial", "masked"):
    x = h5py.File(f"{tmp}/{e}-beats.h5")["images"][()].reshape(50, 20)
    good = [all(row[i] == (i % 5 == list(row).index(1)) for i in range(20)) for row in x if row.any()]
    assert sum(good) >= 35, (e, sum(good))
P
refuses 'draws by its own steps' "$probflow" sample "$tmp/masked" -n 2 --set sample.name=ddim --out "$tmp/x.h5"
refuses 'symbols are known exactly or not at all: method multinomial' "$probflow" sample "$tmp/multinomial" -n 2 --denoise test --noise 0.5 --out "$tmp/x.h5"
refuses 'set method.time=finite' "$probflow" train "$tmp/masked.yaml" --run "$tmp/x" --set method.predicts=d3pm --set method.estimator=mdlm
refuses 'takes all of its steps' "$probflow" bpd "$tmp/masked" --set likelihood.respacing=5 --out "$tmp/x.h5"
exit 0
