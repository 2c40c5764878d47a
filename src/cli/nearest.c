/* nearest.c - the name that was probably meant.
 *
 * The distance is the optimal string alignment distance (Damerau 1964): letters inserted, deleted,
 * replaced, or two neighbours swapped.
 */
#include "cli/cli.h"

#include <string.h>

enum { LONGEST = sizeof((cli_nearest *)NULL)->name - 1 };

static int least(int a, int b) {
    return a < b ? a : b;
}

static int slips_between(const char *a, const char *b) {
    const int m = (int)strlen(a), n = (int)strlen(b);
    int rows[3][LONGEST + 1];
    for (int i = 0; i <= m; i++) {
        int *const row = rows[i % 3];
        const int *const above = rows[(i + 2) % 3], *const above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            if (i == 0) {
                row[j] = j;
                continue;
            }
            const int other = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(other, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[m % 3][n];
}

cli_nearest cli_nearest_to(const char *word) {
    /* One slip in three letters is still a slip; more is another word. */
    const size_t letters = strlen(word);
    return (cli_nearest){.word = word, .slips = letters > LONGEST ? 0 : 1 + ((int)letters + 1) / 3};
}

void cli_nearest_try(cli_nearest *nearest, const char *name) {
    if (nearest->slips == 0 || strlen(name) > LONGEST)
        return;
    const int slips = slips_between(nearest->word, name);
    if (slips >= nearest->slips)
        return;
    nearest->slips = slips;
    memcpy(nearest->name, name, strlen(name) + 1);
}

const char *cli_nearest_hint(const cli_nearest *nearest, char text[96]) {
    text[0] = '\0';
    if (nearest->name[0] != '\0')
        (void)snprintf(text, 96, " (did you mean '%s'?)", nearest->name);
    return text;
}
