# Sourced by the batch scripts: how one probflow command becomes a job that goes on until it is done.
#
#   job COMMAND [ARG]...    runs `probflow COMMAND ARG...` on the tasks of this job; returns when it is done,
#                           ends the job otherwise
#
# A stop comes as USR1 to the batch shell (--signal=B:USR1: near the time limit, and at preemption where
# slurm.conf has preempt_send_user_signal), as TERM to the tasks (preemption elsewhere), or from the
# time limit itself, which the program is told (--max-minutes).  It then writes a checkpoint and exits
# with 75, and we requeue the job: so a run goes on after a preemption, and beyond the time limit, for as
# many times as it takes.  SLURM alone would not requeue it: a job that ends by itself within the grace time
# counts as completed or failed.  A cancelled job stays cancelled.
#
# Environment, all optional:
#   PROBFLOW_LAUNCH  what starts the ranks: default `srun --mpi=pmix`; or `mpirun` (which loses the steps
#                    since the last checkpoint where preemption comes as TERM)
#   PROBFLOW_MARGIN  seconds of the time limit kept for the last step and its checkpoint, default 120
#   PROBFLOW_RETRIES a job whose rank died by a signal (memory, a node, the MPI library) is requeued while it has
#                    started again less often than this, default 3
#   PROBFLOW_BUILD   build folder, default build/
. "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
launch=${PROBFLOW_LAUNCH:-srun --mpi=pmix}
me=${SLURM_JOB_ID:?is set in a SLURM job; use sbatch or scripts/submit}
# The last task of an array has the array's own number, and requeueing that would requeue all.
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || me=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun does not take it from sbatch
unset OMP_NUM_THREADS                      # the submitting shell's; the program counts the cores of its CPUs
export SLURM_WAIT=10                       # seconds the others outlive a rank that died alone
stop_signals=USR1
trap : USR1 # one that comes before the program runs does not end us

# about KEY: a field of this job, as the controller has it
about() { scontrol show job --oneliner "$me" | tr ' ' '\n' | sed -n "s/^$1=//p" | head -n 1; }

# Minutes until the margin before the end; nothing where there is no limit.
minutes() {
    local end left margin=${PROBFLOW_MARGIN:-120}
    end=$(about EndTime)
    case $end in [0-9]*) ;; *) return 0 ;; esac
    left=$(($(date -d "$end" +%s) - $(date +%s) - margin))
    [ $left -gt 0 ] || { echo "job $me: the time limit leaves nothing beside PROBFLOW_MARGIN=$margin s" >&2; return 1; }
    printf '%d.%02d' $((left / 60)) $((left % 60 * 100 / 60))
}

# again STATUS: is a job whose program ended so to be continued?
again() {
    [ "$1" != 0 ] && [ "$(about JobState)" = RUNNING ] || return 1 # done; cancelled, or ended by SLURM
    [ "$1" = 75 ] || [ -n "$stop_asked" ] || [[ $(about PreemptTime) == [0-9]* ]] ||
        { [ "$1" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "${PROBFLOW_RETRIES:-3}" ]; } # a rank was killed
}

job() {
    local limit rc=0
    limit=$(minutes) || exit 1
    echo "job $me: probflow $*: start $((${SLURM_RESTART_COUNT:-0} + 1)), ${SLURM_NTASKS:-1} x $SRUN_CPUS_PER_TASK CPUs on $SLURM_JOB_NODELIST"
    stoppable $launch "$probflow" "$@" ${limit:+--max-minutes "$limit"} || rc=$?
    if again $rc; then
        echo "job $me: stopped with status $rc, to be continued"
        scontrol requeue "$me" && sleep 60 # SLURM ends us here
        echo "job $me: not requeued; the same submission continues" >&2
    fi
    [ $rc = 0 ] || exit $rc
}

# target PARTS RUN_OR_CKPT[:SPLIT]... [-- OPTION...]: what this array task works on: every target in PARTS
# parts, part by part.  Sets what, split, out, part, parts, options.
target() {
    local task=$((${SLURM_ARRAY_TASK_ID:-1} - 1)) all=()
    parts=$1; shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do all+=("$1"); shift; done
    options=("${@:2}")
    part=$((task % parts + 1))
    what=${all[$((task / parts))]:-}
    [ -n "$what" ] || { echo "job $me: array task $((task + 1)) is beyond ${#all[@]} targets of $parts parts" >&2; exit 2; }
    split=test
    case $what in *:*) [ -e "$what" ] || { split=${what##*:} what=${what%:*}; } ;; esac # or is it part of the name?
    out=${what%.h5}-bpd-$split.h5
    [ ! -d "$what" ] || out=$what/bpd-$split.h5
}
