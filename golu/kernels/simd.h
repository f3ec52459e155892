/* The same mathematics as gate.h for a vector of WIDTH floats on x86 with AVX2 or AVX-512.
 *
 * What differs: 2^(1/STEPS) instead of 2 as the base of the reduction, so that |r| <= ln(2) / (2 STEPS) and
 * short polynomials do. The fractional powers sit in one register, 8 or 16 of them, and are picked by a
 * permutation, which plain C cannot say without a gather.
 *
 * The includer sets WIDTH and NAME(...), and enables the instruction set. output.h, gated.h and learned.h, included
 * at the end, go on.
 */

typedef float NAME(Floats) __attribute__((vector_size(4 * WIDTH)));
typedef int32_t NAME(Ints) __attribute__((vector_size(4 * WIDTH)));
#define FLOATS NAME(Floats)
#define INTS NAME(Ints)
#define INLINE static inline __attribute__((always_inline))

/* ---- what the two instruction sets call differently ---- */

#if WIDTH == 16
INLINE FLOATS NAME(fma)(FLOATS a, FLOATS b, FLOATS c) { return _mm512_fmadd_ps(a, b, c); }
INLINE FLOATS NAME(max_keeping_nan)(FLOATS a, FLOATS x) { return _mm512_max_ps(a, x); } /* NaN: the second */
INLINE FLOATS NAME(min_keeping_nan)(FLOATS a, FLOATS x) { return _mm512_min_ps(a, x); }
INLINE FLOATS NAME(pick)(FLOATS table, FLOATS index) {
  return _mm512_permutexvar_ps((__m512i)index, table);
}
INLINE float NAME(total)(FLOATS x) { return _mm512_reduce_add_ps(x); }
/* Copy `count` bytes and zeros after them, `size` in all, a multiple of 64; and back without the zeros. */
INLINE __mmask64 NAME(bytes)(int64_t count) { return count >= 64 ? ~0ull : count > 0 ? (1ull << count) - 1 : 0; }
INLINE void NAME(take)(void *to, int64_t size, const void *from, int64_t count) {
  for (int64_t i = 0; i < size; i += 64)
    _mm512_storeu_si512((char *)to + i, _mm512_maskz_loadu_epi8(NAME(bytes)(count - i), (const char *)from + i));
}
INLINE void NAME(give)(void *to, int64_t size, const void *from, int64_t count) {
  for (int64_t i = 0; i < size; i += 64)
    _mm512_mask_storeu_epi8((char *)to + i, NAME(bytes)(count - i), _mm512_loadu_si512((const char *)from + i));
}
INLINE FLOATS NAME(load_f32)(const float *x) { return _mm512_loadu_ps(x); }
INLINE void NAME(store_f32)(float *y, FLOATS v) { _mm512_storeu_ps(y, v); }
INLINE FLOATS NAME(load_f16)(const uint16_t *x) { return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)x)); }
INLINE void NAME(store_f16)(uint16_t *y, FLOATS v) {
  _mm256_storeu_si256((void *)y, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
INLINE FLOATS NAME(load_bf16)(const uint16_t *x) {
  return (FLOATS)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)x)), 16);
}
INLINE void NAME(store_high_halves)(uint16_t *y, INTS bits) {
  _mm256_storeu_si256((void *)y, _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)bits, 16)));
}
#else
INLINE FLOATS NAME(fma)(FLOATS a, FLOATS b, FLOATS c) { return _mm256_fmadd_ps(a, b, c); }
INLINE FLOATS NAME(max_keeping_nan)(FLOATS a, FLOATS x) { return _mm256_max_ps(a, x); } /* NaN: the second */
INLINE FLOATS NAME(min_keeping_nan)(FLOATS a, FLOATS x) { return _mm256_min_ps(a, x); }
INLINE FLOATS NAME(pick)(FLOATS table, FLOATS index) {
  return _mm256_permutevar8x32_ps(table, (__m256i)index);
}
INLINE void NAME(take)(void *to, int64_t size, const void *from, int64_t count) {
  memset(to, 0, size);
  memcpy(to, from, count);
}
INLINE void NAME(give)(void *to, int64_t size, const void *from, int64_t count) { memcpy(to, from, count); }
INLINE float NAME(total)(FLOATS x) {
  const __m128 four = _mm256_castps256_ps128(x) + _mm256_extractf128_ps(x, 1), two = four + _mm_movehl_ps(four, four);
  return two[0] + two[1];
}
INLINE FLOATS NAME(load_f32)(const float *x) { return _mm256_loadu_ps(x); }
INLINE void NAME(store_f32)(float *y, FLOATS v) { _mm256_storeu_ps(y, v); }
INLINE FLOATS NAME(load_f16)(const uint16_t *x) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)x)); }
INLINE void NAME(store_f16)(uint16_t *y, FLOATS v) {
  _mm_storeu_si128((void *)y, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
INLINE FLOATS NAME(load_bf16)(const uint16_t *x) {
  return (FLOATS)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)x)), 16);
}
INLINE void NAME(store_high_halves)(uint16_t *y, INTS bits) {
  const __m256i words = _mm256_srli_epi32((__m256i)bits, 16);
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(words, words), 0x08);
  _mm_storeu_si128((void *)y, _mm256_castsi256_si128(packed));
}
#endif

