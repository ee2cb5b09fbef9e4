/* How the workers' weights become the master's: the formulas of mpinn/merging, compiled. See merge.c. */

#ifndef MPINN_MERGE_H
#define MPINN_MERGE_H

#include <stddef.h>
#include <stdint.h>

/* Write a worker's term of the sum over workers, of n weights, or where it `adds` add it to what is there. Return the bits
   of its largest |weight| and |step|, which are those of a positive float, and in the order of integers: a NaN is beyond
   every number.

   int16, int32: the step, learned - master (NULL: what was learned is one), times `factor`, a whole number between -most
   and most, |most| < 2^22. float32: what was learned. float64: what was learned, times `exemplars`, with `constant` added
   and taken off. */
typedef struct {
    uint32_t weight, step;
} largest;
largest merge_store_int16(int16_t *term, int adds, const float *learned, const float *master, size_t n, float factor,
                          float most);
largest merge_store_int32(int32_t *term, int adds, const float *learned, const float *master, size_t n, float factor,
                          float most);
largest merge_store_float32(float *term, const float *learned, size_t n);
largest merge_store_float64(double *term, int adds, const float *learned, size_t n, double exemplars, double constant);

/* sum += term */
void merge_add_int16(int16_t *sum, const int16_t *term, size_t n);
void merge_add_int32(int32_t *sum, const int32_t *term, size_t n);
void merge_add_float32(float *sum, const float *term, size_t n);
void merge_add_float64(double *sum, const double *term, size_t n);

/* Copy so many bytes that other cores will read, past the caches where the processor can: the lines of `to` that they hold
   would have to be taken from them one by one, which takes long between cores that share no cache. */
void merge_pass_on(void *to, const void *from, size_t bytes);

/* Move the master to the mean or, where there is a velocity, beyond it by block momentum. The mean is share * sum, for
   integers master + share * sum. */
void merge_move_int16(float *master, float *velocity, const int16_t *sum, size_t n, double share, double momentum);
void merge_move_int32(float *master, float *velocity, const int32_t *sum, size_t n, double share, double momentum);
void merge_move_float32(float *master, float *velocity, const float *sum, size_t n, double share, double momentum);
void merge_move_float64(float *master, float *velocity, const double *sum, size_t n, double share, double momentum);

/* start = master + ahead * velocity, where there is one, + share * term: mpinn/merging/overlap.py */
void merge_go_on_int16(float *start, const float *master, const float *velocity, const int16_t *term, size_t n,
                       float share, float ahead);
void merge_go_on_int32(float *start, const float *master, const float *velocity, const int32_t *term, size_t n,
                       float share, float ahead);

#endif
