/* gradient_group.c - where a group's results lie, and which of them vanish by structure. */
#include "oracle/certified_gradient.h"

#include <string.h>

const char *gka_gradient_name(gka_gradient tensor) {
    static const char *const names[GKA_GRADIENTS] = {
        "dq", "dk", "dv", "dalpha", "dg", "dh0", "du0", "p", "dg_h", "dg_u", "x", "fro", "o"};
    return names[tensor];
}

int gka_gradient_output(gka_of of, gka_gradient tensor) {
    switch (tensor) {
    case GKA_GRADIENT_X: return GKA_OUT_X;
    case GKA_GRADIENT_FRO: return GKA_OUT_FRO;
    case GKA_GRADIENT_O: return GKA_OUT_O;
    default: return GKA_GRADIENT_OUTPUT(of, DQ) + (int)tensor;
    }
}

double *gka_gradient_member(gka_of of, const gka_outputs *outputs, gka_gradient tensor) {
    return outputs->of[gka_gradient_output(of, tensor)];
}

const double *gka_given_state(const gka_run *run, int64_t n, int64_t t, int64_t h) {
    const gka_upstream *const given = run->options->given;
    const double *const states = given == NULL ? NULL : given->h_chunk;
    const int64_t number = states == NULL ? -1 : gka_at_chunk(run->problem, n, t, h);
    return number < 0 ? NULL : states + number * run->problem->D * run->problem->D;
}

int64_t gka_group_place(const gka_group *g, gka_gradient tensor, int64_t head, int64_t t,
                        int64_t *count) {
    const gka_problem *const p = g->run->problem;
    const int64_t D = g->D, V = g->V, matrix = g->n * p->H + g->h + head;
    const int64_t row = gka_at(p, g->span.b, t, g->h + head) - g->base;
    const int64_t key = gka_at_group(p, g->span.b, t, g->h) - g->base;
    switch (tensor) {
    case GKA_GRADIENT_DK: *count = D; return key * D;
    case GKA_GRADIENT_DV: *count = V; return key * V;
    case GKA_GRADIENT_DH0: *count = D * D; return matrix * D * D;
    case GKA_GRADIENT_DU0: *count = D * V; return matrix * D * V;
    case GKA_GRADIENT_O: *count = V; return row * V;
    case GKA_GRADIENT_P:
    case GKA_GRADIENT_DQ:
    case GKA_GRADIENT_X: *count = D; return row * D;
    default: *count = 1; return row;
    }
}

bool gka_group_zero(const gka_group *g, gka_gradient tensor, int64_t head, int64_t i) {
    const int64_t D = g->D, V = g->V;
    const unsigned char *const rows = g->rows + head * D, *const columns = g->columns + head * V;
    switch (tensor) {
    case GKA_GRADIENT_P:
    case GKA_GRADIENT_DQ:
    case GKA_GRADIENT_X: return rows[i] == 0;
    case GKA_GRADIENT_DK: return g->rows[g->heads * D + i] == 0;
    case GKA_GRADIENT_DV: return g->columns[g->heads * V + i] == 0;
    case GKA_GRADIENT_DH0: return rows[i / D] == 0 || rows[i % D] == 0;
    case GKA_GRADIENT_DU0: return rows[i / V] == 0 || columns[i % V] == 0;
    default: return false;
    }
}

uint16_t *gka_group_needs(const gka_group *g, gka_gradient tensor, int64_t head, int64_t t) {
    const bool last = tensor == GKA_GRADIENT_DH0 || tensor == GKA_GRADIENT_DU0;
    return g->needs + head * g->stride + ((last ? g->to : t) - g->from);
}

static void touch(int64_t n, const double *x, unsigned char *touched) {
    for (int64_t i = 0; i < n; i++)
        touched[i] |= !(x[i] == 0);
}

/* Rows of a [D, columns] matrix, and columns. */
static void touch_matrix(int64_t D, int64_t columns, const double *M, unsigned char *rows,
                         unsigned char *touched) {
    for (int64_t i = 0; i < D * columns; i++) {
        rows[i / columns] |= !(M[i] == 0);
        touched[i % columns] |= !(M[i] == 0);
    }
}

static void structure_of_token(gka_group *g, int64_t head, int64_t t) {
    const gka_problem *const p = g->run->problem;
    const gka_upstream *const given = g->run->options->given;
    const int64_t D = g->D, V = g->V, b = g->span.b, h = g->h + head, row = gka_at(p, b, t, h);
    unsigned char *const rows = g->rows + head * D, *const columns = g->columns + head * V;
    double *const x = g->head.row;
    gka_problem_q(p, b, t, h, x);
    touch(D, x, rows);
    gka_problem_k(p, b, t, h, x);
    touch(D, x, rows);
    if (V > 0)
        gka_problem_dout(p, b, t, h, x);
    else
        gka_problem_dx(p, b, t, h, x);
    touch(V > 0 ? V : D, x, V > 0 ? columns : rows);
    if (given == NULL)
        return;
    if (given->x != NULL)
        touch(D, given->x + row * D, rows);
    if (given->p != NULL)
        touch(D, given->p + row * D, rows);
    const double *const state = gka_given_state(g->run, g->n, t, h);
    if (state != NULL)
        touch_matrix(D, D, state, rows, rows);
}

/* A chain of structure: x_i and p_i vanish where row and column i of every H do (its keys and its
 * initial state) and q_i and dx_i; so does row i of U where u0's does, hence dq'_i; and then row
 * and column i of A, row i of E. Column j of E vanishes where do_j and du_final's column do. */
void gka_group_structure(gka_group *g) {
    const gka_problem *const p = g->run->problem;
    const int64_t D = g->D, V = g->V;
    double *const row = g->head.row;
    const gka_oracle_window *const window = g->run->options->window;
    memset(g->rows, 0, (size_t)((g->heads + 1) * (D + V)));
    for (int64_t head = 0; head < g->heads; head++) {
        unsigned char *const rows = g->rows + head * D, *const columns = g->columns + head * V;
        for (int64_t t = g->span.begin; t < g->span.end; t++) {
            structure_of_token(g, head, t);
            if (window != NULL && window->passed != NULL && (t + 1) % window->tokens == 0)
                window->passed(window->context);
        }
        gka_problem_h0(p, g->n, g->h + head, row);
        touch_matrix(D, D, row, rows, rows);
        gka_problem_dh_final(p, g->n, g->h + head, row);
        touch_matrix(D, D, row, rows, rows);
        if (V > 0) {
            unsigned char *const values = g->columns + g->heads * V; /* not yet in use */
            gka_problem_u0(p, g->n, g->h + head, row);
            touch_matrix(D, V, row, rows, values);
            memset(values, 0, (size_t)V);
            gka_problem_du_final(p, g->n, g->h + head, row);
            touch_matrix(D, V, row, rows, columns);
        }
    }
    for (int64_t i = 0; i < g->heads * D; i++)
        g->rows[g->heads * D + i % D] |= g->rows[i];
    for (int64_t i = 0; i < g->heads * V; i++)
        g->columns[g->heads * V + i % V] |= g->columns[i];
}
