"""Tables of numbers: CSV and text between blanks."""
import gzip, io, re
import numpy as np
from make import classes, read


def refused(content, name="a.csv", pattern=None, flags=()):
    def steps(c):
        c.write(name, content)
        c.refused(pattern or name.replace(".", r"\."), "data", name, "o.h5", *flags)
    return steps


def taken(content, x, name="a.csv", labels=None, names=None, conditions=None, flags=(), split="train", says=()):
    """x is the same to the last bit"""
    def steps(c):
        c.write(name, content)
        c.accepted("data", name, "o.h5", *flags)
        have = read("o.h5", split + "/x")
        c.same(have.shape, np.shape(x), "shape")
        c.same(have.tobytes(), np.asarray(x, "f8").tobytes(), "values")
        if labels is not None: c.same(read("o.h5", split + "/labels").tolist(), labels, "labels")
        if names is not None: c.same(classes("o.h5"), names, "classes")
        if conditions is not None: c.same(read("o.h5", split + "/conditions").tolist(), conditions, "conditions")
    return steps


def numpy_text(x, **how):
    b = io.StringIO()
    np.savetxt(b, x, **how)
    return b.getvalue()


def rows(add, random):
    r = np.random.RandomState(random.randrange(2 ** 31))
    x = r.randn(50, 3) * 10.0 ** r.randint(-300, 300, (50, 3))
    plain = "".join(",".join(map(repr, row)) + "\n" for row in x.tolist())
    bits = r.randint(0, 2 ** 63, 400, dtype="u8").view("f8")
    any_double = bits[np.isfinite(bits)][:200].reshape(-1, 2)
    any_double[::2] *= -1
    # ---- good ----
    add("shortest decimals", taken(plain, x))
    add("any double", taken("".join("%r,%r\n" % (float(a), float(b)) for a, b in any_double), any_double))
    add("17 digits", taken("".join("%.17g;%.17g\n" % (a, b) for a, b in any_double), any_double))
    add("40 digits", taken("".join("%.40e\t%.40e\n" % (a, b) for a, b in any_double), any_double, "a.tsv"))
    for sep in ",", ";", "\t", " ", " , ": add("savetxt by %r" % sep, taken(numpy_text(x, delimiter=sep, fmt="%.17e"), x))
    add("savetxt with a header", taken(numpy_text(x, header="u v w", fmt="%.17g"), x, "a.txt"))
    add("savetxt with a label in the header", taken(numpy_text(x[:2, :1].repeat(2, 1) * 0 + [[1, 4], [2, 5]], delimiter=",", header="u,label", fmt="%d"),
                                                   [[1], [2]], labels=[4, 5]))
    add("gzip", taken(gzip.compress(plain.encode()), x, "a.csv.gz"))
    add("CRLF and a byte order mark", taken(b"\xef\xbb\xbf" + ("u,v,w\n" + plain).replace("\n", "\r\n").encode(), x))
    add("no last line end", taken(plain.rstrip("\n"), x))
    add("empty last lines", taken(plain + "\n\r\n \n", x))
    add("test by name", taken(plain, x, "test.csv", split="test"))
    add("one column", taken("1\n2\n3\n", [[1], [2], [3]]))
    add("one point", taken("1,2,3", [[1, 2, 3]]))
    add("5000 columns", taken(",".join(map(str, range(5000))) + "\n", [list(range(5000))]))
    add("quotes", taken('"u ""1""","v, w","class"\n"1","2.5","a ""b"", c"\n3,4,d\n', [[1, 2.5], [3, 4]], labels=[0, 1], names=['a "b", c', "d"]))
    add("pandas", taken(",u,v,label\n0,1.0,2.0,7\n1,3.0,4.0,8\n", [[1, 2], [3, 4]], labels=[7, 8]))
    add("classes by name", taken("u,class\n1,dog\n2,cat\n3,dog\n", [[1], [2], [3]], labels=[1, 0, 1], names=["cat", "dog"]))
    add("classes -1 and 1", taken("u,target\n1,1\n2,-1\n", [[1], [2]], labels=[1, 0], names=["-1", "1"]))
    add("a target of fractions is a value", taken("u,target\n1,1\n2,.5\n", [[1, 1], [2, .5]]))
    add("x and y are values", taken("x,y\n1,1\n2,2\n", [[1, 1], [2, 2]]))
    add("a label by number, no names", taken("5.1,a\n4.9,b\n", [[5.1], [4.9]], labels=[0, 1], flags=["--label", "2"]))
    add("label none", taken("u,label\n1,1\n2,2\n", [[1, 1], [2, 2]], flags=["--label", "none"]))
    add("conditions", taken("u,m,k,label\n1,10,20,5\n2,11,21,6\n", [[1], [2]], labels=[5, 6], conditions=[[20, 10], [21, 11]],
                            flags=["--condition", "k", "--condition", "2"]))
    many = "u,class\n" + "".join("%d,c%d\n" % (i, i * 7919 % 20000) for i in range(20000))

    def many_classes(c):
        c.write("a.csv", many)
        c.accepted("data", "a.csv", "o.h5")
        want = {n: i for i, n in enumerate(sorted("c%d" % i for i in range(20000)))}
        c.same(read("o.h5", "train/labels").tolist(), [want["c%d" % (i * 7919 % 20000)] for i in range(20000)], "labels")
    add("20000 classes", many_classes)

    # ---- malformed ----
    for word in ("", "NA", "nan", "NaN", "null", "None", "?", "-", "N/A"):
        add("missing %r" % word, refused("u,height\n1,2\n3,%s\n" % word, pattern=r"a\.csv: row 2 \(line 3\), column 2 \(height\): the value is missing"))
    for word in ("inf", "-Infinity"): add(word, refused("1,%s\n" % word, pattern="column 2: the value is infinite"))
    for word in ("1e309", "-1e999999999999", "9" * 400): add("too large: %s" % word[:20], refused("1,2\n3,%s\n" % word, pattern="row 2.*column 2.*range of a double"))
    for word in ("0x10", "1e", "1.2.3", "--1", "1d5", "1_000", "12abc", "1 000", "\u0661", "+", "e5", "1\x01"):
        add("no number: %r" % word, refused("1,2\n3,%s\n" % word, pattern=r"row 2 \(line 2\), column 2: .* is no number"))
    add("decimal comma between semicolons", refused("1,5;2,5\n", pattern="decimal comma"))
    add("decimal comma between blanks", refused("1,5 2,5\n3,5 4,5\n", pattern="decimal comma"))
    add("a short row", refused(plain + "1,2\n", pattern=r"row 51 \(line 51\) has 2 fields"))
    add("a long row", refused(plain + "1,2,3,4\n", pattern=r"row 51 \(line 51\) has 4 fields"))
    add("another separator in a row", refused(plain + "1;2;3\n", pattern="row 51"))
    add("a row behind an empty line", refused("1,2\n\n3,4\n", pattern="line 2 is empty"))
    add("a comment between rows", refused("1,2\n# 3\n3,4\n", pattern="row 2"))
    add("a quote without an end", refused('1,2\n"3,4\n', pattern="line 2 holds a quote"))
    add("words behind a quote", refused('1,2\n"3"4,4\n', pattern="line 2 holds a quote"))
    add("names alone", refused("u,v\n", pattern="no rows"))
    add("comments alone", refused("# u\n# v\n", pattern="no rows"))
    add("empty lines alone", refused("\n \n\r\n", pattern="no rows"))
    add("labels alone", refused("label\n1\n2\n", pattern="no column of values"))
    add("UTF-16", refused("u,v\n1,2\n".encode("utf-16"), pattern="UTF-16"))
    for at in (0, 5, 9): add("a zero byte at %d" % at, refused((b"1.5,2\n3,4.5\n"[:at] + b"\0" + b"1.5,2\n3,4.5\n"[at:]), pattern="zero byte"))
    add("an HDF5 file", refused(b"\x89HDF\r\n\x1a\n" + bytes(500)))
    add("a line of 40 MB, packed", refused(gzip.compress(b"1" * 40000000), "a.csv.gz", "longer than 16 MiB"))
    packed = gzip.compress(plain.encode())
    for n in sorted(random.sample(range(20, len(packed) - 1), 3)): add("gzip cut to %d bytes" % n, refused(packed[:n], "a.csv.gz"))
    add("a missing label", refused("u,label\n1,1\n2,\n", pattern=r"row 2 \(line 3\), column 2 \(label\)"))
    add("fractions and words as labels", refused("u,label\n1,.5\n2,cat\n", pattern="row 1.*row 2"))
    add("fractions as the label asked for", refused("u,v\n1,.5\n", pattern="no label", flags=["--label", "v"]))
    add("two labels", refused("u,label,class\n1,2,3\n", pattern="--label"))
    for flag in ("--label", "--condition"):
        for name in ("w", "0", "4", "-1", ""): add("%s %r" % (flag, name), refused("u,v,w1\n1,2,3\n", flags=[flag, name], pattern=flag))
    add("a label that is a condition", refused("u,v\n1,2\n", pattern="both", flags=["--label", "v", "--condition", "2"]))
    add("a condition twice", refused("u,v\n1,2\n", pattern="twice", flags=["--condition", "v", "--condition", "2"]))
    add("a condition that is missing", refused("u,v\n1,\n", pattern="column 2 .v.: the value is missing", flags=["--condition", "v"]))
    add("all conditions", refused("u,v\n1,2\n", pattern="no column of values", flags=["--condition", "u", "--condition", "v"]))

    def no_table(c, name, content, flags):
        if content: c.write(name, content)
        c.accepted("data", name, "o.h5")
        c.refused("%s is read as .*, which has no columns for %s" % (re.escape(name), flags[0]), "data", name, "p.h5", *flags)
    npy = io.BytesIO()
    np.save(npy, x)
    for name, content in ("a.npy", npy.getvalue()), ("density:ring:10", None), ("a.txt", "words are text, " * 40):
        for flags in ["--label", "none"], ["--label", "1"], ["--condition", "1"]:
            add("%s of %s" % (" ".join(flags), name), lambda c, n=name, k=content, f=flags: no_table(c, n, k, f))

    def other_width(c):
        c.write("a.csv", "1,2\n"), c.write("b.csv", "1,2,3\n")
        c.refused(r"b\.csv", "data", "a.csv", "b.csv", "o.h5")
    add("files of other widths", other_width)

    def other_order(c):
        c.write("a.csv", "u,v,label\n1,2,3\n"), c.write("b.csv", "label,u,v\n4,5,6\n"), c.write("c.csv", "v,u,label\n7,8,9\n")
        c.accepted("data", "a.csv", "b.csv", "o.h5")
        c.same(read("o.h5", "train/x").tolist(), [[1, 2], [5, 6]], "values")
        c.refused(r"c\.csv.*order", "data", "a.csv", "c.csv", "p.h5")
    add("files of another order of columns", other_order)

    def by_name_and_number(c):
        c.write("a.csv", "u,class\n1,2\n"), c.write("b.csv", "u,class\n1,cat\n")
        c.refused(r"b\.csv", "data", "a.csv", "b.csv", "o.h5")
    add("classes by number, then by name", by_name_and_number)

    def one_byte(c, at, value):
        b = bytearray(plain.encode())
        b[at] = value
        c.write("a.csv", bytes(b))
        if c.either(r"a\.csv", "data", "a.csv", "o.h5"): c.must(np.isfinite(read("o.h5", "train/x")).all(), "what is no number")
    for i in range(12):
        at, value = random.randrange(len(plain)), random.randrange(256)
        add("byte %d is %d" % (at, value), lambda c, at=at, value=value: one_byte(c, at, value))
