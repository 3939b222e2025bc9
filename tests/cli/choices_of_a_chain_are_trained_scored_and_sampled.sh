# What denoising-diffusion-pytorch lets choose in a chain, from data to numbers and pictures: objectives, schedules, weights,
# self-conditioning, offset noise, floors; the same bits on any ranks and after a kill.
. "$(dirname "$0")/common.sh"

# experiment NAME METHOD: three short trainings, whose evaluations have the same choices
experiment() {
    cat >"$tmp/$1.yaml" <<YAML
name: $1
seed: 3
shards: 4
data: {path: $tmp/tiny.h5, flip: yes}
method: {name: ddpm, $2}
model: {name: ddpmpp, width: 8, multipliers: [1, 2], blocks: 1, attention: [], dropout: 0.1}
train: {steps: 24, batch: 8, lr: 1.0e-3, warmup: 2, ema: 0.9, checkpoint_every: 6, eval_every: 6, eval_images: 10, log_every: 6}
likelihood: {group: 4}
sample: {name: ddim, eta: 0.4, respacing: even4}
YAML
}
experiment v 'steps: 8, schedule: sigmoid, predicts: v, weight: min_snr, self_condition: yes, offset_noise: 0.1'
experiment data 'steps: 8, schedule: cosine, predicts: data, weight: snr, self_condition: yes, times: second_moment, variance: fixed_small'
experiment learned 'steps: 24, schedule: linear_scaled, weight: min_snr, min_snr_gamma: 2, variance: learned_range, vb_weight: 0.001, log_variance_clip: floor, decoder_floor: 1.0e-15'
last=$(printf 'checkpoint-%08d.h5' 24)

for name in v data learned; do
    for n in 1 2; do
        ranks $n "$probflow" train "$tmp/$name.yaml" --run "$tmp/$name$n" --quiet || fail "training of $name on $n ranks"
    done
    kill_in_training 4 "$tmp/${name}4" "$tmp/$name.yaml"
    [ -e "$tmp/${name}4/$last" ] && fail "the run of $name ended before it was killed"
    ranks 1 "$probflow" train "$tmp/$name.yaml" --run "$tmp/${name}4" --quiet || fail "going on with $name"
    same "$tmp/${name}1/$last" "$tmp/${name}2/$last"
    same "$tmp/${name}1/$last" "$tmp/${name}4/$last"

    # the bound; samples with what is expected on the way
    "$probflow" bpd "$tmp/${name}1" --limit 10 --out "$tmp/b1-$name.h5" --quiet >"$tmp/b.out" || fail "bpd of $name"
    ranks 2 "$probflow" bpd "$tmp/${name}1" --limit 10 --out "$tmp/b2-$name.h5" --quiet >/dev/null || fail "bpd of $name on 2 ranks"
    grep -qE '^vlb +[0-9.]+ \+- [0-9.]+ bits/dim' "$tmp/b.out" || { cat "$tmp/b.out"; fail "no vlb with its error of $name"; }
    same_numbers "$tmp/b1-$name.h5" "$tmp/b2-$name.h5"
    for sampler in ddim chain; do
        for n in 1 2; do
            ranks $n "$probflow" sample "$tmp/${name}1" -n 5 --set sample.name=$sampler --out "$tmp/s$n-$name$sampler.h5" --quiet >/dev/null ||
                fail "$sampler of $name on $n ranks"
        done
        same_numbers "$tmp/s1-$name$sampler.h5" "$tmp/s2-$name$sampler.h5"
        "$probflow" sample "$tmp/${name}1" -n 5 --previews 2 --set sample.name=$sampler --out "$tmp/p-$name$sampler.h5" --quiet >/dev/null || fail "previews of $name"
        /usr/bin/python3 - "$tmp/s1-$name$sampler.h5" "$tmp/p-$name$sampler.h5" <<'P' || fail "previews change the samples of $name"
import h5py, sys
a, b = (h5py.File(p, "r")["x"][()] for p in sys.argv[1:])
assert (a == b).all() and abs(a).max() <= 1.0 + 1e-12
P
    done
done

# what is of the bound alone may be asked for afterwards; what was trained may not
"$probflow" bpd "$tmp/learned1" --limit 4 --set method.decoder_floor=1e-12 --out "$tmp/f.h5" --quiet >/dev/null || fail "another floor"
refuses 'method.weight is fixed' "$probflow" bpd "$tmp/v1" --set method.weight=none --out "$tmp/x.h5"
refuses 'method.self_condition is fixed' "$probflow" bpd "$tmp/v1" --set method.self_condition=no --out "$tmp/x.h5"
train=("$probflow" train "$tmp/learned.yaml" --run "$tmp/none" --quiet)
refuses 'linear_scaled of 20 steps ends at a beta of 1' "${train[@]}" --set method.steps=20
refuses 'linear_scaled of 7 steps ends at a beta of 2.85' "${train[@]}" --set method.steps=7
refuses 'weighs squares' "${train[@]}" --set method.loss=kl --set method.vb_weight=1
refuses 'the network predicts the mean' "${train[@]}" --set method.predicts=mean
refuses 'does not rise' "${train[@]}" --set method.schedule=sigmoid --set method.schedule_end=-4
exit 0
