"""Published configurations: what their authors' files say, as `probflow import` reads it.

Each is a description: `net`, the options of the network by their authors' names, beside it the SDE or the method with its
constants, and `set`, keys of the experiment.  A name is REPOSITORY/CONFIGURATION.  What is here are options alone; each
import holds them against the names and shapes of a file.
Source  configs/ of score_sde_pytorch, score_sde, score_flow, ncsn and ncsnv2; flags in the READMEs of improved-diffusion and
guided-diffusion.  Test  tests/table/rows/published.py"""
from published.pickles import Refused

VP = {"sde": "vp", "beta_min": 0.1, "beta_max": 20.0}
SUBVP = dict(VP, sde="subvp")


# Networks of VE SDEs map images of [0,1] to [-1,1].  Here images are in [-1,1] already, the same noise is twice as much, and the
# embedding reads half of it.
def ve(sigma_max): return {"sde": "ve", "sigma_min": 0.02, "sigma_max": 2.0 * sigma_max}


CHAIN = {"method": "ddpm", "steps": 1000, "beta_start": 1e-4, "beta_end": 0.02}  # what the VP SDE is in 1000 steps
CIFAR10 = {"nf": 128, "ch_mult": [1, 2, 2, 2], "blocks": 4, "attn": [16], "size": 32, "ch": 3, "dropout": 0.1, "fir": False, "skip_rescale": True,
           "init_scale": 0.0, "embedding": "positional", "fourier_scale": 16.0, "progressive_input": "none", "centered": True, "scale_by_sigma": False}
NCSNPP = {"fir": True, "progressive_input": "residual"}
LEVELS = dict(NCSNPP, scale_by_sigma=True)
DDPM = {"blocks": 2, "resblock": "ddpm", "groups": 32, "skip_rescale": False}
LARGE = {"size": 256, "dropout": 0.0}
NCSNPP_VE = dict(NCSNPP, embedding="fourier", unit=0.5, scale_by_sigma=True)


SKIPS = dict(NCSNPP_VE, progressive_input="input_skip", progressive="output_skip")


def smld(first): return {"method": "ncsn", "levels": 1000, "sigma_begin": 2.0 * first, "sigma_end": 0.02, "cond": "level"}


def of(process, *changes):
    net = dict(CIFAR10)
    for c in changes: net.update(c)
    return dict(process, net=net)


def score_sde():
    found = {}
    deep = {"blocks": 8}
    for word, process in ("vp", VP), ("subvp", SUBVP):
        found[word + "/cifar10_ddpmpp_continuous"] = of(process)
        found[word + "/cifar10_ddpmpp_deep_continuous"] = of(process, deep)
        found[word + "/cifar10_ncsnpp_continuous"] = of(process, NCSNPP)
        found[word + "/cifar10_ncsnpp_deep_continuous"] = of(process, NCSNPP, deep)
    found["vp/cifar10_ddpmpp"] = of(CHAIN)
    found["vp/cifar10_ncsnpp"] = of(CHAIN, NCSNPP)
    found["ve/cifar10_ncsnpp_continuous"] = of(ve(50), NCSNPP_VE)
    found["ve/cifar10_ncsnpp_deep_continuous"] = of(ve(50), NCSNPP_VE, deep)
    found["ve/cifar10_ncsnpp"] = of(smld(50), LEVELS)
    found["ve/celeba_ncsnpp"] = of(smld(90), LEVELS, {"size": 64})
    found["ve/cifar10_ddpm"] = of(smld(50), DDPM, {"scale_by_sigma": True})
    found["vp/cifar10_ddpm"] = of(CHAIN, DDPM)
    found["vp/cifar10_ddpm_continuous"] = of(VP, DDPM)
    found["subvp/cifar10_ddpm_continuous"] = of(SUBVP, DDPM)
    for name in "bedroom", "church", "celebahq_256": found["vp/%s_ddpm" % name] = of(CHAIN, DDPM, LARGE, {"ch_mult": [1, 1, 2, 2, 4, 4]})
    for name, last in ("bedroom", 378), ("church", 380), ("celebahq_256", 348), ("ffhq_256", 348):
        found["ve/%s_ncsnpp_continuous" % name] = of(ve(last), SKIPS, LARGE, {"ch_mult": [1, 1, 2, 2, 2, 2, 2], "blocks": 2})
    for name in "celebahq", "ffhq", "ffhq_1024":
        found["ve/%s_ncsnpp_continuous" % name] = of(ve(1348), SKIPS, {"size": 1024, "dropout": 0.0, "nf": 16, "ch_mult": [1, 2, 4, 8, 16, 32, 32, 32], "blocks": 1})
    for name, size, classes, first in ("cifar10", 32, 232, 50), ("celeba", 64, 500, 90): found["ve/ncsnv2/" + name] = ladder("NCSNv2", size, classes, first)
    found["ve/ncsnv2/bedroom"] = ladder("NCSNv2Deeper", 128, 1086, 190)
    return found


def score_flow():
    """sub-VP data are placed at t = 0.01"""
    found = {}
    for word, process in ("vp", VP), ("subvp", dict(SUBVP, set=["likelihood.t_min=1e-2"])):
        for data, dropout in ("cifar10", 0.1), ("imagenet32", 0.0):
            for name, blocks in ("", 4), ("deep_", 8):
                found["%s/%s_ddpmpp_%scontinuous" % (word, data, name)] = of(process, {"dropout": dropout, "blocks": blocks})
    return found


