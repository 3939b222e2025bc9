# Every call that writes fails once, with one error or another, alone or with all later ones: one
# sentence, exit 1, older files intact, and the same command then ends in the undisturbed bits.
. "$(dirname "$0")/fault.sh"
errors=(ENOSPC EIO EDQUOT EROFS)

# sweep RANKS EVERY PREPARE CHECK COMMAND...: PREPARE before each run, CHECK after its repetition
sweep() {
    local n=$1 every=$2 prepare=$3 check=$4 k=0 at call path what; shift 4
    $prepare
    list PF_FAULT_PATH="$tmp/w/*" -- "$@"
    mv "$tmp/calls" "$tmp/all"
    while read -r at call path; do
        k=$((k + 1))
        [ $((k % every)) = 0 ] || continue
        what=${errors[$((k / every % 4))]}
        [ $((k / every % 3)) = 0 ] && at=$at+
        $prepare
        rm -f "$tmp/fired"
        faulty "$n" PF_FAULT_PATH="$tmp/w/*" PF_FAULT_AT="$at" PF_FAULT_DO=$what PF_FAULT_LOG="$tmp/fired" -- "$@"
        rc=$?
        [ -s "$tmp/fired" ] || fail "call $at was never made: $*"
        if [ "$call$at" = "lock${at%+}" ]; then # where locks do not work, work goes on
            [ $rc = 0 ] || { cat "$tmp/out"; fail "without a lock there is no $*"; }
        else one_sentence $rc "$call $path fails with $what at $at: $*"; fi
        intact
        faulty "$n" -- "$@" || { cat "$tmp/out"; fail "not repeated after $call $path failed with $what at $at"; }
        $check
    done <"$tmp/all"
    [ $k -gt 4 ] || fail "only $k calls of $*"
}

# what is there before a faulty run is there unchanged after it
intact() { (cd "$tmp/w" && sha256sum --quiet -c "$tmp/sums") >"$tmp/sha" 2>&1 || { cat "$tmp/sha"; fail "an older file was changed"; }; }

"$probflow" train "$small" --run "$tmp/whole" --quiet || fail "training"
"$probflow" train "$small" --run "$tmp/part" --quiet --set train.steps=2 || fail "training"
half_run() {
    rm -rf "$tmp/w/run" && cp -r "$tmp/part" "$tmp/w/run" && (cd "$tmp/w" && sha256sum run/checkpoint-* >"$tmp/sums")
}
whole_run() {
    same "$tmp/whole/checkpoint-00000003.h5" "$tmp/w/run/checkpoint-00000003.h5"
    steps_once "$tmp/w/run/metrics.h5" 3
    [ -z "$(cd "$tmp/w/run" && ls | grep -vE '^(config.yaml|metrics.h5|checkpoint-0000000[123].h5)$')" ] || { ls "$tmp/w/run"; fail "something is left over"; }
}
train=("$probflow" train "$small" --run "$tmp/w/run" --quiet)
sweep 1 1 half_run whole_run "${train[@]}"
sweep 2 11 half_run whole_run "${train[@]}"
half_run
faulty 1 PF_FAULT_PATH="$tmp/w/*" PF_FAULT_AT=1+ PF_FAULT_DO=short -- "${train[@]}" || { cat "$tmp/out"; fail "short writes"; }
whole_run
half_run
faulty 1 PF_FAULT_PATH="$tmp/w/run/lock.*" PF_FAULT_AT=2 PF_FAULT_DO=ENOLCK -- "$probflow" train "$small" --run "$tmp/w/run" ||
    { cat "$tmp/out"; fail "a file system without locks"; }
grep -q 'cannot be locked' "$tmp/out" || { cat "$tmp/out"; fail "nothing was said about the missing lock"; }

bpd=("$probflow" bpd "$tmp/whole" --limit 2 --out "$tmp/w/b.h5" --quiet)
no_result() { rm -f "$tmp/w/b.h5"; (cd "$tmp/w" && sha256sum run/checkpoint-* >"$tmp/sums"); }
no_result
"${bpd[@]}" >/dev/null && cp "$tmp/w/b.h5" "$tmp/whole.h5" || fail "bpd"
whole_result() { same "$tmp/whole.h5" "$tmp/w/b.h5"; }
sweep 1 2 no_result whole_result "${bpd[@]}"
sweep 2 19 no_result whole_result "${bpd[@]}"

# Files written at once: the one that is there stays until the new one is whole.
old() { (cd "$tmp/w" && sha256sum ./*.* >"$tmp/sums"); }
"$probflow" data "$root"/tests/data/*.gz "$tmp/w/d.h5" >/dev/null || fail "data"
sweep 1 1 old intact "$probflow" data "$root"/tests/data/*.gz "$tmp/w/d.h5"
sample=("$probflow" sample "$tmp/whole" -n 2 --set sample.name=reverse_diffusion --set sample.steps=2 --out "$tmp/w/s.h5" --png "$tmp/w/s.png" --quiet)
"${sample[@]}" >/dev/null || fail "sample"
sweep 1 1 old intact "${sample[@]}"
import=("$probflow" import "$root/tests/golden/ddpmpp_vp.h5" "$tmp/w/i.h5" --quiet)
"${import[@]}" || fail "import"
sweep 1 1 old intact "${import[@]}"
