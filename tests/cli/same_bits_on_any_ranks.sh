# Training (dropout and flips on, in both precisions) and bpd write the same bits on 1, 2 and 4 ranks, and with 2 threads.
. "$(dirname "$0")/common.sh"
for n in 1 2 4; do
    ranks $n "$probflow" train "$tmp/tiny.yaml" --run "$tmp/r$n" --quiet || fail "training on $n ranks"
    ranks $n "$probflow" bpd "$tmp/r1" --limit 20 --out "$tmp/b$n.h5" --quiet >/dev/null || fail "bpd on $n ranks"
done
OMP_NUM_THREADS=2 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/t2" --quiet || fail "training on 2 threads"
OMP_NUM_THREADS=2 "$probflow" bpd "$tmp/r1" --limit 20 --out "$tmp/bt2.h5" --quiet >/dev/null || fail "bpd on 2 threads"
# channels in full vectors, so that every bf16 kernel takes part; the levels of each rank's data counted
for n in 1 2 4; do
    ranks $n "$probflow" train "$tmp/tiny.yaml" --run "$tmp/h$n" --quiet --set train.precision=bf16 --set model.width=16 --set model.levels=256 ||
        fail "training in bf16 on $n ranks"
done
OMP_NUM_THREADS=2 "$probflow" train "$tmp/tiny.yaml" --run "$tmp/ht2" --quiet --set train.precision=bf16 \
    --set model.width=16 --set model.levels=256 || fail "training in bf16 on 2 threads"
for other in h2 h4 ht2; do same "$tmp/h1/checkpoint-00000012.h5" "$tmp/$other/checkpoint-00000012.h5"; done
for other in r2 r4 t2; do same "$tmp/r1/checkpoint-00000012.h5" "$tmp/$other/checkpoint-00000012.h5"; done
for other in b2 b4 bt2; do same "$tmp/b1.h5" "$tmp/$other.h5"; done
# indices drawn by the losses of all ranks: 8 of a batch of 16, so that after 5 of the 12 steps all have their losses
by_losses >"$tmp/times.yaml"
for n in 1 2 4; do ranks $n "$probflow" train "$tmp/times.yaml" --run "$tmp/m$n" --quiet || fail "training by losses on $n ranks"; done
OMP_NUM_THREADS=2 "$probflow" train "$tmp/times.yaml" --run "$tmp/mt2" --quiet || fail "training by losses on 2 threads"
for other in m2 m4 mt2; do same "$tmp/m1/checkpoint-00000012.h5" "$tmp/$other/checkpoint-00000012.h5"; done
"$probflow" info "$tmp/m1/checkpoint-00000012.h5" | grep -q '/times .*10 last losses of 8 indices' || fail "no losses in the checkpoint"
# LAPACK's bits depend on its threads
sed 's/^model: .*/model: {name: gaussian}/' "$tmp/tiny.yaml" >"$tmp/gaussian.yaml"
for n in 1 2; do
    OMP_NUM_THREADS=$n "$probflow" train "$tmp/gaussian.yaml" --run "$tmp/g$n" --quiet || fail "fitting on $n threads"
    OMP_NUM_THREADS=$n "$probflow" bpd "$tmp/g1" --limit 4 --out "$tmp/bg$n.h5" --quiet >/dev/null || fail "bpd of a Gaussian on $n threads"
done
same "$tmp/g1/checkpoint-00000001.h5" "$tmp/g2/checkpoint-00000001.h5"
same "$tmp/bg1.h5" "$tmp/bg2.h5"
