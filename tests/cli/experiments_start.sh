# Every experiment's configuration is read and runs: two steps on tiny data where the images fit,
# else a short measurement of the network.
. "$(dirname "$0")/common.sh"
for e in quickstart/quickstart mnist/mnist mnist-wide/mnist-wide habits/habits ncsn/ncsn ncsn/ncsnv2 sd15-mnist/sd15-mnist; do
    run=$tmp/${e#*/}
    "$probflow" train "$root/experiments/$e.yaml" --run "$run" --quiet --set data.path="$tmp/tiny.h5" \
        --set train.steps=2 --set train.eval_images=16 || fail "$e does not train"
    [ -e "$run/checkpoint-00000002.h5" ] || fail "$e left no checkpoint"
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
