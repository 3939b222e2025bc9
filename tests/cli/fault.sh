# Sourced by the tests of failing disks, exhausted memory and killed ranks: a small run of few
# seconds, and commands under libfault.so (see fault.c).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
shim=$build/tests/libfault.so
mkdir "$tmp/w" # what is written under it gets the faults
small=$tmp/small.yaml
sed -e 's/^shards:.*/shards: 4/' \
    -e 's/^model:.*/model: {name: ddpmpp, width: 4, multipliers: [1], blocks: 1, attention: [], dropout: 0.1}/' \
    -e 's/^train:.*/train: {steps: 3, batch: 8, lr: 1.0e-3, warmup: 4, ema: 0.9, checkpoint_every: 1, keep: 9, eval_every: 2, eval_images: 8, log_every: 1}/' \
    -e 's/^likelihood:.*/likelihood: {estimand: bound, bound_samples: 1, group: 1, check_groups: 0}/' "$tmp/tiny.yaml" >"$small"

# faulty RANKS VARIABLE=VALUE... -- COMMAND...: output in $tmp/out, its status is the command's
faulty() {
    local n=$1 vars=(); shift
    while [ "$1" != -- ]; do vars+=("$1"); shift; done
    shift
    # A command that can hang is ended: 124 or 137 is no answer.
    if [ "$n" = 1 ]; then timeout -k 2 40 env LD_PRELOAD="$shim" "${vars[@]}" "$@" >"$tmp/out" 2>&1
    else timeout -k 2 40 mpirun -n "$n" env LD_PRELOAD="$shim" "${vars[@]}" "$@" >"$tmp/out" 2>&1; fi
}

# list VARIABLE=VALUE... -- COMMAND...: "NUMBER CALL PATH" of each counted call in $tmp/calls
list() {
    rm -f "$tmp/calls"
    faulty 1 PF_FAULT_LOG="$tmp/calls" "$@" || { cat "$tmp/out"; fail "undisturbed: $*"; }
    [ -s "$tmp/calls" ] || fail "nothing was counted: $*"
}

# one_sentence STATUS WHAT: the last faulty command ended with exit 1 and one sentence
one_sentence() {
    [ "$1" = 1 ] && [ "$(grep -c 'probflow: error: ' "$tmp/out")" = 1 ] && return
    cat "$tmp/out"
    fail "exit $1 instead of one sentence and exit 1: $2"
}

# steps_once FILE LAST: h5dump reads the metrics; their steps are 1..LAST, each once
steps_once() {
    h5dump -y -w 1 -d step "$1" >"$tmp/dump" 2>&1 || { cat "$tmp/dump"; fail "h5dump cannot read $1"; }
    sed -n '/DATA {/,/}/p' "$tmp/dump" | grep -oE '[0-9]+' >"$tmp/steps"
    cmp -s "$tmp/steps" <(seq "$2") || { tr '\n' ' ' <"$tmp/steps"; fail "$1 does not hold the steps 1 to $2 once each"; }
}
