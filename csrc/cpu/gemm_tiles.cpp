// Products large enough to split into parts for the tile unit (cpu/tiles.h): first both operands, each float once,
// then units of c by 2 x 2 tiles.
//
// 32 x 32 x 32 multiply-adds are 24 products of tiles, 384 cycles at the frequency of that unit, beside which 14 KB are
// loaded; on vectors they are 1024 cycles.
#include "cpu/gemm.h"
#include "cpu/tiles.h"

namespace fastnn::FASTNN_TARGET {
#if FASTNN_TILES
namespace {

// Of a pair of tiles of a, chunks (24 KB) that stay in the first-level cache for all columns of a unit, and chunks
// of b's columns of a unit (768 KB) that stay in the second.
constexpr int64_t kNear = 4, kFar = 16, kUnit = 256;
constexpr int64_t kMostSplit = 64 << 20;  // bytes of split operands; deeper products are cut along k
// What one thread has split comes to another at some 4 GB/s: up to so many floats of the smaller operand (1.6 MB when split), each
// thread splits all of it for itself.
constexpr int64_t kOwn = 1 << 18;

// A left or right operand: n rows or columns, stored along k or across.
struct Operand {
  const float* data;
  int64_t ld, n;
  bool left, along_k;

  Operand part(int64_t from, int64_t count) const { return {data + from * (along_k ? ld : 1), ld, count, left, along_k}; }
  int64_t groups(int64_t chunks) const { return along_k ? tiles_of(n, kTileRows) : chunks; }
  // Tiles that some whole stored rows give, of chunks of 32 from k0 to k0 + kc.
  void split(Split& seen, int64_t group, int64_t k0, int64_t kc, int64_t chunks, uint16_t* out) const {
    const auto place = [&](int64_t tile, int64_t chunk) { return out + (tile * chunks + chunk) * kSplit; };
    if (along_k) {
      const float* from = data + group * kTileRows * ld + k0;
      for (int64_t c = 0, left_k = kc; c < chunks; ++c, from += kTileDepth, left_k -= kTileDepth) {
        split_left(seen, from, clamp_count(left_k, 16), from + 16, clamp_count(left_k - 16, 16), ld,
                   min(kTileRows, n - group * kTileRows), place(group, c));
        if (!left) transpose_tiles(place(group, c));
      }
    } else {
      const float* from = data + (k0 + group * kTileDepth) * ld;
      for (int64_t t = 0; t * 16 < n; ++t) {
        split_right(seen, from + t * 16, min(16, n - t * 16), ld, kc - group * kTileDepth, place(t, group));
        if (left) transpose_tiles(place(t, group));
      }
    }
  }
};

// Nanoseconds of a core, about: tiles 200 and vectors 345 for 32 x 32 x 32, splitting 0.2 for a float from the second-level
// cache and 0.33 from beyond.
bool pays_to_split(int64_t m, int64_t n, int64_t k) {
  const int64_t floats = k * (m + n);
  const double tiles = double(round_up(m, 32)) * round_up(n, 32) * round_up(k, 32) / 164 + (floats < 350000 ? 0.2 : 0.33) * floats +
                       0.1 * m * n + 700;
  return tiles < 0.93 / 95 * m * n * k;
}

// c = alpha * sums + bias ..., or added to c.
void put_sums(const float* sums, int64_t ld, int64_t rows, int64_t cols, float* c, int64_t ldc, bool add, bool last, const Epilogue& e) {
  const Vec alpha = Vec::set(e.alpha);
  for (int64_t i = 0; i < rows; ++i)
    for_each_vec(cols, [&](int64_t j, int64_t w) {
      Vec v = Vec::load(sums + i * ld + j);
      if (e.alpha != 1) v = v * alpha;
      if (add) v = Vec::load(c + i * ldc + j, w) + v;
      v.store(c + i * ldc + j, w);
    });
  if (last) apply_epilogue(c, ldc, rows, cols, e.bias, e.activation);
}

void split_all(Split& seen, const Operand& x, int64_t k, int64_t chunks, uint16_t* out) {
  for (int64_t g = 0; g < x.groups(chunks); ++g) x.split(seen, g, 0, k, chunks, out);
}

// c = alpha a b + ..., cut along its longer side; whoever takes a piece has split the other operand before. False if the
// tile unit cannot compute it: c is of no use then.
bool multiply_pieces(const Operand& left, const Operand& right, int64_t k, float* c, int64_t ldc, const Epilogue& e) {
  const bool by_rows = left.n >= right.n;
  const Operand &whole = by_rows ? right : left, &cut = by_rows ? left : right;
  const int64_t size = 32, pieces = ceil_div(cut.n, size), workers = min(pieces, 64), chunks = tiles_of(k, kTileDepth), step = chunks * kSplit;
  LargestSplit of_whole(workers), of_cut(workers);
  int64_t next = 0;
  parallel_for(workers, 1, [&](int64_t worker, int64_t) {
    Split seen_whole, seen_cut;
    int64_t t = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
    of_whole.put(worker, seen_whole), of_cut.put(worker, seen_cut);
    if (t >= pieces) return;
    Scratch<uint16_t> split_whole(split_size(whole.n, k)), split_piece(split_size(size, k));
    const int64_t ld = by_rows ? round_up(whole.n, 16) : size;
    Scratch<float> sums((by_rows ? size : round_up(whole.n, 16)) * ld);
    split_all(seen_whole, whole, k, chunks, split_whole);
    const TilesReady ready;
    for (; t < pieces; t = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) {
      const int64_t from = t * size, count = min(size, cut.n - from);
      split_all(seen_cut, cut.part(from, count), k, chunks, split_piece);
      const uint16_t *at = by_rows ? split_piece : split_whole, *bt = by_rows ? split_whole : split_piece;
      const int64_t rows = by_rows ? count : left.n, cols = by_rows ? right.n : count;
      float* out = c + from * (by_rows ? ldc : 1);
      const bool direct = rows % 16 == 0 && cols % 16 == 0 && e.alpha == 1;
      float* put = direct ? out : sums.get();
      const int64_t ld_put = direct ? ldc : ld;
      // The pair of tiles that was cut off stays in the first-level cache, kNear chunks at a time.
      for (int64_t p = 0; p < chunks; p += kNear)
        for (int64_t i = 0; i < rows; i += 32) {
          float* to = put + i * ld_put;
          tiles_product(min(2, tiles_of(rows - i, 16)), tiles_of(cols, 16), min(kNear, chunks - p), at + i / 16 * step + p * kSplit, step,
                        bt + p * kSplit, step, p ? to : nullptr, ld_put, to, ld_put, Nothing());
        }
      const Epilogue last{e.alpha, e.bias && !by_rows ? e.bias + from : e.bias, e.activation};
      if (direct) apply_epilogue(out, ldc, rows, cols, last.bias, last.activation);
      else put_sums(sums, ld, rows, cols, out, ldc, false, true, last);
    }
    of_whole.put(worker, seen_whole), of_cut.put(worker, seen_cut);
  });
  return split_in_range(of_whole.all(), of_cut.all());
}

}  // namespace

bool gemm_tiles(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                int64_t ldb, float* c, int64_t ldc, bool accumulate, const Epilogue& e) {
  if (m < 32 || n < 32 || k < 32 || !has_tiles() || !pays_to_split(m, n, k)) return false;
  const Operand left{a, lda, m, true, !trans_a}, right{b, ldb, n, false, trans_b};
  if (!accumulate && min(m, n) * k <= kOwn) return multiply_pieces(left, right, k, c, ldc, e);
  const int64_t slices = ceil_div((round_up(m, 16) + round_up(n, 16)) * k * 6, kMostSplit);
  if (accumulate && slices > 1) return false;  // what is not finite may be seen when c has changed
  const int64_t chunks = tiles_of(ceil_div(k, slices), kTileDepth), depth = chunks * kTileDepth;
  Scratch<uint16_t> split_a(split_size(m, depth)), split_b(split_size(n, depth));

  // Units of like size, at least 16 of them where that leaves enough to do for each.
  int64_t mb = kUnit, nb = kUnit;
  while (ceil_div(m, mb) * ceil_div(n, nb) < 16 && mb * nb * depth > 8 * kWork)
    (mb > nb || nb == 32 ? mb : nb) /= 2;
  mb = round_up(ceil_div(m, ceil_div(m, mb)), 32), nb = round_up(ceil_div(n, ceil_div(n, nb)), 32);
  const int64_t row_units = ceil_div(m, mb), units = row_units * ceil_div(n, nb);

  for (int64_t k0 = 0; k0 < k; k0 += depth) {
    const int64_t kc = min(depth, k - k0), here = tiles_of(kc, kTileDepth);
    const int64_t groups_a = left.groups(here), groups = groups_a + right.groups(here);
    LargestSplit largest(groups);
    parallel_for(groups, max(1, 32768 * groups / ((m + n) * kc)), [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) {
        Split seen;
        if (g < groups_a) left.split(seen, g, k0, kc, here, split_a);
        else right.split(seen, g - groups_a, k0, kc, here, split_b);
        largest.put(g, seen);
      }
    });
    if (!split_in_range(largest.of(0, groups_a), largest.of(groups_a, groups))) return false;

    parallel_for(units, 1, [&](int64_t begin, int64_t end) {
      Scratch<float> sums(mb * nb);
      const TilesReady ready;
      for (int64_t t = begin; t < end; ++t) {
        const int64_t i0 = t % row_units * mb, j0 = t / row_units * nb;
        const int64_t rows = min(mb, m - i0), cols = min(nb, n - j0);
        const uint16_t *at = split_a + i0 / 16 * here * kSplit, *bt = split_b + j0 / 16 * here * kSplit;
        const int64_t row_tiles = tiles_of(rows, 16), col_tiles = tiles_of(cols, 16), step = here * kSplit;
        for (int64_t far = 0; far < here; far += kFar)
          for (int64_t i = 0; i < row_tiles; i += 2)
            for (int64_t p = far; p < min(here, far + kFar); p += kNear) {
              float* to = sums + i * 16 * nb;
              tiles_product(min(2, row_tiles - i), col_tiles, min(kNear, min(here, far + kFar) - p), at + i * step + p * kSplit, step,
                            bt + p * kSplit, step, p ? to : nullptr, nb, to, nb, Nothing());
            }
        put_sums(sums, nb, rows, cols, c + i0 * ldc + j0, ldc, accumulate || k0 > 0, k0 + kc == k,
                 {e.alpha, e.bias ? e.bias + j0 : nullptr, e.activation});
      }
    });
  }
  return true;
}
#else
bool gemm_tiles(bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, bool,
                const Epilogue&) {
  return false;
}
#endif

}  // namespace fastnn::FASTNN_TARGET
