# A disk that fills up, a file size limit, a folder that may not be written: one sentence, exit 1,
# what was there is intact, and with room the same command ends in the undisturbed bits.
. "$(dirname "$0")/fault.sh"
run() { timeout -k 2 60 "$@" >"$tmp/out" 2>&1; rc=$?; }
train=("$probflow" train "$small" --quiet --run)
"${train[@]}" "$tmp/whole" --set train.steps=8 || fail "training"
bytes=$(stat -c %s "$tmp/whole/checkpoint-00000008.h5")

# limited: as a soft limit, so that the program itself may meet it
ulimit -S -f $((bytes / 2048)) # kilobytes: half a checkpoint
run "${train[@]}" "$tmp/run"
one_sentence $rc "a file size limit"
grep -q 'File too large' "$tmp/out" || { cat "$tmp/out"; fail "the limit is not named"; }
ulimit -S -f unlimited
run "${train[@]}" "$tmp/run" --set train.steps=8
[ $rc = 0 ] || { cat "$tmp/out"; fail "not continued without the limit"; }
same "$tmp/whole/checkpoint-00000008.h5" "$tmp/run/checkpoint-00000008.h5"

disk=$tmp/disk
mkdir "$disk"
if ! mount -t tmpfs -o size=$((bytes * 9 / 2)) tmpfs "$disk" 2>/dev/null; then
    echo "no right to mount: the full disk is left out"
    exit 0
fi
trap 'umount "$disk"; rm -rf "$tmp"' EXIT
run "${train[@]}" "$disk/run" --set train.steps=8
one_sentence $rc "a full disk"
grep -q 'No space left' "$tmp/out" || { cat "$tmp/out"; fail "the full disk is not named"; }
run mpirun -n 2 "${train[@]}" "$disk/run" --set train.steps=8
one_sentence $rc "a full disk, on 2 ranks"
last=$(ls "$disk/run" | grep '^checkpoint-.*h5$' | tail -1)
[ -n "$last" ] || fail "no checkpoint before the disk was full"
for c in "$disk"/run/checkpoint-*.h5; do "$probflow" info "$c" >"$tmp/info" 2>&1 || { cat "$tmp/info"; fail "$c was damaged"; }; done
run "$probflow" bpd "$disk/run" --out "$disk/b.h5"
one_sentence $rc "a result file on a full disk"
mount -o remount,size=$((bytes * 30)) "$disk"
run "${train[@]}" "$disk/run" --set train.steps=8
[ $rc = 0 ] || { cat "$tmp/out"; fail "not continued with room"; }
same "$tmp/whole/checkpoint-00000008.h5" "$disk/run/checkpoint-00000008.h5"
steps_once "$disk/run/metrics.h5" 8

mount -o remount,ro "$disk"
run "${train[@]}" "$disk/run" --set train.steps=9
one_sentence $rc "a read-only file system"
run "${train[@]}" "$disk/new"
one_sentence $rc "a new run on a read-only file system"
run "$probflow" bpd "$disk/run" --limit 2
one_sentence $rc "a result on a read-only file system"
run "$probflow" bpd "$disk/run" --limit 2 --out "$tmp/b.h5"
[ $rc = 0 ] || { cat "$tmp/out"; fail "a run that may not be written cannot be scored"; }
