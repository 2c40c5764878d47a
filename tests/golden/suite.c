/* suite.c - suites: every case makes a golden, an interrupted suite goes on, the index holds, and
 * several processes make what one makes. */
#include "test.h"

#include "gka/golden.h"

#include "gka/base.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FOLDER "suite_folder"

/* Removes the folder and what is in it. */
static void clear(void) {
    DIR *const folder = opendir(FOLDER);
    if (folder == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char path[300];
        (void)snprintf(path, sizeof path, FOLDER "/%s", entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            assert_int_equal(unlink(path), 0);
    }
    (void)closedir(folder);
    assert_int_equal(rmdir(FOLDER), 0);
}

/* Without hidden ones: of what an interrupted suite leaves, its lock. */
static int files(void) {
    int count = 0;
    DIR *const folder = opendir(FOLDER);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    (void)closedir(folder);
    return count;
}

static struct stat status_of(const char *path) {
    struct stat about = {0};
    assert_int_equal(stat(path, &about), 0);
    return about;
}

/* ---- what they consist of ------------------------------------------------------------------ */

static void test_every_spec_reads(void **state) {
    (void)state;
    size_t cases = 0;
    for (size_t s = 0; gka_suite_names[s] != NULL; s++) {
        const gka_suite_case *one, *other;
        for (size_t i = 0; (one = gka_suite_find(gka_suite_names[s], i)) != NULL; i++, cases++) {
            gka_golden_spec spec;
            gka_error error = {0};
            gka_golden_spec_start(&spec);
            if (gka_golden_spec_read(&spec, one->spec, &error) != GKA_OK)
                fail_msg("%s: %s", one->name, error.text);
            for (size_t k = 0; k < i; k++) {
                other = gka_suite_find(gka_suite_names[s], k);
                assert_string_not_equal(other->name, one->name);
                assert_string_not_equal(other->spec, one->spec);
            }
        }
    }
    assert_true(cases > 50);
    assert_null(gka_suite_find("slow", 0));
}

/* ---- interrupted --------------------------------------------------------------------------- */

/* Says no from a share of the whole on. */
static bool stop_at(void *context, double done, double total) {
    return done < *(double *)context * total;
}

static void test_goes_on(void **state) {
    (void)state;
    clear();
    double share = .05; /* within the second case or the third */
    const gka_progress progress = {.report = stop_at, .context = &share};
    gka_suite_report report = {0};
    gka_error error = {0};
    assert_int_equal(gka_suite_generate("quick", FOLDER, &progress, &report, &error),
                     GKA_INTERRUPTED);
    assert_int_equal(files(), (int)report.made + 1); /* the index, and no temporary */
    const size_t made = report.made;
    assert_in_range(made, 1, 2);
    const struct stat first = status_of(FOLDER "/gated.safetensors");

    share = .2;
    assert_int_equal(gka_suite_generate("quick", FOLDER, &progress, &report, &error),
                     GKA_INTERRUPTED);
    assert_int_equal(report.kept, made);
    assert_int_equal(files(), (int)(report.kept + report.made) + 1);
    assert_int_equal(status_of(FOLDER "/gated.safetensors").st_ino, first.st_ino);

    /* Another spec's golden, and a broken one, are made anew. */
    assert_int_equal(rename(FOLDER "/ungated.safetensors", FOLDER "/gated.safetensors"), 0);
    assert_int_equal(truncate(FOLDER "/gated.safetensors", 5000), 0);
    share = .01;
    assert_int_equal(gka_suite_generate("quick", FOLDER, &progress, &report, &error),
                     GKA_INTERRUPTED);
    assert_int_equal(report.kept, 0);

    gka_suite index;
    assert_int_equal(gka_suite_read(FOLDER, &index, &error), GKA_BAD_FILE);
    assert_non_null(strstr(error.text, "was interrupted"));
    gka_suite_free(&index);
}

/* ---- damaged -------------------------------------------------------------------------------- */

typedef struct told {
    int count[GKA_SUITE_DAMAGED + 1];
    char damaged[64];
} told;

static void tell(void *context, const char *name, gka_suite_state state) {
    told *const t = context;
    t->count[state]++;
    if (state == GKA_SUITE_DAMAGED)
        (void)snprintf(t->damaged, sizeof t->damaged, "%s", name);
}

static void flip_last_byte(const char *path) {
    FILE *const file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    const int byte = getc(file);
    assert_int_equal(fseek(file, -1, SEEK_END), 0);
    assert_int_equal(putc(byte ^ 1, file), byte ^ 1);
    (void)fclose(file);
}

/* index.json of three processes, one of which was killed. */
static char index_of_several[16384];

static size_t read_index(char text[sizeof index_of_several]) {
    FILE *const file = fopen(FOLDER "/index.json", "rb");
    assert_non_null(file);
    const size_t length = fread(text, 1, sizeof index_of_several, file);
    (void)fclose(file);
    assert_in_range(length, 1000, sizeof index_of_several - 1);
    return length;
}

/* Three processes fill the folder; the first is killed in its second case, and another makes that
 * case. Each takes what nobody has in hand, so that together they make each golden about once. */
static void several_processes(void) {
    enum { PROCESSES = 3 };
    pid_t child[PROCESSES];
    int status, made = 0;
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0) {
            gka_suite_report report = {0};
            gka_set_threads(1);
            const gka_status done = gka_suite_generate("quick", FOLDER, NULL, &report, NULL);
            _exit(done == GKA_OK ? (int)report.made : 255);
        }
    }
    const struct timespec moment = {.tv_nsec = 100000000};
    for (int i = 0; access(FOLDER "/gated.safetensors", F_OK) != 0; i++) {
        assert_true(i < 3000); /* five minutes: a child that failed makes none */
        nanosleep(&moment, NULL);
    }
    nanosleep(&moment, NULL);
    assert_int_equal(kill(child[0], SIGKILL), 0);
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        if (i == 0) {
            assert_true(WIFSIGNALED(status));
            continue;
        }
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
        assert_true(WEXITSTATUS(status) > 0);
        made += WEXITSTATUS(status);
    }
    print_message("the two that were left made %d of 13 goldens\n", made);
    assert_in_range(made, 8, 13);
    (void)read_index(index_of_several);
}

