// Inline PTX, each function with its twin on the host. Fragments are as the PTX documentation lays them
// out for warp-level matrix instructions; group = lane / 4, t = lane % 4:
//   m16n8k8 tf32    A: (group + 8 (i % 2), t + 4 (i / 2)), i < 4      B: (t + 4 i, group), i < 2
//   m16n8k16 bf16   A: (group + 8 (i % 2), 2 t + 8 (i / 2) + {0, 1})  B: (2 t + 8 i + {0, 1}, group)
//   C, D of both    (group + 8 (i / 2), 2 t + i % 2), i < 4
#pragma once
#include "cuda.h"

namespace fastnn::cuda {

#ifdef __CUDACC__

// float32 rounded to 10 bits of mantissa, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float x) {
  uint32_t y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}
// Two float32 rounded to nearest even and packed, `low` in the low half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
// d += a b over a warp.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// Four 8x8 matrices of 16-bit elements; lane 8 i + r names row r (16 bytes) of matrix i. Lane l gets elements
// (l / 4, 2 (l % 4) + {0, 1}) of each.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  const uint32_t address = uint32_t(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
// The same, each matrix transposed.
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) {
  const uint32_t address = uint32_t(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
// Four neighbours to global memory, aligned to 16 bytes. Where the values come from branches nvcc makes four stores of float4.
__device__ __forceinline__ void store_float4(float* to, float x, float y, float z, float w) {
  asm volatile("st.global.v4.f32 [%0], {%1,%2,%3,%4};" ::"l"(__cvta_generic_to_global(to)), "f"(x), "f"(y), "f"(z), "f"(w) : "memory");
}
// bytes (4, 8 or 16) from global to shared memory, without registers; only the first `filled` are read, the
// rest becomes zero. Both addresses are aligned to `bytes`, also when nothing is read.
template <int bytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, int filled = bytes) {
  const uint32_t address = uint32_t(__cvta_generic_to_shared(shared));
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(filled) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(global), "n"(bytes), "r"(filled) : "memory");
}
// The copies since the last commit are a group; waits until at most `left` groups of this thread are under way.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int left>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

#else

inline uint32_t to_tf32(float x) {
  const uint32_t u = __float_as_uint(x);
  if ((u & 0x7f800000u) == 0x7f800000u) return x != x ? 0x7fffe000u : u;
  return (u + 0x1000u) & ~0x1fffu;
}
inline uint32_t bf16_bits(float x) {
  const uint32_t u = __float_as_uint(x);
  if (x != x) return 0x7fffu;
  return (u + 0x7fffu + (u >> 16 & 1)) >> 16;
}
inline uint32_t pack_bf16(float low, float high) { return bf16_bits(high) << 16 | bf16_bits(low); }

namespace host {
struct MmaOperands {
  uint32_t a[4], b[2];
};
using AllOperands = emulation::Lanes<MmaOperands>;
// d(row, col) += sum_k a(row, k) b(k, col), with the operands of all lanes; at(lane operands, ...) finds one.
template <int K, class A, class B>
void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* what, A a_at, B b_at) {
  MmaOperands mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  const AllOperands all(kAllLanes, mine, what);
  const int lane = emulation::lane();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + 8 * (i / 2), col = 2 * (lane % 4) + i % 2;
    float sum = 0;
    for (int k = 0; k < K; ++k) sum += a_at(all, row, k) * b_at(all, k, col);
    d[i] += sum;
  }
}
}  // namespace host

inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const auto value = [](uint32_t u) { return __uint_as_float(u & ~0x1fffu); };
  host::mma<8>(
      d, a, b, "mma_tf32",
      [&](const host::AllOperands& of, int row, int k) { return value(of[row % 8 * 4 + k % 4].a[row / 8 + 2 * (k / 4)]); },
      [&](const host::AllOperands& of, int k, int col) { return value(of[col * 4 + k % 4].b[k / 4]); });
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const auto value = [](uint32_t pair, int odd) { return __uint_as_float(odd ? pair & 0xffff0000u : pair << 16); };
  host::mma<16>(
      d, a, b, "mma_bf16",
      [&](const host::AllOperands& of, int row, int k) {
        return value(of[row % 8 * 4 + k % 8 / 2].a[row / 8 + 2 * (k / 8)], k % 2);
      },
      [&](const host::AllOperands& of, int k, int col) { return value(of[col * 4 + k % 8 / 2].b[k / 8], k % 2); });
}

namespace host {
inline void load_matrices(uint32_t (&r)[4], const void* row, bool transposed) {
  if (reinterpret_cast<uintptr_t>(row) % 16) emulation::fail("ldmatrix needs rows aligned to 16 bytes");
  {
    const emulation::Lanes rows(kAllLanes, static_cast<const uint16_t*>(row), "ldmatrix");
    const int lane = emulation::lane(), at = lane / 4, pair = 2 * (lane % 4);
    for (int i = 0; i < 4; ++i) {
      const uint32_t low = transposed ? rows[8 * i + pair][at] : rows[8 * i + at][pair];
      const uint32_t high = transposed ? rows[8 * i + pair + 1][at] : rows[8 * i + at][pair + 1];
      r[i] = high << 16 | low;
    }
  }
  __syncwarp();
}
}  // namespace host
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) { host::load_matrices(r, row, false); }
inline void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) { host::load_matrices(r, row, true); }

inline void store_float4(float* to, float x, float y, float z, float w) { *reinterpret_cast<float4*>(to) = make_float4(x, y, z, w); }

template <int bytes>
void copy_async(void* shared, const void* global, int filled = bytes) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  emulation::copy_async(shared, global, bytes, filled);
}
inline void commit_copies() { emulation::commit_copies(); }
template <int left>
void wait_copies() {
  emulation::wait_copies(left);
}

#endif

}  // namespace fastnn::cuda
