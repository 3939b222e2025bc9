# PROBFLOW_ISA chooses the instruction set of everything, files store it, and numbers do not depend on it beyond the
# rounding of floats.
. "$(dirname "$0")/common.sh"
unset PROBFLOW_ISA
refuses 'PROBFLOW_ISA=avx3 is no instruction set; it may be sse2, avx2' env PROBFLOW_ISA=avx3 "$probflow" info
used() { sed -nE 's/^instruction set ([a-z0-9_]+).*/\1/p'; }
best=$("$probflow" info | used)
[ -n "$best" ] || fail "info does not tell the instruction set"
[ "$best" = portable ] && exit 0 # one for all

"$probflow" train "$tmp/tiny.yaml" --run "$tmp/r" --quiet || fail "training"
there=yes
for isa in sse2 avx2 avx512 avx512_bf16 amx; do
    export PROBFLOW_ISA=$isa
    if [ -z "$there" ]; then
        refuses "PROBFLOW_ISA=$isa is more than this machine has: the best of .* is $best" "$probflow" info
        continue
    fi
    [ "$("$probflow" info | used)" = "$isa" ] || fail "$isa is asked for, $("$probflow" info | used) used"
    "$probflow" train "$tmp/tiny.yaml" --run "$tmp/t-$isa" --quiet || fail "training with $isa"
    "$probflow" bpd "$tmp/r" --limit 8 --out "$tmp/bpd-$isa.h5" --quiet >/dev/null || fail "bpd with $isa"
    for file in "$tmp/t-$isa/checkpoint-00000012.h5" "$tmp/bpd-$isa.h5"; do
        "$probflow" info "$file" | grep -qE "^ *isa +$isa\$" || fail "$file does not tell that it is of $isa"
        "$probflow" info "$file" | grep -qE '^ *cpu +[^ ]' || fail "$file does not tell its CPU"
    done
    [ "$isa" != "$best" ] || there=
done
unset PROBFLOW_ISA

# Ranks on different machines compute with what the least of them has.
mpirun -n 1 env PROBFLOW_ISA=sse2 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/mixed" --quiet : \
    -n 1 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/mixed" --quiet || fail "training on different machines"
same "$tmp/mixed/checkpoint-00000012.h5" "$tmp/t-sse2/checkpoint-00000012.h5"

# Rounding of float, 6e-8, amplified by a network of some 20 layers, is below 1e-5 of a loss; twelve steps of Adam, which
# divides by the gradient's own size, leave it below 1e-3.  A likelihood may take another step where its error estimate
# is at the limit: less than its tolerance of 1e-3.
/usr/bin/python3 - "$tmp" <<'PY' || fail "another instruction set gives another number"
import glob, sys
import h5py, numpy as np
tmp = sys.argv[1]
losses = {f: h5py.File(f, "r")["loss"][...] for f in sorted(glob.glob(tmp + "/t-*/metrics.h5"))}
totals = {f: h5py.File(f, "r")["nll"][...] for f in sorted(glob.glob(tmp + "/bpd-*.h5"))}
for all, first, later in ((losses, 1e-5, 1e-3), (totals, 1e-3, 1e-3)):
    values = list(all.values())
    assert values and values[0].size
    for name, v in all.items():
        off = np.abs(v - values[0]) / np.maximum(np.abs(values[0]), 1)
        assert off.ravel()[0] <= first and off.max() <= later, "%s: %s" % (name, off)
PY
