// Elementwise functions of one array and their gradients. The two tables stand side by side; the
// saved argument v of a gradient is the function's result y where the table says y, else its input.
#include "cpu/elementwise.h"
#include "cpu/math.h"
#include "kernels.h"

namespace fastnn {
namespace {

constexpr float kSeluScale = 1.05070098735548f, kSeluAlpha = 1.67326324235437f;
constexpr float kGeluTanh = 1.59576912160573f;  // 2 sqrt(2 / pi)

inline Vec set(float x) { return Vec::set(x); }
inline Vec keep(Mask m, Vec x) { return select(m, x, Vec::zero()); }
// 1 for positive, -1 for negative, 0 for zero; NaN stays.
inline Vec sign(Vec x) { return select(x > Vec::zero(), set(1), select(x < Vec::zero(), set(-1), x + Vec::zero())); }
inline Vec hard_sigmoid(Vec x) { return clamp(x + set(3), 0, 6) * set(1.f / 6); }
inline Vec elu(Vec x, Vec alpha) { return select(x > Vec::zero(), x, alpha * expm1(x)); }
// The standard normal distribution function: (1 + erf(x / sqrt(2))) / 2.
inline Vec normal_cdf(Vec x) { return fma(erf(x * set(0.707106781f)), set(0.5f), set(0.5f)); }
// gelu_tanh(x) = x / 2 (1 + tanh(u / 2)) = x sigmoid(u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3)
inline Vec gelu_argument(Vec x) { return x * fma(x * x, set(kGeluTanh * 0.044715f), set(kGeluTanh)); }

// Calls run(f, grain) with y = f(x). The parameters are no Vec: functions that take one leave the upper halves of the
// registers in use when they return, and all that runs next without them is slower by a tenth of a microsecond and more.
template <class Run>
inline void with_unary(int64_t op, float p_value, float q_value, Run run) {
  const int64_t s = kStreamGrain, m = kMathGrain;
  const Vec p = set(p_value), q = set(q_value), zero = Vec::zero(), one = set(1);
  switch (op) {
    case unary_op::negative: return run([=](Vec x) { return -x; }, s);
    case unary_op::abs: return run([=](Vec x) { return abs(x); }, s);
    case unary_op::sign: return run([=](Vec x) { return sign(x); }, s);
    case unary_op::floor: return run([=](Vec x) { return floor(x); }, s);
    case unary_op::ceil: return run([=](Vec x) { return ceil(x); }, s);
    case unary_op::round: return run([=](Vec x) { return round(x); }, s);
    case unary_op::trunc: return run([=](Vec x) { return trunc(x); }, s);
    case unary_op::square: return run([=](Vec x) { return x * x; }, s);
    case unary_op::sqrt: return run([=](Vec x) { return sqrt(x); }, s);
    case unary_op::rsqrt: return run([=](Vec x) { return one / sqrt(x); }, s);
    case unary_op::reciprocal: return run([=](Vec x) { return one / x; }, s);
    case unary_op::exp: return run([=](Vec x) { return exp(x); }, m);
    case unary_op::expm1: return run([=](Vec x) { return expm1(x); }, m);
    case unary_op::log: return run([=](Vec x) { return log(x); }, m);
    case unary_op::log1p: return run([=](Vec x) { return log1p(x); }, m);
    case unary_op::log2: return run([=](Vec x) { return log2(x); }, m);
    case unary_op::sin: return run([=](Vec x) { return sin(x); }, m);
    case unary_op::cos: return run([=](Vec x) { return cos(x); }, m);
    case unary_op::tan: return run([=](Vec x) { return tan(x); }, m);
    case unary_op::tanh: return run([=](Vec x) { return tanh(x); }, m);
    case unary_op::sigmoid: return run([=](Vec x) { return sigmoid(x); }, m);
    case unary_op::erf: return run([=](Vec x) { return erf(x); }, m);
    case unary_op::softplus: return run([=](Vec x) { return softplus(x); }, m);
    case unary_op::log_sigmoid: return run([=](Vec x) { return -softplus(-x); }, m);
    case unary_op::relu: return run([=](Vec x) { return relu(x); }, s);
    case unary_op::relu6: return run([=](Vec x) { return clamp(x, 0, 6); }, s);
    case unary_op::leaky_relu: return run([=](Vec x) { return select(x > zero, x, x * p); }, s);
    case unary_op::elu: return run([=](Vec x) { return elu(x, p); }, m);
    case unary_op::selu: return run([=](Vec x) { return set(kSeluScale) * elu(x, set(kSeluAlpha)); }, m);
    case unary_op::celu: return run([=](Vec x) { return select(x > zero, x, p * expm1(x / p)); }, m);
    case unary_op::silu: return run([=](Vec x) { return x * sigmoid(x); }, m);
    case unary_op::gelu: return run([=](Vec x) { return x * normal_cdf(x); }, m);
    case unary_op::gelu_tanh: return run([=](Vec x) { return x * sigmoid(gelu_argument(x)); }, m);
    // x tanh(log(1 + e)), e = exp(x): tanh is n / (n + 2) with n = e (e + 2), 1 from x = 20 on
    case unary_op::mish: return run([=](Vec x) {
      const Vec e = exp(raw_min(set(20), x)), n = e * (e + set(2));
      return x * quotient(n, n + set(2));
    }, m);
    case unary_op::softsign: return run([=](Vec x) { return x / (one + abs(x)); }, s);
    case unary_op::hard_sigmoid: return run([=](Vec x) { return hard_sigmoid(x); }, s);
    case unary_op::hard_silu: return run([=](Vec x) { return x * hard_sigmoid(x); }, s);
    case unary_op::hard_tanh: return run([=](Vec x) { return clamp(x, -1, 1); }, s);
    case unary_op::tanh_shrink: return run([=](Vec x) { return x - tanh(x); }, m);
    case unary_op::soft_shrink: return run([=](Vec x) { return select(abs(x) <= p, zero, x - copysign(p, x)); }, s);
    case unary_op::hard_shrink: return run([=](Vec x) { return select(abs(x) <= p, zero, x); }, s);
    case unary_op::threshold: return run([=](Vec x) { return select(x <= p, q, x); }, s);
    case unary_op::squareplus: return run([=](Vec x) { return set(0.5f) * (x + sqrt(fma(x, x, p))); }, s);
    case unary_op::clip: return run([=](Vec x) { return raw_min(q, raw_max(p, x)); }, s);
  }
}

// Calls run(f, grain) with gx = f(g, v), g being gy.
template <class Run>
inline void with_unary_backward(int64_t op, float p_value, float q_value, Run run) {
  const int64_t s = kStreamGrain, m = kMathGrain;
  const Vec p = set(p_value), q = set(q_value), zero = Vec::zero(), one = set(1);
  switch (op) {
    case unary_op::negative: return run([=](Vec g, Vec) { return -g; }, s);
    case unary_op::abs: return run([=](Vec g, Vec x) { return g * sign(x); }, s);
    case unary_op::sign:
    case unary_op::floor:
    case unary_op::ceil:
    case unary_op::round:
    case unary_op::trunc: return run([=](Vec, Vec) { return zero; }, s);
    case unary_op::square: return run([=](Vec g, Vec x) { return g * (x + x); }, s);
    case unary_op::sqrt: return run([=](Vec g, Vec y) { return g * set(0.5f) / y; }, s);
    case unary_op::rsqrt: return run([=](Vec g, Vec y) { return g * set(-0.5f) * y * (y * y); }, s);
    case unary_op::reciprocal: return run([=](Vec g, Vec y) { return -(g * y * y); }, s);
    case unary_op::exp: return run([=](Vec g, Vec y) { return g * y; }, s);
    case unary_op::expm1: return run([=](Vec g, Vec y) { return g * (y + one); }, s);
    case unary_op::log: return run([=](Vec g, Vec x) { return g / x; }, s);
    case unary_op::log1p: return run([=](Vec g, Vec x) { return g / (one + x); }, s);
    case unary_op::log2: return run([=](Vec g, Vec x) { return g * set(kLog2e) / x; }, s);
    case unary_op::sin: return run([=](Vec g, Vec x) { return g * cos(x); }, m);
    case unary_op::cos: return run([=](Vec g, Vec x) { return -(g * sin(x)); }, m);
    case unary_op::tan: return run([=](Vec g, Vec y) { return g * fma(y, y, one); }, s);
    case unary_op::tanh: return run([=](Vec g, Vec y) { return g * (one - y * y); }, s);
    case unary_op::sigmoid: return run([=](Vec g, Vec y) { return g * (y * (one - y)); }, s);
    case unary_op::erf: return run([=](Vec g, Vec x) { return g * set(1.12837917f) * exp(-(x * x)); }, m);
    case unary_op::softplus: return run([=](Vec g, Vec x) { return g * sigmoid(x); }, m);
    case unary_op::log_sigmoid: return run([=](Vec g, Vec x) { return g * sigmoid(-x); }, m);
    case unary_op::relu: return run([=](Vec g, Vec y) { return keep(y > zero, g); }, s);
    case unary_op::relu6: return run([=](Vec g, Vec y) { return keep((y > zero) & (y < set(6)), g); }, s);
    case unary_op::leaky_relu: return run([=](Vec g, Vec x) { return select(x > zero, g, g * p); }, s);
    case unary_op::elu: return run([=](Vec g, Vec x) { return select(x > zero, g, g * p * exp(x)); }, m);
    // y + scale alpha = scale alpha exp(x) for x <= 0
    case unary_op::selu: return run([=](Vec g, Vec y) {
      return g * select(y > zero, set(kSeluScale), y + set(kSeluScale * kSeluAlpha));
    }, s);
    case unary_op::celu: return run([=](Vec g, Vec x) { return select(x > zero, g, g * exp(x / p)); }, m);
    case unary_op::silu: return run([=](Vec g, Vec x) {
      const Vec t = sigmoid(x);
      return g * (t * fma(x, one - t, one));
    }, m);
    case unary_op::gelu: return run([=](Vec g, Vec x) {
      const Vec density = set(0.398942280f) * exp(set(-0.5f) * x * x);
      return g * fma(x, density, normal_cdf(x));
    }, m);
    case unary_op::gelu_tanh: return run([=](Vec g, Vec x) {
      const Vec t = sigmoid(gelu_argument(x));
      const Vec slope = fma(x * x, set(3 * kGeluTanh * 0.044715f), set(kGeluTanh));  // du / dx
      return g * fma(x * slope, t * (one - t), t);
    }, m);
    // tanh(softplus(x)) + x sigmoid(x) (1 - tanh(softplus(x))^2)
    case unary_op::mish: return run([=](Vec g, Vec x) {
      const Vec e = exp(raw_min(set(20), x)), n = e * (e + set(2)), t = quotient(n, n + set(2));
      return g * fma(x * quotient(e, one + e), one - t * t, t);
    }, m);
    case unary_op::softsign: return run([=](Vec g, Vec x) {
      const Vec d = one + abs(x);
      return g / (d * d);
    }, s);
    case unary_op::hard_sigmoid: return run([=](Vec g, Vec x) { return keep(abs(x) < set(3), g * set(1.f / 6)); }, s);
    case unary_op::hard_silu: return run([=](Vec g, Vec x) {
      return select(abs(x) < set(3), g * fma(x, set(1.f / 3), set(0.5f)), keep(x > zero, g));
    }, s);
    case unary_op::hard_tanh: return run([=](Vec g, Vec x) { return keep(abs(x) < one, g); }, s);
    case unary_op::tanh_shrink: return run([=](Vec g, Vec x) {
      const Vec t = tanh(x);
      return g * (t * t);
    }, m);
    case unary_op::soft_shrink:
    case unary_op::hard_shrink: return run([=](Vec g, Vec x) { return keep(abs(x) > p, g); }, s);
    case unary_op::threshold: return run([=](Vec g, Vec x) { return keep(x > p, g); }, s);
    case unary_op::squareplus: return run([=](Vec g, Vec x) {
      return g * set(0.5f) * (one + x / sqrt(fma(x, x, p)));
    }, s);
    case unary_op::clip: return run([=](Vec g, Vec x) { return keep((x >= p) & (x <= q), g); }, s);
  }
}

}  // namespace

namespace FASTNN_TARGET {

void unary(int64_t op, const float* x, float* y, int64_t n, float p, float q) {
  with_unary(op, p, q, [=](auto f, int64_t grain) {
    parallel_map(y, n, grain, [=](int64_t i, int64_t k) { return f(Vec::load(x + i, k)); });
  });
}

void unary_backward(int64_t op, const float* gy, const float* v, float* gx, int64_t n, float p, float q) {
  with_unary_backward(op, p, q, [=](auto f, int64_t grain) {
    parallel_map(gx, n, grain, [=](int64_t i, int64_t k) { return f(Vec::load(gy + i, k), Vec::load(v + i, k)); });
  });
}

}  // namespace FASTNN_TARGET
}  // namespace fastnn
