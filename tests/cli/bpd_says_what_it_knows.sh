# What bpd prints is what its file holds: the error bar while it runs is that of the end, with no number where
# there is none; of how many groups the solver's error is; which option helps where it fails.
. "$(dirname "$0")/common.sh"
cd "$tmp" || exit 1
"$probflow" train tiny.yaml --run r --quiet --set train.steps=4 || fail "training"
bars() { # FILE: the bars of progress and summary against the rows
    /usr/bin/python3 - "$1" <<'P' || { cat out err; fail "bars of $1"; }
import h5py, re, sys
f = h5py.File(sys.argv[1], "r")
image, v = f["image"][:], f["nll"][:]
m = [v[image == i].mean() for i in sorted(set(image))]
n = len(m); mean = sum(m) / n
want = (sum((x - mean) ** 2 for x in m) / (n - 1) / n) ** .5 if n > 1 else None
for name, key, digits in (("err", "images ", 4), ("out", "nll_ode", 5)):
    line = [l for l in open(name) if key in l][-1]
    got = re.search(r"([0-9.]+) \+- (\S+)", line)
    assert abs(float(got[1]) - mean) < .6 * 10 ** -digits, (line, mean)
    assert got[2] == "?" if n == 1 else abs(float(got[2]) - want) < .6 * 10 ** -digits, (line, want)
P
}
for o in "--limit 1" "--limit 2" "--limit 17 --set likelihood.draws=3" "--limit 1 --set likelihood.draws=3"; do
    rm -f o.h5
    # shellcheck disable=SC2086
    "$probflow" bpd r --out o.h5 $o >out 2>err || { cat err; fail "bpd $o"; }
    bars o.h5
    ! grep -i nan out err || fail "nan with $o"
done

# draws of an image together: -log of their mean likelihood, on the page and in the file
rm -f o.h5
"$probflow" bpd r --out o.h5 --limit 9 --set likelihood.draws=3 --quiet >out || fail "three draws"
/usr/bin/python3 - <<'P' || { cat out; fail "three draws together"; }
import h5py, numpy as np, re
f = h5py.File("o.h5", "r")
image, v = f["image"][:], f["nll"][:]
with h5py.File("tiny.h5", "r") as d: nats = d["test/images"][0].size * np.log(2)
w = np.array([-v[image == i] * nats for i in sorted(set(image))])
want = -(np.logaddexp.reduce(w, axis=1) - np.log(3)) / nats
line = [l for l in open("out") if "the bound of all 3 together" in l][0]
got = re.search(r"is ([0-9.]+) \+- ([0-9.]+)", line)
assert abs(float(got[1]) - want.mean()) < 6e-6, (line, want.mean())
assert abs(float(got[2]) - want.std(ddof=1) / 3) < 6e-6, (line, want.std(ddof=1) / 3)
assert abs(f.attrs["nll_draws"] - want.mean()) < 1e-12 and want.mean() < v.mean()
P
rm -f o.h5
"$probflow" bpd r --out o.h5 --limit 2 --quiet >out || fail "a draw"
! grep 'together' out || fail "one draw is no several"

# continued, and a part with what others did: all rows of the file
"$probflow" bpd r --limit 20 --part 1/2 --out p.h5 --quiet >/dev/null || fail "part 1"
"$probflow" bpd r --limit 20 --part 2/2 --from p.h5 --out q.h5 >out 2>err || fail "part 2"
bars q.h5
grep -q 'bpd 12/12 images' err || { cat err; fail "part 2 has 12 images"; }

# 20 images in groups of 8: the last has 4
solver() { # CHECK_GROUPS WORDS FIRST-IMAGES-OF-REPEATED-GROUPS
    rm -f o.h5
    "$probflow" bpd r --limit 20 --out o.h5 --quiet --set likelihood.check_groups="$1" >out || fail "check_groups=$1"
    [ -z "$2" ] || grep -q "solver .* in $2 groups" out || { cat out; fail "check_groups=$1 is not said to be $2"; }
    /usr/bin/python3 -c "
import h5py, numpy as np
f = h5py.File('o.h5', 'r')
assert sorted(set(f['image'][:][np.isfinite(f['solver_error'][:])] // 8 * 8)) == [$3]" || fail "check_groups=$1 repeats others than $3"
}
solver 0 '' ''
solver 1 '1 of 3' 16
solver 2 '2 of 3' 8,16
solver 3 '3 of 3' 0,8,16
solver 1000000 '3 of 3' 0,8,16

refuses 'images (0 to 7|8 to 15|16 to 19) stopped' "$probflow" bpd r --limit 20 --quiet --out new.h5 --set likelihood.max_steps=3
[ ! -e new.h5 ] || fail "a result without a result"
refuses 'another configuration.*--out' "$probflow" bpd r --limit 19 --quiet --out o.h5
refuses 'samples 0 to 31 stopped' "$probflow" sample r -n 32 --quiet --out new.h5 --set sample.max_steps=2
sed 's/^model:.*/model: {name: gaussian}/' tiny.yaml >g.yaml
"$probflow" train g.yaml --run g --quiet || fail "a Gaussian"
refuses 'images 0 to 7 .*model.noise_variance' "$probflow" bpd g --limit 8 --quiet --out new.h5 --set likelihood.max_steps=3
mv tiny.h5 moved.h5
refuses "cannot open $tmp/tiny.h5.*--data" "$probflow" bpd r --limit 4 --quiet --out new.h5
refuses "cannot open $tmp/tiny.h5.*--data" "$probflow" variance r --batches 2 --quiet
"$probflow" bpd r --data moved.h5 --limit 4 --quiet --out new.h5 >out || fail "moved data"
