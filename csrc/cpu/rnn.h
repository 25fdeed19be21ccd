// What lstm, gru and simple_rnn share: packed weights, the register tile of one timestep, and how a
// sequence is shared out.
//
// Units are cut into blocks of one vector. The panel of a block holds, for every row p of the
// weights, one vector per gate, so that a tile of z has all gates of its units and the gate
// functions run on it at once. Every element of z is one chain of fma over x, then h: its bits do
// not depend on how rows and blocks are shared out.
#pragma once
#include "cpu/math.h"
#include "cpu/parallel.h"
#include "kernel_args.h"

namespace fastnn {
namespace {

// MR * 4 accumulators, 4 panel vectors and a broadcast: 29 of 32 registers with AVX-512. With 16
// registers 3 * 4 accumulators leave the panel vectors to memory operands.
constexpr int kRnnRows = Vec::width == 16 ? 6 : 3;
// Rows whose tiles of one block are computed before their gate functions: both stay in L1.
constexpr int64_t kRnnGroup = 24;

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
constexpr int64_t kRnnPiece = 96;

// z (rows, ldz) = the tiles of `rows` rows of one block of units; tile_of(row) is the tile that
// starts there.
template <int NV, int NB0 = NV, int NB1 = NV, int SHIFT = 0, class F>
inline void rnn_tiles(int64_t rows, F tile_of, float* z, int64_t ldz) {
  int64_t p = 0, k1 = 0;
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

// How the steps of a layer are shared out: by rows of the batch, each chunk walking through all
// steps, or by units, all threads meeting after every step.
struct RnnPlan {
  bool by_units;
  int64_t chunk;  // rows, or units
};
// weights: floats read at every step; width: units are cut at its multiples.
//
// Walking alone needs no meeting, but streams all weights for few rows. A core's L2 of 1 MB or more
// gives a line in two cycles, in which a core multiplies it with 4 rows; L3 takes ten. A meeting of
// two threads costs 0.6 us, in which 80 KB come from L2.
inline RnnPlan rnn_plan(int64_t batch, int64_t steps, int64_t units, int64_t width, int64_t weights) {
  constexpr int64_t kSmall = int64_t(1) << 16, kL2 = int64_t(5) << 16;  // 256 KB, 1.25 MB
  const int64_t blocks = (units + width - 1) / width;
  if (weights > kL2 || (batch < 16 && weights >= kSmall)) {
    // Few rows are bound by the weights: two chunks tend to stay with their threads, and in their L2.
    int64_t chunks = 8;
    if (batch < 8) chunks = weights < int64_t(1) << 20 ? 2 : weights >> 19;
    return {true, (blocks + chunks - 1) / chunks * width};
  }
  // Two tiles high where the batch is large enough, in an even number of chunks.
  int64_t chunks = (batch + 2 * kRnnRows - 1) / (2 * kRnnRows);
  chunks += chunks % 2;
  if (batch <= 32) chunks = batch <= 16 ? 2 : 4;
  const int64_t rows = (batch + chunks - 1) / chunks, work = 100000 / (weights * steps + 1) + 1;
  return {false, rows < work ? work : rows};  // at least ~0.2 MFLOP
}

// Calls step(row, rows, unit, units, s, phase) for all rows, units and phases of every step.
template <class F>
inline void rnn_run(const RnnPlan& plan, int64_t batch, int64_t steps, int64_t units, int phases, F step) {
  if (plan.by_units) {
    for (int64_t s = 0; s < steps; ++s)
      for (int phase = 0; phase < phases; ++phase)
        parallel_for(units, plan.chunk, [&](int64_t begin, int64_t end) { step(int64_t(0), batch, begin, end - begin, s, phase); });
    return;
  }
  parallel_for(batch, plan.chunk, [&](int64_t begin, int64_t end) {
    for (int64_t s = 0; s < steps; ++s)
      for (int phase = 0; phase < phases; ++phase) step(begin, end - begin, int64_t(0), units, s, phase);
  });
}

// Calls f(row, n, block) for the blocks of a step and groups of at most kRnnGroup rows. Back and
// forth, as the weights that were used last are in the cache.
template <class F>
inline void rnn_for_each_group(int64_t row0, int64_t rows, int64_t block0, int64_t blocks, int64_t s, F f) {
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t block = block0 + (s % 2 ? blocks - 1 - i : i);
    for (int64_t row = 0; row < rows; row += kRnnGroup)
      f(row0 + row, rows - row < kRnnGroup ? rows - row : kRnnGroup, block);
  }
}

// The weights of a layer as panels, one after the other for every block of units.
// nv: vectors of a tile of z; nb0, nb1: vectors per row of the input's and of the state's panel.
struct RnnWeights {
  const int64_t k0, k1, nv, nb0, nb1, block_units, blocks;
  Scratch<float> packed;

