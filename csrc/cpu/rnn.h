// What lstm, gru and simple_rnn share: packed weights and the register tile of one timestep.
//
// Units are cut into blocks of one vector. The panel of a block holds, for every row p of the
// weights, one vector per gate, so that a tile of z has all gates of its units and the gate
// functions run on it at once. A thread owns rows of the batch and walks through all timesteps.
#pragma once
#include "cpu/math.h"
#include "cpu/parallel.h"
#include "kernel_args.h"

namespace fastnn {
namespace {

// MR * 4 accumulators, 4 panel vectors and a broadcast: 29 of 32 registers with AVX-512. With 16
// registers 3 * 4 accumulators leave the panel vectors to memory operands.
constexpr int kRnnRows = Vec::width == 16 ? 6 : 3;
// Weights of at most this size are walked through at every step of a few rows (they stay in L2).
constexpr int64_t kRnnSmallWeights = int64_t(1) << 18;  // floats


// Rows of a batch lie far apart, so that no hardware prefetch follows a step of many of them: asks
// for the n floats at p, which this row needs in its next step.
inline void rnn_prefetch(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(p + i);
}
inline void rnn_prefetch_to_write(float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(p + i, 1);
}

// w (k, ldw) -> out (k, vectors, width). Vector v holds the columns of gate v of the block of units
// that starts at `unit`; with a single gate it holds the v-th vector of units from there. Zeros
// behind the last unit.
inline void rnn_pack(const float* w, int64_t k, int64_t ldw, int64_t units, int64_t vectors, bool one_gate,
                     int64_t unit, float* out) {
  for (int64_t p = 0; p < k; ++p)
    for (int64_t v = 0; v < vectors; ++v, out += Vec::width) {
      const int64_t first = one_gate ? unit + v * Vec::width : unit, n = units - first;
      const float* from = w + p * ldw + (one_gate ? 0 : v * units) + first;
      (n >= Vec::width ? Vec::load(from) : n > 0 ? Vec::load(from, n) : Vec::zero()).store(out);
    }
}

// acc (MR, NV) += a (MR, k) @ panel (k, NB). The last of the NB vectors is added to column
// NB - 1 + SHIFT, the others to their own: GRU keeps the two parts of its last gate apart.
template <int MR, int NV, int NB, int SHIFT>
[[gnu::always_inline]] inline void rnn_accumulate(Vec (&acc)[MR][NV], const float* a, int64_t lda, int64_t k,
                                                  const float* panel) {
  const float* row[MR];
  FASTNN_UNROLL for (int i = 0; i < MR; ++i) row[i] = a + i * lda;
  for (int64_t p = 0; p < k; ++p, panel += NB * Vec::width) {
    Vec b[NB];
    FASTNN_UNROLL for (int j = 0; j < NB; ++j) b[j] = Vec::load(panel + j * Vec::width);
    FASTNN_UNROLL for (int i = 0; i < MR; ++i) {
      const Vec ai = Vec::set(row[i][p]);
      FASTNN_UNROLL for (int j = 0; j < NB; ++j) {
        Vec& c = acc[i][j == NB - 1 ? j + SHIFT : j];
        c = fma(ai, b[j], c);
      }
    }
  }
}

// The operands of a tile: z = start + a0 @ panel0 + a1 @ panel1.
struct RnnTile {
  const float* start;  // (rows, NV * width), rows start_stride apart: 0 for a bias
  int64_t start_stride;
  const float* a0;  // (rows, k0), the input of the step; k0 = 0 when `start` has it already
  int64_t lda0, k0;
  const float* panel0;  // (k0, NB0 * width)
  const float* a1;      // (rows, k1), the state
  int64_t lda1, k1;
  const float* panel1;  // (k1, NB1 * width)
};

template <int MR, int NV, int NB0, int NB1, int SHIFT>
inline void rnn_tile_rows(const RnnTile& t, float* z, int64_t ldz) {
  Vec acc[MR][NV];
  FASTNN_UNROLL for (int i = 0; i < MR; ++i)
    FASTNN_UNROLL for (int j = 0; j < NV; ++j)
      acc[i][j] = Vec::load(t.start + i * t.start_stride + j * Vec::width);
  rnn_accumulate<MR, NV, NB0, 0>(acc, t.a0, t.lda0, t.k0, t.panel0);
  rnn_accumulate<MR, NV, NB1, SHIFT>(acc, t.a1, t.lda1, t.k1, t.panel1);
  FASTNN_UNROLL for (int i = 0; i < MR; ++i)
    FASTNN_UNROLL for (int j = 0; j < NV; ++j) acc[i][j].store(z + i * ldz + j * Vec::width);
}

// One tile of `rows` <= kRnnRows rows. Every element is one chain of fma over a0 then a1, so its
// bits do not depend on the rows that share its tile.
template <int NV, int NB0 = NV, int NB1 = NV, int SHIFT = 0>
inline void rnn_tile(int64_t rows, const RnnTile& t, float* z, int64_t ldz) {
  switch (rows) {
    case 1: return rnn_tile_rows<1, NV, NB0, NB1, SHIFT>(t, z, ldz);
    case 2: return rnn_tile_rows<2, NV, NB0, NB1, SHIFT>(t, z, ldz);
    case 3: return rnn_tile_rows<3, NV, NB0, NB1, SHIFT>(t, z, ldz);
    default:
      if constexpr (kRnnRows == 6) {
        if (rows == 4) return rnn_tile_rows<4, NV, NB0, NB1, SHIFT>(t, z, ldz);
        if (rows == 5) return rnn_tile_rows<5, NV, NB0, NB1, SHIFT>(t, z, ldz);
        return rnn_tile_rows<6, NV, NB0, NB1, SHIFT>(t, z, ldz);
      }
  }
}

// Calls f(row, n) for the tiles of `rows` rows: as few as possible, of nearly equal height.
template <class F>
inline void for_each_tile(int64_t rows, F f) {
  for (int64_t tiles = (rows + kRnnRows - 1) / kRnnRows, row = 0; tiles > 0; --tiles) {
    const int64_t n = (rows - row + tiles - 1) / tiles;
    f(row, n);
    row += n;
  }
}

// A panel longer than this is used in pieces, each for all rows, which stay in the first-level cache.
constexpr int64_t kRnnPiece = 128;

// z (rows, ldz) = the tiles of `rows` rows of one block of units; tile_of(row) is the tile that
// starts there.
template <int NV, int NB0 = NV, int NB1 = NV, int SHIFT = 0, class F>
inline void rnn_tiles(int64_t rows, F tile_of, float* z, int64_t ldz) {
  int64_t p = 0, k1;
  do {
    for_each_tile(rows, [&](int64_t r, int64_t n) {
      RnnTile t = tile_of(r);
      float* out = z + r * ldz;
      k1 = t.k1;
      if (p > 0) t.start = out, t.start_stride = ldz, t.k0 = 0;
      t.a1 += p, t.panel1 += p * NB1 * Vec::width, t.k1 -= p;
      if (t.k1 > kRnnPiece) t.k1 = kRnnPiece;
      rnn_tile<NV, NB0, NB1, SHIFT>(n, t, out, ldz);
    });
    p += kRnnPiece;
  } while (p < k1);
}

// Rows of the batch per chunk. Small weights stay in the cache of whoever uses them: eight or more
// chunks balance the threads. Large ones are read from L3 at every step, for as many rows as the
// problem gives to two threads.
inline int64_t rnn_chunk_rows(int64_t batch, int64_t weights, int64_t steps) {
  const bool small = weights <= kRnnSmallWeights;
  int64_t rows = small ? (batch + 7) / 8 : (batch + 1) / 2;
  const int64_t most = small ? 16 : 32, work = 100000 / (weights * steps + 1) + 1;
  if (rows > most) rows = most;
  return rows < work ? work : rows;  // at least ~0.2 MFLOP
}

// The weights of a layer as panels, one after the other for every block of units.
// nv: vectors of a tile of z; nb0, nb1: vectors per row of the input's and of the state's panel.
struct RnnWeights {
  const int64_t k0, k1, nv, nb0, nb1, block_units, blocks, floats;
  Scratch<float> packed;

