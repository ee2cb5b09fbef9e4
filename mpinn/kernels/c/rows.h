/* The loops over rows of weights: everything that is done once for every weight that an exemplar touches.

   Rows are whole vectors long, and are processed in tiles of columns: the sums of a tile stay in registers while the rows
   pass. Of the first layer a row is a pixel's, of the later ones a unit's (kernel.c has the layout). */

#ifndef MPINN_ROWS_H
#define MPINN_ROWS_H

#include <stddef.h>

#include "vectors.h"

#define ALWAYS static inline __attribute__((always_inline))
#define LEAST_THRESHOLD 0x1p-50f /* of an update's shrink: what is below becomes 0, never a denormal number */

/* Rows of weights: which, the phi that each is multiplied by, and the threshold that it owes; the first `owing` do. */
typedef struct {
    int count, owing;
    int32_t *index;
    float *phi, *owed;
    float *coast, *decay; /* by what a row moves along its velocity first, and what that is multiplied by */
} rows;

/* ---- the loops over rows; n, the vectors of a tile, is a constant wherever they are called ---- */

/* Keep one address for a row, instead of one for each of its vectors. */
#define ONE_ADDRESS(row) __asm__("" : "+r"(row))

/* total += the sum over rows of phi * (w, shrunk by what it owes), first of those that owe something. */
ALWAYS void add_tile(const int n, float *total, const float *w, size_t stride, rows r)
{
    const int pairs = n / 2, last = 2 * LANES * pairs;
    wide sum[WIDEST / 2 + 1];
    vec odd = vec_all(0.0f);
    for (int p = 0; p < pairs; p++)
        sum[p] = wide_load(total + 2 * LANES * p);
    if (n % 2)
        odd = vec_load(total + last);
    for (int i = 0; i < r.owing; i++) {
        const float *row = w + (size_t)r.index[i] * stride;
        wide phi = wide_all(r.phi[i]), d = wide_all(r.owed[i]);
        ONE_ADDRESS(row);
        for (int p = 0; p < pairs; p++) {
            wide u = wide_load(row + 2 * LANES * p);
            sum[p] = wide_fma(phi, wide_sub(u, wide_cut(u, d)), sum[p]);
        }
        if (n % 2) {
            vec u = vec_load(row + last);
            odd = vec_fma(wide_half(phi), vec_sub(u, vec_cut(u, wide_half(d))), odd);
        }
    }
    for (int i = r.owing; i < r.count; i++) {
        const float *row = w + (size_t)r.index[i] * stride;
        wide phi = wide_all(r.phi[i]);
        ONE_ADDRESS(row);
        for (int p = 0; p < pairs; p++)
            sum[p] = wide_fma(phi, wide_load(row + 2 * LANES * p), sum[p]);
        if (n % 2)
            odd = vec_fma(wide_half(phi), vec_load(row + last), odd);
    }
    for (int p = 0; p < pairs; p++)
        wide_store(total + 2 * LANES * p, sum[p]);
    if (n % 2)
        vec_store(total + last, odd);
}

/* w = (w, shrunk by what it owes + own) + phi * along, for rows; not shrunk where `shrinking` is 0. */
ALWAYS void update_tile(const int n, const int shrinking, float *w, size_t stride, rows r, float own, const float *along)
{
    const int pairs = n / 2, last = 2 * LANES * pairs;
    wide step[WIDEST / 2 + 1];
    vec odd = vec_all(0.0f);
    for (int p = 0; p < pairs; p++)
        step[p] = wide_load(along + 2 * LANES * p);
    if (n % 2)
        odd = vec_load(along + last);
    for (int i = 0; i < r.count; i++) {
        float *row = w + (size_t)r.index[i] * stride, due = r.owed[i] + own;
        wide phi = wide_all(r.phi[i]), d = wide_all(due < LEAST_THRESHOLD ? LEAST_THRESHOLD : due);
        ONE_ADDRESS(row);
        for (int p = 0; p < pairs; p++) {
            wide u = wide_load(row + 2 * LANES * p);
            wide_store(row + 2 * LANES * p, wide_fma(phi, step[p], shrinking ? wide_sub(u, wide_cut(u, d)) : u));
        }
        if (n % 2) {
            vec u = vec_load(row + last);
            u = shrinking ? vec_sub(u, vec_cut(u, wide_half(d))) : u;
            vec_store(row + last, vec_fma(wide_half(phi), odd, u));
        }
    }
}

/* As add_tile, of rows that have velocities v. */
ALWAYS void add_moving_tile(const int n, float *total, const float *w, const float *v, size_t stride, rows r)
{
    vec sum[WIDEST];
    for (int j = 0; j < n; j++)
        sum[j] = vec_load(total + LANES * j);
    for (int i = 0; i < r.count; i++) {
        const float *row = w + (size_t)r.index[i] * stride, *moving = v + (size_t)r.index[i] * stride;
        vec phi = vec_all(r.phi[i]), d = vec_all(r.owed[i]), coast = vec_all(r.coast[i]);
        ONE_ADDRESS(row);
        ONE_ADDRESS(moving);
        for (int j = 0; j < n; j++) {
            vec u = vec_load(row + LANES * j);
            u = vec_fma(coast, vec_load(moving + LANES * j), vec_sub(u, vec_cut(u, d)));
            sum[j] = vec_fma(phi, u, sum[j]);
        }
    }
    for (int j = 0; j < n; j++)
        vec_store(total + LANES * j, sum[j]);
}

