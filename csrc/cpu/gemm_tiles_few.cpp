// Products on the tile unit (cpu/tiles.h) of few rows, as the pixels of small images are, with a large b. Each float of b is
// read and split once, beside the products of those before it; every thread has its own copy of the rows, split.
#include "cpu/gemm.h"
#include "cpu/tiles.h"

namespace fastnn::FASTNN_TARGET {
#if FASTNN_TILES
namespace {

// Of a pair of b's tiles, chunks of k that are split together: two pairs (24 KB) are in the first-level cache. With 1 or 3 most shapes
// took up to a fifth longer, with 4 half as much again. What is split two pairs later is asked for, to the second-level cache: rows may
// share few sets of the first.
constexpr int64_t kNear = 2, kAhead = 2;
constexpr int64_t kStrips = 64;

// Splits pairs of tiles of 16 columns of b, kNear chunks of k at a time: beside products where all of it exists. The unit has
// few registers to look ahead with, so that the work is dealt out after every second product, and its state is in registers.
class PairsOfB {
 public:
  explicit PairsOfB(const FewRows& q) : q_(q), tile_(16 * (q.along_k ? q.ldb : 1)), second_(16 * (q.along_k ? 1 : q.ldb)) {}
  // Columns from j and chunks from c; those from (then_j, then_c) come after them, unless then_c is negative.
  void begin(int64_t j, int64_t c, int64_t then_j, int64_t then_c, int64_t slots, uint16_t* out) {
    const int64_t column = tile_ / 16, chunks = min(kNear, q_.chunks - c);
    bool whole = q_.n - j >= 32;
    for (int64_t i = 0; i < chunks; ++i) {
      whole = whole && q_.count[c + i] == kTileDepth;
      start_[i] = q_.b + q_.b_chunk[c + i] + j * column;
      ahead_[i] = then_c >= 0 && then_c + i < q_.chunks ? q_.b_chunk[then_c + i] - q_.b_chunk[c + i] + (then_j - j) * column : 0;
    }
    chunk_ = row_ = due_ = left_ = 0, out_ = out, from_ = start_[0];
    if (whole) {
      left_ = chunks * 16, rate_ = ((left_ << kBits) + slots - 1) / slots;
    } else {
      for (int64_t t = 0; t < 2 && j + t * 16 < q_.n; ++t)
        for (int64_t i = 0; i < chunks; ++i)
          split_edge(start_[i] + t * tile_, q_.count[c + i], q_.n - j - t * 16, out + (t * kNear + i) * kSplit);
    }
  }
  [[gnu::always_inline]] void operator()() {
    for (due_ += rate_; due_ >= (1 << kBits) && left_; due_ -= 1 << kBits) next();
  }
  [[gnu::always_inline]] void between() { (*this)(); }
  void finish() {
    while (left_) next();
  }
  float largest() const { return seen_.largest(); }

 private:
  static constexpr int kBits = 20;

  [[gnu::always_inline]] void next() {
    const float *ahead = from_ + ahead_[chunk_], *second = from_ + second_;
    __builtin_prefetch(ahead, 0, 2), __builtin_prefetch(ahead + second_, 0, 2);
    __builtin_prefetch(ahead + tile_, 0, 2), __builtin_prefetch(ahead + tile_ + second_, 0, 2);
    seen_.row(Vec::load(from_), Vec::load(second), out_);
    seen_.row(Vec::load(from_ + tile_), Vec::load(second + tile_), out_ + kNear * kSplit);
    from_ += q_.ldb, out_ += kTileDepth, --left_;
    if (++row_ < 16) return;
    row_ = 0, from_ = start_[++chunk_], out_ += kSplit - kTile;
  }
  [[gnu::noinline]] void split_edge(const float* from, int64_t k, int64_t n, uint16_t* to) {
    const auto load = [&](const float* p, int64_t count) { return count > 0 ? Vec::load(p, min(count, 16)) : Vec::zero(); };
    Split seen = seen_;
    for (int64_t r = 0; r < 16; ++r, from += q_.ldb, to += kTileDepth) {
      if (q_.along_k) seen.row(load(from, r < n ? k : 0), load(from + 16, r < n ? k - 16 : 0), to);
      else seen.row(load(from, r < k ? n : 0), load(from + second_, r + 16 < k ? n : 0), to);
    }
    seen_ = seen;
  }

