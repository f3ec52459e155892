/* The other forms of GoLU for the CPU: keep="output", the gated form, and learnt parameters.
 *
 * cpu.c includes it at its end: whose instruction sets and threads they take. The loops are in output.h, gated.h and
 * learned.h. Every function of the interface returns 0, or 1 where the formula has to serve.
 */

/* ---- keep="output": sides has a bit an element in (n + 7) / 8 bytes, `least` is the x of the minimum ---- */

typedef struct {
  Vectors vectors;
  const char *dy, *x; /* forward: no dy; backward: x is the output */
  char *y;
  uint8_t *sides;
  int64_t size;
  float least;
  const Gate_f32 *gate;
  const Slopes *slopes;
  int unit;
} Kept_work;

static void part_of_kept(const void *work, int64_t begin, int64_t n) {
  const Kept_work *w = work;
  const int64_t at = begin * w->size;
  if (w->dy) w->vectors.slope(w->dy + at, w->x + at, w->sides + begin / 8, w->y + at, n, w->slopes, w->unit);
  else w->vectors.kept(w->x + at, w->y + at, w->sides + begin / 8, n, w->least, w->gate, w->unit);
}

#define KEEPING(dtype, type)                                                                                        \
  int golu_forward_keeping_##dtype(const void *x, void *y, void *sides, int64_t n, const double *q, double least,  \
                                   int threads) {                                                                   \
    const double alpha = q ? q[0] : 1, beta = q ? q[1] : 1, gamma = q ? q[2] : 1;                                   \
    const Vectors vectors = chosen->vectors_##dtype;                                                                \
    if (!vectors.kept || !x || !y || !sides || !takes(q)) return 1;                                                 \
    const Gate_f32 gate = GATE_OF(f32, F32);                                                                        \
    const Kept_work work = {vectors, NULL, x, y, sides, sizeof(type), (float)least, &gate, NULL, !q};               \
    parallel(part_of_kept, &work, n, threads);                                                                      \
    return 0;                                                                                                       \
  }                                                                                                                 \
  int golu_backward_from_output_##dtype(const void *dy, const void *y, const void *sides, void *dx, int64_t n,      \
                                        const void *slopes, int unit, int threads) {                                \
    const Vectors vectors = chosen->vectors_##dtype;                                                                \
    if (!vectors.slope || !dy || !y || !sides || !dx) return 1;                                                     \
    const Kept_work work = {vectors, dy, y, dx, (uint8_t *)sides, sizeof(type), 0, NULL, slopes, unit};             \
    parallel(part_of_kept, &work, n, threads);                                                                      \
    return 0;                                                                                                       \
  }

KEEPING(f32, float)
KEEPING(bf16, uint16_t)
KEEPING(f16, uint16_t)

/* ---- the gated form: golu(gate) * up, by rows with strides; dy and dup are NULL for forward ---- */

typedef struct {
  Vectors vectors;
  const char *dy, *gate, *up; /* dy is NULL for forward */
  char *out, *dup;            /* y, or the gradient of the gate; and that of up */
  int64_t size, columns;      /* bytes of an element, elements of a row */
  const int64_t *strides;     /* from row to row, in elements: of dy, gate, up, out, dup */
  const Gate_f32 *parameters;
  int unit;
} Gated_work;

static void part_of_gated(const void *work, int64_t begin, int64_t n) {
  const Gated_work *w = work;
  while (n > 0) {
    const int64_t row = begin / w->columns, column = begin % w->columns;
    const int64_t count = n < w->columns - column ? n : w->columns - column;
#define AT(pointer, index) (w->pointer + (row * w->strides[index] + column) * w->size)
    if (w->dy)
      w->vectors.gated_back(AT(dy, 0), AT(gate, 1), AT(up, 2), AT(out, 3), AT(dup, 4), count, w->parameters, w->unit);
    else
      w->vectors.gated(AT(gate, 1), AT(up, 2), AT(out, 3), count, w->parameters, w->unit);
#undef AT
    begin += count, n -= count;
  }
}

#define GATED(dtype, type)                                                                                          \
  int golu_gated_##dtype(const void *dy, const void *gate_, const void *up, void *out, void *dup, int64_t rows,     \
                         int64_t columns, const int64_t strides[5], const double *q, int threads) {                 \
    const double alpha = q ? q[0] : 1, beta = q ? q[1] : 1, gamma = q ? q[2] : 1;                                   \
    const Vectors vectors = chosen->vectors_##dtype;                                                                \
    if (!vectors.gated || !gate_ || !up || !out || !takes(q)) return 1;                                             \
    const Gate_f32 gate = GATE_OF(f32, F32);                                                                        \
    const Gated_work work = {vectors, dy, gate_, up, out, dup, sizeof(type), columns, strides, &gate, !q};          \
    parallel(part_of_gated, &work, rows * columns, threads);                                                        \
    return 0;                                                                                                       \
  }

GATED(f32, float)
GATED(bf16, uint16_t)
GATED(f16, uint16_t)

/* ---- learnt parameters: x is (rows, channels, inner), and each channel has logarithms of its alpha, beta and gamma ----
 * With dy, y is dx, and `gradients` are those of the logarithms. */

enum { PIECE = 16384 }; /* elements, about, whose sums are made as one, whatever the number of threads */

typedef struct {
  Vectors vectors;
  Loop *loop; /* forward of a row */
  const char *dy, *x;
  char *y;
  int64_t size, rows, channels, inner; /* x is (rows, channels, inner) */
  int64_t pieces_of_a_row, rows_of_a_piece;
  const Gate_f32 *gate; /* of each channel, for rows */
  const Gates *gates;   /* the same for columns, where inner is 1 */
  double *sums;         /* of each piece */
} Learned_work;

