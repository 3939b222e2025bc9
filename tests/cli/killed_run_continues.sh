# kill -9 of the whole job in the middle of training; the same command then ends with the bits of
# a run that nobody touched.
. "$(dirname "$0")/common.sh"
steps=150
set_steps=(--set train.steps=$steps --set train.checkpoint_every=5)
last=checkpoint-$(printf %08d $steps).h5

# survives NAME: the training NAME.yaml
survives() {
    local config=$tmp/$1.yaml whole=$tmp/whole-$1 killed=$tmp/killed-$1
    ranks 2 "$probflow" train "$config" --run "$whole" --quiet "${set_steps[@]}" || fail "uninterrupted run"
    kill_in_training 2 "$killed" "$config" "${set_steps[@]}"
    [ -e "$killed/$last" ] && fail "the run ended before it was killed"
    ranks 1 "$probflow" train "$config" --run "$killed" --quiet "${set_steps[@]}" || fail "continued run"
    same "$whole/$last" "$killed/$last"
}
survives tiny
by_losses >"$tmp/times.yaml" # whose losses are part of a checkpoint
survives times
