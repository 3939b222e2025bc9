# SIGTERM, SIGUSR1 and time limits stop train and bpd with exit status 75 and nothing lost: the same
# commands, on other numbers of ranks, end in the bits of runs that nobody stopped.
. "$(dirname "$0")/common.sh"
steps=200
set_steps=(--set "train.steps=$steps" --set train.checkpoint_every=100000 --set train.eval_every=100)
last=checkpoint-$(printf %08d $steps).h5
ranks 2 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/whole" --quiet "${set_steps[@]}" || fail "uninterrupted run"

newest() { ls "$tmp/run" 2>/dev/null | grep -E '^checkpoint-[0-9]+\.h5$' | tail -n 1; }
rows() { h5dump -d /step "$tmp/run/metrics.h5" 2>/dev/null | grep -c '^ *('; }
# stops SIGNAL to 'ranks' or 'launcher' RANKS: trains until there is progress, then a signal; expects 75
stops() {
    local signal=$1 target=$2 n=$3 before rc job
    before=$(newest)
    (ranks "$n" "$probflow" train "$tmp/tiny.yaml" --run "$tmp/run" "${set_steps[@]}" >"$tmp/out" 2>&1) &
    job=$!
    for _ in $(seq 600); do grep -q 'step [0-9]*/' "$tmp/out" 2>/dev/null && break; sleep 0.02; done
    if [ "$target" = launcher ]; then pkill -"$signal" -f "^mpirun .*$tmp/run"; else pkill -"$signal" -f "^$probflow .*$tmp/run"; fi
    wait $job; rc=$?
    [ $rc = 75 ] || { cat "$tmp/out"; fail "SIG$signal to the $target gave exit status $rc, not 75"; }
    grep -q 'stopped after step .*; the same command continues' "$tmp/out" || { cat "$tmp/out"; fail "not said where it stopped"; }
    grep -q 'error' "$tmp/out" && { cat "$tmp/out"; fail "a stop was called an error"; }
    [ -n "$(newest)" ] && [ "$(newest)" != "$before" ] && [ "$(newest)" != "$last" ] || fail "no checkpoint of the stop: $(newest)"
}
stops TERM ranks 2
stops USR1 launcher 2
stops INT ranks 1
stops TERM ranks 4
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/run" --quiet "${set_steps[@]}" --max-minutes 0.004; rc=$?
[ $rc = 75 ] || fail "--max-minutes gave exit status $rc, not 75"
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/run" --quiet "${set_steps[@]}" --set train.max_hours=0.0001; rc=$?
[ $rc = 75 ] || fail "train.max_hours gave exit status $rc, not 75"
ranks 4 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/run" --quiet "${set_steps[@]}" || fail "the last stretch"
same "$tmp/whole/$last" "$tmp/run/$last"

# bpd: what is done stays, on any number of ranks
"$probflow" bpd "$tmp/whole" --out "$tmp/whole.h5" --limit 24 --quiet >/dev/null || fail "uninterrupted bpd"
stopped=0
for n in 2 1 4; do
    ranks $n "$probflow" bpd "$tmp/whole" --out "$tmp/part.h5" --limit 24 --quiet --max-minutes 0.01 >"$tmp/out" 2>&1; rc=$?
    [ $rc = 75 ] && stopped=$((stopped + 1))
    [ $rc = 75 ] || [ $rc = 0 ] || { cat "$tmp/out"; fail "a limited bpd gave exit status $rc"; }
done
[ $stopped -gt 0 ] || fail "no bpd was stopped"
ranks 2 "$probflow" bpd "$tmp/whole" --out "$tmp/part.h5" --limit 24 --quiet >/dev/null || fail "the rest of bpd"
same "$tmp/whole.h5" "$tmp/part.h5"

# the second signal ends at once, without a checkpoint
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/twice" --set train.steps=100000 --set train.batch=8192 >"$tmp/out" 2>&1 &
job=$!
for _ in $(seq 600); do grep -q 'step [0-9]*/' "$tmp/out" && break; sleep 0.02; done
kill -STOP $job; kill -TERM $job; kill -CONT $job # handled before the step goes on
sleep 0.6
kill -TERM $job 2>/dev/null; wait $job; rc=$?
[ $rc = 143 ] || fail "the second signal gave exit status $rc"
for bad in 0 -3 soon; do
    "$probflow" train "$tmp/tiny.yaml" --run "$tmp/bad" --max-minutes $bad >"$tmp/out" 2>&1; rc=$?
    [ $rc = 2 ] && grep -q 'probflow: error: .*max-minutes' "$tmp/out" || { cat "$tmp/out"; fail "--max-minutes $bad gave $rc"; }
done
exit 0
