# Each bad input: one clear sentence, a non-zero exit, no hang on 2 ranks, nothing lost.
. "$(dirname "$0")/common.sh"
train() { refuses "$1" "$probflow" train "$tmp/tiny.yaml" --run "$tmp/bad" --quiet "${@:2}"; }

refuses 'missing.yaml' "$probflow" train "$tmp/missing.yaml" --run "$tmp/bad"
train 'nothing-there.h5' --set data.path="$tmp/nothing-there.h5"
head -c 20000 "$tmp/tiny.h5" >"$tmp/short.h5"
train 'short.h5' --set data.path="$tmp/short.h5"
train 'halve' --set 'model.multipliers=[1,1,1,1]'
train "unknown.*'?stpes'?.*steps" --set train.stpes=3
train 'power of two' --set shards=6
train 'objective.time=uniform' --set objective.weight=sigma2
train 'know no noise levels' --set sde.name=subvp --set method.cond=label
train 'more noise in a step' --set sde.name=vp --set method.cond=label --set method.levels=8
train 'f16.*f32.*bf16' --set train.precision=f16
train 'gpu' --set train.device=gpu
train 'range|from|between' --set train.lr=-1
train 'model.levels=256' --set model.levels=128 --set data.uniform_dequantisation=no # points are no wider bins
train 'data.grid is centres.*says the same' --set data.grid=centres --set data.uniform_dequantisation=no
train 'dequantised, published or centres' --set data.grid=middles
train '256' --set model.levels=100 # does not divide the levels of the data
[ -e "$tmp/bad/checkpoint-00000012.h5" ] && fail "a refused run wrote a checkpoint"
if [ "$(id -u)" != 0 ]; then
    mkdir "$tmp/locked" && chmod 555 "$tmp/locked"
    refuses 'locked' "$probflow" train "$tmp/tiny.yaml" --run "$tmp/locked/run"
fi
refuses 'proc' "$probflow" train "$tmp/tiny.yaml" --run /proc/probflow-run # nobody can write there

# R does not divide S: 2 ranks own 1 shard
timeout -k 5 60 mpirun -n 2 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/bad" --set shards=1 >"$tmp/out" 2>&1 && fail "2 ranks took 1 shard"
grep -q 'probflow: error: .*shard' "$tmp/out" || { cat "$tmp/out"; fail "no sentence about ranks and shards"; }

# a good run, then damage: the older checkpoint is kept and used
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/run" --quiet || fail "training"
refuses 'train.lr|lr' "$probflow" train "$tmp/tiny.yaml" --run "$tmp/run" --set train.lr=0.5
last=$tmp/run/checkpoint-00000012.h5
cp "$last" "$tmp/good.h5"
flip() { # FILE OFFSET: changes one byte
    local b; b=$(od -An -tu1 -j "$2" -N1 "$1"); printf "\\x$(printf %02x $((b ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
size=$(stat -c %s "$last")
flip "$last" $((size * 3 / 4))
refuses "$(basename "$last")" "$probflow" bpd "$last" --limit 4 --out "$tmp/x.h5"
"$probflow" bpd "$tmp/run" --limit 4 --out "$tmp/older.h5" >"$tmp/out" 2>&1 || { cat "$tmp/out"; fail "the older checkpoint was not used"; }
grep -q "$(basename "$last")" "$tmp/out" || { cat "$tmp/out"; fail "the damaged checkpoint was not reported by name"; }

# checksums right, one parameter not a number
"$build/tests/spoil_checkpoint" "$tmp/good.h5" "$tmp/nan.h5" || fail "cannot spoil a checkpoint"
refuses 'nan|NaN|not finite' "$probflow" bpd "$tmp/nan.h5" --limit 4 --out "$tmp/x.h5"

refuses 'not a dataset' "$probflow" bpd "$tmp/good.h5" --data "$tmp/good.h5" --limit 4 --out "$tmp/x.h5"
head -c 5000 "$tmp/good.h5" >"$tmp/cut.h5"
refuses 'cut.h5' "$probflow" bpd "$tmp/cut.h5" --limit 4 --out "$tmp/x.h5"
refuses 'model.width|fixes' "$probflow" bpd "$tmp/good.h5" --set model.width=16 --limit 4 --out "$tmp/x.h5"
refuses 'probes' "$probflow" bpd "$tmp/good.h5" --set likelihood.prbes=2 --limit 4 --out "$tmp/x.h5"
