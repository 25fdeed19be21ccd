// Products on the tile unit (cpu/tiles.h) of matrices with few columns and many rows, as pixels with channels are.
//
// Splitting such a matrix as a whole would write and read 6 bytes for each of its floats, as long as the product itself takes.
// Here a block of it is split while the block before is multiplied, and stays in the nearest caches.
#include "cpu/gemm_tiles.h"
#include "cpu/tiles.h"

namespace fastnn::FASTNN_TARGET {
#if FASTNN_TILES
namespace {

constexpr int64_t kGroup = 2 * kTileRows;  // rows of a that are split together

// Pairs of a tile are of columns 16 apart (Split::row): the vectors at p and p + 16 of a row with n floats left.
inline void split_row(Split& seen, const float* p, int64_t n, uint16_t* out) {
  if (n >= kTileDepth) return seen.row(Vec::load(p), Vec::load(p + 16), out);
  seen.row(n > 0 ? Vec::load(p, min(n, 16)) : Vec::zero(), n > 16 ? Vec::load(p + 16, n - 16) : Vec::zero(), out);
}

// b (k, n), or stored (n, k), as tiles [tile of n][chunk of k].
void split_b(Split& seen, bool transposed, int64_t k, int64_t n, const float* b, int64_t ldb, uint16_t* out) {
  for (int64_t j = 0; j < n; j += 16)
    for (int64_t p = 0; p < k; p += kTileDepth, out += kSplit) {
      for (int64_t r = 0; r < 16; ++r) {
        uint16_t* row = out + r * kTileDepth;
        if (transposed) split_row(seen, b + (j + r) * ldb + p, j + r < n ? k - p : 0, row);
        else
          seen.row(p + r < k ? Vec::load(b + (p + r) * ldb + j, min(16, n - j)) : Vec::zero(),
                   p + r + 16 < k ? Vec::load(b + (p + r + 16) * ldb + j, min(16, n - j)) : Vec::zero(), row);
      }
      if (transposed) transpose_tiles(out);
    }
}

// Places in the order of memory; divisions would take as long as splitting.
struct Walk {
  int64_t row = 0, chunk = 0;
  void next(int64_t chunks) {
    if (++chunk == chunks) chunk = 0, ++row;
  }
};

// Nanoseconds of a core for a row, about: tiles 164 and vectors 345 for 32 x 32 x 32, and what does not hide behind the products
// of splitting and storing a float.
bool pays_by_rows(int64_t n, int64_t k) {
  return double(round_up(n, 32)) * round_up(k, 32) / 200 + 0.1 * k + 0.03 * n < 0.9 / 95 * n * k;
}

}  // namespace

bool gemm_tiles_rows(bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
                     float* c, int64_t ldc, const Epilogue& e) {
  if (n < 32 || k < 24 || !has_tiles() || !pays_by_rows(n, k)) return false;
  const int64_t chunks = tiles_of(k, kTileDepth), col_tiles = tiles_of(n, 16), step = chunks * kSplit, width = col_tiles * 16;
  // Groups from `first` on; next(g) is the one after g, or -1.
  const auto multiply_groups = [&](int64_t first, const uint16_t* right, float largest_b, auto next) __attribute__((always_inline)) {
    Scratch<uint16_t> left(4 * step);
    Scratch<float> sums(kGroup * width);
    const TilesReady ready;
    Split seen;
    Walk at;
    const auto split = [&](int64_t group, uint16_t* out) __attribute__((always_inline)) {
      const int64_t i = group * kGroup + at.row;
      if (i + kGroup < m) {  // what is split next
        const float* later = a + (i + kGroup) * lda + at.chunk * kTileDepth;
        __builtin_prefetch(later, 0, 2), __builtin_prefetch(later + 16, 0, 2);
      }
      if (at.chunk * kTileDepth < n && i < m) {  // where the product with this goes
        const float* result = c + i * ldc + at.chunk * kTileDepth;
        __builtin_prefetch(result, 1, 2), __builtin_prefetch(result + 16, 1, 2);
      }
      split_row(seen, a + i * lda + at.chunk * kTileDepth, i < m ? k - at.chunk * kTileDepth : 0,
                out + (at.row >> 4) * step + at.chunk * kSplit + (at.row & 15) * kTileDepth);
      at.next(chunks);
    };
    for (int64_t item = 0; item < kGroup * chunks; ++item) split(first, left);
    for (int64_t g = first, after, turn = 0; g >= 0; g = after, turn ^= 1) {
      after = next(g);
      const float largest = seen.largest();
      seen = Split();
      const uint16_t* now = left + turn * 2 * step;
      uint16_t* then = left + (turn ^ 1) * 2 * step;
      const int64_t i = g * kGroup, rows = min(kGroup, m - i), row_tiles = tiles_of(rows, 16);
      const bool direct = rows == kGroup && n % 16 == 0 && e.alpha == 1;
      float* to = direct ? c + i * ldc : sums.get();
      at = {};
      Beside beside(after >= 0 ? kGroup * chunks : 0, tiles_slots(row_tiles, col_tiles, chunks), [&](int64_t) { split(after, then); });
      tiles_product(row_tiles, col_tiles, chunks, now, step, right, step, nullptr, 0, to, direct ? ldc : width, beside);
      beside.finish();
      if (!split_in_range(largest, largest_b)) {
        gemm_serial(false, trans_b, rows, n, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, false, e);
        continue;
      }
      if (!direct)
        for (int64_t r = 0; r < rows; ++r)
          for_each_vec(n, [&](int64_t j, int64_t w) { (Vec::load(sums + r * width + j) * Vec::set(e.alpha)).store(c + (i + r) * ldc + j, w); });
      apply_epilogue(c + i * ldc, ldc, rows, n, e.bias, e.activation);
    }
  };
  const int64_t groups = ceil_div(m, kGroup);
  // For few rows, each thread splits b for itself, and goes from group to group without a pause.
  if (groups <= 512) {
    FreePieces free(groups);
    parallel_for(groups, 1, [&](int64_t begin, int64_t) {
      const int64_t first = free.take(begin);
      if (first < 0) return;
      Scratch<uint16_t> right(col_tiles * step);
      Split seen_b;
      split_b(seen_b, trans_b, k, n, b, ldb, right);
      multiply_groups(first, right, seen_b.largest(), [&](int64_t g) { return free.take(g + 1); });
    });
    return true;
  }
  Scratch<uint16_t> right(col_tiles * step);
  Split seen_b;
  split_b(seen_b, trans_b, k, n, b, ldb, right);
  const float largest_b = seen_b.largest();
  // The first group of a task is split beside nothing: 32 tasks, of up to 16 groups each.
  parallel_for(groups, max(min(16, groups / 32), 2 * kWork / (kGroup * n * k)), [&](int64_t begin, int64_t end) {
    multiply_groups(begin, right, largest_b, [=](int64_t g) { return g + 1 < end ? g + 1 : -1; });
  });
  return true;
}

namespace {

// Tiles of `block` chunks of 32 rows of x (k, n) from p0 on, rows ld apart, as a right operand; turned as a left one. Of x stored
// (n, k) as a left operand; turned as a right one.
struct Side {
  const float* data;
  int64_t ld, n, k, tiles, block;
  bool left, along_k;
  int64_t p = 0, tile = 0, chunk = 0, row = 0, part = 0;  // what is split next
  uint16_t* out = nullptr;
  Split seen{};

