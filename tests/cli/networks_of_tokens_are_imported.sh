# Published weights of multinomial diffusion and of MDLM as their checkpoints hold them: prefixes, buffers, a factor beside the
# transformer.  Imported they know their method, and score and sample with the same bits on 1 and 2 ranks.
. "$(dirname "$0")/common.sh"
cat >"$tmp/published.py" <<'P'
import h5py, json, sys
import numpy as np
# published REFERENCE FILE PREFIX [key=value]..: params/ by the reference file's formula, options with these
def splitmix(z):
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)
source, path, prefix = h5py.File(sys.argv[1]), sys.argv[2], sys.argv[3]
o = json.loads(source.attrs["options"])
for word in sys.argv[4:]:
    key, value = word.split("=")
    o[key] = json.loads(value)
with h5py.File(path, "w") as f:
    f.attrs["net"] = json.dumps(o)
    for p, (name, shape) in enumerate(zip(source["names"].asstr(), source["shapes"].asstr())):
        shape = [int(n) for n in shape.split("x")]
        z = np.uint64(int(source.attrs["seed"])) + np.uint64(p << 32) + np.arange(np.prod(shape), dtype=np.uint64)
        u = (splitmix(z) >> np.uint64(11)) * 2.0**-53
        f["params/" + prefix + name] = (source["offset"][p] + source["amplitude"][p] * (2 * u - 1)).astype("f4").reshape(shape)
    if prefix == "backbone.":
        d = o["hidden_size"] // o["n_heads"]
        f["params/backbone.rotary_emb.inv_freq"] = (1e4 ** -(np.arange(0, d, 2) / d)).astype("f4")
    else:
        f["params/_denoise_fn.rezero.alpha"] = np.array([0.5], "f4")
        for name in "log_alpha", "log_1_min_alpha", "log_cumprod_alpha", "log_1_min_cumprod_alpha", "Lt_history", "Lt_count":
            f["params/" + name] = np.zeros(o["num_timesteps"], "f4")
P
write() { /usr/bin/python3 "$tmp/published.py" "$root/tests/golden/$1.h5" "${@:2}" || fail "writing $1"; }
prefix() { case $1 in net_mdlm_dit) echo backbone. ;; *) echo _denoise_fn.transformer. ;; esac; }
for net in net_multinomial_transformer net_mdlm_dit; do
    write $net "$tmp/$net.h5" "$(prefix $net)"
    "$probflow" import "$tmp/$net.h5" "$tmp/$net-own.h5" --quiet --set method.steps=20 || fail "import of $net"
    for n in 1 2; do
        ranks $n "$probflow" sample "$tmp/$net-own.h5" -n 8 --out "$tmp/$net-sample$n.h5" --quiet >/dev/null || fail "sampling $net on $n ranks"
    done
    same "$tmp/$net-sample1.h5" "$tmp/$net-sample2.h5"
done
of() { "$probflow" info "$tmp/$1-own.h5" | grep -q "$2" || fail "$1 has no $2"; }
of net_multinomial_transformer 'name: multinomial'
of net_multinomial_transformer 'rezero: true'
of net_mdlm_dit 'name: masked'
of net_mdlm_dit 'schedule: loglinear'
of net_mdlm_dit 'mask_logit: true'
of net_mdlm_dit 'cond: none'
write net_mdlm_dit "$tmp/told.h5" backbone. time_conditioning=true
"$probflow" import "$tmp/told.h5" "$tmp/told-own.h5" --quiet || fail "import of told"
of told 'cond: sigma'
write net_mdlm_dit "$tmp/wide.h5" backbone. hidden_size=64
refuses 'has shape' "$probflow" import "$tmp/wide.h5" "$tmp/x.h5"
write net_mdlm_dit "$tmp/tied.h5" backbone. tie_word_embeddings=true
refuses 'tie_word_embeddings' "$probflow" import "$tmp/tied.h5" "$tmp/x.h5"
