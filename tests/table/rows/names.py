"""Names given to the scripts and to the program: none is read as shell text, none is taken apart."""
import os
from make import grey, idx

ODD = ["it's data", "x';touch PWNED;'", "x$(touch PWNED)", "x`touch PWNED`", "a b", "a\nb", 'x";touch PWNED;"', "-d", "a:b", "*", "a;touch PWNED", "a&touch PWNED",
       "a|touch PWNED", "${PWNED}", "\\", "~", "a\tb", "#a", "ä ö", "%s%n", "[a]", "{a,b}", "a>PWNED", "a'b\"c"]
FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def rows(add, random):
    def get_data(name):
        def steps(c):
            for f in FILES: c.write("%s/mnist/%s" % (name, f), "wrong")
            # a name with a line break takes two lines
            c.refused("not the published file" if "\n" not in name else "get_data: ./a", c.scripts + "/get_data", "mnist", "./" + name,
                      env={"PROBFLOW": c.probflow, "TMPDIR": os.getcwd()})
            c.must("not the published file" in c.err, "another reason: " + c.err)
            c.must(not [1 for d, _, f in os.walk(".") if "PWNED" in f], "ran as shell text")
        return steps
    for name in ODD: add("get_data " + repr(name), get_data(name))

    def data(name):
        def steps(c):
            c.write("./" + name, idx(grey(3, 1)))
            c.accepted("data", "./" + name, "o.h5")
            c.accepted("info", "o.h5")
            os.rename("./" + name, "in")
            c.accepted("data", "in", "./" + name)
            c.accepted("info", "./" + name)
            c.same(sorted(os.listdir(".")), sorted(["in", "o.h5", name]), "files")
        return steps
    for name in ODD: add("data and info " + repr(name), data(name))

    def run(name):
        def steps(c):
            c.use("tiny.yaml", "tiny.h5")
            c.accepted("train", "tiny.yaml", "--run", "./" + name, "--set", "train.steps=1")
            c.accepted("sample", "./" + name, "-n", "1", "--out", "./%s/s.h5" % name)
            c.must(not os.path.exists("PWNED"), "ran as shell text")
        return steps
    for name in ODD[:12]: add("train and sample " + repr(name), run(name))

    def submit(name):
        def steps(c):
            c.use("tiny.yaml")
            os.rename("tiny.yaml", "./" + name + ".yaml")
            c.run(c.scripts + "/submit", os.path.abspath("./" + name + ".yaml"), "--dry-run", env={"PROBFLOW_BUILD": os.path.dirname(c.probflow)})
            if c.status == 0:
                c.write("s.sh", "sbatch() { :; }; mkdir() { :; }\n" + c.out)
                c.must(os.system("bash -n s.sh") == 0, "the printed script is no script")
            c.must(not os.path.exists("PWNED"), "ran as shell text")
        return steps
    for name in ODD[:8]: add("submit --dry-run " + repr(name), submit(name))
