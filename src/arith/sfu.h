/* sfu.h - the special function unit of an H100 (MUFU), and the PTX functions built on it.
 *
 * Encodings of binary32 in, encodings out. Subnormal inputs of the unit count as zero and
 * subnormal results become zero; its only NaN is 0x7FFFFFFF.
 */
#ifndef ARITH_SFU_H
#define ARITH_SFU_H

#include <stdint.h>

/* What the unit computes: ex2.approx.ftz, rcp.approx.ftz, sqrt.approx.ftz, rsqrt.approx.ftz. */
uint32_t gka_sfu_ex2(uint32_t x);
uint32_t gka_sfu_rcp(uint32_t x);
uint32_t gka_sfu_sqrt(uint32_t x);
uint32_t gka_sfu_rsqrt(uint32_t x);

/* ex2.approx: with subnormal results, by squaring the unit's 2^(x/2) below -126. */
float gka_ptx_ex2(float x);
float gka_ptx_sqrt(float x); /* sqrt.approx.ftz */
/* div.full: x times the unit's 1/y, both scaled first when y is subnormal or at least 2^126. */
float gka_ptx_div_full(float x, float y);

#endif
