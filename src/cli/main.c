/* main.c - the command. */
#include "gka/base.h"

#include <stdio.h>

int main(void) {
    printf("gka %s\n", gka_version());
    return 0;
}
