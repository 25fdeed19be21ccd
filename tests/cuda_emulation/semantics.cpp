// What warp collectives, matrix instructions and asynchronous copies must do, from the CUDA programming guide and
// the PTX documentation, against plain loops; prints what is wrong. With an argument: the fragment layouts that
// the emulator uses, one line "name: element of (lane, register)" each, to be compared with those of others.
#include <cstdio>

#include "harness.h"

namespace fastnn::cuda {
const Kernels kernels = {};
void set_matmul_precision(int64_t) {}
}

namespace {
using namespace fastnn;
using namespace fastnn::cuda;

int wrong = 0;
template <class A, class B>
void expect(const char* what, int at, A found, B expected) {
  if (found == A(expected)) return;
  std::printf("%s, lane %d: %g instead of %g\n", what, at, double(found), double(expected));
  ++wrong;
}

// ---- shuffles and votes ----

struct Lanes {
  int of[32];
};
template <class F>
__global__ void lanes_kernel(F f, Lanes* out) { out->of[threadIdx.x] = f(int(threadIdx.x)); }
template <class F>
Lanes lanes(F f) {
  Lanes out;
  launch(lanes_kernel<F>, 1, 32, 0, f, &out);
  return out;
}

void shuffles() {
  const auto value = [](int lane) { return 100 + lane; };
  for (const int width : {2, 4, 8, 16, 32})
    for (int n = 0; n < 32; ++n) {
      const Lanes any = lanes([=](int l) { return __shfl_sync(kAllLanes, value(l), n, width); });
      const Lanes up = lanes([=](int l) { return __shfl_up_sync(kAllLanes, value(l), unsigned(n), width); });
      const Lanes down = lanes([=](int l) { return __shfl_down_sync(kAllLanes, value(l), unsigned(n), width); });
      const Lanes across = lanes([=](int l) { return __shfl_xor_sync(kAllLanes, value(l), n, width); });
      for (int l = 0; l < 32; ++l) {
        const int first = l / width * width, last = first + width - 1;
        expect("__shfl_sync", l, any.of[l], value(first + n % width));
        expect("__shfl_up_sync", l, up.of[l], value(l - n < first ? l : l - n));
        expect("__shfl_down_sync", l, down.of[l], value(l + n > last ? l : l + n));
        expect("__shfl_xor_sync", l, across.of[l], value((l ^ n) > last ? l : l ^ n));
      }
    }
}

void votes() {
  const auto odd_third = [](int l) { return l % 3 == 1; };
  unsigned bits = 0, low = 0;
  for (int l = 0; l < 32; ++l) bits |= unsigned(odd_third(l)) << l;
  low = bits & 0xff;
  const Lanes ballot = lanes([=](int l) { return int(__ballot_sync(kAllLanes, odd_third(l))); });
  const Lanes any = lanes([=](int l) { return __any_sync(kAllLanes, l == 31) + 2 * __any_sync(kAllLanes, 0); });
  const Lanes all = lanes([=](int l) { return __all_sync(kAllLanes, l != 31) + 2 * __all_sync(kAllLanes, 1); });
  const Lanes part = lanes([=](int l) { return l < 8 ? int(__ballot_sync(0xffu, odd_third(l))) : -1; });
  for (int l = 0; l < 32; ++l) {
    expect("__ballot_sync", l, ballot.of[l], int(bits));
    expect("__any_sync", l, any.of[l], 1);
    expect("__all_sync", l, all.of[l], 2);
    expect("__ballot_sync of eight lanes", l, part.of[l], l < 8 ? int(low) : -1);
  }
}

// A warp that is not full, and warps that call different collectives at once.
__global__ void partial_kernel(int* out) {
  const int t = threadIdx.x;
  out[t] = t < 32 ? __shfl_xor_sync(kAllLanes, t, 1) : int(__ballot_sync(0xffu, t % 2));
}
void partial_warp() {
  int out[40];
  launch(partial_kernel, 1, 40, 0, out);
  for (int t = 0; t < 40; ++t) expect("warps of one block", t, out[t], t < 32 ? t ^ 1 : 0xaa);
}

// ---- matrix instructions ----

// Integers small enough for every format and every sum.
float small(int i, int salt) { return float((i * 7 + salt * 3) % 17 - 8); }

template <int K>
struct Problem {
  float a[16][K], b[K][8], c[16][8], d[16][8];
};

// Each register names its elements by the formulas at the top of ptx.h.
__global__ void tf32_kernel(Problem<8>* p) {
  const int lane = threadIdx.x, group = lane / 4, t = lane % 4;
  uint32_t a[4], b[2];
  float d[4];
  for (int i = 0; i < 4; ++i) a[i] = to_tf32(p->a[group + 8 * (i % 2)][t + 4 * (i / 2)]);
  for (int i = 0; i < 2; ++i) b[i] = to_tf32(p->b[t + 4 * i][group]);
  for (int i = 0; i < 4; ++i) d[i] = p->c[group + 8 * (i / 2)][2 * t + i % 2];
  mma_tf32(d, a, b);
  for (int i = 0; i < 4; ++i) p->d[group + 8 * (i / 2)][2 * t + i % 2] = d[i];
}
__global__ void bf16_kernel(Problem<16>* p) {
  const int lane = threadIdx.x, group = lane / 4, t = lane % 4;
  uint32_t a[4], b[2];
  float d[4];
  for (int i = 0; i < 4; ++i) {
    const int row = group + 8 * (i % 2), k = 2 * t + 8 * (i / 2);
    a[i] = pack_bf16(p->a[row][k], p->a[row][k + 1]);
  }
  for (int i = 0; i < 2; ++i) b[i] = pack_bf16(p->b[2 * t + 8 * i][group], p->b[2 * t + 8 * i + 1][group]);
  for (int i = 0; i < 4; ++i) d[i] = p->c[group + 8 * (i / 2)][2 * t + i % 2];
  mma_bf16(d, a, b);
  for (int i = 0; i < 4; ++i) p->d[group + 8 * (i / 2)][2 * t + i % 2] = d[i];
}
template <int K>
void matrices(const char* what, void (*kernel)(Problem<K>*)) {
  Problem<K> p;
  for (int i = 0; i < 16 * K; ++i) p.a[i / K][i % K] = small(i, 1);
  for (int i = 0; i < 8 * K; ++i) p.b[i / 8][i % 8] = small(i, 2);
  for (int i = 0; i < 128; ++i) p.c[i / 8][i % 8] = small(i, 3);
  launch(kernel, 1, 32, 0, &p);
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c) {
      float sum = p.c[r][c];
      for (int k = 0; k < K; ++k) sum += p.a[r][k] * p.b[k][c];
      expect(what, r * 8 + c, p.d[r][c], sum);
    }
}

