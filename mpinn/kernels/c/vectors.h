/* Eight float32 at once, with the same bits on every processor.

   Everything wide that the kernel does is said with these few operations. Each lane is an IEEE operation of its own; no
   operation adds lanes up, but `vec_sum`, in an order that is written here. A width of eight is part of the definition
   of the bits (docs/numerics.md), so a processor with shorter vectors uses two, and one with longer vectors uses eight
   lanes of them.

   The multiplications are fused with the additions, rounded once. Where a processor cannot do that, fmaf does it in
   software: right, and some thirty times slower. FUSED tells which.

   lit_pixels(image) is a bit for each of the first PIXELS pixels, set where it is not 0.
   vec_positive(x, a, b) is a where x > 0, else b. vec_least(x, least) is x, but 0 where |x| < least, and vec_nonzero(x) 0
   where |x| < SMALLEST: so products stay normal numbers. (The vectors of 32-bit ARM take a denormal number as 0, those of other processors do not.)
   vec_times_power(p, n) is p 2^n, n whole, with WHOLE added to it. vec_add_int16(to, from, a) and vec_add_int32(to, from, a)
   write what is in `from` and such whole numbers, WHOLE taken off, added up. vec_larger(a, b) is the one of two magnitudes with the larger bits: a NaN's
   are beyond every number's.
   vec_cut(u, d) is what a shrink by d >= 0 takes off u: u between -d and d, else d with the sign of u. A NaN stays a
   NaN, and a zero keeps its sign: the forms below were chosen for that. */

#ifndef MPINN_VECTORS_H
#define MPINN_VECTORS_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16 /* 16: of half floats only */
#error "floats must be calculated as floats: the x87 of old 32-bit x86 rounds otherwise; add -msse2 -mfpmath=sse"
#endif
#ifdef __FAST_MATH__
#error "-ffast-math changes the bits of sums"
#endif

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "only little-endian processors"
#endif

#define LANES 8
#define SMALLEST 0x1p-38f
#define WHOLE 0x1.8p23f /* adding it rounds to a whole number, which is then in the last bits, */
#define WHOLE_BITS 0x4B400000 /* beside these */

#if defined(__AVX2__) && defined(__FMA__) && !defined(MPINN_PORTABLE)

#include <immintrin.h>
#ifdef __AVX512DQ__
#define VECTORS "avx512"
#else
#define VECTORS "avx2-fma"
#endif
#define FUSED 1
#define WIDEST 13 /* vectors of sums that stay in registers */

typedef __m256 vec;

#define PIXELS 32 /* that lit_pixels looks at */
static inline uint32_t lit_pixels(const uint8_t *image)
{
    __m256i pixels = _mm256_loadu_si256((const __m256i *)image);
    return ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(pixels, _mm256_setzero_si256()));
}

static inline vec vec_load(const float *from) { return _mm256_loadu_ps(from); }
static inline void vec_store(float *to, vec a) { _mm256_storeu_ps(to, a); }
static inline vec vec_all(float x) { return _mm256_set1_ps(x); }
static inline vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec vec_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec vec_div(vec a, vec b) { return _mm256_div_ps(a, b); }
static inline vec vec_abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vec vec_signed(vec size, vec sign)
{
    return _mm256_or_ps(size, _mm256_and_ps(_mm256_set1_ps(-0.0f), sign));
}
static inline vec vec_positive(vec x, vec a, vec b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
}
static inline vec vec_sqrt(vec a) { return _mm256_sqrt_ps(a); }
static inline vec vec_least(vec x, vec least)
{
    return _mm256_andnot_ps(_mm256_cmp_ps(vec_abs(x), least, _CMP_LT_OQ), x);
}
static inline vec vec_times_power(vec p, vec n)
{
    __m256i bits = _mm256_add_epi32(_mm256_castps_si256(n), _mm256_set1_epi32(127 - WHOLE_BITS));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23)));
}
static inline vec vec_larger(vec a, vec b)
{
    return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
static inline __m256i vec_whole(vec a)
{
    return _mm256_sub_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(WHOLE_BITS));
}
static inline void vec_add_int16(int16_t *to, const int16_t *from, vec a)
{
    __m256i whole = vec_whole(a);
    __m128i units = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storeu_si128((__m128i *)to, _mm_add_epi16(_mm_loadu_si128((const __m128i *)from), units));
}
static inline void vec_add_int32(int32_t *to, const int32_t *from, vec a)
{
    _mm256_storeu_si256((__m256i *)to, _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)from), vec_whole(a)));
}
static inline vec vec_cut(vec u, vec d)
{
    vec minus = _mm256_xor_ps(d, _mm256_set1_ps(-0.0f));
    return _mm256_min_ps(d, _mm256_max_ps(minus, u)); /* of two zeros, or with a NaN, they return the second */
}

