/* The cores a process may use, as Linux tells them: affinity, hyperthreads, control groups. */
#ifndef PROBFLOW_CORES_H
#define PROBFLOW_CORES_H

#include <sched.h>

/* A set of CPUs (hyperthreads, each with a number) for the CPU_*_S macros.  Linux itself can be
 * built for 8192. */
enum { PF_CPUS_MAX = 16384 };
typedef struct pf_cpus {
    cpu_set_t part[PF_CPUS_MAX / (8 * sizeof(cpu_set_t))];
} pf_cpus;

typedef struct pf_cores {
    int n;         /* cores with at least one allowed CPU */
    int cpus;      /* allowed CPUs; >= n */
    int quota;     /* threads that keep busy on the CPU time allowed, >= 1; INT_MAX: no limit */
    pf_cpus first; /* the first CPU of each core, allowed or not: the same for all sharers */
} pf_cores;

/* Local.  The CPUs this process may run on: the calling thread's, and those of all OpenMP places
 * where OMP_PROC_BIND or OMP_PLACES has left the first thread only the first place. */
void pf_cores_allowed(pf_cpus *out);

/* Local.  What these CPUs amount to.
 *
 *   root  "": this machine; else a folder with its own sys/ and proc/
 *   n     CPUs of one core count once; where the topology cannot be read each counts
 *   quota the least time/period of the process's control group and its ancestors, versions 1 and
 *         2, rounded up: of 1.5 CPUs one thread would leave a third unused
 *
 * What cannot be read or understood restricts nothing.
 * Source: Linux, Documentation/admin-guide/cgroup-v2.rst, scheduler/sched-bwc.rst, cputopology.rst.
 * Test: test_cores. */
void pf_cores_find(const char *root, const pf_cpus *allowed, pf_cores *out);

/* Local.  The cores that SLURM gave this rank, of `ranks` on this host, as its variables tell; own->n
 * where they do not.  Wanted because task/none leaves every task the CPUs of the whole host.
 * SLURM counts hyperthreads where it knows of them: as many CPUs are as many cores as in the mask.
 * But where it counts cores, a mask of its making has just as many cores as it gave CPUs.
 * Test: slurm_gives_cores_in_hyperthreads_or_in_cores. */
int pf_cores_slurm(const pf_cores *own, int ranks);

#endif
