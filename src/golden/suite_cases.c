/* suite_cases.c - what the suites consist of. */
#include "gka/golden.h"

#include <string.h>

/* Every feature once, small: ragged ends (T no multiple of the chunk), more than one chunk, states
 * given, grouped heads, packed sequences, all types. */
static const gka_suite_case quick[] = {
    {"gated", "{\"T\": 48, \"D\": 32, \"chunk\": 16}"},
    {"ungated", "{\"T\": 40, \"D\": 16, \"chunk\": 16, \"gate\": \"none\"}"},
    {"ragged", "{\"T\": 75, \"D\": 64, \"H\": 2, \"seed\": 2}"},
    {"strong", "{\"T\": 50, \"D\": 32, \"chunk\": 32, \"gate\": \"strong\"}"},
    {"initial", "{\"T\": 35, \"D\": 32, \"chunk\": 16, \"gate\": \"slow\", \"h0\": true}"},
    {"final",
     "{\"T\": 37, \"D\": 32, \"chunk\": 16, \"gate\": \"slow\", \"h0\": true, \"final\": true}"},
    {"grouped", "{\"T\": 37, \"D\": 32, \"H\": 4, \"G\": 2, \"chunk\": 16, \"gate\": \"slow\"}"},
    {"packed", "{\"lengths\": \"17,1,30\", \"D\": 32, \"chunk\": 16, \"gate\": \"slow\"}"},
    {"iterations", "{\"T\": 37, \"D\": 32, \"chunk\": 16, \"iters\": 3, \"ridge\": 0.005}"},
    {"values", "{\"B\": 2, \"T\": 33, \"D\": 32, \"V\": 16, \"chunk\": 16, \"alpha\": false}"},
    {"repeat", "{\"T\": 40, \"D\": 32, \"chunk\": 16, \"problem\": \"repeat\"}"},
    {"fp16", "{\"T\": 37, \"D\": 32, \"chunk\": 16, \"dtype\": \"fp16\"}"},
    {"fp32", "{\"T\": 37, \"D\": 32, \"chunk\": 16, \"dtype\": \"fp32\", \"gate\": \"slow\"}"},
    {NULL, NULL}};

/* What kernels are run at. */
static const gka_suite_case kernel[] = {
    {"d64_t64", "{\"T\": 64, \"D\": 64}"},
    {"d64_t256_h4", "{\"T\": 256, \"D\": 64, \"H\": 4}"},
    {"d64_t333_ragged", "{\"T\": 333, \"D\": 64, \"H\": 2}"},
    {"d64_t512_h4g1", "{\"T\": 512, \"D\": 64, \"H\": 4, \"G\": 1}"},
    {"d64_t256_h2_mean",
     "{\"T\": 256, \"D\": 64, \"H\": 2, \"problem\": \"mean\", \"gate\": \"init\"}"},
    {"d64_t1024_ungated", "{\"T\": 1024, \"D\": 64, \"gate\": \"none\"}"},
    {"d128_t64", "{\"T\": 64}"},
    {"d128_t256", "{\"T\": 256}"},
    {"d128_t256_h0", "{\"T\": 256, \"h0\": true}"},
    {"d128_t256_final", "{\"T\": 256, \"h0\": true, \"final\": true}"},
    {"d128_t256_h8g2", "{\"T\": 256, \"H\": 8, \"G\": 2}"},
    {"d128_b2t256", "{\"B\": 2, \"T\": 256}"},
    {"d128_t300_ragged", "{\"T\": 300}"},
    {"d128_t300_ungated_ragged", "{\"T\": 300, \"gate\": \"none\"}"},
    {"d128_packed", "{\"lengths\": \"100,1,64,0,257\"}"},
    {"d128_c32", "{\"T\": 256, \"chunk\": 32}"},
    {"d128_a005_r60", "{\"T\": 256, \"ridge\": 0.005, \"iters\": 60}"},
    {"d128_powerlaw", "{\"T\": 256, \"problem\": \"powerlaw\"}"},
    {"d128_lowrank", "{\"T\": 256, \"problem\": \"lowrank\"}"},
    {"d128_repeat", "{\"T\": 256, \"problem\": \"repeat\"}"},
    {"d128_recall_slow", "{\"T\": 256, \"problem\": \"recall\", \"gate\": \"slow\"}"},
    {"d128_no_alpha", "{\"T\": 256, \"alpha\": false}"},
    {"d128_fp16", "{\"T\": 256, \"dtype\": \"fp16\"}"},
    {"d128_fp32", "{\"T\": 256, \"dtype\": \"fp32\"}"},
    {"d128_t512_strong", "{\"T\": 512, \"gate\": \"strong\"}"},
    {"d128_t1024_slow", "{\"T\": 1024, \"gate\": \"slow\"}"},
    {"d128_t2048_ungated", "{\"T\": 2048, \"gate\": \"none\"}"},
    {"d128_t4096", "{\"T\": 4096}"},
    {NULL, NULL}};