  RnnWeights(const RnnForward& a, int64_t gates, int64_t nv, int64_t nb0, int64_t nb1)
      : k0(a.features), k1(a.units), nv(nv), nb0(nb0), nb1(nb1), block_units((gates == 1 ? nv : 1) * Vec::width),
        blocks((a.units + block_units - 1) / block_units), packed(blocks * stride()) {
    const int64_t ld = gates * a.units;
    const bool one_gate = gates == 1;
    parallel_for(blocks, 1 + 65536 / stride(), [&](int64_t begin, int64_t end) {
      // Row by row of all blocks: rows of large weights are pages apart.
      for (int64_t p = 0; p < k0; ++p)
        for (int64_t block = begin; block < end; ++block)
          rnn_pack(a.kernel + p * ld, 1, ld, a.units, nb0, one_gate, block * block_units, panel0(block) + p * nb0 * Vec::width);
      for (int64_t p = 0; p < k1; ++p)
        for (int64_t block = begin; block < end; ++block)
          rnn_pack(a.recurrent + p * ld, 1, ld, a.units, nb1, one_gate, block * block_units, panel1(block) + p * nb1 * Vec::width);
      for (int64_t block = begin; block < end; ++block) {
        for (int64_t i = 0; i < nv * Vec::width; ++i) start(block)[i] = 0;
        if (a.bias) rnn_pack(a.bias, 1, ld, a.units, nb0, one_gate, block * block_units, start(block));
      }
    });
  }
  int64_t stride() const { return (nv + k0 * nb0 + k1 * nb1) * Vec::width; }
  int64_t ld() const { return blocks * block_units; }  // of a row of the state
  RnnPlan plan(const RnnForward& a) const {
    return rnn_plan(a.batch, a.steps, ld(), block_units, blocks * k1 * nb1 * Vec::width);
  }
  float* start(int64_t block) const { return packed + block * stride(); }
  float* panel0(int64_t block) const { return start(block) + nv * Vec::width; }
  float* panel1(int64_t block) const { return panel0(block) + k0 * nb0 * Vec::width; }
};

// The part of z that comes from x. Where whole tiles of rows meet small weights, each step computes
// its own. Otherwise some steps at once, so that weights are read less often, and by whole tiles.
template <int NV, int NB0>
class RnnInput {
 public:
  RnnInput(const RnnForward& a, const RnnWeights& w, const RnnPlan& plan)
      : a_(a), w_(w), steps_(steps_ahead(a, w, plan)), row_(NV * Vec::width), z_(steps_ * w.blocks * a.batch * row_) {}

