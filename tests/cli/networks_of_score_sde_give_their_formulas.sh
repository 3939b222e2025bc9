# Networks of score_sde, one for each of its kinds of blocks and pyramids, by a checkpoint as published: imported they give the output of
# the same network in float64, written from the formulas, to 2e-5.
. "$(dirname "$0")/common.sh"
vp='"sde": "vp", "beta_min": 0.1, "beta_max": 20.0'
ve='"sde": "ve", "sigma_min": 0.01, "sigma_max": 50.0'
levels='"method": "ncsn", "levels": 20, "sigma_begin": 5.0, "sigma_end": 0.05, "cond": "level"'
# agrees NAME PROCESS [key=value]..: options of the network with these
agrees() {
    /usr/bin/python3 - "$tmp/$1.json" "$2" "${@:3}" <<'P' || fail "options of $1"
import json, sys
o = {"nf": 16, "ch_mult": [1, 2, 1], "blocks": 1, "attn": [8], "size": 16, "ch": 3, "dropout": 0.0, "fir": False, "skip_rescale": True, "init_scale": 1.0,
     "embedding": "positional", "fourier_scale": 1.0, "progressive_input": "none", "centered": True, "scale_by_sigma": False}
for word in sys.argv[3:]:
    key, value = word.split("=")
    o[key] = json.loads(value) if value[0] in "0123456789tf[" and value not in ("fourier",) else value
json.dump(dict(json.loads("{%s}" % sys.argv[2]), net=o), open(sys.argv[1], "w"))
P
    /usr/bin/python3 "$root/tests/cli/score_sde_net.py" "$tmp/$1.json" "$tmp/$1-at.h5" "$tmp/$1.pth" || fail "writing $1"
    "$root/scripts/import_checkpoint" "$tmp/$1.pth" "$tmp/$1.h5" --config "$tmp/$1.json" >/dev/null || fail "import of $1"
    "$probflow" score "$tmp/$1.h5" --in "$tmp/$1-at.h5" --out "$tmp/$1-score.h5" --quiet || fail "score of $1"
    /usr/bin/python3 - "$tmp/$1-at.h5" "$tmp/$1-score.h5" "$1" <<'P' || fail "$1 gives another output"
import h5py, sys
import numpy as np
w, h = (h5py.File(p)["net"][...] for p in sys.argv[1:3])
worst = max(np.abs(a.reshape(b.shape) - b).max() / np.abs(b).max() for a, b in zip(h, w)) # of each sample: some are divided by little noise
print("%s %.1e" % (sys.argv[3], worst))
sys.exit(int(not worst < 2e-5))
P
}
agrees ddpmpp "$vp"
agrees ddpm "$vp" resblock=ddpm groups=16 skip_rescale=false blocks=2
agrees ncsnpp_ddpm "$vp" resblock=ddpm progressive_input=residual
agrees ncsnpp "$ve" fir=true embedding=fourier progressive_input=residual centered=false scale_by_sigma=true
agrees skips "$ve" fir=true embedding=fourier progressive_input=input_skip progressive=output_skip centered=false scale_by_sigma=true
agrees half_noise '"sde": "ve", "sigma_min": 0.02, "sigma_max": 100.0' fir=true embedding=fourier progressive_input=residual scale_by_sigma=true unit=0.5
agrees plain_skips "$vp" progressive_input=input_skip progressive=output_skip
agrees levels "$levels" fir=true progressive_input=residual scale_by_sigma=true
agrees ddpm_levels "$levels" resblock=ddpm groups=16 skip_rescale=false scale_by_sigma=true
