# Published weights of NCSN and NCSNv2 as their checkpoints hold them: a prefix, a buffer of noise levels.  Imported they
# know their method and its ladder, give the published scores, and sample with the same bits on 1 and 2 ranks.
. "$(dirname "$0")/common.sh"
cat >"$tmp/published.py" <<'P'
import h5py, json, sys
import numpy as np
# published REFERENCE FILE [key=value]..: params/ by the reference file's formula, options with these; points FILE to score
def splitmix(z):
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)
source, path = h5py.File(sys.argv[1]), sys.argv[2]
o = json.loads(source.attrs["options"])
for word in sys.argv[3:]:
    key, value = word.split("=")
    o[key] = json.loads(value)
with h5py.File(path + ".h5", "w") as f:
    f.attrs["net"] = json.dumps(o)
    if "sigma_begin" not in o: # its constructor does not read them
        f.attrs.update({"sigma_begin": 1.0, "sigma_end": 0.02})
    for p, (name, shape) in enumerate(zip(source["names"].asstr(), source["shapes"].asstr())):
        shape = [int(n) for n in shape.split("x")]
        z = np.uint64(int(source.attrs["seed"])) + np.uint64(p << 32) + np.arange(np.prod(shape), dtype=np.uint64)
        u = (splitmix(z) >> np.uint64(11)) * 2.0**-53
        f["params/module." + name] = (source["offset"][p] + source["amplitude"][p] * (2 * u - 1)).astype("f4").reshape(shape)
    if "sigma_begin" in o:
        f["params/module.sigmas"] = np.geomspace(o["sigma_begin"], o["sigma_end"], o["num_classes"]).astype("f4")
with h5py.File(path + "-at.h5", "w") as f: # times of the ladder, and the scale of our images
    f["x"], f["probe"] = 2 * source["x"][...] - 1, source["probe"][...]
    f["t"] = np.maximum(1 - source["labels"][...] / (o["num_classes"] - 1), 1e-12)
P
cat >"$tmp/agrees.py" <<'P'
import h5py, sys
import numpy as np
want, have = h5py.File(sys.argv[1]), h5py.File(sys.argv[2])
for ours, theirs, scale in (("score", "output", 2), ("vjp", "vjp_x", 4)):
    w = want[theirs][...]
    sys.exit(1) if np.abs(scale * have[ours][...].reshape(w.shape) - w).max() > 2e-5 * np.abs(w).max() else None
P
for net in net_ncsn net_ncsnv2; do
    source=$root/tests/golden/$net.h5
    /usr/bin/python3 "$tmp/published.py" "$source" "$tmp/$net" || fail "writing $net"
    "$probflow" import "$tmp/$net.h5" "$tmp/$net-own.h5" --quiet || fail "import of $net"
    "$probflow" info "$tmp/$net-own.h5" | grep -q 'name: ncsn' || fail "$net lost its method"
    for n in 1 2; do
        ranks $n "$probflow" score "$tmp/$net-own.h5" --in "$tmp/$net-at.h5" --out "$tmp/$net-score$n.h5" --quiet || fail "score of $net on $n ranks"
        ranks $n "$probflow" sample "$tmp/$net-own.h5" -n 4 --out "$tmp/$net-sample$n.h5" --quiet --set sample.name=langevin --set sample.langevin_steps=2 >/dev/null ||
            fail "sampling $net on $n ranks"
    done
    same "$tmp/$net-score1.h5" "$tmp/$net-score2.h5"
    same "$tmp/$net-sample1.h5" "$tmp/$net-sample2.h5"
    /usr/bin/python3 "$tmp/agrees.py" "$source" "$tmp/$net-score1.h5" || fail "$net gives other scores than published"
done
"$probflow" info "$tmp/net_ncsnv2-own.h5" | grep -q 'sigma_begin: 5$' || fail "the ladder is another"
"$probflow" info "$tmp/net_ncsn-own.h5" | grep -q 'sigma_end: 0.02$' || fail "the ladder's attributes are lost"
# of images in [-1,1] the same noise is half as much in the unit of [0,1]
/usr/bin/python3 "$tmp/published.py" "$root/tests/golden/net_ncsnv2.h5" "$tmp/scaled" rescaled=true || fail "writing scaled"
"$probflow" import "$tmp/scaled.h5" "$tmp/scaled-own.h5" --quiet || fail "import of scaled"
"$probflow" info "$tmp/scaled-own.h5" | grep -q 'sigma_begin: 2.5$' || fail "the ladder of [-1,1] is another"
/usr/bin/python3 "$tmp/published.py" "$root/tests/golden/net_ncsnv2.h5" "$tmp/logits" logit_transform=true || fail "writing logits"
refuses 'logits of images' "$probflow" import "$tmp/logits.h5" "$tmp/x.h5"
/usr/bin/python3 "$tmp/published.py" "$root/tests/golden/net_ncsnv2.h5" "$tmp/wide" ngf=8 || fail "writing wide"
refuses 'begin_conv.weight has shape' "$probflow" import "$tmp/wide.h5" "$tmp/x.h5"
