# kill -9 of the whole job in the middle of training; the same command then ends with the bits of
# a run that nobody touched.
. "$(dirname "$0")/common.sh"
steps=150
set_steps=(--set train.steps=$steps --set train.checkpoint_every=5)
last=checkpoint-$(printf %08d $steps).h5

# survives NAME: the training NAME.yaml
survives() {
    local config=$tmp/$1.yaml whole=$tmp/whole-$1 killed=$tmp/killed-$1 job
    ranks 2 "$probflow" train "$config" --run "$whole" --quiet "${set_steps[@]}" || fail "uninterrupted run"
    setsid bash -c ". '$root/scripts/env.sh'; ranks 2 '$probflow' train '$config' --run '$killed' --quiet ${set_steps[*]}" >/dev/null 2>&1 &
    job=$!
    for _ in $(seq 600); do
        compgen -G "$killed/checkpoint-*.h5" >/dev/null && break
        sleep 0.05
    done
    kill -9 -- -$job
    wait $job 2>/dev/null
    pkill -9 -f "$killed" 2>/dev/null
    [ -e "$killed/$last" ] && fail "the run ended before it was killed"
    ranks 1 "$probflow" train "$config" --run "$killed" --quiet "${set_steps[@]}" || fail "continued run"
    same "$whole/$last" "$killed/$last"
}
survives tiny
by_losses >"$tmp/times.yaml" # whose losses are part of a checkpoint
survives times
