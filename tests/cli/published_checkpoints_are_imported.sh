# Checkpoints as their authors publish them: of torch.save in both formats, of flax and of EDM, written without their programs, and by
# torch where it is installed.  Imported they give the output and the score of the published network to 2e-5, and the same network
# from whichever format is the same checkpoint.
. "$(dirname "$0")/common.sh"
cat >"$tmp/write.py" <<'P'
import collections, json, sys
sys.path[:0] = [sys.argv[1] + "/tests/table", sys.argv[1] + "/scripts"]
sys.dont_write_bytecode = True
root, net, out, how = sys.argv[1:5]
if how == "torch":
    import torch
    wrap = torch.tensor
import h5py
import numpy as np
from published.networks import Layout
if how != "torch":
    import foreign_files as foreign
    from rows.published import edm_file, of_edm, of_flax
    wrap = foreign.T
f = h5py.File("%s/tests/golden/%s.h5" % (root, net))
o = json.loads(f.attrs["net"])
w = {n: f["params/" + n][...] for n, _ in Layout(o).names(False)}
def model(scale): return collections.OrderedDict([("module.sigmas", wrap(np.geomspace(50, .01, 1000)))] + [
    ("module." + n, wrap(a * np.float32(1 if n == "all_modules.0.W" else scale))) for n, a in w.items()])
state = {"optimizer": {"state": {}, "param_groups": [{"lr": 2e-4}]}, "model": model(0.5), "step": 1000,
         "ema": {"decay": 0.9999, "num_updates": 1000, "shadow_params": [wrap(a) for n, a in w.items() if n != "all_modules.0.W"]}}
def put(end, b): open(out + end, "wb").write(b)
json.dump(dict({k: v.item() if hasattr(v, "item") else v for k, v in f.attrs.items() if k != "net"}, net=o), open(out + ".json", "w"))
if how == "torch":
    torch.save(state, out + "-torch-zip.pth")
    torch.save(state, out + "-torch-legacy.pth", _use_new_zipfile_serialization=False)
else:
    put("-zip.pth", foreign.zipped(state))
    put("-legacy.pth", foreign.legacy(state))
    put("-flax", foreign.pack({"step": 1000, "params_ema": foreign.nested(of_flax(w, o))}))
    ve = dict(embedding_type="fourier", channel_mult_noise=2, encoder_type="residual", resample_filter=[1, 3, 3, 1]) if o["fir"] else {}
    kwargs = dict(img_resolution=o["size"], in_channels=o["ch"], model_channels=o["nf"], channel_mult=o["ch_mult"], num_blocks=o["blocks"], attn_resolutions=o["attn"],
                  dropout=o["dropout"], **ve)
    with h5py.File(out + "-at.h5", "w") as g: # EDM's images are in [-1,1], in which the same noise is twice as much
        g["x"], g["t"] = 2 * f["x"][...] - 1 if ve else f["x"][...], f["t"][...]
    put("-edm.pkl", edm_file(of_edm(w, o), "VEPrecond" if ve else "VPPrecond", kwargs=kwargs, img_channels=o["ch"], img_resolution=o["size"]))
P
cat >"$tmp/agrees.py" <<'P'
import h5py, sys
import numpy as np
want, have, scale = h5py.File(sys.argv[1]), h5py.File(sys.argv[2]), float(sys.argv[3])
for name in "net", "score":
    w = want[name][...]
    sys.exit(1) if np.abs(scale * have[name][...].reshape(w.shape) - w).max() > 2e-5 * np.abs(w).max() else None
