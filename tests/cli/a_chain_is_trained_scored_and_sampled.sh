# DDPM from data to a number and a picture: the same bits on any ranks, in parts, after an interruption; what does
# not go together is refused in one sentence.
. "$(dirname "$0")/common.sh"
cat >"$tmp/chain.yaml" <<YAML
name: chain
seed: 3
shards: 4
data: {path: $tmp/tiny.h5}
method: {name: ddpm, steps: 30}
model: {name: ddpmpp, width: 8, multipliers: [1], blocks: 1, attention: []}
train: {steps: 6, batch: 8, lr: 1.0e-3, warmup: 2, ema: 0.9, checkpoint_every: 3, eval_every: 3, eval_images: 8, log_every: 3}
likelihood: {group: 4, terms: 6}
YAML
"$probflow" train "$tmp/chain.yaml" --run "$tmp/one" --quiet || fail "training"
ranks 2 "$probflow" train "$tmp/chain.yaml" --run "$tmp/two" --set train.steps=3 --quiet || fail "training on 2 ranks"
ranks 2 "$probflow" train "$tmp/chain.yaml" --run "$tmp/two" --quiet || fail "going on"
same_numbers "$tmp/one/checkpoint-00000006.h5" "$tmp/two/checkpoint-00000006.h5"
grep -q 'grid' "$tmp/one/config.yaml" && fail "the published grid is written by its old name"
grep -q 'estimand: vlb' "$tmp/one/config.yaml" || fail "the estimand of a chain is vlb"

"$probflow" bpd "$tmp/one" --limit 16 --out "$tmp/whole.h5" --quiet >"$tmp/bpd.out" || fail "bpd"
grep -qE '^vlb +[0-9.]+ \+- [0-9.]+ bits/dim' "$tmp/bpd.out" || { cat "$tmp/bpd.out"; fail "no vlb with its error"; }
grep -qE '^ledger +prior .* diffusion .* decoder' "$tmp/bpd.out" || fail "no parts"
grep -qE '^estimand +the variational bound of a chain of steps, all 30; predictions of the data clipped; 6 of its 29 terms, drawn' "$tmp/bpd.out" ||
    { cat "$tmp/bpd.out"; fail "which bound it is"; }
grep -qE '^bands +diffusion by tenths of the steps.*:( [0-9.]+){10}$' "$tmp/bpd.out" || fail "no bands"
grep -qE 'of the s.e.: images and their noise, at least [0-9.]+$' "$tmp/bpd.out" || fail "no share of the images"
for i in 1 2; do
    ranks $i "$probflow" bpd "$tmp/one" --limit 16 --part $i/2 --out "$tmp/part$i.h5" --quiet >/dev/null || fail "part $i"
done
"$probflow" bpd "$tmp/one" --limit 16 --from "$tmp/part1.h5" --from "$tmp/part2.h5" --out "$tmp/merged.h5" --quiet >/dev/null ||
    fail "merging"
same "$tmp/whole.h5" "$tmp/merged.h5"
"$probflow" bpd "$tmp/one" --limit 8 --set likelihood.terms=0 --out "$tmp/all.h5" --quiet >"$tmp/all.out" || fail "all terms"
"$probflow" bpd "$tmp/one" --limit 8 --against "$tmp/one" --out "$tmp/pair.h5" --quiet >"$tmp/pair.out" || fail "against itself"
grep -qE '^ +vlb +\+0\.0+ \+- 0\.0+ bits' "$tmp/pair.out" || { cat "$tmp/pair.out"; fail "a model differs from itself"; }
"$probflow" bpd "$tmp/one" --limit 8 --set method.cdf=exact --set method.variance=fixed_small --out "$tmp/exact.h5" --quiet >/dev/null ||
    fail "another decoder"

