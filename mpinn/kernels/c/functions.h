/* Activations, their derivatives, and losses: float32 that is the same everywhere.

   No function of the C library is used but fmaf, which is exact. -ffp-contract=off keeps a compiler from fusing what is
   not written as vec_fma. Arrays are whole vectors: what is behind their last unit may be anything, before and after. */

#ifndef MPINN_FUNCTIONS_H
#define MPINN_FUNCTIONS_H

#include "vectors.h"

enum activation { IDENTITY, ELU, RELU, LEAKY_RELU, SIGMOID, TANH, SOFTMAX, SELU, GELU };
enum loss { QUADRATIC, CROSS_ENTROPY, QUADRATIC_EXACT };

#define LEAK 0.01f
#define SELU_SCALE 1.05070098735548f /* lambda, and */
#define SELU_BELOW 1.75809934084737f /* lambda alpha, of Klambauer et al. 2017 */
#define GELU_SCALE 0.797884560802865f /* the square root of 2 / pi */
#define GELU_CUBE 0.044715f

static inline vec vec_polynomial(vec x, const float *coefficients, int n)
{
    vec p = vec_all(coefficients[0]);
    for (int i = 1; i < n; i++)
        p = vec_fma(p, x, vec_all(coefficients[i]));
    return p;
}

/* e^x = 2^n e^r, |r| <= log(2) / 2, n whole; the polynomial is that of Cephes' expf (Moshier 1989). Within 1.1 units
   in the last place from -80 to 80, and beyond what it is there. A NaN stays one. */
