# Every experiment's configuration is read and runs: two steps on tiny data where the images fit,
# else a short measurement of the network.
. "$(dirname "$0")/common.sh"
for e in quickstart/quickstart mnist/mnist mnist-wide/mnist-wide habits/habits ncsn/ncsn ncsn/ncsnv2 sd15-mnist/sd15-mnist; do
    run=$tmp/${e#*/}
    "$probflow" train "$root/experiments/$e.yaml" --run "$run" --quiet --set data.path="$tmp/tiny.h5" \
        --set train.steps=2 --set train.eval_images=16 || fail "$e does not train"
    [ -e "$run/checkpoint-00000002.h5" ] || fail "$e left no checkpoint"
done
for n in $(seq 60); do echo "In the beginning God created the heaven and the earth, and it was number $n of its kind."; done >"$tmp/book.txt"
"$probflow" data "$tmp/book.txt" "$tmp/book.h5" --text text8 >/dev/null || fail "a text"
for e in text/multinomial text/masked text8/multinomial text8/md4 text8/mdlm; do
    run=$tmp/$(echo $e | tr / -)
    "$probflow" train "$root/experiments/$e.yaml" --run "$run" --quiet --set data.path="$tmp/book.h5" --set train.steps=2 --set train.batch=8 \
        --set train.decay=0 --set train.warmup=0 --set train.eval_images=8 --set model.width=96 --set model.depth=1 || fail "$e does not train"
    [ -e "$run/checkpoint-00000002.h5" ] || fail "$e left no checkpoint"
done
"$probflow" data "$root"/tests/data/*.gz "$tmp/bits.h5" --binarise drawn:1:2 --quiet >/dev/null || fail "bits"
for e in masked d3pm; do
    "$probflow" train "$root/experiments/mnist-binary/$e.yaml" --run "$tmp/bits-$e" --quiet --set data.path="$tmp/bits.h5" \
        --set train.steps=2 --set train.batch=8 --set train.decay=0 --set train.warmup=0 --set train.eval_images=8 || fail "bits by $e do not train"
done
for e in cifar10-ddpmpp-vp cifar10-ddpmpp-subvp; do
    "$probflow" bench "$root/experiments/$e/$e.yaml" --size 32x32x3 --seconds 1 --set shards=1 \
        --set train.batch=1 --set likelihood.group=1 >"$tmp/out" || fail "$e does not run"
    grep -q '61.80 M parameters' "$tmp/out" || { cat "$tmp/out"; fail "$e is not the published network"; }
done
"$probflow" bench --seconds 1 --set train.batch=1 --set likelihood.group=1 >"$tmp/out" || fail "bench needs a configuration"
"$probflow" train "$root/experiments/gaussian-cifar10/gaussian-cifar10.yaml" --run "$tmp/gaussian" --quiet \
    --set data.path="$tmp/tiny.h5" || fail "the Gaussian does not fit"
"$probflow" info "$tmp/gaussian"/checkpoint-*.h5 | grep -q '2 datasets, 615440 values' || fail "the fitted Gaussian has no mean and covariance"
"$probflow" data density:markov:200 "$tmp/markov.h5" --quiet >/dev/null || fail "text of a chain"
for e in masked multinomial argmax; do
    "$probflow" train "$root/experiments/markov/$e.yaml" --run "$tmp/markov-$e" --quiet --set data.path="$tmp/markov.h5" \
        --set train.steps=2 --set train.decay=0 --set train.warmup=0 --set train.eval_images=8 || fail "markov by $e does not train"
done