"$probflow" sample "$tmp/one" -n 5 --out "$tmp/s.h5" --png "$tmp/g.png" --previews 3 --quiet >/dev/null || fail "sampling"
[ -s "$tmp/g-previews.png" ] || fail "no picture of previews"
ranks 2 "$probflow" sample "$tmp/one" -n 3 --out "$tmp/s3.h5" --quiet >/dev/null || fail "sampling on 2 ranks"
/usr/bin/python3 - "$tmp/s.h5" "$tmp/s3.h5" <<'P' || fail "samples or previews are not what they should be"
import h5py, sys
a, b = (h5py.File(p, "r") for p in sys.argv[1:])
assert (a["x"][:3] == b["x"][:]).all()
assert a["previews"].shape[:2] == (5, 3)
assert (a["previews"][:, 2] == a["x"][:]).all()  # the last one is the sample itself: the mean of the last step
P

# classes reach the network of a chain
told=(--set model.label=true --set train.drop_conditions=0.2 --set train.steps=3 --quiet)
"$probflow" train "$tmp/chain.yaml" --run "$tmp/told" "${told[@]}" || fail "training with labels"
for o in label unconditional; do
    "$probflow" bpd "$tmp/told" --limit 8 --out "$tmp/$o.h5" --quiet $([ $o = label ] || echo --$o) >/dev/null || fail "bpd, $o"
done
"$probflow" sample "$tmp/told" -n 4 --label all --out "$tmp/classes.h5" --quiet >/dev/null || fail "sampling with labels"
"$probflow" sample "$tmp/told" -n 4 --label 0 --out "$tmp/zeros.h5" --quiet >/dev/null || fail "sampling of a class"
/usr/bin/python3 - "$tmp/label.h5" "$tmp/unconditional.h5" "$tmp/classes.h5" "$tmp/zeros.h5" <<'P' || fail "labels change nothing"
import h5py, sys
a, b, c, d = (h5py.File(p, "r") for p in sys.argv[1:])
assert (a["vlb"][()] != b["vlb"][()]).all()
assert [bool((p == q).all()) for p, q in zip(c["x"], d["x"])] == [True, False, False, False]
P

# a learned variance: the same bits on any ranks, and it stays
learned=(--set method.schedule=cosine --set method.variance=learned_range --set method.loss=rescaled_simple
    --set method.rescale_timesteps=true --set train.steps=3 --quiet)
"$probflow" train "$tmp/chain.yaml" --run "$tmp/learned" "${learned[@]}" || fail "training of the variance"
ranks 2 "$probflow" train "$tmp/chain.yaml" --run "$tmp/learned2" "${learned[@]}" || fail "training of the variance on 2 ranks"
same_numbers "$tmp/learned/checkpoint-00000003.h5" "$tmp/learned2/checkpoint-00000003.h5"
"$probflow" bpd "$tmp/learned" --limit 8 --out "$tmp/learned.h5" --quiet >/dev/null || fail "bpd of a learned variance"
for v in fixed_small learned; do
    refuses 'method.variance is fixed by the checkpoint' "$probflow" bpd "$tmp/learned" --set method.variance=$v --out "$tmp/x.h5"
done
# fewer steps, predictions as they are: another number under another name, with shares of its error that add up
view=(--limit 16 --quiet --set likelihood.respacing=10 --set likelihood.clip=no --set likelihood.draws=3)
"$probflow" bpd "$tmp/one" "${view[@]}" --out "$tmp/view.h5" >"$tmp/view.out" || fail "10 of 30 steps"
grep -qE ', 10 of 30 \(respacing 10\); predictions of the data not clipped; 6 of its 9 terms' "$tmp/view.out" || { cat "$tmp/view.out"; fail "which view it is"; }
"$probflow" info "$tmp/view.h5" >"$tmp/info.out"
grep -q 'respacing: 10' "$tmp/info.out" && grep -q 'clip: no' "$tmp/info.out" || { cat "$tmp/info.out"; fail "the file says neither"; }
"$probflow" bpd "$tmp/one" "${view[@]}" --part 1/2 --out "$tmp/viewpart.h5" >/dev/null || fail "a part of 10 of 30 steps"
ranks 2 "$probflow" bpd "$tmp/one" "${view[@]}" --from "$tmp/viewpart.h5" --out "$tmp/viewmerged.h5" >/dev/null || fail "merging it"
same "$tmp/view.h5" "$tmp/viewmerged.h5"
"$probflow" bpd "$tmp/one" --limit 16 --quiet --set likelihood.respacing=30 --out "$tmp/all30.h5" >/dev/null || fail "30 of 30 steps"
/usr/bin/python3 - "$tmp/view.h5" "$tmp/view.out" "$tmp/whole.h5" "$tmp/all30.h5" <<'P' || { cat "$tmp/view.out"; fail "the shares of the error"; }
import h5py, re, sys
import numpy as np
f, page, whole, all30 = h5py.File(sys.argv[1], "r"), open(sys.argv[2]).read(), *(h5py.File(p, "r") for p in sys.argv[3:])
v = np.stack([f["vlb"][()][f["draw"][()] == j][np.argsort(f["image"][()][f["draw"][()] == j])] for j in range(3)])
n = v.shape[1]
total, draws = v.mean(0).var(ddof=1) / n, v.var(0, ddof=1).sum() / 3 / n**2
want = {"vlb_se": total**.5, "draws_se": draws**.5, "images_se": max(total - draws, 0) ** .5}
for k, x in want.items():
    assert abs(f.attrs[k] - x) < 1e-12, (k, f.attrs[k], x)
    assert ("%.5f" % x) in page, (k, x)
