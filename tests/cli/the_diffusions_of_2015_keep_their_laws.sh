# Both diffusions of 2015: the same bits on any ranks and after a kill, K where it must be, samples that are data and
# agree with what is known of them; what does not go together is refused.
. "$(dirname "$0")/common.sh"
"$probflow" data density:heartbeat:2000 "$tmp/heartbeat.h5" --quiet >/dev/null || fail "heartbeats"
"$probflow" data density:swiss_roll:2000 "$tmp/swiss-roll.h5" --quiet >/dev/null || fail "a swiss roll"
"$probflow" info "$tmp/swiss-roll.h5" --moments >"$tmp/moments" || fail "moments"
grep -qE '^moments .* mean 0\.1[0-9]*, standard deviation 0\.6[0-9]*$' "$tmp/moments" || { cat "$tmp/moments"; fail "other moments"; }
cp "$root/experiments/heartbeat/heartbeat.yaml" "$root/experiments/swiss-roll/swiss-roll.yaml" "$root/experiments/sd15-mnist/sd15-mnist.yaml" "$tmp"

short=(--set train.steps=60 --set train.checkpoint_every=10 --set train.eval_every=30 --set train.decay=20 --set model.width=16 --quiet)
for e in heartbeat swiss-roll; do
    more=("${short[@]}" --set data.path="$tmp/$e.h5" --set method.times=second_moment --set method.steps=12)
    last=checkpoint-00000060.h5
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
    more+=(--set train.steps=2000 --set train.decay=0 --set train.checkpoint_every=100)
    last=checkpoint-00002000.h5
    ranks 1 "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-whole" "${more[@]}" || fail "$e in one go"
    kill_in_training 2 "$tmp/$e-killed" "$tmp/$e.yaml" "${more[@]}"
    [ -e "$tmp/$e-killed/$last" ] && fail "$e ended before it was killed"
    ranks 1 "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-killed" "${more[@]}" || fail "$e continued"
    same "$tmp/$e-whole/$last" "$tmp/$e-killed/$last"
done

# the law of the heartbeat: K in [-2.45, -log2 5 + 3 s.e.]
"$probflow" train "$tmp/heartbeat.yaml" --run "$tmp/beat" --set data.path="$tmp/heartbeat.h5" --quiet || fail "the heartbeat"
"$probflow" bpd "$tmp/beat" --out "$tmp/beat.h5" --quiet >"$tmp/beat.out" || fail "its bound"
"$probflow" sample "$tmp/beat" -n 50 --score --out "$tmp/beats.h5" --previews 2 --quiet >/dev/null || fail "heartbeats"
"$probflow" sample "$tmp/beat" -n 20 --inpaint test --known left --out "$tmp/halves.h5" --quiet >"$tmp/halves.out" || fail "halves of heartbeats"
/usr/bin/python3 - "$tmp" <<'P' || { cat "$tmp/beat.out"; fail "laws of the heartbeat"; }
import h5py, math, re, sys
tmp = sys.argv[1]
k, se, above = map(float, re.search(r"^K +(\S+) \+- (\S+) bits a datum, (\S+) above its null$", open(tmp + "/beat.out").read(), re.M).groups())
assert -2.45 <= k <= -math.log2(5) + 3 * se, (k, se)
assert abs(k - above + 14.4386) < 1e-4
x = h5py.File(tmp + "/beats.h5")["images"][()].reshape(50, 20)
good = [all(row[i] == (i % 5 == list(row).index(1)) for i in range(20)) for row in x if row.any()]
assert sum(good) >= 45, good
assert h5py.File(tmp + "/beats.h5")["previews"].shape[1] == 2
a = h5py.File(tmp + "/halves.h5")["images"][()].reshape(20, 20)
b = h5py.File(tmp + "/heartbeat.h5")["test/images"][:20].reshape(20, 20)
assert (a[:, :10] == b[:, :10]).all()
assert (a == b).all(axis=1).sum() >= 18  # ten bits tell the phase
P
grep -q 'known 0.0000' "$tmp/halves.out" || { cat "$tmp/halves.out"; fail "known bits changed"; }
refuses 'symbols are known exactly or not at all: method sohl2015_binomial' "$probflow" sample "$tmp/beat" -n 2 --denoise test --noise 0.5 --out "$tmp/x.h5"

# images: dequantised inside, K a pixel, inpainted and denoised
image=(--set data.path="$tmp/tiny.h5" --set model.hidden_conv=4 --set model.hidden_dense_lower=16 --set train.steps=4 --set train.batch=8
    --set method.steps=10 --quiet)
