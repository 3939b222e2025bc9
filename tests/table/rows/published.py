"""scripts/import_checkpoint: published checkpoints, of which nothing runs."""
import collections, json, os, pickle, struct, sys, zipfile
import h5py
import numpy as np
import foreign_files as foreign
from foreign_files import Object, Storage, T, archive, content, legacy, members, nested, pack, pieces, tree, zipped

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../scripts"))
from published.configurations import all_of
from published.networks import Layout

NET = {"nf": 4, "ch_mult": [1, 2], "blocks": 1, "attn": [4], "size": 4, "ch": 1, "dropout": 0.0}
VP = {"net": NET, "sde": "vp", "beta_min": 0.1, "beta_max": 20.0}
PYRAMID = dict(NET, fir=True, progressive_input="residual", embedding="fourier", centered=False, scale_by_sigma=True)
VE = {"net": PYRAMID, "sde": "ve", "sigma_min": 0.01, "sigma_max": 50.0}


def weights(net, seed=1):
    r = np.random.RandomState(seed)
    return {n: r.uniform(-1, 1, s).astype("f4") for n, s in Layout(net).names(False)}


def song(w, averages=None, prefix="module.", sigmas=True, wrap=T):
    """as score_sde_pytorch stores it: raw weights by name, averages in a list"""
    model = collections.OrderedDict([(prefix + "sigmas", T(np.geomspace(50, 0.01, 10)))] if sigmas else [])
    for n, a in w.items(): model[prefix + n] = wrap(a)
    shadow = [wrap(a) for n, a in (averages or w).items() if n != "all_modules.0.W"]
    return {"optimizer": {"state": {0: {"step": 3, "exp_avg": T(np.zeros(2, "f4"))}}, "param_groups": [{"lr": 2e-4, "betas": (0.9, 0.999), "params": [0]}]},
            "model": model, "ema": {"decay": 0.999, "num_updates": 3, "shadow_params": shadow}, "step": 9}


def holds(c, w, scale=1):
    with h5py.File("o.h5") as f: have = {n: a[...] for n, a in f["params"].items()}
    c.same(sorted(have), sorted(w), "parameters")
    for n, a in w.items(): c.must(have[n].shape == a.shape and (have[n] == a).all(), "%s differs" % n)


def taken(b, w, d=VP, *more, name="a.pth", also=None):
    def steps(c):
        c.write(name, b)
        if d: c.write("d.json", json.dumps(d))
        c.accepted(c.scripts + "/import_checkpoint", name, "o.h5", *(["--config", "d.json"] if d else []), *more, changes=("o.h5",))
        c.must(not os.path.exists("ran"), "it ran something")
        holds(c, w)
        if also:
            c.accepted("info", "o.h5")
            c.must(all(x in c.out for x in also), "the configuration has not all of %s: %s" % (also, c.out[:2000]))
    return steps


def refused(b, pattern, *more, d=VP, name="a.pth"):
    def steps(c):
        c.write(name, b)
        if d: c.write("d.json", json.dumps(d))
        c.refused(pattern, c.scripts + "/import_checkpoint", name, "o.h5", *(["--config", "d.json"] if d else []), *more)
        c.must(not os.path.exists("ran"), "it ran something")
    return steps


class Runs:
    """what a hostile pickle holds"""

    def __init__(self, what, *args): self.what, self.args = what, args
    def __reduce__(self): return self.what, self.args


