// Convolution of few pixels on the tile unit (cpu/tiles.h), where the kernel is most of what must be split.
//
// Each thread splits all pixels for itself, and owns columns of the kernel, which are split beside the products of those before
// them and never leave the nearest caches. Pixels are split once for all taps of one axis: a patch's tap down an image is
// the same row of tiles, some rows further.
#pragma once
#include "cpu/conv2d_tiles.h"

#if FASTNN_TILES
namespace fastnn {
namespace {

// The kernel of patches: tap (u, v) is tap which_down[u] * kw + which_across[v] of w (taps, ic, oc), or (u, v) itself if these are
// null. Turned: patches have the channels oc, and the result ic.
struct TapWeights {
  const float* w;
  int64_t kw, size, ld;  // floats of a tap and of its rows
  bool turned;
  const int64_t *which_down = nullptr, *which_across = nullptr;
  const float* tap(int64_t u, int64_t v) const {
    return w + ((which_down ? which_down[u] : u) * kw + (which_across ? which_across[v] : v)) * size;
  }
};

// One axis of patches: output b reads pixels b * step + offset[tap], `next` floats apart, of `size`.
struct PatchAxis {
  Taps taps;
  int64_t count, step, size, next;
};

class SmallImages {
 public:
  SmallImages(const Patches& p, const TapWeights& w, int64_t n) : p_(p), w_(w), n_(n) {
    const PatchAxis down{p.down, p.rows, p.step_h, p.h, p.w * p.pixel}, across{p.across, p.cols, p.step_w, p.w, p.pixel};
    swapped_ = p.down.count < p.across.count;
    outer_ = swapped_ ? across : down, inner_ = swapped_ ? down : across;
    halves_of_tap_ = tiles_of(p.channels, 16), halves_ = inner_.taps.count * halves_of_tap_, per_tap_ = tiles_of(halves_, 2);
    chunks_ = outer_.taps.count * per_tap_, col_pieces_ = ceil_div(n, kWide);
    if (p.k() == 0 || p.count() == 0 || n == 0) return;
    choose_blocks();
    if (most_rows_ > 0) pieces_ = ceil_div(p.images, images_) * bands_ * col_pieces_;
  }

  // Whether this is faster than vectors, which need the part `saved` of the products, and than convolve_tiles, which loses time between
  // threads where there is little to do.
  bool pays(double saved) const {
    if (p_.channels < 16 || n_ < 32 || pieces_ == 0) return false;
    const double kernel = double(p_.k()) * double(n_), direct = double(p_.count()) * kernel;
    if (pieces_ > col_pieces_ && kernel > double(1 << 18)) return false;  // split for each block, it should stay near
    if (tiles_pay(p_, n_) && cycles_ > (p_.count() <= 320 ? 1.15 : 1) * tiles_cycles(p_, n_)) return false;
    return direct > 1e6 && cycles_ < 0.0295 * saved * direct + (saved < 1 ? kernel : 0.1 * kernel);
  }

  // out = activation(patches @ w + bias). False: an operand was out of range (split_in_range), and out is of no use.
  bool run(float* out, const Grid& grid, const float* bias, int64_t activation) const {
    LargestSplit of_pixels(pieces_), of_kernel(pieces_), of_rest(pieces_);
    FreePieces free(pieces_);
    parallel_for(pieces_, 1, [&](int64_t begin, int64_t) {
      Split seen, kernel;
      of_pixels.put(begin, seen), of_kernel.put(begin, kernel), of_rest.put(begin, kernel);
      int64_t piece = free.take(begin);
      if (piece < 0) return;
      const int64_t image_size = per_tap_ * 3 * positions_ * kTileDepth, groups = tiles_of(chunks_, kNear);
      Scratch<uint16_t> pixels(images_ * image_size), split(2 * kSplitGroup);
      Scratch<float> sums(images_ * most_.count * most_.height * kWide);
      Scratch<int64_t> offset(chunks_);
      Block at{};
      int64_t of_block = -1;
      const int64_t height = most_.height;
      const TilesReady ready(height);
      Stream stream(*this, split);
      stream.start(piece, 0);
      stream.finish(kernel);
      for (int64_t after; piece >= 0; piece = after) {
        after = free.take(piece + 1);
        if (piece / col_pieces_ != of_block) {
          of_block = piece / col_pieces_, at = find_block(of_block);
          split_pixels(at, pixels, offset, seen);
        }
        const int64_t j0 = piece % col_pieces_ * kWide, cols = min(kWide, n_ - j0), col_tiles = tiles_of(cols, 16);
        const int64_t row_tiles = tiles_of(at.rows * inner_.count, height), m = row_tiles * height;
        for (int64_t g = 0; g < groups; ++g) {
          const uint16_t* b = stream.made();
          const int64_t here = min(kNear, chunks_ - g * kNear);
          if (g + 1 < groups) stream.start(piece, g + 1);
          else if (after >= 0) stream.start(after, 0);
          stream.spread(at.images * ((row_tiles + 1) / 2) * here * 6);
          for (int64_t image = 0; image < at.images; ++image)
            for (int64_t i = 0; i < row_tiles; i += 2) {
              const uint16_t* a = pixels + image * image_size + i * height * kTileDepth;
              float* c = sums + (image * m + i * height) * kWide;
              if (i + 1 < row_tiles) block<2>(here, a, offset + g * kNear, b, col_tiles, c, g > 0, stream, kernel);
              else block<1>(here, a, offset + g * kNear, b, col_tiles, c, g > 0, stream, kernel);
            }
          stream.finish(kernel);
        }
        put(at, sums, m, j0, cols, out, grid, bias, activation);
      }
      of_pixels.put(begin, seen), of_kernel.put(begin, kernel), of_rest.put(begin, stream.rare);
    });
    return split_in_range(of_kernel.all(), of_pixels.all()) && split_in_range(of_rest.all(), of_pixels.all());
  }

