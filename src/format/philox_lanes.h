/* philox_lanes.h - Philox4x64-10 (gka_philox) for several counters side by side, as vectors.
 *
 * A product of 64 by 64 bits is made of four of 32 by 32, which vector units have. The counters are
 * (block, 0, 0, 0), so that the first round multiplies one word and the second one: what gka_philox
 * does with zeros and constants there is left out. Compiled once for each instruction set.
 */
#ifndef GKA_FORMAT_PHILOX_LANES_H
#define GKA_FORMAT_PHILOX_LANES_H

#include "format/round.h"

/* Counters that advance together. */
enum { GKA_PHILOX_LANES = 16 };

#if defined(__AVX512F__)
#include <immintrin.h>
enum { GKA_PHILOX_WIDTH = 8 };
typedef __m512i gka_vector;
#define GKA_V_MUL(a, b)     _mm512_mul_epu32(a, b)
#define GKA_V_ADD(a, b)     _mm512_add_epi64(a, b)
#define GKA_V_XOR(a, b)     _mm512_xor_si512(a, b)
#define GKA_V_AND(a, b)     _mm512_and_si512(a, b)
#define GKA_V_HIGH(a)       _mm512_srli_epi64(a, 32)
#define GKA_V_JOIN(high, a) _mm512_mask_blend_epi32(0xaaaa, a, _mm512_slli_epi64(high, 32))
#define GKA_V_ALL(a)        _mm512_set1_epi64((long long)(a))
#define GKA_V_LOAD(p)       _mm512_loadu_si512(p)
#define GKA_V_STORE(p, a)   _mm512_storeu_si512(p, a)
/* a_0 b_0 a_1 b_1 .. of words of 64 bits: the lower half of these, or the upper one */
#define GKA_V_MIX_LOW(a, b)                                                                        \
    _mm512_permutex2var_epi64(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b)
#define GKA_V_MIX_HIGH(a, b)                                                                       \
    _mm512_permutex2var_epi64(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b)
/* the upper halves of a and of b, side by side */
#define GKA_V_UPPERS(a, b) _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(a, 32), b)
#elif defined(__AVX2__)
#include <immintrin.h>
enum { GKA_PHILOX_WIDTH = 4 };
typedef __m256i gka_vector;
#define GKA_V_MUL(a, b)     _mm256_mul_epu32(a, b)
#define GKA_V_ADD(a, b)     _mm256_add_epi64(a, b)
#define GKA_V_XOR(a, b)     _mm256_xor_si256(a, b)
#define GKA_V_AND(a, b)     _mm256_and_si256(a, b)
#define GKA_V_HIGH(a)       _mm256_srli_epi64(a, 32)
#define GKA_V_JOIN(high, a) _mm256_blend_epi32(a, _mm256_slli_epi64(high, 32), 0xaa)
#define GKA_V_ALL(a)        _mm256_set1_epi64x((long long)(a))
#define GKA_V_LOAD(p)       _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define GKA_V_STORE(p, a)   _mm256_storeu_si256((__m256i *)(void *)(p), a)
#define GKA_V_MIX_(a, b, h)                                                                        \
    _mm256_permute2x128_si256(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b), h)
#define GKA_V_MIX_LOW(a, b)  GKA_V_MIX_(a, b, 0x20)
#define GKA_V_MIX_HIGH(a, b) GKA_V_MIX_(a, b, 0x31)
#define GKA_V_UPPERS(a, b)   _mm256_blend_epi32(_mm256_srli_epi64(a, 32), b, 0xaa)
#endif

#ifdef GKA_V_MUL

/* A multiplier and its upper half, in every lane. */
typedef struct gka_multiplier {
    gka_vector all, high;
} gka_multiplier;

/* hi 2^64 + lo = a m, with a = a_h 2^32 + a_l and m likewise:
 *   t = a_l m_h + floor(a_l m_l / 2^32),  u = a_h m_l + (t mod 2^32); neither reaches 2^64 */
