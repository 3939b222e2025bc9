# The n-th read of each input fails once: one sentence and no output, or the right one.  All of the first
# 60 reads, every 7th later; tests/test_*.c do all of every reader.
. "$(dirname "$0")/fault.sh"
"$probflow" train "$small" --run "$tmp/run" --quiet || fail "training"
cp "$tmp/run/checkpoint-00000003.h5" "$tmp/c.h5"
/usr/bin/python3 - "$tmp/p.h5" <<'P' || fail "points"
import h5py, numpy as np, sys
with h5py.File(sys.argv[1], "w") as f: f["x"], f["t"] = np.zeros((2, 28, 28, 1)), np.full(2, .5)
P
gzip -dc "$root/tests/data/t10k-images-idx3-ubyte.gz" >"$tmp/t10k-images"
mkdir "$tmp/png" && "$probflow" sample "$tmp/c.h5" -n 1 --out "$tmp/s.h5" --png "$tmp/png/a.png" --quiet --set sample.steps=1 || fail "sampling"

# sweep PATTERN OUT COMMAND...: reads of files that match PATTERN; OUT "" for a command that only prints
sweep() {
    local pattern=$1 out=$2 n=0 rc right; shift 2
    rm -f "$tmp/calls"; "$@" >"$tmp/right" 2>/dev/null || fail "undisturbed: $*"
    [ -z "$out" ] || { right=$tmp/right.h5; mv "$out" "$right"; }
    while :; do
        n=$((n + (n < 60 ? 1 : 7))); [ $n -lt 2000 ] || fail "no end of the reads: $*"
        rm -f "$tmp/calls"
        faulty 1 PF_FAULT_READ=1 PF_FAULT_PATH="$pattern" PF_FAULT_AT=$n PF_FAULT_DO=EIO PF_FAULT_LOG="$tmp/calls" -- "$@"
        rc=$?
        [ -s "$tmp/calls" ] || break # all reads were there, none failed
        if [ $rc = 0 ]; then
            if [ -n "$out" ]; then same "$out" "$right"; rm -f "$out"; else cmp -s "$tmp/out" "$tmp/right" || fail "read $n: other output: $*"; fi
        else
            one_sentence $rc "read $n of $pattern: $*"
            [ -z "$out" ] || [ ! -e "$out" ] || fail "read $n: $out is left: $*"
        fi
    done
    [ $n -gt 1 ] || fail "nothing was read: $*"
    [ $rc = 0 ] || { cat "$tmp/out"; fail "without a failing read: $*"; }
    rm -f "$out"
}
w=$tmp/w
sweep '*t10k*' "$w/o.h5" "$probflow" data "$root/tests/data/t10k-images-idx3-ubyte.gz" "$root/tests/data/t10k-labels-idx1-ubyte.gz" "$w/o.h5" --quiet
sweep '*t10k*' "$w/o.h5" "$probflow" data "$tmp/t10k-images" "$w/o.h5" --quiet
sweep '*/a.png' "$w/o.h5" "$probflow" data "$tmp/png" "$w/o.h5" --quiet
sweep '*/tiny.h5' '' "$probflow" info "$tmp/tiny.h5"
sweep '*/c.h5' '' "$probflow" info "$tmp/c.h5"
sweep '*/metrics.h5' '' "$probflow" info "$tmp/run/metrics.h5"
sweep '*/c.h5' "$w/s.h5" "$probflow" sample "$tmp/c.h5" -n 1 --out "$w/s.h5" --quiet --set sample.steps=1
sweep '*/p.h5' "$w/s.h5" "$probflow" score "$tmp/c.h5" --in "$tmp/p.h5" --out "$w/s.h5" --quiet
sweep '*/tiny.h5' "$w/b.h5" "$probflow" bpd "$tmp/c.h5" --limit 2 --out "$w/b.h5" --quiet
sweep '*/small.yaml' '' "$probflow" train "$small" --run "$tmp/run" --quiet
sweep '*/ddpmpp_vp.h5' "$w/i.h5" "$probflow" import "$root/tests/golden/ddpmpp_vp.h5" "$w/i.h5" --quiet
