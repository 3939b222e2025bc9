# The n-th allocation fails, on one rank or on one of two: one sentence that says so, exit 1, no crash,
# no hang.  Only what the run does not need may pass over it, and then the result is right.
. "$(dirname "$0")/fault.sh"

# sweep RANKS RANK TRIES CHECK COMMAND...: TRIES allocations, evenly spread
sweep() {
    local n=$1 rank=$2 tries=$3 check=$4 total i; shift 4
    clean
    rm -f "$tmp/calls"
    faulty "$n" PF_FAULT_ALLOC=1 PF_FAULT_RANK="$rank" PF_FAULT_LOG="$tmp/calls" -- "$@" || { cat "$tmp/out"; fail "$*"; }
    total=$(wc -l <"$tmp/calls")
    [ "$total" -ge "$tries" ] || fail "only $total allocations: $*"
    for ((i = 1; i <= tries; i++)); do
        at=$((1 + (total - 1) * i / tries))
        [ $i = 1 ] && at=1
        clean
        faulty "$n" PF_FAULT_ALLOC=1 PF_FAULT_RANK="$rank" PF_FAULT_AT=$at -- "$@"
        rc=$?
        if [ $rc = 0 ]; then $check; continue; fi
        one_sentence $rc "allocation $at of $total on rank $rank of $n: $*"
        grep -q 'probflow: error: .*memory' "$tmp/out" || { cat "$tmp/out"; fail "allocation $at of $total: nothing about memory"; }
    done
}
clean() { rm -rf "$tmp/w"; mkdir "$tmp/w"; }
"$probflow" train "$small" --run "$tmp/whole" --quiet || fail "training"
bpd=("$probflow" bpd "$tmp/whole" --limit 4 --quiet --out)
"${bpd[@]}" "$tmp/whole.h5" >/dev/null || fail "bpd"
right_run() { same "$tmp/whole/checkpoint-00000003.h5" "$tmp/w/run/checkpoint-00000003.h5"; }
right_result() { same "$tmp/whole.h5" "$tmp/w/b.h5"; }
train=("$probflow" train "$small" --run "$tmp/w/run" --quiet)
sweep 1 0 40 right_run "${train[@]}"
sweep 2 1 8 right_run "${train[@]}"
sweep 1 0 20 right_result "${bpd[@]}" "$tmp/w/b.h5"
sweep 2 1 6 right_result "${bpd[@]}" "$tmp/w/b.h5"
sweep 1 0 12 true "$probflow" sample "$tmp/whole" -n 2 --set sample.name=reverse_diffusion --set sample.steps=2 --out "$tmp/w/s.h5" --png "$tmp/w/s.png" --quiet
sweep 1 0 10 true "$probflow" data "$root"/tests/data/*.gz "$tmp/w/d.h5"
sweep 1 0 10 true "$probflow" import "$root/tests/golden/ddpmpp_vp.h5" "$tmp/w/i.h5" --quiet
