/* GoLU for the CPU: y = forward(x) and dx = backward(dy, x) over dense arrays, by torch's OpenMP threads.
 *
 * No Python and no torch headers: one binary serves every version of both, through extension.c or ctypes.
 * gate.h holds the mathematics, simd.h the same for AVX2 and AVX-512; golu_choose decides which one runs.
 * The rest of the interface, golu_forward_<dtype> and golu_backward_<dtype>, is at the end.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Functions of libc by their first symbol versions, which every glibc has: later ones would be the only things in the
 * library that keep a wheel from older systems. log and exp got another for their errors in 2.29 (they are called for
 * parameters, which are ordinary), memcpy in 2.14 for memory that overlaps. */
#if defined(__GLIBC__) && defined(__x86_64__)
__asm__(".symver log,log@GLIBC_2.2.5");
__asm__(".symver exp,exp@GLIBC_2.2.5");
__asm__(".symver memcpy,memcpy@GLIBC_2.2.5");
#elif defined(__GLIBC__) && defined(__aarch64__)
__asm__(".symver log,log@GLIBC_2.17");
__asm__(".symver exp,exp@GLIBC_2.17");
#endif

#include "gate.h"
#define GATE_DOUBLE
#include "gate.h"
#undef GATE_DOUBLE

/* What output.h takes; golu/from_output.py makes it, in this order. */
typedef struct {
  float y_min, inverse_y_min;
  float right_scale, right_rest; /* so that (v - y_min) * right_scale + right_rest is exact near the minimum */
  float to_unit, alpha;          /* gamma / alpha, and what the derivative is multiplied by */
  float coefficients[];          /* of each power, lowest first: those of the left's segments, and of the right's */
} Slopes;
#define NEAREST 1e-12f /* the least distance from the minimum: the derivative is never quite 0 */
#define DEEPEST 88.5f  /* of ln(v_min / v) */

/* What learned.h takes: a gate for each channel. */
typedef struct {
  float *alpha, *beta, *gamma, *lo, *hi;
} Gates;

/* ---- vectors of float on x86 ---- */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAVE_SIMD 1
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define WIDTH 8
#define NAME(name) name##_avx2
#include "simd.h"
#undef NAME
#define GATE_DOUBLE
#define GATE_SUFFIX(name) name##_avx2
#include "gate.h"
#undef GATE_DOUBLE
#undef GATE_SUFFIX
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif
#define WIDTH 16
#define NAME(name) name##_avx512
#include "simd.h"
#undef NAME
#define GATE_DOUBLE
#define GATE_SUFFIX(name) name##_avx512
#include "gate.h"
#undef GATE_DOUBLE
#undef GATE_SUFFIX
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

/* ---- sixteen bits without vector instructions ---- */

static inline float from_bits(uint32_t bits) { union { uint32_t u; float f; } v; v.u = bits; return v.f; }
static inline uint32_t to_bits(float f) { union { uint32_t u; float f; } v; v.f = f; return v.u; }

