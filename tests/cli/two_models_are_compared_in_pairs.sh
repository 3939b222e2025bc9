#!/usr/bin/env bash
# bpd A --against B: the difference of two models on the same images, with an error of its own.
. "$(dirname "$0")/common.sh"
cd "$tmp" || exit 1
for v in 1.0e-3 1.1e-3; do
    sed "s/^model:.*/model: {name: gaussian, noise_variance: $v}/" tiny.yaml >"g$v.yaml"
    "$probflow" train "g$v.yaml" --run "g$v" --quiet >/dev/null || fail "cannot fit $v"
done
a=g1.0e-3 b=g1.1e-3
"$probflow" bpd $a --against $b --set likelihood.estimand=nll_and_bound --out a.h5 --quiet >page || fail "bpd --against"
/usr/bin/python3 - a.h5 a-against.h5 page <<'P' || { cat page; fail "the page is not that of the two files"; }
import h5py, re, sys
import numpy as np
a, b = (h5py.File(p, "r") for p in sys.argv[1:3])
page = open(sys.argv[3]).read()
for what in ("nll", "bound"):
    x, y = a[what][()], b[what][()]
    d = x - y
    se, alone = d.std(ddof=1) / len(d) ** 0.5, (x.var(ddof=1) / len(x) + y.var(ddof=1) / len(y)) ** 0.5
    line = re.search(r"  %s +([-+][\d.]+) \+- ([\d.]+) bits/dim, paired \(of two unpaired numbers: \+- ([\d.]+)\)" % {"nll": "nll_ode"}.get(what, what), page)
    have = [float(v) for v in line.groups()]
    assert np.allclose(have, [d.mean(), se, alone], atol=1e-5), (have, d.mean(), se, alone)
    assert se < alone / 5, (se, alone)
P
"$probflow" bpd $a --against $b --set likelihood.estimand=nll_and_bound --out a.h5 >again 2>log || fail "again"
[ "$(grep -c '8 of 8 groups are done' log)" = 2 ] || { cat log; fail "what is there was scored again"; }
[ "$(grep -A2 ^difference page)" = "$(grep -A2 ^difference again)" ] || fail "another difference the second time"
"$probflow" bpd $a --against $a --quiet >page || fail "a model against itself"
grep -q '  nll_ode     +0.00000 +- 0.00000 bits/dim' page || { cat page; fail "a model differs from itself"; }

# on 2 ranks, in parts that merge
ranks 2 "$probflow" bpd $a --against $b --set likelihood.estimand=nll_and_bound --out two.h5 --quiet >page2 || fail "on 2 ranks"
[ "$(grep -A2 ^difference page2)" = "$(grep -A2 ^difference again)" ] || fail "another difference on 2 ranks"
same_numbers a-against.h5 two-against.h5
"$probflow" bpd $a --against $b --limit 20 --part 2/2 --out p.h5 --quiet >page3 || fail "a part"
grep -q 'the first model minus the second, 12 images' page3 || { cat page3; fail "not the images of the part"; }

"$probflow" data "$root"/tests/data/*.gz small.h5 --shrink 2 --quiet >/dev/null
"$probflow" train g1.0e-3.yaml --run small --set data.path=small.h5 --quiet >/dev/null
refuses 'small/.* was made for 14x14x1' "$probflow" bpd $a --against small
refuses 'g1.0e-3.*is an input|input' "$probflow" bpd $a --against $b --out $b/checkpoint-00000001.h5
"$probflow" train tiny.yaml --run net --set objective.t_min=1e-3 --quiet >/dev/null 2>&1 || fail "cannot train"
echo mine >m-against.h5
refuses 'm-against.h5 exists and was not written by probflow' "$probflow" bpd $a --against $b --out m.h5
[ "$(cat m-against.h5)" = mine ] && [ ! -e m.h5 ] || fail "the first model was scored before the file of the second was seen"
refuses 'trained from 0.001 on; set likelihood.t_min=0.001' "$probflow" bpd $a --against net
echo ok
