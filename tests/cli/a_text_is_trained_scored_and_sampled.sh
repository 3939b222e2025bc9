# A text from its characters to a number and back: symbols by rule, rows of unequal length, bits a character weighed by their
# characters, the same on any ranks; samples as text; a character model of exact likelihood beside it.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - "$tmp" <<'P'
import random, sys
random.seed(3)
words = "in the beginning god created heaven and earth it was without form void darkness upon face of deep".split()
with open(sys.argv[1] + "/lines.txt", "w") as f:
    for _ in range(400): f.write(" ".join(random.choice(words) for _ in range(random.randint(1, 12))).capitalize() + ".\n")
P
"$probflow" data "$tmp/lines.txt" "$tmp/lines.h5" --text text8 --rows lines --length 24 --quiet >"$tmp/data.out" || fail "lines"
grep -qE '^  train +[0-9]+ rows of up to 24, [0-9]+ in all, each one of 27 symbols$' "$tmp/data.out" || { cat "$tmp/data.out"; fail "what the text holds"; }
"$probflow" data "$tmp/lines.txt" "$tmp/chunks.h5" --length 24 --remainder drop --quiet >/dev/null || fail "chunks"
"$probflow" info "$tmp/chunks.h5" | grep -qE '^  train +[0-9]+ rows of 24,' || fail "chunks are full"

for m in "multinomial, steps: 12" "masked, steps: 12"; do
    e=${m%%,*}
    cat >"$tmp/$e.yaml" <<YAML
name: $e
seed: 2
shards: 4
data: {path: $tmp/lines.h5}
method: {name: $m}
model: {name: transformer, variant: dit, width: 16, depth: 1, heads: 2, cond_width: 8}
train: {steps: 6, batch: 8, lr: 1.0e-3, warmup: 2, ema: 0.9, checkpoint_every: 3, eval_every: 3, eval_images: 8, log_every: 3}
likelihood: {group: 4, terms: 4}
YAML
    "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e" --quiet || fail "training of $e"
    ranks 2 "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-2" --quiet || fail "training of $e on 2 ranks"
    same_numbers "$tmp/$e/checkpoint-00000006.h5" "$tmp/$e-2/checkpoint-00000006.h5"
    "$probflow" bpd "$tmp/$e" --limit 18 --out "$tmp/$e.h5" --quiet >"$tmp/bpd.out" || fail "bpd of $e"
    ranks 2 "$probflow" bpd "$tmp/$e" --limit 18 --out "$tmp/$e-2.h5" --quiet >/dev/null || fail "bpd of $e on 2 ranks"
    same "$tmp/$e.h5" "$tmp/$e-2.h5"
    grep -qE '^vlb +[0-9.]+ \+- [0-9.]+ bits/char$' "$tmp/bpd.out" || { cat "$tmp/bpd.out"; fail "no bits a character"; }
    grep -qE '^rows +18 of the test split of lines, [0-9]+ symbols, 1 draw each$' "$tmp/bpd.out" || { cat "$tmp/bpd.out"; fail "no count of symbols"; }
    grep -qE 'of the s.e.: drawn terms, at most [0-9.]+$' "$tmp/bpd.out" || { cat "$tmp/bpd.out"; fail "no share of the drawn terms"; }
    "$probflow" info "$tmp/$e.h5" | grep -qE "^  vlb +[0-9.]+ \+- [0-9.]+ bits/char over 18 rows$" || fail "the page of a result has another unit"
    "$probflow" bpd "$tmp/$e" --limit 18 --set likelihood.draws=2 --out "$tmp/$e-draws.h5" --quiet >"$tmp/draws.out" || fail "two draws of $e"
    grep -qE 'of the s.e.: noise and drawn terms [0-9.]+, which more draws remove' "$tmp/draws.out" || { cat "$tmp/draws.out"; fail "no share of the noise"; }
    "$probflow" bpd "$tmp/$e" --limit 18 --against "$tmp/$e-2" --out "$tmp/$e-pair.h5" --quiet | grep -qE 'vlb +\+0\.0+ \+- 0\.0+ bits/char' || fail "$e against itself"
    "$probflow" sample "$tmp/$e" -n 5 --out "$tmp/$e-s.h5" --text "$tmp/$e.txt" --dataset "$tmp/$e-set.h5" --score --quiet >"$tmp/sample.out" || fail "samples of $e"
    [ "$(wc -l <"$tmp/$e.txt")" = 5 ] && ! grep -q '[^a-z ]' "$tmp/$e.txt" || { cat "$tmp/$e.txt"; fail "$e does not speak"; }
    grep -qE '^entropy +[0-9.]+ bits' "$tmp/sample.out" || { cat "$tmp/sample.out"; fail "no entropy of positions"; }
    "$probflow" sample "$tmp/$e" -n 5 --out "$tmp/$e-t.h5" --text - --quiet | grep -qxFf "$tmp/$e.txt" || fail "the same samples on the page"
    refuses 'is there already' "$probflow" sample "$tmp/$e" -n 1 --out "$tmp/x.h5" --text "$tmp/$e.txt"
    refuses 'is of images' "$probflow" sample "$tmp/$e" -n 1 --out "$tmp/x.h5" --png "$tmp/x.png"
    refuses 'was made for' "$probflow" bpd "$tmp/$e" --data "$tmp/tiny.h5" --out "$tmp/x.h5"
    # rows that end early, and a kill between two checkpoints
    more=(--set train.steps=400 --set train.checkpoint_every=50 --set train.eval_every=0 --set train.decay=0)
    "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-whole" "${more[@]}" --quiet || fail "$e in one go"
    kill_in_training 2 "$tmp/$e-killed" "$tmp/$e.yaml" "${more[@]}"
    [ -e "$tmp/$e-killed/checkpoint-00000400.h5" ] && fail "$e ended before it was killed"
    "$probflow" train "$tmp/$e.yaml" --run "$tmp/$e-killed" "${more[@]}" --quiet || fail "$e continued"
    same_numbers "$tmp/$e-whole/checkpoint-00000400.h5" "$tmp/$e-killed/checkpoint-00000400.h5"