static void part_of_learned_rows(const void *work, int64_t begin, int64_t n) {
  const Learned_work *w = work;
  int64_t row = begin / w->pieces_of_a_row, start = begin % w->pieces_of_a_row * PIECE, channel = row % w->channels;
  for (int64_t piece = begin; piece < begin + n; piece++) {
    const int64_t count = w->inner - start < PIECE ? w->inner - start : PIECE, at = (row * w->inner + start) * w->size;
    const Gate_f32 *gate = w->gate + channel;
    if (w->dy) w->vectors.learned_row(w->dy + at, w->x + at, w->y + at, count, gate, w->sums + 3 * piece);
    else w->loop(NULL, w->x + at, w->y + at, count, gate, 0);
    if ((start += PIECE) < w->inner) continue;
    start = 0, row++;
    if (++channel == w->channels) channel = 0;
  }
}

static void part_of_learned_columns(const void *work, int64_t begin, int64_t n) {
  const Learned_work *w = work;
  for (int64_t piece = begin; piece < begin + n; piece++) {
    const int64_t first = piece * w->rows_of_a_piece, at = first * w->channels * w->size;
    const int64_t count = w->rows - first < w->rows_of_a_piece ? w->rows - first : w->rows_of_a_piece;
    w->vectors.learned_columns(w->dy ? w->dy + at : NULL, w->x + at, w->y + at, count, w->channels, w->gates,
                               w->sums ? w->sums + 3 * w->channels * piece : NULL);
  }
}

/* Add up the sums of all pieces, in their order. */
static void add_up(const Learned_work *w, int columns, int64_t pieces, double *totals) {
  const double *sum = w->sums;
  if (columns)
    for (int64_t piece = 0; piece < pieces; piece++)
      for (int64_t i = 0; i < 3 * w->channels; i++) totals[i] += *sum++;
  else
    for (int64_t row = 0; row < w->rows; row++)
      for (int64_t c = 0; c < w->channels; c++)
        for (int64_t piece = 0; piece < w->pieces_of_a_row; piece++)
          for (int k = 0; k < 3; k++) totals[k * w->channels + c] += *sum++;
}

static int learned(Vectors vectors, Loop *loop, Learned_work *w, const float *const logarithms[3],
                   float *const gradients[3], int threads) {
  const int64_t channels = w->channels, padded = channels + 16;
  if (!vectors.learned_row || !w->x || !w->y) return 1;
  const int columns = w->inner == 1 && channels > 1;
  w->vectors = vectors, w->loop = loop;
  w->pieces_of_a_row = (w->inner + PIECE - 1) / PIECE;
  w->rows_of_a_piece = channels < PIECE ? PIECE / channels : 1;
  const int64_t pieces = columns ? (w->rows + w->rows_of_a_piece - 1) / w->rows_of_a_piece
                                 : w->rows * channels * w->pieces_of_a_row;
  const int64_t of_a_piece = columns ? 3 * channels : 3;
  Gate_f32 *gate = malloc(channels * sizeof *gate);
  float *values = calloc(5 * padded, sizeof *values);
  double *sums = w->dy ? calloc(pieces * of_a_piece + 3 * channels, sizeof *sums) : NULL;
  int refused = !gate || !values || (w->dy && !sums);
  const Gates gates = {values, values + padded, values + 2 * padded, values + 3 * padded, values + 4 * padded};
  for (int64_t c = 0; c < channels && !refused; c++) {
    const double alpha = exp(logarithms[0][c]), beta = exp(logarithms[1][c]), gamma = exp(logarithms[2][c]);
    const double given[3] = {alpha, beta, gamma};
    if ((refused = !takes(given))) break;
    const Gate_f32 of_channel = GATE_OF(f32, F32);
    gate[c] = of_channel;
    gates.alpha[c] = of_channel.alpha, gates.beta[c] = of_channel.beta, gates.gamma[c] = of_channel.gamma;
    gates.lo[c] = of_channel.lo, gates.hi[c] = of_channel.hi;
  }
  if (!refused) {
    w->gate = gate, w->gates = &gates, w->sums = sums;
    const int64_t elements = columns ? w->rows_of_a_piece * channels : w->inner < PIECE ? w->inner : PIECE;
    shared(columns ? part_of_learned_columns : part_of_learned_rows, w, pieces, GRAIN / (elements ? elements : 1) + 1, 1,
           threads);
    if (w->dy) {
      double *const totals = sums + pieces * of_a_piece;
      add_up(w, columns, pieces, totals);
      for (int k = 0; k < 3; k++)
        for (int64_t c = 0; c < channels; c++) gradients[k][c] = (float)totals[k * channels + c];
    }
  }
  free(gate), free(values), free(sums);
  return refused;
}

#define LEARNED(dtype, type)                                                                                        \
  int golu_learned_##dtype(const void *dy, const void *x, void *y, int64_t rows, int64_t channels, int64_t inner,   \
                           const float *const logarithms[3], float *const gradients[3], int threads) {              \
    Learned_work work = {0};                                                                                        \
    work.dy = dy, work.x = x, work.y = y, work.size = sizeof(type);                                                 \
    work.rows = rows, work.channels = channels, work.inner = inner;                                                 \
    return learned(chosen->vectors_##dtype, chosen->dtype, &work, logarithms, gradients, threads);                  \
  }

LEARNED(f32, float)
LEARNED(bf16, uint16_t)
LEARNED(f16, uint16_t)
