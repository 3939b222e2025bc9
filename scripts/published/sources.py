"""What a checkpoint holds: networks by the names of their tensors, averaged and raw, and what it tells of itself.

    {model, ema: {shadow_params}, ..}   score_sde_pytorch: averages are a list in the order of the trained parameters
    [model, optimizer, .., averages]    ncsn, ncsnv2: averages by name, where there are any
    {name: tensor, ..}                  guided-diffusion, improved-diffusion: one network
    [tensor, ..]                        averages alone, whose names are those of the configuration
    {ema: record, ..}                   EDM: the network is a tree of records
    {params_ema, optimizer: {target}}   score_flow, score_sde, by flax
Test  tests/table/rows/published.py"""
import re
import numpy as np
from published import msgpack, networks, torchfile
from published.pickles import Array, Refused
from published.torchfile import Record, Tensor

DEPTH = 40
FIXED = re.compile(r"(.*\.)?(sigmas|num_batches_tracked)|all_modules\.\d+\.W")  # buffers, and frequencies that are drawn once


class Checkpoint:
    """tables: "ema", "model" -> {name: tensor}; listed: averages without names; description: what the file tells of
    itself; flax: names are of flax"""

    def __init__(self): self.tables, self.listed, self.description, self.flax = {}, None, None, False


def is_table(v): return isinstance(v, dict) and v and all(isinstance(k, str) for k in v) and any(isinstance(x, Tensor) for x in v.values())


def table(v):
    """the tensors of a state dictionary by name, without the prefix of a wrapper"""
    found = {}
    for k, x in v.items():
        if isinstance(x, Array): x = x.value
        if not isinstance(x, (Tensor, np.ndarray)): raise Refused("%.80s is no tensor" % k)
        while k.startswith("module."): k = k[7:]
        if k in found: raise Refused("two tensors are called %.80s" % k)
        found[k] = x
    return found


def trained(names):
    """those that averages are of"""
    return [n for n in names if not FIXED.fullmatch(n)]


def named(tensors, names, fixed):
    """a list of averages under names, beside what is fixed"""
    if len(tensors) != len(names):
        raise Refused("there are %d averages without names, and %d trained parameters" % (len(tensors), len(names)))
    for t, (name, shape) in zip(tensors, names):
        if not isinstance(t, Tensor): raise Refused("an average is no tensor")
        if tuple(t.shape) != tuple(shape): raise Refused("the average that stands where %s does has shape %s, that has %s" % (name, list(t.shape), list(shape)))
    return dict(fixed, **{name: t for t, (name, _) in zip(tensors, names)})


# ---- torch ----
def of_torch(v):
    c = Checkpoint()
    if is_table(v): c.tables["model"] = table(v)
    elif isinstance(v, dict) and isinstance(v.get("ema"), Record): edm(c, v["ema"])
    elif isinstance(v, dict) and (is_table(v.get("model")) or isinstance(v.get("ema"), dict)): song(c, v)
    elif isinstance(v, (list, tuple)) and v and is_table(v[0]):
        c.tables["model"] = table(v[0])
        if len(v) > 4 and is_table(v[-1]): c.tables["ema"] = dict({n: t for n, t in c.tables["model"].items() if FIXED.fullmatch(n)}, **table(v[-1]))
    elif isinstance(v, (list, tuple)) and v and all(isinstance(x, Tensor) for x in v): c.listed = list(v)
    else: raise Refused("it holds no network: neither tensors by name, nor model, ema, or a list of them")
    return c


def song(c, v):
    if is_table(v.get("model")): c.tables["model"] = table(v["model"])
    if not isinstance(v.get("ema"), dict): return
    shadow = v["ema"].get("shadow_params")
    if is_table(v["ema"]): c.tables["ema"] = table(v["ema"])
    elif not isinstance(shadow, list) or not shadow: raise Refused("ema has no shadow_params")
    elif "model" not in c.tables: c.listed = shadow
    else:
        model = c.tables["model"]
        names = trained(model)
        c.tables["ema"] = named(shadow, [(n, model[n].shape) for n in names], {n: t for n, t in model.items() if FIXED.fullmatch(n)})


# ---- EDM ----
def part_of(record, name):
    v = record.state.get(name)
    if v is not None and not isinstance(v, dict): raise Refused("%s of a module are no dictionary" % name)
    return v or {}


def children(record, path, found, depth=0):
    if depth > DEPTH: raise Refused("its modules lie in each other too deep")
    for part in "_parameters", "_buffers":
        for k, t in part_of(record, part).items():
            if t is None: continue
            if not isinstance(k, str) or not isinstance(t, Tensor): raise Refused("%.80s is no tensor" % (path + str(k)))
            found[path + k] = t
            if len(found) > 100000: raise Refused("its modules repeat each other")
    for k, m in part_of(record, "_modules").items():
        if m is None: continue
        if not isinstance(m, Record): raise Refused("module %.80s is no record" % (path + str(k)))
        children(m, "%s%s." % (path, k), found, depth + 1)


PROCESS = {"VPPrecond": lambda s: {"sde": "vp", "beta_min": number(s, "beta_min"), "beta_max": number(s, "beta_min") + number(s, "beta_d")},
           "VEPrecond": lambda s: {"sde": "ve", "sigma_min": number(s, "sigma_min"), "sigma_max": number(s, "sigma_max")}}


