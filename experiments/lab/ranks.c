/* ranks.c - several processes for one experiment (see ranks.h). */
#include "lab/ranks.h"

#ifndef GKA_MPI

void lab_ranks_start(void) {}

void lab_ranks_end(void) {}

int lab_rank(void) {
    return 0;
}

int lab_ranks(void) {
    return 1;
}

bool lab_ranks_mine(int64_t unit) {
    (void)unit;
    return true;
}

int lab_ranks_meet(int outcome) {
    return outcome;
}

#else

#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { ASK = 1, ANSWER = 2 };

static int rank_, ranks_ = 1;
static int64_t held = -1; /* the number in this process's hand */

/* Rank 0: the next number, and the thread that answers the others while rank 0 computes. */
static atomic_llong next;
static atomic_bool closing;
static pthread_t clerk;

/* MPI's own waiting keeps a core busy, which another process may need. */
static void doze(void) {
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void finish(MPI_Request *request) {
    for (int done = 0; MPI_Test(request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !done;)
        doze();
}

static void *answer(void *unused) {
    while (!atomic_load(&closing)) {
        int asked = 0;
        MPI_Status from;
        MPI_Iprobe(MPI_ANY_SOURCE, ASK, MPI_COMM_WORLD, &asked, &from);
        if (!asked) {
            doze();
            continue;
        }
        const long long number = atomic_fetch_add(&next, 1);
        MPI_Recv(NULL, 0, MPI_BYTE, from.MPI_SOURCE, ASK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(&number, 1, MPI_LONG_LONG, from.MPI_SOURCE, ANSWER, MPI_COMM_WORLD);
    }
    return unused;
}

/* mpirun names its processes in their environment; without it nothing of MPI is started. */
static bool under_mpirun(void) {
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL || getenv("PMI_SIZE") != NULL ||
           getenv("PMIX_RANK") != NULL;
}

void lab_ranks_start(void) {
    int threads = MPI_THREAD_SINGLE;
    if (!under_mpirun())
        return;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &threads);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks_);
    if (ranks_ > 1 && (threads < MPI_THREAD_MULTIPLE ||
                       (rank_ == 0 && pthread_create(&clerk, NULL, answer, NULL) != 0)))
        MPI_Abort(MPI_COMM_WORLD, 3);
}

void lab_ranks_end(void) {
    if (!under_mpirun())
        return;
    if (ranks_ > 1 && rank_ == 0) {
        atomic_store(&closing, true);
        pthread_join(clerk, NULL);
    }
    MPI_Finalize();
}

int lab_rank(void) {
    return rank_;
}

int lab_ranks(void) {
    return ranks_;
}

static int64_t take(void) {
    if (rank_ == 0)
        return atomic_fetch_add(&next, 1);
    long long number = -1;
    MPI_Request request;
    MPI_Irecv(&number, 1, MPI_LONG_LONG, 0, ANSWER, MPI_COMM_WORLD, &request);
    MPI_Send(NULL, 0, MPI_BYTE, 0, ASK, MPI_COMM_WORLD);
    finish(&request);
    return number;
}

bool lab_ranks_mine(int64_t unit) {
    while (ranks_ > 1 && held < unit)
        held = take();
    return ranks_ == 1 || held == unit;
}

int lab_ranks_meet(int outcome) {
    int worst = outcome;
    if (ranks_ > 1) {
        MPI_Request request;
        MPI_Iallreduce(&outcome, &worst, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD, &request);
        finish(&request);
    }
    return worst;
}

#endif
