# What an earlier version began is continued and merged by this one, with the bits that the earlier one had.
. "$(dirname "$0")/common.sh"
export PROBFLOW_ISA=sse2 # the set that the old files were made with
cp -r "$root"/tests/old/. "$tmp" && cd "$tmp" || fail "no old files"
for n in image point; do
    "$probflow" bpd $n --limit $([ $n = image ] && echo 12 || echo 15) --from $n-part1.h5 --from $n-part2.h5 --out $n-merged.h5 --quiet \
        >merged.out 2>&1 || { cat merged.out; fail "$n: merging old parts"; }
    same $n-whole.h5 $n-merged.h5
    "$probflow" bpd $n --limit $([ $n = image ] && echo 12 || echo 15) --out $n-part1.h5 --quiet >part.out 2>&1 ||
        { cat part.out; fail "$n: continuing an old part"; }
    same $n-whole.h5 $n-part1.h5
    # step 6 to 12, on two ranks
    ranks 2 "$probflow" train "$n/config.yaml" --run $n --set train.steps=12 --quiet || fail "$n: continuing an old run"
    same_numbers $n-continued.h5 $n/checkpoint-00000012.h5
done
"$probflow" bpd fit --limit 8 --quiet >fit.out || fail "scoring an old fit"
grep -q 'bits/dim' fit.out || { cat fit.out; fail "an old fit has no number"; }
for f in *.h5 */*.h5; do "$probflow" info "$f" >/dev/null || fail "info $f"; done
"$probflow" info image-continued.h5 image/checkpoint-00000012.h5 || fail "the continued checkpoints differ"
