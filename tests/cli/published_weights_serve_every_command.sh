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

# A U-net by the arguments of its constructor, under a method that the file names.  Its output has twice the data's
# channels; the first half is a network of fixed variances.
unet() { # FILE CHANNELS: params/ of the reference file's formula, out of so many channels
    /usr/bin/python3 - "$root/tests/golden/net_guided_unet.h5" "$@" <<'P' || fail "writing $1"
import h5py, json, sys
import numpy as np
source, path, channels = h5py.File(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def splitmix(z):
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)
o = json.loads(source.attrs["options"])
o["out_channels"] = channels
with h5py.File(path, "w") as f:
    f.attrs.update({"net": json.dumps(o), "method": "ddpm", "steps": 20, "schedule": "quad"})
    for p, (name, shape) in enumerate(zip(source["names"].asstr(), source["shapes"].asstr())):
        shape = [int(n) for n in shape.split("x")]
        z = np.uint64(source.attrs["seed"]) + np.uint64(p << 32) + np.arange(np.prod(shape), dtype=np.uint64)
        u = (splitmix(z) >> np.uint64(11)) * 2.0**-53
        v = (source["offset"][p] + source["amplitude"][p] * (2 * u - 1)).astype("f4").reshape(shape)
        f["params/" + name] = v[:channels] if name.startswith("out.2") else v
P
}
unet "$tmp/three.h5" 3
unet "$tmp/six.h5" 6
refuses 'gives 8x8x6 .* asks for 8x8x3' "$probflow" import "$tmp/six.h5" "$tmp/x.h5"
"$probflow" import "$tmp/three.h5" "$tmp/unet.h5" --quiet || fail "import of a U-net"
for n in 1 2; do
    ranks $n "$probflow" sample "$tmp/unet.h5" -n 4 --label all --out "$tmp/classes$n.h5" --quiet >/dev/null || fail "sampling a U-net on $n ranks"
done
same "$tmp/classes1.h5" "$tmp/classes2.h5"

# and one that is trained here
small=(--set model.name=unet --set model.multipliers=1,2 --set model.width=32 --set model.attention=14 --set model.blocks=1 --set train.steps=2)
sed -i '/^model:/d' "$tmp/tiny.yaml"
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/trained" "${small[@]}" --quiet || fail "training a U-net"
ranks 2 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/trained2" "${small[@]}" --quiet || fail "training a U-net on 2 ranks"
same_numbers "$tmp/trained/checkpoint-00000002.h5" "$tmp/trained2/checkpoint-00000002.h5"
