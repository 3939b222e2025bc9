"""The processes of scripts/bench_peer: what they take of the CPU, and how PyTorch's are started.  Needs neither PyTorch nor numpy."""
import ctypes.util
import json
import os
import subprocess
import sys
import time

import figures
import machine

PEER = os.path.dirname(os.path.abspath(__file__))
BEGUN = time.perf_counter()


def fail(sentence):
    sys.exit("bench_peer: error: " + sentence)


def say(what):
    print("bench_peer: %4.0f s  %s" % (time.perf_counter() - BEGUN, what), file=sys.stderr, flush=True)


def sets(keys):
    return [w for k in keys for w in ("--set", k)]


def text_of(path):
    with open(path) as f:
        return f.read()


def ticks(pid):
    return sum(int(n) for n in text_of("/proc/%d/stat" % pid).rsplit(")", 1)[1].split()[11:13])


class Clock:
    """CPU time of one process, or of the children that have ended, and of the whole machine."""

    def __init__(self, pid=None):
        self.pid = pid
        self.all, self.own = figures.busy(text_of("/proc/stat")), self.taken()

    def taken(self):
        return ticks(self.pid) if self.pid else sum(os.times()[2:4]) * os.sysconf("SC_CLK_TCK")

    def others(self):
        return figures.others(figures.busy(text_of("/proc/stat")) - self.all, self.taken() - self.own)


class Worker:
    """A process of worker.py."""

    def __init__(self, python, needs, env, threads):
        modules = ["%s=%s" % pair for pair in needs.items()]
        try:
            self.p = subprocess.Popen([python, PEER + "/worker.py", *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        except OSError as e:
            fail("PyTorch: %s does not start: %s" % (python, e.strerror))
        self.about = self.ask("start", threads=threads)

    def ask(self, what, **more):
        try:
            self.p.stdin.write(json.dumps(dict(more, do=what)) + "\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            pass  # the answer tells
        answer = json.loads(self.p.stdout.readline() or '{"error": "the process ended"}')
        if "error" in answer:
            fail("PyTorch, %s: %s" % (what, answer["error"]))
        return answer

    def close(self):
        self.p.stdin.close()
        self.p.wait()


class Torch:
    """How the processes of PyTorch are started: with tcmalloc, on the instruction set of the run, with OpenBLAS's best kernels."""

    def __init__(self, python, needs, threads):
        self.args, self.about = (python, needs), None
        self.threads, self.cpu = threads, machine.processor(text_of("/proc/cpuinfo"))
        word = os.environ.get("PROBFLOW_ISA")
        try:
            self.isa = machine.isa_in_use(word, self.cpu["flags"])
        except ValueError as e:
            fail(str(e))
        self.set = machine.holding(self.isa, self.cpu["amd"], os.environ) if word else {}
        # generated code is for the processor, whatever the variables say
        self.compiles = machine.ATEN[self.isa] == machine.ATEN[machine.isa_of(self.cpu["flags"])]

    def start(self, plain=False):
        """A worker; plain: with the allocator of libc."""
        load = machine.preload(os.environ.get("LD_PRELOAD", ""), ctypes.util.find_library("tcmalloc_minimal"))
        if not load:
            fail("PyTorch is not at its best without libtcmalloc_minimal, which is not found; scripts/setup peer")
        env = dict(os.environ, OMP_NUM_THREADS=str(self.threads), **self.set)
        if plain:
            return Worker(*self.args, env, self.threads)
        env["LD_PRELOAD"] = load
        worker = Worker(*self.args, env, self.threads)
        core = None if "OPENBLAS_CORETYPE" in env else machine.better_core(worker.about["core"], self.cpu["flags"], self.cpu["amd"])
        if core:
            say("OpenBLAS takes %s by itself here; again with %s" % (worker.about["core"], core))
            worker.close()
            self.set["OPENBLAS_CORETYPE"] = core
            return self.start()
        self.about = dict(worker.about, set={k: env[k] for k in machine.VARIABLES if k in env})
        why = machine.unfit(self.about)
        if why:
            fail(why)
        return worker
