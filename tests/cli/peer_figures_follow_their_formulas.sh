# The comparison with PyTorch reads what probflow prints, computes what it says, and refuses what it must; without PyTorch.
. "$(dirname "$0")/common.sh"
export PROBFLOW_BUILD=$build
PYTHONDONTWRITEBYTECODE=1 python3 - "$root" "$tmp" <<'PY' || fail "a law of the comparison does not hold"
import argparse, importlib.machinery, importlib.util, math, os, re, sys
root, tmp = sys.argv[1:]
sys.path.insert(0, root + "/experiments/peer")
import figures, machine
near = lambda a, b: abs(a - b) <= 1e-9 * abs(b) or sys.exit("%r is not %r" % (a, b))

# from the end of the first step to the end of the last
assert figures.progress("\r\033[Kstep 1/9  loss 0.5  9 images/s\r\033[Kstep 4/9  loss nan  x")[1][0] == 4
near(figures.rate([(10.0, 1), (11.0, 3), (14.0, 9)], 32), 32 * 8 / 4.0)
near(figures.others(400, 300), 25.0)
near(figures.others(0, 0), 0.0)
near(figures.busy("cpu  1 2 4 1000 1000 8 16 32 5 5\ncpu0 9"), 63)
near(figures.peak("VmPeak:\t 9 kB\nVmHWM:\t 2048 kB\n"), 2.0)
assert figures.spread([3, 1, 2]) == (1, 2, 3)
assert figures.best({"slow": [9, 1, 1], "fast": [2, 2, 2]}) == "fast"
assert figures.best({"slow": [9, 1, 1], "fast": [2, 2, 2]}, smaller=True) == "slow"
# density 1 on [-1,1]^2 is 2^-2: a pixel of 256 levels then costs 8 bits
near(figures.bits([-2 * math.log(2)], 2)[0], 8.0)
assert figures.errors([1.0, 2.0, 9.0], [1.5, 1.75]) == (0.375, 0.5)
assert figures.same_function({"net": 1e-6, "vjp": 9e-5}, 1e-4) is None
assert "vjp" in figures.same_function({"net": 1e-6, "vjp": 2e-4}, 1e-4)
assert "net" in figures.same_function({"net": float("nan")}, 1e-4), "a difference that is no number passes"
row = {"title": "T", "build": "b", "unit": "images/s", "smaller": False, "against": "step", "notes": [], "others": [1.0, 2.0, 0.0],
       "ours": [4.0, 9.0, 6.0], "theirs": {"step NCHW": [2.0, 3.0, 6.0], "step NHWC": [1.0, 1.0, 9.0], "step bf16 NHWC": [4.0, 4.5, 6.0]}}
assert figures.ratios(row, "step") == ("NCHW", [2, 3, 1]), "rounds are compared one by one, with the better layout"
assert figures.ratios(dict(row, smaller=True), "step") == ("NHWC", [0.25, 1 / 9, 1.5])
assert figures.ratios(row, "step bf16") == ("NHWC", [1, 2, 1])
assert "1.00 / 2.00 / 3.00" in figures.line("step", row) and " reached" in figures.line("step", row)
assert "not reached" in figures.line("bf16", row)
assert "not quiet" in figures.line("step", dict(row, others=[40.0]))
assert "step bf16" in figures.table({"step": row})
# targets are those of the instruction set
slow = dict(row, isa="avx2", ours=[2.6, 3.9, 7.8], limit=[91.0])
assert "1.30 / 1.30 / 1.30" in figures.line("small", slow) and "| 1.2 reached" in figures.line("small", slow) and "90 reached" in figures.line("small", slow)
assert "| 2 not reached" in figures.line("small", dict(slow, isa="avx512")) and "%, none" in figures.line("small", dict(slow, isa="avx512"))
assert "| 1.4 not reached" in figures.line("step", slow) and "| 1.2 reached" in figures.line("small_config", slow)
assert "| none" in figures.line("bf16", slow)
assert "| machine not quiet" in figures.line("bf16", dict(slow, others=[40.0]))
# shares of the limit and rows of probflow alone have verdicts of their own
shares = dict(row, limit=[84.0, 90.0, 100.0])
assert "84 / 90 / 100 %, 85 reached" in figures.line("step", shares) and "limit" not in figures.line("step", row)
assert "85 not reached" in figures.line("step", dict(row, limit=[80.0, 81.0, 99.0]))
alone = dict(row, ours=[4.0, 5.5, 2.0], theirs={}, unit="%")
assert "2 / 4 / 5.5 % |" in figures.line("outside", alone) and "at most 5 reached" in figures.line("outside", alone)
assert "at most 5 not reached" in figures.line("outside", dict(alone, ours=[5.1]))
assert figures.bench_csv("what,unit,min,median,max\n  outside kernels,% of the step,1,2,3\n") == {("outside kernels", "% of the step"): (1, 2, 3)}
assert figures.numbers('HDF5 "m.h5" {\nDATASET "/s" { DATA {\n 1.5,\n 2\n } } }') == [1.5, 2]
both = figures.merged(row, row)
assert both["ours"] == 2 * row["ours"] and len(both["theirs"]["step NHWC"]) == len(both["others"]) == 6
assert figures.merged(dict(row, build="a"), row) is row, "rounds of two builds are mixed"
assert figures.merged(dict(row, peer="a"), row) is row, "rounds against two PyTorchs are mixed"
assert figures.merged(None, row) is row
assert list(figures.heading({"small": dict(row, machine="M", peer="P"), "step": dict(row, machine="M", peer="Q"), "start": dict(row, machine="M")})) == [
    "M", "Q (step)", "P (small)"]