static inline float load_bf16(uint16_t h) { return from_bits((uint32_t)h << 16); }
static inline uint16_t store_bf16(float f) {
  const uint32_t bits = to_bits(f);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float load_f16(uint16_t h) {
  const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
  const float scaled = from_bits(magnitude) * 0x1p+112f; /* moves the exponent's bias, subnormals too */
  const uint32_t bits = magnitude >= 0x0f800000 ? magnitude + 0x70000000 : to_bits(scaled);
  return from_bits(bits | (uint32_t)(h & 0x8000) << 16);
}
static inline uint16_t store_f16(float f) {
  const uint32_t sign = to_bits(f) >> 16 & 0x8000, magnitude = to_bits(f) & 0x7fffffff;
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* rounds to infinity */
  if (magnitude < 0x38800000) /* subnormal: let the addition round at 2^-24 */
    return (uint16_t)(sign | (to_bits(from_bits(magnitude) + 0.5f) - 0x3f000000));
  return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}
static inline float load_f32(float f) { return f; }
static inline float store_f32(float f) { return f; }
static inline double load_f64(double f) { return f; }
static inline double store_f64(double f) { return f; }

/* ---- loops of one thread: (dy or NULL, x, y, n, gate, unit) ---- */

typedef void Loop(const void *, const void *, void *, int64_t, const void *, int);

#define VECTORISED _Pragma("omp simd") /* by -fopenmp-simd, which takes no more of OpenMP than that */
/* y[i] = value: several vectors at a time, which are independent work while one waits for its long chain */
#define FORWARD(dtype, suffix, unit) store_##dtype(forward_##suffix(load_##dtype(x[i]), &p, unit))
#define BACKWARD(dtype, suffix, unit) store_##dtype(backward_##suffix(load_##dtype(dy[i]), load_##dtype(x[i]), &p, unit))
#define ALL_OF(y, value)                                                                              \
  {                                                                                                   \
    int64_t done = 0;                                                                                 \
    for (; done + 16 <= n; done += 16)                                                                \
      VECTORISED for (int64_t i = done; i < done + 16; i++) y[i] = (value);                           \
    VECTORISED for (int64_t i = done; i < n; i++) y[i] = (value);                                     \
  }
#define SCALAR_LOOP(isa, dtype, type, real, suffix, attribute)                                        \
  attribute static void loop_##dtype##_##isa(const void *dy_, const void *x_, void *y_, int64_t n,    \
                                             const void *gate, int unit) {                            \
    const type *dy = dy_, *x = x_;                                                                    \
    type *y = y_;                                                                                     \
    const Gate_##real p = *(const Gate_##real *)gate;                                                 \
    if (!dy && unit) ALL_OF(y, FORWARD(dtype, suffix, 1))                                             \
    else if (!dy) ALL_OF(y, FORWARD(dtype, suffix, 0))                                                \
    else if (unit) ALL_OF(y, BACKWARD(dtype, suffix, 1))                                              \
    else ALL_OF(y, BACKWARD(dtype, suffix, 0))                                                        \
  }

SCALAR_LOOP(portable, f32, float, f32, f32, )
SCALAR_LOOP(portable, f64, double, f64, f64, )
SCALAR_LOOP(portable, bf16, uint16_t, f32, f32, )
SCALAR_LOOP(portable, f16, uint16_t, f32, f32, )

#ifdef HAVE_SIMD
#ifdef __clang__
#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#else /* sixteen registers: schedule with an eye on them (measured: a fifth faster) */
#define AVX2 __attribute__((target("avx2,fma,f16c"), optimize("sched-pressure")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,tune=icelake-server")))
#endif
#define SIMD_LOOP(isa, dtype, type, attribute)                                                     \
  attribute static void vector_loop_##dtype##_##isa(const void *dy, const void *x, void *y, int64_t n, \
                                                    const void *gate, int unit) {                  \
    const Gate_f32 p = *(const Gate_f32 *)gate;                                                    \
    if (unit) loop_##dtype##_##isa(dy, x, y, n, &p, 1);                                            \
    else loop_##dtype##_##isa(dy, x, y, n, &p, 0);                                                 \
  }
SIMD_LOOP(avx2, f32, float, AVX2)
SIMD_LOOP(avx2, bf16, uint16_t, AVX2)
SIMD_LOOP(avx2, f16, uint16_t, AVX2)
SCALAR_LOOP(avx2, f64, double, f64, f64_avx2, AVX2)
SIMD_LOOP(avx512, f32, float, AVX512)
SIMD_LOOP(avx512, bf16, uint16_t, AVX512)
SIMD_LOOP(avx512, f16, uint16_t, AVX512)
SCALAR_LOOP(avx512, f64, double, f64, f64_avx512, AVX512)
#endif

/* ---- which instruction set ---- */

