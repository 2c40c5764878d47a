/* main.c - the command as a process: its descriptors, and what a signal leaves behind (nothing). */
#include "cli/cli.h"
#include "gka/io.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Every signal that ends a process and can be caught, but SIGXFSZ: ignored, it makes the write fail
 * with a reason, as on a full disk. */
static const int signals[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE, SIGALRM, SIGXCPU,
                              SIGUSR1, SIGUSR2, SIGSEGV, SIGFPE,  SIGILL,  SIGABRT, SIGSYS};
enum { SIGNALS = sizeof signals / sizeof *signals };

static void say(const char *text) {
    (void)!write(STDERR_FILENO, text, strlen(text));
}

/* Removes half-written files, then dies of the signal, so that a shell sees 128 + its number. Only
 * then: signals come in pairs (timeout sends one to the process and one to its group), the second
 * may reach another thread, and by the default action it would end the process before the first
 * handler is through. */
static void stop(int number) {
    gka_output_abandon_all();
    if (cli_last_words != NULL && number != SIGPIPE)
        say(cli_last_words);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* exit(): a library has ended the process and has said why (libgomp, where it gets no threads). Its
 * exit code 1 would be read as a verdict. */
static void ended_by_library(void) {
    gka_output_abandon_all();
    say("gka: ended by a library that it rests on\n");
    _exit(CLI_INTERNAL);
}

/* A mapped file has lost the page that is read: somebody has cut it short. */
static void lost_page(int number, siginfo_t *about, void *context) {
    (void)context;
    const char *const path = gka_file_at(about->si_addr);
    if (path == NULL) {
        stop(number);
        return;
    }
    gka_output_abandon_all();
    say("gka: ");
    for (const char *c = path; *c != '\0'; c++) {
        const char plain[2] = {(unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c, '\0'};
        say(plain);
    }
    say(": cut short, or its disk lost, while it was read\n");
    _exit(CLI_USAGE);
}

/* What is ignored stays so (nohup, background shells), and what a sanitizer has taken is its own.
 */
static void handle(int number, struct sigaction *action) {
    struct sigaction given;
    if (sigaction(number, NULL, &given) == 0 && given.sa_handler == SIG_DFL)
        (void)sigaction(number, action, NULL);
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = stop};
    (void)sigfillset(&action.sa_mask);
    for (int i = 0; i < SIGNALS; i++)
        handle(signals[i], &action);
    struct sigaction page = {.sa_sigaction = lost_page, .sa_flags = SA_SIGINFO};
    (void)sigfillset(&page.sa_mask);
    handle(SIGBUS, &page);
    (void)signal(SIGXFSZ, SIG_IGN);
    if (!gka_streams_hold())
        return CLI_INTERNAL;
    (void)atexit(ended_by_library);
    const int code = gka_command(argc, (const char *const *)argv, stdout, stderr);
    (void)fflush(NULL);
    /* Not exit(): OpenBLAS waits there for its threads, for ever where the system gave it none. */
    _exit(code);
}
