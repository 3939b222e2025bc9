# A bpd killed in the middle continues where it stopped, on another number of ranks, with the same bits.
. "$(dirname "$0")/common.sh"
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/r" --quiet || fail "training"
"$probflow" bpd "$tmp/r" --out "$tmp/whole.h5" --quiet >/dev/null || fail "uninterrupted bpd"
setsid "$probflow" bpd "$tmp/r" --out "$tmp/killed.h5" --quiet >/dev/null 2>&1 &
job=$!
for _ in $(seq 400); do [ -s "$tmp/killed.h5" ] && break; sleep 0.02; done
sleep 0.3
kill -9 $job
wait $job 2>/dev/null
"$probflow" info "$tmp/whole.h5" "$tmp/killed.h5" >/dev/null 2>&1 && fail "bpd ended before it was killed"
ranks 2 "$probflow" bpd "$tmp/r" --out "$tmp/killed.h5" --quiet >/dev/null || fail "continued bpd"
same "$tmp/whole.h5" "$tmp/killed.h5"
