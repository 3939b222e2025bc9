# Maps of shorelines: rectangles of outlines over the rims of bins, rivers and borders come back as classes where they lie, and no tile of a
# split touches one of another.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - "$tmp" <<'P' || fail "a file of rectangles"
import sys, h5py, numpy as np
tmp = sys.argv[1]
SIZE, ACROSS, UNIT = 5, 72, 65535
ROWS = 180 // SIZE
# level, west, south, east, north: land over the rims of bins, a lake in it over a rim, an island in this, a pond on that; land within a bin
BOXES = ((1, 12.3, 11.7, 28.6, 23.4), (2, 16.1, 13.2, 24.2, 19.9), (3, 18.2, 14.4, 21.3, 18.6), (4, 18.7, 15.6, 19.6, 17.7), (1, 31.2, 26.1, 33.4, 28.3))


def around(x, y):
    return sum(w < x < e and s < y < n for _, w, s, e, n in BOXES)


def pieces(points):
    """a line cut at the rims of bins: bin, points in it"""
    cut = [points[0]]
    for (x1, y1), (x2, y2) in zip(points, points[1:]):
        t = sorted({(k * SIZE - a) / (b - a) for a, b in ((x1, x2), (y1, y2)) if a != b
                    for k in range(int(min(a, b) // SIZE) + 1, int(max(a, b) // SIZE) + 1)})
        cut += [(x1 + s * (x2 - x1), y1 + s * (y2 - y1)) for s in t] + [(x2, y2)]
    found = {}
    edges = list(zip(cut, cut[1:]))
    where = [(int((a[0] + b[0]) / 2 // SIZE), int((a[1] + b[1]) / 2 // SIZE)) for a, b in edges]
    closed = points[0] == points[-1]
    turn = next((i for i in range(len(edges)) if where[i] != where[i - 1]), 0) if closed else 0
    edges, where = edges[turn:] + edges[:turn], where[turn:] + where[:turn]
    out = []
    for (a, b), w in zip(edges, where):
        if not out or out[-1][0] != w: out.append((w, [a]))
        out[-1][1].append(b)
    return out


def side(p, w):
    x, y = p[0] / SIZE - w[0], p[1] / SIZE - w[1]
    near = lambda v, to: abs(v - to) < 1e-9
    return 0 if near(y, 0) else 1 if near(x, 1) else 2 if near(y, 1) else 3 if near(x, 0) else 4


def write(path, lines, outlines):
    """lines: level, points"""
    all_ = sorted(((90 // SIZE - 1 - w[1]) * ACROSS + w[0], level, w, p) for level, points in lines for w, p in pieces(points))
    n = np.array([len(p) for _, _, _, p in all_])
    relative = lambda axis: np.array([round((q[axis] / SIZE - w[axis]) * UNIT) for _, _, w, p in all_ for q in p]).astype(np.uint16).astype(np.int16)
    with h5py.File(path, "w") as f:
        f["Bin_size_in_minutes"] = np.array([60 * SIZE])
        f["N_segments_in_a_bin"] = np.bincount([b for b, _, _, _ in all_], minlength=ROWS * ACROSS).astype(np.int16)
        f["Relative_longitude_from_SW_corner_of_bin"], f["Relative_latitude_from_SW_corner_of_bin"] = relative(0), relative(1)
        if not outlines:
            f["Hierarchial_level_of_a_segment"], f["N_points_for_a_segment"] = np.array([l for _, l, _, _ in all_]), n
            return
        f["Embedded_npts_levels_exit_entry_for_a_segment"] = np.array(
            [len(p) << 9 | l << 6 | side(p[0], w) << 3 | side(p[-1], w) for _, l, w, p in all_])
        f["Embedded_node_levels_in_a_bin"] = np.array(
            [around(c * SIZE, 90 - (r + 1) * SIZE) << 9 for r in range(ROWS) for c in range(ACROSS)]).astype(np.int16)


write(tmp + "/binned_GSHHS_i.nc", [(l, [(w, s), (e, s), (e, n), (w, n), (w, s)]) for l, w, s, e, n in BOXES], True)
write(tmp + "/binned_river_i.nc", [(2, [(11.0, 12.31), (14.0, 12.31)]), (6, [(26.01, 22.0), (26.01, 25.0)])], False)
write(tmp + "/binned_border_i.nc", [(1, [(13.01, 10.0), (13.01, 30.0)]), (2, [(27.01, 12.0), (27.01, 30.0)])], False)
P
/usr/bin/python3 - "$root/scripts" "$tmp" <<'P' || fail "classes are not where their rectangles lie"
import importlib.machinery, importlib.util, os, sys, numpy as np
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("shorelines", sys.argv[1] + "/shorelines")
m = importlib.util.module_from_spec(importlib.util.spec_from_loader("shorelines", loader)); loader.exec_module(m)
read = lambda kind, name: kind(os.path.join(sys.argv[2], f"binned_{name}_i.nc"))
shores, rivers, borders = read(m.Shores, "GSHHS"), read(m.Lines, "river"), read(m.Lines, "border")
inside = lambda b, x, y: (b[0] < x) & (x < b[2]) & (b[1] < y) & (y < b[3])
seen = np.zeros(8, int)
for south in np.arange(9, 31, .5):
    tiles = m.map_of(shores, rivers, borders, south)
    n = len(tiles)
    got = tiles.transpose(1, 0, 2).reshape(m.H, -1)
    step = 360 / got.shape[1]
    x, y = np.meshgrid((np.arange(got.shape[1]) + .5) * step, south + (m.H - np.arange(m.H) - .5) / m.SCALE)
    want = np.zeros(got.shape, int)
    for b, k in (((12.3, 11.7, 28.6, 23.4), 1), ((31.2, 26.1, 33.4, 28.3), 1), ((16.1, 13.2, 24.2, 19.9), 2), ((18.2, 14.4, 21.3, 18.6), 3), ((18.7, 15.6, 19.6, 17.7), 2)):
        want[inside(b, x, y)] = k
    land = (want == 1) | (want == 3)
    row, col = np.floor(y * m.SCALE), np.floor(x / step)
    want[land & (row == np.floor(12.31 * m.SCALE)) & (11 <= x) & (x <= 14)] = 4
    want[land & (col == np.floor(26.01 / step)) & (22 <= y) & (y <= 25)] = 5
    want[land & (col == np.floor(13.01 / step)) & (10 <= y)] = 6
    want[land & (col == np.floor(27.01 / step)) & (12 <= y)] = 7
    assert (got == want).all(), (south, np.argwhere(got != want)[:5], got[got != want][:5], want[got != want][:5])
    seen += np.bincount(got.ravel(), minlength=8)
assert (seen > 0).all(), seen

# the whole earth: between tiles of two splits lies a tile's height or width at least
tiles = {"train": [], "valid": [], "test": [], None: []}
for south in np.arange(m.SOUTH, m.NORTH, .5):
    n = int(360 * np.cos(np.radians(south + .25)))
    for i in range(n):
        tiles[m.split_of_tile(south, i * 360 / n, 360 / n)].append((south, i * 360 / n, 360 / n))
for a, b in (("train", "test"), ("train", "valid"), ("valid", "test")):
    A = np.array(tiles[a])
    for south, west, width in tiles[b][::7]:
        near = A[abs(A[:, 0] - south) < .99]
        east = (near[:, 1] - west) % 360
        assert (np.minimum(east - width, 360 - east - near[:, 2]) > .99 * width).all(), (a, b, south, west)
assert len(tiles["train"]) > 10 * len(tiles["test"]) > 10 * len(tiles["valid"]) > 0
P