"$probflow" train "$tmp/sd15-mnist.yaml" --run "$tmp/image" "${image[@]}" || fail "training on images"
for b in exact published; do
    "$probflow" bpd "$tmp/image" --limit 8 --set method.bound=$b --set likelihood.terms=4 --out "$tmp/$b.h5" --quiet >"$tmp/$b.out" || fail "bpd of images, $b"
    grep -qE '^K .* a datum, .* above its null; .* a pixel, .* above$' "$tmp/$b.out" || { cat "$tmp/$b.out"; fail "no K"; }
done
/usr/bin/python3 - "$tmp/exact.h5" "$tmp/published.h5" <<'P' || fail "ends of the bound"
import h5py, sys
a, b = (h5py.File(p, "r") for p in sys.argv[1:])
assert (a["diffusion"][()] == b["diffusion"][()]).all() and (a["prior"][()] != b["prior"][()]).all()
P
"$probflow" sample "$tmp/image" -n 4 --inpaint test --known top --out "$tmp/top.h5" --quiet >"$tmp/top.out" || fail "inpainting"
grep -q 'known 0.0000' "$tmp/top.out" || { cat "$tmp/top.out"; fail "known pixels changed"; }
"$probflow" sample "$tmp/image" -n 4 --denoise test --noise 0.05 --out "$tmp/clean.h5" --quiet >"$tmp/clean.out" || fail "denoising"
refuses 'takes all of its steps' "$probflow" bpd "$tmp/image" --set likelihood.respacing=5 --out "$tmp/x.h5"
refuses 'no predictions of the data to cut' "$probflow" bpd "$tmp/image" --set likelihood.clip=yes --out "$tmp/x.h5"
refuses 'gradient is that of a score, and method sohl2015 of' "$probflow" logp "$tmp/image" --in "$tmp/tiny.h5" --out "$tmp/x.csv" --gradient
[ -z "$(ls "$tmp"/x.csv* 2>/dev/null)" ] || fail "a refused gradient left files"
refuses 'draws by its own steps' "$probflow" sample "$tmp/image" -n 2 --set sample.name=ddim --out "$tmp/x.h5"
refuses 'a method for bits, and these data have 256 levels' "$probflow" train "$tmp/heartbeat.yaml" --run "$tmp/x" --set data.path="$tmp/tiny.h5"
refuses 'method sohl2015_binomial does not take continuous data' "$probflow" train "$tmp/heartbeat.yaml" --run "$tmp/x" --set data.path="$tmp/swiss-roll.h5"

# a table of booleans is bits
/usr/bin/python3 - "$tmp/bits.npy" <<'P'
import numpy, sys
numpy.save(sys.argv[1], numpy.random.default_rng(1).random((300, 6)) < 0.3)
P
"$probflow" data "$tmp/bits.npy" "$tmp/bits.h5" --quiet >"$tmp/bits.out" || fail "booleans"
grep -qE 'levels +2$' "$tmp/bits.out" || { cat "$tmp/bits.out"; fail "booleans are no bits"; }
"$probflow" train "$tmp/heartbeat.yaml" --run "$tmp/bits" --set data.path="$tmp/bits.h5" --set train.steps=2 --set train.decay=0 --set train.eval_every=0 --quiet || fail "training on booleans"
# points are bits whatever they are written as, and nothing else is
/usr/bin/python3 - "$tmp" <<'P'
import numpy, sys
b = numpy.random.default_rng(2).random((4, 6)) < 0.3
for name, a in (("bool", b), ("float", b.astype("f8")), ("half", b - 0.5)): numpy.save(sys.argv[1] + "/" + name + ".npy", a)
P
for t in bool float; do "$probflow" logp "$tmp/bits" --in "$tmp/$t.npy" --out "$tmp/$t.csv" --quiet >/dev/null || fail "logp of bits as $t"; done
cmp "$tmp/bool.csv" "$tmp/float.csv" || fail "bits written as floats are other bits"
refuses 'scores levels, whole numbers from 0 to 1' "$probflow" logp "$tmp/bits" --in "$tmp/half.npy" --out "$tmp/x.csv"
refuses 'holds values of 256 levels, .* was made for 2' "$probflow" logp "$tmp/bits" --in "$tmp/float.npy" --scale pixels --out "$tmp/x.csv"
exit 0