template <bool transposed>
__global__ void ldmatrix_kernel(const uint16_t* x, uint32_t* y) {
  FASTNN_SHARED(uint16_t, rows, [32][8]);
  const int lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) rows[lane][i] = x[8 * lane + i];
  __syncthreads();
  uint32_t r[4];
  if (transposed) ldmatrix_x4_transposed(r, rows[lane]);
  else ldmatrix_x4(r, rows[lane]);
  for (int i = 0; i < 4; ++i) y[4 * lane + i] = r[i];
}
void ldmatrix() {
  uint16_t x[32][8];
  uint32_t y[32][4];
  for (int i = 0; i < 256; ++i) x[i / 8][i % 8] = uint16_t(1000 + i);
  launch(ldmatrix_kernel<false>, 1, 32, 0, &x[0][0], &y[0][0]);
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i)
      expect("ldmatrix", l, y[l][i], x[8 * i + l / 4][2 * (l % 4) + 1] * 65536u + x[8 * i + l / 4][2 * (l % 4)]);
  launch(ldmatrix_kernel<true>, 1, 32, 0, &x[0][0], &y[0][0]);
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i)
      expect("ldmatrix.trans", l, y[l][i], x[8 * i + 2 * (l % 4) + 1][l / 4] * 65536u + x[8 * i + 2 * (l % 4)][l / 4]);
}

