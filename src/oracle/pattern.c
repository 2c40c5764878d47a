/* pattern.c - zeros that hold by structure: entries of H, U, x, o that no product has touched. */
#include "oracle/certified_head.h"

#include <string.h>

static int64_t touch(unsigned char *entry) {
    const int64_t fresh = *entry == 0;
    *entry = 1;
    return fresh;
}

void gka_pattern_empty(gka_pattern *p) {
    memset(p->pair, 0, (size_t)(p->D * p->D));
    memset(p->entry, 0, (size_t)(p->D * p->V));
    p->pairs = p->entries = 0;
}

void gka_pattern_start(gka_pattern *p, const double *h0, const double *u0) {
    gka_pattern_empty(p);
    for (int64_t i = 0; i < p->D; i++)
        for (int64_t j = 0; j < p->D; j++)
            if (h0[i * p->D + j] != 0 || h0[j * p->D + i] != 0)
                p->pairs += touch(p->pair + i * p->D + j);
    for (int64_t i = 0; u0 != NULL && i < p->D * p->V; i++)
        if (u0[i] != 0)
            p->entries += touch(p->entry + i);
}

void gka_pattern_add(gka_pattern *p, const double *k, const double *v) {
    if (p->pairs < p->D * p->D)
        for (int64_t i = 0; i < p->D; i++)
            for (int64_t j = 0; k[i] != 0 && j < p->D; j++)
                if (k[j] != 0)
                    p->pairs += touch(p->pair + i * p->D + j);
    if (v != NULL && p->entries < p->D * p->V)
        for (int64_t i = 0; i < p->D; i++)
            for (int64_t j = 0; k[i] != 0 && j < p->V; j++)
                if (v[j] != 0)
                    p->entries += touch(p->entry + i * p->V + j);
}

void gka_pattern_solve(gka_pattern *p, const double *q) {
    bool grown = true;
    for (int64_t i = 0; i < p->D; i++)
        p->zero[i] = q[i] == 0;
    for (; grown;) {
        grown = false;
        for (int64_t i = 0; i < p->D; i++)
            for (int64_t j = 0; p->zero[i] == 0 && j < p->D; j++)
                if (p->pair[i * p->D + j] != 0 && p->zero[j] != 0) {
                    p->zero[j] = 0;
                    grown = true;
                }
    }
}

bool gka_pattern_zero_o(const gka_pattern *p, double alpha, const double *q, int64_t v) {
    for (int64_t i = 0; i < p->D; i++) {
        const bool no_q = q[i] == 0 || alpha == 1, no_x = p->zero[i] != 0 || alpha == 0;
        if (p->entry[i * p->V + v] != 0 && !(no_q && no_x))
            return false;
    }
    return true;
}