/* round to nearest even; a NaN that came from bf16 has zeros below and stays one */
INLINE void NAME(store_bf16)(uint16_t *y, FLOATS v) {
  const INTS bits = (INTS)v;
  NAME(store_high_halves)(y, bits + 0x7fff + ((bits >> 16) & 1));
}

/* ---- the mathematics ---- */

typedef struct {
  FLOATS alpha, beta, gamma, lo, hi; /* those of gate.h, one for each element */
} NAME(Lanes);
INLINE NAME(Lanes) NAME(spread)(const Gate_f32 *p) {
  const FLOATS zero = {0};
  const NAME(Lanes) lanes = {zero + p->alpha, zero + p->beta, zero + p->gamma, zero + p->lo, zero + p->hi};
  return lanes;
}

/* bits of 2^(j/STEPS), less what j itself adds when the rounded index is shifted into the exponent;
 * 2^(j/STEPS) / float(2^(j/STEPS)) - 1;
 * EXP: e^r, and EXP_SQUARE: (e^r - 1 - r) / r^2, both times `one`, minimax on |r| <= ln(2) / (2 STEPS) */
#if WIDTH == 16
#define STEPS 16
#define INDEX_BITS 4
static const INTS NAME(power_bits) = {
    0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532, 0x3f75fed7, 0x3f75583f,
    0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c, 0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d};
static const FLOATS NAME(power_error) = {
    0x0.0p+0f, 0x1.8d96d2p-25f, -0x1.9c0c22p-27f, 0x1.964902p-25f,
    0x1.125002p-25f, 0x1.370be4p-25f, -0x1.0a3552p-25f, -0x1.00d8acp-27f,
    0x1.26055cp-26f, -0x1.05cb44p-25f, 0x1.67a1cap-28f, 0x1.a3b5e4p-28f,
    -0x1.f9c306p-27f, -0x1.6961b4p-28f, -0x1.a5217cp-28f, 0x1.61428ep-28f};
#define EXP(r, one) ((one) + (r) * ((one) + (r) * (0x1.000220p-1f * (one) + (r) * (0x1.55583cp-3f * (one)))))
#define EXP_SQUARE(r, one) (0.5f * (one) + (r) * (0x1.55571ep-3f * (one) + (r) * (0x1.55576ap-5f * (one))))
#else
#define STEPS 8
#define INDEX_BITS 3
static const INTS NAME(power_bits) = {
    0x3f800000, 0x3f7b95c2, 0x3f7837f0, 0x3f75fed7, 0x3f7504f3, 0x3f75672a, 0x3f7744fd, 0x3f7ac0c7};
static const FLOATS NAME(power_error) = {
    0x0p+0f, -0x1.9c0c22p-27f, 0x1.125002p-25f, -0x1.0a3552p-25f,
    0x1.26055cp-26f, 0x1.67a1cap-28f, -0x1.f9c306p-27f, -0x1.a5217cp-28f};
#define EXP(r, one) ((one) + (r) * ((one) + (r) * (0x1.000880p-1f * (one) + (r) * (0x1.5560f0p-3f * (one)))))
#define EXP_SQUARE(r, one) (0.5f * (one) + (r) * (0x1.555c78p-3f * (one) + (r) * (0x1.555da8p-5f * (one))))
#endif

