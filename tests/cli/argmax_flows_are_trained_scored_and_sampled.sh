# Argmax flows of a text of order 1, whose entropy is known: the same training and numbers on any ranks and after a kill, bounds of one
# and of several draws that are not below the text's own, samples of its symbols alone.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - "$tmp" <<'P'
import random, sys
random.seed(5)
after = {"a": "aabc", "b": "bc", "c": "aaab"}  # each letter of the next ones as likely
with open(sys.argv[1] + "/text.txt", "w") as f:
    at = "a"
    for _ in range(16 * 600):
        f.write(at)
        at = random.choice(after[at])
P
"$probflow" data "$tmp/text.txt" "$tmp/text.h5" --length 16 --quiet >/dev/null || fail "the text"
write() { # NAME METHOD MODEL
    cat >"$tmp/$1.yaml" <<YAML
name: $1
seed: 2
shards: 4
data: {path: $tmp/text.h5}
method: {name: argmax, mixtures: 3, context: 8, context_width: 8, $2}
model: {$3}
train: {steps: 40, batch: 16, lr: 1.0e-2, warmup: 2, ema: 0.9, checkpoint_every: 20, eval_every: 20, eval_images: 16, log_every: 20}
likelihood: {group: 8}
YAML
}
write coupling "flow: coupling, steps: 2, channels: mix, actnorm: true, encoder: perceptron, encoder_steps: 2, encoder_width: 8" "name: transformer, width: 8, depth: 1, heads: 2, cond_width: 4"
write lstm "flow: autoregressive, steps: 2, encoder: lstm" "name: lstm, variant: features, width: 16, depth: 1"
for e in coupling lstm; do
    "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e" --quiet || fail "training of $e"
    for n in 2 4; do
        ranks $n "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-$n" --quiet || fail "training of $e on $n ranks"
        same_numbers "$tmp/$e/checkpoint-00000040.h5" "$tmp/$e-$n/checkpoint-00000040.h5"
    done
    "$probflow" bpd "$tmp/$e" --limit 24 --out "$tmp/$e.h5" --quiet >"$tmp/bpd.out" || fail "bpd of $e"
    grep -qE '^vlb +[0-9.]+ \+- [0-9.]+ bits/char$' "$tmp/bpd.out" || { cat "$tmp/bpd.out"; fail "no bits a character"; }
    "$probflow" bpd "$tmp/$e" --limit 24 --set method.draws=8 --out "$tmp/$e-bound.h5" --quiet >/dev/null || fail "a bound of 8 draws of $e"
    "$probflow" bpd "$tmp/$e" --limit 24 --set likelihood.draws=8 --out "$tmp/$e-mean.h5" --quiet >/dev/null || fail "8 bounds of $e"
    "$probflow" sample "$tmp/$e" -n 12 --out "$tmp/$e-s.h5" --text "$tmp/$e.txt" --quiet >"$tmp/$e.out" || fail "samples of $e"
    grep -qE '^codes +[0-9]+ of 12 samples held at first codes that are no symbol, [0-9.]+ \+- [0-9.]+ %' "$tmp/$e.out" || { cat "$tmp/$e.out"; fail "no mass of codes that are no symbol"; }
    ! grep -q '[^abc]' "$tmp/$e.txt" && [ "$(wc -l <"$tmp/$e.txt")" = 12 ] || { cat "$tmp/$e.txt"; fail "$e does not speak"; }
    for n in 2 4; do
        ranks $n "$probflow" bpd "$tmp/$e" --limit 24 --out "$tmp/$e-$n.h5" --quiet >/dev/null || fail "bpd of $e on $n ranks"
        same "$tmp/$e.h5" "$tmp/$e-$n.h5"
        ranks $n "$probflow" sample "$tmp/$e" -n 12 --out "$tmp/$e-s$n.h5" --quiet >/dev/null || fail "samples of $e on $n ranks"
        same "$tmp/$e-s.h5" "$tmp/$e-s$n.h5"
    done
done
kill_in_training 2 "$tmp/killed" "$tmp/coupling.yaml"
ranks 2 "$probflow" train "$tmp/coupling.yaml" --run "$tmp/killed" --quiet || fail "going on after a kill"
same_numbers "$tmp/coupling/checkpoint-00000040.h5" "$tmp/killed/checkpoint-00000040.h5"
/usr/bin/python3 - "$tmp" <<'P' || fail "a bound is below the entropy, or more draws do not raise it"
import sys, h5py, numpy as np
tmp = sys.argv[1]
after = {"a": "aabc", "b": "bc", "c": "aaab"}
d = h5py.File(tmp + "/text.h5")
rows = d["test/tokens"][()].reshape(-1, 16)[:24]
letters = "abc"
p = np.array([[after[a].count(b) / len(after[a]) for b in letters] for a in letters])
w, v = np.linalg.eig(p.T)
first = np.real(v[:, np.argmax(np.real(w))]); first /= first.sum()
own = -(np.log2(first[rows[:, 0]]) + np.log2(p[rows[:, :-1], rows[:, 1:]]).sum(1)) / 16  # bits/char of each row, exact
def of_rows(name):
    f = h5py.File(f"{tmp}/{name}.h5")
    return f["vlb"][()][np.lexsort((f["draw"][()], f["image"][()]))].reshape(24, -1).mean(1)
for e in "coupling", "lstm":
    a = h5py.File(f"{tmp}/{e}-s.h5").attrs
    rows, entries, bits = a["unused_rows"], a["unused_entries"], a["unused_bits"]
    told = next(l for l in open(f"{tmp}/{e}.out") if l.startswith("codes")).split()
    assert abs(rows - int(told[1]) / 12) < 1e-12 and rows / 16 <= entries <= rows, (told, rows, entries)
    assert rows == 1 or abs(bits + np.log2(1 - rows) / 16) < 1e-12, (rows, bits)
    assert a["unused_rows_error"] > 0 and a["unused_entries_error"] > 0
    for name in e, e + "-bound", e + "-mean":
        over = of_rows(name) - own
        assert over.mean() > -4 * over.std(ddof=1) / 24 ** 0.5, (name, over.mean())
    # of the same 8 draws the logarithm of the mean is not below the mean of logarithms, row by row
    less = of_rows(e + "-mean") - of_rows(e + "-bound")
    assert less.min() > -1e-12 and less.mean() > 1e-3, (e, less)
P
refuses 'wants a model each of whose outputs sees only what comes before' "$probflow" train "$tmp/coupling.yaml" --run "$tmp/x" --set method.flow=autoregressive
refuses 'acts only where method.encoder is perceptron' "$probflow" train "$tmp/lstm.yaml" --run "$tmp/x" --set method.context_dropout=0.5
refuses 'method.encoder_steps is 0' "$probflow" train "$tmp/lstm.yaml" --run "$tmp/x" --set method.encoder_width=8
refuses 'method.context_layers is 0' "$probflow" train "$tmp/lstm.yaml" --run "$tmp/x" --set method.context_layers=0
refuses 'which have no density' "$probflow" bpd "$tmp/coupling" --set likelihood.estimand=nll_ode --out "$tmp/x.h5"
refuses 'likelihood.terms is 4, but the chain has 0 terms' "$probflow" bpd "$tmp/coupling" --set likelihood.terms=4 --out "$tmp/x.h5"
refuses 'do not agree with known entries' "$probflow" sample "$tmp/coupling" -n 2 --inpaint test --known left --out "$tmp/x.h5"
exit 0