/* Where mistakes show. */
static const gka_suite_case edge[] = {
    {"one_token", "{\"T\": 1, \"D\": 64}"},
    {"one_token_h0", "{\"T\": 1, \"D\": 64, \"h0\": true, \"final\": true}"},
    {"short_packed", "{\"T\": 52, \"H\": 4, \"G\": 2, \"D\": 32, \"chunk\": 16, \"lengths\": "
                     "\"1,0,16,17,18\"}"},
    {"r1_a005", "{\"T\": 100, \"D\": 64, \"iters\": 1, \"ridge\": 0.005}"},
    {"r3_a005", "{\"T\": 100, \"D\": 64, \"iters\": 3, \"ridge\": 0.005}"},
    {"r5_a005", "{\"T\": 100, \"D\": 64, \"iters\": 5, \"ridge\": 0.005}"},
    {"r3_ungated", "{\"T\": 100, \"D\": 64, \"iters\": 3, \"gate\": \"none\"}"},
    {"one_key", "{\"T\": 80, \"D\": 32, \"edit\": \"one-key\"}"},
    {"one_key_ungated", "{\"T\": 80, \"D\": 32, \"edit\": \"one-key\", \"gate\": \"none\"}"},
    {"no_keys", "{\"T\": 40, \"D\": 32, \"edit\": \"no-keys\"}"},
    {"no_keys_h0", "{\"T\": 40, \"D\": 32, \"edit\": \"no-keys\", \"h0\": true}"},
    {"late_keys", "{\"T\": 70, \"D\": 32, \"chunk\": 32, \"edit\": \"late-keys\"}"},
    {"zero_queries", "{\"T\": 40, \"D\": 32, \"edit\": \"zero-queries\"}"},
    {"gamma_one", "{\"T\": 70, \"D\": 32, \"chunk\": 32, \"edit\": \"gamma-one\"}"},
    {"gamma_zero", "{\"T\": 70, \"D\": 32, \"chunk\": 32, \"edit\": \"gamma-zero\"}"},
    {"gamma_tiny", "{\"T\": 70, \"D\": 32, \"chunk\": 32, \"edit\": \"gamma-tiny\"}"},
    {"subnormal", "{\"T\": 40, \"D\": 32, \"edit\": \"subnormal\"}"},
    {"subnormal_fp16", "{\"T\": 40, \"D\": 32, \"dtype\": \"fp16\", \"edit\": \"subnormal\"}"},
    {"subnormal_fp32", "{\"T\": 40, \"D\": 32, \"dtype\": \"fp32\", \"edit\": \"subnormal\"}"},
    {"largest_value", "{\"T\": 40, \"D\": 32, \"edit\": \"largest-value\"}"},
    {"largest_value_fp16",
     "{\"T\": 40, \"D\": 32, \"dtype\": \"fp16\", \"edit\": \"largest-value\"}"},
    {"largest_key", "{\"T\": 40, \"D\": 32, \"edit\": \"largest-key\"}"},
    {"largest_key_fp16", "{\"T\": 40, \"D\": 32, \"dtype\": \"fp16\", \"edit\": \"largest-key\"}"},
    {"a_1e4", "{\"T\": 40, \"D\": 32, \"ridge\": 1e4}"},
    {"a_1e30", "{\"T\": 40, \"D\": 32, \"ridge\": 1e30}"},
    {"a_1e-6", "{\"T\": 40, \"D\": 32, \"ridge\": 1e-6}"},
    {"a_1e-12", "{\"T\": 40, \"D\": 32, \"ridge\": 1e-12}"},
    {NULL, NULL}};

const char *const gka_suite_names[] = {"quick", "kernel", "edge", NULL};
static const gka_suite_case *const suites[] = {quick, kernel, edge};

const gka_suite_case *gka_suite_find(const char *suite, size_t i) {
    for (size_t s = 0; gka_suite_names[s] != NULL; s++)
        if (strcmp(gka_suite_names[s], suite) == 0) {
            size_t count = 0;
            while (suites[s][count].name != NULL)
                count++;
            return i < count ? &suites[s][i] : NULL;
        }
    return NULL;
}