#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA) && !defined(MPINN_PORTABLE)

#include <arm_neon.h>
#define FUSED 1
#ifdef __aarch64__
#define VECTORS "neon-64"
#define WIDEST 13 /* pairs of 32 registers */
#else
#define VECTORS "neon-vfpv4"
#define WIDEST 4 /* pairs of 16 registers */
#endif

typedef float32x4x2_t vec;

#define PAIR(low, high) ((vec){{(low), (high)}})
static inline vec vec_load(const float *from) { return PAIR(vld1q_f32(from), vld1q_f32(from + 4)); }
static inline void vec_store(float *to, vec a)
{
    vst1q_f32(to, a.val[0]);
    vst1q_f32(to + 4, a.val[1]);
}
static inline vec vec_all(float x) { return PAIR(vdupq_n_f32(x), vdupq_n_f32(x)); }
static inline vec vec_add(vec a, vec b) { return PAIR(vaddq_f32(a.val[0], b.val[0]), vaddq_f32(a.val[1], b.val[1])); }
static inline vec vec_sub(vec a, vec b) { return PAIR(vsubq_f32(a.val[0], b.val[0]), vsubq_f32(a.val[1], b.val[1])); }
static inline vec vec_mul(vec a, vec b) { return PAIR(vmulq_f32(a.val[0], b.val[0]), vmulq_f32(a.val[1], b.val[1])); }
static inline vec vec_fma(vec a, vec b, vec c)
{
    return PAIR(vfmaq_f32(c.val[0], a.val[0], b.val[0]), vfmaq_f32(c.val[1], a.val[1], b.val[1]));
}
static inline vec vec_div(vec a, vec b)
{
#ifdef __aarch64__
    return PAIR(vdivq_f32(a.val[0], b.val[0]), vdivq_f32(a.val[1], b.val[1]));
#else
    float x[LANES], y[LANES];
    vec_store(x, a);
    vec_store(y, b);
    for (int i = 0; i < LANES; i++)
        x[i] /= y[i];
    return vec_load(x);
#endif
}
static inline vec vec_sqrt(vec a)
{
#ifdef __aarch64__
    return PAIR(vsqrtq_f32(a.val[0]), vsqrtq_f32(a.val[1]));
#else
    float x[LANES];
    vec_store(x, a);
    for (int i = 0; i < LANES; i++)
        x[i] = sqrtf(x[i]);
    return vec_load(x);
#endif
}
static inline vec vec_abs(vec a) { return PAIR(vabsq_f32(a.val[0]), vabsq_f32(a.val[1])); }
static inline float32x4_t half_signed(float32x4_t size, float32x4_t sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000), sign, size);
}
static inline vec vec_signed(vec size, vec sign)
{
    return PAIR(half_signed(size.val[0], sign.val[0]), half_signed(size.val[1], sign.val[1]));
}
static inline float32x4_t half_positive(float32x4_t x, float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(x, vdupq_n_f32(0.0f)), a, b);
}
static inline vec vec_positive(vec x, vec a, vec b)
{
    return PAIR(half_positive(x.val[0], a.val[0], b.val[0]), half_positive(x.val[1], a.val[1], b.val[1]));
}
static inline float32x4_t half_least(float32x4_t x, float32x4_t least)
{
    return vbslq_f32(vcltq_f32(vabsq_f32(x), least), vdupq_n_f32(0.0f), x);
}
static inline vec vec_least(vec x, vec least)
{
    return PAIR(half_least(x.val[0], least.val[0]), half_least(x.val[1], least.val[1]));
}
static inline float32x4_t half_times_power(float32x4_t p, float32x4_t n)
{
    int32x4_t bits = vaddq_s32(vreinterpretq_s32_f32(n), vdupq_n_s32(127 - WHOLE_BITS));
    return vmulq_f32(p, vreinterpretq_f32_s32(vshlq_n_s32(bits, 23)));
}
static inline vec vec_times_power(vec p, vec n)
{
    return PAIR(half_times_power(p.val[0], n.val[0]), half_times_power(p.val[1], n.val[1]));
}
static inline float32x4_t half_larger(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}
static inline vec vec_larger(vec a, vec b)
{
    return PAIR(half_larger(a.val[0], b.val[0]), half_larger(a.val[1], b.val[1]));
}
static inline int32x4_t half_whole(float32x4_t a) { return vsubq_s32(vreinterpretq_s32_f32(a), vdupq_n_s32(WHOLE_BITS)); }
static inline void vec_add_int16(int16_t *to, const int16_t *from, vec a)
{
    int16x8_t units = vcombine_s16(vmovn_s32(half_whole(a.val[0])), vmovn_s32(half_whole(a.val[1])));
    vst1q_s16(to, vaddq_s16(vld1q_s16(from), units));
}
static inline void vec_add_int32(int32_t *to, const int32_t *from, vec a)
{
    vst1q_s32(to, vaddq_s32(vld1q_s32(from), half_whole(a.val[0])));
    vst1q_s32(to + 4, vaddq_s32(vld1q_s32(from + 4), half_whole(a.val[1])));
}
static inline vec vec_cut(vec u, vec d)
{
    return PAIR(vminq_f32(d.val[0], vmaxq_f32(vnegq_f32(d.val[0]), u.val[0])),
                vminq_f32(d.val[1], vmaxq_f32(vnegq_f32(d.val[1]), u.val[1])));
}

