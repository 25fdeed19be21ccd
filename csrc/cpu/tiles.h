// Products of float32 matrices on the tile unit of x86 (AMX), which multiplies bfloat16 and adds up
// in float32, seventeen times as fast as vectors multiply floats.
//
// A float is the sum of three bfloat16 of 8 bits each: x = x0 + x1 + x2, exactly. Of the nine
// products of two such sums the six largest are added up; the other three are below half a unit in
// the last place of x y (Henry, Tang & Heinecke 2019, arXiv:1904.06376). The result is as exact as a sum of
// float32 products: its parts are added up 32 at a time, which rounds less than one long chain.
//
// Infinity and NaN have no such parts, and parts below 2^-126 are lost: who splits collects the largest values, and
// computes with vectors instead unless split_in_range.
#pragma once
#include "cpu/parallel.h"
#include "cpu/tile_unit.h"
#include "cpu/transpose.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__x86_64__)
#define FASTNN_TILES 1

namespace fastnn {
namespace {

// A tile is 16 rows of 64 bytes. Of a left operand (m, k): 16 rows of m by 32 of k. Of a right operand
// (k, n): 16 pairs of k by 16 of n. An operand is [tile of m or n][chunk of 32 k][part].
constexpr int64_t kTileRows = 16, kTileDepth = 32, kTile = 512, kSplit = 3 * kTile;
inline int64_t tiles_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
// bfloat16 of an operand with n rows (left) or columns (right).
inline int64_t split_size(int64_t n, int64_t k) { return tiles_of(n, kTileRows) * tiles_of(k, kTileDepth) * kSplit; }

// Splits floats and remembers the largest.
class Split {
 public:
  // parts[p]: the bits of part p in the upper halves, zeros below.
  void operator()(Vec x, __m512i (&parts)[3]) {
    const __m512i bits = _mm512_castps_si512(x.v);
    seen_ = _mm512_max_epi32(seen_, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
    parts[0] = round(bits);
    const __m512 rest = _mm512_sub_ps(x.v, _mm512_castsi512_ps(parts[0]));
    parts[1] = round(_mm512_castps_si512(rest));
    parts[2] = upper(_mm512_castps_si512(_mm512_sub_ps(rest, _mm512_castsi512_ps(parts[1]))));
  }
  // Two vectors as a row of the three parts of a tile, `step` apart: two rows of a right operand, or columns of a left one, whose pairs then
  // are not of neighbours but of columns 16 apart, as they must be in the right one. NaN of the largest bits is not remembered, but
  // is in the third part.
  void row(Vec a, Vec b, uint16_t* out, int64_t step = kTile) {
    const __m512i mask = _mm512_set1_epi32(int(0xffff0000));
    const auto put = [&](int part, __m512i low, __m512i high) __attribute__((always_inline)) {
      const __m512i words = _mm512_ternarylogic_epi32(_mm512_srli_epi32(low, 16), high, mask, 0xf8);  // low | high & mask
      _mm512_storeu_si512(out + part * step, words);
      return words;
    };
    __m512i low = round(_mm512_castps_si512(a.v)), high = round(_mm512_castps_si512(b.v));
    words_ = _mm512_max_epu16(words_, _mm512_and_si512(put(0, low, high), _mm512_set1_epi32(0x7fff7fff)));
    const __m512 x = _mm512_sub_ps(a.v, _mm512_castsi512_ps(low)), y = _mm512_sub_ps(b.v, _mm512_castsi512_ps(high));
    low = round(_mm512_castps_si512(x)), high = round(_mm512_castps_si512(y));
    put(1, low, high);
    put(2, _mm512_castps_si512(_mm512_sub_ps(x, _mm512_castsi512_ps(low))), _mm512_castps_si512(_mm512_sub_ps(y, _mm512_castsi512_ps(high))));
  }
  // The vectors a of row 2 i and b of row 2 i + 1 as these rows of a chunk of a left operand, with pairs of columns as in row(), and as row i
  // of two tiles of a right operand, `next` apart.
  void square(const Vec (&a)[2], const Vec (&b)[2], uint16_t* left, uint16_t* right, int64_t next) {
    const __m512i mask = _mm512_set1_epi32(int(0xffff0000)), positive = _mm512_set1_epi32(0x7fff7fff);
    const auto join = [&](__m512i low, __m512i high) { return _mm512_ternarylogic_epi32(low, high, mask, 0xf8); };  // low | high & mask
    __m512 rest[4] = {a[0].v, a[1].v, b[0].v, b[1].v};
    FASTNN_UNROLL for (int p = 0; p < 3; ++p) {
      __m512i part[4];
      FASTNN_UNROLL for (int i = 0; i < 4; ++i) {
        part[i] = _mm512_castps_si512(rest[i]);
        if (p < 2) part[i] = round(part[i]), rest[i] = _mm512_sub_ps(rest[i], _mm512_castsi512_ps(part[i]));
      }
      const __m512i a0 = _mm512_srli_epi32(part[0], 16), a1 = _mm512_srli_epi32(part[1], 16), b0 = _mm512_srli_epi32(part[2], 16);
      const __m512i row_a = join(a0, part[1]), row_b = join(b0, part[3]);
      _mm512_storeu_si512(left + p * kTile, row_a);
      _mm512_storeu_si512(left + p * kTile + kTileDepth, row_b);
      _mm512_storeu_si512(right + p * kTile, join(a0, part[2]));
      _mm512_storeu_si512(right + p * kTile + next, join(a1, part[3]));
      if (p == 0) words_ = _mm512_max_epu16(words_, _mm512_max_epu16(_mm512_and_si512(row_a, positive), _mm512_and_si512(row_b, positive)));
    }
  }
  // The largest absolute value, or above it within its rounding to a part; infinity if something had no first part: what was
  // computed is of no use then.
  float largest() const {
    const __m512i words = _mm512_max_epi32(_mm512_slli_epi32(words_, 16), _mm512_and_si512(words_, _mm512_set1_epi32(int(0xffff0000))));
    const int bits = _mm512_reduce_max_epi32(_mm512_max_epi32(seen_, words));
    return bits >= 0x7f7f8000 ? __builtin_inff() : __builtin_bit_cast(float, bits);
  }

 private:
  static __m512i upper(__m512i bits) { return _mm512_and_si512(bits, _mm512_set1_epi32(int(0xffff0000))); }
  static __m512i round(__m512i bits) { return upper(_mm512_add_epi32(bits, _mm512_set1_epi32(0x8000))); }
  __m512i seen_ = _mm512_setzero_si512();   // floats
  __m512i words_ = _mm512_setzero_si512();  // first parts
};

// The largest absolute values of what chunks of work have split; infinity where something was not finite.
class LargestSplit {
 public:
  explicit LargestSplit(int64_t chunks) : chunks_(chunks), largest_(chunks) {}
  void put(int64_t chunk, const Split& split) { put(chunk, split.largest()); }
  void put(int64_t chunk, float largest) { largest_[chunk] = largest; }
  float of(int64_t begin, int64_t end) const {
    float top = 0;
    for (int64_t i = begin; i < end; ++i) top = largest_[i] > top ? largest_[i] : top;
    return top;
  }
  float all() const { return of(0, chunks_); }

