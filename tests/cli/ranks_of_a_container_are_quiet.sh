# Where ranks may not read each other's memory, as in a container, two ranks print no line about it and
# write the bits of one rank.
. "$(dirname "$0")/common.sh"
unset OMPI_MCA_btl
wide=(--set train.steps=2 --set model.width=32) # its messages are larger than those that go through shared memory anyhow
"$probflow" train "$tmp/tiny.yaml" --run "$tmp/one" --quiet "${wide[@]}" || fail "training on one rank"
timeout -k 5 60 mpirun -n 2 env LD_PRELOAD="$build/tests/libfault.so" PF_FAULT_PTRACE=1 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/two" \
    --quiet "${wide[@]}" >"$tmp/log" 2>&1 || { tail -n 5 "$tmp/log"; fail "training on two ranks"; }
[ ! -s "$tmp/log" ] || { head -n 5 "$tmp/log"; fail "$(wc -l <"$tmp/log") lines on two ranks"; }
same "$tmp/one/checkpoint-00000002.h5" "$tmp/two/checkpoint-00000002.h5"
# the test is one: without being told, Open MPI speaks
timeout -k 5 60 mpirun -n 2 env LD_PRELOAD="$build/tests/libfault.so" PF_FAULT_PTRACE=1 OMPI_MCA_btl_vader_single_copy_mechanism=cma \
    "$probflow" train "$tmp/tiny.yaml" --run "$tmp/three" --quiet "${wide[@]}" >"$tmp/log" 2>&1
[ -s "$tmp/log" ] || fail "the messages of this test need no single copy"
exit 0
