# Under any limit on address space a command ends: done, or with a status and a sentence where the program
# itself runs; never does it wait for memory that will not come.
. "$(dirname "$0")/common.sh"
for threads in 1 2; do
    for v in 180000 240000 300000 350000 400000 600000; do
        rc=0
        (ulimit -c 0; ulimit -v $v; OMP_NUM_THREADS=$threads exec timeout -k 1 10 "$probflow" info "$tmp/tiny.h5") >"$tmp/out" 2>&1 || rc=$?
        [ $rc != 124 ] && [ $rc != 137 ] || fail "waits for ever with $threads threads and $v KiB"
        [ $rc = 0 ] || grep -qE 'probflow: error: no memory|shared librar' "$tmp/out" || { cat "$tmp/out"; fail "status $rc without a word, $v KiB"; }
    done
    [ $rc = 0 ] || fail "600 MB are not enough for $threads threads"
done