assert figures.needs(["start", "step", "bpd"]) == {"torch": "step", "numpy": "step", "h5py": "step", "yaml": "step", "scipy": "bpd"}
assert figures.needs(["ranks", "outside", "start"]) == {}

# the processor, and what the libraries of PyTorch are told about it
zen4 = machine.processor("processor : 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t\t: sse2 avx2 fma avx512f avx512bw avx512dq "
                         "avx512vl avx512_bf16\n\nprocessor : 1\nflags\t\t: none\n")
haswell, sapphire = {"sse2", "avx2", "fma"}, zen4["flags"] | {"amx_tile", "amx_bf16"}
assert zen4["amd"] and zen4["model"] == "AMD EPYC" and machine.isa_of(zen4["flags"]) == "avx512_bf16"
assert machine.processor("")["model"] == "unknown" and not machine.processor("vendor_id : GenuineIntel\n")["amd"]
assert [machine.isa_of(f) for f in (set(), haswell, sapphire, sapphire - {"avx512_bf16"}, sapphire - {"avx512vl"})] == [
    "sse2", "avx2", "amx", "avx512", "avx2"]
assert machine.isa_in_use(None, haswell) == "avx2" and machine.isa_in_use("amx", haswell) == "avx2" and machine.isa_in_use("sse2", sapphire) == "sse2"
try:
    machine.isa_in_use("avx3", haswell)
    sys.exit("an unknown instruction set is accepted")
except ValueError as e:
    assert "PROBFLOW_ISA=avx3" in str(e)
assert "AVX2, no AVX-512" in machine.about_cpu(dict(zen4, flags=haswell), 2) and machine.about_cpu(zen4, 4) == "4 x AMD EPYC (AVX-512)"
want = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
assert machine.holding("avx2", False, {}) == want and machine.holding("avx2", True, {})["OPENBLAS_CORETYPE"] == "Zen"
assert [machine.holding(i, True, {})["OPENBLAS_CORETYPE"] for i in ("sse2", "avx512", "avx512_bf16", "amx")] == ["Nehalem", "SkylakeX", "Cooperlake", "Cooperlake"]
assert [machine.holding(i, True, {})["ATEN_CPU_CAPABILITY"] for i in ("sse2", "avx512", "amx")] == ["default", "avx512", "avx512"]
assert set(machine.holding("avx2", False, {"DNNL_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"})) == {"OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS"}
# OpenBLAS is overruled only where it would take less than it could
assert machine.better_core("Prescott", sapphire, False) == "Cooperlake" and machine.better_core("SkylakeX", sapphire, False) == "Cooperlake"
assert machine.better_core("generic", haswell, False) == "Haswell" and machine.better_core("Prescott", haswell, True) == "Zen"
assert machine.better_core("Haswell", sapphire - {"avx512_bf16"}, False) == "SkylakeX"
assert not any((machine.better_core("Zen", haswell, True), machine.better_core("Haswell", haswell, True), machine.better_core("Cooperlake", haswell, True),
                machine.better_core("SapphireRapids", sapphire, False), machine.better_core("Prescott", set(), False), machine.better_core(None, sapphire, False)))
assert machine.preload("", "libtcmalloc_minimal.so.4") == "libtcmalloc_minimal.so.4" and machine.preload("a.so", "t.so") == "a.so:t.so"
assert machine.preload("/opt/libtcmalloc.so", None) == "/opt/libtcmalloc.so" and machine.preload("a.so", None) is None
maps = "7f r-xp 0 fe:0 1  /usr/lib/python3/numpy.libs/libopenblas64_p-r0.so\n7f r-xp 0 fe:0 2  /usr/lib/libopenblas.so.0\n7f r-xp 0 fe:0 3  /usr/lib/%s\n"
assert machine.allocator(maps % "libtcmalloc_minimal.so.4.5.10") == "libtcmalloc_minimal.so.4.5.10" and machine.allocator(maps % "libc.so.6") is None
assert machine.openblas(maps % "x") == "/usr/lib/libopenblas.so.0" and machine.openblas(maps.split("\n")[0]) is None
# what PyTorch says of itself, of 1.13 and of 2
old = machine.torch_config("PyTorch built with:\n  - Intel(R) MKL-DNN v2.6.3 (Git Hash N/A)\n  - CPU capability usage: AVX2\n  - Build settings: BLAS_INFO=generic\n")
new = machine.torch_config("PyTorch built with:\n  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64\n"
                           "  - Intel(R) MKL-DNN v3.5.3 (Git Hash 66f0)\n  - CPU capability usage: AVX512\n")