  // Before step s of the given rows and blocks.
  void step(int64_t row0, int64_t rows, int64_t block0, int64_t blocks, int64_t s) const {
    if (steps_ == 0 || s % steps_ != 0) return;
    const int64_t left = a_.steps - s, n = left < steps_ ? left : steps_;
    const int64_t next_row = a_.steps * a_.features, next_step = a_.go_backwards ? -a_.features : a_.features;
    for (int64_t block = block0; block < block0 + blocks; ++block)
      for (int64_t p = 0; p < w_.k0; p += kRnnPiece) {
        const int64_t kc = w_.k0 - p < kRnnPiece ? w_.k0 - p : kRnnPiece;
        const float* panel = w_.panel0(block) + p * NB0 * Vec::width;
        const auto tile = [&](int64_t r, int64_t k, int64_t count, int64_t ldx, int64_t ldz) {
          const float* x = a_.x + r * next_row + time(s + k) * a_.features + p;
          float* z = at(r, s + k, block);
          rnn_tile<NV, NB0, NB0>(count, {p ? z : w_.start(block), p ? ldz : 0, x, ldx, kc, panel, x, 0, 0, x}, z, ldz);
        };
        if (rows >= kRnnRows)
          for (int64_t k = 0; k < n; ++k)
            for_each_tile(rows, [&](int64_t r, int64_t count) { tile(row0 + r, k, count, next_row, row_); });
        else
          for (int64_t r = row0; r < row0 + rows; ++r)
            for_each_tile(n, [&](int64_t k, int64_t count) { tile(r, k, count, next_step, w_.blocks * a_.batch * row_); });
      }
  }
  // The tile of rows r... at step s, whose state is h (rows, ldh).
  RnnTile tile(int64_t r, int64_t s, int64_t block, const float* h, int64_t ldh) const {
    const float* x = a_.x + (r * a_.steps + time(s)) * a_.features;
    if (steps_) return {at(r, s, block), row_, x, 0, 0, x, h, ldh, w_.k1, w_.panel1(block)};
    return {w_.start(block), 0, x, a_.steps * a_.features, w_.k0, w_.panel0(block), h, ldh, w_.k1, w_.panel1(block)};
  }

 private:
  static int64_t steps_ahead(const RnnForward& a, const RnnWeights& w, const RnnPlan& plan) {
    const int64_t rows = plan.by_units ? a.batch : plan.chunk;
    if (w.k0 == 0 || a.steps == 1 || (!plan.by_units && rows >= kRnnRows && w.blocks * w.stride() <= int64_t(1) << 18)) return 0;
    const int64_t steps = 192 / (rows < a.batch ? rows : a.batch);  // ~32 tiles share a panel
    return steps < 1 ? 1 : steps > 60 ? 60 : steps;
  }
  int64_t time(int64_t s) const { return a_.go_backwards ? a_.steps - 1 - s : s; }
  float* at(int64_t r, int64_t s, int64_t block) const {
    return z_ + ((s % steps_ * w_.blocks + block) * a_.batch + r) * row_;
  }
  const RnnForward& a_;
  const RnnWeights& w_;
  const int64_t steps_, row_;
  Scratch<float> z_;  // (steps_, blocks, batch, NV * width)
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
// Where the state before step s of a row is in hs and cs: rows (batch, time), then those after the
// last step.
inline int64_t rnn_before(int64_t batch, int64_t steps, int64_t row, int64_t s, bool go_backwards) {
  return s == steps ? batch * steps + row : row * steps + (go_backwards ? steps - 1 - s : s);
}
// The state (rows, ld) of rows row0... before the first step, in its place in the workspace.
inline void rnn_save_initial(const RnnForward& a, const float* state, int64_t ld, int64_t row0, int64_t rows, float* saved) {
  if (!saved) return;
  for (int64_t r = 0; r < rows; ++r)
    rnn_store_state(state + r * ld, ld, rnn_before(a.batch, a.steps, row0 + r, 0, a.go_backwards), 1, a.units, saved);
}

// The state `h` of a row after step s at time t of one block of units: workspace and output.
inline void rnn_emit(const RnnForward& a, Vec h, bool on, int64_t row, int64_t s, int64_t unit, int64_t n) {
  if (a.hs) h.store(a.hs + rnn_before(a.batch, a.steps, row, s + 1, a.go_backwards) * a.units + unit, n);
  if (a.y) (on || !a.zero_output ? h : Vec::zero()).store(a.y + (row * a.steps + s) * a.units + unit, n);
}

}  // namespace
}  // namespace fastnn
