/* GoLU whose alpha, beta and gamma are learnt, for vectors of WIDTH floats; simd.h includes it.
 *
 * A row is of one channel and has one gate; in columns neighbours are of different channels. Backward makes dx and adds
 * to the sums that become the gradients of alpha, beta and gamma: those of dy * y, -dy * y * u and dy * y * u * t.
 */

typedef struct {
  FLOATS of[3];
} NAME(Sums);

INLINE FLOATS NAME(learned_backward)(FLOATS dy, FLOATS x, NAME(Sums) *sums, const NAME(Lanes) *p) {
  FLOATS u;
  const FLOATS c = NAME(max_keeping_nan)(p->lo, x), e = NAME(min_keeping_nan)(p->hi, c), t = p->gamma * e;
  const FLOATS g = p->alpha * NAME(vector_gate)(e, t, &u, p, 0), dyg = dy * g, tail = dyg * (e * u);
  sums->of[0] += dyg * c;
  sums->of[1] -= tail;
  sums->of[2] += tail * t;
  return dyg * (1 + t * u);
}

INLINE NAME(Lanes) NAME(lanes_of)(const Gates *gates, int64_t channel) {
  const NAME(Lanes) lanes = {NAME(load_f32)(gates->alpha + channel), NAME(load_f32)(gates->beta + channel),
                             NAME(load_f32)(gates->gamma + channel), NAME(load_f32)(gates->lo + channel),
                             NAME(load_f32)(gates->hi + channel)};
  return lanes;
}

#define LEARNED_LOOPS(dtype, type, forward)                                                                           \
  INLINE void NAME(learned_block_##dtype)(const type *dy, const type *x, type *dx, NAME(Sums) s[4],                   \
                                          const NAME(Lanes) *p) {                                                     \
    EACH {                                                                                                            \
      const FLOATS d = NAME(load_##dtype)(dy + j * WIDTH), v = NAME(load_##dtype)(x + j * WIDTH);                     \
      NAME(store_##dtype)(dx + j * WIDTH, NAME(learned_backward)(d, v, &s[j], p));                                    \
    }                                                                                                                 \
  }                                                                                                                   \
  TUNED static void NAME(learned_row_##dtype)(const void *dy_, const void *x_, void *dx_, int64_t n,                  \
                                              const Gate_f32 *gate, double *sums) {                                   \
    const type *dy = dy_, *x = x_;                                                                                    \
    type *dx = dx_;                                                                                                   \
    const NAME(Lanes) lanes = NAME(spread)(gate), *p = &lanes;                                                        \
    NAME(Sums) s[4] = {{{{0}}}};                                                                                      \
    const int64_t whole = n / BLOCK * BLOCK, left = (n - whole) * (int64_t)sizeof(type);                              \
    for (int64_t i = 0; i < whole; i += BLOCK) NAME(learned_block_##dtype)(dy + i, x + i, dx + i, s, p);              \
    if (left) {                                                                                                       \
      type rest[2][BLOCK];                                                                                            \
      NAME(take)(rest[0], sizeof rest[0], dy + whole, left);                                                          \
      NAME(take)(rest[1], sizeof rest[1], x + whole, left);                                                           \
      NAME(learned_block_##dtype)(rest[0], rest[1], rest[0], s, p);                                                   \
      NAME(give)(dx + whole, sizeof rest[0], rest[0], left);                                                          \
    }                                                                                                                 \
    for (int k = 0; k < 3; k++)                                                                                       \
      sums[k] += NAME(total)((s[0].of[k] + s[1].of[k]) + (s[2].of[k] + s[3].of[k]));                                  \
  }                                                                                                                   \
  INLINE FLOATS NAME(load_some_##dtype)(const type *from, int64_t width) {                                            \
    type all[64 / sizeof(type)];                                                                                      \
    if (width == WIDTH) return NAME(load_##dtype)(from);                                                              \
    NAME(take)(all, sizeof all, from, width * sizeof(type));                                                          \
    return NAME(load_##dtype)(all);                                                                                   \
  }                                                                                                                   \
  INLINE void NAME(store_some_##dtype)(type *to, FLOATS values, int64_t width) {                                      \
    type all[64 / sizeof(type)];                                                                                      \
    NAME(store_##dtype)(width == WIDTH ? to : all, values);                                                           \
    if (width < WIDTH) NAME(give)(to, sizeof all, all, width * sizeof(type));                                         \
  }                                                                                                                   \
  /* of `vectors` groups of `width` columns, from column c on */                                                      \
  INLINE void NAME(learned_groups_##dtype)(const type *dy, const type *x, type *y, int64_t rows, int64_t channels,    \
                                           int64_t c, const Gates *gates, double *sums, int64_t width, int vectors) { \
    NAME(Lanes) lanes[2];                                                                                             \
    NAME(Sums) s[2] = {{{{0}}}};                                                                                      \
    for (int j = 0; j < vectors; j++) lanes[j] = NAME(lanes_of)(gates, c + j * WIDTH);                                \
    for (int64_t r = 0; r < rows; r++)                                                                                \
      _Pragma("GCC unroll 2") for (int j = 0; j < vectors; j++) {                                                     \
        const int64_t at = r * channels + c + j * WIDTH;                                                              \
        FLOATS v = NAME(load_some_##dtype)(x + at, width);                                                            \
        if (dy) v = NAME(learned_backward)(NAME(load_some_##dtype)(dy + at, width), v, &s[j], &lanes[j]);             \
        else v = NAME(forward)(v, &lanes[j], 0);                                                                      \
        NAME(store_some_##dtype)(y + at, v, width);                                                                   \
      }                                                                                                               \
    for (int k = 0; dy && k < 3; k++)                                                                                 \
      for (int j = 0; j < vectors; j++)                                                                               \
        for (int l = 0; l < width; l++) sums[k * channels + c + j * WIDTH + l] += s[j].of[k][l];                      \
  }                                                                                                                   \
  TUNED static void NAME(learned_columns_##dtype)(const void *dy, const void *x, void *y, int64_t rows,               \
                                                  int64_t channels, const Gates *gates, double *sums) {               \
    int64_t c = 0;                                                                                                    \
    for (; c + 2 * WIDTH <= channels; c += 2 * WIDTH)                                                                 \
      if (dy) NAME(learned_groups_##dtype)(dy, x, y, rows, channels, c, gates, sums, WIDTH, 2);                       \
      else NAME(learned_groups_##dtype)(NULL, x, y, rows, channels, c, gates, sums, WIDTH, 2);                        \
    for (; c + WIDTH <= channels; c += WIDTH)                                                                         \
      NAME(learned_groups_##dtype)(dy, x, y, rows, channels, c, gates, sums, WIDTH, 1);                               \
    if (c < channels) NAME(learned_groups_##dtype)(dy, x, y, rows, channels, c, gates, sums, channels - c, 1);        \
  }

LEARNED_LOOPS(f32, float, vector_forward)
LEARNED_LOOPS(bf16, uint16_t, vector_forward_half)
LEARNED_LOOPS(f16, uint16_t, vector_forward_half)

#undef LEARNED_LOOPS
