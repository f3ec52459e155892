/* GoLU of one element, and its derivative, in the C that C, C++ and CUDA share.
 *
 *     forward(x)      = alpha * x * g            g = exp(-u),  u = beta * exp(-gamma * x)
 *     derivative(x)   = alpha * g * (1 + gamma * x * u)
 *
 * Included once for float, once more with GATE_DOUBLE defined for double, and again with GATE_SUFFIX(name) defined for
 * an instruction set that has fused multiply-adds where the compiler's default has none. cuda.py reads it too, and
 * keeps of what depends on GATE_DOUBLE the part in use; so each #else and #endif of these names it.
 *
 * Both exponentials are e^t = 2^k * e^r with k = round(t / ln 2) and |r| <= ln(2)/2. Adding ROUND
 * rounds to an integer and leaves k, with the exponent's bias, in the low bits: one shift makes it 2^k.
 *
 * exp(-u) turns a relative error d of u into u * d, and u reaches 87 before g underflows (in double 708).
 * So forward carries u as a sum hi + lo, exact to about 2^-30, and hands lo to the second exponential.
 * The derivative needs no such care: where u is large it is tiny in absolute terms.
 */

#ifndef GATE_SUFFIX
#define GATE_SUFFIX(name) name
#define GATE_DEFAULT
#endif
#if defined(__CUDACC_RTC__) || defined(__CUDACC__) || defined(__HIPCC__)
#define FMA_F32(a, b, c) fmaf(a, b, c)
#define FMA_F64(a, b, c) fma(a, b, c)
#elif defined(__FP_FAST_FMA) || defined(__FMA__) || defined(__aarch64__) || !defined(GATE_DEFAULT)
#define FMA_F32(a, b, c) __builtin_fmaf(a, b, c)
#define FMA_F64(a, b, c) __builtin_fma(a, b, c)
#endif

#ifndef GATE_DOUBLE
#define NAME(name) GATE_SUFFIX(name##_f32)
#define GATE Gate_f32
#define REAL float
#define BITS int
#define MANTISSA 23
#define LOG2E 0x1.715476p+0f
#define LN2_HI 0x1.62e4p-1f
#define LN2_LO 0x1.7f7d1cp-20f
#define ROUND 0x1.8000fep+23f    /* 1.5 * 2^23 + 127 */
#define ROUND_UP 0x1.80012ep+23f /* + 24 */
#define TWO_TO_MINUS_UP 0x1p-24f
/* (e^r - 1 - r - r^2/2) / r^3, minimax on |r| <= ln(2)/2 with weight r^3, to 2^-33 */
#define EXP_TAIL(r) \
  (0x1.555556p-3f + r * (0x1.5554e6p-5f + r * (0x1.111094p-7f + r * (0x1.6d4f12p-10f + r * 0x1.a19c58p-13f))))
#define U_MAX_F32 104.6   /* exp(-u) is below half of the smallest subnormal */
#define LOG_U_MIN_F32 32. /* from u = exp(-32) down, g and the derivative are 1 */
#ifdef FMA_F32
#define PRODUCT_ERROR(a, b, p) FMA_F32(a, b, -(p))
#else
#define PRODUCT_ERROR(a, b, p) (float)((double)(a) * (b) - (p))
#endif
#else /* GATE_DOUBLE */
#define NAME(name) GATE_SUFFIX(name##_f64)
#define GATE Gate_f64
#define REAL double
#define BITS long long
#define MANTISSA 52
#define LOG2E 0x1.71547652b82fep+0
#define LN2_HI 0x1.62e42feep-1
#define LN2_LO 0x1.a39ef35793c76p-33
#define ROUND 0x1.80000000003ffp+52    /* 1.5 * 2^52 + 1023 */
#define ROUND_UP 0x1.800000000043bp+52 /* + 60 */
#define TWO_TO_MINUS_UP 0x1p-60
/* the same to 2^-64 */
#define EXP_TAIL(r) \
  ((0x1.555555555555bp-3 + r * 0x1.555555555555ap-5) + r * r * (0x1.111111110ec38p-7 + r * 0x1.6c16c16c14174p-10) + \
   (r * r) * (r * r) * ((0x1.a01a01b393817p-13 + r * 0x1.a01a01b1f64fap-16) + r * r * ((0x1.71ddefe265798p-19 + \
   r * 0x1.27e4c2cd5047dp-22) + r * r * (0x1.af6c5da5f4f07p-26 + r * 0x1.1f99b096b6d46p-29))))
#define U_MAX_F64 745.5
#define LOG_U_MIN_F64 46.
#ifdef FMA_F64
#define PRODUCT_ERROR(a, b, p) FMA_F64(a, b, -(p))
#else
#define PRODUCT_ERROR(a, b, p) golu_product_error(a, b, p)
/* a * b - p, exactly, without a fused multiply-add: the product of halves of 26 bits is exact (Dekker) */
static inline double golu_high_half(double a) { const double c = a * 0x1.0000002p27; return c - (c - a); }
static inline double golu_product_error(double a, double b, double p) {
  const double a1 = golu_high_half(a), a2 = a - a1, b1 = golu_high_half(b), b2 = b - b1;
  return a1 * b1 - p + a1 * b2 + a2 * b1 + a2 * b2;
}
#endif
#endif /* GATE_DOUBLE */