GKA_INLINE void gka_wide_product(gka_vector a, gka_multiplier m, gka_vector *hi, gka_vector *lo) {
    const gka_vector low_half = GKA_V_ALL(0xffffffff), a_high = GKA_V_HIGH(a);
    const gka_vector ll = GKA_V_MUL(a, m.all), lh = GKA_V_MUL(a, m.high);
    const gka_vector hl = GKA_V_MUL(a_high, m.all), hh = GKA_V_MUL(a_high, m.high);
    const gka_vector t = GKA_V_ADD(lh, GKA_V_HIGH(ll));
    const gka_vector u = GKA_V_ADD(hl, GKA_V_AND(t, low_half));
    *hi = GKA_V_ADD(GKA_V_ADD(hh, GKA_V_HIGH(t)), GKA_V_HIGH(u));
    *lo = GKA_V_JOIN(u, ll);
}

/* The low half of a b; its high half in *hi. */
GKA_INLINE uint64_t gka_wide(uint64_t a, uint64_t b, uint64_t *hi) {
    const uint64_t half = 0xffffffff, ll = (a & half) * (b & half);
    const uint64_t t = (a >> 32) * (b & half) + (ll >> 32), u = (a & half) * (b >> 32) + (t & half);
    *hi = (a >> 32) * (b >> 32) + (t >> 32) + (u >> 32);
    return u << 32 | (ll & half);
}

enum { GKA_PHILOX_VECTORS = 16 / GKA_PHILOX_WIDTH }; /* at a time, each in the gaps of the other */

/* c[v][w]: word w of Philox with the counters (block, 0, 0, 0), blocks at block[v], and a stream's
 * key. */
GKA_INLINE void gka_philox_rounds(uint64_t seed, const gka_vector block[GKA_PHILOX_VECTORS],
                                  gka_vector c[GKA_PHILOX_VECTORS][4]) {
    enum { ROUNDS = 10 };
    static const uint64_t multiplier[2] = {UINT64_C(0xD2E7470EE14C6C93),
                                           UINT64_C(0xCA5A826395121157)};
    const gka_multiplier m0 = {GKA_V_ALL(multiplier[0]), GKA_V_ALL(multiplier[0] >> 32)},
                         m1 = {GKA_V_ALL(multiplier[1]), GKA_V_ALL(multiplier[1] >> 32)};
    uint64_t k0 = seed, k1 = GKA_STREAM_KEY;
    for (int v = 0; v < GKA_PHILOX_VECTORS; v++) { /* the first round, of (block, 0, 0, 0) */
        gka_vector hi, lo;
        gka_wide_product(block[v], m0, &hi, &lo);
        c[v][0] = GKA_V_ALL(k0);
        c[v][1] = GKA_V_ALL(0);
        c[v][2] = GKA_V_XOR(hi, GKA_V_ALL(k1));
        c[v][3] = lo;
    }
    for (int round = 1; round < ROUNDS; round++) {
        k0 += UINT64_C(0x9E3779B97F4A7C15);
        k1 += UINT64_C(0xBB67AE8584CAA73B);
        for (int v = 0; v < GKA_PHILOX_VECTORS; v++) {
            gka_vector hi0, lo0, hi1, lo1;
            if (round > 1) {
                gka_wide_product(c[v][0], m0, &hi0, &lo0);
            } else { /* the seed, in every lane */
                uint64_t hi;
                lo0 = GKA_V_ALL(gka_wide(multiplier[0], seed, &hi));
                hi0 = GKA_V_ALL(hi);
            }
            gka_wide_product(c[v][2], m1, &hi1, &lo1);
            c[v][0] = GKA_V_XOR(GKA_V_XOR(hi1, c[v][1]), GKA_V_ALL(k0));
            c[v][1] = lo1;
            c[v][2] = GKA_V_XOR(GKA_V_XOR(hi0, c[v][3]), GKA_V_ALL(k1));
            c[v][3] = lo0;
        }
    }
}