  int64_t items() const { return tiles * block * (left == along_k ? 16 : 19); }
  void begin(int64_t p0, uint16_t* to) { p = p0, tile = chunk = row = part = 0, out = to, seen = Split(); }
  [[gnu::always_inline]] void next() { along_k ? next_along() : next_across(); }
  [[gnu::always_inline]] void next_across() {
    uint16_t* to = out + (tile * block + chunk) * kSplit;
    if (row == 16) {  // tiles of a whole chunk are turned while the nearest cache holds them
      char* at = (char*)(to + part * kTile);
      transpose_square(at, 64, at, 64);
      if (++part < 3) return;
      part = 0;
      if (++tile == tiles) tile = row = 0, ++chunk, p += kTileDepth;
      return;
    }
    // The rows of the matrix one after the other.
    const float* from = data + (p + row) * ld + tile * 16;
    const int64_t w = min(16, n - tile * 16);
    to += row * kTileDepth;
    const float* ahead = from + block * kTileDepth * ld;  // of the block after this one; may be beyond the end
    __builtin_prefetch(ahead, 0, 2), __builtin_prefetch(ahead + 16 * ld, 0, 2);  // the nearest cache is full of parts
    if (p + row + 16 < k) seen.row(Vec::load(from, w), Vec::load(from + 16 * ld, w), to);
    else seen.row(p + row < k ? Vec::load(from, w) : Vec::zero(), Vec::zero(), to);
    if (++tile < tiles) return;
    tile = 0;
    if (++row == 16 && !left) row = 0, ++chunk, p += kTileDepth;
  }
  [[gnu::always_inline]] void next_along() {
    if (tile == tiles) {
      char* at = (char*)(out + part++ * kTile);
      return transpose_square(at, 64, at, 64);
    }
    // Rows of long sums lie pages apart and share few sets of the caches, so that only some of them can be asked for ahead.
    constexpr int64_t kAhead = 8;
    const int64_t i = tile * 16 + row, q = p + chunk * kTileDepth;
    const float *from = data + i * ld + q, *ahead = from + (i + kAhead < n ? kAhead * ld : (kAhead - n) * ld + block * kTileDepth);
    __builtin_prefetch(ahead), __builtin_prefetch(ahead + 16);
    split_row(seen, from, i < n ? k - q : 0, out + (tile * block + chunk) * kSplit + row * kTileDepth);
    if (++chunk < block) return;
    chunk = 0;
    if (++row < 16) return;
    row = 0, ++tile;
  }
};

}  // namespace

bool gemm_tiles_deep(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                     int64_t ldb, float* c, int64_t ldc, const Epilogue& e) {
  // Splitting takes 0.15 ns for a float beside the products. Sums of 1 MB stay in the second-level cache.
  if (m < 32 || n < 32 || k < 512 || m * n > (1 << 18) || e.alpha != 1 || !has_tiles()) return false;
  if (double(round_up(m, 32)) * round_up(n, 32) / 164 + 0.15 * (m + n) > 0.93 / 95 * m * n) return false;
  // Chunks of k that are split together. Parts of both blocks at work, (m + n) * 384 bytes for a chunk, stay in the second-level cache.
  const int64_t block = m + n > 512 ? 2 : 4;
  const int64_t parts = max(1, min(16, k / 1024)), per_part = round_up(ceil_div(k, parts), block * kTileDepth);
  const int64_t row_tiles = tiles_of(m, 16), col_tiles = tiles_of(n, 16), width = col_tiles * 16, size = row_tiles * 16 * width;
  // Two tiles of the smaller operand stay in the nearest cache while the larger one goes by.
  const int64_t together = row_tiles < col_tiles ? 2 : row_tiles;
  Scratch<float> partial(ceil_div(k, per_part) * size);
  parallel_for(ceil_div(k, per_part), 1, [&](int64_t begin, int64_t end) {
    const int64_t step = block * kSplit;
    Scratch<uint16_t> split(2 * (row_tiles + col_tiles) * step);
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * per_part, last = min(k, first + per_part);
      Side left{a, lda, m, last, row_tiles, block, true, !trans_a}, right{b, ldb, n, last, col_tiles, block, false, trans_b};
      float* sums = partial.get() + part * size;
      bool in_range = true;
      {
        const TilesReady ready;
        const int64_t items = left.items() + right.items();
        const auto begin_block = [&](int64_t p, uint16_t* out) { left.begin(p, out), right.begin(p, out + row_tiles * step); };
        const auto split_next = [&](int64_t item) __attribute__((always_inline)) {
          if (item < left.items()) left.next();
          else right.next();
        };
        begin_block(first, split);
        for (int64_t item = 0; item < items; ++item) split_next(item);
        int64_t turn = 0;
        for (int64_t p = first; p < last; p += block * kTileDepth, turn ^= 1) {
          uint16_t *now = split + turn * (row_tiles + col_tiles) * step, *then = split + (turn ^ 1) * (row_tiles + col_tiles) * step;
          in_range = in_range && split_in_range(left.seen.largest(), right.seen.largest());
          const int64_t next = p + block * kTileDepth;
          begin_block(next, then);
          Beside beside(next < last ? items : 0, tiles_slots(row_tiles, col_tiles, block), split_next);
          for (int64_t i = 0; i < row_tiles; i += together)
            tiles_product(min(together, row_tiles - i), col_tiles, block, now + i * step, step, now + row_tiles * step, step,
                          p > first ? sums + i * 16 * width : nullptr, width, sums + i * 16 * width, width, beside);
          beside.finish();
        }
      }
      if (!in_range)
        gemm_serial(trans_a, trans_b, m, n, last - first, a + first * (trans_a ? lda : 1), lda, b + first * (trans_b ? 1 : ldb), ldb, sums, width);
    }
  });
  parallel_for(m, max(1, 16384 / (n * parts)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for_each_vec(n, [&](int64_t j, int64_t w) {
        Vec sum = Vec::load(partial.get() + i * width + j);
        for (int64_t part = 1; part < ceil_div(k, per_part); ++part) sum = sum + Vec::load(partial.get() + part * size + i * width + j);
        sum.store(c + i * ldc + j, w);
      });
    apply_epilogue(c + begin * ldc, ldc, end - begin, n, e.bias, e.activation);
  });
  return true;
}
#else
bool gemm_tiles_rows(bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, const Epilogue&) {
  return false;
}
bool gemm_tiles_deep(bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, const Epilogue&) {
  return false;
}
#endif

bool gemm_tiles_columns(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
  return gemm_tiles_deep(true, false, m, n, k, a, lda, b, ldb, c, ldc, {});
}

}  // namespace fastnn::FASTNN_TARGET
