# Sourced by the other scripts: where things are, and how ranks are started on one machine.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${PROBFLOW_BUILD:-$root/build}
probflow=$build/probflow

# Open MPI refuses root without the first two, refuses more ranks than cores without the third,
# pins each rank to one core without the fourth and spins while it waits without the fifth.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_mpi_yield_when_idle=1

# ranks N COMMAND...: under mpirun, threads shared fairly; N = 1 needs no launcher
ranks() {
    local n=$1; shift
    if [ "$n" = 1 ]; then "$@"; else mpirun -n "$n" "$@"; fi
}

# stoppable COMMAND...: runs it, and passes a stop on: each of $stop_signals that this shell gets reaches
# it as USR1 (mpirun hands that to its ranks and leaves them time; after a TERM it would kill them).
# Returns its exit status; $stop_asked says whether there was a signal, then and later.  The terminal's
# own signals do not reach the command.
stop_signals='USR1 INT TERM'
stoppable() {
    local rc=0
    stop_asked='' child=''
    trap 'stop_asked=yes; [ -z "$child" ] || kill -USR1 "$child" 2>/dev/null || true' $stop_signals
    setsid "$@" &
    child=$!
    while kill -0 $child 2>/dev/null; do wait $child || true; done # a signal ends a wait early
    wait $child || rc=$?
    child=''
    return $rc
}

# from_root FOLDER PATH: a path given in FOLDER, as seen from the root, into $seen
from_root() { IFS= read -r -d '' seen < <(cd -- "$1" && realpath -zm --relative-base="$root" -- "$2"); }

# configurations FOLDER EXPERIMENT: the YAML files of a folder or a file, as seen from FOLDER, or of a
# name in experiments/, into the list $files
configurations() {
    local e f
    from_root "$1" "$2"
    e=$seen files=()
    [ -e "$e" ] || e=experiments/$2
    [ ! -f "$e" ] || { files=("$e"); return; }
    for f in "$e"/*.yaml; do
        if [ -f "$f" ] && [ "${f##*/}" != table.yaml ]; then files+=("$f"); fi
    done
    [ ${#files[@]} -gt 0 ] || { echo "${0##*/}: no experiment at $2, nor in experiments/" >&2; return 1; }
}

# compile DIR [meson options]: configure once, then build $targets, by default all
compile() {
    local dir=$1; shift
    [ -f "$dir/build.ninja" ] || meson setup "$dir" "$root" "$@" >"$dir.log" 2>&1 ||
        { cat "$dir.log" >&2; return 1; }
    # shellcheck disable=SC2086
    ninja -C "$dir" ${targets:-} >"$dir.log" 2>&1 || { grep -E 'error|warning|FAILED' "$dir.log" | head -n 30 >&2; return 1; }
    rm -f "$dir.log"
}