# ---- what is taken ----
def accepted_rows(add):
    w, other = weights(NET), weights(NET, 2)
    for kind, write in ("zip", zipped), ("legacy", legacy):
        for p in 2, 3, 4, 5: add("%s, protocol %d" % (kind, p), taken(write(song(other, w), p), w, also=("name: vp", "width: 4")))
        add(kind + ", the network itself", taken(write(song(w, other)), w, VP, "--params", "model"))
        add(kind + ", parameters", taken(write(song(w, wrap=foreign.Parameter)), w))
        add(kind + ", no wrapper, no buffer", taken(write(song(other, w, "", False)), w))
        add(kind + ", a state dictionary", taken(write({"module." + n: T(a) for n, a in w.items()}), w))
        add(kind + ", a list of averages", taken(write([T(a) for a in w.values()]), w))
        add(kind + ", averages alone", taken(write({"ema": {"shadow_params": [T(a) for a in w.values()], "decay": 0.9}, "step": 1}), w))
        v = weights(PYRAMID)
        add(kind + ", fixed frequencies", taken(write(song(v)), v, VE, also=("progressive_input: residual", "embedding: fourier")))
        halves = {n: a.astype("f2").astype("f4") for n, a in w.items()}
        add(kind + ", half precision", taken(write({n: T(a.astype("f2")) for n, a in w.items()}), halves))
        cut = {n: (a.view("u4") & 0xFFFF0000).view("f4") for n, a in w.items()}
        add(kind + ", bfloat16", taken(write({n: T((a.view("u4") >> 16).astype("u2"), kind="BFloat16") for n, a in w.items()}), cut))
        add(kind + ", doubles", taken(write({n: T(a.astype("f8")) for n, a in w.items()}), w))
        one = Storage(np.concatenate([np.zeros(5, "f4")] + [a.reshape(-1) for a in w.values()]))
        at, views = 5, {}
        for n, a in w.items():
            views[n] = T(one, at, a.shape)
            at += a.size
        add(kind + ", views of one storage", taken(write(views), w))
        turned = {n: T(Storage(np.ascontiguousarray(a.T)), 0, a.shape, tuple(s // 4 for s in np.ascontiguousarray(a.T).T.strides)) for n, a in w.items()}
        add(kind + ", other strides", taken(write(turned), w))
    add("an option of its own", taken(zipped(song(w)), w, VP, "--net", "dropout=0.25", also=("dropout: 0.25",)))
    add("a key of the experiment", taken(zipped(song(w)), w, VP, "--set", "likelihood.probes=4", also=("probes: 4",)))
    add("a chain", taken(zipped(song(w)), w, {"net": NET, "method": "ddpm", "steps": 20}, also=("name: ddpm",)))
    add("legacy, a part of a storage", taken(legacy({n: T(a) for n, a in w.items()}, said=lambda pid: pid[:5] + ((pid[2] + "v", 0, pid[4]),)), w))

    def again(c):
        taken(zipped(song(w)), w)(c)
        c.accepted(c.scripts + "/import_checkpoint", "a.pth", "o.h5", "--config", "d.json", changes=("o.h5",))
        c.refused("o.h5|exist", c.scripts + "/import_checkpoint", "a.pth", "d.json", "--config", "d.json")
    add("its own older output, and a foreign one", again)

    def listed(c):
        c.write("a.pth", zipped(song(w)))
        c.accepted(c.scripts + "/import_checkpoint", "--list", "a.pth")
        c.must("all_modules.2.weight  4x1x3x3  f4" in c.out and "sigmas  10  f8" in c.out, "the list is another: " + c.out[:200])
    add("a list of tensors", listed)


FLAX = {"Dense": "Dense", "Conv": "Conv", "GroupNorm": "GroupNorm"}


def of_flax(w, net):
    """the same network under the names of flax"""
    counts, out = collections.Counter(), {}
    for i, (kind, tensors, _) in enumerate(Layout(net)):
        for leaf, _ in tensors:
            a = w["all_modules.%d.%s" % (i, leaf)]
            inner, _, last = leaf.rpartition(".")
            if last == "weight": last = "weight" if inner == "Conv2d_0" else "scale" if a.ndim == 1 else "kernel"
            if a.ndim == 4: a = a.transpose(2, 3, 1, 0)
            elif last == "kernel": a = a.T
            out["/".join(filter(None, ("%s_%d" % (kind, counts[kind]), inner, last)))] = np.ascontiguousarray(a)
        counts[kind] += 1
    return out


def of_edm(w, net):
    """the same network under the names of SongUNet"""
    rename = {"GroupNorm_0": "norm0", "Conv_0": "conv0", "Dense_0": "affine", "GroupNorm_1": "norm1", "Conv_1": "conv1", "Conv_2": "skip"}
    out = {}
    for i, (kind, tensors, edm) in enumerate(Layout(net)):
        own = {leaf: w["all_modules.%d.%s" % (i, leaf)] for leaf, _ in tensors}
        if kind == "AttnBlockpp":
            q = [own["NIN_%d.W" % j].T for j in range(3)]
            out[edm + ".qkv.weight"] = np.stack(q, 1).reshape(-1, q[0].shape[1], 1, 1)  # channel c of q, of k, of v, then c + 1
            out[edm + ".qkv.bias"] = np.stack([own["NIN_%d.b" % j] for j in range(3)], 1).reshape(-1)
            out[edm + ".proj.weight"], out[edm + ".proj.bias"] = own["NIN_3.W"].T[:, :, None, None], own["NIN_3.b"]
            for last in "weight", "bias": out["%s.norm2.%s" % (edm, last)] = own["GroupNorm_0." + last]
        elif kind == "GaussianFourierProjection": out[edm + ".freqs"] = own["W"]
        else:
            for leaf, a in own.items():
                inner, _, last = leaf.rpartition(".")
                out[".".join(filter(None, (edm, rename.get(inner, ""), last)))] = a
    return out


def edm_file(tensors, name="VPPrecond", model="SongUNet", protocol=4, **state):
    """a snapshot; what is beside the network is taken from published ones"""
    kwargs = dict(img_resolution=4, in_channels=1, model_channels=4, channel_mult=[1, 2], num_blocks=1, attn_resolutions=[4], dropout=0.0, augment_dim=9)
    kwargs.update(state.pop("kwargs", {}))
    t = dict(tensors, **{"map_augment.weight": np.zeros((4, 9), "f4"), "enc.2x2_down.conv0.resample_filter": np.full((1, 1, 2, 2), 0.25, "f4")})
    net = tree(t, name=model)
    if isinstance(net, Object): net.meta["state"].update(_init_args=(), _init_kwargs=foreign.dnnlib.EasyDict(kwargs), skip=np.sqrt(0.5))
    state = dict(dict(img_resolution=4, img_channels=1, beta_d=19.9, beta_min=0.1, M=1000, sigma_min=0.02, sigma_max=100, label_dim=0), **state)
    top = Object(name, _parameters={}, _buffers={}, _modules=collections.OrderedDict(model=net), **state)
    return pickle.dumps({"ema": top, "loss_fn": Object("VPLoss", beta_d=19.9), "augment_pipe": None, "dataset_kwargs": foreign.dnnlib.EasyDict(path="x")}, protocol)


def other_formats(add):
    w, v = weights(NET), weights(PYRAMID)
    flax, pyramid = of_flax(w, NET), of_flax(v, PYRAMID)
    state = {"step": 9, "lr": 2e-4, "rng": np.array([1, 2], "u4"), "model_state": {}, "ema_rate": 0.999, "optimizer": {"target": {"params": nested(flax)}, "state": {"step": 9}},
             "params_ema": nested(flax)}
    add("flax", taken(pack(state), w, name="checkpoint_26"))
    add("flax, the network itself", taken(pack(state), w, VP, "--params", "model", name="checkpoint_26"))
    add("flax, a pyramid", taken(pack({"params_ema": nested(pyramid)}), v, VE, name="checkpoint_26"))
    cut = dict(flax, **{n: pieces(a) for n, a in flax.items() if a.ndim == 4})
    add("flax, arrays in pieces", taken(pack({"params_ema": nested(cut)}), w, name="checkpoint_26"))
    add("flax, a stray leaf", refused(pack({"params_ema": nested(dict(flax, **{"Dense_7/bias": np.zeros(3, "f4")}))}), "Dense_7.bias", name="checkpoint_26"))
    short = dict(flax)
    del short["Conv_1/bias"]
    add("flax, a leaf too few", refused(pack({"params_ema": nested(short)}), "all_modules.*missing", name="checkpoint_26"))
    whole = pack(state)
    for n in 1, 7, 300, len(whole) - 1: add("flax, cut to %d bytes" % n, refused(whole[:n], "cut short|neither|no state", name="checkpoint_26"))
    add("flax, bytes behind it", refused(whole + b"\xc0", "behind", name="checkpoint_26"))
    add("flax, a vast map", refused(b"\xdf\xff\xff\xff\xff" + b"\xc0" * 50, "cut short", name="checkpoint_26"))
    add("flax, a vast array", refused(pack({"params_ema": {"a": np.zeros(3, "f4")}}).replace(pack([3]), pack([127])), "does not fit", name="checkpoint_26"))
    deep = b"\x81\xa1a" * 2000 + b"\xc0"
    add("flax, maps in maps", refused(deep, "too deep", name="checkpoint_26"))
    add("flax, an extension of others", refused(b"\x81\xa1a\xd4\x2a\x00", "extension 42", name="checkpoint_26"))
    add("flax, no state", refused(pack({"a": 1}), "neither params_ema", name="checkpoint_26"))
    # EDM: without a configuration
    e, p = of_edm(w, NET), of_edm(v, PYRAMID)
    for protocol in 2, 3, 4, 5: add("EDM, protocol %d" % protocol, taken(edm_file(e, protocol=protocol), w, None, name="a.pkl", also=("beta_max: 20", "name: vp", "centered: true")))
    ve = dict(kwargs=dict(embedding_type="fourier", channel_mult_noise=2, encoder_type="residual", resample_filter=[1, 3, 3, 1]))
    add("EDM, VE", taken(edm_file(p, "VEPrecond", **ve), v, None, name="a.pkl", also=("sigma_max: 100", "sigma_min: 0.02", "scale_by_sigma: true", "centered: true", "unit: 0.5")))
    add("EDM, its own preconditioning", refused(edm_file(e, "EDMPrecond"), "EDMPrecond", d=None, name="a.pkl"))
    add("EDM, another network", refused(edm_file(e, model="DhariwalUNet"), "DhariwalUNet", d=None, name="a.pkl"))
    add("EDM, with labels", refused(edm_file(e, label_dim=10, kwargs=dict(label_dim=10)), "label_dim", d=None, name="a.pkl"))
    add("EDM, another time", refused(edm_file(e, M=100), "99 t", d=None, name="a.pkl"))
    lacks = dict(e)
    del lacks["enc.2x2_down.skip.bias"]
    add("EDM, a parameter too few", refused(edm_file(lacks), "enc.2x2_down.skip.bias is missing", d=None, name="a.pkl"))
    add("EDM, a parameter too many", refused(edm_file(dict(e, **{"map_layer7.bias": np.zeros(3, "f4")})), "map_layer7.bias", d=None, name="a.pkl"))
    for key, v in {"dropout": "a", "channel_mult": 7, "model_channels": np.arange(3), "num_blocks": [1], "attn_resolutions": {}, "resample_filter": np.ones(2)}.items():
        add("EDM, another kind of " + key, refused(edm_file(e, kwargs={key: v}), "network's|known make", d=None, name="a.pkl"))
    add("EDM, modules in a list", refused(pickle.dumps({"ema": Object("VPPrecond", _modules=[1])}), "no dictionary", d=None, name="a.pkl"))
    loop = Object("VPPrecond", _modules={})
    loop.meta["state"]["_modules"]["model"] = {}
    add("EDM, no network", refused(pickle.dumps({"ema": loop}), "missing", d=None, name="a.pkl"))


# ---- what is refused ----
def said(pid, **change):
    """a persistent id that says something else"""
    names = ("storage", "class", "key", "place", "n")
    return tuple(change.get(k, v) for k, v in zip(names, pid)) + pid[5:]


HOSTILE = {"os.system": Runs(os.system, "touch ran"), "eval": Runs(eval, "open('ran', 'w')"), "exec": Runs(exec, "open('ran', 'w')"), "open": Runs(open, "ran", "w"),
           "getattr": Runs(getattr, "a", "upper"), "__import__": Runs(__import__, "antigravity"), "a reduce in a reduce": Runs(Runs(os.system, "touch ran").what, Runs(str, "touch ran")),
           "a list of a reduce": [[Runs(os.popen, "touch ran")]], "a class of numpy": Runs(np.load, "ran", None, True), "memory": Runs(bytearray, 10 ** 12),
           "arrays": Runs(np.zeros, 10 ** 12)}
CODES = {"GLOBAL": b"\x80\x02cos\nsystem\nU\ttouch ran\x85R.", "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\ttouch ran\x85R.",
         "STACK_GLOBAL of dots": b"\x80\x04\x8c\x05torch\x8c\x14_utils.os.system.run_\x93\x8c\ttouch ran\x85R.", "INST": b"\x80\x02(S'touch ran'\nios\nsystem\n.",
         "OBJ": b"\x80\x02(cos\nsystem\nS'touch ran'\no.", "NEWOBJ": b"\x80\x02csubprocess\nPopen\nU\ttouch ran\x85\x81.", "NEWOBJ_EX": b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93]}\x92.",
         "BUILD": b"\x80\x02]}U\ttouch ranK\x01sb.", "EXT1": b"\x80\x02\x82\x01.", "PERSID": b"\x80\x02Pos.system\n.", "BINPERSID": b"\x80\x02U\ttouch ranQ.",
         "BINPERSID of a module": b"\x80\x02(U\x06moduleU\x01aU\x01bU\x01cK\x01tQ.", "BINPERSID of a name": b"\x80\x02(U\x07storagecos\nsystem\nU\x010U\x03cpuK\x01tQ.",
         "a list of itself": b"\x80\x02]q\x00h\x00a.", "a dictionary of itself": b"\x80\x02}q\x00U\x05modelh\x00s.", "an empty stack": b"\x80\x020.",
         "a memory of nothing": b"\x80\x02h\x07.", "READONLY_BUFFER": b"\x80\x05\x97\x98."}


def hostile_rows(add):
    w = weights(NET)
    good = song(w)
    for name, value in HOSTILE.items():
        for kind, write in ("zip", zipped), ("legacy", legacy):
            add("hostile, %s: %s" % (kind, name), refused(write(dict(good, step=value)), "(asks|calls).*(not run|no checkpoint)"))
    for name, code in CODES.items():
        pattern = "asks|calls|uses|persistent|sets|stack|memory|no network|storage|damaged|no tensor"
        add("hostile, zip: " + name, refused(archive(members(good, pkl=code)), pattern))
        add("hostile, legacy: " + name, refused(legacy(good, pkl=code), pattern))
        add("hostile, plain: " + name, refused(code, pattern))
    add("hostile: a call in the keys", refused(legacy(good)[:-8] + pickle.dumps(Runs(os.system, "touch ran"), 2), "entries|ends|behind|belongs|asks"))
    add("hostile: a call before the magic number", refused(pickle.dumps(Runs(os.system, "touch ran"), 2) + legacy(good), "system.*not run"))
    inner = T(np.zeros(3, "f4"))

    class Storing(Storage):
        def __reduce__(self): return foreign.storages._load_from_bytes, (pickle.dumps(Runs(os.system, "touch ran"), 2),)
    inner.storage = Storing(np.zeros(3, "f4"))
    add("hostile: a call in a storage's bytes", refused(pickle.dumps({"model": {"a": inner}}, 2), "system.*not run"))
    add("hostile: bytes that are no storage", refused(pickle.dumps({"model": {"a": Runs(foreign.storages._load_from_bytes, legacy({"a": 1}))}}, 2), "storage"))
    add("hostile: TorchScript", refused(archive(members(good) + [("archive/code/__torch__.py", b"open('ran', 'w')")]), "TorchScript"))

    def still(c):
        c.write("bad.pth", zipped(dict(good, step=HOSTILE["os.system"])))
        taken(zipped(good), w)(c)
        c.refused("not run", c.scripts + "/import_checkpoint", "bad.pth", "o.h5", "--config", "d.json")
        holds(c, w)
    add("a hostile one leaves a good output", still)


def tensor_rows(add):
    w = weights(NET)

    def one(t): return dict(song(w), model={"a": t})
    s = Storage(np.zeros(12, "f4"))
    wrong = {"offset": T(s, 1, (12,)), "size": T(s, 0, (13,)), "stride": T(s, 0, (3, 4), (5, 1)), "negative stride": T(s, 11, (12,), (-1,)), "negative offset": T(s, -1, (3,)),
             "negative size": T(s, 0, (-1,)), "vast size": T(s, 0, (2 ** 62, 2 ** 62), (0, 0)), "repeated": T(s, 0, (1 << 30,), (0,)), "vast stride": T(s, 0, (2,), (2 ** 62,)),
             "ranks": T(s, 0, (3, 4), (1,)), "no tuple": T(s, 0, 12, (1,)), "words": T(s, 0, ("a",), (1,)), "too many sizes": T(s, 0, (1,) * 9, (1,) * 9)}
    for name, t in wrong.items():
        for kind, write in ("zip", zipped), ("legacy", legacy): add("tensor, %s: %s" % (kind, name), refused(write(one(t)), "tensor"))
    ids = {"more entries": dict(n=10 ** 6), "fewer entries": dict(n=1), "vast": dict(n=2 ** 70), "negative": dict(n=-1), "a word": dict(n="a"), "another class": {"class": T},
           "no key": dict(key=None), "a path": dict(key="../../etc/passwd"), "no storage": dict(storage="module")}
    for name, change in ids.items():
        b = content(song(w), said=lambda pid: said(pid, **change))[0]
        add("storage, zip: " + name, refused(archive(members(song(w), pkl=b)), "storage|tensor|asks|persistent"))
        add("storage, legacy: " + name, refused(legacy(song(w), said=lambda pid: said(pid, **change)), "storage|tensor|asks|persistent|belongs"))
    m = members(song(w))
    add("zip, compressed", refused(archive(m, zipfile.ZIP_DEFLATED), "compressed"))
    bomb = archive([(n, b"\0" * 50000000 if n == "archive/version" else b) for n, b in m], zipfile.ZIP_DEFLATED)
    add("zip, a bomb", refused(bomb, "compressed"))
    add("zip, a member twice", refused(twice(m), "two members"))
    add("zip, a storage too few", refused(archive([x for x in m if x[0] != "archive/data/" + last(m)]), "missing from the archive"))
    add("zip, a storage too short", refused(archive([(n, b[:-1] if n == "archive/data/" + last(m) else b) for n, b in m]), "bytes"))
    add("zip, big-endian", refused(archive([(n, b"big" if n.endswith("byteorder") else b) for n, b in m]), "big-endian"))
    add("zip, no pickle", refused(archive(m[1:]), "without data.pkl"))
    add("zip, two pickles", refused(archive(m + [("other/data.pkl", m[0][1])]), "without data.pkl"))
    long = bytearray(archive(m))
    at = long.rfind(b"PK\x01\x02")
    long[at + 20:at + 28] = struct.pack("<II", 2 ** 31, 2 ** 31)
    add("zip, a member longer than the file", refused(bytes(long), "longer|damaged"))
    spoilt = bytearray(archive(m))
    spoilt[spoilt.find(b"archive/data/" + last(m).encode()) + len("archive/data/" + last(m)) + 1] ^= 1
    add("zip, a storage that is damaged", refused(bytes(spoilt), "damaged"))
    old = legacy(song(w))
    add("legacy, big-endian", refused(legacy(song(w), machine=dict(little_endian=False)), "little-endian"))
    add("legacy, no machine", refused(legacy(song(w), machine=[1]), "little-endian"))
    add("legacy, another magic number", refused(legacy(song(w), magic=7), "behind|no checkpoint"))
    add("legacy, bytes behind it", refused(old + b"x", "behind"))
    add("legacy, a number of entries", refused(old.replace(struct.pack("<q", 16) + w["all_modules.1.bias"].tobytes()[:8], struct.pack("<q", 17) + w["all_modules.1.bias"].tobytes()[:8]), "two numbers"))


def last(m): return m[-2][0].rsplit("/", 1)[1]


def twice(m):
    """two members of one name: zipfile writes the second under another, which is then renamed"""
    b = archive(m + [("archive/data.pkX", m[0][1])])
    return b.replace(b"archive/data.pkX", b"archive/data.pkl")


def network_rows(add):
    w = weights(NET)
    good = zipped(song(w))
    add("averages too few", refused(zipped(dict(song(w), ema={"shadow_params": [T(a) for a in list(w.values())[:-1]]})), "averages without names"))
    turned = [T(a) for a in w.values()]
    add("averages in another order", refused(zipped(dict(song(w), ema={"shadow_params": turned[1:] + turned[:1]})), "all_modules.0.weight.*shape"))
    few = {n: T(a) for n, a in list(w.items())[:-1]}
    add("a parameter too few", refused(zipped(few), "all_modules.*missing"))
    add("a parameter too many", refused(zipped({n: T(a) for n, a in dict(w, **{"all_modules.99.weight": w["all_modules.1.bias"]}).items()}), "all_modules.99.weight is not part"))
    names = list(w)
    mixed = {n: T(a) for n, a in w.items() if n not in names[2:5]}
    mixed[names[7]], mixed["stray"] = T(np.zeros((2, 3), "f4")), T(w["all_modules.1.bias"])
    add("names that differ", refused(zipped(mixed), "%s are missing; stray is not part.*; %s .2, 3. for .*has another shape" % (", ".join(names[2:5]), names[7])))
    add("options by names and shapes", taken(zipped(song(w)), w, None, "--sde", "vp", "--net", "size=4", also=("name: vp", "width: 4", "multipliers: ")))
    shaped = weights(PYRAMID)
    add("options of a pyramid by names and shapes", taken(zipped(song(shaped)), shaped, None, "--sde", "ve", "--net", "size=4", also=("progressive_input: residual", "unit: 0.5", "sigma_max: 100")))
    add("names and shapes without a size", refused(good, "--net size=N", "--sde", "vp", d=None))
    add("names and shapes of another size", refused(good, "missing|no network", "--sde", "vp", "--net", "size=1", d=None))
    add("names of others and an SDE", refused(zipped({"a": T(w["all_modules.1.bias"])}), "no network of score_sde", "--sde", "vp", "--net", "size=4", d=None))
    add("a configuration and an SDE", refused(good, "leave out", "--sde", "vp"))
    add("another width", refused(good, "shape", "--net", "nf=8"))
    add("another depth", refused(good, "missing|not part|shape", "--net", "blocks=2"))
    add("an option of nobody", refused(good, "colour", "--net", "colour=1"))
    add("no configuration", refused(good, "say --config", d=None))
    add("a configuration of nobody", refused(good, "no configuration is called", "--config", "score_sde/vp/cifar10", d=None))
    add("a configuration of another size", refused(good, "shape|missing", "--config", "score_sde/vp/cifar10_ddpmpp_continuous", d=None))
    add("no averages", refused(zipped({n: T(a) for n, a in w.items()}), "no averages", "--params", "ema"))
    add("not finite", refused(zipped({n: T(a * np.inf) for n, a in w.items()}), "not finite"))
    add("a name of a path", refused(zipped(dict({n: T(a) for n, a in w.items()}, **{"../up": T(w["all_modules.1.bias"])})), "called"))
    add("two names that are one", refused(zipped(dict({n: T(a) for n, a in w.items()}, **{"module.all_modules.0.bias": T(w["all_modules.0.bias"])})), "two tensors"))
    add("one tensor again and again", refused(zipped({"a%d" % i: T(s, 0, (1000,)) for s in [Storage(np.zeros(1000, "f4"))] for i in range(3000)}), "repeat"))
    v = weights(PYRAMID)
    add("averages alone without frequencies", refused(zipped([T(a) for n, a in v.items() if n != "all_modules.0.W"]), "frequencies", d=VE))
    for name, b in {"empty": b"", "a text": b"precious", "HDF5": b"\x89HDF\r\n\x1a\n" + b"x" * 99, "numbers": zipped([1, 2]), "a number": pickle.dumps(1)}.items():
        add("no checkpoint: " + name, refused(b, "empty|neither|HDF5|no network"))

    def absent(c): c.refused("absent", c.scripts + "/import_checkpoint", "absent", "o.h5", "--config", "score_sde/vp/cifar10_ddpmpp_continuous")
    add("no such file", absent)


def configuration_rows(add):
    """each names a network that is one here: what it lacks is its parameters"""
    stray = zipped({"stray": T(np.zeros(3, "f4"))})
    for name in sorted(all_of()): add("configuration " + name, refused(stray, "(are|is) missing", "--config", name, d=None))


def damaged_rows(add, random):
    w = weights(NET)
    for kind, b, name in ("zip", zipped(song(w)), "a.pth"), ("legacy", legacy(song(w)), "a.pth"), ("EDM", edm_file(of_edm(w, NET)), "a.pkl"):
        for n in sorted(random.sample(range(1, len(b) - 1), 8)):
            add("%s, cut to %d bytes" % (kind, n), refused(b[:n], "import_checkpoint: ", d=None if kind == "EDM" else VP, name=name))
        for _ in range(12):
            at, value = random.randrange(len(b)), random.randrange(256)

            def changed(c, b=b, at=at, value=value, name=name, kind=kind):
                c.write(name, b[:at] + bytes([value]) + b[at + 1:])
                c.write("d.json", json.dumps(VP))
                c.either("import_checkpoint: ", c.scripts + "/import_checkpoint", name, "o.h5", *([] if kind == "EDM" else ["--config", "d.json"]), changes=("o.h5",))
                c.must(not os.path.exists("ran"), "it ran something")
            add("%s, byte %d is %d" % (kind, at, value), changed)


def rows(add, random):
    accepted_rows(add)
    other_formats(add)
    hostile_rows(add)
    tensor_rows(add)
    network_rows(add)
    configuration_rows(add)
    damaged_rows(add, random)