/* A damaged golden is named and made anew, and never gets a hash of its own in the index: only what
 * was made here has one. */
static void test_damaged(void **state) {
    (void)state;
    told t = {{0}, ""};
    gka_suite_report report = {.tell = tell, .context = &t};
    gka_error error = {0};
    gka_suite index;
    clear();
    several_processes();
    if (gka_suite_generate("quick", FOLDER, NULL, &report, &error) != GKA_OK)
        fail_msg("%s", error.text);
    const size_t cases = report.kept;
    const struct stat gated = status_of(FOLDER "/gated.safetensors");
    assert_int_equal(t.count[GKA_SUITE_KEPT], cases);
    assert_int_equal(report.made, 0);
    assert_int_equal(files(), (int)cases + 1);
    flip_last_byte(FOLDER "/packed.safetensors");
    assert_int_equal(gka_suite_read(FOLDER, &index, &error), GKA_OK);

    t = (told){{0}, ""};
    assert_int_equal(gka_suite_examine("quick", FOLDER, &report, &error), GKA_OK);
    assert_int_equal(t.count[GKA_SUITE_KEPT], cases - 1);
    assert_string_equal(t.damaged, "packed");
    int bad = 0;
    for (size_t i = 0; i < index.count; i++)
        bad += gka_suite_check(FOLDER, &index.entries[i], &error) == GKA_BAD_FILE;
    assert_int_equal(bad, 1); /* examining has mended nothing */

    assert_int_equal(gka_suite_generate("quick", FOLDER, NULL, &report, &error), GKA_OK);
    assert_int_equal(report.made, 1);
    assert_int_equal(report.kept, cases - 1);
    for (size_t i = 0; i < index.count; i++) /* the old index: the same bytes were made */
        assert_int_equal(gka_suite_check(FOLDER, &index.entries[i], &error), GKA_OK);
    assert_int_equal(status_of(FOLDER "/gated.safetensors").st_ino, gated.st_ino);
    gka_suite_free(&index);
}

static void lose_index(void *context, const char *name, gka_suite_state state) {
    (void)name;
    (void)state;
    if (--*(int *)context == 0)
        assert_int_equal(unlink(FOLDER "/index.json"), 0);
}

