/* How the workers' weights become the master's: the formulas of mpinn/merging, compiled; docs/numerics.md has them in
   words. Sums are of integers, or of multiples of one small number: exact, so their order does not matter. */

#include "merge.h"

#include <math.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "vectors.h"

#define GRID 0x1p40        /* steps of the velocity in a unit: mpinn/merging/block_momentum.py */

static inline uint32_t most(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* The bits of |x|: in the order of magnitudes, a NaN beyond every number. */
static inline uint32_t magnitude(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7FFFFFFF;
}

static uint32_t largest_of(const float *x, size_t n)
{
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++)
        found = most(found, magnitude(x[i]));
    return found;
}

static uint32_t largest_of_vec(vec a)
{
    float x[LANES];
    vec_store(x, a);
    return largest_of(x, LANES);
}

typedef struct {
    vec weight, step;
} magnitudes;

/* Return a vector of steps as whole numbers, and note how large weights and steps are. */
static inline vec whole_steps(vec learned, vec master, vec factor, vec limit, magnitudes *found)
{
    vec step = vec_sub(learned, master);
    found->weight = vec_larger(found->weight, vec_abs(learned));
    found->step = vec_larger(found->step, vec_abs(step));
    return vec_add(vec_cut(vec_mul(step, factor), limit), vec_all(WHOLE));
}

/* One pass; the last values, where they fill no vector, behind zeros of their own. */
#define STORE_STEPS(name, type, add)                                                                                   \
    largest name(type *term, int adds, const float *learned, const float *master, size_t n, float factor, float limit) \
    {                                                                                                                  \
        const vec by = vec_all(factor), cut = vec_all(limit), none = vec_all(0.0f);                                    \
        const type nothing[LANES] = {0};                                                                               \
        magnitudes found = {vec_all(0.0f), vec_all(0.0f)};                                                             \
        size_t i = 0, left = n % LANES;                                                                                \
        const type *from = adds ? term : nothing;                                                                      \
        for (; i < n - left; i += LANES, from += adds ? LANES : 0)                                                     \
            add(term + i, from,                                                                                        \
                whole_steps(vec_load(learned + i), master ? vec_load(master + i) : none, by, cut, &found));            \
        float rest[2][LANES] = {{0}};                                                                                  \
        type units[LANES] = {0};                                                                                       \
        memcpy(rest[0], learned + i, left * sizeof(float));                                                            \
        if (master)                                                                                                    \
            memcpy(rest[1], master + i, left * sizeof(float));                                                         \
        if (adds)                                                                                                      \
            memcpy(units, term + i, left * sizeof(type));                                                              \
        add(units, units, whole_steps(vec_load(rest[0]), vec_load(rest[1]), by, cut, &found));                         \
        memcpy(term + i, units, left * sizeof(type));                                                                  \
        return (largest){largest_of_vec(found.weight), largest_of_vec(found.step)};                                    \
    }
STORE_STEPS(merge_store_int16, int16_t, vec_add_int16)
STORE_STEPS(merge_store_int32, int32_t, vec_add_int32)

largest merge_store_float32(float *term, const float *learned, size_t n)
{
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) {
        found = most(found, magnitude(learned[i]));
        term[i] = learned[i] + 0.0f; /* no -0, as in every sum */
    }
    return (largest){found, 0};
}

largest merge_store_float64(double *term, int adds, const float *learned, size_t n, double exemplars, double constant)
{
    for (size_t i = 0; i < n; i++)
        term[i] = (adds ? term[i] : 0.0) + ((learned[i] * exemplars + constant) - constant);
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

#ifdef __SSE2__
void merge_pass_on(void *to, const void *from, size_t bytes)
{
    char *target = to;
    const char *source = from;
    size_t head = -(uintptr_t)target & 15;
    if (head > bytes)
        head = bytes;
    memcpy(target, source, head);
    for (target += head, source += head, bytes -= head; bytes >= 16; target += 16, source += 16, bytes -= 16)
        _mm_stream_si128((__m128i *)target, _mm_loadu_si128((const __m128i *)source));
    memcpy(target, source, bytes);
    _mm_sfence(); /* before a message says that it is there */
}
#else
void merge_pass_on(void *to, const void *from, size_t bytes) { memcpy(to, from, bytes); }
#endif

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

#define GO_ON(name, type)                                                                                              \
    void name(float *restrict start, const float *restrict master, const float *restrict velocity,                     \
              const type *restrict term, size_t n, float share, float ahead)                                           \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            start[i] = (velocity ? master[i] + ahead * velocity[i] : master[i]) + share * (float)term[i];              \
    }
GO_ON(merge_go_on_int16, int16_t)
GO_ON(merge_go_on_int32, int32_t)
