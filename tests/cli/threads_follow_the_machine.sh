# A rank takes the cores that affinity, the control group's quota, SLURM and the other ranks leave it; the
# user's OMP_NUM_THREADS stands.
. "$(dirname "$0")/common.sh"
unset OMP_NUM_THREADS ${!SLURM_@} ${!OMP_@}
# threads WANT COMMAND...: of a rank of train, started by COMMAND
threads() {
    local want=$1; shift
    rm -rf "$tmp/run"
    "$@" "$probflow" train "$tmp/tiny.yaml" --run "$tmp/run" --set train.steps=1 >"$tmp/out" 2>&1 || { cat "$tmp/out"; fail "training under $*"; }
    got=$(sed -nE 's/.* ([0-9]+) threads a rank.*/\1/p' "$tmp/out")
    [ "$got" = "$want" ] || [ "$want" = any ] || { cat "$tmp/out"; fail "$got threads, not $want, under $*"; }
}
threads any env
whole=$got
first=$(sed -nE 's/^Cpus_allowed_list:[^0-9]*([0-9]+).*/\1/p' /proc/self/status)
threads 1 taskset -c "$first"
threads 1 taskset -c "$first" mpirun -n 2
threads 4 env OMP_NUM_THREADS=4,2
threads 4 taskset -c "$first" env OMP_NUM_THREADS=4
threads 1 env OMP_NUM_THREADS=4 OMP_THREAD_LIMIT=1
threads "$whole" env OMP_NUM_THREADS=0 # of which OpenMP warns
# Leaves the first thread one core.  Beside clang's libomp OpenBLAS brings gcc's, whose binding libomp takes for the machine.
ldd "$probflow" | grep -q libomp || threads "$whole" env OMP_PROC_BIND=true
threads 1 env SLURM_CPUS_PER_TASK=1
threads 1 env SLURM_CPUS_ON_NODE=1
threads "$whole" env SLURM_CPUS_PER_TASK=100000
threads 4 env SLURM_CPUS_PER_TASK=1 OMP_NUM_THREADS=4
threads "$([ "$whole" -lt 2 ] && echo 1 || echo $((whole / 2)))" mpirun -n 2

# Another machine, as one process alone sees it: files bound over those of the kernel.
[ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null || exit 0
cat >"$tmp/seeing" <<'SH'
set -e
echo "$1" >"$TEXT" # seeing TEXT FILE... -- COMMAND...
shift
while [ "$1" != -- ]; do mount --bind "$TEXT" "$1"; shift; done
shift
exec "$@"
SH
export TEXT=$tmp/text
seeing() { local want=$1; shift; threads "$want" unshare -m bash "$tmp/seeing" "$@"; }
quota=$(awk '/ - cgroup2 / { v2 = $5 "/cpu.max" } / - cgroup / && $NF ~ /(^|,)cpu(,|$)/ { v1 = $5 "/cpu.cfs_quota_us" }
    END { print v1 ? v1 : v2 }' /proc/self/mountinfo)
if [ -e "$quota" ]; then
    seeing 1 "100000 100000" "$quota" --
    seeing "$([ "$whole" -lt 2 ] && echo 1 || echo 2)" "150000 100000" "$quota" --
    seeing 1 "150000 100000" "$quota" -- mpirun -n 2
fi
lists=(/sys/devices/system/cpu/cpu*/topology/thread_siblings_list)
[ ! -e "${lists[0]}" ] || seeing 1 "0-$((${#lists[@]} - 1))" "${lists[@]}" -- # all are one core
exit 0