#else

#define VECTORS "portable"
#ifdef FP_FAST_FMAF
#define FUSED 1
#else
#define FUSED 0
#endif
#define WIDEST 4

typedef struct {
    float lane[LANES];
} vec;

#define EACH(expression)                                                                                               \
    vec result;                                                                                                        \
    for (int i = 0; i < LANES; i++)                                                                                    \
        result.lane[i] = (expression);                                                                                 \
    return result
static inline vec vec_load(const float *from) { EACH(from[i]); }
static inline void vec_store(float *to, vec a) { memcpy(to, &a, sizeof a); }
static inline vec vec_all(float x) { EACH(x); }
static inline vec vec_add(vec a, vec b) { EACH(a.lane[i] + b.lane[i]); }
static inline vec vec_sub(vec a, vec b) { EACH(a.lane[i] - b.lane[i]); }
static inline vec vec_mul(vec a, vec b) { EACH(a.lane[i] * b.lane[i]); }
static inline vec vec_fma(vec a, vec b, vec c) { EACH(fmaf(a.lane[i], b.lane[i], c.lane[i])); }
static inline vec vec_div(vec a, vec b) { EACH(a.lane[i] / b.lane[i]); }
static inline vec vec_abs(vec a) { EACH(fabsf(a.lane[i])); }
static inline vec vec_signed(vec size, vec sign) { EACH(copysignf(size.lane[i], sign.lane[i])); }
static inline vec vec_positive(vec x, vec a, vec b) { EACH(x.lane[i] > 0.0f ? a.lane[i] : b.lane[i]); }
static inline vec vec_sqrt(vec a) { EACH(sqrtf(a.lane[i])); }
static inline vec vec_least(vec x, vec least) { EACH(fabsf(x.lane[i]) < least.lane[i] ? 0.0f : x.lane[i]); }
static inline float times_power(float p, float n)
{
    uint32_t bits;
    float power;
    memcpy(&bits, &n, sizeof bits);
    bits = (bits - WHOLE_BITS + 127u) << 23;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}
