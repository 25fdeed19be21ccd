// What lstm, gru and simple_rnn compute on the tile unit (cpu/tiles.h): chunks of rows walk through
// time with states kept as split operands; gradients of weights are products over all steps.
#pragma once
#include "cpu/rnn_backward.h"
#include "cpu/tiles.h"

#if FASTNN_TILES
namespace fastnn {
namespace {

// Rows of a chunk: two tiles, which share every tile of the weights, where the batch has several.
inline int64_t rnn_tile_rows(int64_t batch) { return batch < 64 ? kTileRows : 2 * kTileRows; }

// Whole tiles of rows, and weights that stay in a core's second-level cache (2 MB on every CPU with tiles) beside the rest; where two
// tiles share them, they may come from the third level. Splitting and packing them once must pay.
inline bool rnn_uses_tiles(int64_t batch, int64_t steps, int64_t features, int64_t units, int64_t gates) {
  const int64_t bytes = gates * tiles_of(units, 16) * 16 * (tiles_of(features, 32) + tiles_of(units, 32)) * 32 * 6;
  return has_tiles() && batch >= kTileRows && batch * steps >= 256 && units >= 8 && bytes <= (batch < 64 ? int64_t(3) << 19 : int64_t(16) << 20);
}

// Rows of an array, `stride` apart; null: not kept.
struct RnnRows {
  float* base;
  int64_t stride;
  float* at(int64_t r) const { return base + r * stride; }
};

// What a step writes for the rows of a chunk, at one block of units.
struct RnnPlaces {
  RnnRows gates, hs, cs, y;
  RnnPlaces(const RnnForward& a, int64_t row0, int64_t s, int64_t block) {
    const int64_t u = a.units, steps = a.steps, t = a.go_backwards ? steps - 1 - s : s, unit = block * 16;
    const int64_t next = rnn_before(a.batch, steps, row0, s + 1, a.go_backwards), stride = s + 1 == steps ? u : steps * u;
    const auto rows = [](float* p, int64_t at, int64_t stride) { return RnnRows{p ? p + at : p, stride}; };
    gates = rows(a.gates, (row0 * steps + t) * 4 * u + unit, steps * 4 * u);
    hs = rows(a.hs, next * u + unit, stride), cs = rows(a.cs, next * u + unit, stride);
    y = rows(a.y, (row0 * steps + s) * u + unit, steps * u);
  }
};

// A chunk of rows on their way through time: their state h, and the left operands of even and odd steps, x and then h.
class RnnTileRows {
 public:
  const int64_t row0, rows, tiles, ld, kx, next;  // of h a row, of x chunks of the depth, of an operand a tile of rows
  Split of_x, of_h;

  RnnTileRows(const RnnForward& a, int64_t row0, int64_t rows)
      : row0(row0), rows(rows), tiles(ceil_div(rows, kTileRows)), ld(round_up(a.units, 16)), kx(ceil_div(a.features, kTileDepth)),
        next((kx + ceil_div(a.units, kTileDepth)) * kSplit), a_(a), operands_(2 * tiles * next), h_(rows * ld) {
    rnn_load_state(a.h0, row0, rows, a.units, h_, ld);
    rnn_save_initial(a, h_, ld, row0, rows, a.hs);
    __builtin_memset(operands_, 0, size_t(2 * tiles * next) * 2);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < ld; i += 16) put_h(0, r, i);
  }
  const uint16_t* operand(int64_t s) const { return operands_ + s % 2 * tiles * next; }
  float* h(int64_t r, int64_t unit) const { return h_ + r * ld + unit; }
  // 16 units of h of a row, as step s multiplies them.
  void put_h(int64_t s, int64_t r, int64_t unit) {
    split_half_row(of_h, Vec::load(h(r, unit)), tile(s, r, kx + unit / kTileDepth) + half_row(r % kTileRows, unit % kTileDepth));
  }
  void put_x(int64_t s) {
    const int64_t f = a_.features, t = a_.go_backwards ? a_.steps - 1 - s : s;
    for (int64_t r = 0; r < rows; r += kTileRows)
      for (int64_t k = 0; k < kx; ++k) {
        const float* from = a_.x + ((row0 + r) * a_.steps + t) * f + k * kTileDepth;
        const int64_t left = f - k * kTileDepth;
        split_left(of_x, from, clamp_count(left, 16), from + 16, clamp_count(left - 16, 16), a_.steps * f, rows - r, tile(s, r, k));
      }
  }
  void finish() const { rnn_store_state(h_, ld, row0, rows, a_.units, a_.h_last); }