/* As update_tile, of rows that have velocities: v = decay * v + phi * along; w moves by step * v. */
ALWAYS void update_moving_tile(const int n, float *w, float *v, size_t stride, rows r, float own, float step,
                               const float *along)
{
    vec pull[WIDEST], by = vec_all(step);
    for (int j = 0; j < n; j++)
        pull[j] = vec_load(along + LANES * j);
    for (int i = 0; i < r.count; i++) {
        float *row = w + (size_t)r.index[i] * stride, *moving = v + (size_t)r.index[i] * stride, due = r.owed[i] + own;
        vec phi = vec_all(r.phi[i]), d = vec_all(due < LEAST_THRESHOLD ? LEAST_THRESHOLD : due);
        vec coast = vec_all(r.coast[i]), decay = vec_all(r.decay[i]);
        ONE_ADDRESS(row);
        ONE_ADDRESS(moving);
        for (int j = 0; j < n; j++) {
            vec u = vec_load(row + LANES * j), speed = vec_load(moving + LANES * j);
            u = vec_fma(coast, speed, vec_sub(u, vec_cut(u, d)));
            speed = vec_nonzero(vec_fma(phi, pull[j], vec_mul(decay, speed)));
            vec_store(moving + LANES * j, speed);
            vec_store(row + LANES * j, vec_fma(by, speed, u));
        }
    }
}

/* As back_tile, of rows that have velocities. */
ALWAYS void back_moving_tile(const int n, float *below, float *w, float *v, size_t stride, int count, const float *delta,
                             float step, float own, float momentum, const float *along)
{
    vec sum[WIDEST], phi[WIDEST], d = vec_all(own), by = vec_all(step), keep = vec_all(momentum);
    for (int j = 0; j < n; j++) {
        sum[j] = vec_all(0.0f);
        phi[j] = vec_load(along + LANES * j);
    }
    for (int i = 0; i < count; i++) {
        float *row = w + (size_t)i * stride, *moving = v + (size_t)i * stride;
        vec back = vec_all(delta[i]);
        ONE_ADDRESS(row);
        ONE_ADDRESS(moving);
        for (int j = 0; j < n; j++) {
            vec u = vec_load(row + LANES * j);
            vec speed = vec_nonzero(vec_fma(back, phi[j], vec_mul(keep, vec_load(moving + LANES * j))));
            sum[j] = vec_fma(back, u, sum[j]);
            vec_store(moving + LANES * j, speed);
            vec_store(row + LANES * j, vec_fma(by, speed, vec_sub(u, vec_cut(u, d))));
        }
    }
    for (int j = 0; j < n; j++)
        vec_store(below + LANES * j, sum[j]);
}

/* below = the sum over rows of delta * w; then w = (w, shrunk by own) + step * along. */
ALWAYS void back_tile(const int n, float *below, float *w, size_t stride, int count, const float *delta,
                      const float *steps, float own, const float *along)
{
    vec sum[WIDEST], phi[WIDEST], d = vec_all(own);
    for (int v = 0; v < n; v++) {
        sum[v] = vec_all(0.0f);
        phi[v] = vec_load(along + LANES * v);
    }
    for (int i = 0; i < count; i++) {
        float *row = w + (size_t)i * stride;
        vec back = vec_all(delta[i]), step = vec_all(steps[i]);
        ONE_ADDRESS(row);
        for (int v = 0; v < n; v++) {
            vec u = vec_load(row + LANES * v);
            sum[v] = vec_fma(back, u, sum[v]);
            vec_store(row + LANES * v, vec_fma(step, phi[v], vec_sub(u, vec_cut(u, d))));
        }
    }
    for (int v = 0; v < n; v++)
        vec_store(below + LANES * v, sum[v]);
}

/* As back_tile, but w stays, and sum += delta * along. */
ALWAYS void sum_tile(const int n, float *below, const float *w, float *sum, size_t stride, int count,
                     const float *delta, const float *along)
{
    vec back[WIDEST], phi[WIDEST];
    for (int v = 0; v < n; v++) {
        back[v] = vec_all(0.0f);
        phi[v] = vec_load(along + LANES * v);
    }
    for (int i = 0; i < count; i++) {
        const float *row = w + (size_t)i * stride;
        float *to = sum + (size_t)i * stride;
        vec d = vec_all(delta[i]);
        ONE_ADDRESS(row);
        ONE_ADDRESS(to);
        for (int v = 0; v < n; v++) {
            back[v] = vec_fma(d, vec_load(row + LANES * v), back[v]);
            vec_store(to + LANES * v, vec_fma(d, phi[v], vec_load(to + LANES * v)));
        }
    }
    for (int v = 0; v < n; v++)
        vec_store(below + LANES * v, back[v]);
}

