// Radix sort by 8 bits at a time, the least first. A pass counts the digits of each tile, scans the counts
// (256 digits x tiles) and puts every pair at its place. A warp owns a run of its tile and walks it in order, so
// that equal digits keep their order. 32 bytes move per pair and pass.
#include "sort.h"

namespace fastnn::cuda {
namespace {

constexpr int kDigits = 256, kRounds = 8, kWarps = kThreads / 32;
constexpr int64_t kTile = kThreads * kRounds;

// The lanes whose element has this lane's digit, none for lanes without an element.
__device__ __forceinline__ unsigned same_digit(int digit, bool valid) {
  unsigned peers = __ballot_sync(kAllLanes, valid);
  FASTNN_UNROLL for (int bit = 0; bit < 8; ++bit) {
    const bool set = digit >> bit & 1;
    const unsigned with = __ballot_sync(kAllLanes, set);
    peers &= set ? with : ~with;
  }
  return valid ? peers : 0;
}

// counts (kWarps, kDigits): the digits in the run of each warp; digit and peers of this thread's elements.
__device__ __forceinline__ void count_digits(const uint32_t* keys, int64_t n, int shift, uint32_t* counts, uint32_t (&key)[kRounds], unsigned (&peers)[kRounds]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int d = lane; d < kDigits; d += 32) counts[warp * kDigits + d] = 0;
  __syncwarp();
  FASTNN_UNROLL for (int r = 0; r < kRounds; ++r) {
    const int64_t i = blockIdx.x * kTile + warp * (32 * kRounds) + r * 32 + lane;
    key[r] = i < n ? keys[i] : 0;
    const int digit = key[r] >> shift & (kDigits - 1);
    peers[r] = same_digit(digit, i < n);
    if (__ffs(int(peers[r])) - 1 == lane) counts[warp * kDigits + digit] += uint32_t(__popc(peers[r]));
    __syncwarp();
  }
}

// table (kDigits, tiles)
__global__ void count_kernel(const uint32_t* __restrict__ keys, int64_t n, int shift, uint32_t* __restrict__ table) {
  FASTNN_SHARED(uint32_t, counts, [kWarps * kDigits]);
  uint32_t key[kRounds];
  unsigned peers[kRounds];
  count_digits(keys, n, shift, counts, key, peers);
  __syncthreads();
  uint32_t total = 0;
  for (int w = 0; w < kWarps; ++w) total += counts[w * kDigits + threadIdx.x];
  table[int64_t(threadIdx.x) * gridDim.x + blockIdx.x] = total;
}

__global__ void place_kernel(const uint32_t* __restrict__ keys, const uint32_t* __restrict__ values, int64_t n, int shift,
                             const uint32_t* __restrict__ table, uint32_t* __restrict__ keys_out, uint32_t* __restrict__ values_out) {
  FASTNN_SHARED(uint32_t, counts, [kWarps * kDigits]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint32_t key[kRounds];
  unsigned peers[kRounds];
  count_digits(keys, n, shift, counts, key, peers);
  __syncthreads();
  uint32_t place = table[int64_t(threadIdx.x) * gridDim.x + blockIdx.x];
  for (int w = 0; w < kWarps; ++w) {
    uint32_t& c = counts[w * kDigits + threadIdx.x];
    const uint32_t next = place + c;
    c = place;
    place = next;
  }
  __syncthreads();
  FASTNN_UNROLL for (int r = 0; r < kRounds; ++r) {
    const int64_t i = blockIdx.x * kTile + warp * (32 * kRounds) + r * 32 + lane;
    uint32_t& next = counts[warp * kDigits + (key[r] >> shift & (kDigits - 1))];
    if (peers[r]) {
      const uint32_t to = next + uint32_t(__popc(peers[r] & ((1u << lane) - 1)));
      keys_out[to] = key[r];
      values_out[to] = values[i];
    }
    __syncwarp();
    if (__ffs(int(peers[r])) - 1 == lane) next += uint32_t(__popc(peers[r]));
    __syncwarp();
  }
}

// ---- scan: each thread has kRounds neighbours ----

// The sum over the threads before this one, and the block's total; the block is kThreads wide.
__device__ __forceinline__ uint32_t sum_before(uint32_t mine, uint32_t& total) {
  FASTNN_SHARED(uint32_t, warp_total, [kWarps]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint32_t upto = mine;
  FASTNN_UNROLL for (int d = 1; d < 32; d *= 2) {
    const uint32_t left = __shfl_up_sync(kAllLanes, upto, unsigned(d));
    if (lane >= d) upto += left;
  }
  if (lane == 31) warp_total[warp] = upto;
  __syncthreads();
  uint32_t before = upto - mine;
  total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += warp_total[w];
    total += warp_total[w];
  }
  return before;
}

__global__ void tile_sums_kernel(const uint32_t* __restrict__ data, int64_t n, uint32_t* __restrict__ sums) {
  uint32_t mine = 0, total;
  for (int64_t i = blockIdx.x * kTile + threadIdx.x, r = 0; r < kRounds; ++r, i += kThreads) mine += i < n ? data[i] : 0;
  sum_before(mine, total);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// before: the sum of the tiles before each, or null for a single tile.
__global__ void scan_tiles_kernel(uint32_t* data, int64_t n, const uint32_t* before) {
  const int64_t first = blockIdx.x * kTile + threadIdx.x * kRounds;
  uint32_t v[kRounds], mine = 0, total;
  FASTNN_UNROLL for (int k = 0; k < kRounds; ++k) v[k] = first + k < n ? data[first + k] : 0, mine += v[k];
  uint32_t sum = sum_before(mine, total) + (before ? before[blockIdx.x] : 0);
  FASTNN_UNROLL for (int k = 0; k < kRounds; ++k) {
    if (first + k < n) data[first + k] = sum;
    sum += v[k];
  }
}

}  // namespace

void exclusive_scan(uint32_t* data, int64_t n) {
  const int64_t tiles = ceil_div(n, kTile);
  if (tiles <= 1) return launch(scan_tiles_kernel, 1, kThreads, 0, data, n, nullptr);
  Scratch<uint32_t> sums(tiles);
  launch(tile_sums_kernel, unsigned(tiles), kThreads, 0, data, n, sums.get());
  exclusive_scan(sums.get(), tiles);
  launch(scan_tiles_kernel, unsigned(tiles), kThreads, 0, data, n, sums.get());
}

void SortBuffers::sort(int64_t limit) {
  if (n_ == 0) return;
  const int64_t tiles = ceil_div(n_, kTile);
  Scratch<uint32_t> table(kDigits * tiles);
  for (int shift = 0; shift < 32 && (limit - 1) >> shift > 0; shift += 8) {
    const uint32_t *from = keys(), *values_from = values();
    now_ = 1 - now_;
    launch(count_kernel, unsigned(tiles), kThreads, 0, from, n_, shift, table.get());
    exclusive_scan(table.get(), kDigits * tiles);
    launch(place_kernel, unsigned(tiles), kThreads, 0, from, values_from, n_, shift, table.get(), keys(), values());
  }
}

}  // namespace fastnn::cuda
