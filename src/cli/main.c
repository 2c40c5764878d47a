/* main.c - the command as a process: stdout, stderr, and what Ctrl-C leaves behind (nothing). */
#include "cli/cli.h"
#include "gka/io.h"

#include <signal.h>

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { SIGNALS = sizeof signals / sizeof *signals };

/* Removes half-written files, then dies of the signal, so that a shell sees 128 + its number. Only
 * then: signals come in pairs (timeout sends one to the process and one to its group), the second
 * may reach another thread, and by the default action it would end the process before the first
 * handler is through. */
static void stop(int number) {
    gka_output_abandon_all();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = stop};
    (void)sigfillset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction given; /* nohup and background shells have some ignored: so it stays */
        if (sigaction(signals[i], NULL, &given) == 0 && given.sa_handler != SIG_IGN)
            (void)sigaction(signals[i], &action, NULL);
    }
    return gka_command(argc, (const char *const *)argv, stdout, stderr);
}
