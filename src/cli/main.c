/* main.c - the command as a process: stdout, stderr, and what Ctrl-C leaves behind (nothing). */
#include "cli/cli.h"
#include "gka/io.h"

#include <signal.h>

/* Removes half-written files, then dies of the signal, so that a shell sees 128 + its number. */
static void stop(int number) {
    gka_output_abandon_all();
    (void)raise(number);
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = stop, .sa_flags = (int)SA_RESETHAND};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    return gka_command(argc, (const char *const *)argv, stdout, stderr);
}
