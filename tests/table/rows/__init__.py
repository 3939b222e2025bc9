"""The rows: a module for each kind and format.  Its rows(add, random) calls add(name, steps) for each row,
steps(c) being the row on a Case c.  Seeded variation comes from `random`."""
import collections, importlib, random

KINDS = ("splits outputs identity choices sizes ranks compare names sentences "
         "idx gz cifar cifar100 npy npz h5user png jpeg json folder convert csv pickle published text yaml dataset checkpoint metrics results foreign").split()
Row = collections.namedtuple("Row", "kind full steps")


def all_rows(seed):
    found, seen = [], set()
    for kind in KINDS:
        def add(name, steps):
            full = "%s/%s" % (kind, "".join(ch if ch.isprintable() else "?" for ch in name).replace(" ", "-"))
            assert full not in seen, full
            seen.add(full)
            found.append(Row(kind, full, steps))
        importlib.import_module("rows." + kind).rows(add, random.Random("%s %d" % (kind, seed)))
    return found
