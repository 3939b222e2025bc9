# Control variate, sets of probes and subspace: same bits on any ranks and threads, told in the result,
# which another estimator does not continue; without a train split one sentence says what to set.
. "$(dirname "$0")/common.sh"
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/r" --quiet || fail "training"
sets=(--set likelihood.probes=4 --set likelihood.colours=2 --set likelihood.control=gaussian)
bpd() { # NAME RANKS THREADS OPTIONS...
    local name=$1 n=$2 threads=$3; shift 3
    OMP_NUM_THREADS=$threads ranks "$n" "$probflow" bpd "$tmp/r" --limit 20 --out "$tmp/$name.h5" --quiet "$@" >/dev/null ||
        fail "bpd $name on $n ranks"
}
bpd one 1 1 "${sets[@]}"
bpd two 2 1 "${sets[@]}"
bpd threads 1 2 "${sets[@]}"
same "$tmp/one.h5" "$tmp/two.h5"
same "$tmp/one.h5" "$tmp/threads.h5"
bpd sub 1 2 --set likelihood.subspace=3
bpd sub2 2 1 --set likelihood.subspace=3
same "$tmp/sub.h5" "$tmp/sub2.h5"
"$probflow" info "$tmp/one.h5" | grep -q 'control: gaussian' || fail "info does not tell the control"
refuses 'control' "$probflow" bpd "$tmp/r" --limit 20 --out "$tmp/one.h5" --set likelihood.probes=4 --set likelihood.colours=2 \
    --set likelihood.control=none
refuses 'colours' "$probflow" bpd "$tmp/r" --limit 20 --out "$tmp/x.h5" --set likelihood.colours=2
"$probflow" data "$root"/tests/data/t10k*.gz "$tmp/test_only.h5" >/dev/null || fail "cannot convert the test split alone"
refuses 'train split.*likelihood.control=none' "$probflow" bpd "$tmp/r" --data "$tmp/test_only.h5" --limit 4 --out "$tmp/x.h5" \
    --set likelihood.control=gaussian
