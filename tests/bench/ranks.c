/* ranks.c - what handing out a unit costs: mpirun -n N bench_ranks [UNITS], 20000 units in which
 * nothing is computed. Rank 0 hands out alone, for it would have all of them before another has
 * asked. One line: seconds of the wall clock and of rank 0's processor, a unit's share of both, and
 * what the busiest and the idlest of the others had.
 */
#include "lab/ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv) {
    const int64_t units = argc > 1 ? atoll(argv[1]) : 20000;
    int mine = 0;
    lab_ranks_start();
    lab_ranks_meet(0);
    const double start = seconds(CLOCK_MONOTONIC), own = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int64_t unit = 0; unit < units && (lab_rank() > 0 || lab_ranks() == 1); unit++)
        mine += lab_ranks_mine(unit);
    const int most = lab_ranks_meet(mine),
              least = -lab_ranks_meet(lab_rank() == 0 && lab_ranks() > 1 ? -most : -mine);
    const double took = seconds(CLOCK_MONOTONIC) - start,
                 busy = seconds(CLOCK_PROCESS_CPUTIME_ID) - own, share = 1e6 / (double)units;
    if (lab_rank() == 0)
        printf("%d processes, %lld empty units: %.2f s, %.1f us a unit, %.1f us of rank 0's "
               "processor; "
               "a process had %d to %d\n",
               lab_ranks(), (long long)units, took, took * share, busy * share, least, most);
    lab_ranks_end();
    return 0;
}
