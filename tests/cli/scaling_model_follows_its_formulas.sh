# The scaling model gives the closed forms it is documented with, and overlap never costs time.
. "$(dirname "$0")/common.sh"
PYTHONDONTWRITEBYTECODE=1 python3 - "$root/experiments/scaling" <<'PY' || fail "a law of the model does not hold"
import math, sys
sys.path.insert(0, sys.argv[1])
from model import ADD, Run, interpolate, makespan
alpha, beta = 3e-6, 1e-9
net = {"params": 61.8e6, "prepare": 0.3, "pass": 0.1, "image": 0.25, "update": 7e-10}
link = lambda n, level=0: alpha + beta * n
near = lambda a, b: abs(a - b) <= 1e-9 * abs(b) or sys.exit("%r is not %r" % (a, b))
for R in (2, 8, 1024):
    plain, hidden = (Run(net, R, 1, 1024, 1024, link, overlap=o) for o in (False, True))
    wire = len(plain.buckets) * alpha * math.log2(R) + (1 - 1 / R) * 4 * net["params"] * beta
    sums = (1 - 1 / R) * net["params"] * ADD * plain.byte
    near(plain.parts()["gather"], wire)
    near(plain.parts()["reduce"], wire + sums)
    window = plain.parts()["reduce"] - hidden.parts()["reduce"]
    assert 0 < window <= 2 / 3 * plain.one_pass(), "more is hidden than there is to hide behind"
    assert hidden.step() < plain.step()
near(Run(net, 1, 1, 1, 128, link).parts()["compute"], 0.3 + 0.1 + 128 * 0.25 + 4 * net["params"] * plain.byte)
near(Run(net, 1, 2, 2, 128, link).parts()["compute"], 0.3 / 2 + 0.1 + 64 * 0.25 + (4 + 12) * net["params"] * plain.byte)
near(interpolate([[8, 1e-6], [1000, 2e-6], [3000, 6e-6]])(2000), 4e-6)
near(interpolate([[8, 1e-6], [1000, 2e-6], [3000, 6e-6]])(5000), 10e-6)
near(makespan([3, 1, 1, 1, 2], 2), 5)
PY