 private:
  int64_t chunks_;
  Scratch<float> largest_;
};
// Of operands whose largest elements these are: no product of parts overflows where that of floats does not, and what the
// unit takes for zero, below 2^-126, is below the rounding of the largest products.
inline bool split_in_range(float a, float b) {
  const double product = double(a) * b;
  return product == 0 || (product <= 1e38 && product >= 0x1p-100 && a >= 0x1p-100f && b >= 0x1p-100f);
}

// Pieces of a product, handed out one by one. What one thread has split comes to another at some 4 GB/s, slower than it is split anew:
// so each thread splits for itself, once, the operand that all pieces read, and takes pieces until there are none.
class FreePieces {
 public:
  explicit FreePieces(int64_t count) : count_(count), left_(count), taken_(count) {
    for (int64_t i = 0; i < count; ++i) taken_[i] = 0;
  }
  // The first free piece from `from` <= count on, or from the beginning; -1 if there is none. Threads that begin at parts of
  // their own meet at the end only, and each walks through memory in order.
  int64_t take(int64_t from) {
    for (int64_t i = 0; i < count_ && __atomic_load_n(&left_, __ATOMIC_RELAXED) > 0; ++i, ++from) {
      if (from >= count_) from = 0;
      if (!__atomic_load_n(&taken_[from], __ATOMIC_RELAXED) && !__atomic_exchange_n(&taken_[from], 1, __ATOMIC_RELAXED)) {
        __atomic_fetch_sub(&left_, 1, __ATOMIC_RELAXED);
        return from;
      }
    }
    return -1;
  }