 private:
  uint16_t* tile(int64_t s, int64_t r, int64_t k) const { return operands_ + (s % 2 * tiles + r / kTileRows) * next + k * kSplit; }
  const RnnForward& a_;
  Scratch<uint16_t> operands_;
  Scratch<float> h_;
};

// Sums of products over the steps of a chunk: c (rows, cols in tiles) += a^T gz. Two groups of steps_ steps take
// turns: while one is filled with split operands, a share of the other's product is added at every step.
class RnnSums {
 public:
  // A group reads and writes c once. Two groups of two stay in L2 beside c and the weights; where c does not, it should be read less often.
  RnnSums(int64_t rows, int64_t cols, float* c)
      : steps_(rows * cols > 1024 ? 4 : 2), rows_(rows), cols_(cols), c_(c), left_(2 * steps_ * rows * kSplit), right_(2 * steps_ * cols * kSplit) {
    rnn_zero(c, rows * cols * 256);
  }
  void clear() { __builtin_memset(right_, 0, size_t(2 * steps_ * cols_ * kSplit) * 2); }
  // Where step i puts the first tiles of its operands; the others are next() apart.
  uint16_t* left(int64_t i) const { return left_ + (i / steps_ % 2 * rows_ * steps_ + i % steps_) * kSplit; }
  uint16_t* right(int64_t i) const { return right_ + (i / steps_ % 2 * cols_ * steps_ + i % steps_) * kSplit; }
  int64_t next() const { return steps_ * kSplit; }
  // Before step i is put: a share of the group before its own.
  int64_t slots(int64_t i) const { return i < steps_ ? 0 : tiles_slots(rows_, end(i) - begin(i), steps_); }
  template <class F>
  void add_share(int64_t i, F&& beside) {
    if (i >= steps_) add(i / steps_ - 1, steps_, begin(i), end(i), beside);
  }
  // After the last of `steps` steps.
  void add_rest(int64_t steps) {
    const int64_t group = (steps - 1) / steps_, done = steps % steps_;
    if (group > 0 && done) add(group - 1, steps_, end(steps - 1), cols_, Nothing());
    add(group, steps - group * steps_, 0, cols_, Nothing());
  }

 private:
  int64_t begin(int64_t i) const { return i % steps_ * ceil_div(cols_, 2 * steps_) * 2; }  // whole pairs of columns
  int64_t end(int64_t i) const { return i % steps_ == steps_ - 1 ? cols_ : min(cols_, begin(i + 1)); }
  template <class F>
  void add(int64_t group, int64_t chunks, int64_t col, int64_t end, F&& beside) {
    if (col >= end) return;
    const uint16_t *const a = left_ + group % 2 * rows_ * next(), *const b = right_ + (group % 2 * cols_ + col) * next();
    float* const c = c_ + col * 16;
    tiles_product(rows_, end - col, chunks, a, next(), b, next(), c, cols_ * 16, c, cols_ * 16, beside);
  }
  const int64_t steps_, rows_, cols_;
  float* const c_;
  Scratch<uint16_t> left_, right_;
};

// to (m, gates * units) = the sum of `count` arrays `floats` apart, whose rows are (gates, ld).
inline void rnn_add_up(const float* from, int64_t count, int64_t floats, int64_t m, int64_t gates, int64_t units, int64_t ld, float* to) {
  parallel_for(m, 1 + 16384 / (gates * units * count), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t gate = 0; gate < gates; ++gate)
        for_each_vec(units, [&](int64_t k, int64_t n) {
          const float* p = from + (i * gates + gate) * ld + k;
          Vec sum = Vec::load(p, n);
          for (int64_t j = 1; j < count; ++j) sum = sum + Vec::load(p + j * floats, n);
          sum.store(to + (i * gates + gate) * units + k, n);
        });
  });
}

}  // namespace
}  // namespace fastnn
#endif