for k in ("vlb", "diffusion_3"): assert (whole[k][()] == all30[k][()]).all(), k
P
refuses "has 'clip: yes'.*|has '.*'clip: no'" "$probflow" bpd "$tmp/one" "${view[@]}" --set likelihood.clip=yes --from "$tmp/viewpart.h5" --out "$tmp/x.h5"
refuses 'likelihood.respacing 40: section 1 has 30 steps' "$probflow" bpd "$tmp/one" --against "$tmp/two" --set likelihood.respacing=40 --out "$tmp/x.h5"
[ ! -e "$tmp/x.h5" ] || fail "a result without a result"
"$probflow" train "$tmp/chain.yaml" --run "$tmp/short" --set method.steps=12 --set train.steps=1 --set likelihood.terms=0 --quiet || fail "a shorter chain"
refuses 'respacing 20: section 1 has 12 steps.* in the chain of .*short' "$probflow" bpd "$tmp/one" --against "$tmp/short" --set likelihood.respacing=20 --out "$tmp/x.h5"
[ ! -e "$tmp/x.h5" ] || fail "the first model was scored before the second was seen not to fit"
refuses 'likelihood.terms is 6, but the chain has 4 terms' "$probflow" bpd "$tmp/one" --set likelihood.respacing=5 --out "$tmp/x.h5"
refuses 'likelihood.clip is yes, but nll_ode' "$probflow" train "$tmp/tiny.yaml" --run "$tmp/x" --set likelihood.clip=yes
"$probflow" logp "$tmp/one" --in "$root/tests/data/t10k-images-idx3-ubyte.gz" --out "$tmp/points.csv" --quiet --set likelihood.respacing=10 >/dev/null &&
    head -1 "$tmp/points.csv" | grep -q 'vlb_diffusion_0_nats,.*vlb_diffusion_9_nats' || fail "a table of points under a chain"

refuses 'data.grid is dequantised, but method ddpm' "$probflow" train "$tmp/chain.yaml" --run "$tmp/x" --set data.grid=dequantised
refuses 'sde.name has no use here' "$probflow" train "$tmp/chain.yaml" --run "$tmp/x" --set sde.name=vp
refuses 'nll_ode|has no score' "$probflow" bpd "$tmp/one" --set likelihood.estimand=nll_ode --out "$tmp/x.h5"
refuses 'has no score' "$probflow" sample "$tmp/one" -n 2 --out "$tmp/x.h5" --set sample.name=ode
refuses 'method.steps is fixed by the checkpoint' "$probflow" bpd "$tmp/one" --set method.steps=10 --out "$tmp/x.h5"
refuses 'likelihood.terms is 29' "$probflow" bpd "$tmp/one" --set likelihood.terms=29 --out "$tmp/x.h5"
"$probflow" data density:ring:200 "$tmp/ring.h5" --quiet >/dev/null
refuses 'method ddpm does not take continuous data' "$probflow" train "$tmp/chain.yaml" --run "$tmp/x" --set data.path="$tmp/ring.h5"
refuses "unknown method 'dpm'" "$probflow" train "$tmp/chain.yaml" --run "$tmp/x" --set method.name=dpm
exit 0
