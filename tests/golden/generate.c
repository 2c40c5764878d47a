/* generate.c - the bytes of made-up problems, pinned: the same on every compiler, optimisation
 * level, thread count and processor. A change here is a change of every golden that is made from
 * them. */
#include "test.h"

#include "gka/problem.h"

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t fnv(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *const b = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ b[i]) * 0x100000001b3;
    return hash;
}

static uint64_t hash_of(const gka_generator *generator) {
    gka_problem problem;
    gka_error error = {0};
    if (gka_problem_generate(generator, &problem, &error) != GKA_OK)
        fail_msg("%s", error.text);
    gka_tensor tensors[GKA_PROBLEM_TENSORS];
    const size_t count = gka_problem_tensors(&problem, tensors);
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < count; i++) {
        hash = fnv(hash, tensors[i].name, strlen(tensors[i].name));
        hash = fnv(hash, tensors[i].data,
                   (size_t)gka_tensor_count(&tensors[i]) * gka_dtype_size(tensors[i].dtype));
    }
    gka_problem_free(&problem);
    return hash;
}

static const struct {
    gka_generator spec;
    uint64_t hash;
} goldens[] = {
#define SHAPE .B = 2, .T = 40, .H = 4, .G = 2, .D = 32, .V = 16, .alpha = true, .cotangents = true
    {{SHAPE, .keys = GKA_KEYS_IID, .gate = GKA_GATE_NONE, .dtype = GKA_BF16, .seed = 1},
     0xceed6f4cad0f9403},
    {{SHAPE, .keys = GKA_KEYS_IID, .gate = GKA_GATE_RELEASED, .dtype = GKA_F64, .h0 = true},
     0x07b29fb1a29414a0},
    {{SHAPE, .keys = GKA_KEYS_POWERLAW, .gate = GKA_GATE_SLOW, .dtype = GKA_F64, .seed = 2},
     0x6b053006a48ff0ad},
    {{SHAPE, .keys = GKA_KEYS_LOWRANK, .gate = GKA_GATE_STRONG, .dtype = GKA_F32, .seed = 3},
     0x914d31ed0dc34c1e},
    {{SHAPE, .keys = GKA_KEYS_REPEAT, .gate = GKA_GATE_RELEASED, .dtype = GKA_F16, .seed = 4},
     0xfb0c2199bd441121},
    {{SHAPE, .keys = GKA_KEYS_RECALL, .gate = GKA_GATE_SLOW, .dtype = GKA_BF16, .seed = UINT64_MAX},
     0xf0e754109cd0a190},
    {{SHAPE, .keys = GKA_KEYS_IID, .plain = true, .dtype = GKA_F8_E4M3, .seed = 5},
     0x34442daaff0e3f29},
    {{SHAPE, .keys = GKA_KEYS_IID, .plain = true, .dtype = GKA_F8_E5M2, .seed = 6},
     0xbcfcf9610761f9c2},
    {{.B = 1,
      .T = 16,
      .H = 1,
      .G = 1,
      .D = 128,
      .V = 0,
      .keys = GKA_KEYS_POWERLAW,
      .gate = GKA_GATE_RELEASED,
      .h0 = true,
      .dtype = GKA_F64,
      .seed = 8},
     0x33fdcbb93282002c},
    {{SHAPE, .keys = GKA_KEYS_MEAN, .gate = GKA_GATE_INIT, .dtype = GKA_BF16, .seed = 9},
     0xa4323e037b47102b},
    {{SHAPE, .keys = GKA_KEYS_CONVSILU, .gate = GKA_GATE_INIT, .dtype = GKA_F64, .seed = 10},
     0xf32bead97496a8a8},
    {{SHAPE, .keys = GKA_KEYS_ALIGNED, .gate = GKA_GATE_SLOW, .dtype = GKA_F32, .seed = 11},
     0xfc39286438631335},
#undef SHAPE
};

static void test_bytes(void **state) {
    (void)state;
    int different = 0;
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            gka_set_threads(threads);
            const uint64_t hash = hash_of(&goldens[i].spec);
            if (hash == goldens[i].hash)
                continue;
            print_error("golden %d: 0x%016llx with %d threads, not 0x%016llx\n", (int)i,
                        (unsigned long long)hash, threads, (unsigned long long)goldens[i].hash);
            different++;
        }
    gka_set_threads(0);
    assert_int_equal(different, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes)};
    return cmocka_run_group_tests_name("generate", tests, NULL, NULL);
}
