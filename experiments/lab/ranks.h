/* ranks.h - several processes for one experiment, under mpirun.
 *
 * Every process walks through all units in the same order, and each unit is computed by one of
 * them: rank 0 hands out the numbers 0, 1, 2 ... to whoever asks, and who holds a number computes
 * the unit that has it. What is finished lies in files, so what comes of it does not depend on how
 * many processes there are. Without GKA_MPI, and without mpirun, there is one process.
 */
#ifndef GKA_LAB_RANKS_H
#define GKA_LAB_RANKS_H

#include <stdbool.h>
#include <stdint.h>

/* First and last of a process; every process calls both. */
void lab_ranks_start(void);
void lab_ranks_end(void);

int lab_rank(void);  /* this process, from 0 */
int lab_ranks(void); /* how many there are */

/* Whether unit number `unit` is this process's. Asked in ascending order, from 0. */
bool lab_ranks_mine(int64_t unit);

/* Waits until every process is here, and returns the largest `outcome` of all of them. No number
 * is handed out after it. */
int lab_ranks_meet(int outcome);

#endif
