/* What the files of this module share.  The only place that includes mpi.h. */
#ifndef PROBFLOW_SRC_COMM_RANKS_H
#define PROBFLOW_SRC_COMM_RANKS_H

#include <mpi.h>
#include <probflow/comm.h>

struct pf_comm {
    int rank, size;
    int ours;       /* 1: this object started MPI and will finalise it */
    int mpi;        /* 0: one rank without MPI; the communicators are then unset */
    MPI_Comm all;   /* collectives */
    MPI_Comm queue; /* messages of the work queue */
    int threads;    /* this rank's share of its host's cores */
    int one_host;   /* 1: all ranks are on this one */
};

/* PF_EEXT with MPI's own words when code is not MPI_SUCCESS. */
PF_MUST_USE pf_status pf_mpi_check(int code, const char *doing);

/* Polls with growing naps, so that waiting costs no core.  *idle starts at 0. */
void pf_nap(int *idle);

/* Waits for a request with naps. */
PF_MUST_USE pf_status pf_mpi_wait(MPI_Request *r, MPI_Status *st, const char *doing);

#endif