static inline vec vec_times_power(vec p, vec n) { EACH(times_power(p.lane[i], n.lane[i])); }
static inline int32_t bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline vec vec_larger(vec a, vec b)
{
    EACH((uint32_t)bits_of(a.lane[i]) > (uint32_t)bits_of(b.lane[i]) ? a.lane[i] : b.lane[i]);
}
static inline void vec_add_int16(int16_t *to, const int16_t *from, vec a)
{
    for (int i = 0; i < LANES; i++)
        to[i] = (int16_t)(from[i] + (bits_of(a.lane[i]) - WHOLE_BITS));
}
static inline void vec_add_int32(int32_t *to, const int32_t *from, vec a)
{
    for (int i = 0; i < LANES; i++)
        to[i] = from[i] + (bits_of(a.lane[i]) - WHOLE_BITS);
}
static inline float cut_one(float u, float d)
{
    float above = u < -d ? -d : u;
    return above > d ? d : above;
}
static inline vec vec_cut(vec u, vec d) { EACH(cut_one(u.lane[i], d.lane[i])); }

#endif

#ifndef PIXELS
#define PIXELS 8
static inline uint32_t lit_pixels(const uint8_t *image)
{
    const uint64_t low = 0x7F7F7F7F7F7F7F7F;
    uint64_t word;
    memcpy(&word, image, sizeof word);
    word = (((word & low) + low) | word) & ~low; /* the top bit of every byte that is not 0 */
    return (uint32_t)(((word >> 7) * 0x0102040810204080) >> 56);
}
#endif

/* Two vecs at once, for loops over columns, where lanes never meet: so the bits are those of two vecs. */
#if defined(__AVX512DQ__) && !defined(MPINN_PORTABLE)

typedef __m512 wide;

static inline wide wide_load(const float *from) { return _mm512_loadu_ps(from); }
static inline void wide_store(float *to, wide a) { _mm512_storeu_ps(to, a); }
static inline wide wide_all(float x) { return _mm512_set1_ps(x); }
static inline vec wide_half(wide a) { return _mm512_castps512_ps256(a); }
static inline wide wide_sub(wide a, wide b) { return _mm512_sub_ps(a, b); }
static inline wide wide_fma(wide a, wide b, wide c) { return _mm512_fmadd_ps(a, b, c); }
/* The smaller magnitude, with the sign of u. */
static inline wide wide_cut(wide u, wide d) { return _mm512_range_ps(u, d, 2); }

#else

typedef struct {
    vec low, high;
} wide;

static inline wide wide_load(const float *from) { return (wide){vec_load(from), vec_load(from + LANES)}; }
static inline void wide_store(float *to, wide a)
{
    vec_store(to, a.low);
    vec_store(to + LANES, a.high);
}
static inline wide wide_all(float x) { return (wide){vec_all(x), vec_all(x)}; }
static inline vec wide_half(wide a) { return a.low; }
static inline wide wide_sub(wide a, wide b) { return (wide){vec_sub(a.low, b.low), vec_sub(a.high, b.high)}; }
static inline wide wide_fma(wide a, wide b, wide c)
{
    return (wide){vec_fma(a.low, b.low, c.low), vec_fma(a.high, b.high, c.high)};
}
static inline wide wide_cut(wide u, wide d) { return (wide){vec_cut(u.low, d.low), vec_cut(u.high, d.high)}; }

#endif

static inline vec vec_nonzero(vec x) { return vec_least(x, vec_all(SMALLEST)); }

/* The lanes' sum: ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)). */
static inline float vec_sum(vec a)
{
    float x[LANES];
    vec_store(x, a);
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

#endif