assert old == {"onednn": "2.6.3", "kernels": "AVX2", "mkl": None} and new == {"onednn": "3.5.3", "kernels": "AVX512", "mkl": "2024.2"}
assert machine.torch_config("  - Intel(R) oneDNN v3.7\n  - CPU capability usage: NO AVX\n") == {"onednn": "3.7", "kernels": "NO AVX", "mkl": None}
about = {"torch": "2.5.1+cpu", "kernels": "AVX512", "onednn": "3.5.3", "blas": "MKL 2024.2", "core": None, "allocator": "libtcmalloc.so", "set": {"A": "b"}}
assert machine.about_peer(about).endswith("BLAS MKL 2024.2, allocator libtcmalloc.so, A=b")
assert machine.unfit(about) is None and machine.unfit(dict(about, torch="1.13.0a0")) is None and "older" in machine.unfit(dict(about, torch="1.9.1"))
assert all(what in machine.unfit(dict(about, **{key: None})) for key, what in (("blas", "BLAS"), ("onednn", "oneDNN"), ("allocator", "tcmalloc")))

# a slice of real training, measured from outside, leaves nothing behind
loader = importlib.machinery.SourceFileLoader("bench_peer", root + "/scripts/bench_peer")
bench_peer = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_peer", loader))
loader.exec_module(bench_peer)
bench = bench_peer.Bench(argparse.Namespace(threads=1, seconds=0.6, rounds=1), tmp)
speed, mib = bench.train("small", tmp + "/tiny.yaml", [], 16)
assert 1 < speed < 1e6 and 1 < mib < 1e5 and 0 <= bench.seen["small"][0] <= 100, (speed, mib, bench.seen)
assert not os.path.exists(tmp + "/run1")
found = bench.bench("rhs", tmp + "/tiny.yaml", [], "28x28x1", 1)
low, mid, high = found[("likelihood evaluation", "images/s")]
assert 1 < low <= mid <= high < 1e7 and 0 <= bench.seen["rhs"][0] <= 100, (found, bench.seen)
own = {row: getattr(bench, "row_" + row)() for row in ("outside", "start", "ranks")}
assert all(0 < v < 100 for v in own["outside"]["ours"]) and all(1 < v < 1e4 for v in own["start"]["ours"]), own
assert 1 < own["ranks"]["ours"][0] < 1e6 and own["ranks"]["theirs"]["one_rank threads"][0] > 1 and not os.path.exists(tmp + "/ranks"), own
assert figures.table(dict((k, dict(r, others=[0])) for k, r in own.items())).count("reached") == 3

# the twin knows every option of the network, and no other
with open(root + "/src/model/ddpmpp.c") as f:
    options = set(re.findall(r"PF_OPT\w*\(ddpmpp, (\w+),", f.read()))
with open(root + "/experiments/peer/twin.py") as f:
    twin = f.read()
known = set(re.findall(r'"(\w+)"', re.search(r"KNOWN = \{(.*?)\}", twin, re.S).group(1)))
known |= set(re.findall(r'"(\w+)":', re.search(r"LEFT = \{(.*?)\}", twin, re.S).group(1)))
assert options and options == known, "the twin lacks or invents: %s" % (options ^ known)
with open(root + "/src/model/lstm.c") as f:
    options = set(re.findall(r"PF_OPT\w*\(lstm, (\w+),", f.read()))
with open(root + "/experiments/peer/recurrent.py") as f:
    known = set(re.findall(r'"(\w+)"', re.search(r"KNOWN = \{(.*?)\}", f.read(), re.S).group(1)))
assert options and options == known, "the recurrent twin lacks or invents: %s" % (options ^ known)
PY

# what cannot be compared ends with one sentence
"$root/scripts/bench_peer" --row small --python /bin/false --work "$tmp/work" >"$tmp/out" 2>&1 && fail "compared without PyTorch"
one_sentence() { [ "$(grep -c "bench_peer: error: .*$1" "$tmp/out")" = 1 ] && ! grep -q Traceback "$tmp/out" || { cat "$tmp/out"; fail "no sentence on $1"; }; }
one_sentence PyTorch
"$root/scripts/bench_peer" --row start --quick --python /nowhere --work "$tmp/work" >"$tmp/out" 2>&1 || { cat "$tmp/out"; fail "asks for PyTorch where none is needed"; }
PROBFLOW_ISA=avx3 "$root/scripts/bench_peer" --row small --work "$tmp/work" >"$tmp/out" 2>&1 && fail "an unknown instruction set"
one_sentence PROBFLOW_ISA=avx3