// ---- conversions: ties and the ends of the range ----

void conversions() {
  const auto bits = [](float f) { return __float_as_uint(f); };
  expect("to_tf32, a tie goes away from zero", 0, to_tf32(1 + 0x1p-11f), bits(1 + 0x1p-10f));
  expect("to_tf32, below a tie", 0, to_tf32(1 + 0x1.ffp-12f), bits(1));
  expect("to_tf32 of -inf", 0, to_tf32(-__builtin_inff()), bits(-__builtin_inff()));
  expect("to_tf32 of NaN is NaN", 0, int(__uint_as_float(to_tf32(__builtin_nanf(""))) != __uint_as_float(to_tf32(__builtin_nanf("")))), 1);
  expect("pack_bf16, a tie goes to even", 0, pack_bf16(1 + 0x1p-8f, 1 + 0x3p-8f), 0x3f82u << 16 | 0x3f80u);
  expect("pack_bf16 overflows", 0, pack_bf16(0x1.fffffep127f, -__builtin_inff()), 0xff80u << 16 | 0x7f80u);
  expect("pack_bf16 of NaN", 0, pack_bf16(__builtin_nanf(""), 0), 0x7fffu);
}

// ---- cp.async ----

__global__ void copies_kernel(const float* x, float* y) {
  FASTNN_SHARED(float, tile, [3][128]);
  const int t = threadIdx.x;
  for (int g = 0; g < 3; ++g) {
    copy_async<16>(tile[g] + 4 * t, x + 128 * g + 4 * t, t % 5 * 4 > 16 ? 16 : t % 5 * 4);
    commit_copies();
  }
  wait_copies<2>();  // the first group of this thread has arrived, whatever the others do
  y[t] = tile[0][4 * t];
  wait_copies<0>();
  __syncthreads();
  for (int g = 0; g < 3; ++g)
    for (int i = t; i < 128; i += 32) y[32 + 128 * g + i] = tile[g][i];
}
void copies() {
  alignas(16) float x[384];
  float y[32 + 384];
  for (int i = 0; i < 384; ++i) x[i] = float(i + 1);
  launch(copies_kernel, 1, 32, 0, x, y);
  for (int i = 0; i < 384; ++i) {
    const bool filled = i % 4 < i % 128 / 4 % 5;  // the rest of a copy is zeros
    expect("cp.async", i, y[32 + i], filled ? x[i] : 0.0f);
  }
  for (int t = 0; t < 32; ++t) expect("cp.async, the first group", t, y[t], t % 5 ? x[4 * t] : 0.0f);
}

// ---- which element of a matrix is in which register, found by experiment ----

