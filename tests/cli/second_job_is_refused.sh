# Two jobs may not write one run directory or one result file; the right to write ends with its
# holder, even by kill -9.
. "$(dirname "$0")/fault.sh"
long=("$probflow" train "$small" --run "$tmp/run" --quiet --set train.steps=1000000 --set train.checkpoint_every=20)

# held LOCK COMMAND...: COMMAND in the background until it has the lock; $job
held() {
    local lock=$1; shift
    "$@" >/dev/null 2>&1 &
    job=$!
    for _ in $(seq 400); do grep -q process "$lock" 2>/dev/null && return; sleep 0.02; done
    fail "never locked: $*"
}
gone() { kill -9 $job; wait $job 2>/dev/null; }

held "$tmp/run/lock" "${long[@]}"
for _ in $(seq 400); do compgen -G "$tmp/run/checkpoint-*.h5" >/dev/null && break; sleep 0.02; done
refuses "run directory .*run is being written by process $job on" "${long[@]}"
"$probflow" bpd "$tmp/run" --limit 2 --out "$tmp/meanwhile.h5" --quiet >/dev/null || fail "a run cannot be scored while it goes on"
gone
newest=$(ls "$tmp/run" | sed -n 's/^checkpoint-0*\([0-9]*\).h5$/\1/p' | sort -n | tail -1)
"$probflow" train "$small" --run "$tmp/run" --quiet --set train.steps=$((newest + 1)) || fail "not continued after kill -9"

bpd=("$probflow" bpd "$tmp/run" --out "$tmp/b.h5" --quiet --set likelihood.bound_samples=4096)
held "$tmp/b.h5.lock" "${bpd[@]}"
refuses "b.h5 is being written by process $job on" "${bpd[@]}"
gone
"${bpd[@]}" --limit 2 --out "$tmp/c.h5" >/dev/null || fail "bpd"
[ -z "$(ls "$tmp"/run/lock "$tmp"/c.h5.lock 2>/dev/null)" ] || fail "a lock outlives its job"
