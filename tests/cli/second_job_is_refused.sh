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
# two commands of one output: the second is refused while the first holds it, whatever it writes
for command in "data $root/tests/data/train-images-idx3-ubyte.gz" "sample $tmp/run -n 1 --set sample.steps=2 --out"; do
    o=$tmp/taken.h5
    /usr/bin/python3 - "$o.lock" <<'P' &
import fcntl, sys, time
f = open(sys.argv[1], "w")
f.write("process 1 on elsewhere\n"); f.flush()
fcntl.lockf(f, fcntl.LOCK_EX)
time.sleep(30)
P
    holder=$!
    for _ in $(seq 100); do [ -s "$o.lock" ] && break; sleep 0.02; done
    "$probflow" $command "$o" --quiet >"$tmp/out" 2>&1 && fail "two writers of one output: $command"
    grep -q "taken.h5 is being written by process 1 on elsewhere" "$tmp/out" || { cat "$tmp/out"; fail "another sentence: $command"; }
    [ ! -e "$o" ] || fail "the second writer wrote: $command"
    kill $holder; wait $holder 2>/dev/null
    "$probflow" $command "$o" --quiet >"$tmp/out" 2>&1 || { cat "$tmp/out"; fail "the holder is gone: $command"; }
    [ -s "$o" ] && [ ! -e "$o.lock" ] || fail "no output, or its lock is left: $command"
    rm "$o"
done
exit 0
