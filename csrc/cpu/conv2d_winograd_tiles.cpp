// F(2 x 2, 3 x 3) on the tile unit (cpu/tiles.h).
//
// The four rows of a transformed tile of images are made, multiplied and added to the outputs one after the other: a
// quarter of what is transformed is needed at a time, and stays in the second-level cache though it takes 6 bytes for
// each float. The next row is made, and the last one added up, beside the products of this one.
#include "cpu/conv2d_tile.h"
#include "cpu/conv2d_winograd.h"
#include "cpu/tiles.h"

namespace fastnn::FASTNN_TARGET {
#if FASTNN_TILES
namespace {

// Tiles of images (rows of a product) and filters of one product: two and four registers of the tile unit.
constexpr int64_t kGroup = 2 * kTileRows, kWide = 64, kWideTiles = kWide / 16;

struct Plan {
  int64_t tiles, chunks, filter_tiles, filter_blocks;
  int64_t count, blocks;  // tiles that are worked on together
  int64_t per_task, parts;  // blocks of a task; parts of the filters
  // Of the kernel, [row][block of filters][place][tile of filters][chunk].
  int64_t kernel_tile(int64_t row, int64_t f, int64_t place, int64_t chunk) const {
    return ((((row * filter_blocks + f / kWideTiles) * 4 + place) * kWideTiles + f % kWideTiles) * chunks + chunk) * kSplit;
  }
};

Plan make_plan(const Problem& p) {
  Plan plan;
  plan.tiles = Tiling<Taps3x3>(p).tiles, plan.chunks = tiles_of(p.channels, kTileDepth);
  plan.filter_tiles = tiles_of(p.filters, 16), plan.filter_blocks = tiles_of(plan.filter_tiles, kWideTiles);
  // Two rows of tiles take 800 KB at most.
  const int64_t most = min(128, max(kGroup, (int64_t(800) << 10) / (p.channels * 48) / kGroup * kGroup));
  plan.count = round_up(ceil_div(plan.tiles, ceil_div(plan.tiles, most)), kGroup);
  plan.blocks = ceil_div(plan.tiles, plan.count);
  plan.per_task = max(1, plan.blocks / 16);
  const int64_t tasks = ceil_div(plan.blocks, plan.per_task);
  plan.parts = min(plan.filter_blocks, ceil_div(8, tasks));
  return plan;
}

// Chunk c of 32 channels by tile f of 16 filters.
void transform_kernel(const Problem& p, const Weights& from, const Plan& plan, int64_t c, int64_t f, Split& seen, uint16_t* u) {
  constexpr int64_t kTaps = 9;
  alignas(64) float taps[kTaps][kTileDepth][16];
  const int64_t c0 = c * kTileDepth, rows = min(kTileDepth, p.channels - c0), j0 = f * 16, cols = min(16, p.filters - j0);
  if (rows < kTileDepth || cols < 16) zero(taps[0][0], kTaps * kTileDepth * 16);
  for (int64_t tap = 0; tap < kTaps; ++tap)
    if (from.turned) {
      transpose_tile<float>((const char*)(from.w + ((kTaps - 1 - tap) * from.ic + j0) * from.ld + c0), from.ld * 4,
                            (char*)taps[tap], 64, cols, rows);
    } else {
      const float* w = from.w + (tap * from.ic + c0) * from.ld + j0;
      for (int64_t r = 0; r < rows; ++r) Vec::load(w + r * from.ld, cols).store(taps[tap][r]);
    }
  for (int64_t r = 0; r < 16; ++r) {
    Vec g[kTaps], low[16], high[16];
    FASTNN_UNROLL for (int tap = 0; tap < kTaps; ++tap) g[tap] = Vec::load(taps[tap][r]);
    Taps3x3::kernel(g, low);
    FASTNN_UNROLL for (int tap = 0; tap < kTaps; ++tap) g[tap] = Vec::load(taps[tap][r + 16]);
    Taps3x3::kernel(g, high);
    for (int i = 0; i < 16; ++i) seen.row(low[i], high[i], u + plan.kernel_tile(i / 4, f, i % 4, c) + r * kTileDepth);
  }
}

// Where a tile of images comes from and goes to.
struct Spot {
  const float* pixel[16];
  float* out;
  int64_t rows, columns;  // of the outputs that exist
};
void find_spots(const Problem& p, int64_t first, int64_t count, const float* zeros, Spot* spots) {
  const Tiling<Taps3x3> tiling(p);
  for (int64_t t = 0; t < count; ++t) {
    const auto at = tiling.place(first + t);
    const int64_t i0 = at.i - p.ph, j0 = at.j - p.pw;
    Spot& s = spots[t];
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t j = 0; j < 4; ++j) {
        const bool inside = i0 + i >= 0 && i0 + i < p.h && j0 + j >= 0 && j0 + j < p.w;
        s.pixel[4 * i + j] = inside ? p.x + ((at.image * p.h + i0 + i) * p.w + j0 + j) * p.pixel : zeros;
      }
    s.out = p.out + ((at.image * p.oh + at.i) * p.ow + at.j) * p.out_pixel;
    s.rows = min(2, p.oh - at.i), s.columns = min(2, p.ow - at.j);
  }
}

// Row `row` of a transformed tile, 32 channels from c of which n0 and n1 exist: input23 of what two rows of pixels give.
template <class N>
[[gnu::noinline]] void transform_row(const Spot& spot, int64_t row, int64_t c, N n0, N n1, Split& all, uint16_t* to, int64_t step) {
  static const int64_t first[4] = {0, 4, 8, 4}, second[4] = {8, 8, 4, 12};
  static const float sign[4] = {-1, 1, -1, -1};
  const float* const *a = spot.pixel + first[row], *const *b = spot.pixel + second[row];
  const Vec factor = Vec::set(sign[row]);
  Split seen = all;  // in registers
  Vec d[4], low[4], high[4];
  FASTNN_UNROLL for (int j = 0; j < 4; ++j) d[j] = fma(factor, Vec::load(b[j] + c, n0), Vec::load(a[j] + c, n0));
  input23(d, low);
  FASTNN_UNROLL for (int j = 0; j < 4; ++j)
    d[j] = n1 > 0 ? fma(factor, Vec::load(b[j] + c + 16, n1), Vec::load(a[j] + c + 16, n1)) : Vec::zero();
  input23(d, high);
  FASTNN_UNROLL for (int j = 0; j < 4; ++j) seen.row(low[j], high[j], to + j * step);
  all = seen;
}
struct Whole {
  constexpr operator int64_t() const { return 16; }
};

// Makes a row of the tiles of a block, a chunk of a tile with each call: v [group][place][tile][chunk].
class Inputs {
 public:
  Inputs(const Problem& p, int64_t chunks) : channels_(p.channels), chunks_(chunks), step_(kGroup / kTileRows * chunks * kSplit + 32) {}
  int64_t step() const { return step_; }
  int64_t group() const { return 4 * step_; }
  void start(const Spot* spots, int64_t row, uint16_t* v) { spot_ = spots, row_ = row, v_ = to_ = v, tile_ = c_ = 0; }
  Split seen;