done
# terms drawn by what training learned of the losses of each
law=(--set method.times=second_moment --set train.steps=200 --set train.decay=0 --set train.eval_every=0 --quiet)
"$probflow" train "$tmp/multinomial.yaml" --run "$tmp/law" "${law[@]}" || fail "training with learned times"
"$probflow" bpd "$tmp/law" --limit 18 --set likelihood.terms=0 --set likelihood.draws=8 --out "$tmp/law-all.h5" --quiet >/dev/null || fail "all terms"
"$probflow" bpd "$tmp/law" --limit 18 --set likelihood.strata=learned --set likelihood.draws=40 --out "$tmp/law.h5" --quiet >"$tmp/law.out" || fail "learned strata"
grep -q '4 of its 11 terms, drawn in each draw by the law that training learned' "$tmp/law.out" || { cat "$tmp/law.out"; fail "which strata"; }
refuses 'method.times=second_moment' "$probflow" bpd "$tmp/masked" --set likelihood.strata=learned --out "$tmp/x.h5"
/usr/bin/python3 - "$tmp" <<'P' || fail "numbers do not add up"
import sys, h5py, numpy as np
tmp = sys.argv[1]
length = h5py.File(tmp + "/lines.h5")["test/length"][:18]
for e in "multinomial", "masked":
    f = h5py.File(f"{tmp}/{e}.h5")
    o = np.argsort(f["image"][()])
    v, w = f["vlb"][()][o], f["entries"][()][o]
    assert (w == length).all()
    mean = (v * w).sum() / w.sum()
    se = np.sqrt(18 / 17 * ((w * (v - mean)) ** 2).sum()) / w.sum()
    assert abs(f.attrs["vlb"] - mean) < 1e-12 and abs(f.attrs["vlb_se"] - se) < 1e-12
    s = h5py.File(f"{tmp}/{e}-s.h5")
    assert (s["tokens"][()] == s["x"][()].reshape(5, 24)).all() and s["entropy"].shape == (24,)
    assert (h5py.File(f"{tmp}/{e}-set.h5")["test/tokens"][()] == s["tokens"][()]).all()
P
/usr/bin/python3 - "$tmp" <<'P' || fail "learned strata have another mean than all terms"
import sys, h5py, numpy as np
def of_rows(name):
    f = h5py.File(f"{sys.argv[1]}/{name}.h5")
    o = np.lexsort((f["draw"][()], f["image"][()]))
    return f["diffusion"][()][o].reshape(18, -1), f["terms_variance"][()][o].reshape(18, -1)
drawn, said = of_rows("law")
every, _ = of_rows("law-all")
d = drawn.mean(1) - every.mean(1)
se = np.sqrt((drawn.var(1, ddof=1) / 40 + every.var(1, ddof=1) / 8).sum()) / 18
assert abs(d.mean()) < 4 * se, (d.mean(), se)
assert said.mean() > 0
P
# an exact likelihood: over a row of length 1 its probabilities add up to 1
/usr/bin/python3 - "$root/experiments/text" "$tmp/lines.h5" <<'P' || fail "the character model"
import importlib.machinery, importlib.util, sys, h5py, numpy as np
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("ngram", sys.argv[1] + "/ngram")
m = importlib.util.module_from_spec(importlib.util.spec_from_loader("ngram", loader)); loader.exec_module(m)
f = h5py.File(sys.argv[2]); K = 27
model = m.fit(*m.rows(f, "train"), 3, K)
context = m.rows(f, "test")[0][:1, :7]
rows = np.concatenate([np.repeat(context, K, 0), np.arange(K)[:, None]], 1)
p = 2.0 ** -(m.bits(model, rows, np.full(K, 8), K) - m.bits(model, context, np.full(1, 7), K))
assert abs(p.sum() - 1) < 1e-9, p.sum()
P
"$root/experiments/text/ngram" "$tmp/lines.h5" | grep -qE '^order 5 +[0-9.]+ \+- [0-9.]+ bits/char' || fail "bits a character of order 5"
"$root/experiments/text/words" "$tmp/lines.h5" "$tmp/masked-s.h5" | grep -E '^test +1.0000 \+- 0.0000 of [0-9]+ words' >/dev/null || fail "words of the test split"
refuses 'which have no density' "$probflow" bpd "$tmp/masked" --set likelihood.estimand=nll_ode --out "$tmp/x.h5"
printf 'name: numbers\ndata: {path: %s/lines.h5}\nsde: {name: vp}\nmodel: {name: mlp}\n' "$tmp" >"$tmp/numbers.yaml"
refuses 'does not take tokens' "$probflow" train "$tmp/numbers.yaml" --run "$tmp/x"
refuses 'stand in no order' "$probflow" info "$tmp/lines.h5" --moments
refuses 'no distances' "$probflow" info "$tmp/lines.h5" --ladder
exit 0
