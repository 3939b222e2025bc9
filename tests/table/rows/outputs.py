"""What a command may write over, and what not: each output against everything that may stand under its name.

OUT stands for the output in the words of a command."""
import os, shutil, socket
from fixture import CHECKPOINT

# name: (files it starts from, its inputs, command with OUT, the file of the fixture that is of its own kind)
OUTPUTS = {
    "data": (["train-images"], ["train-images"], ["data", "train-images", "OUT"], "tiny.h5"),
    "sample": (["run"], [CHECKPOINT], ["sample", CHECKPOINT, "-n", "1", "--out", "OUT"], "samples.h5"),
    "png": (["run"], [CHECKPOINT], ["sample", CHECKPOINT, "-n", "1", "--out", "s.h5", "--png", "OUT"], None),
    "score": (["run", "points.h5"], ["points.h5", CHECKPOINT], ["score", "run", "--in", "points.h5", "--out", "OUT"], None),
    "logp": (["run", "points.h5"], ["points.h5", CHECKPOINT], ["logp", "run", "--in", "points.h5", "--out", "OUT"], None),
    "import": (["weights.h5"], ["weights.h5"], ["import", "weights.h5", "OUT"], CHECKPOINT),
    "bpd": (["run", "tiny.h5"], ["tiny.h5", CHECKPOINT], ["bpd", CHECKPOINT, "--limit", "4", "--out", "OUT"], "results.h5"),
    "variance": (["run", "tiny.h5"], ["tiny.h5", CHECKPOINT], ["variance", CHECKPOINT, "--batches", "2", "--out", "OUT"], None),
    "csv": (["tiny.yaml"], ["tiny.yaml"], ["bench", "tiny.yaml", "--size", "8x8x1", "--seconds", "1", "--csv", "OUT"], None),
}
OTHERS = {"a dataset": "tiny.h5", "a checkpoint": CHECKPOINT, "results": "results.h5", "metrics": "metrics.h5", "a configuration": "tiny.yaml"}


def command(words, out): return [out if w == "OUT" else w for w in words]


def content(path): return open(path, errors="replace").read() if os.path.exists(path) else "(gone)"


def pattern(*names): return "|".join(n.replace(".", r"\.") for n in names)