  void operator()() {
    const int64_t left = channels_ - c_;
    if (left >= kTileDepth) transform_row(*spot_, row_, c_, Whole(), Whole(), seen, to_, step_);
    else transform_row(*spot_, row_, c_, min(16, left), left - 16, seen, to_, step_);
    c_ += kTileDepth, to_ += kSplit;
    if (c_ < channels_) return;
    c_ = 0, ++tile_, ++spot_;
    to_ = v_ + tile_ / kGroup * group() + tile_ % kGroup / kTileRows * chunks_ * kSplit + tile_ % kTileRows * kTileDepth;
  }

 private:
  const int64_t channels_, chunks_, step_;
  const Spot* spot_ = nullptr;
  int64_t row_ = 0, c_ = 0;
  uint64_t tile_ = 0;
  uint16_t *v_ = nullptr, *to_ = nullptr;
};

// Products of a row of a group of tiles: m (4 places, kGroup, kWide), kProducts floats apart.
constexpr int64_t kProducts = kGroup * kWide + 16;
struct Products {
  const float* m = nullptr;
  const Spot* spots = nullptr;
  int64_t row = 0, count = 0, j0 = 0, cols = 0;
};

// The part of a row of products in the outputs of tile t; output(m) by rows.
template <int ROW>
void put_row(const Problem& p, const Products& from, int64_t t) {
  const Spot& s = from.spots[t];
  const bool is_relu = p.activation == kActivationRelu;
  const auto finish = [&](Vec v, int64_t c, int64_t n) {
    if (p.bias) v = v + Vec::load(p.bias + from.j0 + c, n);
    return is_relu ? relu(v) : v;
  };
  float *const upper = s.out + from.j0, *const lower = upper + p.ow * p.out_pixel;
  for_each_vec(from.cols, [&](int64_t c, int64_t n) {
    Vec m[4], y[2];
    FASTNN_UNROLL for (int i = 0; i < 4; ++i) m[i] = Vec::load(from.m + i * kProducts + t * kWide + c);
    output23(m, y);
    FASTNN_UNROLL for (int j = 0; j < 2; ++j) {
      if (j >= s.columns) break;
      if (ROW < 3) {
        float* to = upper + j * p.out_pixel + c;
        const Vec v = ROW == 0 ? y[j] : Vec::load(to, n) + y[j];
        (ROW == 2 ? finish(v, c, n) : v).store(to, n);
      }
      if (ROW > 0 && s.rows == 2) {
        float* to = lower + j * p.out_pixel + c;
        const Vec v = ROW == 1 ? y[j] : Vec::load(to, n) - y[j];
        (ROW == 3 ? finish(v, c, n) : v).store(to, n);
      }
    }
  });
  if (p.activation > kActivationRelu && (ROW == 2 || (ROW == 3 && s.rows == 2)))
    apply_epilogue(ROW == 2 ? upper : lower, p.out_pixel, s.columns, from.cols, nullptr, p.activation);
}
void put(const Problem& p, const Products& from, int64_t t) {
  switch (from.row) {
    case 0: return put_row<0>(p, from, t);
    case 1: return put_row<1>(p, from, t);
    case 2: return put_row<2>(p, from, t);
    default: return put_row<3>(p, from, t);
  }
}

// Blocks [begin, end) of tiles and blocks [f0, f1) of filters.
Split walk(const Problem& p, const Plan& plan, const uint16_t* u, int64_t begin, int64_t end, int64_t f0, int64_t f1) {
  constexpr int64_t kNear = 4;  // chunks of two tiles, which stay in the first-level cache for all filters
  Inputs inputs(p, plan.chunks);
  const int64_t half = plan.count / kGroup * inputs.group();
  Scratch<uint16_t> v(2 * half);
  Scratch<float> m(2 * 4 * kProducts), zeros(p.channels);
  Scratch<Spot> spots(2 * plan.count);
  zero(zeros, p.channels);
  const TilesReady ready;

  const auto count_of = [&](int64_t block) { return min(plan.count, plan.tiles - block * plan.count); };
  const auto spots_of = [&](int64_t block) { return spots + block % 2 * plan.count; };
  const auto start = [&](int64_t block, int64_t row) -> int64_t {
    if (row == 0) find_spots(p, block * plan.count, count_of(block), zeros, spots_of(block));
    inputs.start(spots_of(block), row, v + row % 2 * half);
    return count_of(block) * plan.chunks;
  };
  for (int64_t i = start(begin, 0); i > 0; --i) inputs();
  Products last;
  int64_t turn = 0;
  for (int64_t block = begin; block < end; ++block)
    for (int64_t row = 0; row < 4; ++row) {
      const int64_t count = count_of(block), groups = ceil_div(count, kGroup);
      int64_t left = row < 3 ? start(block, row + 1) : block + 1 < end ? start(block + 1, 0) : 0, turns = groups * (f1 - f0);
      for (int64_t f = f0; f < f1; ++f)
        for (int64_t g = 0; g < groups; ++g, ++turn, --turns) {
          const int64_t cols = min(kWide, p.filters - f * kWide), share = ceil_div(left, turns);
          const int64_t rows = min(kGroup, count - g * kGroup), row_tiles = tiles_of(rows, 16), col_tiles = tiles_of(cols, 16);
          left -= share;
          Beside beside(last.count + share, 4 * tiles_slots(row_tiles, col_tiles, plan.chunks), [&](int64_t i) {
            if (i < last.count) put(p, last, i);
            else inputs();
          });
          float* to = m + turn % 2 * 4 * kProducts;
          const uint16_t *a = v + row % 2 * half + g * inputs.group(), *b = u + plan.kernel_tile(row, f * kWideTiles, 0, 0);
          const int64_t next = plan.chunks * kSplit;
          for (int64_t place = 0; place < 4; ++place, a += inputs.step(), b += kWideTiles * next)
            for (int64_t c = 0; c < plan.chunks; c += kNear)
              for (int64_t i = 0; i < row_tiles; i += 2) {
                float* sums = to + place * kProducts + i * 16 * kWide;
                tiles_product(min(2, row_tiles - i), col_tiles, min(kNear, plan.chunks - c), a + (i * plan.chunks + c) * kSplit, next,
                              b + c * kSplit, next, c ? sums : nullptr, kWide, sums, kWide, beside);
              }
          beside.finish();
          last = {to, spots_of(block) + g * kGroup, row, rows, f * kWide, cols};
        }
    }
  for (int64_t t = 0; t < last.count; ++t) put(p, last, t);
  return inputs.seen;
}

// Cycles of a core, about, here and by vectors (conv2d_winograd.cpp): products, transforms of images and outputs, and of the
// kernel, which beyond a second-level cache goes through the third, and is read for each block.
bool pays(const Problem& p, const Plan& plan) {
  if (p.channels < 32 || p.filters < 32 || plan.tiles < 64) return false;
  const double c = double(p.channels), f = double(p.filters);
  const double products = 0.285 * double(plan.chunks * kTileDepth) * double(round_up(p.filters, 32));
  const double kernel = c * f * (8 + (c * f > 16384 ? 10 + 5 * double(plan.blocks) : 0));
  const double tiles = double(round_up(plan.tiles, kGroup)) * (products + 11 * c + 3 * f) + kernel;
  return tiles < 0.92 * (double(plan.tiles) * (0.47 * c * f + 3 * (c + f)) + 3 * c * f);
}

}  // namespace

bool winograd_tiles(const Problem& p, const Weights& w) {
  if (!has_tiles()) return false;
  const Plan plan = make_plan(p);
  if (!pays(p, plan)) return false;
  const int64_t pieces = plan.chunks * plan.filter_tiles, blocks = ceil_div(plan.blocks, plan.per_task), tasks = blocks * plan.parts;
  Scratch<uint16_t> u(16 * plan.filter_blocks * kWideTiles * plan.chunks * kSplit);
  LargestSplit kernel(pieces), images(tasks);
  parallel_for(pieces, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Split seen;
      transform_kernel(p, w, plan, i % plan.chunks, i / plan.chunks, seen, u);
      kernel.put(i, seen);
    }
  });
  if (!split_in_range(kernel.all(), 1)) return false;
  parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t / plan.parts * plan.per_task, part = t % plan.parts;
      images.put(t, walk(p, plan, u, first, min(plan.blocks, first + plan.per_task), part * plan.filter_blocks / plan.parts,
                         (part + 1) * plan.filter_blocks / plan.parts));
    }
  });
  return split_in_range(kernel.all(), images.all());
}
#else
bool winograd_tiles(const Problem&, const Weights&) { return false; }
#endif

}  // namespace fastnn::FASTNN_TARGET
