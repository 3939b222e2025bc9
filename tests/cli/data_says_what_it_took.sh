# `data` says in one line a source what it took for what, and in others what it did not read; --split
# overrules names; the classes are in the file.
. "$(dirname "$0")/common.sh"
cd "$tmp" || exit 1
/usr/bin/python3 - <<'PY' || fail "no inputs"
import os, struct, zlib
def png(path, seed):
    part = lambda k, d: struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
    raw = b"".join(b"\0" + bytes((seed * 37 + 5 * y + x) % 256 for x in range(4)) for y in range(4))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)) +
                           part(b"IDAT", zlib.compress(raw)) + part(b"IEND", b""))
for i, p in enumerate(["train/10/a", "train/9/a", "train/cat/a", "dev/9/b"]): png("pets/%s.png" % p, i)
png("more/9/test_1.png", 9)
png("more/9/test_2.png", 9)
for p in ["pets/.DS_Store", "pets/train/9/x.gif", "pets/train/9/y.GIF", "pets/notes.txt", "pets/dev/README"]: open(p, "w").write("x")
PY

# says LINE: the last `data` wrote this line on stderr
says() { grep -qxF "$1" err || { cat err; fail "not said: $1"; }; }
data() { "$probflow" data "$@" >out 2>err || { cat err; fail "data $*"; }; }
splits() { /usr/bin/python3 -c 'import h5py; f = h5py.File("d.h5"); print(*["%s=%s" % (k, f[k + "/labels"][:].tolist()) for k in f])'; }

data pets more d.h5
says 'data: pets: folder of images, 3 images with labels for train, 1 image with labels for valid; by the names of its folders'
says 'data: pets: not read: 1 hidden, 1 without a dot, 1 .txt, 2 .gif'
says 'data: more: folder of images, 2 images with labels for train; its name says no split'
says "data: more: the own names of 2 files say another split than their folder's"
says 'data: images that are there again: 1, in another split: 0'
[ "$(splits)" = 'train=[1, 0, 2, 0, 0] valid=[0]' ] || fail "labels are $(splits)"
grep -A3 '^  classes' out | tr -s ' \n' ' ' | grep -qx ' classes 9 10 cat ' || { cat out; fail "info does not tell the classes"; }
[ "$(/usr/bin/python3 -c 'import h5py; print(*h5py.File("d.h5").attrs["classes"].astype(str))')" = '9 10 cat' ] || fail "the classes are not in the file"

# one of the sources, and one more
data more --split=test=more d.h5
says 'data: more: folder of images, 2 images with labels for test; by --split'
data --split train=more --split valid=pets/dev d.h5
[ "$(splits)" = 'train=[0, 0] valid=[0]' ] || fail "labels are $(splits)"
data "$root"/tests/data/*images* d.h5
says "data: $root/tests/data/t10k-images-idx3-ubyte.gz: IDX, 64 images for test; by its name"

before=$(sha256sum d.h5)
for bad in train dev=more; do refuses "--split" "$probflow" data more d.h5 --split "$bad"; done
refuses 'both train and test' "$probflow" data --split train=more --split test=more d.h5
refuses 'pets/train' "$probflow" data --split valid=pets d.h5
refuses 'same content' "$probflow" data more ./more d.h5
refuses 'more.*classes by name' "$probflow" data "$root"/tests/data/t10k-labels* more d.h5
refuses 'absent' "$probflow" data more absent d.h5
mkfifo pipe
refuses 'no regular file but a pipe' "$probflow" data pipe d.h5
refuses 'N from 5' "$probflow" data density:ring:99999999999999999999 d.h5
[ "$before" = "$(sha256sum d.h5)" ] || fail "a refused source changed the dataset"
