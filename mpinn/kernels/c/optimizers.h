/* What moves the master along a direction: the formulas of mpinn/merging/optimizers.py, compiled. See optimizers.c. */

#ifndef MPINN_OPTIMIZERS_H
#define MPINN_OPTIMIZERS_H

#include <stddef.h>

enum optimizer { SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, ADAM, NADAM, RPROP, OPTIMIZERS };

#define MOMENTS 2 /* that an optimizer has at most */
#define NUMBERS 8 /* that it has to know at most */

/* Shrink n weights by a1 and a2, and move them along d; moments: those that the optimizer has; c: its numbers. */
void optimize(enum optimizer code, float *weights, float *const moments[MOMENTS], const float *d, size_t n, float a1,
              float a2, const float c[NUMBERS]);

#endif