typedef void Kept(const void *x, void *y, uint8_t *sides, int64_t n, float least, const Gate_f32 *, int unit);
typedef void Slope(const void *dy, const void *y, const uint8_t *sides, void *dx, int64_t n, const Slopes *, int unit);
typedef void Gated(const void *gate, const void *up, void *y, int64_t n, const Gate_f32 *, int unit);
typedef void Gated_back(const void *dy, const void *gate, const void *up, void *dgate, void *dup, int64_t n,
                        const Gate_f32 *, int unit);
typedef void Learned_row(const void *dy, const void *x, void *dx, int64_t n, const Gate_f32 *, double sums[3]);
typedef void Learned_columns(const void *dy, const void *x, void *y, int64_t rows, int64_t channels, const Gates *,
                             double *sums); /* dy is NULL for forward */
typedef struct { /* what is written for vectors only; NULL elsewhere */
  Kept *kept;
  Slope *slope;
  Gated *gated;
  Gated_back *gated_back;
  Learned_row *learned_row;
  Learned_columns *learned_columns;
} Vectors;

typedef struct {
  const char *name;
  Loop *f32, *f64, *bf16, *f16;
  Vectors vectors_f32, vectors_bf16, vectors_f16;
} InstructionSet;

#define VECTORS(isa, dtype)                                                                                   \
  {kept_##dtype##_##isa,       slope_##dtype##_##isa,       gated_##dtype##_##isa,                            \
   gated_back_##dtype##_##isa, learned_row_##dtype##_##isa, learned_columns_##dtype##_##isa}
#define ALL_VECTORS(isa) VECTORS(isa, f32), VECTORS(isa, bf16), VECTORS(isa, f16)
static const InstructionSet instruction_sets[] = {
#ifdef HAVE_SIMD
    {"avx512", vector_loop_f32_avx512, loop_f64_avx512, vector_loop_bf16_avx512, vector_loop_f16_avx512,
     ALL_VECTORS(avx512)},
    {"avx2", vector_loop_f32_avx2, loop_f64_avx2, vector_loop_bf16_avx2, vector_loop_f16_avx2, ALL_VECTORS(avx2)},
#endif
    {"portable", loop_f32_portable, loop_f64_portable, loop_bf16_portable, loop_f16_portable, {0}, {0}, {0}},
};
static const InstructionSet *chosen = &instruction_sets[sizeof instruction_sets / sizeof *instruction_sets - 1];

static int supported(const char *name) {
#ifdef HAVE_SIMD
  /* every processor with AVX2 has F16C, which older compilers cannot ask for */
  const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!strcmp(name, "avx2")) return avx2;
  if (!strcmp(name, "avx512"))
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
  return !strcmp(name, "portable");
}

/* The best supported instruction set for NULL, else the named one; its name, or NULL where it cannot run. */
const char *golu_choose(const char *name) {
  for (size_t i = 0; i < sizeof instruction_sets / sizeof *instruction_sets; i++) {
    const InstructionSet *set = &instruction_sets[i];
    if ((!name || !strcmp(name, set->name)) && supported(set->name)) {
      chosen = set;
      return set->name;
    }
  }
  return NULL;
}

/* ---- threads ---- */

enum { GRAIN = 32768 }; /* elements worth a thread, as in ATen */

/* OpenMP's functions, of the runtime that torch itself has loaded: one pool of threads. They are handed over and not
 * linked, because not every torch has them in the global scope or under one name of the library. */
