/* vector.c - a random orthonormal basis, by Gram and Schmidt's process on a Gaussian matrix.
 *
 * Each row is freed of the rows before it, one after the other, and that twice ("twice is enough",
 * Kahan in Parlett, The Symmetric Eigenvalue Problem, 6.9): rows orthonormal to about n u. With
 * positive norms the distribution is the uniform one (Stewart, SIAM J. Numer. Anal. 17, 1980).
 */
#include "problem/vector.h"

#include <math.h>

void gka_make_basis(int64_t n, double *rows) {
    for (int64_t i = 0; i < n; i++) {
        double *const row = rows + i * n;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < i; j++)
                vector_add_scaled(n, -vector_dot(n, rows + j * n, row), rows + j * n, row);
        const double size = sqrt(vector_dot(n, row, row));
        for (int64_t d = 0; d < n; d++)
            row[d] /= size;
    }
}
