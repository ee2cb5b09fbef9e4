/* How one worker learns one batch, and how images are classified. See kernel.c. */

#ifndef MPINN_KERNEL_H
#define MPINN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

typedef struct kernel kernel;

/* The network, and how it learns. Arrays of `layers` numbers, input and output layer included; they are copied.

   codes: enum activation. divisors: what a layer's net input is divided by. rates: (layers - 1,) by which the learning
   rate of a layer of weights is multiplied. a1, a2: the learning rate times lambda_1 and lambda_2. momentum: of a worker's
   steps, from rest at the start of every batch; a kernel that has some takes no gradients. Returns NULL where there is no
   memory. */
kernel *kernel_new(int layers, const int32_t *units, const int32_t *codes, const int32_t *divisors, int loss, int bias,
                   double alpha, double learning_rate, const double *rates, double a1, double a2, double momentum);
void kernel_free(kernel *k);

/* Learn with another rate from now on. Returns 0, or -1 where there is no memory. */
int kernel_set_rate(kernel *k, double learning_rate, double a1, double a2);

/* Learn without `rate` of the units of hidden layers; scale, shift, dropped (layers,): mpinn/model/dropout.py. Returns 0, or
   -1 where there is no memory. Which ones follows from the seed and the epoch. */
int kernel_set_dropout(kernel *k, double rate, const double *scale, const double *shift, const double *dropped);
void kernel_set_epoch(kernel *k, uint64_t seed, uint64_t epoch);

/* Learn `count` exemplars in their order, from `weights` (parameters,); store the result in `learned`, which may be the
   same array. Where `stepping` is 0 no step is made: stored is minus the mean gradient of the exemplars at `weights`, a
   layer's times its rate and as without the divisors. images (n, units[0]); labels (n,); exemplars (count,): positions in
   both. spent: seconds of thinking and of training, which share the time as they do at every 8th exemplar. lost: the sum of the
   exemplars' losses, each before its step, in units of 2^-24. between: NULL,
   or what is called with `context` between exemplars, after the first and every 32nd on; its time counts for neither.
   Returns 0, -1 where there is no memory, or what `between` returns where it is not 0: then nothing is stored. Where
   `learned` is NULL the result stays in the kernel, for `kernel_give`. */
int kernel_learn(kernel *k, int stepping, const float *weights, const uint8_t *images, const int32_t *labels,
                 const int32_t *exemplars, size_t count, float *learned, double spent[2], int64_t *lost,
                 int (*between)(void *), void *context);

/* Give what was learned last to `take`, once, in parts that follow one another: the position of the first weight, and n
   of them. */
void kernel_give(kernel *k, void (*take)(void *context, size_t first, const float *values, size_t n), void *context);

/* Write the most likely class of each of `count` images, (count, units[0]). */
void kernel_classify(kernel *k, const float *weights, const uint8_t *images, size_t count, int32_t *classes);

/* Return the seconds of the least that learning these exemplars can take: for each, read the first-layer rows that it
   lights and add them up, then read them again, add something to them and write them. */
double kernel_bound(kernel *k, const float *weights, const uint8_t *images, const int32_t *exemplars, size_t count);

const char *kernel_vectors(void); /* which vectors.h chose */
int kernel_fused(void);           /* whether the processor fuses multiplications and additions */

#endif
