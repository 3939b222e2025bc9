# Improved DDPM and guided diffusion from data to numbers and pictures: indices drawn by their losses, steps without
# noise there and back, a classifier that guides; the same bits on any ranks and after a kill.
. "$(dirname "$0")/common.sh"
cat >"$tmp/chain.yaml" <<YAML
name: chain
seed: 3
shards: 4
data: {path: $tmp/tiny.h5}
method: {name: ddpm, steps: 8, schedule: cosine, variance: learned_range, loss: rescaled_kl, times: second_moment}
model: {name: unet, width: 32, multipliers: [1, 1], blocks: 1, attention: [14], heads: 2, dropout: 0.1, updown: yes}
train: {steps: 24, batch: 8, lr: 1.0e-3, warmup: 2, ema: 0.9, checkpoint_every: 6, log_every: 6}
likelihood: {group: 4}
sample: {name: ddim}
YAML
sed 's/^method:.*/method: {name: classifier, steps: 8, schedule: cosine}/
     s/^model:.*/model: {name: encoder, width: 32, multipliers: [1, 1], blocks: 1, attention: [14], head_channels: 16, dropout: 0.1}/' \
    "$tmp/chain.yaml" >"$tmp/classifier.yaml"

# train NAME: alone, on 2 and on 4 ranks, the last one killed on its way
train() {
    local name=$1 last
    last=$(printf 'checkpoint-%08d.h5' 24)
    for n in 1 2; do
        ranks $n "$probflow" train "$tmp/$name.yaml" --run "$tmp/$name$n" --quiet || fail "training of $name on $n ranks"
    done
    kill_in_training 4 "$tmp/${name}4" "$tmp/$name.yaml"
    [ -e "$tmp/${name}4/$last" ] && fail "the run of $name ended before it was killed"
    ranks 1 "$probflow" train "$tmp/$name.yaml" --run "$tmp/${name}4" --quiet || fail "going on with $name"
    same "$tmp/${name}1/$last" "$tmp/${name}2/$last"
    same "$tmp/${name}1/$last" "$tmp/${name}4/$last"
}
train chain
train classifier
run=$tmp/chain1 classifier=$tmp/classifier1

# the bound, of which all is told
"$probflow" bpd "$run" --limit 8 --out "$tmp/b.h5" --quiet >"$tmp/b.out" || fail "bpd"
grep -qE '^vlb +[0-9.]+ \+- [0-9.]+ bits/dim' "$tmp/b.out" || { cat "$tmp/b.out"; fail "no vlb with its error"; }

# there and back: both ways are the same on any ranks; codes are there
"$probflow" sample "$run" -n 5 --encode test --out "$tmp/e1.h5" --quiet >"$tmp/e.out" || fail "encoding"
ranks 2 "$probflow" sample "$run" -n 5 --encode test --out "$tmp/e2.h5" --quiet >/dev/null || fail "encoding on 2 ranks"
grep -qE '^reconstructed [0-9.]+ levels' "$tmp/e.out" || { cat "$tmp/e.out"; fail "no error of the way back"; }
same_numbers "$tmp/e1.h5" "$tmp/e2.h5"

# guided samples: by the mean and by the noise; scale 0 guides nowhere; labels and bounds go with them
for name in chain ddim; do
    guide=(--set sample.name=$name --set sample.respacing=4 --label all --guide "$classifier" --quiet)
    "$probflow" sample "$run" -n 6 "${guide[@]}" --out "$tmp/g1.h5" --dataset "$tmp/$name.h5" >"$tmp/g.out" || fail "guidance, $name"
    grep -qE '^vlb +[0-9.]+ \+- [0-9.]+ bits/dim, of these samples under the model without its guide' "$tmp/g.out" ||
        { cat "$tmp/g.out"; fail "no bound of guided samples"; }
    ranks 2 "$probflow" sample "$run" -n 6 "${guide[@]}" --out "$tmp/g2.h5" >/dev/null || fail "guidance on 2 ranks, $name"
    same_numbers "$tmp/g1.h5" "$tmp/g2.h5"
    "$probflow" sample "$run" -n 6 "${guide[@]}" --set sample.guide_scale=0 --out "$tmp/zero.h5" >/dev/null || fail "scale 0, $name"
    "$probflow" sample "$run" -n 6 --set sample.name=$name --set sample.respacing=4 --out "$tmp/none.h5" --quiet >/dev/null || fail "no guide, $name"
    /usr/bin/python3 - "$tmp/g1.h5" "$tmp/zero.h5" "$tmp/none.h5" <<'P' || fail "what a guide changes, $name"
import h5py, sys
g, zero, none = (h5py.File(p, "r") for p in sys.argv[1:])
# through the noise and back: rounding over sqrt(abar) of the last step, 4e-3 here
assert abs(zero["x"][()] - none["x"][()]).max() < 1e-9 and (g["x"][()] != none["x"][()]).any()
assert g["vlb"].shape == (6,) and "codes" not in g
P
    "$probflow" bpd "$run" --data "$tmp/$name.h5" --out "$tmp/gb-$name.h5" --quiet >/dev/null || fail "samples are no data set, $name"
    "$probflow" classify "$classifier" --data "$tmp/$name.h5" --out "$tmp/c.csv" --quiet >"$tmp/c.out" || fail "classify, $name"
done
grep -qE '^accuracy +[01]\.[0-9]+ \+- ' "$tmp/c.out" && head -1 "$tmp/c.csv" | grep -qx 'image,label,best,nats' || { cat "$tmp/c.out"; fail "no accuracy"; }

refuses 'is also an input' "$probflow" sample "$run" -n 2 --out "$tmp/x.h5" --dataset "$tmp/tiny.h5"
refuses 'leads to a label' "$probflow" sample "$run" -n 2 --guide "$classifier" --out "$tmp/x.h5"
refuses 'a classifier is wanted' "$probflow" sample "$run" -n 2 --label 1 --guide "$run" --out "$tmp/x.h5"
refuses 'sampler chain has no way back' "$probflow" sample "$run" -n 2 --encode test --set sample.name=chain --out "$tmp/x.h5"
refuses 'reads no labels, and no classifier' "$probflow" sample "$run" -n 2 --label 1 --out "$tmp/x.h5"
refuses 'respacing 9: section 1 has 8 steps' "$probflow" sample "$run" -n 2 --set sample.respacing=9 --out "$tmp/x.h5"
refuses 'trains no classifier' "$probflow" classify "$run"
refuses 'method.variance is fixed' "$probflow" bpd "$run" --set method.variance=fixed_large --out "$tmp/x.h5"
sed -i 's/steps: 8, schedule: cosine}/steps: 9, schedule: cosine}/' "$tmp/classifier.yaml"
"$probflow" train "$tmp/classifier.yaml" --run "$tmp/other" --quiet --set train.steps=1 || fail "another classifier"
refuses 'another noise' "$probflow" sample "$run" -n 2 --label 1 --guide "$tmp/other" --out "$tmp/x.h5"
exit 0