static struct {
  void (*parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel, which LLVM's runtime has too */
  int (*in_parallel)(void);
  int (*thread_num)(void);
  int (*num_threads)(void);
} openmp;

/* Take their addresses, in this order; without them every call runs on one thread. */
void golu_use_openmp(const void *const functions[4]) { memcpy(&openmp, functions, sizeof openmp); }

typedef void Part(const void *work, int64_t begin, int64_t n);
typedef struct {
  Part *part;
  const void *work;
  int64_t n, share; /* units of work, and those of a share */
} Shares;

static void shares_of_a_thread(void *shares) {
  const Shares s = *(const Shares *)shares;
  const int64_t step = s.share * openmp.num_threads();
  for (int64_t i = s.share * openmp.thread_num(); i < s.n; i += step)
    s.part(s.work, i, s.n - i < s.share ? s.n - i : s.share);
}

/* Call part(work, begin, n) over n units, of which `grain` are worth a thread, in shares of a multiple of `whole`. */
static void shared(Part *part, const void *work, int64_t n, int64_t grain, int64_t whole, int threads) {
  if (n > grain && threads > 1 && openmp.parallel && !openmp.in_parallel()) {
    const int64_t most = (n + grain - 1) / grain;
    if (threads > most) threads = (int)most;
    Shares shares = {part, work, n, ((n + threads - 1) / threads + whole - 1) / whole * whole};
    openmp.parallel(shares_of_a_thread, &shares, (unsigned)threads, 0);
  } else {
    part(work, 0, n);
  }
}

/* The same over n elements, in shares of whole cache lines, of bits too. */
static void parallel(Part *part, const void *work, int64_t n, int threads) {
  shared(part, work, n, GRAIN, 512, threads);
}

typedef struct {
  Loop *loop;
  const char *dy, *x;
  char *y;
  int64_t size; /* bytes of an element */
  const void *gate;
  int unit;
} Work;

static void part_of_loop(const void *work, int64_t begin, int64_t n) {
  const Work *w = work;
  const int64_t at = begin * w->size;
  w->loop(w->dy ? w->dy + at : NULL, w->x + at, w->y + at, n, w->gate, w->unit);
}

/* ---- the interface: y and dx may be x or dy; parameters are alpha, beta, gamma, or NULL for 1 ----
 * Returns 0, or 1 where the formula has to serve: a tensor has no memory behind it, or with these parameters
 * intermediates would leave the range of float. */

static int takes(const double *q) {
  return !q || (1e-20 < fabs(q[0]) && fabs(q[0]) < 1e20 && 1e-20 < q[1] && q[1] < 1e20 && 1e-20 < q[2] && q[2] < 1e20);
}

#define GATE_OF(real, REAL) \
  {alpha, beta, gamma, log(beta / U_MAX_##REAL) / gamma, (log(beta) + LOG_U_MIN_##REAL) / gamma}

#define ENTRY(dtype, type, real, REAL)                                                                        \
  static int run_##dtype(const void *dy, const void *x, void *y, int64_t n, const double *q, int threads) {   \
    const double alpha = q ? q[0] : 1, beta = q ? q[1] : 1, gamma = q ? q[2] : 1;                             \
    const Gate_##real gate = GATE_OF(real, REAL);                                                             \
    const Work work = {chosen->dtype, dy, x, y, sizeof(type), &gate, !q};                                     \
    parallel(part_of_loop, &work, n, threads);                                                                \
    return 0;                                                                                                 \
  }                                                                                                           \
  int golu_forward_##dtype(const void *x, void *y, int64_t n, const double *parameters, int threads) {        \
    if (!x || !y || !takes(parameters)) return n > 0;                                                         \
    return run_##dtype(NULL, x, y, n, parameters, threads);                                                   \
  }                                                                                                           \
  int golu_backward_##dtype(const void *dy, const void *x, void *dx, int64_t n, const double *parameters,     \
                            int threads) {                                                                    \
    if (!dy || !x || !dx || !takes(parameters)) return n > 0;                                                 \
    return run_##dtype(dy, x, dx, n, parameters, threads);                                                    \
  }

ENTRY(f32, float, f32, F32)
ENTRY(f64, double, f64, F64)
ENTRY(bf16, uint16_t, f32, F32)
ENTRY(f16, uint16_t, f32, F32)

#include "forms.h"
