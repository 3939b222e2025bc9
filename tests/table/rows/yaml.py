"""Configurations and --set: what is accepted is written so that it reads back; the rest is refused."""
import os, shutil
from fixture import YAML

STEPS = ["--set", "train.steps=1"]


def file_refused(content, pattern=r"t\.yaml"):
    def steps(c):
        c.use("tiny.h5")
        c.write("t.yaml", content)
        c.refused(pattern, "train", "t.yaml", "--run", "r", memory=1500 << 20)
    return steps


def set_refused(text, pattern=None):
    def steps(c):
        c.use("tiny.h5", "tiny.yaml")
        c.refused(pattern or text.split("=")[0].split(".")[-1], "train", "tiny.yaml", "--run", "r", "--set", text)
    return steps


def comes_back(c, *options, whole=True):
    """trained; the same command goes on, its text is accepted again"""
    c.accepted("train", "tiny.yaml", "--run", "r", *STEPS, *options, changes=("r/metrics.h5",))
    first = open("r/config.yaml", "rb").read()
    c.accepted("train", "tiny.yaml", "--run", "r", *STEPS, *options, changes=("r/metrics.h5",))
    c.same(open("r/config.yaml", "rb").read(), first, "config.yaml")
    if not whole: return
    c.accepted("train", "r/config.yaml", "--run", "s", "--set", "name=r")
    c.accepted("info", "r/checkpoint-00000001.h5")


def text(value):
    """accepted and usable, or refused before anything is trained"""
    def steps(c):
        c.use("tiny.h5", "tiny.yaml")
        option = ["--set", b"name=" + value]
        c.run("train", "tiny.yaml", "--run", "r", *STEPS, *option)
        if c.status:
            c.must(not os.path.exists("r/checkpoint-00000001.h5"), "trained, then refused: " + c.first())
            c.said("name")
            shutil.rmtree("r", ignore_errors=True)
            return
        comes_back(c, *option, whole=False)
    return steps


def good_set(options, want):
    def steps(c):
        c.use("tiny.h5", "tiny.yaml")
        comes_back(c, *[x for o in options for x in ("--set", o)])
        have = open("r/config.yaml").read()
        for w in want: c.must(w in have, "config.yaml does not hold %s" % w)
    return steps


