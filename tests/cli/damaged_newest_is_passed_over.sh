# The newest checkpoint is cut off or one bit of it is wrong: it is reported by name, training goes on
# from the one before, and ends in the bits of the run that had no damage.
. "$(dirname "$0")/fault.sh"
"$probflow" train "$small" --run "$tmp/whole" --quiet --set train.keep=2 || fail "training"
newest=checkpoint-00000003.h5
bytes=$(stat -c %s "$tmp/whole/$newest")
damage() { # KIND FILE
    case $1 in
    cut:*) truncate -s "${1#cut:}" "$2" ;;
    flip:*) local b; b=$(od -An -tu1 -j "${1#flip:}" -N1 "$2")
        printf "\\x$(printf %02x $((b ^ 4)))" | dd of="$2" bs=1 seek="${1#flip:}" conv=notrunc status=none ;;
    esac
}
for kind in cut:0 cut:7 cut:5000 cut:$((bytes / 2)) cut:$((bytes - 1)) flip:9 flip:700 flip:$((bytes / 3)) flip:$((bytes * 2 / 3)) flip:$((bytes - 3)); do
    rm -rf "$tmp/run" && cp -r "$tmp/whole" "$tmp/run"
    damage $kind "$tmp/run/$newest"
    "$probflow" train "$small" --run "$tmp/run" --set train.keep=2 >"$tmp/out" 2>&1 || { cat "$tmp/out"; fail "$kind stopped the run"; }
    grep -q "damaged checkpoint: .*$newest" "$tmp/out" || { cat "$tmp/out"; fail "$kind was not reported by name"; }
    grep -q "continuing from .*checkpoint-00000002.h5" "$tmp/out" || { cat "$tmp/out"; fail "$kind: not the one before"; }
    same "$tmp/whole/$newest" "$tmp/run/$newest"
    steps_once "$tmp/run/metrics.h5" 3
done
# More damaged ones than are kept do not push out the good one that is written next.
"$probflow" train "$small" --run "$tmp/run" --quiet --set train.steps=6 --set train.keep=9 || fail "training"
for step in 4 5 6; do truncate -s 3000 "$tmp/run/checkpoint-0000000$step.h5"; done
"$probflow" train "$small" --run "$tmp/run" --quiet --set train.steps=4 --set train.keep=2 || fail "not continued"
"$probflow" info "$tmp/run/checkpoint-00000004.h5" >/dev/null || fail "the good checkpoint is gone"
