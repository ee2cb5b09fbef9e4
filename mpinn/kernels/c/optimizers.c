/* What moves the master along a direction: the formulas of mpinn/merging/optimizers.py, which has their sources, in the
   same order and none of them fused: so NumPy has the same bits. */

#include "optimizers.h"

#include "vectors.h"

#define ALWAYS static inline __attribute__((always_inline))
#define LEAST_MOMENT 0x1p-80f

ALWAYS vec kept(vec moment) { return vec_least(moment, vec_all(LEAST_MOMENT)); }
ALWAYS vec minus(vec a) { return vec_sub(vec_all(0.0f), a); }
ALWAYS vec smaller(vec a, vec b) { return vec_positive(vec_sub(a, b), b, a); }
ALWAYS vec larger(vec a, vec b) { return vec_positive(vec_sub(b, a), b, a); }

/* Return what is added to a vector of weights; m and s, the moments, are moved. */
ALWAYS vec change(const enum optimizer code, vec d, vec *m, vec *s, const vec c[NUMBERS])
{
    switch (code) {
    case SGD:
        return vec_mul(c[0], d);
    case MOMENTUM:
        *m = kept(vec_add(vec_mul(c[1], *m), d));
        return vec_mul(c[0], *m);
    case NESTEROV:
        *m = kept(vec_add(vec_mul(c[1], *m), d));
        return vec_mul(c[0], vec_add(d, vec_mul(c[1], *m)));
    case ADAGRAD:
        *m = kept(vec_add(*m, vec_mul(d, d)));
        return vec_div(vec_mul(c[0], d), vec_add(vec_sqrt(*m), c[1]));
    case RMSPROP:
        *m = kept(vec_add(vec_mul(c[1], *m), vec_mul(c[2], vec_mul(d, d))));
        return vec_div(vec_mul(c[0], d), vec_add(vec_sqrt(*m), c[3]));
    case ADAM:
    case NADAM: {
        *m = kept(vec_add(vec_mul(c[0], *m), vec_mul(c[1], d)));
        *s = kept(vec_add(vec_mul(c[2], *s), vec_mul(c[3], vec_mul(d, d))));
        vec ahead = vec_mul(c[6], *m);
        if (code == NADAM)
            ahead = vec_add(ahead, vec_mul(c[7], d));
        return vec_div(ahead, vec_add(vec_mul(vec_sqrt(*s), c[4]), c[5]));
    }
    case RPROP: {
        vec turned = vec_mul(d, *m), step = vec_positive(c[0], c[0], *s), zero = vec_all(0.0f);
        vec back = vec_positive(*m, minus(step), vec_positive(minus(*m), step, zero)); /* over the last step */
        step = vec_positive(turned, smaller(vec_mul(step, c[1]), c[4]), step);
        *s = vec_positive(minus(turned), larger(vec_mul(step, c[2]), c[3]), step);
        *m = vec_positive(minus(turned), zero, d);
        step = vec_positive(*m, *s, vec_positive(minus(*m), minus(*s), zero));
        return vec_positive(minus(turned), vec_positive(c[5], back, zero), step);
    }
    default:
        return d;
    }
}

/* One vector: of all arrays. */
ALWAYS void move(const enum optimizer code, float *weights, float *m, float *s, const float *d, const vec shrink[2],
                 const vec c[NUMBERS])
{
    vec first = m ? vec_load(m) : vec_all(0.0f), second = s ? vec_load(s) : vec_all(0.0f), w = vec_load(weights);
    vec by = change(code, vec_nonzero(vec_load(d)), &first, &second, c);
    w = vec_sub(w, vec_cut(w, shrink[0]));
    vec_store(weights, vec_add(vec_sub(w, vec_mul(shrink[1], w)), by));
    if (m)
        vec_store(m, first);
    if (s)
        vec_store(s, second);
}

ALWAYS void move_all(const enum optimizer code, const int has, float *weights, float *const moments[MOMENTS],
                     const float *d, size_t n, const vec shrink[2], const vec c[NUMBERS])
{
    float *m = has > 0 ? moments[0] : NULL, *s = has > 1 ? moments[1] : NULL;
    size_t i = 0, left = n % LANES;
    for (; i + LANES <= n; i += LANES)
        move(code, weights + i, has > 0 ? m + i : NULL, has > 1 ? s + i : NULL, d + i, shrink, c);
    if (left) {
        float rest[4][LANES] = {{0}};
        const size_t bytes = left * sizeof(float);
        memcpy(rest[0], weights + i, bytes);
        memcpy(rest[1], d + i, bytes);
        if (has > 0)
            memcpy(rest[2], m + i, bytes);
        if (has > 1)
            memcpy(rest[3], s + i, bytes);
        move(code, rest[0], has > 0 ? rest[2] : NULL, has > 1 ? rest[3] : NULL, rest[1], shrink, c);
        memcpy(weights + i, rest[0], bytes);
        if (has > 0)
            memcpy(m + i, rest[2], bytes);
        if (has > 1)
            memcpy(s + i, rest[3], bytes);
    }
}

void optimize(enum optimizer code, float *weights, float *const moments[MOMENTS], const float *d, size_t n, float a1,
              float a2, const float c[NUMBERS])
{
    const vec shrink[2] = {vec_all(a1), vec_all(a2)};
    vec numbers[NUMBERS];
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = vec_all(c[i]);
#define CASE(code, has)                                                                                                \
    case code:                                                                                                         \
        move_all(code, has, weights, moments, d, n, shrink, numbers);                                                  \
        break
    switch (code) {
        CASE(SGD, 0);
        CASE(MOMENTUM, 1);
        CASE(NESTEROV, 1);
        CASE(ADAGRAD, 1);
        CASE(RMSPROP, 1);
        CASE(ADAM, 2);
        CASE(NADAM, 2);
        CASE(RPROP, 2);
    default:
        break;
    }
}