 private:
  // Columns of a piece, and chunks that are split together: 12 KB, in the first-level cache for all pixels.
  static constexpr int64_t kWide = 32, kNear = 2, kSplitGroup = kWide / 16 * kNear * kSplit;

  // What is worked on with pixels that are split together: some images, or some outer rows of one.
  struct Block {
    int64_t image, images, row, rows;
  };
  Block find_block(int64_t i) const {
    const int64_t image = i / bands_ * images_, band = i % bands_, row = band * outer_.count / bands_;
    return {image, min(images_, p_.images - image), row, (band + 1) * outer_.count / bands_ - row};
  }
  int64_t pixel_rows(int64_t rows) const {
    int64_t n = 0;
    for (int64_t u = 0; u < outer_.taps.count; ++u)
      if (!follows(u)) n += rows + (last_like(u) - outer_.taps.offset[u]) / outer_.step;
    return n;
  }
  // Tiles of like height, as few rows of them as there are: fewer rows take less time. In pairs.
  struct RowTiles {
    int64_t count, height;
    explicit RowTiles(int64_t rows) : count(rows > 16 ? round_up(tiles_of(rows, 16), 2) : 1), height(max(ceil_div(rows, count), 1)) {}
  };
  // Blocks whose split pixels take 1 MB at most and that give at least 6 pieces, so that their cost, in cycles of a core, is least.
  void choose_blocks() {
    constexpr int64_t kMost = int64_t(1) << 20;
    const auto bytes = [&](int64_t rows) { return (pixel_rows(rows) * inner_.count + 33) * per_tap_ * kSplit / 16 * 2; };
    int64_t least = 1;
    while (least < outer_.count && bytes(ceil_div(outer_.count, least)) > kMost) ++least;
    if (bytes(ceil_div(outer_.count, least)) > kMost) return;
    if (least == 1) images_ = max(1, min(p_.images, kMost / bytes(outer_.count)));
    while (images_ > 1 && ceil_div(p_.images, images_) * col_pieces_ < 6) --images_;
    images_ = ceil_div(p_.images, ceil_div(p_.images, images_));
    while (images_ == 1 && least < outer_.count && p_.images * least * col_pieces_ < 6) ++least;
    bands_ = 0;
    for (int64_t bands = least; bands <= (images_ > 1 ? 1 : min(outer_.count, least + 3)); ++bands) {
      double tiles = 0, pixels = 0;
      for (int64_t b = 0; b < bands; ++b) {
        const int64_t rows = (b + 1) * outer_.count / bands - b * outer_.count / bands;
        const RowTiles of(rows * inner_.count);
        tiles += double(of.count * of.height), pixels += double(pixel_rows(rows) * inner_.count);
      }
      const double k = double(chunks_ * kTileDepth);
      const double cycles = double(p_.images) * (tiles * k * 0.0167 * double(round_up(n_, 16)) + 0.4 * pixels * double(per_tap_ * kTileDepth)) +
                            0.35 * double(p_.images * bands) / double(images_) * double(p_.k() * n_) + 3000;
      if (bands_ == 0 || cycles < cycles_) bands_ = bands, cycles_ = cycles;
    }
    most_rows_ = ceil_div(outer_.count, bands_);
    const int64_t rows = most_rows_ * inner_.count;
    most_ = RowTiles(rows);
    // Tiles of the last rows read beyond; odd, to spread over sets.
    positions_ = round_up(pixel_rows(most_rows_) * inner_.count, 16) + round_up(max(16, most_.count * most_.height - rows), 16) + 1;
  }