def number(s, name):
    v = s.get(name)
    if not isinstance(v, (int, float, np.number)) or isinstance(v, bool): raise Refused("the network's %s is no number" % name)
    return float(v)


def edm(c, record):
    """a network with the preconditioning that makes it that of an SDE; where noise explodes, the embedding reads log sigma/2"""
    model = part_of(record, "_modules").get("model")
    if record.name not in PROCESS:
        raise Refused("its preconditioning is %.40s, of which no method here is; VPPrecond and VEPrecond are those of the SDEs" % record.name)
    if not isinstance(model, Record) or model.name != "SongUNet":
        raise Refused("its network is %.40s, want SongUNet" % (model.name if isinstance(model, Record) else "missing"))
    if record.name == "VPPrecond" and number(record.state, "M") != 1000: raise Refused("the network is told %g t, want 999 t" % (number(record.state, "M") - 1))
    c.tables["ema"] = {}
    networks.Layout(song_unet(record, model))
    children(model, "", c.tables["ema"])
    c.description = dict(PROCESS[record.name](record.state), net=song_unet(record, model), edm=True)


def argument(records, name, default):
    """of a constructor, as it was called"""
    for r in records:
        given = r.state.get("_init_kwargs")
        if isinstance(given, dict) and name in given: return given[name]
    return default


def song_unet(record, model):
    def of(name, default): return argument((model, record), name, default)

    def want(name, default, *values):
        v = of(name, default)
        if type(v) not in (int, str, list) or v not in values: raise Refused("the network's %s is %.60r, want %s" % (name, v, " or ".join(map(repr, values))))
        return v
    want("label_dim", 0, 0)
    want("channel_mult_emb", 4, 4)
    want("decoder_type", "standard", "standard")
    fourier = want("embedding_type", "positional", "positional", "fourier") == "fourier"
    want("channel_mult_noise", 1, 2 if fourier else 1)
    residual = want("encoder_type", "standard", "standard", "residual") == "residual"
    fir = want("resample_filter", [1, 1], [1, 1], [1, 3, 3, 1]) != [1, 1]
    size, ch = of("img_resolution", record.state.get("img_resolution")), of("img_channels", record.state.get("img_channels"))
    explode = record.name == "VEPrecond"
    dropout = of("dropout", 0.1)
    if type(dropout) not in (int, float): raise Refused("the network's dropout is no number")
    return {"nf": of("model_channels", 128), "ch_mult": of("channel_mult", [1, 2, 2, 2]), "blocks": of("num_blocks", 4), "attn": of("attn_resolutions", [16]),
            "size": size, "ch": ch, "dropout": dropout, "fir": fir, "skip_rescale": True, "init_scale": 0.0,
            "embedding": "fourier" if fourier else "positional", "progressive_input": "residual" if residual else "none", "centered": True,
            "scale_by_sigma": explode, "unit": 0.5 if explode else 1.0}


# ---- flax ----
def of_flax(v):
    c = Checkpoint()
    if not isinstance(v, dict): raise Refused("it holds no state of flax")
    c.flax = True
    state = v.get("optimizer")
    target = state.get("target") if isinstance(state, dict) else v.get("params")
    for which, tree in ("ema", v.get("params_ema", v.get("ema_params"))), ("model", target):
        if isinstance(tree, dict) and isinstance(tree.get("params"), dict) and len(tree) == 1: tree = tree["params"]
        if isinstance(tree, dict) and tree: c.tables[which] = tree
    if not c.tables: raise Refused("it holds neither params_ema nor optimizer.target of flax")
    return c


# ---- all of them ----
def read(path):
    with open(path, "rb") as f: head = f.read(8)
    if not head: raise Refused("it is empty")
    if head[:4] == b"PK\3\4": return of_torch(torchfile.zipped(path))
    if head[:4] == b"\x89HDF": raise Refused("it is HDF5, which `probflow import` reads")
    if head[0] == 0x80: return of_torch(torchfile.pickled(path))
    if 0x80 < head[0] < 0x90 or head[0] in (0xDE, 0xDF): return of_flax(msgpack.read(path))
    raise Refused("it is neither a checkpoint of torch.save nor a pickle of protocol 2 or later nor MessagePack")


def arrays(c, which, options, most):
    """{name of score_sde_pytorch, or the authors': array}, of the averages or of the network itself; most: numbers in all"""
    if c.listed is not None:
        if which != "ema": raise Refused("it holds averages alone: --params ema")
        if "nf" not in options: raise Refused("it holds averages without names, which are known for configurations of score_sde alone")
        if options.get("embedding") == "fourier": raise Refused("it holds averages alone, and the fixed frequencies all_modules.0.W are not among them")
        tensors = named(c.listed, networks.Layout(options).names(), {})
    elif which not in c.tables: raise Refused("it holds no %s, but %s" % ("averages (ema)" if which == "ema" else "network beside its averages (model)",
                                                                      " and ".join(sorted(c.tables))))
    else: tensors = c.tables[which]
    if c.flax and "nf" not in options: raise Refused("names of flax are known for configurations of score_sde and score_flow alone")
    if c.flax: return networks.of_flax(tensors, options)
    if sum(t.count if isinstance(t, Tensor) else t.size for t in tensors.values()) > most:
        raise Refused("its tensors repeat each other to more than a file of its size holds")
    found = {n: t.array() if isinstance(t, Tensor) else t for n, t in tensors.items()}
    return networks.of_edm(found, options) if (c.description or {}).get("edm") else found
