/* progress.c - a bar on a terminal, with the time that is left. */
#include "cli/cli.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 30 };
static const double quiet_s = 0.5, every_s = 0.1;

const char *volatile cli_last_words;

static double now_s(void) {
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void draw(cli_progress *p, double share, double elapsed) {
    char bar[BAR + 1] = {0};
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(share * BAR) ? '#' : '.';
    const double left = share > 0 ? elapsed * (1 - share) / share : 0;
    const long seconds = left < 1e6 ? (long)(left + .5) : 999999;
    /* To the line's start, the bar, and whatever an earlier, longer line left is wiped. */
    fprintf(p->err, "\r%.40s [%s] %3.0f %%, %ld:%02ld left\033[K", p->label, bar, 100 * share,
            seconds / 60, seconds % 60);
    (void)fflush(p->err);
    p->visible = true;
}

static bool report(void *context, double done, double total) {
    cli_progress *const p = context;
    const double now = now_s(), elapsed = now - p->start;
    if (elapsed >= quiet_s && now - p->shown >= every_s && total > 0) {
        p->shown = now;
        draw(p, done < total ? done / total : 1, elapsed);
    }
    return true;
}

gka_progress cli_progress_start(cli_progress *progress, cli *c, const char *label) {
    const char *const slash = strrchr(label, '/');
    *progress = (cli_progress){.err = c->err,
                               .label = slash == NULL || slash[1] == '\0' ? label : slash + 1,
                               .start = now_s()};
    const int fd = fileno(c->err);
    if (fd < 0 || !isatty(fd))
        return (gka_progress){0};
    return (gka_progress){.report = report, .context = progress};
}

void cli_progress_end(cli_progress *progress) {
    if (!progress->visible)
        return;
    fputs("\r\033[K", progress->err);
    (void)fflush(progress->err);
    progress->visible = false;
}