/* words[w][i] = word w of Philox with the counter (block[i], 0, 0, 0) and a stream's key. */
GKA_INLINE void gka_philox_lanes(uint64_t seed, const uint64_t block[GKA_PHILOX_LANES],
                                 uint64_t words[4][GKA_PHILOX_LANES]) {
    for (int i = 0; i < GKA_PHILOX_LANES; i += GKA_PHILOX_VECTORS * GKA_PHILOX_WIDTH) {
        gka_vector blocks[GKA_PHILOX_VECTORS], c[GKA_PHILOX_VECTORS][4];
        for (int v = 0; v < GKA_PHILOX_VECTORS; v++)
            blocks[v] = GKA_V_LOAD(block + i + v * GKA_PHILOX_WIDTH);
        gka_philox_rounds(seed, blocks, c);
        for (int v = 0; v < GKA_PHILOX_VECTORS; v++)
            for (int w = 0; w < 4; w++)
                GKA_V_STORE(words[w] + i + v * GKA_PHILOX_WIDTH, c[v][w]);
    }
}

/* The upper halves of numbers 4 first .. 4 first + 63 of a seed's stream, in order. */
GKA_INLINE void gka_philox_uppers(uint64_t seed, uint64_t first,
                                  uint32_t bits[4 * GKA_PHILOX_LANES]) {
    static const uint64_t counting[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const gka_vector lane = GKA_V_LOAD(counting);
    for (int i = 0; i < GKA_PHILOX_LANES; i += GKA_PHILOX_VECTORS * GKA_PHILOX_WIDTH) {
        gka_vector blocks[GKA_PHILOX_VECTORS], c[GKA_PHILOX_VECTORS][4];
        for (int v = 0; v < GKA_PHILOX_VECTORS; v++)
            blocks[v] = GKA_V_ADD(lane, GKA_V_ALL(first + (uint64_t)(i + v * GKA_PHILOX_WIDTH)));
        gka_philox_rounds(seed, blocks, c);
        for (int v = 0; v < GKA_PHILOX_VECTORS; v++) {
            uint32_t *const to = bits + 4 * (i + v * GKA_PHILOX_WIDTH);
            const gka_vector a = GKA_V_UPPERS(c[v][0], c[v][1]), b = GKA_V_UPPERS(c[v][2], c[v][3]);
            GKA_V_STORE(to, GKA_V_MIX_LOW(a, b));
            GKA_V_STORE(to + 2 * GKA_PHILOX_WIDTH, GKA_V_MIX_HIGH(a, b));
        }
    }
}

#else

GKA_INLINE void gka_philox_lanes(uint64_t seed, const uint64_t block[GKA_PHILOX_LANES],
                                 uint64_t words[4][GKA_PHILOX_LANES]) {
    for (int i = 0; i < GKA_PHILOX_LANES; i++) {
        uint64_t bits[4];
        gka_round_random_block(seed, block[i], bits);
        for (int w = 0; w < 4; w++)
            words[w][i] = bits[w];
    }
}

GKA_INLINE void gka_philox_uppers(uint64_t seed, uint64_t first,
                                  uint32_t bits[4 * GKA_PHILOX_LANES]) {
    for (int i = 0; i < GKA_PHILOX_LANES; i++) {
        uint64_t words[4];
        gka_round_random_block(seed, first + (uint64_t)i, words);
        for (int w = 0; w < 4; w++)
            bits[4 * i + w] = (uint32_t)(words[w] >> 32);
    }
}

#endif

/* Numbers 4 first .. 4 first + 63 of a seed's stream, in order (gka_round_random). */
GKA_INLINE void gka_philox_stream(uint64_t seed, uint64_t first,
                                  uint64_t bits[4 * GKA_PHILOX_LANES]) {
    uint64_t block[GKA_PHILOX_LANES], words[4][GKA_PHILOX_LANES];
    for (int i = 0; i < GKA_PHILOX_LANES; i++)
        block[i] = first + (uint64_t)i;
    gka_philox_lanes(seed, block, words);
    for (int i = 0; i < GKA_PHILOX_LANES; i++)
        for (int w = 0; w < 4; w++)
            bits[4 * i + w] = words[w][i];
}

#endif
