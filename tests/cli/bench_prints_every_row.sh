# bench measures real steps, the likelihood and the limits of both from one command, for people and
# for programs; on other threads and without a configuration's data too.
. "$(dirname "$0")/common.sh"
# value WHAT UNIT: the median
value() { awk -F, -v w="$1" -v u="$2" '$1 == w && $2 == u { print $4; n++ } END { exit n != 1 }' "$tmp/b.csv"; }
between() { awk -v v="$1" -v a="$2" -v b="$3" 'BEGIN { exit !(v >= a && v <= b) }'; }
for threads in 1 2; do
    OMP_NUM_THREADS=$threads "$probflow" bench "$tmp/tiny.yaml" --seconds 1 --profile --csv "$tmp/b.csv" >"$tmp/out" ||
        fail "bench on $threads threads"
    grep -q "$tmp/tiny.h5" "$tmp/out" || fail "not the experiment's data"
    [ "$(head -n1 "$tmp/b.csv")" = what,unit,min,median,max ] || fail "another first line"
    for what in 'training step' 'likelihood evaluation'; do
        grep -q "^$what" "$tmp/out" || fail "no row $what"
        for unit in images/s GFLOP/s '% compute' MiB; do
            between "$(value "$what" "$unit")" 1e-6 1e9 || { cat "$tmp/b.csv"; fail "no $unit of $what"; }
        done
        if grep -q 'onednn' "$tmp/out"; then # the bare products are at least a hundredth of so small a network
            between "$(value "$what" '% of limit')" 1 400 || { cat "$tmp/b.csv"; fail "no limit of $what"; }
        fi
    done
    between "$(value '  outside kernels' '% of the step')" 0 100 || fail 'no share outside kernels'
    between "$(value '  idle workers' '% of the step')" 0 100 || fail 'no share of idle workers'
    between "$(value '  memory at its peak' MiB)" "$(value 'training step' MiB)" 1e5 || fail 'a peak below what is held'
    for what in 'reader: file to memory' 'reader: memory to batch'; do
        between "$(value "$what" rows/s)" 1 1e12 || fail "no $what"
    done
    between "$(value 'start of probflow info' ms)" 1 10000 || fail 'no start-up time'
    awk -F, 'NR > 1 && !($3 <= $4 && $4 <= $5) { exit 1 }' "$tmp/b.csv" || { cat "$tmp/b.csv"; fail 'min, median, max out of order'; }
done
"$probflow" bench "$tmp/tiny.yaml" --size 12x12x2 --seconds 1 --set likelihood.group=2 >"$tmp/out" || fail "bench of another shape"
grep -q 'ddpmpp 12x12x2' "$tmp/out" && grep -q 'noise' "$tmp/out" || { cat "$tmp/out"; fail "not the shape asked for"; }
# networks that return or read more channels than the data have; a large group shows what is written past a block
"$probflow" bench "$root/experiments/sd15-mnist/sd15-mnist.yaml" --size 28x28x1 --seconds 1 --set likelihood.group=64 >"$tmp/out" ||
    fail "bench of coefficients of bumps"
"$probflow" bench "$root/experiments/habits/habits.yaml" --size 28x28x1 --seconds 1 --set likelihood.group=64 \
    --set method.variance=learned_range --set method.self_condition=yes >"$tmp/out" || fail "bench of a network that is told its prediction"
# networks of tokens have no x along which there is a product
printf 'shards: 2\nmethod: {name: masked}\nmodel: {name: transformer, width: 32, depth: 2, heads: 2}\ntrain: {batch: 4}\n' >"$tmp/tokens.yaml"
"$probflow" bench "$tmp/tokens.yaml" --tokens 5,40 --seconds 1 --set likelihood.group=3 >"$tmp/out" || fail "bench of tokens"
grep -q 'transformer 1x1x40' "$tmp/out" && grep -q '^likelihood evaluation' "$tmp/out" || { cat "$tmp/out"; fail "not the tokens asked for"; }
"$probflow" bench "$tmp/tokens.yaml" --tokens 1,40 2>"$tmp/out" && fail "took one symbol"
grep -q "'1,40' is not K,L" "$tmp/out" || { cat "$tmp/out"; fail "another sentence about tokens"; }
"$probflow" bench "$tmp/tiny.yaml" --seconds 1 --csv /nowhere/b.csv 2>"$tmp/out" && fail "wrote to nowhere"
grep -qE 'cannot (create|write) /nowhere/b.csv' "$tmp/out" || { cat "$tmp/out"; fail "another sentence"; }
# a row is in the pipe and in the file when it is done, not when all are
{ "$probflow" bench "$tmp/tiny.yaml" --seconds 1 --csv "$tmp/b.csv" || echo failed; } | while IFS= read -r line; do
    case $line in
    *images/s*GFLOP*) grep -q '^training step' "$tmp/b.csv" && echo "the head came late" ;;
    'training step'*) grep -q '^likelihood' "$tmp/b.csv" && echo "the first row came late" ;;
    likelihood*) grep -q '^likelihood evaluation,images/s' "$tmp/b.csv" || echo "the file lags behind" ;;
    failed) echo "bench into a pipe" ;;
    esac
done >"$tmp/out"
[ ! -s "$tmp/out" ] || { cat "$tmp/out"; fail "rows do not come one by one"; }