def rows(add, random):
    add("good", good_set(["train.lr=0.5"], ["lr: 0.5"]))
    add("a list", good_set(["model.multipliers=[1,2]"], ["multipliers: [1,2]"]))
    add("a list without brackets", good_set(["model.multipliers=1,2"], ["multipliers: [1,2]"]))
    add("1e-3", good_set(["train.lr=1e-3"], ["lr: 0.001"]))
    add("twice, the last holds", good_set(["seed=4", "seed=5"], ["seed: 5"]))
    add("an empty text", good_set(["name="], ['name: ']))

    texts = [b"plain", "München".encode(), b"a b", b"a: b", b"# no comment", b"'", b'"', b"\\", b"- a", b"[1", b"{a", b"&a", b"*a", b"!a", b"%a",
             b"@a", b"`a", b"|", b">", b"?", b"~", b"null", b"true", b"12", b"0x10", b" lead", b"trail ", b"a\tb", b"a\nb", b"a\rb", b"a\x01b", b"a\x7fb",
             b"M\xfcnchen", b"a\xc2\x9bb", b"a\xef\xbf\xbeb", b"a\xc0\xafb", b"a\xed\xa0\x80b", b"a\xc2\x85b", b"a\xe2\x80\xa8b", b"a\xe2\x80\xa9b",
             b"a\xef\xbb\xbfb", b"\xf0\x9f\x98\x80", b"\xf4\x90\x80\x80", b"\xff", b"a\x1bb", b"---", b"...", b"a=b", b"a #b", b"a:"]
    for t in texts: add("name " + repr(t)[2:-1], text(t))
    for i in range(6): add("name of random bytes %d" % i, text(bytes(random.randrange(1, 256) for _ in range(12))))

    for l in ("1,,2", "[1,2", "1,2]", "1,2,", ",1,2", "[[1,2]]", "1;2", "1 2", "[1,2]]", "1.5,2", "1,2x", "][", "1,2,3,4,5,6,7,8,9,10,11,12,13"):
        add("multipliers " + l, set_refused("model.multipliers=" + l))
    for t in ("train.lr=abc", "train.lr=", "train.lr=nan", "train.lr=inf", "train.lr=-1", "train.lr=1e999", "train.lr=0.1.2", "train.steps=1.5",
              "train.steps=-1", "train.steps=99999999999999999999", "train.batch=0", "train.batch=x", "seed=1e400", "shards=0", "shards=3", "shards=-4",
              "data.flip=maybe", "train.precision=f99", "model.width=9223372036854775808", "sde.name=none", "model.name=none", "objective.time=never"):
        add("set " + t, set_refused(t, t.split("=")[0].split(".")[0 if ".name" in t else -1]))
    for t, p in (("train.stpes=3", "steps"), ("trian.steps=3", "train"), ("noequals", "noequals"), ("=3", "form|="), ("a.b.c=3", "a.b.c"), (".=3", "form|key|option|unknown"),
                 ("train.=3", "train"), (".steps=3", "steps"), ("train=3", "train"), ("name=" + "x" * 600, "name"), ("k" * 200 + "=3", "kkk")):
        add("set " + t[:30], set_refused(t, p))

    files = {
        "a second document": YAML + "---\nseed: 4\n", "a second document that is empty": YAML + "---\n...\n---\nname: x\n",
        "a key twice": YAML + "seed: 4\n", "a section twice": YAML + "train: {steps: 4}\n", "a key twice in a section": YAML.replace("batch: 16", "batch: 16, batch: 8"),
        "not closed": YAML + "extra: {a: 1\n", "a tab": YAML + "extra:\n\ta: 1\n", "a list": "- a\n- b\n", "a word": "word\n", "a number": "7\n",
        "nested deeper": YAML.replace("batch: 16", "batch: {a: 16}"), "a list in a list": YAML.replace("[1, 2]", "[1, [2]]"),
        "a mapping in a list": YAML.replace("[1, 2]", "[1, {a: 2}]"), "a list as a key": YAML + "? [a]\n: 1\n", "no value": YAML.replace("batch: 16", "batch:"),
        "null": YAML.replace("batch: 16", "batch: null"), "zero byte": YAML.encode() + b"\0", "zero byte in front": b"\0" + YAML.encode(),
        "Latin-1": YAML.encode() + b"name: M\xfcnchen\n", "an alias to nothing": YAML + "name: *a\n", "an alias to itself": "train: &a {steps: *a}\n",
        "a dot in a key": YAML + "train.steps: 4\n", "an empty key": YAML + "'': 4\n", "deep brackets": "a: " + "[" * 20000, "deep braces": "a: " + "{a: " * 20000,
        "a long key": YAML + "k" * 300 + ": 1\n", "no such escape": YAML + 'name: "\\q"\n', "UTF-16": YAML.encode("utf-16"),
        "10 MB of words": "a: " + "b" * (10 << 20), "300000 keys": "".join("k%d: 1\n" % i for i in range(300000)),
        "aliases of aliases": "a: &a [x,x,x,x,x,x,x,x]\n" + "".join("%s: &%s [*%s,*%s,*%s,*%s]\n" % (b, b, a, a, a, a) for a, b in zip("abcdefghijkl", "bcdefghijklm")),
    }
    for name, content in files.items(): add("file: " + name, file_refused(content, ".*"if name == "zero byte" else "t.yaml|key|section|unknown|twice|no value|use|missing"))

    def bom(c):
        c.use("tiny.h5")
        c.write("t.yaml", b"\xef\xbb\xbf" + YAML.encode())
        if c.either(r"t\.yaml", "train", "t.yaml", "--run", "r", *STEPS): c.must("width: 8" in open("r/config.yaml").read(), "the mark became part of a key")
    add("file: byte order mark", bom)

    def same_as_json(c):
        c.use("tiny.h5", "tiny.yaml")
        import json
        c.write("t.json", json.dumps({"seed": 3, "shards": 4, "data": {"path": "tiny.h5"}, "sde": {"name": "vp"}, "objective": {"weight": "likelihood"}, "model": {"name": "ddpmpp", "width": 8, "multipliers": [1, 2], "blocks": 1, "attention": [4]}, "train": {"steps": 1, "batch": 16}}))
        c.accepted("train", "t.json", "--run", "r")
        c.must("width: 8" in open("r/config.yaml").read(), "width is not 8")
    add("file: JSON", same_as_json)

    def folder(c):
        os.mkdir("t.yaml")
        c.refused(r"t\.yaml", "train", "t.yaml", "--run", "r")
    add("file: a folder", folder)

    def fifo(c):
        os.mkfifo("t.yaml")
        c.refused(r"t\.yaml", "train", "t.yaml", "--run", "r")
    add("file: a FIFO nobody writes", fifo)

    def endless(c):
        c.refused("/dev/fd|regular|pipe|long|large|bytes", "bash", "-c", '"$0" train <(yes "a: b") --run r --quiet', c.probflow, memory=1500 << 20)
    add("file: endless", endless)
    add("file: missing", lambda c: c.refused(r"none\.yaml", "train", "none.yaml", "--run", "r"))
