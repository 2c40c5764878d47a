/* again.c - a test: lab_again copies the rows that are asked for, with one field changed, and says
 * when there are none. An experiment of two units, whose claims are what must be in its table. */
#include "lab/lab.h"

enum { ROWS };

static gka_status run(lab *l, gka_error *error) {
    l->units_total = 2;
    if (lab_unit(l, ROWS, "first")) {
        lab_row(l, "one,a,%d,1.5", 0);
        lab_row(l, "one,b,%d,2.5", 0);
        lab_row(l, "ones,a,%d,3.5", 0);
        lab_row(l, "one,a,%d,", 1); /* an empty field at the end */
        const gka_status status = lab_unit_end(l, error);
        if (status != GKA_OK)
            return status;
    }
    if (!lab_unit(l, ROWS, "second"))
        return GKA_OK;
    const bool found = lab_again(l, ROWS, "another", "case=%s,kind=a", "one"),
               none = !lab_again(l, ROWS, "another", "case=%s", "two") &&
                      !lab_again(l, ROWS, "another", "case=another"); /* not of its own unit */
    lab_row(l, "said,a,%d,%d", found, none);
    return lab_unit_end(l, error);
}

static double count(lab *l, const char *where) {
    const lab_stats s = lab_stats_of(l, ROWS, "head", "%s", where);
    return (double)s.count;
}

static gka_status judge(lab *l, gka_error *error) {
    (void)error;
    const lab_stats copied = lab_stats_of(l, ROWS, "error", "case=another,kind=a,head=0"),
                    said = lab_stats_of(l, ROWS, "head", "case=said"),
                    none = lab_stats_of(l, ROWS, "error", "case=said");
    lab_claim(l, "The rows that are asked for, and no others", LAB_REPRODUCED,
              count(l, "case=another") == 2 && copied.count == 1 && copied.min == 1.5 &&
                  count(l, "case=one") == 3 && count(l, "") == 7,
              "%g of 7 rows, %g of them copied", count(l, ""), count(l, "case=another"));
    lab_claim(l, "It says whether there were any", LAB_REPRODUCED, said.min == 1 && none.min == 1,
              "found %g, none %g", said.min, none.min);
    return GKA_OK;
}

int main(int argc, char **argv) {
    static const lab_experiment experiment = {.name = "lab_again",
                                              .program = "lab_again",
                                              .question = "Does lab_again copy what it should?",
                                              .tables = {{"rows.csv", "case,kind,head,error"}},
                                              .run = run,
                                              .judge = judge};
    return lab_main(argc, argv, &experiment);
}
