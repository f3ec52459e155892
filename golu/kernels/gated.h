/* y = golu(gate) * up, and the gradients of both from dy, for vectors of WIDTH floats; simd.h includes it. */

#define GATED_LOOPS(dtype, type, forward)                                                                       \
  INLINE void NAME(gated_block_##dtype)(const type *gate, const type *up, type *y, const NAME(Lanes) *p,        \
                                        int unit) {                                                             \
    FLOATS v[4];                                                                                                \
    EACH v[j] = NAME(load_##dtype)(gate + j * WIDTH);                                                           \
    EACH v[j] = NAME(forward)(v[j], p, unit) * NAME(load_##dtype)(up + j * WIDTH);                              \
    EACH NAME(store_##dtype)(y + j * WIDTH, v[j]);                                                              \
  }                                                                                                             \
  TUNED static void NAME(gated_##dtype)(const void *gate_, const void *up_, void *y_, int64_t n,                \
                                        const Gate_f32 *parameters, int unit) {                                 \
    const type *gate = gate_, *up = up_;                                                                        \
    type *y = y_, rest[2][BLOCK];                                                                               \
    const NAME(Lanes) lanes = NAME(spread)(parameters), *p = &lanes;                                            \
    const int64_t whole = n / BLOCK * BLOCK, left = (n - whole) * (int64_t)sizeof(type);                        \
    if (unit)                                                                                                   \
      for (int64_t i = 0; i < whole; i += BLOCK) NAME(gated_block_##dtype)(gate + i, up + i, y + i, p, 1);      \
    else                                                                                                        \
      for (int64_t i = 0; i < whole; i += BLOCK) NAME(gated_block_##dtype)(gate + i, up + i, y + i, p, 0);      \
    if (!left) return;                                                                                          \
    NAME(take)(rest[0], sizeof rest[0], gate + whole, left);                                                    \
    NAME(take)(rest[1], sizeof rest[1], up + whole, left);                                                      \
    NAME(gated_block_##dtype)(rest[0], rest[1], rest[0], p, unit);                                              \
    NAME(give)(y + whole, sizeof rest[0], rest[0], left);                                                       \
  }                                                                                                             \
  INLINE void NAME(gated_back_block_##dtype)(const type *dy, const type *gate, const type *up, type *dgate,     \
                                             type *dup, const NAME(Lanes) *p, int unit) {                       \
    EACH {                                                                                                      \
      FLOATS u;                                                                                                 \
      const FLOATS d = NAME(load_##dtype)(dy + j * WIDTH), b = NAME(load_##dtype)(up + j * WIDTH);              \
      const FLOATS c = NAME(max_keeping_nan)(p->lo, NAME(load_##dtype)(gate + j * WIDTH));                      \
      const FLOATS e = NAME(min_keeping_nan)(p->hi, c), t = unit ? e : p->gamma * e;                            \
      const FLOATS g = unit ? NAME(vector_gate)(e, t, &u, p, 1) : p->alpha * NAME(vector_gate)(e, t, &u, p, 0); \
      NAME(store_##dtype)(dgate + j * WIDTH, d * b * (g * (1 + t * u)));                                        \
      NAME(store_##dtype)(dup + j * WIDTH, d * (c * g));                                                        \
    }                                                                                                           \
  }                                                                                                             \
  TUNED static void NAME(gated_back_##dtype)(const void *dy_, const void *gate_, const void *up_, void *dgate_, \
                                             void *dup_, int64_t n, const Gate_f32 *parameters, int unit) {     \
    const type *dy = dy_, *gate = gate_, *up = up_;                                                             \
    type *dgate = dgate_, *dup = dup_, rest[3][BLOCK];                                                          \
    const NAME(Lanes) lanes = NAME(spread)(parameters), *p = &lanes;                                            \
    const int64_t whole = n / BLOCK * BLOCK, left = (n - whole) * (int64_t)sizeof(type);                        \
    if (unit)                                                                                                   \
      for (int64_t i = 0; i < whole; i += BLOCK)                                                                \
        NAME(gated_back_block_##dtype)(dy + i, gate + i, up + i, dgate + i, dup + i, p, 1);                     \
    else                                                                                                        \
      for (int64_t i = 0; i < whole; i += BLOCK)                                                                \
        NAME(gated_back_block_##dtype)(dy + i, gate + i, up + i, dgate + i, dup + i, p, 0);                     \
    if (!left) return;                                                                                          \
    NAME(take)(rest[0], sizeof rest[0], dy + whole, left);                                                      \
    NAME(take)(rest[1], sizeof rest[1], gate + whole, left);                                                    \
    NAME(take)(rest[2], sizeof rest[2], up + whole, left);                                                      \
    NAME(gated_back_block_##dtype)(rest[0], rest[1], rest[2], rest[1], rest[2], p, unit);                       \
    NAME(give)(dgate + whole, sizeof rest[1], rest[1], left);                                                   \
    NAME(give)(dup + whole, sizeof rest[2], rest[2], left);                                                     \
  }

GATED_LOOPS(f32, float, vector_forward)
GATED_LOOPS(bf16, uint16_t, vector_forward_half)
GATED_LOOPS(f16, uint16_t, vector_forward_half)

#undef GATED_LOOPS