def ladder(network, size, classes, first):
    return {"net": {"network": "ncsnv2.models.ncsnv2." + network, "channels": 3, "ngf": 128, "image_size": size, "num_classes": classes, "sigma_begin": first,
                    "sigma_end": 0.01, "sigma_dist": "geometric"}}


def ncsnv2():
    return {"cifar10": ladder("NCSNv2", 32, 232, 50), "celeba": ladder("NCSNv2", 64, 500, 90), "church": ladder("NCSNv2Deeper", 64, 788, 140),
            "ffhq": ladder("NCSNv2Deepest", 256, 2311, 348)}


def ncsn():
    def of_images(size, channels, width):
        return {"net": {"network": "ncsn.models.cond_refinenet_dilated.CondRefineNetDilated", "channels": channels, "ngf": width, "image_size": size, "num_classes": 10},
                "sigma_begin": 1.0, "sigma_end": 0.01}
    return {"cifar10": of_images(32, 3, 128), "mnist": of_images(28, 1, 64)}


MULTIPLIERS = {32: [1, 2, 2, 2], 64: [1, 2, 3, 4], 128: [1, 1, 2, 3, 4], 256: [1, 1, 2, 2, 4, 4], 512: [0.5, 1, 1, 2, 2, 4, 4]}


def unet(package, size, width, blocks, attention, **more):
    net = {"network": package + ".unet.UNetModel", "image_size": size, "in_channels": 3, "out_channels": 6, "model_channels": width, "num_res_blocks": blocks,
           "channel_mult": MULTIPLIERS[size], "attention_resolutions": [size // a for a in attention], "use_scale_shift_norm": True, "dropout": 0.0}
    net.update(more)
    return net


def chain(net, steps, schedule, **more):
    return dict({"net": net, "method": "ddpm", "steps": steps, "schedule": schedule, "variance": "learned_range"}, **more)


def improved():
    p, at = "improved_diffusion", [16, 8]
    rescaled = {"loss": "rescaled_simple", "rescale_timesteps": True}
    bound = {"loss": "rescaled_kl", "rescale_timesteps": True}
    small = unet(p, 32, 128, 3, at, num_heads=4, dropout=0.3)
    large = unet(p, 64, 128, 3, at, num_heads=4)
    bedroom = chain(unet(p, 256, 128, 2, [16], num_heads=1, use_scale_shift_norm=False), 1000, "linear")
    return {"cifar10_uncond_50M_500K": chain(small, 4000, "cosine", **rescaled), "cifar10_uncond_vlb_50M_500K": chain(small, 4000, "cosine", **bound),
            "imagenet64_uncond_100M_1500K": chain(large, 4000, "cosine", **rescaled), "imagenet64_uncond_vlb_100M_1500K": chain(large, 4000, "cosine", **bound),
            "imagenet64_cond_270M_250K": chain(unet(p, 64, 192, 3, at, num_heads=4, num_classes=1000), 4000, "cosine"),
            "lsun_uncond_100M_1200K_bs128": bedroom, "lsun_uncond_100M_2400K_bs64": bedroom}


def guided():
    p, at = "guided_diffusion", [32, 16, 8]
    up, heads, labels = {"resblock_updown": True}, {"num_head_channels": 64}, {"num_classes": 1000}
    lsun = chain(unet(p, 256, 256, 2, at, dropout=0.1, **up, **heads), 1000, "linear")
    found = {"64x64_diffusion": chain(unet(p, 64, 192, 3, at, dropout=0.1, use_new_attention_order=True, **up, **heads, **labels), 1000, "cosine"),
             "128x128_diffusion": chain(unet(p, 128, 256, 2, at, num_heads=4, **up, **labels), 1000, "linear"),
             "256x256_diffusion": chain(unet(p, 256, 256, 2, at, **up, **heads, **labels), 1000, "linear"),
             "256x256_diffusion_uncond": chain(unet(p, 256, 256, 2, at, **up, **heads), 1000, "linear"),
             "512x512_diffusion": chain(unet(p, 512, 256, 2, at, **up, **heads, **labels), 1000, "linear"),
             "lsun_bedroom": lsun, "lsun_cat": lsun, "lsun_horse": lsun}
    found["lsun_horse_nodropout"] = dict(lsun, net=dict(lsun["net"], dropout=0.0))
    for size, depth, schedule in (64, 4, "cosine"), (128, 2, "linear"), (256, 2, "linear"), (512, 2, "linear"):
        net = unet(p, size, 128, depth, at, pool="attention", **up, **heads)
        net.update(network=p + ".unet.EncoderUNetModel", out_channels=1000)
        found["%dx%d_classifier" % (size, size)] = {"net": net, "method": "classifier", "steps": 1000, "schedule": schedule}
    return found


TABLES = {"score_sde": score_sde, "score_flow": score_flow, "ncsn": ncsn, "ncsnv2": ncsnv2, "improved_diffusion": improved, "guided_diffusion": guided}

def all_of():
    return {"%s/%s" % (repository, name): c for repository, table in TABLES.items() for name, c in table().items()}


def find(name):
    found = all_of()
    if name in found: return found[name]
    near = sorted(n for n in found if n.endswith("/" + name.rsplit("/", 1)[-1])) or sorted({n.split("/")[0] + "/..." for n in found})
    raise Refused("no configuration is called %.80s; there are %s" % (name, ", ".join(near)))