  // Outer taps whose pixels lie a multiple of the step apart share rows. Whether tap u shares those of one before it.
  bool follows(int64_t u) const {
    const int64_t* o = outer_.taps.offset;
    for (int64_t e = 0; e < u; ++e)
      if ((o[u] - o[e]) % outer_.step == 0) return true;
    return false;
  }
  int64_t last_like(int64_t u) const {
    int64_t last = outer_.taps.offset[u];
    for (int64_t e = u; e < outer_.taps.count; ++e)
      if ((outer_.taps.offset[e] - outer_.taps.offset[u]) % outer_.step == 0) last = outer_.taps.offset[e];
    return last;
  }

  // All pixels as [chunk of a tap][part][position]; offset: where the chunks of a patch begin.
  void split_pixels(const Block& block, uint16_t* out, int64_t* offset, Split& all) const {
    const int64_t rows = pixel_rows(block.rows), used = rows * inner_.count, part = positions_ * kTileDepth;
    Scratch<int64_t> ints(rows + outer_.taps.count);
    int64_t *source = ints, *base = ints + rows, row = 0;
    for (int64_t u = 0; u < outer_.taps.count; ++u) {
      const int64_t* o = outer_.taps.offset;
      int64_t e = 0;
      while ((o[u] - o[e]) % outer_.step) ++e;
      if (e < u) {
        base[u] = base[e] + (o[u] - o[e]) / outer_.step;
      } else {
        base[u] = row;
        for (int64_t i = 0; i < block.rows + (last_like(u) - o[u]) / outer_.step; ++i) source[row++] = o[u] + (block.row + i) * outer_.step;
      }
      for (int64_t q = 0; q < per_tap_; ++q) offset[u * per_tap_ + q] = q * 3 * part + base[u] * inner_.count * kTileDepth;
    }
    Scratch<float> zeros(p_.channels);
    zero(zeros, p_.channels);
    Scratch<const float*> at(inner_.taps.count * used);
    Split seen = all;
    for (int64_t image = block.image; image < block.image + block.images; ++image) {
      const float* x = p_.x + image * p_.h * p_.w * p_.pixel;
      for (int64_t v = 0; v < inner_.taps.count; ++v)
        for (int64_t r = 0, i = v * used; r < rows; ++r)
          for (int64_t b = 0; b < inner_.count; ++b, ++i) {
            const int64_t column = b * inner_.step + inner_.taps.offset[v];
            const bool inside = source[r] >= 0 && source[r] < outer_.size && column >= 0 && column < inner_.size;
            at[i] = inside ? x + source[r] * outer_.next + column * inner_.next : zeros.get();
          }
      for (int64_t q = 0; q < per_tap_; ++q, out += 3 * part) {
        const Half a = half(2 * q), b = half(2 * q + 1);
        const float *const *from_a = at + a.tap * used, *const *from_b = at + b.tap * used;
        if (a.count == 16 && b.count == 16)
          for (int64_t i = 0; i < used; ++i) seen.row(Vec::load(from_a[i] + a.channel), Vec::load(from_b[i] + b.channel), out + i * kTileDepth, part);
        else
          for (int64_t i = 0; i < used; ++i)
            seen.row(Vec::load(from_a[i] + a.channel, a.count), b.count ? Vec::load(from_b[i] + b.channel, b.count) : Vec::zero(),
                     out + i * kTileDepth, part);
        for (int64_t i = 0; i < 3; ++i)
          for (int64_t r = used; r < positions_; ++r) _mm512_storeu_si512(out + i * part + r * kTileDepth, _mm512_setzero_si512());
      }
    }
    all = seen;
  }

  // Half h of the chunks of an outer tap: up to 16 channels of an inner one.
  struct Half {
    int64_t tap, channel, count;
  };
  Half half(int64_t h) const {
    if (h >= halves_) return {0, 0, 0};
    const int64_t channel = h % halves_of_tap_ * 16;
    return {h / halves_of_tap_, channel, min(16, p_.channels - channel)};
  }

