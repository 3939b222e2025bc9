# Score matching on a ladder from data to a number and pictures: the same bits on any ranks and after a kill, by
# denoising and by slices; halves of images are kept, rows lead from draw to draw; what does not go together is refused.
. "$(dirname "$0")/common.sh"
cat >"$tmp/ncsn.yaml" <<YAML
name: ncsn
seed: 3
shards: 4
data: {path: $tmp/tiny.h5, grid: dequantised}
method: {name: ncsn, levels: 5, cond: sigma}
model: {name: ddpmpp, width: 8, multipliers: [1], blocks: 1, attention: [], dropout: 0.1, scale_by_sigma: true}
train: {steps: 6, batch: 8, lr: 1.0e-3, warmup: 2, ema: 0.9, checkpoint_every: 3, eval_every: 3, eval_images: 8, log_every: 3}
likelihood: {group: 4, rtol: 1.0e-3, atol: 1.0e-3, div_tol: 1.0e-3}
sample: {name: langevin, langevin_steps: 2}
YAML
for loss in denoising sliced; do
    for n in 1 2 4; do
        ranks $n "$probflow" train "$tmp/ncsn.yaml" --run "$tmp/$loss$n" --set method.loss=$loss --quiet || fail "training by $loss on $n ranks"
        same_numbers "$tmp/${loss}1/checkpoint-00000006.h5" "$tmp/$loss$n/checkpoint-00000006.h5"
    done
    kill_in_training 2 "$tmp/$loss" "$tmp/ncsn.yaml" --set method.loss=$loss --set train.checkpoint_every=1
    "$probflow" train "$tmp/ncsn.yaml" --run "$tmp/$loss" --set method.loss=$loss --set train.checkpoint_every=1 --quiet || fail "going on by $loss"
    same_numbers "$tmp/${loss}1/checkpoint-00000006.h5" "$tmp/$loss/checkpoint-00000006.h5"
done
run=$tmp/denoising1

for n in 1 2; do
    ranks $n "$probflow" bpd "$run" --limit 8 --out "$tmp/bpd$n.h5" --quiet >"$tmp/bpd.out" || fail "bpd on $n ranks"
    ranks $n "$probflow" sample "$run" -n 40 --out "$tmp/s$n.h5" --quiet >/dev/null || fail "sampling on $n ranks"
done
grep -qE '^nll_ode +[0-9.]+ \+- [0-9.]+ bits/dim' "$tmp/bpd.out" || { cat "$tmp/bpd.out"; fail "no likelihood with its error"; }
same "$tmp/bpd1.h5" "$tmp/bpd2.h5"
same_numbers "$tmp/s1.h5" "$tmp/s2.h5"
"$probflow" bpd "$run" --limit 4 --set likelihood.estimand=bound --out "$tmp/bound.h5" --quiet >/dev/null || fail "bound"
# results of both estimands in one table, where what was not asked for stands as NaN
/usr/bin/python3 "$root/experiments/habits/compare" "$tmp" bound bpd1 >"$tmp/table" || fail "no table of both"
grep -qE '^\| bpd1 \| nll_ode \| 8 \| -?[0-9.]+ ± [0-9.]+' "$tmp/table" && grep -qE 'bpd1 minus bound \| nll_ode - bound \| 4 \| [+-][0-9.]+ ±' "$tmp/table" ||
    { cat "$tmp/table"; fail "not the numbers of both"; }
for s in ode reverse_diffusion; do
    "$probflow" sample "$run" -n 2 --set sample.name=$s --set sample.steps=5 --out "$tmp/$s.h5" --quiet >/dev/null || fail "sampler $s"
done

