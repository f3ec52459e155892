/* The derivative of GoLU from its output, for vectors of WIDTH floats; simd.h includes it.
 *
 * With u = gamma * x, GoLU falls to its minimum y_min and rises after it. Let v = gamma / alpha * y, and D the derivative
 * divided by alpha:
 *     right of the minimum   D is smooth in sqrt(v - y_min)
 *     left of it             D / v is smooth in sqrt(ln(y_min / v))
 * Both are polynomials in pieces of equal length, SEGMENTS a side, which golu/from_output.py fits, once for fp32 and once
 * for fewer bits. A bit an element, the lowest first, says that it is on the right. The coefficients of a power sit in two
 * registers, and are picked by a permutation.
 */

#if WIDTH == 16
#define SEGMENTS 16
#define POWERS 5
#define POWERS_HALF 4
typedef __mmask16 NAME(Sides);
INLINE NAME(Sides) NAME(load_sides)(const uint8_t *bits) {
  uint16_t sides;
  memcpy(&sides, bits, sizeof sides);
  return sides;
}
INLINE void NAME(store_sides)(uint8_t *bits, FLOATS x, FLOATS least) {
  const uint16_t sides = _mm512_cmp_ps_mask(x, least, _CMP_GT_OQ);
  memcpy(bits, &sides, sizeof sides);
}
INLINE FLOATS NAME(select)(NAME(Sides) right, FLOATS a, FLOATS b) { return _mm512_mask_blend_ps(right, b, a); }
/* on the left the product of b and c, on the right a */
INLINE FLOATS NAME(select_product)(NAME(Sides) right, FLOATS a, FLOATS b, FLOATS c) {
  return _mm512_mask_mul_ps(a, (__mmask16)~right, b, c);
}
/* from 3/4 to 3/2 */
INLINE FLOATS NAME(mantissa)(FLOATS x) { return _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero); }
INLINE FLOATS NAME(root)(FLOATS x) { return _mm512_sqrt_ps(x); }
INLINE FLOATS NAME(root_half)(FLOATS x) { return x * (FLOATS)_mm512_rsqrt14_ps(x); }
/* the coefficient of each element's segment: the row has those on the left first */
INLINE FLOATS NAME(index)(NAME(Sides) right, FLOATS segment) {
  const __m512i index = (__m512i)segment;
  return (FLOATS)_mm512_mask_add_epi32(index, right, index, _mm512_set1_epi32(SEGMENTS));
}
INLINE FLOATS NAME(coefficient)(NAME(Sides) right, const float *row, FLOATS index) {
  return _mm512_permutex2var_ps(NAME(load_f32)(row), (__m512i)index, NAME(load_f32)(row + SEGMENTS));
}
#else
#define SEGMENTS 8
#define POWERS 7
#define POWERS_HALF 5
typedef FLOATS NAME(Sides);
INLINE NAME(Sides) NAME(load_sides)(const uint8_t *bits) {
  const INTS each = {1, 2, 4, 8, 16, 32, 64, 128};
  return (FLOATS)((each & *bits) != 0);
}
INLINE void NAME(store_sides)(uint8_t *bits, FLOATS x, FLOATS least) {
  *bits = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(x, least, _CMP_GT_OQ));
}
INLINE FLOATS NAME(select)(NAME(Sides) right, FLOATS a, FLOATS b) { return _mm256_blendv_ps(b, a, right); }
INLINE FLOATS NAME(select_product)(NAME(Sides) right, FLOATS a, FLOATS b, FLOATS c) {
  return NAME(select)(right, a, b * c);
}
INLINE FLOATS NAME(mantissa)(FLOATS x) {
  const int32_t three_quarters = 0x3f400000; /* its bits */
  return (FLOATS)((((INTS)x - three_quarters) & 0x7fffff) + three_quarters);
}
INLINE FLOATS NAME(root)(FLOATS x) { return _mm256_sqrt_ps(x); }
INLINE FLOATS NAME(root_half)(FLOATS x) { return _mm256_sqrt_ps(x); }
INLINE FLOATS NAME(index)(NAME(Sides) right, FLOATS segment) { return segment; }
INLINE FLOATS NAME(coefficient)(NAME(Sides) right, const float *row, FLOATS index) {
  return NAME(select)(right, NAME(pick)(NAME(load_f32)(row + SEGMENTS), index), NAME(pick)(NAME(load_f32)(row), index));
}
#endif

