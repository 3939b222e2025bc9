# On a real SLURM of two nodes: an experiment submitted by scripts/submit is preempted, writes its
# checkpoint, is requeued and ends with the bits of the local run; the four parts of its bpd merge into
# the file of one job; a run longer than its time limit goes on in a requeued job; a cancelled job stays cancelled.
if [ -z "${SLURM_CONF:-}" ]; then exec "$(dirname "$0")/../slurm/mini_slurm" 2 bash "$0"; fi
. "$(dirname "$0")/common.sh"
export OMPI_MCA_btl=self,vader,tcp
cd "$root"
nodes=$(sinfo -h -o %D -p main) steps=60
last=checkpoint-$(printf %08d $steps).h5
sets=(--set "train.steps=$steps" --set train.batch=64 --set train.checkpoint_every=100000 --set train.eval_every=1000)
about() { scontrol show job --oneliner "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1; }
# becomes SECONDS FUNCTION ARG...: waits until it is so
becomes() { local end=$((SECONDS + $1)); shift; until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done; }
is() { [ "$(about "$1" "$2")" = "$3" ]; }
logged() { grep -q "$2" "$1" 2>/dev/null; }
trouble() { squeue; tail -n 20 "$tmp"/*/*.log; fail "$@"; }

scripts/run_local "$tmp/tiny.yaml" --run "$tmp/local" "${sets[@]}" --limit 24 --set likelihood.group=4 >"$tmp/local.log" 2>&1 &
local_run=$!

# preempted in the middle, by a job that needs all nodes
scripts/submit "$tmp/tiny.yaml" --run "$tmp/preempted" "${sets[@]}" --limit 24 --set likelihood.group=4 \
    --nodes "$nodes" --ranks 2 --parts 4 --time 5 >"$tmp/submitted" || fail "submit"
read -r train merge < <(sed -n 's/.*train \([0-9]*\), bpd [0-9]* in 4 parts, merge \([0-9]*\).*/\1 \2/p' "$tmp/submitted")
log=$tmp/preempted/train.log
becomes 60 logged "$log" 'step [1-9]' || trouble "training did not start"
starts=$(about "$train" Restarts) # Open MPI may crash in MPI_Init on a busy machine: the job then starts again
urgent=$(sbatch --parsable --partition urgent --nodes "$nodes" --exclusive --output /dev/null --wrap true)
becomes 60 is "$urgent" JobState COMPLETED || trouble "the urgent job did not get the nodes"
is "$train" Restarts $((starts + 1)) || trouble "the preempted job was not requeued"
logged "$log" 'stopped after step' || trouble "no stop was logged"
[ ! -e "$tmp/preempted/$last" ] || trouble "training ended before it was preempted"
compgen -G "$tmp/preempted/checkpoint-*.h5" >/dev/null || trouble "the preempted job left no checkpoint"
becomes 60 is "$train" JobState COMPLETED || trouble "the requeued job did not finish"
wait $local_run || { cat "$tmp/local.log"; fail "the local run"; }
same "$tmp/local/$last" "$tmp/preempted/$last"

# beyond the time limit: of a minute 55 s are kept, so that each start has 5 s; started by mpirun
limited=$(PROBFLOW_RETRIES=20 PROBFLOW_MARGIN=55 PROBFLOW_LAUNCH=mpirun sbatch --parsable --time 1 --signal B:USR1@5 --nodes "$nodes" --ntasks 2 \
    --output "$tmp/limited.log" scripts/slurm/train.sbatch "$tmp/tiny.yaml" --run "$tmp/limited" "${sets[@]}" \
    --set train.steps=100000 --set train.checkpoint_every=$steps --set train.keep=1000)
becomes 60 is "$merge" JobState COMPLETED || trouble "the parts were not merged"
same "$tmp/local/bpd-test.h5" "$tmp/preempted/bpd-test.h5"
becomes 60 logged "$tmp/limited.log" 'continuing from' || trouble "the limited job was not continued"
# a rank that dies is no end either
becomes 60 pkill -9 -f "^$probflow train .*$tmp/limited" || trouble "no rank of the limited job was there to be killed"
becomes 60 logged "$tmp/limited.log" 'stopped with status 137, to be continued' || trouble "the job of a killed rank was not continued"
becomes 60 test -e "$tmp/limited/$last" || trouble "the limited job makes no progress"
same_numbers "$tmp/local/$last" "$tmp/limited/$last" # whose train.steps is another

# cancelled: stays so
becomes 60 is "$limited" JobState RUNNING || trouble "the limited job is $(about "$limited" JobState)"
scancel "$limited"
becomes 60 is "$limited" JobState CANCELLED || trouble "the cancelled job is $(about "$limited" JobState)"
exit 0