#define ROUND_STEPS 0x1.8p+23f
#define ROUND_STEPS_UP (0x1.8p+23f + 24 * STEPS)  /* the result is 2^24 too large, which keeps it normal */
#define DOWN 0x1p-24f                             /* ... and in place of `one` brings it down at no cost */
#define STEPS_PER_UNIT (0x1.715476p+0f * STEPS)   /* STEPS / ln(2) */
#define LN2_STEP (0x1.62e430p-1f / STEPS)         /* ln(2) / STEPS */
#define LN2_STEP_ERROR (-0x1.05c610p-29f / STEPS) /* ln(2) / STEPS - LN2_STEP */
#define LN2_RELATIVE_ERROR 0x1.79a8dcp-29f        /* 1 - ln(2) / STEPS / LN2_STEP */

/* 2^(rounded / STEPS); rounded = STEPS * k + j in the low bits */
INLINE FLOATS NAME(power)(FLOATS rounded) {
  const INTS bits = (INTS)NAME(pick)((FLOATS)NAME(power_bits), rounded);
  return (FLOATS)(bits + ((INTS)rounded << (23 - INDEX_BITS)));
}

INLINE FLOATS NAME(vector_forward)(FLOATS x, const NAME(Lanes) *p, int unit) {
  const FLOATS zero = {0};
  const FLOATS c = NAME(max_keeping_nan)(p->lo, x);
  const FLOATS e = NAME(min_keeping_nan)(p->hi, c);
  const FLOATS t = unit ? e : p->gamma * e;
  const FLOATS rounded = t * -STEPS_PER_UNIT + ROUND_STEPS;
  const FLOATS k = rounded - ROUND_STEPS;
  const FLOATS r = k * -LN2_STEP - t;
  const FLOATS square_term = r * r * EXP_SQUARE(r, 1);
  const FLOATS v = r + square_term;
  FLOATS error = ((r - v) + square_term) +
                 NAME(fma)(k, zero - LN2_STEP_ERROR, NAME(pick)(NAME(power_error) + LN2_RELATIVE_ERROR, rounded));
  if (!unit) error -= NAME(fma)(p->gamma, e, -t);
  const FLOATS scale = NAME(power)(rounded);
  FLOATS u = NAME(fma)(scale, v, scale);
  FLOATS u_lo = NAME(fma)(u, error, NAME(fma)(scale, v, scale - u));
  if (!unit) {
    const FLOATS before = u;
    u = p->beta * before;
    u_lo = NAME(fma)(p->beta, u_lo, NAME(fma)(p->beta, before, -u));
  }
  const FLOATS rounded2 = u * -STEPS_PER_UNIT + ROUND_STEPS_UP;
  const FLOATS k2 = rounded2 - ROUND_STEPS_UP;
#if STEPS == 16 /* where the polynomial is so good that the error of the second power may stay */
  const FLOATS r2 = (k2 * -LN2_STEP - u) - u_lo;
  const FLOATS g = EXP(r2, DOWN) * NAME(power)(rounded2);
#else
  const FLOATS r2 = (k2 * -LN2_STEP - u) + (NAME(pick)(NAME(power_error), rounded2) - u_lo);
  const FLOATS g = (DOWN + r2 * (DOWN + r2 * EXP_SQUARE(r2, DOWN))) * NAME(power)(rounded2);
#endif
  return unit ? c * g : p->alpha * (c * g);
}

/* exp(-u) and u to one rounding: enough for the derivative, and for 8 or 11 bits of mantissa */
INLINE FLOATS NAME(vector_gate)(FLOATS e, FLOATS t, FLOATS *u, const NAME(Lanes) *p, int unit) {
  const FLOATS rounded = t * -STEPS_PER_UNIT + ROUND_STEPS;
  FLOATS r = (rounded - ROUND_STEPS) * -LN2_STEP - t;
  if (!unit) r -= NAME(fma)(p->gamma, e, -t);
  const FLOATS v = EXP(r, 1) * NAME(power)(rounded);
  *u = unit ? v : p->beta * v;
  const FLOATS rounded2 = *u * -STEPS_PER_UNIT + ROUND_STEPS_UP;
  const FLOATS r2 = (rounded2 - ROUND_STEPS_UP) * -LN2_STEP - *u;
  return EXP(r2, DOWN) * NAME(power)(rounded2);
}

INLINE FLOATS NAME(vector_forward_half)(FLOATS x, const NAME(Lanes) *p, int unit) {
  FLOATS u;
  const FLOATS c = NAME(max_keeping_nan)(p->lo, x);
  const FLOATS e = NAME(min_keeping_nan)(p->hi, c);
  const FLOATS g = NAME(vector_gate)(e, unit ? e : p->gamma * e, &u, p, unit);
  return unit ? c * g : p->alpha * (c * g);
}

