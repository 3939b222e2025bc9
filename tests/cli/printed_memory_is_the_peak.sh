# The memory that train and bpd print before they begin is the most they hold, within 20 %.
. "$(dirname "$0")/common.sh"
cat >"$tmp/peak.py" <<'PY'
import os, resource, subprocess, sys
rc = subprocess.call(sys.argv[2:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024e-6
open(sys.argv[1] + os.environ.get("OMPI_COMM_WORLD_RANK", "0"), "w").write("%.1f\n" % peak)
sys.exit(rc)
PY
wide=(--set model.width=64 --set train.steps=1 --set train.batch=16 --set train.eval_every=0)
rough=(--set likelihood.rtol=0.1 --set likelihood.atol=0.1 --set likelihood.div_tol=1 --set likelihood.check_groups=0)
# compare SAID PEAK WHAT
compare() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0.8 * b && a < 1.2 * b) }' || fail "$3: $1 MB printed, $2 MB held"
}
said() { sed -nE 's/.*memory a rank .*; ([0-9]+) (with|in all).*/\1/p' "$1"; }
for n in 1 2; do
    ranks $n python3 "$tmp/peak.py" "$tmp/train$n-" "$probflow" train "$tmp/tiny.yaml" --run "$tmp/r$n" "${wide[@]}" \
        2>"$tmp/log" || { cat "$tmp/log"; fail "training on $n ranks"; }
    compare "$(said "$tmp/log")" "$(cat "$tmp/train$n-0")" "train on $n ranks"
    ranks $n python3 "$tmp/peak.py" "$tmp/bpd$n-" "$probflow" bpd "$tmp/r$n" --limit 8 "${rough[@]}" --out "$tmp/b$n.h5" \
        >/dev/null 2>"$tmp/log" || { cat "$tmp/log"; fail "bpd on $n ranks"; }
    compare "$(said "$tmp/log")" "$(cat "$tmp/bpd$n-0")" "bpd on $n ranks"
done