// One element of the operand is 1, the other operand holds k + 1 in row or column k: the product tells both.
template <int K>
__global__ void position_kernel(float* row_of, float* k_of, int chosen, int reg, int half, bool of_a) {
  const int lane = threadIdx.x, group = lane / 4, t = lane % 4;
  const auto number = [](int k) { return float(k + 1); };
  uint32_t a[4] = {}, b[2] = {};
  float d[4] = {};
  const auto word = [&](float low, float high) { return K == 16 ? pack_bf16(low, high) : to_tf32(low); };
  // The other operand holds k + 1 everywhere, by the formulas at the top of ptx.h.
  if (of_a) {
    for (int i = 0; i < 2; ++i) b[i] = K == 16 ? word(number(2 * t + 8 * i), number(2 * t + 8 * i + 1)) : word(number(t + 4 * i), 0);
  } else {
    for (int i = 0; i < 4; ++i) a[i] = K == 16 ? word(number(2 * t + 8 * (i / 2)), number(2 * t + 8 * (i / 2) + 1)) : word(number(t + 4 * (i / 2)), 0);
  }
  if (lane == chosen) (of_a ? a[reg] : b[reg]) = half ? word(0, 1) : word(1, 0);
  if constexpr (K == 16) mma_bf16(d, a, b);
  else mma_tf32(d, a, b);
  for (int i = 0; i < 4; ++i)
    if (d[i] != 0) {
      *row_of = float(of_a ? group + 8 * (i / 2) : 2 * t + i % 2);
      *k_of = d[i] - 1;
    }
}
// Element (row, col) of the product is 100 (row + 1) + col, from the operands' layouts that were found above.
template <int K>
__global__ void product_kernel(float* d_of) {
  const int lane = threadIdx.x, group = lane / 4, t = lane % 4;
  const auto a_at = [](int row, int k) { return k == 0 ? float(row + 1) : k == 1 ? 1.0f : 0.0f; };
  const auto b_at = [](int k, int col) { return k == 0 ? 100.0f : k == 1 ? float(col) : 0.0f; };
  uint32_t a[4], b[2];
  float d[4] = {};
  for (int i = 0; i < 4; ++i) {
    const int row = group + 8 * (i % 2), k = (K == 16 ? 2 * t : t) + K / 2 * (i / 2);
    a[i] = K == 16 ? pack_bf16(a_at(row, k), a_at(row, k + 1)) : to_tf32(a_at(row, k));
  }
  for (int i = 0; i < 2; ++i) {
    const int k = (K == 16 ? 2 * t : t) + K / 2 * i;
    b[i] = K == 16 ? pack_bf16(b_at(k, group), b_at(k + 1, group)) : to_tf32(b_at(k, group));
  }
  if constexpr (K == 16) mma_bf16(d, a, b);
  else mma_tf32(d, a, b);
  for (int i = 0; i < 4; ++i) d_of[4 * lane + i] = d[i];
}
template <int K>
void print_layouts(const char* name) {
  for (const bool of_a : {true, false}) {
    std::printf("%s %c:", name, of_a ? 'A' : 'B');
    for (int lane = 0; lane < 32; ++lane)
      for (int reg = 0; reg < (of_a ? 4 : 2); ++reg)
        for (int half = 0; half < K / 8; ++half) {
          float row = -1, k = -1;
          launch(position_kernel<K>, 1, 32, 0, &row, &k, lane, reg, half, of_a);
          std::printf(" %d,%d", int(row), int(k));
        }
    std::printf("\n");
  }
  float d[128];
  launch(product_kernel<K>, 1, 32, 0, d);
  std::printf("%s C:", name);
  for (const float v : d) std::printf(" %d,%d", int(v) / 100 - 1, int(v) % 100);
  std::printf("\n");
}

// The 16-bit element, by its position in the four matrices, in each half of each register.
void print_ldmatrix() {
  uint16_t x[256];
  uint32_t y[128];
  for (int i = 0; i < 256; ++i) x[i] = uint16_t(i);
  for (const bool transposed : {false, true}) {
    launch(transposed ? ldmatrix_kernel<true> : ldmatrix_kernel<false>, 1, 32, 0, x, y);
    std::printf("ldmatrix %s:", transposed ? "transposed" : "normal");
    for (const uint32_t v : y) std::printf(" %u %u", v & 0xffff, v >> 16);
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {
    print_layouts<8>("tf32");
    print_layouts<16>("bf16");
    print_ldmatrix();
    return 0;
  }
  shuffles();
  votes();
  partial_warp();
  matrices<8>("mma_tf32", tf32_kernel);
  matrices<16>("mma_bf16", bf16_kernel);
  ldmatrix();
  conversions();
  copies();
  return wrong != 0;
}