"$probflow" sample "$run" -n 6 --inpaint test --known left --out "$tmp/i.h5" --png "$tmp/i.png" --previews 5 --quiet >"$tmp/i.out" || fail "inpainting"
grep -qE '^inpainted +known 0\.0000, unknown [0-9.]+, of the mean image [0-9.]+ levels' "$tmp/i.out" || { cat "$tmp/i.out"; fail "no errors of inpainting"; }
[ -s "$tmp/i-previews.png" ] || fail "no progressive pictures"
"$probflow" sample "$run" -n 6 --inpaint test --known bottom --set sample.known_noise=level --out "$tmp/b.h5" --quiet >/dev/null || fail "once a level"
"$probflow" sample "$run" -n 6 --denoise test --noise 0.3 --out "$tmp/d.h5" --quiet >"$tmp/d.out" || fail "denoising"
grep -qE '^denoised +[0-9.]+, noisy 3[0-9.]+ levels' "$tmp/d.out" || { cat "$tmp/d.out"; fail "no errors of denoising"; }
"$probflow" sample "$run" -n 36 --interpolate 4 --out "$tmp/r.h5" --quiet >/dev/null || fail "rows between draws"
/usr/bin/python3 - "$tmp" <<'P' || fail "samples are not what they should be"
import gzip, h5py, sys
import numpy as np
a, b, r, s = (h5py.File(f"{sys.argv[1]}/{n}.h5", "r") for n in ("i", "b", "r", "s1"))
assert (a["x"][:, :, :14] == a["known"][:, :, :14]).all() and (a["x"][:, :, 14:] != a["known"][:, :, 14:]).all()
assert (b["x"][:, 14:] == b["known"][:, 14:]).all() and (b["x"][:, :14] != b["known"][:, :14]).all()
assert (a["known"][()] == b["known"][()]).all()
levels = np.rint((a["known"][()] + 1) * 128 - 0.5)  # the middle of the bins
assert (levels == a["images"][()])[:, :, :14].all()
assert a["previews"].shape[:2] == (6, 5) and (a["previews"][:, 4] == a["x"][()]).all()
# a row changes little from sample to sample and much from row to row
x = r["x"][()].reshape(9, 4, -1)
step, jump = np.abs(np.diff(x, axis=1)).mean(), np.abs(x[1:, 0] - x[:-1, 3]).mean()
assert step < jump, (step, jump)
assert (x[0, 0] == s["x"][0].ravel()).all()
P

"$probflow" info "$tmp/tiny.h5" --ladder --limit 100 >"$tmp/l.out" || fail "a ladder of the data"
grep -qE '^method +\{name: ncsn, levels: 9[0-9], sigma_begin: 1[0-9.]+, sigma_end: 0.01\}' "$tmp/l.out" &&
    grep -qE '^sample +\{name: langevin, langevin_steps: 5, step_size: 1.[0-9]+e-05\}' "$tmp/l.out" || { cat "$tmp/l.out"; fail "which ladder"; }

refuses 'sampler ode draws nothing that agrees with known entries' "$probflow" sample "$run" -n 2 --set sample.name=ode --inpaint test --known left --out "$tmp/x.h5"
refuses 'sampler ode has no rows between two draws' "$probflow" sample "$run" -n 2 --set sample.name=ode --interpolate 2 --out "$tmp/x.h5"
refuses 'sigma_end is 2, which is not below' "$probflow" train "$tmp/ncsn.yaml" --run "$tmp/x" --set method.sigma_end=2
refuses 'method.levels is fixed by the checkpoint' "$probflow" sample "$run" -n 2 --set method.levels=3 --out "$tmp/x.h5"
for words in '--inpaint test' '--known left' '--inpaint test --known middle' '--denoise test' '--denoise test --noise 0' '--denoise test --noise 1 --inpaint test --known top' '--interpolate 1'; do
    # shellcheck disable=SC2086
    refuses 'goes with|exclude each other|is no positive number|--interpolate' "$probflow" sample "$run" -n 2 $words --out "$tmp/x.h5"
done
sed -e 's/^method: .*/method: {name: ddpm, steps: 8, beta_end: 0.5}/' -e 's/, grid: dequantised//' -e '/^likelihood:/d' -e '/^sample:/d' -e 's/, scale_by_sigma: true//' \
    "$tmp/ncsn.yaml" >"$tmp/chain.yaml"
"$probflow" train "$tmp/chain.yaml" --run "$tmp/chain" --set train.steps=1 --quiet || fail "a chain"
refuses 'the steps of method ddpm do not agree with known entries' "$probflow" sample "$tmp/chain" -n 2 --inpaint test --known left --out "$tmp/x.h5"
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/vp" --set train.steps=1 --quiet || fail "a vp SDE"
refuses 'sde vp shrinks the data' "$probflow" sample "$tmp/vp" -n 2 --set sample.name=langevin --out "$tmp/x.h5"
[ ! -e "$tmp/x.h5" ] || fail "a file without samples"
exit 0
