"""One row of the table: its own folder, its commands, what must hold after each."""
import hashlib, os, re, resource, shutil, signal, stat, subprocess

SECONDS = 10
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1",
                   OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                   OMPI_MCA_hwloc_base_binding_policy="none", OMPI_MCA_btl="self,vader",
                   OMPI_MCA_mpi_yield_when_idle="1")


class Failed(Exception):
    pass


def look(path):
    """type, target or hash of one path"""
    s = os.lstat(path)
    if stat.S_ISLNK(s.st_mode): return "link to " + os.readlink(path)
    if stat.S_ISREG(s.st_mode): return hashlib.sha256(open(path, "rb").read()).hexdigest()
    return "kind %o" % stat.S_IFMT(s.st_mode)


def everything():
    found = {}
    for folder, folders, files in os.walk("."):
        for name in folders + files:
            path = os.path.join(folder, name)[2:]
            found[path] = look(path)
    return found


class Case:
    """The current directory is the row's own.  probflow stands for the program."""

    def __init__(self, probflow, fixture, scripts):
        self.probflow, self.fixture, self.scripts = probflow, fixture, scripts
        self.status, self.out, self.err = 0, "", ""

    # ---- inputs ----
    def use(self, *names):
        """copies of what every row may start from: see fixture.py"""
        for name in names:
            source = os.path.join(self.fixture, name)
            (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, name)

    def write(self, name, content):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as f: f.write(content.encode() if isinstance(content, str) else bytes(content))
        return name

    # ---- commands ----
    def run(self, *argv, memory=None, stdout=None, seconds=SECONDS, env=None):
        argv = [self.probflow if a == "probflow" else a for a in argv]
        if argv[0] in COMMANDS: argv = [self.probflow] + argv + ["--quiet"]

        def limits():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if memory: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE,
                             env=dict(ENVIRONMENT, **(env or {})), preexec_fn=limits, start_new_session=True)
        try:
            out, err = p.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.communicate()
            raise Failed("no end after %d s" % seconds)
        self.status, self.out, self.err = p.returncode, (out or b"").decode(errors="replace"), err.decode(errors="replace")
        if self.status < 0 or self.status >= 124:
            raise Failed("crash, status %d: %s" % (self.status, self.err[:160].replace("\n", " | ")))

    def accepted(self, *argv, changes=(), **how):
        """status 0; nothing that was there is other than before but what `changes` names"""
        before = everything()
        self.run(*argv, **how)
        if self.status != 0: raise Failed("refused, status %d: %s" % (self.status, self.first()))
        self.unchanged(before, changes, new=True)

    def refused(self, pattern, *argv, changes=(), **how):
        """status 1 to 123, one sentence that matches, nothing changed, nothing new"""
        before = everything()
        self.run(*argv, **how)
        if self.status == 0: raise Failed("accepted, status 0")
        self.unchanged(before, changes)
        self.said(pattern)

    def either(self, pattern, *argv, changes=(), **how):
        """both are right; the caller asks for the content when it is accepted.  Returns that it was"""
        before = everything()
        self.run(*argv, **how)
        if self.status:
            self.unchanged(before, changes)
            self.said(pattern)
        return self.status == 0

    # ---- what must hold ----
    def first(self):
        lines = [l for l in self.err.splitlines() if l.strip()]
        return lines[0][:200] if lines else "(no word)"

    def said(self, pattern):
        lines = [l for l in self.err.splitlines() if l.strip()]
        if not lines: raise Failed("status %d without a word" % self.status)
        if len(lines) > 3: raise Failed("%d lines for one sentence: %s" % (len(lines), lines[0][:160]))
        if not re.search(pattern, lines[0], re.I): raise Failed("the sentence does not match %s: %s" % (pattern, lines[0][:200]))
        if re.search("no memory|cannot allocate", lines[0], re.I): raise Failed("memory is taken before a size is doubted: " + lines[0][:160])

    def unchanged(self, before, changes=(), new=False):
        after = everything()
        for path, was in before.items():
            if path in changes: continue
            if path not in after: raise Failed("%s is gone (status %d)" % (path, self.status))
            if after[path] != was: raise Failed("%s is changed (status %d)" % (path, self.status))
        extra = [p for p in after if p not in before and p not in changes and not after[p].startswith("kind 40")]  # folders may stay
        if extra and not new: raise Failed("left behind: " + ", ".join(sorted(extra)[:4]))

    def must(self, holds, text):
        if not holds: raise Failed(text)

    def same(self, have, want, what):
        if have != want: raise Failed("%s: %s, want %s" % (what, str(have)[:120], str(want)[:120]))


COMMANDS = ("data", "train", "bpd", "logp", "score", "sample", "import", "info", "bench", "variance")
