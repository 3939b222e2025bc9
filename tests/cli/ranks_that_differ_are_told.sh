# Ranks with another command, option, configuration, checkpoint, data or build than rank 0: one sentence that
# says what differs, status not 0, no hang, nothing trained.  So too where a rank alone fails before they met.
. "$(dirname "$0")/common.sh"
mkdir "$tmp/a" "$tmp/b"
cd "$tmp" || exit 1
# two COMMAND-OF-RANK-0 COMMAND-OF-RANK-1
two() { timeout -k 5 60 mpirun -n 1 bash -c "exec $1" : -n 1 bash -c "exec $2" >"$tmp/out" 2>&1; rc=$?; }
# differs PATTERN A B
differs() {
    two "$2" "$3"
    [ $rc != 124 ] && [ $rc != 137 ] || fail "hung: $2 : $3"
    [ $rc != 0 ] || { cat "$tmp/out"; fail "accepted: $2 : $3"; }
    grep -qE -- "probflow: error: $1" "$tmp/out" || { cat "$tmp/out"; fail "no sentence like '$1': $2 : $3"; }
    [ "$(grep -c 'probflow: error' "$tmp/out")" = 1 ] || { cat "$tmp/out"; fail "more than one sentence: $2 : $3"; }
}
p=$probflow
train="$p train tiny.yaml --quiet --run r --set train.steps=2"
two "$train" "$train --trail" && [ $rc = 0 ] || { cat "$tmp/out"; fail "equal ranks"; }
bpd="$p bpd r --quiet --limit 4 --out o.h5"
two "$bpd" "${bpd/--limit 4/--limit=4}" && [ $rc = 0 ] || { cat "$tmp/out"; fail "equal ranks in bpd"; }
mv r trained; rm o.h5; bpd=${bpd/bpd r/bpd trained}

differs 'rank 1 was given "--set train.batch=32" and rank 0 nothing' "$train" "$train --set train.batch=32"
differs 'rank 1 was given nothing.* and rank 0 "--set seed=4"' "$train --set seed=4" "$train"
differs 'rank 1 was given "--limit 3" and rank 0 "--limit 4"' "$bpd" "${bpd/--limit 4/--limit 3}"
differs 'rank 1 was given "bpd" and rank 0 "train"' "$train" "$bpd"
differs 'rank 1 was given "data" and rank 0 "info"' "$p info tiny.h5" "$p data x y.h5"
# one of them is wrong usage, or only asks for help
differs 'rank 1 was given "--bogus" and rank 0 ' "$train" "$train --bogus"
differs 'rank 1 was given .* and rank 0 "--bogus"' "$train --bogus" "$train"
differs 'rank 1 was given "trian" and rank 0 "train"' "$train" "$p trian"
differs 'rank 1 was given "--version" and rank 0 "train"' "$train" "$p --version"
differs 'rank 1 was given .* and rank 0 "--help"' "$p --help" "$train"
differs 'rank 1 was given nothing' "$train" "$p"
two "$p --version" "$p --version"
[ $rc = 0 ] && [ "$(grep -c '^probflow ' out)" = 1 ] || { cat out; fail "two ranks say their version"; }
two "$p train tiny.yaml --bogus" "$p train tiny.yaml --bogus"
[ $rc = 2 ] && grep -q '^usage: probflow train' out || { cat out; fail "wrong usage on both ranks: status $rc"; }

# the same words, other files: as on two hosts
here="bash -c 'cd a && exec $p" there="bash -c 'cd b && exec $p"
sed 's/batch: 16/batch: 32/' tiny.yaml >b/t.yaml; cp tiny.yaml a/t.yaml
differs 'rank 1 has the configuration "train.batch: 32" and rank 0 "train.batch: 16"' \
    "$here train t.yaml --quiet --run ../r'" "$there train t.yaml --quiet --run ../r'"
cp trained/checkpoint-00000002.h5 a/c.h5
"$p" train tiny.yaml --quiet --run other --set train.steps=2 --set seed=5 && cp other/checkpoint-00000002.h5 b/c.h5
differs 'rank 1 reads "c.h5 with parameters' "$here bpd c.h5 --limit 4 --quiet --out ../o.h5'" "$there bpd c.h5 --limit 4 --quiet --out ../o.h5'"
differs 'rank 1 reads "c.h5 with parameters' "$here sample c.h5 -n 2 --quiet --out ../o.h5'" "$there sample c.h5 -n 2 --quiet --out ../o.h5'"
cp trained/checkpoint-00000002.h5 b/c.h5; cp tiny.h5 a/d.h5
cp "$root"/tests/data/*.gz b/ && gunzip b/*.gz
for f in b/*images*; do printf '\1' | dd of="$f" bs=1 seek=500 conv=notrunc status=none; done
"$p" data b/*ubyte b/d.h5 >/dev/null 2>&1 || "$p" data $(find b -type f ! -name '*.h5' ! -name '*.yaml') b/d.h5 >/dev/null || fail "data of another pixel"
differs '.*rank 1 reads other data' "$here bpd c.h5 --data d.h5 --limit 4 --quiet --out ../o.h5'" "$there bpd c.h5 --data d.h5 --limit 4 --quiet --out ../o.h5'"

# another build
version=$("$p" --version | cut -d' ' -f2)
/usr/bin/python3 - "$p" "$tmp/newer" "$version" <<'P'
import sys
old, new, v = sys.argv[1], sys.argv[2], sys.argv[3].encode()
b = open(old, "rb").read()
assert v + b"\0" in b
open(new, "wb").write(b.replace(v + b"\0", v[:-1] + b"9\0"))
P
chmod +x newer
differs "rank 1 is \"probflow ${version%?}9 " "$train" "env LD_LIBRARY_PATH=$build ./newer ${train#* }"

[ ! -e r ] && [ ! -e o.h5 ] || fail "a refused job left something"