  const FewRows q_;
  const int64_t tile_, second_;  // from a tile to the other, from the first vector of a pair of rows to the second
  int64_t chunk_, row_, due_, left_, rate_ = 0, ahead_[kNear];
  const float *from_, *start_[kNear + 1];
  uint16_t* out_;
  Split seen_;
};

// Rows [i0, i0 + count), [kNear chunks][tile][chunk]: as left operand in tiles of `height` rows, or as right one.
void split_rows(Split& seen, const FewRows& q, int64_t i0, int64_t count, int64_t tiles, int64_t height, uint16_t* out) {
  for (int64_t c = 0; c < q.chunks; ++c)
    for (int64_t t = 0; t < tiles; ++t) {
      uint16_t* to = out + ((c / kNear * tiles + t) * kNear + c % kNear) * kSplit;
      const int64_t k = q.count[c];
      for (int64_t r = 0; r < height; ++r) {
        const int64_t i = t * height + r;
        const float* from = i < count ? q.a + q.row[i0 + i] + q.a_chunk[c] : nullptr;
        if (from && k == kTileDepth) seen.row(Vec::load(from), Vec::load(from + 16), to + r * kTileDepth);
        else
          seen.row(from ? Vec::load(from, min(k, 16)) : Vec::zero(), from && k > 16 ? Vec::load(from + 16, k - 16) : Vec::zero(),
                   to + r * kTileDepth);
      }
      if (q.along_k) transpose_tiles(to);
    }
}

// More rows than are few are taken in blocks of this: split they take 1.5 MB, and b is split again beside each.
struct RowBlocks {
  int64_t rows, count, tiles, height;  // of each block but the last; of its tiles
  explicit RowBlocks(const FewRows& q) {
    constexpr int64_t kMostRows = 256, kMostFloats = int64_t(1) << 18;
    const int64_t least = max(ceil_div(q.m, kMostRows), ceil_div(q.m * q.chunks * kTileDepth, kMostFloats));
    rows = ceil_div(q.m, least > 1 ? round_up(least, 2) : 1);
    if (least > 4) rows = round_up(rows, 2 * kTileRows);
    count = ceil_div(q.m, rows), tiles = round_up(tiles_of(rows, kTileRows), 2);
    height = q.along_k ? kTileRows : ceil_div(rows, tiles);
  }
};

}  // namespace

bool multiply_few_rows(const FewRows& q) {
  const RowBlocks of(q);
  const int64_t width = max(min(256, q.n * min(of.count, 8) / 8 / 32 * 32), round_up(ceil_div(q.n, kStrips), 32)), strips = ceil_div(q.n, width);
  const int64_t step = kNear * kSplit, slices = ceil_div(q.chunks, kNear), height = of.height, pieces = of.count * strips;
  LargestSplit of_rows(pieces), of_b(pieces);
  FreePieces free(pieces);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t) {
    Split seen_rows;
    PairsOfB b(q);
    int64_t piece = free.take(begin);
    of_rows.put(begin, seen_rows), of_b.put(begin, b.largest());
    if (piece < 0) return;
    Scratch<uint16_t> rows(slices * of.tiles * step), pairs(4 * step);
    Scratch<float> sums(of.tiles * 16 * width);
    const TilesReady ready(height);
    for (int64_t of_block = -1, i0 = 0, m = 0, tiles = 0; piece >= 0; piece = free.take(piece + 1)) {
      if (piece / strips != of_block) {
        of_block = piece / strips, i0 = of_block * of.rows, m = min(of.rows, q.m - i0), tiles = round_up(ceil_div(m, height), 2);
        split_rows(seen_rows, q, i0, m, tiles, height, rows);
      }
      const int64_t ld = q.along_k ? tiles * 16 : width;  // of sums (tiles x 16, width), or transposed
      const int64_t j0 = piece % strips * width, cols = min(width, q.n - j0), columns = ceil_div(cols, 32), blocks = columns * slices;
      float* const c = q.c + i0 * q.ldc + j0;
      const bool direct = !q.along_k && m == tiles * 16 && cols % 32 == 0;  // the last sums go to c
      // Stored rows of b one after the other.
      const auto column = [&](int64_t block) { return j0 + (q.along_k ? block / slices : block % columns) * 32; };
      const auto slice = [&](int64_t block) { return q.along_k ? block % slices : block / columns; };
      const auto pair = [&](int64_t block) { return min(2, tiles_of(q.n - column(block), 16)); };
      const auto chunks = [&](int64_t block) { return min(kNear, q.chunks - slice(block) * kNear); };
      const auto start = [&](int64_t block, int64_t slots) {
        const bool more = block + kAhead < blocks;
        b.begin(column(block), slice(block) * kNear, more ? column(block + kAhead) : 0, more ? slice(block + kAhead) * kNear : -1, slots,
                pairs + block % 2 * 2 * step);
      };
      start(0, 1);
      b.finish();
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t j = column(block) - j0, s = slice(block);
        float* to = sums + j * (q.along_k ? ld : 1);
        const float* from = s ? to : nullptr;
        const uint16_t *few = rows + s * tiles * step, *large = pairs + block % 2 * 2 * step;
        if (block + 1 < blocks) start(block + 1, 2 * tiles_slots(tiles, pair(block), chunks(block)));
        if (q.along_k) tiles_product(pair(block), tiles, chunks(block), large, step, few, step, from, ld, to, ld, b);
        else if (direct && s + 1 == slices) tiles_product(tiles, pair(block), chunks(block), few, step, large, step, from, ld, c + j, q.ldc, b);
        else tiles_product(tiles, pair(block), chunks(block), few, step, large, step, from, ld, to, ld, b);
        b.finish();
      }
      const float* bias = q.bias ? q.bias + j0 : nullptr;
      if (q.along_k) {
        transpose_tile<float>((const char*)sums.get(), ld * 4, (char*)c, q.ldc * 4, cols, m);
      } else if (!direct) {
        for (int64_t i = 0; i < m; ++i) {
          const float* from = sums + (i / height * 16 + i % height) * ld;
          for_each_vec(cols, [&](int64_t l, int64_t w) { Vec::load(from + l).store(c + i * q.ldc + l, w); });
        }
      }
      apply_epilogue(c, q.ldc, m, cols, bias, q.activation);
    }
    of_rows.put(begin, seen_rows), of_b.put(begin, b.largest());
  });
  return split_in_range(of_rows.all(), of_b.all());
}