#define LN2 0x1.62e430p-1f
#define LAST_PLACE (SEGMENTS - 0.501f) /* rounds to the last segment */
#define LEFT_SCALE ((SEGMENTS - 0.5f) * (SEGMENTS - 0.5f) / DEEPEST)
/* (ln(1 + f) - f) / f^2, minimax on -1/4 to 1/2: the logarithm has a relative error of 1e-5, the coarse one of 8e-5 */
#define LOG_TAIL(f) \
  (-0x1.ffe0f2p-2f + (f) * (0x1.5568bep-2f + (f) * (-0x1.061726p-2f + (f) * (0x1.a6f1e2p-3f + (f) * -0x1.bdf508p-4f))))
#define LOG_TAIL_HALF(f) (-0x1.ffe186p-2f + (f) * (0x1.596334p-2f + (f) * (-0x1.095532p-2f + (f) * 0x1.270644p-3f)))

INLINE FLOATS NAME(slope_of_output)(FLOATS dy, FLOATS y, NAME(Sides) right, const Slopes *s, int unit, int half) {
  const FLOATS zero = {0};
  const FLOATS v = unit ? y : s->to_unit * y;
  /* on the right, a distance from the minimum; on the left, a logarithm; both so that the root tells the segment */
  const FLOATS above = NAME(fma)(v - s->y_min, zero + s->right_scale, zero + s->right_rest);
  const FLOATS w = v * s->inverse_y_min, m = NAME(mantissa)(w), f = m - 1;
  const FLOATS k = __builtin_convertvector((INTS)w - (INTS)m, FLOATS); /* 2^23 times the exponent */
  const FLOATS below = k * (LN2 * 0x1p-23f) + (f + f * f * (half ? LOG_TAIL_HALF(f) : LOG_TAIL(f)));
  const FLOATS least = NAME(select)(right, zero + NEAREST * s->right_scale, zero + NEAREST * LEFT_SCALE);
  FLOATS square = NAME(select_product)(right, above, below, zero - LEFT_SCALE);
  square = NAME(min_keeping_nan)(zero + LAST_PLACE * LAST_PLACE, NAME(max_keeping_nan)(least, square));
  const FLOATS place = half ? NAME(root_half)(square) : NAME(root)(square);
  const FLOATS segment = place + ROUND_STEPS, r = place - (segment - ROUND_STEPS), index = NAME(index)(right, segment);
  const float *row = s->coefficients + (half ? POWERS : 0) * 2 * SEGMENTS;
  const int powers = half ? POWERS_HALF : POWERS;
  FLOATS slope = NAME(coefficient)(right, row + (powers - 1) * 2 * SEGMENTS, index);
#pragma GCC unroll 8
  for (int i = powers - 2; i >= 0; i--)
    slope = slope * r + NAME(coefficient)(right, row + i * 2 * SEGMENTS, index);
  slope = NAME(select_product)(right, slope, v, slope);
  return dy * (unit ? slope : s->alpha * slope);
}

