# The gradient's variance: the same bits on 1, 2 and 4 ranks, another objective at the same parameters, and no trace in the run directory.
. "$(dirname "$0")/common.sh"
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/r" --quiet || fail "training"
content() { (cd "$tmp/r" && ls -l --time-style=full-iso && sha256sum -- *); }
content >"$tmp/before"
for n in 1 2 4; do
    ranks $n "$probflow" variance "$tmp/r" --batches 6 --out "$tmp/v$n.h5" --quiet >"$tmp/out$n" || fail "variance on $n ranks"
    grep -v '^results' "$tmp/out$n" >"$tmp/printed$n"
done
grep -q '^batches  *6 of 16 samples, as steps 13 to 18 would take them$' "$tmp/out1" || fail "printed: $(cat "$tmp/out1")"
grep -qE '^relative  *(inf|[0-9.e+]+)' "$tmp/out1" || fail "printed: $(cat "$tmp/out1")"
for n in 2 4; do
    same "$tmp/v1.h5" "$tmp/v$n.h5"
    cmp -s "$tmp/printed1" "$tmp/printed$n" || fail "printed on $n ranks: $(cat "$tmp/printed$n")"
done
"$probflow" info "$tmp/v1.h5" >"$tmp/info"
for name in loss grad_sq gradient_variance gradient_mean_sq gradient_relative_variance loss_mean loss_variance; do
    grep -qw "$name" "$tmp/info" || fail "variance wrote no $name"
done
"$probflow" variance "$tmp/r/checkpoint-00000012.h5" --data "$tmp/tiny.h5" --batches 6 --quiet --set objective.time=uniform >"$tmp/uniform" || fail "another objective"
! cmp -s "$tmp/uniform" "$tmp/printed1" || fail "another objective changed nothing"
refuses 'fixed by the checkpoint' "$probflow" variance "$tmp/r" --set sde.beta_max=10
refuses 'batches' "$probflow" variance "$tmp/r" --batches 1
refuses 'does not exist' "$probflow" variance "$tmp/none"
refuses 'absent.h5' "$probflow" variance "$tmp/r" --data "$tmp/absent.h5"
content | cmp -s - "$tmp/before" || fail "the run directory changed"