def rows(add, random):
    for name, (files, inputs, words, own) in OUTPUTS.items():
        also = ("s.h5",) if name == "png" else ()  # the samples themselves may be there already

        def row(label, steps, name=name, files=files):
            def start(c):
                c.use(*files)
                steps(c)
            add("%s: %s" % (name, label), start)

        def written(label, prepare, out="o.x", kept=(), target=None, name=name, words=words):
            """made; what stands in `kept` is as it was"""
            def steps(c):
                prepare(c)
                c.accepted(*command(words, out), changes=(target or out,) + also)
                c.must(os.path.isfile(target or out) and os.path.getsize(target or out) > 100 - 80 * (name == "csv"), "%s is not written" % out)
            row(label, steps)

        def refused(label, prepare, out="o.x", names=None, words=words, also=also):
            def steps(c):
                prepare(c)
                c.refused(pattern(*(names or [out])), *command(words, out), changes=also, seconds=10)
            row(label, steps)

        def spared(label, prepare, foreign, out="o.x", words=words, also=also, kind=None):
            """made or refused; the foreign file is as it was"""
            def steps(c):
                prepare(c)
                if not c.either(pattern(out, foreign), *command(words, out), changes=also + (out,)): return
                c.must(os.path.isfile(out), "%s is not written" % out)
                c.same(content(foreign), "precious", foreign)
                leftover = [f for f in os.listdir(".") if f.startswith(out + ".") and f != foreign and f != "o.x.lock" and f != "o.x.tmp"]
                c.same(leftover, [], "files left beside")
            row(label, steps)

        nothing = lambda c: None
        written("good", nothing)
        for i, source in enumerate(inputs):
            refused("its input %s" % os.path.basename(source), nothing, source, [os.path.basename(source)])
            refused("a link to its input %s" % os.path.basename(source), lambda c, s=source: os.symlink(s, "o.x"), "o.x", ["o.x", os.path.basename(source)])
            refused("another path of its input %s" % os.path.basename(source), nothing, "./" + source, [os.path.basename(source)])
        for label, other in OTHERS.items():
            if other == own or other in inputs: continue
            if name == "csv" and other == "tiny.yaml": continue
            refused(label, lambda c, o=other: (c.use("run") if "/" in o and not os.path.exists("run") else None,
                                              None if os.path.exists(o) else c.use(o), shutil.copy(o, "o.x")), "o.x", ["o.x"])
        if name != "csv": refused("a text", lambda c: c.write("o.x", "precious"))
        refused("a folder", lambda c: os.mkdir("o.x"))
        refused("in a folder that is missing", nothing, "none/o.x", ["none"])
        refused("in a folder that is a file", lambda c: c.write("file", "x"), "file/o.x", ["file"])
        refused("in /proc", nothing, "/proc/probflow-o.x", ["/proc"])
        refused("a name of 300 letters", nothing, "n" * 300, ["nnnnnnnn"])
        if name != "csv": written("a name with spaces and quotes", nothing, "it's $(o) \"x\"")
        written("a link to a file that is missing", lambda c: (os.mkdir("deep"), os.symlink("deep/real", "o.x")), "o.x", target="deep/real")

        def through(c, words=words, own=own, also=also):
            """twice: the link stays, its target is made, then replaced or continued"""
            os.mkdir("deep")
            c.run(*command(words, "deep/real"))
            c.must(c.status == 0, "refused: " + c.first())
            os.symlink("deep/real", "o.x")
            c.run(*command(words, "o.x"))
            if c.status: c.said("o.x|real")
            c.must(os.path.islink("o.x"), "the link is replaced")
        if name != "csv": row("a link to its own kind", through)

        def again(c, words=words):
            c.run(*command(words, "o.x"))
            c.must(c.status == 0, "refused: " + c.first())
            c.run(*command(words, "o.x"))
            c.must(c.status == 0, "a file of its own kind is refused: " + c.first())
        row("its own kind", again)

        def device(c, words=words, also=also):
            os.mknod("null", 0o020666, os.makedev(1, 3))
            c.either("null", *command(words, "null"), changes=also)
            import stat
            c.must(stat.S_ISCHR(os.lstat("null").st_mode), "the device is replaced, status %d" % c.status)
        if os.getuid() == 0: row("a device", device)

        def fifo(c, words=words, also=also):
            os.mkfifo("f")
            fd = os.open("f", os.O_RDONLY | os.O_NONBLOCK)  # somebody reads
            c.either(r"\bf\b", *command(words, "f"), changes=also)
            os.close(fd)
            import stat
            c.must(stat.S_ISFIFO(os.lstat("f").st_mode), "the FIFO is replaced, status %d" % c.status)
        row("a FIFO", fifo)

        def unix(c, words=words, also=also):
            s = socket.socket(socket.AF_UNIX)
            s.bind("f")
            c.refused(r"\bf\b", *command(words, "f"), changes=also)
        row("a socket", unix)

        for end in ("tmp", "lock"):
            foreign = "o.x." + end
            spared("a foreign OUT.%s" % end, lambda c, f=foreign: c.write(f, "precious"), foreign)
            def link(c, f=foreign): c.write("victim", "precious"), os.symlink("victim", f)
            spared("OUT.%s is a link" % end, link, "victim")

        def full(c, words=words):
            with open("/dev/full", "w") as f: c.run(*command(words, "o.x"), stdout=f)
            c.must(c.status != 0, "status 0")
            c.said("stdout|standard output|output|space|print")
        if name not in ("import", "score", "logp"): row("stdout is full", full)  # those print nothing

    # train: a run directory
    def train(label, prepare, check=None, run="d", refuse=None):
        def steps(c):
            c.use("tiny.yaml", "tiny.h5")
            prepare(c)
            words = ["train", "tiny.yaml", "--run", run, "--set", "train.steps=1"]
            if refuse: c.refused(refuse, *words)
            else: c.accepted(*words)
            if check: check(c)
        add("train: " + label, steps)
    made = lambda c: c.must(os.path.exists("d/checkpoint-00000001.h5"), "no checkpoint")
    train("good", lambda c: None, made)
    train("an empty folder", lambda c: os.mkdir("d"), made)
    train("a folder with other files", lambda c: c.write("d/notes.txt", "precious"), made)
    train("a file", lambda c: c.write("d", "precious"), refuse=r"\bd\b")
    train("below a file", lambda c: c.write("d", "precious"), run="d/e", refuse=r"d/e|\bd\b")

    def foreign_lock(c):
        c.use("tiny.yaml", "tiny.h5")
        c.write("d/lock", "precious")
        if c.either("d/lock", "train", "tiny.yaml", "--run", "d", "--set", "train.steps=1"): made(c)
        c.same(content("d/lock"), "precious", "d/lock")
    add("train: a foreign lock", foreign_lock)
    def lock_link(c):
        c.use("tiny.yaml", "tiny.h5")
        c.write("victim", "precious"), os.mkdir("d"), os.symlink("../victim", "d/lock")
        c.either("lock|d", "train", "tiny.yaml", "--run", "d", "--set", "train.steps=1")
        c.same(content("victim"), "precious", "victim")
    add("train: the lock is a link", lock_link)
    for n in ("config.yaml.tmp", "metrics.h5.tmp", "checkpoint-00000001.h5.tmp"):
        train("a foreign %s" % n, lambda c, n=n: c.write("d/" + n, "precious"), lambda c, n=n: (made(c), c.same(content("d/" + n), "precious", n)))

        def tmp_link(c, n=n):
            c.use("tiny.yaml", "tiny.h5")
            c.write("victim", "precious"), os.mkdir("d"), os.symlink("../victim", "d/" + n)
            c.either("d/|victim|tmp", "train", "tiny.yaml", "--run", "d", "--set", "train.steps=1")
            c.same(content("victim"), "precious", "victim")
        add("train: %s is a link" % n, tmp_link)
    train("config.yaml is a text of others", lambda c: c.write("d/config.yaml", "precious: {a: b}\n"), refuse="config.yaml|d|precious")
    train("in /proc", lambda c: None, run="/proc/x", refuse="/proc")
    train("a name with spaces", lambda c: None, lambda c: c.must(os.path.exists("it's a $(run)/checkpoint-00000001.h5"), "no checkpoint"), run="it's a $(run)")
    train("a link to a folder", lambda c: (os.mkdir("e"), os.symlink("e", "d")), lambda c: c.must(os.path.islink("d") and os.path.exists("e/checkpoint-00000001.h5"), "the link is not followed"))
    train("an empty name", lambda c: None, run="", refuse="run")
    train("a name of 300 letters", lambda c: None, run="n" * 300, refuse="nnn")
    train("a trailing slash", lambda c: None, made, run="d/")