/* The folder is one suite's; and no index is called complete that lacks a case. */
static void test_changed_index(void **state) {
    (void)state;
    gka_suite_report report = {0};
    gka_error error = {0};
    char before[sizeof index_of_several], after[sizeof before];
    const size_t length = read_index(before);
    assert_int_equal(gka_suite_generate("edge", FOLDER, NULL, &report, &error), GKA_BAD_FILE);
    assert_string_equal(error.text, FOLDER "/index.json: the index of suite 'quick'; a folder of "
                                           "suite 'edge', or a new one, was expected");
    assert_int_equal(gka_suite_examine("edge", FOLDER, &report, &error), GKA_BAD_FILE);
    assert_int_equal(read_index(after), length);
    assert_memory_equal(after, before, length);

    int left = 0;
    while (gka_suite_find("quick", (size_t)left) != NULL)
        left++;
    report.tell = lose_index;
    report.context = &left;
    assert_int_equal(rename(FOLDER "/index.json", "suite_index.json"), 0);
    assert_int_equal(link("suite_index.json", FOLDER "/index.json"), 0);
    assert_int_equal(gka_suite_generate("quick", FOLDER, NULL, &report, &error), GKA_BAD_FILE);
    assert_non_null(strstr(error.text, "lacks case 'gated'"));
    assert_int_equal(access(FOLDER "/index.json", F_OK), -1);
    assert_int_equal(access(FOLDER "/.lock", F_OK), 0);
    assert_int_equal(rename("suite_index.json", FOLDER "/index.json"), 0);
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* The bytes that one process makes alone: golden/manifest compares those with this file. */
static bool in_manifest(const gka_suite_entry *entry) {
    char line[200], wanted[200];
    bool found = false;
    FILE *const manifest = fopen(GKA_TEST_DATA "/goldens.sha256", "r");
    assert_non_null(manifest);
    (void)snprintf(wanted, sizeof wanted, "%s  %s\n", entry->sha256, entry->file);
    while (!found && fgets(line, sizeof line, manifest) != NULL)
        found = strcmp(line, wanted) == 0;
    (void)fclose(manifest);
    return found;
}

/* The folder that several processes filled is what one makes: each golden, and the index. */
static void test_index(void **state) {
    (void)state;
    gka_suite_report report = {0};
    gka_error error = {0};
    gka_suite index;
    if (gka_suite_generate("quick", FOLDER, NULL, &report, &error) != GKA_OK)
        fail_msg("%s", error.text);
    assert_int_equal(gka_suite_read(FOLDER, &index, &error), GKA_OK);
    assert_int_equal(report.made, 0);
    assert_int_equal(index.count, report.kept);
    assert_int_equal(files(), (int)index.count + 1);
    char text[sizeof index_of_several];
    assert_memory_equal(text, index_of_several, read_index(text));
    for (size_t i = 0; i < index.count; i++) {
        assert_string_equal(index.entries[i].name, gka_suite_find("quick", i)->name);
        assert_true(in_manifest(&index.entries[i]));
        assert_int_equal(gka_suite_check(FOLDER, &index.entries[i], &error), GKA_OK);
    }
    flip_last_byte(FOLDER "/packed.safetensors");
    int bad = 0;
    for (size_t i = 0; i < index.count; i++)
        bad += gka_suite_check(FOLDER, &index.entries[i], &error) == GKA_BAD_FILE;
    assert_int_equal(bad, 1);
    gka_suite_free(&index);
    clear();
}

static void test_bad_index(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{\"cases\": 3}",
        "{\"golden\": \"1\", \"complete\": true, \"cases\": []}",
        "{\"golden\": \"2\", \"complete\": true, \"cases\": [{}]}",
        ("{\"golden\": \"2\", \"complete\": true, \"cases\": [{\"name\": \"a\", \"file\": "
         "\"../b\", \"sha256\": \"c\"}]}")};
    clear();
    assert_int_equal(mkdir(FOLDER, 0777), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FILE *const file = fopen(FOLDER "/index.json", "wb");
        assert_non_null(file);
        assert_true(fputs(bad[i], file) >= 0);
        (void)fclose(file);
        gka_suite index;
        gka_error error = {0};
        assert_int_equal(gka_suite_read(FOLDER, &index, &error), GKA_BAD_FILE);
        assert_non_null(strstr(error.text, "the index of a suite was expected"));
        gka_suite_free(&index);
    }
    clear();
}

static void test_no_such_suite(void **state) {
    (void)state;
    gka_error error = {0};
    assert_int_equal(gka_suite_generate("slow", FOLDER, NULL, NULL, &error), GKA_BAD_ARGUMENT);
    assert_string_equal(error.text, "no suite 'slow': quick, kernel or edge was expected");
    assert_int_equal(gka_suite_generate("quick", "a/b/c", NULL, NULL, &error), GKA_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_spec_reads),
        cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_changed_index),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_bad_index),
        cmocka_unit_test(test_no_such_suite),
    };
    return cmocka_run_group_tests_name("suite", tests, NULL, NULL);
}
