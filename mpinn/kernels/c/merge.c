/* How the workers' weights become the master's: the formulas of mpinn/merging, compiled; docs/numerics.md has them in
   words. Sums are of integers, or of multiples of one small number: exact, so their order does not matter. */

#include "merge.h"

#include <math.h>

#include "vectors.h"

#define BLOCK 512          /* weights whose steps stay in the nearest cache */
#define GRID 0x1p40        /* steps of the velocity in a unit: mpinn/merging/block_momentum.py */

static inline uint32_t most(uint32_t a, uint32_t b) { return a > b ? a : b; }

static uint32_t largest_of(const float *x, size_t n)
{
    uint32_t found = 0, bits;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, x + i, sizeof bits);
        found = most(found, bits & 0x7FFFFFFF);
    }
    return found;
}

/* step = learned - master; whole = step * factor, cut to most, with WHOLE added: n <= BLOCK of them. */
static void find_steps(float *step, float *whole, const float *learned, const float *master, size_t n, float factor,
                       float limit)
{
    float rest[2][LANES] = {{0}};
    vec by = vec_all(factor), most_whole = vec_all(limit), shift = vec_all(WHOLE);
    for (size_t i = 0; i < n; i += LANES) {
        const float *from = learned + i, *of = master + i;
        if (i + LANES > n) { /* the last, not a whole vector */
            memcpy(rest[0], from, (n - i) * sizeof(float));
            memcpy(rest[1], of, (n - i) * sizeof(float));
            from = rest[0], of = rest[1];
        }
        vec d = vec_sub(vec_load(from), vec_load(of));
        vec_store(step + i, d);
        vec_store(whole + i, vec_add(vec_cut(vec_mul(d, by), most_whole), shift));
    }
}

#define STORE_STEPS(name, type)                                                                                        \
    largest name(type *term, const float *learned, const float *master, size_t n, float factor, float limit)           \
    {                                                                                                                  \
        float step[BLOCK], whole[BLOCK];                                                                               \
        largest found = {largest_of(learned, n), 0};                                                                   \
        for (size_t start = 0; start < n; start += BLOCK) {                                                            \
            size_t count = n - start < BLOCK ? n - start : BLOCK;                                                      \
            int32_t bits[BLOCK];                                                                                       \
            find_steps(step, whole, learned + start, master + start, count, factor, limit);                            \
            found.step = most(found.step, largest_of(step, count));                                                    \
            memcpy(bits, whole, sizeof bits);                                                                          \
            for (size_t i = 0; i < count; i++)                                                                         \
                term[start + i] = (type)(bits[i] - WHOLE_BITS);                                                        \
        }                                                                                                              \
        return found;                                                                                                  \
    }
STORE_STEPS(merge_store_int16, int16_t)
STORE_STEPS(merge_store_int32, int32_t)

largest merge_store_float32(float *term, const float *learned, size_t n)
{
    if (term != learned)
        memcpy(term, learned, n * sizeof *term);
    return (largest){largest_of(learned, n), 0};
}

largest merge_store_float64(double *term, const float *learned, size_t n, double exemplars, double constant)
{
    for (size_t i = 0; i < n; i++)
        term[i] = (learned[i] * exemplars + constant) - constant;
    return (largest){largest_of(learned, n), 0};
}

#define ADD(name, type)                                                                                                \
    void name(type *restrict sum, const type *restrict term, size_t n)                                                 \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            sum[i] = (type)(sum[i] + term[i]);                                                                         \
    }
ADD(merge_add_int16, int16_t)
ADD(merge_add_int32, int32_t)
ADD(merge_add_float32, float)
ADD(merge_add_float64, double)

/* One worker's weights become the master's: -0 becomes 0, as in every sum. */
static void copy(float *restrict master, const float *restrict sum, size_t n)
{
    for (size_t i = 0; i < n; i++)
        master[i] = sum[i] + 0.0f;
}

#define MOVE(name, type, base)                                                                                         \
    void name(float *restrict master, float *restrict velocity, const type *restrict sum, size_t n, double share,      \
              double momentum)                                                                                         \
    {                                                                                                                  \
        if (!velocity) {                                                                                               \
            for (size_t i = 0; i < n; i++)                                                                             \
                master[i] = (float)((base) + share * sum[i]);                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                                               \
            double mean = (base) + share * sum[i];                                                                     \
            double moved = (momentum * velocity[i] + mean) - master[i];                                                \
            velocity[i] = (float)(trunc(moved * GRID) * (1 / GRID));                                                   \
            master[i] = (float)(mean + momentum * velocity[i]);                                                        \
        }                                                                                                              \
    }
MOVE(merge_move_int16, int16_t, (double)master[i])
MOVE(merge_move_int32, int32_t, (double)master[i])
static MOVE(move_float32, float, 0.0)
void merge_move_float32(float *master, float *velocity, const float *sum, size_t n, double share, double momentum)
{
    if (!velocity && share == 1.0)
        copy(master, sum, n);
    else
        move_float32(master, velocity, sum, n, share, momentum);
}
MOVE(merge_move_float64, double, 0.0)