 private:
  const int64_t count_;
  int64_t left_;
  Scratch<int64_t> taken_;
};

// 16 floats as a half row of a tile of a left operand; the parts are a tile apart.
inline void split_half_row(Split& split, Vec x, uint16_t* out) {
  __m512i parts[3];
  split(x, parts);
  for (int p = 0; p < 3; ++p)
    _mm256_storeu_si256((__m256i*)(out + p * kTile), _mm512_cvtepi32_epi16(_mm512_srli_epi32(parts[p], 16)));
}
// The half row of row r (0 to 15) and columns k... k + 15 of a chunk.
inline int64_t half_row(int64_t r, int64_t k) { return r * kTileDepth + k; }

// Up to 16 rows, ld apart, of 16 + 16 floats, of which n0 and n1 exist, to the three parts of a tile of
// a left operand. Zeros elsewhere.
inline void split_left(Split& split, const float* p0, int64_t n0, const float* p1, int64_t n1, int64_t ld, int64_t rows,
                       uint16_t* out) {
  alignas(64) static const uint16_t upper[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  const __m512i order = _mm512_load_si512(upper);
  for (int64_t r = 0; r < kTileRows; ++r, out += kTileDepth) {
    __m512i a[3], b[3];
    split(r < rows && n0 > 0 ? Vec::load(p0 + r * ld, n0) : Vec::zero(), a);
    split(r < rows && n1 > 0 ? Vec::load(p1 + r * ld, n1) : Vec::zero(), b);
    for (int p = 0; p < 3; ++p) _mm512_storeu_si512(out + p * kTile, _mm512_permutex2var_epi16(a[p], order, b[p]));
  }
}
// Up to 32 rows of k, ld apart, of n floats to the three parts of a tile of a right operand.
inline void split_right(Split& split, const float* from, int64_t n, int64_t ld, int64_t rows, uint16_t* out) {
  for (int64_t r = 0; r < kTileDepth; r += 2, out += kTileDepth)
    split.row(r < rows ? Vec::load(from + r * ld, n) : Vec::zero(),
              r + 1 < rows ? Vec::load(from + (r + 1) * ld, n) : Vec::zero(), out);
}
// A tile of one kind is one of the other kind transposed, pair by pair.
inline void transpose_tiles(uint16_t* tile) {
  for (int p = 0; p < 3; ++p) transpose_square((const char*)(tile + p * kTile), 64, (char*)(tile + p * kTile), 64);
}

inline int64_t clamp_count(int64_t left, int64_t most) { return left < 0 ? 0 : left < most ? left : most; }

// Up to 16 columns of w (k, n), rows ld apart, as a tile of a right operand.
inline void split_columns(Split& split, const float* w, int64_t k, int64_t n, int64_t ld, uint16_t* out) {
  for (int64_t p = 0; p < k; p += kTileDepth, out += kSplit) split_right(split, w + p * ld, n, ld, k - p, out);
}

struct [[gnu::packed]] TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// The tile unit of this thread is ready while this lives. Its registers are empty otherwise, so that the
// system need not save them. Tiles of left operands may have fewer rows than 16, and take less time then.
class TilesReady {
 public:
  explicit TilesReady(int64_t rows = kTileRows) {
    TileConfig config;
    for (int i = 0; i < 6; ++i) config.rows[i] = uint8_t(rows);
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~TilesReady() { asm volatile("tilerelease"); }
  TilesReady(const TilesReady&) = delete;
};

// The registers 0 to 3 add up, 4 and 5 hold the left operand and 6 and 7 the right one.
template <int T>
[[gnu::always_inline]] inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
[[gnu::always_inline]] inline void tile_load(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(T) : "memory");
}
template <int T>
[[gnu::always_inline]] inline void tile_store(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(T) : "memory");
}
template <int C, int A, int B>
[[gnu::always_inline]] inline void tile_multiply() {
  asm volatile("tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(B), "i"(A), "i"(C));
}

// Work of vectors that is done beside products, as these leave most of a core idle: f(i) for i < items, in `slots` portions
// that are asked for between chunks of products.
template <class F>
class Beside {
 public:
  Beside(int64_t items, int64_t slots, F f) : items_(items), rate_(((items << kBits) + slots - 1) / (slots > 1 ? slots : 1)), f_(f) {}
  [[gnu::noinline]] void operator()() {
    if (next_ == items_) return;
    due_ += rate_;
    const int64_t end = due_ >> kBits;
    for (; next_ < end && next_ < items_; ++next_) f_(next_);
  }
  void finish() {
    due_ = items_ << kBits;
    (*this)();
  }

 private:
  static constexpr int kBits = 20;
  int64_t next_ = 0, due_ = 0, items_, rate_;  // items that are due, in 2^-20, and how many fall due at a time
  F f_;
};
struct Nothing {
  void operator()() const {}
};

// R x C tiles += a (R tiles, chunks) b (chunks, C tiles). Pairs of parts are in an order that changes one
// operand at a time: fourteen loads for 24 products.
template <int R, int C, class F>
[[gnu::always_inline]] inline void tiles_multiply(int64_t chunks, const uint16_t* a, int64_t next_a, const uint16_t* b,
                                                  int64_t next_b, F& beside) {
  const auto load_a = [&](int part) __attribute__((always_inline)) {
    tile_load<4>(a + part * kTile, 64);
    if constexpr (R == 2) tile_load<5>(a + next_a + part * kTile, 64);
  };
  const auto load_b = [&](int part) __attribute__((always_inline)) {
    tile_load<6>(b + part * kTile, 64);
    if constexpr (C == 2) tile_load<7>(b + next_b + part * kTile, 64);
  };
  const auto multiply = [&]() __attribute__((always_inline)) {
    tile_multiply<0, 4, 6>();
    if constexpr (C == 2) tile_multiply<1, 4, 7>();
    if constexpr (requires { beside.between(); }) beside.between();
    if constexpr (R == 2) tile_multiply<2, 5, 6>();
    if constexpr (R == 2 && C == 2) tile_multiply<3, 5, 7>();
    beside();
  };
  for (int64_t k = 0; k < chunks; ++k, a += kSplit, b += kSplit) {
    load_a(2), load_b(0), multiply();
    load_a(1), multiply();
    load_b(1), multiply();
    load_a(0), multiply();
    load_b(0), multiply();
    load_b(2), multiply();
  }
}

// c (R tiles, C tiles) = start + a b; start has rows start_ld apart (0: one row), or is null.
template <int R, int C, class F>
[[gnu::always_inline]] inline void tiles_block(int64_t chunks, const uint16_t* a, int64_t next_a, const uint16_t* b, int64_t next_b,
                                               const float* start, int64_t start_ld, float* c, int64_t ldc, F& beside) {
  const int64_t from = start_ld * 4, to = ldc * 4;
  if (start) {
    tile_load<0>(start, from);
    if constexpr (C == 2) tile_load<1>(start + 16, from);
    if constexpr (R == 2) tile_load<2>(start + 16 * start_ld, from);
    if constexpr (R == 2 && C == 2) tile_load<3>(start + 16 * start_ld + 16, from);
  } else {
    tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
  }
  tiles_multiply<R, C>(chunks, a, next_a, b, next_b, beside);
  tile_store<0>(c, to);
  if constexpr (C == 2) tile_store<1>(c + 16, to);
  if constexpr (R == 2) tile_store<2>(c + 16 * ldc, to);
  if constexpr (R == 2 && C == 2) tile_store<3>(c + 16 * ldc + 16, to);
}

// c (rows, cols in tiles) = start + a b, by 2 x 2 tiles. Asks for work beside each chunk of them:
// tiles_slots() times.
template <class F>
inline void tiles_product(int64_t rows, int64_t cols, int64_t chunks, const uint16_t* a, int64_t next_a, const uint16_t* b, int64_t next_b,
                          const float* start, int64_t start_ld, float* c, int64_t ldc, F&& beside) {
  for (int64_t j = 0; j < cols; j += 2)
    for (int64_t i = 0; i < rows; i += 2) {
      const uint16_t *ai = a + i * next_a, *bj = b + j * next_b;
      const float* from = start ? start + 16 * (i * start_ld + j) : nullptr;
      float* to = c + 16 * (i * ldc + j);
      if (i + 1 < rows && j + 1 < cols) tiles_block<2, 2>(chunks, ai, next_a, bj, next_b, from, start_ld, to, ldc, beside);
      else if (i + 1 < rows) tiles_block<2, 1>(chunks, ai, next_a, bj, next_b, from, start_ld, to, ldc, beside);
      else if (j + 1 < cols) tiles_block<1, 2>(chunks, ai, next_a, bj, next_b, from, start_ld, to, ldc, beside);
      else tiles_block<1, 1>(chunks, ai, next_a, bj, next_b, from, start_ld, to, ldc, beside);
    }
}
inline int64_t tiles_slots(int64_t rows, int64_t cols, int64_t chunks) { return (rows + 1) / 2 * ((cols + 1) / 2) * chunks * 6; }

}  // namespace
}  // namespace fastnn
#endif