#define OUTPUT_LOOPS(dtype, type, forward, half)                                                                        \
  INLINE void NAME(kept_block_##dtype)(const type *x, type *y, uint8_t *sides, float least, const NAME(Lanes) *p,       \
                                       int unit) {                                                                      \
    const FLOATS zero = {0};                                                                                            \
    FLOATS v[4];                                                                                                        \
    EACH v[j] = NAME(load_##dtype)(x + j * WIDTH);                                                                      \
    EACH NAME(store_sides)(sides + j * WIDTH / 8, v[j], zero + least);                                                  \
    EACH v[j] = NAME(forward)(v[j], p, unit);                                                                           \
    EACH NAME(store_##dtype)(y + j * WIDTH, v[j]);                                                                      \
  }                                                                                                                     \
  TUNED static void NAME(kept_##dtype)(const void *x_, void *y_, uint8_t *sides, int64_t n, float least,                \
                                 const Gate_f32 *gate, int unit) {                                                      \
    const type *x = x_;                                                                                                 \
    type *y = y_, rest[BLOCK];                                                                                          \
    uint8_t rest_sides[BLOCK / 8];                                                                                      \
    const NAME(Lanes) lanes = NAME(spread)(gate), *p = &lanes;                                                          \
    const int64_t whole = n / BLOCK * BLOCK, left = n - whole;                                                          \
    if (unit)                                                                                                           \
      for (int64_t i = 0; i < whole; i += BLOCK) NAME(kept_block_##dtype)(x + i, y + i, sides + i / 8, least, p, 1);    \
    else                                                                                                                \
      for (int64_t i = 0; i < whole; i += BLOCK) NAME(kept_block_##dtype)(x + i, y + i, sides + i / 8, least, p, 0);    \
    if (!left) return;                                                                                                  \
    NAME(take)(rest, sizeof rest, x + whole, left * sizeof(type));                                                      \
    NAME(kept_block_##dtype)(rest, rest, rest_sides, least, p, unit);                                                   \
    NAME(give)(y + whole, sizeof rest, rest, left * sizeof(type));                                                      \
    memcpy(sides + whole / 8, rest_sides, (left + 7) / 8);                                                              \
  }                                                                                                                     \
  INLINE void NAME(slope_block_##dtype)(const type *dy, const type *y, const uint8_t *sides, type *dx,                  \
                                        const Slopes *s, int unit) {                                                    \
    FLOATS v[4], w[4];                                                                                                  \
    EACH v[j] = NAME(load_##dtype)(y + j * WIDTH);                                                                      \
    EACH w[j] = NAME(load_##dtype)(dy + j * WIDTH);                                                                     \
    EACH v[j] = NAME(slope_of_output)(w[j], v[j], NAME(load_sides)(sides + j * WIDTH / 8), s, unit, half);              \
    EACH NAME(store_##dtype)(dx + j * WIDTH, v[j]);                                                                     \
  }                                                                                                                     \
  TUNED static void NAME(slope_##dtype)(const void *dy_, const void *y_, const uint8_t *sides, void *dx_, int64_t n,    \
                                  const Slopes *restrict s, int unit) {                                                 \
    const type *dy = dy_, *y = y_;                                                                                      \
    type *dx = dx_, rest[BLOCK], rest_dy[BLOCK];                                                                        \
    uint8_t rest_sides[BLOCK / 8] = {0};                                                                                \
    const int64_t whole = n / BLOCK * BLOCK, left = n - whole;                                                          \
    if (unit)                                                                                                           \
      for (int64_t i = 0; i < whole; i += BLOCK) NAME(slope_block_##dtype)(dy + i, y + i, sides + i / 8, dx + i, s, 1); \
    else                                                                                                                \
      for (int64_t i = 0; i < whole; i += BLOCK) NAME(slope_block_##dtype)(dy + i, y + i, sides + i / 8, dx + i, s, 0); \
    if (!left) return;                                                                                                  \
    NAME(take)(rest, sizeof rest, y + whole, left * sizeof(type));                                                      \
    NAME(take)(rest_dy, sizeof rest_dy, dy + whole, left * sizeof(type));                                               \
    memcpy(rest_sides, sides + whole / 8, (left + 7) / 8);                                                              \
    NAME(slope_block_##dtype)(rest_dy, rest, rest_sides, rest, s, unit);                                                \
    NAME(give)(dx + whole, sizeof rest, rest, left * sizeof(type));                                                     \
  }

OUTPUT_LOOPS(f32, float, vector_forward, 0)
OUTPUT_LOOPS(bf16, uint16_t, vector_forward_half, 1)
OUTPUT_LOOPS(f16, uint16_t, vector_forward_half, 1)

#undef SEGMENTS
#undef POWERS
#undef POWERS_HALF
#undef LN2
#undef LAST_PLACE
#undef LEFT_SCALE
#undef LOG_TAIL
#undef LOG_TAIL_HALF
#undef OUTPUT_LOOPS