#ifdef GATE_DEFAULT
typedef struct {
  REAL alpha, beta, gamma;
  REAL lo, hi; /* g(lo) underflows to 0; from hi on g is 1 and gamma * x * u is 0, to rounding */
} GATE;
#endif

static inline REAL NAME(power_of_two)(REAL rounded) {
  union { REAL real; BITS bits; } power;
  power.real = rounded;
  power.bits <<= MANTISSA;
  return power.real;
}

static inline REAL NAME(exp_tail)(REAL r) { return r * r * (r * EXP_TAIL(r)); }

/* e^r, to one rounding */
static inline REAL NAME(exp_reduced)(REAL r) { return 1 + (r + ((REAL)0.5 * r * r + NAME(exp_tail)(r))); }

/* `unit` is a constant in every call: with it, alpha = beta = gamma = 1 costs nothing. */
static inline REAL NAME(forward)(REAL x, const GATE *p, int unit) {
  const REAL c = x < p->lo ? p->lo : x; /* keeps NaN, and turns -inf * 0 into lo * 0 */
  const REAL e = c > p->hi ? p->hi : c;
  const REAL t = unit ? e : p->gamma * e;
  const REAL rounded = t * -LOG2E + ROUND;
  const REAL k = rounded - ROUND;
  REAL r = k * -LN2_HI - t; /* exact: the last bits of LN2_HI are 0 */
  REAL correction = k * -LN2_LO;
  if (!unit) correction -= PRODUCT_ERROR(p->gamma, e, t);
#ifdef GATE_DOUBLE /* e^correction = 1 + correction is not exact enough: only what r cannot hold stays in it */
  const REAL reduced = r;
  r = reduced + correction;
  correction = (reduced - r) + correction;
#endif /* GATE_DOUBLE */
  const REAL half = (REAL)0.5 * r;
  const REAL tail = NAME(exp_tail)(r);
  const REAL hi = 1 + (r + (half * r + tail));
#ifdef GATE_DOUBLE
  const REAL square = half * r;
  REAL lo = ((square + ((1 - hi) + r)) + tail) + PRODUCT_ERROR(half, r, square);
#else /* GATE_DOUBLE */
  REAL lo = (half * r + ((1 - hi) + r)) + tail; /* what the rounding of hi lost */
#endif /* GATE_DOUBLE */
  lo = correction * hi + lo;
  const REAL scale = NAME(power_of_two)(rounded);
  REAL u = hi * scale;
  REAL u_lo = lo * scale;
  if (!unit) {
    const REAL v = u;
    u = p->beta * v;
    u_lo *= p->beta;
    u_lo += PRODUCT_ERROR(p->beta, v, u);
  }
  const REAL rounded2 = u * -LOG2E + ROUND_UP;
  const REAL k2 = rounded2 - ROUND_UP;
  const REAL r2 = (k2 * -LN2_HI - u) - (k2 * LN2_LO + u_lo);
  /* 2^k2 may be subnormal: made as 2^(k2 + UP) * 2^-UP */
  const REAL g = (NAME(exp_reduced)(r2) * TWO_TO_MINUS_UP) * NAME(power_of_two)(rounded2);
  return unit ? c * g : p->alpha * (c * g); /* alpha * c alone may overflow */
}

static inline REAL NAME(backward)(REAL dy, REAL x, const GATE *p, int unit) {
  const REAL c = x < p->lo ? p->lo : x;
  const REAL e = c > p->hi ? p->hi : c; /* keeps inf * 0 out of the derivative at +inf */
  const REAL t = unit ? e : p->gamma * e;
  const REAL rounded = t * -LOG2E + ROUND;
  const REAL k = rounded - ROUND;
  REAL r = (k * -LN2_HI - t) + k * -LN2_LO;
  if (!unit) r -= PRODUCT_ERROR(p->gamma, e, t);
  const REAL v = NAME(exp_reduced)(r) * NAME(power_of_two)(rounded);
  const REAL u = unit ? v : p->beta * v;
  const REAL rounded2 = u * -LOG2E + ROUND_UP;
  const REAL k2 = rounded2 - ROUND_UP;
  const REAL g = (NAME(exp_reduced)((k2 * -LN2_HI - u) + k2 * -LN2_LO) * TWO_TO_MINUS_UP) * NAME(power_of_two)(rounded2);
  const REAL slope = g * (1 + t * u);
  return dy * (unit ? slope : p->alpha * slope);
}

#undef NAME
#undef REAL
#undef BITS
#undef MANTISSA
#undef LOG2E
#undef LN2_HI
#undef LN2_LO
#undef ROUND
#undef ROUND_UP
#undef TWO_TO_MINUS_UP
#undef EXP_TAIL
#undef PRODUCT_ERROR
#undef GATE
#undef FMA_F32
#undef FMA_F64
#ifdef GATE_DEFAULT
#undef GATE_SUFFIX
#undef GATE_DEFAULT
#endif
