# bpd in parts, merged, writes the file of one whole job: also when a part is missing or was killed
# half-way; a part of another definition is refused and named with the first difference.
. "$(dirname "$0")/common.sh"
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/r" --quiet || fail "training"
bpd() { "$probflow" bpd "$tmp/r" --limit 21 --set likelihood.group=4 --quiet "$@" >"$tmp/out" 2>&1; } # 6 groups, the last one short
bpd --out "$tmp/whole.h5" || fail "whole bpd"
grep -q 'solver  *mean' "$tmp/out" || fail "no group was repeated for the solver's share"
for i in 1 2 3 4; do
    bpd --part $i/4 --out "$tmp/p$i.h5" || fail "part $i"
    [ $i != 2 ] || grep -qE '^images  *8 ' "$tmp/out" || fail "part 2 of 4 is not groups 2 and 3"
done
grep -q '^speed' "$tmp/out" || fail "part 4 computed nothing"
from=(--from "$tmp/p1.h5" --from "$tmp/p2.h5" --from "$tmp/p3.h5" --from "$tmp/p4.h5")

bpd "${from[@]}" --out "$tmp/merged.h5" || fail "merge"
grep -q '^speed' "$tmp/out" && fail "a merge of all parts computed something"
same "$tmp/whole.h5" "$tmp/merged.h5"

# part 2 is missing, part 3 was killed after its first group; 2 ranks compute the rest
cp "$tmp/p3.h5" "$tmp/full.h5"
rm "$tmp/p3.h5"
setsid "$probflow" bpd "$tmp/r" --limit 21 --set likelihood.group=4 --part 1/2 --out "$tmp/p3.h5" --quiet >/dev/null 2>&1 &
job=$!
flags() { h5dump -d /done "$tmp/p3.h5" 2>/dev/null | tr -d '\n'; }
for _ in $(seq 400); do flags | grep -q '): 1' && break; sleep 0.02; done
kill -9 $job
wait $job 2>/dev/null
ranks 2 "$probflow" bpd "$tmp/r" --limit 21 --set likelihood.group=4 --from "$tmp/p1.h5" --from "$tmp/p3.h5" --from "$tmp/p4.h5" \
    --out "$tmp/rest.h5" --quiet >/dev/null || fail "merge with holes"
same "$tmp/whole.h5" "$tmp/rest.h5"

refuse() { refuses "$1" "$probflow" bpd "$tmp/r" --limit 21 --set likelihood.group=4 --out "$tmp/refused.h5" "${@:2}"; }
"$probflow" bpd "$tmp/r" --limit 21 --set likelihood.group=4 --set likelihood.rtol=2e-3 --part 1/4 --out "$tmp/other.h5" --quiet >/dev/null || fail "other options"
refuse 'other.h5.*rtol: 0.002.*rtol: 0.001' --from "$tmp/p1.h5" --from "$tmp/other.h5"
"$probflow" bpd "$tmp/r"/checkpoint-00000008.h5 --limit 21 --set likelihood.group=4 --part 1/4 --out "$tmp/older.h5" --quiet >/dev/null || fail "older checkpoint"
refuse 'older.h5.*checkpoint_sha256' --from "$tmp/older.h5"
refuse 'nowhere.h5' --from "$tmp/nowhere.h5"
for bad in 5/4 3; do refuse "part.*'$bad'" --part $bad; done
exit 0