  // Splits the kernel, kNear chunks of a piece beside products: first rows of tiles, 32 of a chunk, then, of a turned kernel, squares to
  // transpose.
  class Stream {
   public:
    Stream(const SmallImages& of, uint16_t* split)
        : of_(of), split_(split), ld_(of.w_.ld) {
      down_ = of.w_.turned ? 16 * ld_ : 16;  // between tiles
    }
    const uint16_t* made() const { return to_; }
    void start(int64_t piece, int64_t group) {
      const int64_t chunk = group * kNear, chunks = min(kNear, of_.chunks_ - chunk);
      j0_ = piece % of_.col_pieces_ * kWide, done_ = 0;
      const int64_t left = min(kWide, of_.n_ - j0_);
      wide_ = left > 16, whole_ = left % 16 == 0 && of_.p_.channels % 16 == 0 && of_.halves_ % 2 == 0;
      rows_ = chunks * 16 << wide_, items_ = rows_ + (of_.w_.turned ? chunks * 3 << wide_ : 0);
      to_ = split_ + (turn_ ^= 1) * kSplitGroup;
      for (int64_t c = 0; c < chunks; ++c)
        for (int64_t h = 0; h < 2; ++h) from_[c][h] = place(chunk + c, h, count_[c][h]);
      if (!of_.far_) return;
      // What is split kAhead groups later, of this piece or the next one.
      const int64_t groups = tiles_of(of_.chunks_, kNear), then = (group + kAhead) % groups * kNear;
      const int64_t on = group + kAhead < groups ? 0 : min(kWide, max(of_.n_ - kWide - j0_, 0)) * (of_.w_.turned ? ld_ : 1);
      for (int64_t c = 0; c < chunks; ++c)
        for (int64_t h = 0; h < 2; ++h) {
          int64_t count;
          ahead_[c][h] = place(min(then + c, of_.chunks_ - 1), h, count) - from_[c][h] + on;
        }
    }
    // What is left is done in so many steps.
    void spread(int64_t steps) { rate_ = ceil_div(items_ - done_, max(steps, 1)); }
    [[gnu::always_inline]] void step(Split& seen) {
      for (int64_t i = 0; i < rate_; ++i)
        if (done_ < items_) next(seen, done_++);
    }
    void finish(Split& seen) {
      while (done_ < items_) next(seen, done_++);
    }

   private:
    // Where half h of a chunk begins, and how many channels it has.
    const float* place(int64_t chunk, int64_t h, int64_t& count) const {
      const int64_t u = chunk / of_.per_tap_, q = chunk % of_.per_tap_;
      const Half half = of_.half(2 * q + h);
      const float* tap = of_.swapped_ ? of_.w_.tap(half.tap, u) : of_.w_.tap(u, half.tap);
      count = half.count;
      return tap + (of_.w_.turned ? j0_ * ld_ + half.channel : half.channel * ld_ + j0_);
    }
    [[gnu::always_inline]] void next(Split& seen, int64_t i) {
      if (i < rows_ && whole_) {
        const int64_t c = i >> (4 + wide_), r = i >> wide_ & 15, t = i & wide_, at = r * ld_ + t * down_;
        const float *a = from_[c][0] + at, *b = from_[c][1] + at;
        if (of_.far_) __builtin_prefetch(a + ahead_[c][0], 0, 2), __builtin_prefetch(b + ahead_[c][1], 0, 2);
        seen.row(Vec::load(a), Vec::load(b), to_ + (t * kNear + c) * kSplit + r * kTileDepth);
      } else if (i < rows_) {
        part_of_row(i);
      } else {
        const int64_t square = (i - rows_) >> wide_;
        transpose((char*)(to_ + ((i & wide_) * kNear * 3 + square) * kTile));
      }
    }
    [[gnu::noinline]] static void transpose(char* at) { transpose_square(at, 64, at, 64); }
    [[gnu::noinline]] void part_of_row(int64_t i) {
      const int64_t c = i >> (4 + wide_), r = i >> wide_ & 15, t = i & wide_, at = r * ld_ + t * down_, left = of_.n_ - j0_ - t * 16;
      Vec v[2];
      for (int64_t h = 0; h < 2; ++h) {
        const int64_t n = of_.w_.turned ? (r < left ? count_[c][h] : 0) : r < count_[c][h] ? clamp_count(left, 16) : 0;
        v[h] = n > 0 ? Vec::load(from_[c][h] + at, n) : Vec::zero();
      }
      rare.row(v[0], v[1], to_ + (t * kNear + c) * kSplit + r * kTileDepth);
    }

   public:
    Split rare;

