// Products in tiles: matmul, convolution and its gradients are one loop over k with different loaders.
//
// A block computes a tile (BM, BN) of the result. Slices of BK of both operands come to shared memory by
// cp.async, kStages - 1 of them ahead; a core (SimtCore here, MmaCore in gemm_mma.h) multiplies them.
// Where the tiles are too few for a GPU, k is cut into parts, whose results are added in order.
//
// A loader says where an operand lies. x counts rows of a or columns of b, k what is summed over:
//   T, along_k          its elements; whether they are contiguous along k, else along x
//   Row row(x), Depth depth(k), advance(depth)    what belongs to an x, to a k; BK further
//   const T* at(row, depth)                       null outside; const T* p is any valid address
// A problem has m, n and the number of products, and gives for product z: a(z), b(z), k(z) and out(z):
//   float* row(i)       where columns of row i of the result go, null for a row that is none
//   epilogue            what is done to each sum
//
// Floor: 2 m n k operations at 128 per cycle and SM (float32), each operand read once per block of tiles.
// A thread's 8 x 8 sums take 64 FMAs per 4 loads of 16 bytes: shared memory is busy half as long as the FMAs.
#pragma once
#include "functions.h"
#include "ptx.h"

namespace fastnn::cuda {

// Warps that fit at once are many, and the last round of blocks should not be nearly empty: this many blocks
// are enough. About two for each SM of an A100 or H100; a constant, so that the bits do not depend on the GPU.
constexpr int64_t kBlocksWanted = 256;

__device__ __forceinline__ float activate(float x, int64_t activation) {
  switch (activation) {
    case kActivationRelu: return relu(x);
    case kActivationSigmoid: return sigmoid(x);
    case kActivationTanh: return tanhf(x);
    default: return x;
  }
}

struct Epilogue {
  const float* bias;  // (n) or null
  int64_t activation;
  __device__ __forceinline__ float operator()(float sum, int64_t j) const {
    return activate(bias ? sum + bias[j] : sum, activation);
  }
};

// ---- loaders and results of plain matrices ----

template <class Element, bool along>
struct Matrix {
  using T = Element;
  static constexpr bool along_k = along;
  const T* p;
  int64_t ld, count, depths;  // x in [0, count), k in [0, depths)
  int64_t step;               // BK
  struct Row { int64_t offset; };
  struct Depth { int64_t k; };
  __device__ __forceinline__ Row row(int64_t x) const { return {x >= count ? -1 : along_k ? x * ld : x}; }
  __device__ __forceinline__ Depth depth(int64_t k) const { return {k}; }
  __device__ __forceinline__ void advance(Depth& d) const { d.k += step; }
  __device__ __forceinline__ const T* at(const Row& r, const Depth& d) const {
    return r.offset < 0 || d.k >= depths ? nullptr : p + r.offset + (along_k ? d.k : d.k * ld);
  }
};

struct MatrixOut {
  float* p;
  int64_t ld, rows;
  Epilogue epilogue;
  __device__ __forceinline__ float* row(int64_t i) const { return i < rows ? p + i * ld : nullptr; }
};

// ---- copies to shared memory ----

// Copies slices (BX, BK) for `threads` threads, V elements at a time. In shared memory they lie as in global
// memory, lines of `ld` elements.
template <int threads, int BX, int BK, int ld, int V, class Loader>
struct SliceCopier {
  using T = typename Loader::T;
  static constexpr bool along_k = Loader::along_k;
  static constexpr int line = along_k ? BK : BX, lines = along_k ? BX : BK;
  static constexpr int per_line = line / V, step = threads / per_line, count = lines / step;
  static_assert(threads % per_line == 0 && lines % step == 0);

  const Loader& from;
  typename Loader::Row row[along_k ? count : 1];
  typename Loader::Depth depth[along_k ? 1 : count];
  int place;

