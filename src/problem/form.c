/* form.c - the iterations by name. */
#include "gka/problem.h"

#include <string.h>

static const char *const names[] = {"three-term", "two-term", "cg", "cg-consistent", "misprinted"};

const char *gka_form_name(gka_form form) {
    return names[form];
}

int gka_form_find(const char *name) {
    for (int i = 0; i <= GKA_FORM_MISPRINTED; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}