/* net = each row's scalar product with phi. */
static void multiply_rows(float *net, const float *w, size_t stride, int count, const float *phi)
{
    for (int i = 0; i < count; i++, w += stride) {
        vec sum = vec_all(0.0f);
        for (size_t j = 0; j < stride; j += LANES)
            sum = vec_fma(vec_load(w + j), vec_load(phi + j), sum);
        net[i] = vec_sum(sum);
    }
}

/* Do a loop over rows tile by tile, from column j on: the first tiles are as wide as can be, */
#define TILES(widest, stride, loop)                                                                                    \
    for (; j + (widest) * LANES <= (stride); j += (widest) * LANES)                                                    \
        loop(widest)
/* and the last one has the vectors that are left. */
#define TILE(n, loop)                                                                                                  \
    case n:                                                                                                            \
        if (n < WIDEST)                                                                                                \
            loop(n);                                                                                                   \
        break
#define LAST_TILE(stride, loop)                                                                                        \
    switch (((stride)-j) / LANES) {                                                                                    \
        TILE(1, loop);                                                                                                 \
        TILE(2, loop);                                                                                                 \
        TILE(3, loop);                                                                                                 \
        TILE(4, loop);                                                                                                 \
        TILE(5, loop);                                                                                                 \
        TILE(6, loop);                                                                                                 \
        TILE(7, loop);                                                                                                 \
        TILE(8, loop);                                                                                                 \
        TILE(9, loop);                                                                                                 \
        TILE(10, loop);                                                                                                \
        TILE(11, loop);                                                                                                \
        TILE(12, loop);                                                                                                \
    }

#define ADD(n) add_tile(n, total + j, w + j, stride, r)
static __attribute__((noinline)) void add_last(float *total, const float *w, size_t stride, rows r, size_t j)
{
    LAST_TILE(stride, ADD);
}

static void add_rows(float *total, const float *w, size_t stride, rows r)
{
    size_t j = 0;
    TILES(WIDEST, stride, ADD);
    if (j < stride)
        add_last(total, w, stride, r, j);
}

#define UPDATE(n) update_tile(n, 1, w + j, stride, r, own, along + j)
static __attribute__((noinline)) void update_last(float *w, size_t stride, rows r, float own, const float *along,
                                                  size_t j)
{
    LAST_TILE(stride, UPDATE);
}

static void update_rows(float *w, size_t stride, rows r, float own, const float *along)
{
    size_t j = 0;
    TILES(WIDEST, stride, UPDATE);
    if (j < stride)
        update_last(w, stride, r, own, along, j);
}

/* As update_rows, without shrinks. */
static void step_rows(float *w, size_t stride, rows r, const float *along)
{
#define STEP(n) update_tile(n, 0, w + j, stride, r, 0.0f, along + j)
    size_t j = 0;
    TILES(WIDEST, stride, STEP);
    TILES(4, stride, STEP);
    TILES(1, stride, STEP);
}

static void back_rows(float *below, float *w, size_t stride, int count, const float *delta, const float *steps,
                      float own, const float *along)
{
#define BACK(n) back_tile(n, below + j, w + j, stride, count, delta, steps, own, along + j)
    size_t j = 0;
    TILES(4, stride, BACK);
    TILES(1, stride, BACK);
}

static void add_moving_rows(float *total, const float *w, const float *v, size_t stride, rows r)
{
#define ADD_MOVING(n) add_moving_tile(n, total + j, w + j, v + j, stride, r)
    size_t j = 0;
    TILES(4, stride, ADD_MOVING);
    TILES(1, stride, ADD_MOVING);
}

static void update_moving_rows(float *w, float *v, size_t stride, rows r, float own, float step, const float *along)
{
#define UPDATE_MOVING(n) update_moving_tile(n, w + j, v + j, stride, r, own, step, along + j)
    size_t j = 0;
    TILES(4, stride, UPDATE_MOVING);
    TILES(1, stride, UPDATE_MOVING);
}

static void back_moving_rows(float *below, float *w, float *v, size_t stride, int count, const float *delta, float step,
                             float own, float momentum, const float *along)
{
#define BACK_MOVING(n) back_moving_tile(n, below + j, w + j, v + j, stride, count, delta, step, own, momentum, along + j)
    size_t j = 0;
    TILES(4, stride, BACK_MOVING);
    TILES(1, stride, BACK_MOVING);
}

static void sum_rows(float *below, const float *w, float *sum, size_t stride, int count, const float *delta,
                     const float *along)
{
#define SUM(n) sum_tile(n, below + j, w + j, sum + j, stride, count, delta, along + j)
    size_t j = 0;
    TILES(4, stride, SUM);
    TILES(1, stride, SUM);
}

#endif
