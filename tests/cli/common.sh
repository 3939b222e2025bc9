# Sourced by the command-line tests: a scratch folder, a tiny dataset, a tiny training.
set -u
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export OMPI_MCA_btl=self,vader OMP_NUM_THREADS=1

fail() { echo "FAILED: $*" >&2; exit 1; }

"$probflow" data "$root"/tests/data/*.gz "$tmp/tiny.h5" >/dev/null || fail "cannot convert the tiny dataset"

cat >"$tmp/tiny.yaml" <<YAML
name: tiny
seed: 3
shards: 8
data: {path: $tmp/tiny.h5, uniform_dequantisation: yes, flip: yes}
sde: {name: vp}
model: {name: ddpmpp, width: 8, multipliers: [1, 2], blocks: 1, attention: [14], dropout: 0.1, embedding: fourier, fourier_scale: 0.25}
objective: {weight: likelihood, time: importance}
train: {steps: 12, batch: 16, lr: 1.0e-3, warmup: 4, ema: 0.9, checkpoint_every: 4, eval_every: 6, eval_images: 16, log_every: 4}
likelihood: {group: 8, dequantisation: uniform, rtol: 1.0e-3, atol: 1.0e-3, div_tol: 1.0e-3}
YAML

# prints the same training as a chain whose indices are drawn by their losses
by_losses() {
    sed -e 's/^sde: .*/method: {name: ddpm, steps: 8, beta_end: 0.5, times: second_moment}/' -e '/^objective:/d' -e '/^likelihood:/d' \
        -e 's/uniform_dequantisation: yes, //' -e 's/attention: .*}/attention: []}/' "$tmp/tiny.yaml"
}

# refuses PATTERN COMMAND...: must fail with one sentence matching PATTERN, within 60 s, on 2 ranks too
refuses() {
    local pattern=$1 n rc; shift
    for n in 1 2; do
        timeout -k 5 60 bash -c '. "$1"; shift; ranks "$@"' _ "$root/scripts/env.sh" "$n" "$@" >"$tmp/out" 2>&1
        rc=$?
        [ $rc -ne 0 ] || fail "accepted on $n ranks: $*"
        [ $rc -ne 124 ] && [ $rc -ne 137 ] || fail "hung on $n ranks: $*"
        grep -qE "probflow: error: .*($pattern)" "$tmp/out" || { cat "$tmp/out"; fail "no sentence like '$pattern' on $n ranks: $*"; }
        [ "$(grep -c 'probflow: error:' "$tmp/out")" = 1 ] || { cat "$tmp/out"; fail "more than one sentence on $n ranks: $*"; }
    done
}

same() { "$probflow" info "$1" "$2" >"$tmp/same" 2>&1 || { cat "$tmp/same"; fail "$1 and $2 differ"; }; }

# same_numbers A B: all their datasets are equal, whatever configuration or definition stands beside them
same_numbers() {
    /usr/bin/python3 - "$1" "$2" <<'P' || fail "$1 and $2 hold other numbers"
import h5py, sys
def datasets(path):
    found = {}
    with h5py.File(path, "r") as f:
        f.visititems(lambda name, o: found.update({name: o[()].tobytes()}) if isinstance(o, h5py.Dataset) else None)
    return found
a, b = map(datasets, sys.argv[1:])
sys.exit(not a or a != b)
P
}

# kill_in_training N RUN ARGUMENTS...: probflow train on N ranks, killed as a whole (kill -9) once a checkpoint is there
kill_in_training() {
    local n=$1 run=$2 job; shift 2
    setsid bash -c '. "$1"; shift; ranks "$@"' _ "$root/scripts/env.sh" "$n" "$probflow" train --run "$run" --quiet "$@" >/dev/null 2>&1 &
    job=$!
    for _ in $(seq 600); do
        compgen -G "$run/checkpoint-*.h5" >/dev/null && break
        sleep 0.05
    done
    kill -9 -- -$job
    wait $job 2>/dev/null
    pkill -9 -f "$run" 2>/dev/null
    return 0
}