bool gemm_tiles_few(bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
                    float* c, int64_t ldc, const Epilogue& e) {
  if (m < 33 || n < 128 || k < 64 || n * k < 100000 || e.alpha != 1 || !has_tiles()) return false;
  // Blocks of rows split b again: of long sums and many columns that is less than what splitting both first would hand from thread to
  // thread, unless each thread may split the smaller operand for itself (gemm_tiles.cpp).
  if ((m > 256 || m * k > (1 << 18)) && (k < 512 || n < 256 || min(m, n) * k <= (1 << 18))) return false;
  const int64_t chunks = tiles_of(k, kTileDepth);
  Scratch<int64_t> ints(m + 3 * chunks);
  int64_t *row = ints, *a_chunk = row + m, *b_chunk = a_chunk + chunks, *count = b_chunk + chunks;
  for (int64_t i = 0; i < m; ++i) row[i] = i * lda;
  for (int64_t i = 0; i < chunks; ++i) {
    a_chunk[i] = i * kTileDepth, b_chunk[i] = a_chunk[i] * (trans_b ? 1 : ldb), count[i] = min(kTileDepth, k - a_chunk[i]);
  }
  return multiply_few_rows({m, n, chunks, a, row, a_chunk, b, ldb, b_chunk, trans_b, count, c, ldc, e.bias, e.activation});
}
#else
bool multiply_few_rows(const FewRows&) { return false; }
bool gemm_tiles_few(bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, const Epilogue&) {
  return false;
}
#endif

}  // namespace fastnn::FASTNN_TARGET
