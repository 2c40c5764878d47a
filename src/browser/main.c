/* main.c - the command as a function that JavaScript calls: command.js (node) and worker.js. */
#include "cli/cli.h"

#include <emscripten.h>

int gka_browser_command(int argc, const char *const *argv);

/* One run of the command. argv[0] is its name; what it prints goes to the module's print. */
EMSCRIPTEN_KEEPALIVE int gka_browser_command(int argc, const char *const *argv) {
    const int code = gka_command(argc, argv, stdout, stderr);
    (void)fflush(NULL);
    return code;
}
