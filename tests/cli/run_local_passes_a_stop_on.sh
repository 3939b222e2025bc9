# A stop of scripts/run_local reaches its ranks: checkpoint, exit status 75; the same command finishes.
. "$(dirname "$0")/common.sh"
local_run() { exec "$root/scripts/run_local" "$tmp/tiny.yaml" --ranks 2 --run "$tmp/run" --limit 8 --set train.steps=60 --set train.checkpoint_every=100000; }
(local_run) >"$tmp/out" 2>&1 &
job=$!
for _ in $(seq 600); do grep -q 'step [0-9]*/' "$tmp/out" && break; sleep 0.02; done
kill -TERM $job
wait $job; rc=$?
[ $rc = 75 ] || { cat "$tmp/out"; fail "exit status $rc, not 75"; }
compgen -G "$tmp/run/checkpoint-*.h5" >/dev/null || fail "no checkpoint of the stop"
[ ! -e "$tmp/run/checkpoint-00000060.h5" ] || fail "it was not stopped"
[ ! -e "$tmp/run/bpd-test.h5" ] || fail "a stopped run was scored"
(local_run) >"$tmp/out" 2>&1 || { cat "$tmp/out"; fail "the same command did not finish"; }
grep -q '^continuing from' "$tmp/out" || { cat "$tmp/out"; fail "it did not continue"; }
[ -e "$tmp/run/checkpoint-00000060.h5" ] && [ -e "$tmp/run/bpd-test.h5" ] || fail "checkpoint or result is missing"
"$root/scripts/run_local" nothing >"$tmp/out" 2>&1 && fail "an unknown experiment was accepted"
[ "$(wc -l <"$tmp/out")" = 1 ] || { cat "$tmp/out"; fail "more than a sentence about an unknown experiment"; }
exit 0
