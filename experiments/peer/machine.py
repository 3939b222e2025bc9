"""The processor, the environment in which PyTorch is at its best on it, or held to an instruction set, and what PyTorch says of itself.
Texts in, texts out; needs nothing beyond the standard library."""
import re

ISAS = ("sse2", "avx2", "avx512", "avx512_bf16", "amx")  # words of PROBFLOW_ISA, each with all before it
AVX512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
NEED = {"avx2": {"avx2", "fma"}, "avx512": AVX512, "avx512_bf16": {"avx512_bf16"}, "amx": {"amx_tile", "amx_bf16"}}
ATEN = dict(sse2="default", avx2="avx2", avx512="avx512", avx512_bf16="avx512", amx="avx512")
ONEDNN = dict(sse2="SSE41", avx2="AVX2", avx512="AVX512_CORE", avx512_bf16="AVX512_CORE_BF16", amx="AVX512_CORE_AMX")
ONEDNN_NAMES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
MKL = dict(sse2="SSE4_2", avx2="AVX2", avx512="AVX512")
VARIABLES = (*ONEDNN_NAMES, "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS")
# cores of OpenBLAS by what they use; one that is in no list is newer than these
CORES = (("generic", "unknown", "prescott", "banias", "atom", "core2", "penryn", "dunnington", "nehalem", "athlon", "opteron", "opteron_sse3",
          "barcelona", "nano", "bobcat", "katmai", "coppermine", "northwood"),
         ("sandybridge", "bulldozer", "piledriver", "steamroller", "excavator"), ("haswell", "zen"), ("skylakex",), ("cooperlake",))


def processor(cpuinfo):
    """{"model", "amd", "flags"} of the text of /proc/cpuinfo."""
    def first(key):
        found = re.search(r"^%s\s*:\s*(.*)" % key, cpuinfo, re.M)
        return found.group(1).strip() if found else ""
    return {"model": first("model name") or "unknown", "amd": first("vendor_id") == "AuthenticAMD", "flags": set(first("flags").split())}


def isa_of(flags):
    """The most of ISAS that a processor has."""
    best = "sse2"
    for isa in ISAS[1:]:
        if not NEED[isa] <= flags:
            break
        best = isa
    return best


def isa_in_use(word, flags):
    """PROBFLOW_ISA, or what the processor has where that is less or nothing is asked for."""
    has = isa_of(flags)
    if not word:
        return has
    if word not in ISAS:
        raise ValueError("PROBFLOW_ISA=%s: it is one of %s" % (word, ", ".join(ISAS)))
    return min(word, has, key=ISAS.index)


def narrow(isa):
    """Without AVX-512."""
    return isa in ISAS[:2]


def about_cpu(cpu, cores):
    flags = cpu["flags"]
    wide = "AVX-512" if AVX512 <= flags else "AVX2, no AVX-512" if NEED["avx2"] <= flags else "no AVX2"
    return "%d x %s (%s)" % (cores, cpu["model"], wide)


def coretype(isa, amd):
    """OpenBLAS's kernels for an instruction set."""
    return {"sse2": "Nehalem", "avx2": "Zen" if amd else "Haswell", "avx512": "SkylakeX"}.get(isa, "Cooperlake")


def better_core(core, flags, amd):
    """The core that OpenBLAS shall have instead of its choice, where that is less than the processor allows; else None.
    core None: another BLAS."""
    rank = {name: i for i, names in enumerate(CORES) for name in names}
    wanted = coretype(isa_of(flags), amd)
    return wanted if core and rank.get(core.lower(), len(CORES)) < rank[wanted.lower()] else None


def holding(isa, amd, environ):
    """Variables that hold the libraries of PyTorch to an instruction set; what is set in environ stands."""
    want = dict({name: ONEDNN[isa] for name in ONEDNN_NAMES}, ATEN_CPU_CAPABILITY=ATEN[isa], OPENBLAS_CORETYPE=coretype(isa, amd))
    if isa in MKL:
        want["MKL_ENABLE_INSTRUCTIONS"] = MKL[isa]
    if any(name in environ for name in ONEDNN_NAMES):  # the two are one variable
        want = {k: v for k, v in want.items() if k not in ONEDNN_NAMES}
    return {k: v for k, v in want.items() if k not in environ}


def preload(theirs, library):
    """LD_PRELOAD with the library of an allocator beside what a user has there; None: there is no such library."""
    if "tcmalloc" in theirs:
        return theirs
    return ":".join(filter(None, (theirs, library))) if library else None


def allocator(maps):
    """File name of the tcmalloc in the text of /proc/PID/maps; None: there is none."""
    found = re.search(r"/(libtcmalloc[^/\s]*)$", maps, re.M)
    return found.group(1) if found else None


def openblas(maps):
    """Path of the OpenBLAS in the text of /proc/PID/maps, but for those that numpy and scipy bring for themselves."""
    paths = re.findall(r"\s(/\S*libopenblas\S*)", maps)
    return next((p for p in paths if not re.search(r"(numpy|scipy)(\.libs|/\.libs)/", p)), None)


def torch_config(text):
    """{"onednn", "kernels", "mkl"} of the text of torch.__config__.show(), of PyTorch 1.13 to 2.x; None: not there."""
    def first(pattern):
        found = re.search(pattern, text, re.I)
        return found.group(1) if found else None
    return {"onednn": first(r"(?:MKL-DNN|oneDNN) v([\d.]+)"), "kernels": first(r"CPU capability usage: *(.*\S)"),
            "mkl": first(r"Math Kernel Library Version ([\d.]+)")}


def unfit(about):
    """None, or why this PyTorch is no peer."""
    release = re.match(r"(\d+)\.(\d+)", about["torch"])
    if not release or (int(release.group(1)), int(release.group(2))) < (1, 13):
        return "PyTorch %s is older than 1.13" % about["torch"]
    for key, what in (("onednn", "oneDNN"), ("blas", "BLAS but the reference's"), ("allocator", "tcmalloc")):
        if not about[key]:
            return "PyTorch is not at its best: it has no %s; scripts/setup peer" % what
    return None


def about_peer(about):
    core = ", core %s" % about["core"] if about["core"] else ""
    held = "".join(", %s=%s" % pair for pair in sorted(about["set"].items()))
    return "PyTorch %s, ATen kernels %s, oneDNN %s, BLAS %s%s, allocator %s%s" % (
        about["torch"], about["kernels"], about["onednn"], about["blas"], core, about["allocator"], held)
