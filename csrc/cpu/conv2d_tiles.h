// Products of patches and kernels on the tile unit (cpu/tiles.h): patches are split where they lie, beside the products of
// those before them.
#pragma once
#include "cpu/conv2d_patches.h"
#include "cpu/tiles.h"

#if FASTNN_TILES
namespace fastnn {
namespace {

// Depth of a product: taps, times channels in chunks of 32.
struct PatchChunks {
  int64_t channels, per_tap, count;
  explicit PatchChunks(const Patches& p)
      : channels(p.channels), per_tap(tiles_of(p.channels, kTileDepth)), count(p.down.count * p.across.count * per_tap) {}
  int64_t tap(int64_t chunk) const { return chunk / per_tap; }
  int64_t channel(int64_t chunk) const { return chunk % per_tap * kTileDepth; }
  int64_t left(int64_t chunk) const { return channels - channel(chunk); }
};
// Where the chunks of a patch begin.
inline void patch_offsets(const Patches& p, const PatchChunks& chunks, const Chunk& of, int64_t* offset) {
  for (int64_t c = 0; c < chunks.count; ++c) {
    const int64_t u = chunks.tap(c) / p.across.count, v = chunks.tap(c) % p.across.count;
    offset[c] = (p.down.offset[u] - p.down.first()) * of.tap_h + (p.across.offset[v] - p.across.first()) * of.tap_w + chunks.channel(c);
  }
}

// Columns [16 tile, 16 tile + 16) of b (k, n), its rows in pairs 16 apart: [chunk][part].
inline void split_kernel(const PatchChunks& chunks, const KernelMatrix& b, int64_t n, int64_t tile, Split& seen, uint16_t* out) {
  const int64_t j = tile * 16, cols = min(16, n - j), panel = b.packed ? j / b.panel * b.panel : 0;
  const int64_t ld = b.packed ? round_up(min(b.panel, n - panel), Vec::width) : b.ld;
  const float* const from = b.data + (b.packed ? panel * b.k : panel) + j - panel;
  for (int64_t c = 0; c < chunks.count; ++c, out += kSplit) {
    const float* w = from + (chunks.tap(c) * chunks.channels + chunks.channel(c)) * ld;
    const int64_t rows = chunks.left(c);
    for (int64_t r = 0; r < 16; ++r)
      seen.row(r < rows ? Vec::load(w + r * ld, cols) : Vec::zero(), r + 16 < rows ? Vec::load(w + (r + 16) * ld, cols) : Vec::zero(),
               out + r * kTileDepth);
  }
}

// 32 channels from x, of which `left` exist, as a row of a tile.
[[gnu::always_inline]] inline void split_channels(Split& seen, const float* x, int64_t left, uint16_t* out) {
  if (left >= kTileDepth) return seen.row(Vec::load(x), Vec::load(x + 16), out);
  seen.row(Vec::load(x, min(16, left)), left > 16 ? Vec::load(x + 16, left - 16) : Vec::zero(), out);
}

// Cycles of a core, about: products, splitting of what is not hidden behind them, the kernel.
inline double tiles_cycles(const Patches& p, int64_t n) {
  const double k = double(PatchChunks(p).count * kTileDepth);
  return double(round_up(p.count(), 32)) * k * (0.0167 * double(round_up(n, 32)) + 0.3) + 0.7 * k * double(n) + 3000;
}
// Whether vectors take more.
inline bool tiles_pay(const Patches& p, int64_t n) {
  const double products = double(p.count()) * double(p.k()) * double(n);
  return products > 1e6 && tiles_cycles(p, n) < 0.93 * 0.0295 * products;
}

// out = activation(patches @ b + bias), as convolve() of conv2d.cpp. False where it does not pay, or an operand is out of
// range (split_in_range); what was written is of no use then.
inline bool convolve_tiles(const Patches& p, const KernelMatrix& b, int64_t n, float* out, const Grid& grid, const float* bias,
                           int64_t activation) {
  if (!has_tiles() || !tiles_pay(p, n)) return false;
  // Chunks of patches that are split at once, and columns: sums (group, kWide) stay near.
  constexpr int64_t kNear = 4, kWide = 256;
  const PatchChunks chunks(p);
  const int64_t col_tiles = tiles_of(n, 16), next = chunks.count * kSplit;
  Scratch<uint16_t> kernel(col_tiles * next);
  LargestSplit of_kernel(col_tiles);
  parallel_for(col_tiles, max(1, 16384 / (chunks.count * 512)), [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      Split seen;
      split_kernel(chunks, b, n, tile, seen, kernel + tile * next);
      of_kernel.put(tile, seen);
    }
  });
  if (!split_in_range(of_kernel.all(), 1)) return false;

