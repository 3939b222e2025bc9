# A whole argmax flow as its published checkpoints hold it, by their names, with what follows from options beside them: imported it knows
# its method, scores and samples.
. "$(dirname "$0")/common.sh"
cat >"$tmp/published.py" <<'P'
import h5py, json, sys
import numpy as np
# published REFERENCE FILE coupling|ar [key=value]..
reference, path, kind = sys.argv[1:4]
L, K, B, steps, context, width, hidden, M = 5, 6, 3, 2, 4, 7, 16, 2
o = dict(network="argmax_flows.model." + {"ar": "ar.flow.ArgmaxARFlow", "coupling": "coupling.flow.ArgmaxCouplingFlow"}[kind],
         data_shape=[1, L], num_classes=K, num_steps=steps, num_mixtures=M, encoder_steps=0, context_size=context,
         lstm_size=hidden, lstm_layers=1)
shapes, net = {}, {}
def linear(to, name, n, m): to[name + ".weight"] = (n, m); to[name + ".bias"] = (n,)
def recurrent(to, name, n, m, ways):
    for w in ways:
        for part, shape in ("weight_ih", (4 * n, m)), ("weight_hh", (4 * n, n)), ("bias_ih", (4 * n,)), ("bias_hh", (4 * n,)):
            to[f"{name}.{part}_l0{w}"] = shape
e = "transforms.0.encoder.noise_dist."
shapes[e + "context_init.1.weight"] = (K, width)
if kind == "ar":
    o["context_lstm_size"] = width
    recurrent(shapes, e + "context_init.3", width, width, ("", "_reverse"))
    linear(shapes, e + "context_init.4", context, 2 * width)
    with h5py.File(reference) as f:
        net = {n: tuple(int(d) for d in s.split("x")) for n, s in zip(f["names"].asstr(), f["shapes"].asstr())}
    at, moved, masks = (3, 5), B, ("in_to_features", "features_to_hidden", "hidden_to_out")
else:
    o.update(context_ff_size=width, perm_channel="conv")
    linear(shapes, e + "context_init.3", width, width)
    linear(shapes, e + "context_init.5", context, width)
    moved, masks, at, m = B - B // 2, (), (3, 6), "lstm_model."
    linear(net, m + "input_embed.0", hidden // 2, B // 2)
    linear(net, m + "input_embed.2", hidden // 2 - hidden // 8, hidden // 2)
    linear(net, m + "time_concat.time_embed_layer", hidden // 8, 2 * L)
    recurrent(net, m + "lstm_module", hidden, hidden // 2, ("", "_reverse"))
    linear(net, m + "net.1", hidden, 2 * hidden)
    linear(net, m + "net.4", moved * (2 + 3 * M), hidden)
    shapes["transforms.5.weight"] = (B, B)
if o["network"].endswith("CouplingFlow") and sys.argv[4:5] == ["all"]: # an encoder with steps, norms and shuffled bits
    del sys.argv[4]
    wide = 8
    o.update(encoder_steps=2, encoder_bins=None, encoder_ff_size=wide, actnorm=True, perm_channel="shuffle")
    at = (3, 7)
    del shapes["transforms.5.weight"]
    for p in e, "": shapes.update({f"{p}transforms.{1 if p else 4}.{n}": (1, B, 1) for n in ("shift", "log_scale")})
    for k in 0, 4:
        linear(shapes, f"{e}transforms.{k}.ar_net.emb", wide, 3 * B)
        linear(shapes, f"{e}transforms.{k}.ar_net.cat", wide, wide + context)
        linear(shapes, f"{e}transforms.{k}.ar_net.out", 2 * B, wide)
shapes[e + "base_dist.net.weight"], shapes[e + "base_dist.net.bias"] = (2 * B, context, 1), (2 * B,)
for k in at:
    shapes[f"transforms.{k}.scaling_factor"], shapes[f"transforms.{k}.mixture_scaling_factor"] = (moved,), (moved, M)
    for name, shape in net.items(): shapes[f"transforms.{k}.nn.{name}"] = shape
shapes["base_dist.loc"] = shapes["base_dist.log_scale"] = (1, B, 1)
for word in sys.argv[4:]:
    key, value = word.split("=")
    o[key] = json.loads(value)
random = np.random.RandomState(3)
with h5py.File(path, "w") as f:
    f.attrs["net"] = json.dumps(o)
    for name, shape in shapes.items(): f["params/" + name] = random.uniform(-0.4, 0.4, shape).astype("f4")
    f["params/transforms.4.permutation"] = np.arange(L)[::-1].astype("f4")
    if o.get("actnorm"):
        del f["params/transforms.4.permutation"]
        for p, k in (e, 1), ("", 4):
            f[f"params/{p}transforms.{k}.initialized"] = np.ones(1, "f4")
            f[f"params/{p}transforms.{k + 1}.permutation"] = np.arange(L)[::-1].astype("f4")
            f[f"params/{p}transforms.{k + 2}.permutation"] = np.roll(np.arange(B), 1).astype("f4")
        for part in "emb", "cat", "out": f[f"params/{e}transforms.0.ar_net.{part}.mask"] = np.ones((2, 2), "f4")
    for m in masks: f[f"params/transforms.3.nn.lstm_model.out_layer.mask_{m}"] = np.ones((2, 2), "f4")
P
write() { /usr/bin/python3 "$tmp/published.py" "$root/tests/golden/net_argmax_lstm.h5" "$tmp/$1.h5" "${@:2}" || fail "writing $1"; }
of() { "$probflow" info "$tmp/$1-own.h5" | grep -q "$2" || { "$probflow" info "$tmp/$1-own.h5"; fail "$1 has no $2"; }; }
for kind in ar coupling all; do
    case $kind in all) write all coupling all ;; *) write $kind $kind ;; esac
    "$probflow" import "$tmp/$kind.h5" "$tmp/$kind-own.h5" --quiet --set method.unused=last || fail "import of $kind"
    of $kind 'name: argmax'
    for n in 1 2; do
        ranks $n "$probflow" sample "$tmp/$kind-own.h5" -n 8 --out "$tmp/$kind-sample$n.h5" --quiet >/dev/null || fail "sampling $kind on $n ranks"
    done
    same "$tmp/$kind-sample1.h5" "$tmp/$kind-sample2.h5"
done
of ar 'encoder: lstm'
of coupling 'channels: mix'
of coupling 'variant: coupling'
of all 'channels: shuffle'
of all 'actnorm: true'
of all 'encoder_steps: 2'
of all 'encoder_width: 8'
write other ar num_steps=3
refuses 'is missing' "$probflow" import "$tmp/other.h5" "$tmp/x.h5"
write deep ar encoder_steps=2
refuses 'net.encoder_steps is 2' "$probflow" import "$tmp/deep.h5" "$tmp/x.h5"
write splines coupling all encoder_bins=5
refuses 'net.encoder_bins is 5' "$probflow" import "$tmp/splines.h5" "$tmp/x.h5"
exit 0
