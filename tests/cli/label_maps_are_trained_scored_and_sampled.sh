# Images of K categories by the rows of the experiment that scores label maps, in small: from arrays to the table and to pictures in colours;
# probabilities of the model of contexts add up to one; a map is scored alone as in its split; other numbers of levels are refused.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - "$tmp" <<'P' || fail "maps"
import sys, numpy as np
rng = np.random.default_rng(5)
for split, n in ("train", 60), ("test", 8), ("valid", 8):
    x = np.zeros((n, 8, 16), np.uint8)
    for i in range(n):  # a coast, a river, a few places of any class
        x[i, :, rng.integers(2, 14):] = 1
        x[i, rng.integers(8), x[i, 0] == 1] = 4
        x[i, rng.integers(8, size=3), rng.integers(16, size=3)] = rng.integers(8, size=3)
    np.save(f"{sys.argv[1]}/{split}.npy", x)
P
"$probflow" data "$tmp/train.npy" "$tmp/valid.npy" "$tmp/test.npy" "$tmp/maps.h5" --levels 8 --quiet >/dev/null || fail "no data set"
refuses 'holds the value 7, and --levels 7' "$probflow" data "$tmp/train.npy" "$tmp/x.h5" --levels 7
refuses 'not a whole number from 2 to 256' "$probflow" data "$tmp/train.npy" "$tmp/x.h5" --levels 1
export SEGMENTATION_DATA=$tmp/maps.h5 SEGMENTATION_RUNS=$tmp/runs
small=(train.steps=2 train.batch=8 train.decay=0 train.warmup=0 train.checkpoint_every=2 train.eval_images=8 likelihood.group=4)
SEGMENTATION_ROWS='multinomial masked' "$root/experiments/segmentation/run" 6 "${small[@]}" likelihood.terms=2 method.steps=4 model.width=8 'model.attention=[]' \
    >"$tmp/run.out" 2>&1 || { cat "$tmp/run.out"; fail "diffusions"; }
SEGMENTATION_ROWS='argmax-autoregressive argmax-coupling' "$root/experiments/segmentation/run" 6 "${small[@]}" model.width=8 method.context_width=8 method.unused=last \
    >"$tmp/run.out" 2>&1 || { cat "$tmp/run.out"; fail "flows"; }
"$root/experiments/segmentation/compare" "$tmp/runs" "$tmp/maps.h5" multinomial masked argmax-autoregressive argmax-coupling >"$tmp/table" || fail "the table"
[ "$(grep -cE '^\| (multinomial|masked|argmax-[a-z]+) \| 6 \| [0-9.]+ ± [0-9.]+ \|' "$tmp/table")" = 4 ] || { cat "$tmp/table"; fail "four rows of six maps"; }
[ "$(grep -cE '^\| samples of [a-z-]+ \| [0-9.]+ ± [0-9.]+ \| 24 ' "$tmp/table")" = 4 ] || { cat "$tmp/table"; fail "blocks of four rows"; }
/usr/bin/python3 - "$root/experiments/segmentation" "$tmp" <<'P' || fail "numbers do not add up"
import importlib.machinery, importlib.util, sys, h5py, numpy as np
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("contexts", sys.argv[1] + "/contexts")
m = importlib.util.module_from_spec(importlib.util.spec_from_loader("contexts", loader)); loader.exec_module(m)
f = h5py.File(sys.argv[2] + "/maps.h5")
train, test = m.maps(f, "train"), m.maps(f, "test")
for order in 0, 3, len(m.BEFORE):
    model = m.fit(train, order, 8)
    p = sum(m.chances(model, test, np.full_like(test, k), 8) for k in range(8))
    assert abs(p - 1).max() < 1e-12, order
    # of a pixel nothing is known that comes at it or later: other values there change no chance
    late = test.copy()
    late[:, 4, 5:], late[:, 5:] = 3, 2
    a, b = (m.chances(model, x, np.full_like(test, 1), 8) for x in (test, late))
    assert (a[:, :4] == b[:, :4]).all() and (a[:, 4, :6] == b[:, 4, :6]).all()
for row in "multinomial", "masked", "argmax-autoregressive", "argmax-coupling":
    x = h5py.File(f"{sys.argv[2]}/runs/{row}-samples.h5")["images"][()]
    assert x.shape == (24, 8, 16, 1) and x.max() < 8
    with open(f"{sys.argv[2]}/runs/{row}.png", "rb") as g: assert g.read(8) == b"\x89PNG\r\n\x1a\n"
P
# the file of arrays has 256 levels unless one says what it holds
refuses 'holds values of 256 levels' "$probflow" logp "$tmp/runs/masked" --in "$tmp/test.npy" --out "$tmp/x.csv"
"$probflow" logp "$tmp/runs/masked" --in "$tmp/test.npy" --levels 8 --out "$tmp/maps.csv" --quiet >/dev/null || fail "logp of maps"
[ "$(wc -l <"$tmp/maps.csv")" = 9 ] || fail "eight maps have eight numbers"
