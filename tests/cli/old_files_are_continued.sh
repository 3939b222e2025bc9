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
# results of a chain from before there were bands: one goes on without, a new one has none of what it takes over
cp chain-part1.h5 chain-on.h5
"$probflow" bpd chain --limit 12 --out chain-on.h5 --quiet >on.out || fail "continuing an old part of a chain"
same chain-whole.h5 chain-on.h5
! grep -q '^bands' on.out || { cat on.out; fail "bands of a file without"; }
"$probflow" bpd chain --limit 12 --from chain-part1.h5 --out chain-merged.h5 --quiet >merged.out || fail "merging an old part of a chain"
! grep -q '^bands' merged.out || { cat merged.out; fail "bands of rows without"; }
"$probflow" bpd chain --limit 12 --out chain-new.h5 --quiet >new.out || fail "scoring a chain"
grep -q '^bands  .*:\( [0-9.]*\)\{10\}$' new.out || { cat new.out; fail "no bands"; }
"$probflow" bpd chain --limit 12 --from chain-new.h5 --from chain-part2.h5 --out chain-on.h5 --quiet >/dev/null || fail "a new part into an old file"
/usr/bin/python3 - chain-whole.h5 chain-merged.h5 chain-new.h5 <<'P' || fail "columns of old and new results"
import h5py, numpy as np, sys
old, merged, new = (h5py.File(p, "r") for p in sys.argv[1:])
for f in (merged, new):
    for k in old:
        if k != "rows_crc32": assert old[k][()].tobytes() == f[k][()].tobytes(), k
    for k in ("vlb", "vlb_se", "prior", "diffusion", "decoder", "terms_se"): assert old.attrs[k] == f.attrs[k], k
bands = lambda f: np.array([f["diffusion_%d" % k][()] for k in range(10)])
taken = merged["image"][()] < 4  # the old part has the first of three groups
assert (np.isnan(bands(merged)) == taken).all() and "diffusion_0" not in merged.attrs
assert np.allclose(bands(new).sum(0), new["diffusion"][()], atol=1e-12)
assert abs(sum(new.attrs["diffusion_%d" % k] for k in range(10)) - new.attrs["diffusion"]) < 1e-12
P
for f in *.h5 */*.h5; do "$probflow" info "$f" >/dev/null || fail "info $f"; done
"$probflow" info image-continued.h5 image/checkpoint-00000012.h5 || fail "the continued checkpoints differ"
