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

#define LEARNED_LOOPS(dtype, type, forward)                                                                  \
  INLINE void NAME(learned_block_##dtype)(const type *dy, const type *x, type *dx, NAME(Sums) s[4],          \
                                          const NAME(Lanes) *p) {                                            \
    EACH {                                                                                                   \
      const FLOATS d = NAME(load_##dtype)(dy + j * WIDTH), v = NAME(load_##dtype)(x + j * WIDTH);            \
      NAME(store_##dtype)(dx + j * WIDTH, NAME(learned_backward)(d, v, &s[j], p));                           \
    }                                                                                                        \
  }                                                                                                          \
  TUNED static void NAME(learned_row_##dtype)(const void *dy_, const void *x_, void *dx_, int64_t n,         \
                                              const Gate_f32 *gate, double *sums) {                          \
    const type *dy = dy_, *x = x_;                                                                           \
    type *dx = dx_, rest[2][BLOCK] = {{0}};                                                                  \
    const NAME(Lanes) lanes = NAME(spread)(gate), *p = &lanes;                                               \
    NAME(Sums) s[4] = {{{{0}}}};                                                                             \
    const int64_t whole = n / BLOCK * BLOCK, left = (n - whole) * (int64_t)sizeof(type);                     \
    for (int64_t i = 0; i < whole; i += BLOCK) NAME(learned_block_##dtype)(dy + i, x + i, dx + i, s, p);     \
    if (left) {                                                                                              \
      memcpy(rest[0], dy + whole, left);                                                                     \
      memcpy(rest[1], x + whole, left);                                                                      \
      NAME(learned_block_##dtype)(rest[0], rest[1], rest[0], s, p);                                          \
      memcpy(dx + whole, rest[0], left);                                                                     \
    }                                                                                                        \
    for (int k = 0; k < 3; k++)                                                                              \
      sums[k] += NAME(total)((s[0].of[k] + s[1].of[k]) + (s[2].of[k] + s[3].of[k]));                         \
  }                                                                                                          \
  TUNED static void NAME(learned_columns_##dtype)(const void *dy_, const void *x_, void *y_, int64_t rows,   \
                                                  int64_t channels, const Gates *gates, double *sums) {      \
    for (int64_t c = 0; c < channels; c += WIDTH) {                                                          \
      const int64_t width = channels - c < WIDTH ? channels - c : WIDTH, bytes = width * (int64_t)sizeof(type); \
      const NAME(Lanes) lanes = {NAME(load_f32)(gates->alpha + c), NAME(load_f32)(gates->beta + c),          \
                                 NAME(load_f32)(gates->gamma + c), NAME(load_f32)(gates->lo + c),            \
                                 NAME(load_f32)(gates->hi + c)};                                             \
      NAME(Sums) s = {{{0}}};                                                                                \
      for (int64_t r = 0; r < rows; r++) {                                                                   \
        type x[WIDTH] = {0}, dy[WIDTH] = {0};                                                                \
        const int64_t at = r * channels + c;                                                                 \
        FLOATS v, d = {0};                                                                                   \
        if (width == WIDTH) {                                                                                \
          v = NAME(load_##dtype)((const type *)x_ + at);                                                     \
          if (dy_) d = NAME(load_##dtype)((const type *)dy_ + at);                                           \
        } else {                                                                                             \
          memcpy(x, (const type *)x_ + at, bytes);                                                           \
          if (dy_) memcpy(dy, (const type *)dy_ + at, bytes);                                                \
          v = NAME(load_##dtype)(x), d = NAME(load_##dtype)(dy);                                             \
        }                                                                                                    \
        v = dy_ ? NAME(learned_backward)(d, v, &s, &lanes) : NAME(forward)(v, &lanes, 0);                    \
        if (width == WIDTH) NAME(store_##dtype)((type *)y_ + at, v);                                         \
        else NAME(store_##dtype)(x, v), memcpy((type *)y_ + at, x, bytes);                                   \
      }                                                                                                      \
      for (int k = 0; dy_ && k < 3; k++)                                                                     \
        for (int64_t l = 0; l < width; l++) sums[k * channels + c + l] += s.of[k][l];                        \
    }                                                                                                        \
  }

LEARNED_LOOPS(f32, float, vector_forward)
LEARNED_LOOPS(bf16, uint16_t, vector_forward_half)
LEARNED_LOOPS(f16, uint16_t, vector_forward_half)

#undef LEARNED_LOOPS