  RnnWeights(const RnnForward& a, int64_t gates, int64_t nv, int64_t nb0, int64_t nb1)
      : k0(a.features), k1(a.units), nv(nv), nb0(nb0), nb1(nb1), block_units((gates == 1 ? nv : 1) * Vec::width),
        blocks((a.units + block_units - 1) / block_units), floats(blocks * stride()), packed(floats) {
    const int64_t ld = gates * a.units;
    parallel_for(blocks, 1 + 65536 / stride(), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t unit = block * block_units;
        rnn_pack(a.kernel, k0, ld, a.units, nb0, gates == 1, unit, panel0(block));
        rnn_pack(a.recurrent, k1, ld, a.units, nb1, gates == 1, unit, panel1(block));
        for (int64_t i = 0; i < nv * Vec::width; ++i) start(block)[i] = 0;
        if (a.bias) rnn_pack(a.bias, 1, ld, a.units, nb0, gates == 1, unit, start(block));
      }
    });
  }
  int64_t stride() const { return (nv + k0 * nb0 + k1 * nb1) * Vec::width; }
  int64_t ld() const { return blocks * block_units; }  // of a row of the state
  float* start(int64_t block) const { return packed + block * stride(); }
  float* panel0(int64_t block) const { return start(block) + nv * Vec::width; }
  float* panel1(int64_t block) const { return panel0(block) + k0 * nb0 * Vec::width; }
};