static inline vec vec_exponential(vec x)
{
    static const float c[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                              4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    x = vec_cut(x, vec_all(80.0f));
    vec shifted = vec_fma(x, vec_all(1.44269504f), vec_all(WHOLE)), n = vec_sub(shifted, vec_all(WHOLE));
    vec r = vec_fma(n, vec_all(2.12194440e-4f), vec_fma(n, vec_all(-0.693359375f), x));
    vec p = vec_fma(vec_mul(vec_polynomial(r, c, 6), r), r, r);
    return vec_times_power(vec_add(p, vec_all(1.0f)), shifted);
}

/* tanh x: an odd polynomial near 0, else 1 - 2 / (e^2|x| + 1); Cephes' tanhf. Within 1.4 units in the last place. */
static inline vec vec_tanh(vec x)
{
    static const float c[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                              -3.33332819422e-1f};
    vec size = vec_abs(x), square = vec_mul(x, x), one = vec_all(1.0f);
    vec near = vec_fma(vec_mul(vec_polynomial(square, c, 5), square), x, x);
    vec far = vec_sub(one, vec_div(vec_all(2.0f), vec_add(vec_exponential(vec_add(size, size)), one)));
    return vec_positive(vec_sub(vec_all(0.625f), size), near, vec_signed(far, x));
}

/* What GELU takes the tanh of. */
static inline vec gelu_inner(vec x)
{
    return vec_mul(vec_mul(vec_all(GELU_SCALE), x), vec_fma(vec_mul(vec_all(GELU_CUBE), x), x, vec_all(1.0f)));
}

static inline vec vec_activation(int code, vec x, vec alpha)
{
    const vec zero = vec_all(0.0f), one = vec_all(1.0f);
    switch (code) {
    case ELU: return vec_positive(x, x, vec_mul(alpha, vec_sub(vec_exponential(x), one)));
    case RELU: return vec_positive(vec_sub(zero, x), zero, x);
    case LEAKY_RELU: return vec_positive(x, x, vec_mul(vec_all(LEAK), x));
    case SIGMOID: return vec_div(one, vec_add(one, vec_exponential(vec_sub(zero, x))));
    case TANH: return vec_tanh(x);
    case SOFTMAX: return vec_exponential(x); /* of which `softmax` makes shares */
    case SELU:
        return vec_positive(x, vec_mul(vec_all(SELU_SCALE), x), vec_mul(vec_all(SELU_BELOW), vec_sub(vec_exponential(x), one)));
    case GELU: return vec_mul(vec_mul(vec_all(0.5f), x), vec_add(one, vec_tanh(gelu_inner(x))));
    default: return x;
    }
}

static inline int needs_net(int code) { return code == GELU; }

/* d phi / d x, from phi alone but where it needs the net input x: else phi > 0 where x > 0, and only there. */
static inline vec vec_derivative(int code, vec phi, vec x, vec alpha)
{
    const vec zero = vec_all(0.0f), one = vec_all(1.0f);
    switch (code) {
    case ELU: return vec_positive(phi, one, vec_add(phi, alpha));
    case RELU: return vec_positive(phi, one, zero);
    case LEAKY_RELU: return vec_positive(phi, one, vec_all(LEAK));
    case SIGMOID:
    case SOFTMAX: return vec_mul(phi, vec_sub(one, phi));
    case TANH: return vec_fma(vec_sub(zero, phi), phi, one);
    case SELU: return vec_positive(phi, vec_all(SELU_SCALE), vec_add(phi, vec_all(SELU_BELOW)));
    case GELU: {
        vec t = vec_tanh(gelu_inner(x)), half = vec_all(0.5f);
        vec slope = vec_mul(vec_all(GELU_SCALE), vec_fma(vec_mul(vec_all(3 * GELU_CUBE), x), x, one));
        vec bend = vec_mul(vec_mul(half, x), vec_mul(vec_fma(vec_sub(zero, t), t, one), slope));
        return vec_fma(half, vec_add(one, t), bend);
    }
    default: return one;
    }
}

/* x = phi(scale x), in place, of n units; what is smaller than SMALLEST is 0. */
static inline void activate(int code, float *x, int n, float scale, float alpha)
{
    float top, total = 0.0f;
    for (int j = 0; j < n; j += LANES)
        vec_store(x + j, vec_mul(vec_load(x + j), vec_all(scale)));
    top = x[0];
    if (code == SOFTMAX) {
        for (int j = 1; j < n; j++)
            top = x[j] > top ? x[j] : top;
        for (int j = 0; j < n; j++)
            x[j] -= top;
    }
    for (int j = 0; j < n; j += LANES)
        vec_store(x + j, vec_nonzero(vec_activation(code, vec_load(x + j), vec_all(alpha))));
    if (code == SOFTMAX) {
        for (int j = 0; j < n; j++)
            total += x[j];
        for (int j = 0; j < n; j += LANES)
            vec_store(x + j, vec_nonzero(vec_div(vec_load(x + j), vec_all(total))));
    }
}

/* to = scale * net, of n units. */
static inline void scale_net(float *to, const float *net, int n, float scale)
{
    for (int j = 0; j < n; j += LANES)
        vec_store(to + j, vec_mul(vec_load(net + j), vec_all(scale)));
}

/* delta = scale * delta * d phi / d x, in place, of n units; net: where the derivative needs it. */
static inline void differentiate(int code, float *delta, const float *phi, const float *net, int n, float scale,
                                 float alpha)
{
    for (int j = 0; j < n; j += LANES) {
        vec slope = vec_derivative(code, vec_load(phi + j), vec_load(net + j), vec_all(alpha));
        vec_store(delta + j, vec_nonzero(vec_mul(vec_mul(vec_all(scale), vec_load(delta + j)), slope)));
    }
}

/* d phi / d x of the output layer, for the quadratic loss; of the softmax the diagonal of its Jacobian. */
static inline vec output_slope(int code, vec phi, vec alpha)
{
    if (code == SOFTMAX || code == SIGMOID)
        return vec_fma(vec_sub(vec_all(0.0f), phi), phi, phi);
    return vec_derivative(code, phi, phi, alpha);
}

/* log x of a normal x > 0, in double and one operation after another: with x = 2^e m, m from sqrt(1/2) to sqrt 2, it is
   e log 2 + 2 artanh((m - 1) / (m + 1)). Within 1e-12. */
static inline double logarithm(double x)
{
    uint64_t bits;
    double m, s, square, series = 1.0 / 13;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t above = (bits & 0xFFFFFFFFFFFFFu) > 0x6A09E667F3BCDu; /* than sqrt 2 */
    const int exponent = (int)(bits >> 52) - 1023 + (int)above;
    bits = (bits & 0xFFFFFFFFFFFFFu) | (1023 - above) << 52;
    memcpy(&m, &bits, sizeof m);
    s = (m - 1.0) / (m + 1.0);
    square = s * s;
    for (int odd = 11; odd > 0; odd -= 2)
        series = series * square + 1.0 / odd;
    return exponent * 0.6931471805599453 + 2.0 * s * series;
}

/* The loss of an exemplar of the class `label`, given the output layer's phi of n units, in units of 2^-24: whole
   numbers, whose sum is the same in any order. At most 2^10 is counted. */
static inline int64_t loss_of(int loss, int code, const float *phi, int n, int label)
{
    double found = 0.0, product = 1.0;
    if (loss == CROSS_ENTROPY) {
        for (int j = 0; code == SIGMOID && j < n; j++) {
            const double other = j == label ? 1.0 : 1.0 - phi[j];
            product *= other > SMALLEST ? other : SMALLEST;
            if (j % 16 == 15 || j == n - 1) {
                found -= logarithm(product);
                product = 1.0;
            }
        }
        found -= logarithm(phi[label] > SMALLEST ? phi[label] : SMALLEST);
    } else {
        const double right = phi[label];
        for (int j = 0; j < n; j++)
            found += (double)phi[j] * (double)phi[j];
        found = 0.5 * (found - right * right + (1.0 - right) * (1.0 - right));
    }
    return (int64_t)((found < 1024.0 ? found : 1024.0) * 0x1p24 + 0.5);
}

/* delta of the output layer, minus the derivative of the loss by the net input, for the class `label`. */
static inline void output_delta(int loss, int code, float *delta, const float *phi, int n, int label, float alpha)
{
    float common = 0.0f;
    for (int j = 0; j < n; j++)
        delta[j] = 0.0f - phi[j];
    delta[label] = 1.0f - phi[label];
    if (loss == QUADRATIC_EXACT)
        for (int j = 0; j < n; j++)
            common = fmaf(delta[j], phi[j], common);
    for (int j = 0; j < n; j += LANES) {
        vec p = vec_load(phi + j), error = vec_load(delta + j);
        if (loss == QUADRATIC)
            error = vec_mul(error, output_slope(code, p, vec_all(alpha)));
        else if (loss == QUADRATIC_EXACT)
            error = vec_mul(vec_sub(error, vec_all(common)), p);
        vec_store(delta + j, vec_nonzero(error));
    }
}

#endif