  // A kernel beyond the second-level cache is read for each group of patches.
  const int64_t group = col_tiles * next > (int64_t(1) << 19) ? 128 : 32, blocks = ceil_div(n, kWide), wide = min(n, kWide);
  const Chunks cut = cut_patches(p, max(group, min(256, round_up(ceil_div(p.count() * blocks, 16), 32))));
  const int64_t tasks = cut.count() * blocks, most = Chunk::max_count(cut), ld = round_up(wide, 32);
  LargestSplit of_patches(tasks);
  parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
    Scratch<float> buffer(Chunk::buffer_size(p, cut)), sums(2 * group * ld);
    Scratch<int64_t> ints(2 * most + chunks.count);
    Scratch<uint16_t> rows_split(2 * group / 16 * kNear * kSplit);
    int64_t *place = ints + most, *offset = place + most;
    const TilesReady ready;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t j0 = t % blocks * kWide, cols = min(kWide, n - j0);
      const Chunk chunk(p, cut, t / blocks, buffer, ints, grid, place);
      patch_offsets(p, chunks, chunk, offset);
      Split seen;
      // What is split next: chunks [c0, c1) of `rows` patches from r0, one with each call.
      struct {
        int64_t r0, rows, c0, c1, r, c;
        uint16_t* to;
      } at = {};
      const auto start = [&](int64_t r0, int64_t c0, int64_t turn) {
        at = {r0, min(group, chunk.count - r0), c0, min(chunks.count, c0 + kNear), 0, c0, rows_split + turn % 2 * (group / 16 * kNear * kSplit)};
        return at.rows * (at.c1 - c0);
      };
      const auto split_next = [&] {
        split_channels(seen, chunk.data + chunk.offset[at.r0 + at.r] + offset[at.c], chunks.left(at.c),
                       at.to + (at.r / 16 * kNear + at.c - at.c0) * kSplit + at.r % 16 * kTileDepth);
        if (++at.c == at.c1) at.c = at.c0, ++at.r;
      };
      // Sums of the group before, which are put to their places.
      struct {
        const float* sums;
        int64_t r0, rows;
      } last = {};
      const auto put = [&](int64_t r) {
        float* to = out + place[last.r0 + r] + j0;
        for_each_vec(cols, [&](int64_t j, int64_t w) {
          Vec v = Vec::load(last.sums + r * ld + j);
          if (bias) v = v + Vec::load(bias + j0 + j, w);
          (activation == kActivationRelu ? relu(v) : v).store(to + j, w);
        });
        if (activation > kActivationRelu) apply_epilogue(to, 0, 1, cols, nullptr, activation);
      };

      int64_t turn = 0, groups = 0;
      for (int64_t i = start(0, 0, 0); i > 0; --i) split_next();
      for (int64_t r0 = 0; r0 < chunk.count; r0 += group, ++groups) {
        const int64_t rows = min(group, chunk.count - r0), row_tiles = tiles_of(rows, 16), tiles = tiles_of(cols, 16);
        float* const c = sums + groups % 2 * group * ld;
        for (int64_t c0 = 0; c0 < chunks.count; c0 += kNear, ++turn) {
          const int64_t here = min(kNear, chunks.count - c0);
          int64_t items = 0;
          if (c0 + kNear < chunks.count) items = start(r0, c0 + kNear, turn + 1);
          else if (r0 + group < chunk.count) items = start(r0 + group, 0, turn + 1);
          const int64_t puts = c0 == 0 ? last.rows : 0;
          Beside beside(puts + items, tiles_slots(row_tiles, tiles, here), [&](int64_t i) {
            if (i < puts) put(i);
            else split_next();
          });
          const uint16_t* a = rows_split + turn % 2 * (group / 16 * kNear * kSplit);
          for (int64_t i = 0; i < row_tiles; i += 2)
            tiles_product(min(2, row_tiles - i), tiles, here, a + i * kNear * kSplit, kNear * kSplit,
                          kernel + j0 / 16 * next + c0 * kSplit, next, c0 ? c + i * 16 * ld : nullptr, ld, c + i * 16 * ld, ld, beside);
          beside.finish();
        }
        last = {c, r0, rows};
      }
      for (int64_t r = 0; r < last.rows; ++r) put(r);
      of_patches.put(t, seen);
    }
  });
  return split_in_range(of_kernel.all(), of_patches.all());
}

}  // namespace
}  // namespace fastnn
#endif
