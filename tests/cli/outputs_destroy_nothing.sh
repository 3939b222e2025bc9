# Whatever is named as an output: a file of others, of another kind, an input of the same command, a
# FIFO, a device, a link, a lock or a temporary of others.  Each stays as it was, with one sentence.
. "$(dirname "$0")/fault.sh"
cd "$tmp" || exit 1
p=$probflow
"$p" train "$small" --run run --quiet || fail "training"
ckpt=run/checkpoint-00000003.h5
sample=("$p" sample run -n 1 --set sample.name=reverse_diffusion --set sample.steps=2 --quiet)
bpd=("$p" bpd run --limit 2 --quiet)
/usr/bin/python3 -c 'import h5py, struct, zlib, numpy as np
def chunk(kind, b): return struct.pack(">I", len(b)) + kind + b + struct.pack(">I", zlib.crc32(kind + b))
open("other.png", "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) +
    chunk(b"tEXt", b"Software\0other") + chunk(b"IDAT", zlib.compress(b"\0\7")) + chunk(b"IEND", b""))
with h5py.File("p.h5", "w") as f: f["x"], f["t"], f["probe"] = np.zeros((2, 28, 28, 1)), np.full(2, .5), np.ones((2, 28, 28, 1))
with h5py.File("foreign.h5", "w", libver="latest") as f: f["x"] = np.zeros(3)
with h5py.File("old.h5", "w") as f: f["x"] = np.zeros(3)' || fail "h5py"
head -c 3000 "$root/README.md" >notes.txt
echo 'what,unit' >table.csv
cp "$root/tests/data/"*.gz .
gz=$(ls ./*.gz | head -1)

# command OUT, one for each kind of output
data() { "$p" data notes.txt "$1" --quiet; }
import() { "$p" import "$root/tests/golden/ddpmpp_vp.h5" "$1" --quiet; }
sample() { "${sample[@]}" --out "$1"; }
png() { rm -f new.h5; "${sample[@]}" --out new.h5 --png "$1"; }
score() { "$p" score run --in p.h5 --out "$1" --quiet; }
logp() { "$p" logp run --in p.h5 --out "$1" --quiet --set likelihood.rtol=0.1 --set likelihood.atol=0.1 --set likelihood.div_tol=0.1; }
variance() { "$p" variance run --batches 2 --out "$1" --quiet; }
bpd() { "${bpd[@]}" --out "$1"; }
bench() { "$p" bench small.yaml --seconds 1 --csv "$1"; }
all=(data import sample png score logp variance bpd bench)

state() { find . -printf '%p %y %l %m\n' | grep -vE '^\./(out|w|state[12]|new.h5) ' | sort; find . -type f ! -name out ! -name 'state?' ! -name new.h5 -print0 | sort -z | xargs -0 sha256sum; }
# spares PATTERN COMMAND...: one sentence like PATTERN, and everything is as before
spares() {
    local pattern=$1 rc; shift
    state >state1
    timeout -k 2 60 "$@" >out 2>&1 </dev/null
    rc=$?
    state >state2
    [ $rc = 1 ] || [ $rc = 2 ] || { cat out; fail "status $rc: $*"; }
    cmp -s state1 state2 || { diff state1 state2 | head -5; fail "something has changed: ${*: -2}"; }
    grep -qE "probflow: error: .*($pattern)" out || { cat out; fail "no sentence like '$pattern': $*"; }
    [ "$(grep -c 'probflow: error:' out)" = 1 ] || { cat out; fail "more than one sentence: $*"; }
}
# spared COMMAND OUT [PATTERN]: one of the functions above
spared() { local c=$1 o=$2; spares "${3:-$(basename "$o")}" bash -c "$(declare -p p sample bpd root); $(declare -f "$c"); $c \"\$1\"" _ "$o"; }

mkfifo fifo
ln -s loop2 loop1; ln -s loop1 loop2
ln -s notes.txt to-notes
: >empty.h5
"$p" data "$gz" mine.h5 --quiet >/dev/null || fail "data"
head -c 5000 mine.h5 >cut.h5
nodes=(notes.txt to-notes fifo w loop1 nowhere/out.h5 table.csv other.png foreign.h5 old.h5 empty.h5 cut.h5 small.yaml "$ckpt" mine.h5 run/metrics.h5 run/config.yaml /dev/null)
if [ "$(id -u)" = 0 ] && mknod null c 1 3 2>/dev/null; then
    mknod block b 7 250 2>/dev/null && nodes+=(block)
    nodes+=(null)
fi
# A third of all pairs, each command and each file among them; tests/table has a row for every kind.
turn=0
for c in "${all[@]}"; do
    turn=$((turn + 1)) at=$turn
    for o in "${nodes[@]}"; do
        at=$((at + 1))
        [ $((at % 3)) = 0 ] || continue
        case $c:$o in data:mine.h5|import:"$ckpt") continue ;; esac
        spared $c $o
    done
done
[ -c /dev/null ] || fail "/dev/null is gone"

# What one command made is replaced by the same command and by no other, whole or not at all, and
# through a link too, which stays a link.
mkdir made
for c in "${all[@]}"; do
    [ $c = import ] && continue # its file would serve as the checkpoint of the run
    $c made/$c >out 2>&1 && $c made/$c >out 2>&1 || { cat out; fail "$c does not replace what it made"; }
    ln -s made/there-$c link-$c
    for i in 1 2; do
        $c link-$c >out 2>&1 || { cat out; fail "$c through a link"; }
        [ -L link-$c ] && [ -s made/there-$c ] || fail "$c replaced a link"
    done
    [ -z "$(ls made | grep -vE '^(there-)?[a-z]+$')" ] || { ls made; fail "$c left something"; }
done
for c in "${all[@]}"; do
    turn=$((turn + 1)) at=$turn
    for o in made/*; do
        at=$((at + 1))
        [ $((at % 3)) = 0 ] || continue
        case $o in made/$c|made/there-*) continue ;; esac
        spared $c "$o"
    done
done

# An output that is an input, by its name, a link or a second name.
ln p.h5 second.h5; ln -s p.h5 to-p
ln mine.h5 mine2.h5
for o in p.h5 second.h5 to-p; do
    for c in score logp; do spared $c $o input; done
done
spares input "$p" data notes.txt notes.txt --quiet
spares input "$p" data to-notes ./notes.txt --quiet
mkdir -p folder/deep
spares 'folder.*input' "$p" data folder folder/deep/out.h5 --quiet
spares input "$p" import "$root/tests/golden/ddpmpp_vp.h5" "$root/tests/golden/ddpmpp_vp.h5" --quiet
spares input "$p" sample $ckpt -n 1 --out "$PWD/$ckpt" --quiet
spares input "$p" bpd run --data mine.h5 --limit 2 --out mine2.h5 --quiet
spares input "${bpd[@]}" --from made/bpd --out made/bpd
spares input "$p" variance run --data mine.h5 --batches 2 --out mine.h5 --quiet
spares input "$p" bench small.yaml --csv ./small.yaml
spares input "${sample[@]}" --out made/both --png ./made/../made/both

# A run directory with files of others under a run's names.
foreign() { # NAME TEXT...: in a copy of the run
    rm -rf d; cp -r run d; rm -f "d/$1"; printf '%s' "${*:2}" >"d/$1"
}
train=("$p" train "$small" --run d --quiet --set train.steps=4)
for name in lock config.yaml metrics.h5 checkpoint-00000004.h5 checkpoint-00000001.h5; do
    foreign $name precious
    spares "$name|YAML|yaml" "${train[@]}"
    foreign $name; rm d/$name; mkfifo d/$name
    spares "d/$name" "${train[@]}"
done
foreign checkpoint-00000004.h5; cp mine.h5 d/checkpoint-00000004.h5
spares 'checkpoint-00000004.h5.*dataset' "${train[@]}"
foreign metrics.h5; cp mine.h5 d/metrics.h5
spares 'metrics.h5.*dataset' "${train[@]}"
rm -rf d; mkdir d; ln -s ../notes.txt d/lock
spares 'd/lock.*notes' "${train[@]}"
spares 'notes.txt' "$p" train "$small" --run notes.txt --quiet
# A configuration in somebody's own hand stays; damaged metrics go to a name that is free.
rm -rf d; cp -r run d; { echo '# mine'; cat "$small"; } >d/config.yaml; cp d/config.yaml mine.yaml
truncate -s 700 d/metrics.h5; echo precious >d/metrics.h5.damaged
for name in checkpoint-00000004.h5 checkpoint-00000004.h5.probflow-1.tmp metrics.h5.probflow-01234567.tmp checkpoint-00000004.h5.tmp; do
    [ $name = checkpoint-00000004.h5 ] || echo precious >d/$name
done
"${train[@]}" >out 2>&1 && "$p" train d/config.yaml --run d --quiet --set train.steps=5 >out 2>&1 || { cat out; fail "training with files of others beside"; }
cmp -s d/config.yaml mine.yaml || fail "a configuration with remarks was replaced"
for name in metrics.h5.damaged checkpoint-00000004.h5.probflow-1.tmp metrics.h5.probflow-01234567.tmp checkpoint-00000004.h5.tmp; do
    [ "$(cat d/$name)" = precious ] || fail "$name of others was changed"
done
[ "$(stat -c %s d/metrics.h5.damaged-2)" = 700 ] || fail "the damaged metrics are gone"

# Foreign files under the names of locks and temporaries.
for s in tmp lock probflow-01234567.tmp; do
    for c in data sample bpd; do
        [ $c:$s = bpd:lock ] && continue
        rm -f o.h5; echo precious >o.h5.$s
        $c o.h5 >out 2>&1 || { cat out; fail "$c beside o.h5.$s"; }
        [ "$(cat o.h5.$s)" = precious ] || fail "$c: o.h5.$s was changed"
    done
    rm -f o.h5.$s
done
echo precious >o.h5.lock; rm -f o.h5
spared bpd o.h5 o.h5.lock
rm o.h5.lock; ln -s notes.txt o.h5.lock
spared bpd o.h5 o.h5.lock
rm o.h5.lock

# A standard output that is full or closed.
for a in --help --version info 'info mine.h5' 'info mine.h5 mine.h5' 'data --help' 'bpd run --limit 2 --out made/bpd --quiet' 'variance run --batches 2 --quiet'; do
    "$p" $a >/dev/full 2>out && fail "$a: a full output"
    grep -q 'error: cannot write to the standard output: No space left on device' out || { cat out; fail "$a: nothing is said of a full output"; }
    "$p" $a >&- 2>out && fail "$a: a closed output"
    grep -q 'error: cannot write to the standard output' out || { cat out; fail "$a: nothing is said of a closed output"; }
done
sha256sum mine.h5 made/sample >sums
(exec <&- >&- 2>&-; "$p" sample run -n 1 --set sample.name=reverse_diffusion --set sample.steps=2 --out made/sample --quiet)
"$p" info made/sample | grep -q '/images' || fail "a file opened by us took a standard stream"

# A run that goes on removes checkpoints while they are scored.
"$p" train "$small" --run busy --quiet --set train.steps=1000000 --set train.keep=1 >/dev/null 2>&1 &
job=$!
for _ in $(seq 400); do compgen -G 'busy/checkpoint-*.h5' >/dev/null && break; sleep 0.02; done
for i in 1 2 3; do
    for n in 1 2; do
        ranks $n "$p" bpd busy --limit 2 --out busy-$i-$n.h5 --quiet >out 2>&1 || { kill -9 $job; cat out; fail "a run cannot be scored while it goes on, $n ranks"; }
    done
done
kill -9 $job; wait $job 2>/dev/null
exit 0
