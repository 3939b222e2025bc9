# kill -9 of rank 1 alone, while the other waits for it at each place where ranks wait: the job ends
# within 10 s and the same command then ends in the undisturbed bits.
. "$(dirname "$0")/fault.sh"
"$probflow" train "$small" --run "$tmp/whole" --quiet || fail "training"
bpd=("$probflow" bpd "$tmp/whole" --limit 12 --quiet --set likelihood.estimand=nll_ode --set likelihood.rtol=0.05 --set likelihood.atol=0.05 --set likelihood.div_tol=0.05 --out)
"${bpd[@]}" "$tmp/whole.h5" >/dev/null || fail "bpd"
ends() { [ "$1" -le 10 ] || fail "$2: the job lived $1 s on"; } # SECONDS WHAT

# rank 1 dies as it reads data: its shards, and groups of bpd while rank 0 hands out the queue
for command in train bpd; do
    if [ $command = train ]; then run=("$probflow" train "$small" --run "$tmp/w/run" --quiet)
    else run=("${bpd[@]}" "$tmp/w/b.h5"); fi
    for at in 3 9; do
        rm -f "$tmp/fired"
        faulty 2 PF_FAULT_RANK=1 PF_FAULT_PATH="*/tiny.h5" PF_FAULT_READ=1 PF_FAULT_AT=$at PF_FAULT_DO=kill PF_FAULT_LOG="$tmp/fired" -- "${run[@]}"
        rc=$?
        [ -s "$tmp/fired" ] || { cat "$tmp/out"; fail "rank 1 of $command never made read $at"; }
        [ $rc = 137 ] || { cat "$tmp/out"; fail "$command: exit $rc after kill -9"; }
        ends $(($(date +%s) - $(stat -c %Y "$tmp/fired"))) "$command reading data"
    done
    ranks 2 "${run[@]}" >/dev/null || fail "$command does not continue"
done
same "$tmp/whole/checkpoint-00000003.h5" "$tmp/w/run/checkpoint-00000003.h5"
same "$tmp/whole.h5" "$tmp/w/b.h5"

# in the evaluation loss, in the steps, and in an ODE solve
killed_later() { # SECONDS WHAT COMMAND...
    local after=$1 what=$2 job pid; shift 2
    mpirun -n 2 "$@" >"$tmp/out" 2>&1 &
    job=$!
    sleep "$after"
    pid=$(for p in $(pgrep -P $job); do tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -q '^OMPI_COMM_WORLD_RANK=1$' && echo "$p"; done)
    [ -n "$pid" ] || { cat "$tmp/out"; fail "$what ended too early"; }
    kill -9 "$pid"
    local started=$SECONDS
    wait $job 2>/dev/null
    ends $((SECONDS - started)) "$what"
}
many=(--set train.eval_images=64 --set train.steps=100000)
killed_later 1.5 'the evaluation loss' "$probflow" train "$small" --run "$tmp/eval" --quiet "${many[@]}" --set train.eval_every=1
killed_later 1.5 'steps' "$probflow" train "$small" --run "$tmp/steps" --quiet "${many[@]}" --set train.eval_every=0 --set train.checkpoint_every=0
killed_later 1.5 'an ODE solve' "${bpd[@]}" "$tmp/ode.h5" --limit 64 --set likelihood.group=32 --set likelihood.rtol=1e-9 --set likelihood.atol=1e-9