  __device__ __forceinline__ SliceCopier(const Loader& loader, int64_t x0, int64_t k0) : from(loader) {
    const int first = int(threadIdx.x) / per_line, inside = int(threadIdx.x) % per_line * V;
    place = first * ld + inside;
    if constexpr (along_k) {
      depth[0] = from.depth(k0 + inside);
      FASTNN_UNROLL for (int i = 0; i < count; ++i) row[i] = from.row(x0 + first + i * step);
    } else {
      row[0] = from.row(x0 + inside);
      FASTNN_UNROLL for (int i = 0; i < count; ++i) depth[i] = from.depth(k0 + first + i * step);
    }
  }
  // The next slice.
  __device__ __forceinline__ void copy(T* to) {
    constexpr int bytes = V * int(sizeof(T));
    FASTNN_UNROLL for (int i = 0; i < count; ++i) {
      const T* p = from.at(row[along_k ? i : 0], depth[along_k ? 0 : i]);
      copy_async<bytes>(to + place + i * step * ld, p ? p : from.p, p ? bytes : 0);
    }
    FASTNN_UNROLL for (int i = 0; i < (along_k ? 1 : count); ++i) from.advance(depth[i]);
  }
};

// ---- float32 without tensor cores ----

// Each thread has TM x TN sums. Of an operand that is contiguous along x it reads quads of neighbours, of one
// contiguous along k pairs of k, for elements BX / TX apart: no two threads of a warp meet in a bank.
template <int BM_, int BN_, int TM, int TN, int stages>
struct SimtCore {
  using T = float;
  static constexpr int BM = BM_, BN = BN_, BK = 16, kStages = stages;
  static constexpr int across = BN / TN, down = BM / TM, threads = across * down;
  template <bool along_k, int BX>
  static constexpr int ld = along_k ? BK + 4 : BX;

  float sum[TM][TN];
  int ty, tx;

  __device__ __forceinline__ SimtCore() {
    // Warps of 4 x 8 threads.
    constexpr int warps = across / 8;
    const int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
    ty = warp / warps * 4 + lane / 8, tx = warp % warps * 8 + lane % 8;
    FASTNN_UNROLL for (int i = 0; i < TM; ++i)
      FASTNN_UNROLL for (int j = 0; j < TN; ++j) sum[i][j] = 0;
  }

  // Which x of the tile is thread t's i-th.
  template <bool along_k, int count>
  static __device__ __forceinline__ int index(int t, int i) {
    return along_k ? i * count + t : i / 4 * (4 * count) + 4 * t + i % 4;
  }

  template <bool along_k, int BX, int TX>
  static __device__ __forceinline__ void load_k_pairs(const float* s, int t, int k, float (&v)[TX][2]) {
    if constexpr (along_k)
      FASTNN_UNROLL for (int i = 0; i < TX; ++i) {
        const float2 q = *reinterpret_cast<const float2*>(s + index<true, BX / TX>(t, i) * ld<true, BX> + k);
        v[i][0] = q.x, v[i][1] = q.y;
      }
  }
  template <bool along_k, int BX, int TX>
  static __device__ __forceinline__ void load_x(const float* s, int t, int k, const float (&pairs)[TX][2], float (&v)[TX]) {
    if constexpr (along_k) {
      FASTNN_UNROLL for (int i = 0; i < TX; ++i) v[i] = pairs[i][k % 2];
    } else {
      FASTNN_UNROLL for (int i = 0; i < TX; i += 4) {
        const float4 q = *reinterpret_cast<const float4*>(s + k * ld<false, BX> + index<false, BX / TX>(t, i));
        v[i] = q.x, v[i + 1] = q.y, v[i + 2] = q.z, v[i + 3] = q.w;
      }
    }
  }

  template <bool a_along_k, bool b_along_k>
  __device__ __forceinline__ void multiply(const float* as, const float* bs) {
    FASTNN_UNROLL for (int k0 = 0; k0 < BK; k0 += 2) {
      float aq[TM][2], bq[TN][2];  // 8 bytes: quads would take 32 more registers
      load_k_pairs<a_along_k, BM, TM>(as, ty, k0, aq);
      load_k_pairs<b_along_k, BN, TN>(bs, tx, k0, bq);
      FASTNN_UNROLL for (int k = k0; k < k0 + 2; ++k) {
        float a[TM], b[TN];
        load_x<a_along_k, BM, TM>(as, ty, k, aq, a);
        load_x<b_along_k, BN, TN>(bs, tx, k, bq, b);
        FASTNN_UNROLL for (int i = 0; i < TM; ++i)
          FASTNN_UNROLL for (int j = 0; j < TN; ++j) sum[i][j] = fmaf(a[i], b[j], sum[i][j]);
      }
    }
  }