P
# 2e-5: float32 against float64; half of it is what networks of these options err by
import() { "$root/scripts/import_checkpoint" "$1" "$2" "${@:3}" >"$tmp/said" 2>&1 || { cat "$tmp/said"; fail "import of $1"; }; }
kinds=(zip legacy)
for net in ddpmpp_gray28_vp ncsnpp_ve; do
    source=$root/tests/golden/$net.h5
    /usr/bin/python3 "$tmp/write.py" "$root" $net "$tmp/$net" own || fail "writing $net"
    if /usr/bin/python3 -c 'import torch' 2>/dev/null; then
        /usr/bin/python3 "$tmp/write.py" "$root" $net "$tmp/$net" torch || fail "writing $net by torch"
        kinds=(zip legacy torch-zip torch-legacy)
    fi
    for kind in "${kinds[@]}"; do import "$tmp/$net-$kind.pth" "$tmp/$net-$kind.h5" --config "$tmp/$net.json"; done
    import "$tmp/$net-flax" "$tmp/$net-flax.h5" --config "$tmp/$net.json"
    import "$tmp/$net-edm.pkl" "$tmp/$net-edm.h5"
    "$probflow" import "$source" "$tmp/$net-own.h5" --quiet || fail "import of $net"
    for kind in "${kinds[@]}" flax; do same "$tmp/$net-own.h5" "$tmp/$net-$kind.h5"; done
    same_numbers "$tmp/$net-own.h5" "$tmp/$net-edm.h5"
    for kind in zip edm; do
        at=$source scale=1
        if [ $kind = edm ]; then at=$tmp/$net-at.h5; fi
        if [ $kind$net = edmncsnpp_ve ]; then scale=2; fi
        "$probflow" score "$tmp/$net-$kind.h5" --in "$at" --out "$tmp/$net-$kind-score.h5" --quiet || fail "score of $net by $kind"
        /usr/bin/python3 "$tmp/agrees.py" "$source" "$tmp/$net-$kind-score.h5" $scale || fail "$net gives another output than published, by $kind"
    done
    import "$tmp/$net-zip.pth" "$tmp/$net-raw.h5" --config "$tmp/$net.json" --params model
    ! cmp -s "$tmp/$net-raw.h5" "$tmp/$net-zip.h5" || fail "averages and network of $net are the same"
done

# a ladder of noise levels: a list of state dictionaries, averages by name last; a U-net: its state dictionary alone
cat >"$tmp/others.py" <<'P'
import json, sys
sys.path[:0] = [sys.argv[1] + "/tests/table"]
sys.dont_write_bytecode = True
import h5py
import numpy as np
import foreign_files as foreign
def splitmix(z):
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)
def weights(f):
    found = {}
    for p, (name, shape) in enumerate(zip(f["names"].asstr(), f["shapes"].asstr())):
        shape = [int(n) for n in shape.split("x")]
        z = np.uint64(int(f.attrs["seed"])) + np.uint64(p << 32) + np.arange(np.prod(shape), dtype=np.uint64)
        u = (splitmix(z) >> np.uint64(11)) * 2.0**-53
        found[name] = (f["offset"][p] + f["amplitude"][p] * (2 * u - 1)).astype("f4").reshape(shape)
    return found
for net, more in ("net_ncsnv2", {}), ("net_improved_unet", {"method": "ddpm", "steps": 20, "variance": "learned_range"}):
    f = h5py.File("%s/tests/golden/%s.h5" % (sys.argv[1], net))
    o, w, out = json.loads(f.attrs["options"]), weights(f), "%s/%s" % (sys.argv[2], net)
    if net == "net_ncsnv2":
        model = {"module.sigmas": foreign.T(np.geomspace(o["sigma_begin"], o["sigma_end"], o["num_classes"]).astype("f4"))}
        model.update({"module." + n: foreign.T(a * 0) for n, a in w.items()})
        v = [model, {"state": {}, "param_groups": []}, 3, 300000, {n: foreign.T(a) for n, a in w.items()}]
        with h5py.File(out + "-at.h5", "w") as g:
            g["x"], g["probe"] = 2 * f["x"][...] - 1, f["probe"][...]
            g["t"] = np.maximum(1 - f["labels"][...] / (o["num_classes"] - 1), 1e-12)
    else: v = {n: foreign.T(a) for n, a in w.items()}
    open(out + ".pth", "wb").write(foreign.legacy(v))
    if "image_size" not in o: o["image_size"] = f["x"].shape[1]
    json.dump(dict(more, net=o), open(out + ".json", "w"))
P
cat >"$tmp/scores.py" <<'P'
import h5py, sys
import numpy as np
w, h = h5py.File(sys.argv[1])["output"][...], h5py.File(sys.argv[2])["score"][...]
sys.exit(int(np.abs(2 * h.reshape(w.shape) - w).max() > 2e-5 * np.abs(w).max()))
P
/usr/bin/python3 "$tmp/others.py" "$root" "$tmp" || fail "writing the others"
for net in net_ncsnv2 net_improved_unet; do import "$tmp/$net.pth" "$tmp/$net.h5" --config "$tmp/$net.json"; done
"$probflow" score "$tmp/net_ncsnv2.h5" --in "$tmp/net_ncsnv2-at.h5" --out "$tmp/levels.h5" --quiet || fail "score of net_ncsnv2"
/usr/bin/python3 "$tmp/scores.py" "$root/tests/golden/net_ncsnv2.h5" "$tmp/levels.h5" || fail "net_ncsnv2 gives other scores than published"
"$probflow" info "$tmp/net_improved_unet.h5" | grep -q 'variance: learned_range' || fail "the U-net lost its variances"