INLINE FLOATS NAME(vector_backward)(FLOATS dy, FLOATS x, const NAME(Lanes) *p, int unit) {
  FLOATS u;
  const FLOATS e = NAME(min_keeping_nan)(p->hi, NAME(max_keeping_nan)(p->lo, x));
  const FLOATS t = unit ? e : p->gamma * e;
  const FLOATS g = NAME(vector_gate)(e, t, &u, p, unit);
  const FLOATS slope = g * (1 + t * u);
  return dy * (unit ? slope : p->alpha * slope);
}

/* ---- loops ---- */

/* Four vectors at a time give the processor independent work while one waits for its long chain. */
#define BLOCK (4 * WIDTH)
#define EACH _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)

#define VECTOR_LOOPS(dtype, type, forward)                                                           \
  INLINE void NAME(forward_block_##dtype)(const type *x, type *y, const NAME(Lanes) *p, int unit) {  \
    FLOATS v[4];                                                                                     \
    EACH v[j] = NAME(load_##dtype)(x + j * WIDTH);                                                   \
    EACH v[j] = NAME(forward)(v[j], p, unit);                                                        \
    EACH NAME(store_##dtype)(y + j * WIDTH, v[j]);                                                   \
  }                                                                                                  \
  INLINE void NAME(backward_block_##dtype)(const type *dy, const type *x, type *dx,                  \
                                           const NAME(Lanes) *p, int unit) {                         \
    FLOATS v[4], w[4];                                                                               \
    EACH v[j] = NAME(load_##dtype)(x + j * WIDTH);                                                   \
    EACH w[j] = NAME(load_##dtype)(dy + j * WIDTH);                                                  \
    EACH v[j] = NAME(vector_backward)(w[j], v[j], p, unit);                                          \
    EACH NAME(store_##dtype)(dx + j * WIDTH, v[j]);                                                  \
  }                                                                                                  \
  INLINE void NAME(loop_##dtype)(const type *dy, const type *x, type *y, int64_t n,                  \
                                 const Gate_f32 *gate, int unit) {                                   \
    const NAME(Lanes) lanes = NAME(spread)(gate), *p = &lanes;                                       \
    const int64_t whole = n / BLOCK * BLOCK, left = (n - whole) * (int64_t)sizeof(type);             \
    if (dy)                                                                                          \
      for (int64_t i = 0; i < whole; i += BLOCK)                                                     \
        NAME(backward_block_##dtype)(dy + i, x + i, y + i, p, unit);                                 \
    else                                                                                             \
      for (int64_t i = 0; i < whole; i += BLOCK) NAME(forward_block_##dtype)(x + i, y + i, p, unit); \
    if (!left) return;                                                                               \
    type rest[BLOCK], rest_dy[BLOCK];                                                                \
    NAME(take)(rest, sizeof rest, x + whole, left);                                                  \
    if (dy) {                                                                                        \
      NAME(take)(rest_dy, sizeof rest_dy, dy + whole, left);                                         \
      NAME(backward_block_##dtype)(rest_dy, rest, rest, p, unit);                                    \
    } else {                                                                                         \
      NAME(forward_block_##dtype)(rest, rest, p, unit);                                              \
    }                                                                                                \
    NAME(give)(y + whole, sizeof rest, rest, left);                                                  \
  }

VECTOR_LOOPS(f32, float, vector_forward)
VECTOR_LOOPS(bf16, uint16_t, vector_forward_half)
VECTOR_LOOPS(f16, uint16_t, vector_forward_half)

#if WIDTH == 16 /* as the attributes of the loops in cpu.c, measured: a tenth faster */
#define TUNED __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,tune=icelake-server"), optimize("sched-pressure")))
#else
#define TUNED __attribute__((target("avx2,fma,f16c"), optimize("sched-pressure")))
#endif
#ifdef __clang__
#undef TUNED
#define TUNED
#endif

#include "output.h"
#include "gated.h"
#include "learned.h"

#undef FLOATS
#undef INTS
#undef VECTOR_LOOPS
#undef BLOCK
#undef EACH
#undef WIDTH
#undef STEPS
#undef INDEX_BITS
#undef ROUND_STEPS
#undef ROUND_STEPS_UP
#undef DOWN
#undef STEPS_PER_UNIT
#undef LN2_STEP
#undef LN2_STEP_ERROR
#undef LN2_RELATIVE_ERROR
#undef EXP
#undef EXP_SQUARE
#undef INLINE
#undef TUNED