  // f(row, column, values): `width` neighbours of the tile.
  template <bool a_along_k, bool b_along_k, class F>
  __device__ __forceinline__ void for_each(F f) const {
    FASTNN_UNROLL for (int i = 0; i < TM; ++i) {
      const int row = index<a_along_k, down>(ty, i);
      if constexpr (b_along_k) {
        FASTNN_UNROLL for (int j = 0; j < TN; ++j) {
          const float v[1] = {sum[i][j]};
          f(row, index<true, across>(tx, j), v);
        }
      } else {
        FASTNN_UNROLL for (int j = 0; j < TN; j += 4) {
          const float v[4] = {sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
          f(row, index<false, across>(tx, j), v);
        }
      }
    }
  }
};

// ---- the loop ----

// How the result of each product is cut: by tiles, and k into parts of part_k (a multiple of BK).
struct Cut {
  int64_t tiles_m, tiles_n, parts, part_k;
};

// Where a block stands. Tiles that run together cover about a square: eight rows of tiles, column by column.
struct Place {
  int64_t z, part, m, n;
  __device__ __forceinline__ Place(const Cut& c, int64_t block) {
    const int64_t tiles = c.tiles_m * c.tiles_n, t = block % tiles, group = 8 * c.tiles_n, first = t / group * 8;
    const int64_t rows = min(c.tiles_m - first, int64_t(8));
    part = block / tiles % c.parts;
    z = block / tiles / c.parts;
    m = first + t % group % rows;
    n = t % group / rows;
  }
};

template <int width>
__device__ __forceinline__ void store(float* to, const float (&v)[width], int64_t left, bool aligned) {
  if (width == 4 && aligned && left >= 4) {
    *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
  } else if (width == 2 && aligned && left >= 2) {
    *reinterpret_cast<float2*>(to) = make_float2(v[0], v[1]);
  } else {
    FASTNN_UNROLL for (int i = 0; i < width; ++i)
      if (i < left) to[i] = v[i];
  }
}

// One block per tile, part and product. partial: (products, parts, m, n), used when there are several parts.
template <class Core, int V, class Problem>
__global__ void __launch_bounds__(Core::threads, 1) gemm_kernel(Problem problem, Cut cut, float* __restrict__ partial, int64_t first) {
  using T = typename Core::T;
  FASTNN_DYNAMIC_SHARED(T, shared);
  const Place place(cut, first + blockIdx.x);
  const int64_t m0 = place.m * Core::BM, n0 = place.n * Core::BN, k0 = place.part * cut.part_k;
  const auto a = problem.a(place.z);
  const auto b = problem.b(place.z);
  constexpr bool a_along_k = decltype(problem.a(0))::along_k, b_along_k = decltype(problem.b(0))::along_k;
  constexpr int lda = Core::template ld<a_along_k, Core::BM>, ldb = Core::template ld<b_along_k, Core::BN>;
  constexpr int size_a = (a_along_k ? Core::BM : Core::BK) * lda, size = size_a + (b_along_k ? Core::BN : Core::BK) * ldb;
  SliceCopier<Core::threads, Core::BM, Core::BK, lda, V, decltype(problem.a(0))> copy_a(a, m0, k0);
  SliceCopier<Core::threads, Core::BN, Core::BK, ldb, V, decltype(problem.b(0))> copy_b(b, n0, k0);
  Core core;

  const int64_t k1 = min(problem.k(place.z), k0 + cut.part_k), slices = k1 > k0 ? (k1 - k0 + Core::BK - 1) / Core::BK : 0;
  FASTNN_UNROLL for (int i = 0; i < Core::kStages - 1; ++i) {
    if (i < slices) {
      copy_a.copy(shared + i * size);
      copy_b.copy(shared + i * size + size_a);
    }
    commit_copies();
  }
  int stage = 0, next = Core::kStages - 1;
  for (int64_t t = 0; t < slices; ++t) {
    wait_copies<Core::kStages - 2>();
    __syncthreads();  // the slice is there for all, and all have read the one before it
    if (t + Core::kStages - 1 < slices) {
      copy_a.copy(shared + next * size);
      copy_b.copy(shared + next * size + size_a);
    }
    commit_copies();
    core.template multiply<a_along_k, b_along_k>(shared + stage * size, shared + stage * size + size_a);
    stage = stage + 1 == Core::kStages ? 0 : stage + 1;
    next = next + 1 == Core::kStages ? 0 : next + 1;
  }
  wait_copies<0>();

  if (cut.parts > 1) {
    float* to = partial + (place.z * cut.parts + place.part) * problem.m * problem.n;
    core.template for_each<a_along_k, b_along_k>([&](int row, int col, const auto& v) {
      const int64_t i = m0 + row, j = n0 + col;
      if (i < problem.m && j < problem.n) store(to + i * problem.n + j, v, problem.n - j, problem.n % 4 == 0);
    });
    return;
  }
  const auto out = problem.out(place.z);
  core.template for_each<a_along_k, b_along_k>([&](int row, int col, const auto& v) {
    const int64_t j = n0 + col;
    float* to = out.row(m0 + row);
    if (!to || j >= problem.n) return;
    constexpr int width = int(sizeof(v) / sizeof(float));
    float r[width];
    FASTNN_UNROLL for (int i = 0; i < width; ++i) r[i] = j + i < problem.n ? out.epilogue(v[i], j + i) : 0.0f;
    store(to + j, r, problem.n - j, problem.aligned_out);
  });
}

// One element per thread and step: the parts are added in order.
template <class Problem>
__global__ void add_parts_kernel(Problem problem, const float* __restrict__ partial, int64_t parts, int64_t total) {
  const int64_t size = problem.m * problem.n;
  for (int64_t e = first_index(); e < total; e += index_step()) {
    const int64_t z = e / size, i = e % size / problem.n, j = e % problem.n;
    const auto out = problem.out(z);
    float* to = out.row(i);
    if (!to) continue;
    const float* from = partial + z * parts * size + e % size;
    float sum = from[0];
    for (int64_t part = 1; part < parts; ++part) sum += from[part * size];
    to[j] = out.epilogue(sum, j);
  }
}

// ---- the host's side ----

template <class Core, int V, class Problem>
void run_gemm(const Problem& problem, int64_t k, bool split) {
  constexpr bool a_along_k = decltype(problem.a(0))::along_k, b_along_k = decltype(problem.b(0))::along_k;
  constexpr int size = (a_along_k ? Core::BM : Core::BK) * Core::template ld<a_along_k, Core::BM> +
                       (b_along_k ? Core::BN : Core::BK) * Core::template ld<b_along_k, Core::BN>;
  Cut cut{ceil_div(problem.m, Core::BM), ceil_div(problem.n, Core::BN), 1, 0};
  const int64_t blocks = cut.tiles_m * cut.tiles_n * problem.products;
  // A part is worth its own tile of partial sums from about 256 of k on.
  if (split) cut.parts = max(int64_t(1), min(ceil_div(kBlocksWanted, blocks), k / 256));
  cut.part_k = ceil_div(max(ceil_div(k, cut.parts), int64_t(1)), Core::BK) * Core::BK;
  cut.parts = max(int64_t(1), ceil_div(k, cut.part_k));
  const int64_t total = problem.products * problem.m * problem.n;
  Scratch<float> partial(cut.parts > 1 ? cut.parts * total : 0);
  launch_grids(gemm_kernel<Core, V, Problem>, blocks * cut.parts, Core::threads, Core::kStages * size * sizeof(typename Core::T),
               problem, cut, partial.get());
  if (cut.parts > 1)
    launch(add_parts_kernel<Problem>, blocks_for(total), kThreads, 0, problem, partial.get(), cut.parts, total);
}

using Simt128x128 = SimtCore<128, 128, 8, 8, 2>;
using Simt64x64 = SimtCore<64, 64, 8, 4, 3>;
using Simt128x32 = SimtCore<128, 32, 8, 4, 3>;
using Simt32x128 = SimtCore<32, 128, 4, 8, 3>;
using Simt32x32 = SimtCore<32, 32, 4, 4, 4>;

// Large tiles reuse more of what is read, small ones waste less at the edges and fill the GPU earlier; V: elements
// per copy, 4 where both operands and the result allow it, else 1. k: the largest of the products.
template <int V, class Problem>
void run_simt(const Problem& problem, int64_t k) {
  const auto blocks = [&](int64_t bm, int64_t bn) { return ceil_div(problem.m, bm) * ceil_div(problem.n, bn) * problem.products; };
  if (problem.n <= 32) return problem.m > 64 ? run_gemm<Simt128x32, V>(problem, k, true) : run_gemm<Simt32x32, V>(problem, k, true);
  if (problem.m <= 32) return problem.n > 64 ? run_gemm<Simt32x128, V>(problem, k, true) : run_gemm<Simt32x32, V>(problem, k, true);
  if (blocks(128, 128) >= 96) return run_gemm<Simt128x128, V>(problem, k, false);
  run_gemm<Simt64x64, V>(problem, k, true);
}

inline bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace fastnn::cuda