// The part of z that comes from x, for rows [row0, row0 + rows) of the batch. Small weights: each
// step computes its own. Large ones: computed for a few steps at once, as one GEMM.
template <int NV, int NB0>
class RnnInput {
 public:
  RnnInput(const RnnForward& a, const RnnWeights& w, int64_t row0, int64_t rows)
      : a_(a), w_(w), row0_(row0), rows_(rows),
        steps_(w.floats > kRnnSmallWeights && w.k0 > 0 && a.steps > 1 ? 2 * kRnnRows : 0),
        ld_(w.blocks * NV * Vec::width), z_(rows * steps_ * ld_) {}

  // Before the step of order s, at time t.
  void step(int64_t s, int64_t t) {
    if (steps_ == 0 || s % steps_ != 0) return;
    const int64_t left = a_.steps - s, n = left < steps_ ? left : steps_;
    first_ = a_.go_backwards ? t - n + 1 : t;
    for (int64_t block = 0; block < w_.blocks; ++block)
      for (int64_t p = 0; p < w_.k0; p += kRnnPiece)
        for (int64_t r = 0; r < rows_; ++r)
          for_each_tile(n, [&](int64_t k, int64_t tile) {
            const float* x = a_.x + ((row0_ + r) * a_.steps + first_ + k) * a_.features + p;
            float* z = at(r, first_ + k, block);
            const int64_t kc = w_.k0 - p < kRnnPiece ? w_.k0 - p : kRnnPiece;
            const float* panel = w_.panel0(block) + p * NB0 * Vec::width;
            rnn_tile<NV, NB0, NB0>(tile, {p ? z : w_.start(block), p ? ld_ : 0, x, a_.features, kc, panel, x, 0, 0, x}, z, ld_);
          });
  }
  // The tile of rows row0 + r... at time t, whose state is h (rows, ldh).
  RnnTile tile(int64_t r, int64_t t, int64_t block, const float* h, int64_t ldh) const {
    const float* x = a_.x + ((row0_ + r) * a_.steps + t) * a_.features;
    if (steps_) return {at(r, t, block), steps_ * ld_, x, 0, 0, x, h, ldh, w_.k1, w_.panel1(block)};
    return {w_.start(block), 0, x, a_.steps * a_.features, w_.k0, w_.panel0(block), h, ldh, w_.k1, w_.panel1(block)};
  }

 private:
  float* at(int64_t r, int64_t t, int64_t block) const {
    return z_ + (r * steps_ + t - first_) * ld_ + block * NV * Vec::width;
  }
  const RnnForward& a_;
  const RnnWeights& w_;
  const int64_t row0_, rows_, steps_, ld_;
  Scratch<float> z_;
  int64_t first_ = 0;
};

// Rows of a state: `ld` apart and padded with zeros in the kernel, (batch, units) or null (zeros)
// outside.
inline void rnn_load_state(const float* from, int64_t row0, int64_t rows, int64_t units, float* state, int64_t ld) {
  for (int64_t i = 0; i < rows * ld; ++i) state[i] = 0;
  if (!from) return;
  for (int64_t r = 0; r < rows; ++r)
    for_each_vec(units, [&](int64_t i, int64_t n) {
      Vec::load(from + (row0 + r) * units + i, n).store(state + r * ld + i, n);
    });
}
inline void rnn_store_state(const float* state, int64_t ld, int64_t row0, int64_t rows, int64_t units, float* to) {
  for (int64_t r = 0; r < rows; ++r)
    for_each_vec(units, [&](int64_t i, int64_t n) {
      Vec::load(state + r * ld + i, n).store(to + (row0 + r) * units + i, n);
    });
}
// The state before the first step, in its place in the workspace.
inline void rnn_save_initial(const RnnForward& a, const float* state, int64_t ld, int64_t row0, int64_t rows, float* saved) {
  if (!saved) return;
  for (int64_t r = 0; r < rows; ++r)
    rnn_store_state(state + r * ld, ld, (row0 + r) * (a.steps + 1) + (a.go_backwards ? a.steps : 0), 1, a.units, saved);
}

// Where the state after time t of a row is in hs and cs (batch, steps + 1, units): the row after t,
// or before it when time runs backwards. The state before t is at the other one.
inline int64_t rnn_after(int64_t row, int64_t steps, int64_t t, bool go_backwards) {
  return row * (steps + 1) + (go_backwards ? t : t + 1);
}
inline int64_t rnn_before(int64_t row, int64_t steps, int64_t t, bool go_backwards) {
  return row * (steps + 1) + (go_backwards ? t + 1 : t);
}

// The state `h` after a step of one block of units: workspace and output.
inline void rnn_emit(const RnnForward& a, Vec h, bool on, int64_t row, int64_t t, int64_t s, int64_t unit, int64_t n) {
  if (a.hs) h.store(a.hs + rnn_after(row, a.steps, t, a.go_backwards) * a.units + unit, n);
  if (a.y) (on || !a.zero_output ? h : Vec::zero()).store(a.y + (row * a.steps + s) * a.units + unit, n);
}

}  // namespace
}  // namespace fastnn