   private:
    const SmallImages& of_;
    uint16_t *const split_, *to_ = nullptr;
    const int64_t ld_;
    int64_t down_;
    bool whole_ = false;
    int64_t wide_ = 0;  // 1 with two tiles of columns
    int64_t turn_ = 0, j0_ = 0, done_ = 0, rows_ = 0, items_ = 0, rate_ = 0;
    static constexpr int64_t kAhead = 2;
    const float* from_[kNear][2] = {};
    int64_t count_[kNear][2] = {}, ahead_[kNear][2] = {};
  };

  // R tiles of rows by one or two of columns; c has rows of kWide floats.
  template <int R>
  void block(int64_t chunks, const uint16_t* a, const int64_t* offset, const uint16_t* b, int64_t col_tiles, float* c, bool add, Stream& stream,
             Split& seen) const {
    if (col_tiles == 2) multiply<R, 2>(chunks, a, offset, b, c, add, stream, seen);
    else multiply<R, 1>(chunks, a, offset, b, c, add, stream, seen);
  }
  template <int R, int C>
  void multiply(int64_t chunks, const uint16_t* a, const int64_t* offset, const uint16_t* b, float* c, bool add, Stream& stream, Split& all) const {
    Split seen = all;  // in registers
    const int64_t part = positions_ * kTileDepth, second = most_.height * kTileDepth, lower = most_.height * kWide;
    if (add) {
      tile_load<0>(c, kWide * 4);
      if constexpr (C == 2) tile_load<1>(c + 16, kWide * 4);
      if constexpr (R == 2) tile_load<2>(c + lower, kWide * 4);
      if constexpr (R == 2 && C == 2) tile_load<3>(c + lower + 16, kWide * 4);
    } else {
      tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
    }
    const uint16_t* at;
    const auto load_a = [&](int p) __attribute__((always_inline)) {
      tile_load<4>(at + p * part, 64);
      if constexpr (R == 2) tile_load<5>(at + p * part + second, 64);
    };
    const auto load_b = [&](int p) __attribute__((always_inline)) {
      tile_load<6>(b + p * kTile, 64);
      if constexpr (C == 2) tile_load<7>(b + kNear * kSplit + p * kTile, 64);
    };
    const auto products = [&]() __attribute__((always_inline)) {
      tile_multiply<0, 4, 6>();
      if constexpr (C == 2) tile_multiply<1, 4, 7>();
      if constexpr (R == 2) tile_multiply<2, 5, 6>();
      if constexpr (R == 2 && C == 2) tile_multiply<3, 5, 7>();
      stream.step(seen);
    };
    for (int64_t k = 0; k < chunks; ++k, b += kSplit) {
      at = a + offset[k];
      load_a(2), load_b(0), products();
      load_a(1), products();
      load_b(1), products();
      load_a(0), products();
      load_b(0), products();
      load_b(2), products();
    }
    tile_store<0>(c, kWide * 4);
    if constexpr (C == 2) tile_store<1>(c + 16, kWide * 4);
    if constexpr (R == 2) tile_store<2>(c + lower, kWide * 4);
    if constexpr (R == 2 && C == 2) tile_store<3>(c + lower + 16, kWide * 4);
    all = seen;
  }

  void put(const Block& block, const float* sums, int64_t m, int64_t j0, int64_t cols, float* out, const Grid& grid, const float* bias, int64_t activation) const {
    const int64_t down = swapped_ ? grid.col : grid.row, across = swapped_ ? grid.row : grid.col;
    for (int64_t image = 0; image < block.images; ++image)
      for (int64_t i = block.row, r = image * m; i < block.row + block.rows; ++i)
        for (int64_t j = 0; j < inner_.count; ++j, ++r) {
          float* to = out + (block.image + image) * grid.image + i * down + j * across + j0;
          for_each_vec(cols, [&](int64_t c, int64_t w) {
            Vec v = Vec::load(sums + r * kWide + c);
            if (bias) v = v + Vec::load(bias + j0 + c, w);
            (activation == kActivationRelu ? relu(v) : v).store(to + c, w);
          });
          if (activation > kActivationRelu) apply_epilogue(to, 0, 1, cols, nullptr, activation);
        }
  }

  const Patches& p_;
  const TapWeights& w_;
  const int64_t n_;
  // A kernel of 2 MB or more is asked for ahead: inside a model it comes from memory.
  const bool far_ = p_.k() * n_ >= int64_t(1) << 19;
  PatchAxis outer_{}, inner_{};
  bool swapped_;
  int64_t halves_of_tap_, halves_, per_tap_, chunks_, col_pieces_;
  int64_t images_ = 1, bands_ = 1, most_rows_ = 0, positions_ = 0, pieces_ = 0;  // of a block
  RowTiles most_{0};
  double cycles_ = 0;
};

}  // namespace
}  // namespace fastnn
#endif
