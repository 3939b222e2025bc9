# A network trains on each grid, with the closed form of its levels too; the file tells which; truncated normal
# says once what it costs a network of another grid than the centres.
. "$(dirname "$0")/common.sh"
cd "$tmp" || exit 1
for grid in dequantised published centres; do
    "$probflow" train tiny.yaml --run "$grid" --quiet --set train.steps=4 --set data.grid=$grid \
        --set model.levels=256 --set likelihood.dequantisation=truncated_normal || fail "training on $grid"
    "$probflow" info "$grid"/checkpoint-00000004.h5 >said || fail "info of $grid"
    case $grid in
        dequantised) grep -q 'uniform_dequantisation: true' said && ! grep -q 'grid:' said ;;
        published) grep -q 'uniform_dequantisation: false' said && [ "$(grep -c 'grid:' said)" = 1 ] ;;
        centres) ! grep -q uniform_deq said && [ "$(grep -c 'grid: centres' said)" = 2 ] ;;
    esac || { cat said; fail "the text of $grid"; }
    ranks 2 "$probflow" bpd "$grid" --limit 16 --out "$grid.h5" >out 2>err || { cat err; fail "bpd of $grid"; }
    said=$(grep -c 'train with data.grid=centres' err)
    [ "$said" = $([ $grid = centres ] && echo 0 || echo 1) ] || { cat err; fail "$said hints for $grid"; }
    [ $grid = centres ] || continue
    "$probflow" bpd "$grid" --limit 16 --out "$grid-again.h5" >/dev/null 2>&1 || fail "bpd of $grid on one rank"
    same "$grid.h5" "$grid-again.h5"
done
# a run goes on under either name, and not on another grid
"$probflow" train tiny.yaml --run published --quiet --set train.steps=5 --set data.uniform_dequantisation=no \
    --set model.levels=256 --set likelihood.dequantisation=truncated_normal || fail "the old name is another run"
refuses 'another|differs|belongs' "$probflow" train tiny.yaml --run published --set train.steps=6 --set data.grid=centres \
    --set model.levels=256 --set likelihood.dequantisation=truncated_normal
exit 0
