/* replay.c - the corpus through the fuzz target, without libFuzzer: every file of a directory. */
#include "fuzz/target.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

/* The exact size, so that a sanitizer sees the first byte read beyond it. */
static int replay(const char *directory, const char *name) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *const stream = fopen(path, "rb");
    if (stream == NULL || fseek(stream, 0, SEEK_END) != 0)
        return 1;
    const long size = ftell(stream);
    rewind(stream);
    uint8_t *const bytes = malloc(size > 0 ? (size_t)size : 1);
    const size_t read = bytes == NULL ? 0 : fread(bytes, 1, (size_t)size, stream);
    fclose(stream);
    if (read == (size_t)size)
        (void)LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
    return read != (size_t)size;
}

int main(int argc, char **argv) {
    DIR *const directory = argc == 2 ? opendir(argv[1]) : NULL;
    if (directory == NULL) {
        fprintf(stderr, "usage: fuzz_replay DIRECTORY\n");
        return 2;
    }
    int count = 0, failed = 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.') {
            count++;
            failed += replay(argv[1], entry->d_name);
        }
    closedir(directory);
    printf("%d inputs replayed, %d could not be read\n", count, failed);
    return count == 0 || failed != 0;
}
