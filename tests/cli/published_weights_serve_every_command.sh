# Published weights: imported, and then scored, evaluated and sampled with the same bits on 1 and 2 ranks.
. "$(dirname "$0")/common.sh"
source=$root/tests/golden/ddpmpp_gray28_vp.h5
"$probflow" import "$source" "$tmp/net.h5" --quiet || fail "import"
head -c 20000 "$source" >"$tmp/short.h5"
refuses 'short.h5' "$probflow" import "$tmp/short.h5" "$tmp/x.h5"
refuses 'fixed by the checkpoint' "$probflow" score "$tmp/net.h5" --in "$source" --out "$tmp/x.h5" --set model.width=8
loose=(--set likelihood.group=1 --set likelihood.rtol=1e-2 --set likelihood.atol=1e-2 --set likelihood.div_tol=1e-2)
few=(-n 40 --set sample.name=ancestral --set sample.steps=2)
for n in 1 2; do
    ranks $n "$probflow" score "$tmp/net.h5" --in "$source" --out "$tmp/score$n.h5" --quiet || fail "score on $n ranks"
    ranks $n "$probflow" logp "$tmp/net.h5" --in "$source" --group ode --out "$tmp/logp$n.h5" --quiet "${loose[@]}" || fail "logp on $n ranks"
    ranks $n "$probflow" sample "$tmp/net.h5" --out "$tmp/sample$n.h5" --png "$tmp/$n.png" --quiet "${few[@]}" >/dev/null || fail "sample on $n ranks"
done
for what in score logp sample; do same "$tmp/${what}1.h5" "$tmp/${what}2.h5"; done
cmp -s "$tmp/1.png" "$tmp/2.png" || fail "the grids differ"
for name in net score vjp; do
    "$probflow" info "$tmp/score1.h5" | grep -qw "$name" || fail "score wrote no $name"
done
