// Matrix products of batches, and the backward pass of their fused bias and activation.
//
// Tiles of gemm.h, by tensor cores where config.set_matmul_precision allows it, unless one operand has at most 8 rows or columns: then the other one, which is read once,
// is all there is to do, 4 bytes for 2 to 16 operations, and kernels without tiles read it at the memory's speed.
#include "elementwise.h"
#include "gemm_mma.h"

namespace fastnn::cuda {
namespace {

template <class T, bool a_along_k, bool b_along_k>
struct MatmulProblem {
  int64_t m, n, products, depth, step;
  bool aligned_out;
  const T* a_data;
  const T* b_data;
  int64_t lda, ldb;
  float* c;
  Epilogue epilogue;
  BroadcastShape batch;

  __host__ __device__ __forceinline__ int64_t matrix(int operand, int64_t z) const {
    int64_t at = 0;
    for (int64_t i = 0; i < batch.rank; ++i) {
      at += z % batch.size[i] * batch.stride[operand][i];
      z /= batch.size[i];
    }
    return at;
  }
  __host__ __device__ __forceinline__ int64_t k(int64_t) const { return depth; }
  __host__ __device__ __forceinline__ Matrix<T, a_along_k> a(int64_t z) const {
    return {a_data + matrix(0, z) * (a_along_k ? m : depth) * lda, lda, m, depth, step};
  }
  __host__ __device__ __forceinline__ Matrix<T, b_along_k> b(int64_t z) const {
    return {b_data + matrix(1, z) * (b_along_k ? n : depth) * ldb, ldb, n, depth, step};
  }
  __device__ __forceinline__ MatrixOut out(int64_t z) const { return {c + z * m * n, n, m, epilogue}; }
};

// ---- one operand of at most 8 rows or columns ----

// Where the sum of row j of the large operand with vector t of the thin one goes.
template <bool large_is_b, class Problem>
__device__ __forceinline__ void store_thin(const Problem& problem, float* partial, int64_t parts, int64_t z, int64_t part,
                                           int64_t t, int64_t j, float sum) {
  const int64_t row = large_is_b ? t : j, col = large_is_b ? j : t;
  if (parts > 1) {
    partial[((z * parts + part) * problem.m + row) * problem.n + col] = sum;
    return;
  }
  const auto out = problem.out(z);
  out.row(row)[col] = out.epilogue(sum, col);
}

template <bool large_is_b, class Problem>
__host__ __device__ __forceinline__ auto large_of(const Problem& p, int64_t z) {
  if constexpr (large_is_b) return p.b(z);
  else return p.a(z);
}
template <bool large_is_b, class Problem>
__host__ __device__ __forceinline__ auto thin_of(const Problem& p, int64_t z) {
  if constexpr (large_is_b) return p.a(z);
  else return p.b(z);
}

// The large operand is contiguous along k: one warp per row of it and part of k, V elements per lane and step.
template <int T, int V, bool large_is_b, class Problem>
__global__ void __launch_bounds__(kThreads, 2) dots_kernel(Problem problem, int64_t parts, int64_t part_k, float* __restrict__ partial, int64_t first) {
  const int lane = threadIdx.x % 32;
  const int64_t rows = large_is_b ? problem.n : problem.m, count = large_is_b ? problem.m : problem.n;
  const int64_t warp = ((first + blockIdx.x) * kThreads + threadIdx.x) / 32;
  if (warp >= rows * parts * problem.products) return;  // no barrier below
  const int64_t j = warp % rows, part = warp / rows % parts, z = warp / rows / parts;
  const auto large = large_of<large_is_b>(problem, z);
  const auto thin = thin_of<large_is_b>(problem, z);
  constexpr bool thin_along_k = decltype(thin_of<large_is_b>(problem, 0))::along_k;
  const float* x = large.p + j * large.ld;
  const int64_t k0 = part * part_k, k1 = min(problem.depth, k0 + part_k);
  float sum[T];
  FASTNN_UNROLL for (int t = 0; t < T; ++t) sum[t] = 0;
  for (int64_t k = k0 + lane * V; k < k1; k += 32 * V) {
    float xv[V];
    if constexpr (V == 4) {
      const float4 q = *reinterpret_cast<const float4*>(x + k);
      xv[0] = q.x, xv[1] = q.y, xv[2] = q.z, xv[3] = q.w;
    } else {
      xv[0] = x[k];
    }
    FASTNN_UNROLL for (int t = 0; t < T; ++t) {
      const int64_t s = t < count ? t : 0;
      const float* y = thin.p + (thin_along_k ? s * thin.ld + k : k * thin.ld + s);
      FASTNN_UNROLL for (int i = 0; i < V; ++i) sum[t] = fmaf(xv[i], y[thin_along_k ? i : i * thin.ld], sum[t]);
    }
  }
  FASTNN_UNROLL for (int t = 0; t < T; ++t) {
    const float total = warp_reduce(sum[t], Sum());
    if (lane == 0 && t < count) store_thin<large_is_b>(problem, partial, parts, z, part, t, j, total);
  }
}

// The large operand is contiguous along its other side: V columns of it per lane, every eighth k per warp; the
// eight sums are added in order.
template <int T, int V, bool large_is_b, class Problem>
__global__ void __launch_bounds__(kThreads, 2) columns_kernel(Problem problem, int64_t parts, int64_t part_k, float* __restrict__ partial, int64_t first) {
  FASTNN_SHARED(float, sums, [8][32 * V]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t rows = large_is_b ? problem.n : problem.m, count = large_is_b ? problem.m : problem.n;
  const int64_t strips = (rows + 32 * V - 1) / (32 * V), block = first + blockIdx.x;
  const int64_t j0 = block % strips * (32 * V), part = block / strips % parts, z = block / strips / parts;
  const auto large = large_of<large_is_b>(problem, z);
  const auto thin = thin_of<large_is_b>(problem, z);
  constexpr bool thin_along_k = decltype(thin_of<large_is_b>(problem, 0))::along_k;
  const int64_t k0 = part * part_k, k1 = min(problem.depth, k0 + part_k), j = j0 + lane * V;
  float sum[T][V];
  FASTNN_UNROLL for (int t = 0; t < T; ++t)
    FASTNN_UNROLL for (int i = 0; i < V; ++i) sum[t][i] = 0;
  if (j < rows)
    for (int64_t k = k0 + warp; k < k1; k += 8) {
      const float* x = large.p + k * large.ld + j;
      float xv[V];
      if constexpr (V == 4) {
        const float4 q = *reinterpret_cast<const float4*>(x);
        xv[0] = q.x, xv[1] = q.y, xv[2] = q.z, xv[3] = q.w;
      } else {
        xv[0] = x[0];
      }
      FASTNN_UNROLL for (int t = 0; t < T; ++t) {
        const int64_t s = t < count ? t : 0;
        const float y = thin.p[thin_along_k ? s * thin.ld + k : k * thin.ld + s];
        FASTNN_UNROLL for (int i = 0; i < V; ++i) sum[t][i] = fmaf(xv[i], y, sum[t][i]);
      }
    }
  FASTNN_UNROLL for (int t = 0; t < T; ++t) {
    if (t >= count) break;
    __syncthreads();  // the sums of the vector before have been read
    FASTNN_UNROLL for (int i = 0; i < V; ++i) sums[warp][lane * V + i] = sum[t][i];
    __syncthreads();
    for (int i = threadIdx.x; i < 32 * V; i += kThreads) {
      if (j0 + i >= rows) continue;
      float total = sums[0][i];
      FASTNN_UNROLL for (int w = 1; w < 8; ++w) total += sums[w][i];
      store_thin<large_is_b>(problem, partial, parts, z, part, t, j0 + i, total);
    }
  }
}

template <int T, int V, bool large_is_b, class Problem>
void run_thin(const Problem& problem) {
  constexpr bool dots = decltype(large_of<large_is_b>(problem, 0))::along_k;
  const int64_t rows = large_is_b ? problem.n : problem.m, k = problem.depth, total = problem.products * problem.m * problem.n;
  // A warp per row, or a block per strip of columns; more parts of k where they are few.
  const int64_t units = dots ? ceil_div(rows * problem.products, kThreads / 32) : ceil_div(rows, 32 * V) * problem.products;
  int64_t parts = max(int64_t(1), min(min(ceil_div(kBlocksWanted, units), k / (dots ? 1024 : 128)), int64_t(64)));
  const int64_t part_k = ceil_div(max(ceil_div(k, parts), int64_t(1)), 4) * 4;
  parts = max(int64_t(1), ceil_div(k, part_k));
  Scratch<float> partial(parts > 1 ? parts * total : 0);
  if constexpr (dots)
    launch_grids(dots_kernel<T, V, large_is_b, Problem>, ceil_div(rows * parts * problem.products, kThreads / 32), kThreads, 0, problem,
                 parts, part_k, partial.get());
  else
    launch_grids(columns_kernel<T, V, large_is_b, Problem>, units * parts, kThreads, 0, problem, parts, part_k, partial.get());
  if (parts > 1) launch(add_parts_kernel<Problem>, blocks_for(total), kThreads, 0, problem, partial.get(), parts, total);
}
template <int T, bool large_is_b, class Problem>
void run_thin(const Problem& problem) {
  const auto large = large_of<large_is_b>(problem, 0);
  const bool aligned = is_aligned(large.p) && large.ld % 4 == 0 && (large.along_k || large.count % 4 == 0);
  aligned ? run_thin<T, 4, large_is_b>(problem) : run_thin<T, 1, large_is_b>(problem);
}
template <bool large_is_b, class Problem>
void run_thin(const Problem& problem, int64_t count) {
  if (count == 1) return run_thin<1, large_is_b>(problem);
  if (count <= 4) return run_thin<4, large_is_b>(problem);
  run_thin<8, large_is_b>(problem);
}

// How many matrices an operand has: those it is repeated along are not there.
int64_t matrices(const BroadcastShape& s, int operand) {
  int64_t n = 1;
  for (int64_t i = 0; i < s.rank; ++i) n *= s.stride[operand][i] ? s.size[i] : 1;
  return n;
}

template <bool a_along_k, bool b_along_k>
void run(const float* a, const float* b, const float* bias, float* c, const MatmulShape& s, int64_t products) {
  const bool aligned_out = s.n % 4 == 0 && is_aligned(c);
  const int64_t lda = a_along_k ? s.k : s.m, ldb = b_along_k ? s.k : s.n;
  const Epilogue epilogue{bias, s.activation};
  MatmulProblem<float, a_along_k, b_along_k> p{s.m, s.n, products, s.k, Simt64x64::BK, aligned_out, a, b, lda, ldb, c, epilogue, s.batch};
  constexpr int64_t kThin = 8;
  if (s.m <= kThin && s.m <= s.n && (s.k >= 64 || !b_along_k)) return run_thin<true>(p, s.m);
  if (s.n <= kThin && (s.k >= 64 || !a_along_k)) return run_thin<false>(p, s.n);
  const bool aligned = lda % 4 == 0 && ldb % 4 == 0 && is_aligned(a) && is_aligned(b);
  const Precision precision = matmul_precision();
  if (precision == Precision::bf16) {
    const int64_t rows_a = matrices(s.batch, 0) * (a_along_k ? s.m : s.k), rows_b = matrices(s.batch, 1) * (b_along_k ? s.n : s.k);
    Scratch<Bf16> ra(rows_a * padded(lda)), rb(rows_b * padded(ldb));
    pad_bf16(a, ra.get(), rows_a, 1, 1, 1, lda, padded(lda));
    pad_bf16(b, rb.get(), rows_b, 1, 1, 1, ldb, padded(ldb));
    return run_mma(MatmulProblem<Bf16, a_along_k, b_along_k>{s.m, s.n, products, s.k, kMmaDepth, aligned_out, ra.get(), rb.get(),
                                                             padded(lda), padded(ldb), c, epilogue, s.batch},
                   s.k);
  }
  if (precision == Precision::tf32 && aligned) {
    p.step = kMmaDepth;
    return run_mma(p, s.k);
  }
  aligned ? run_simt<4>(p, s.k) : run_simt<1>(p, s.k);
}

// ---- backward of the epilogue ----

// gy * (d activation / d z), from y = activation(z); 0 where relu is closed, whatever gy.
template <int64_t activation>
struct Through {
  __device__ float operator()(float y, float gy) const {
    if constexpr (activation == kActivationRelu) return y > 0 ? gy : 0.0f;
    else if constexpr (activation == kActivationSigmoid) return gy * (y * (1 - y));
    else if constexpr (activation == kActivationTanh) return gy * (1 - y * y);
    else return gy;
  }
};

// One block per 32 columns and `group` rows, every eighth row per warp. partial: (groups, cols).
template <int64_t activation>
__global__ void __launch_bounds__(kThreads) epilogue_backward_kernel(const float* __restrict__ y, const float* __restrict__ gy,
                                                                     float* __restrict__ gz, float* __restrict__ partial, int64_t rows,
                                                                     int64_t cols, int64_t group, int64_t first) {
  FASTNN_SHARED(float, sums, [8][32]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t strips = (cols + 31) / 32, block = first + blockIdx.x, part = block / strips, j = block % strips * 32 + lane;
  const int64_t end = min(rows, (part + 1) * group);
  float sum = 0;
  if (j < cols)
    for (int64_t i = part * group + warp; i < end; i += 8) {
      float g = gy[i * cols + j];
      if constexpr (activation != kActivationLinear) {
        g = Through<activation>()(y[i * cols + j], g);
        gz[i * cols + j] = g;
      }
      sum += g;
    }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && j < cols) {
    FASTNN_UNROLL for (int w = 1; w < 8; ++w) sum += sums[w][lane];
    partial[part * cols + j] = sum;
  }
}

// One thread per column: the groups in order.
__global__ void add_groups_kernel(const float* __restrict__ partial, float* __restrict__ gb, int64_t groups, int64_t cols) {
  for (int64_t j = first_index(); j < cols; j += index_step()) {
    float sum = groups ? partial[j] : 0.0f;
    for (int64_t g = 1; g < groups; ++g) sum += partial[g * cols + j];
    gb[j] = sum;
  }
}

template <int64_t activation>
void run_backward(const float* y, const float* gy, float* gz, float* gb, int64_t rows, int64_t cols) {
  if (!gb) {
    if (activation != kActivationLinear && rows > 0) map<2>(Through<activation>(), {{y, gy}}, gz, rows * cols);
    return;
  }
  const int64_t strips = ceil_div(cols, 32), wanted = max(int64_t(1), 4 * kBlocksWanted / strips);
  const int64_t group = max(ceil_div(rows, wanted), int64_t(32)), groups = ceil_div(rows, group);
  Scratch<float> partial(groups > 1 ? groups * cols : 0);
  if (groups)
    launch_grids(epilogue_backward_kernel<activation>, strips * groups, kThreads, 0, y, gy, gz, groups > 1 ? partial.get() : gb, rows, cols,
                 group);
  if (groups != 1) launch(add_groups_kernel, blocks_for(cols), kThreads, 0, partial.get(), gb, groups, cols);
}

}  // namespace

void matmul(const float* a, const float* b, const float* bias, float* c, MatmulShape s) {
  int64_t products = 1;
  for (int64_t i = 0; i < s.batch.rank; ++i) products *= s.batch.size[i];
  if (s.trans_a) s.trans_b ? run<false, true>(a, b, bias, c, s, products) : run<false, false>(a, b, bias, c, s, products);
  else s.trans_b ? run<true, true>(a, b, bias, c, s, products) : run<true, false>(a, b, bias, c, s, products);
}

void epilogue_backward(int64_t activation, const float* y, const float* gy, float* gz, float* gb, int64_t rows, int64_t cols) {
  switch (activation) {
    case kActivationRelu: return run_backward<kActivationRelu>(y, gy, gz, gb, rows, cols);
    case kActivationSigmoid: return run_backward<kActivationSigmoid>(y, gy, gz, gb, rows, cols);
    case kActivationTanh: return run_backward<kActivationTanh>(y, gy, gz, gb, rows, cols);
    default: return run_backward<kActivationLinear>(y, gy, gz, gb, rows, cols);
  }
}

}  // namespace fastnn::cuda
