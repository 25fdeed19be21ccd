// Convolutions with few filters, which would leave most of a vector empty: the values that a window reads fill vectors instead.
// A patch is read as pieces that lie together, (row of taps, columns of taps, channels) or (tap, channels).
#include "cpu/conv2d.h"
#include "cpu/conv2d_patches.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr int kMostFilters = 4;
// Sums in registers: patches times filters forward, vectors of a piece times filters for weights.
constexpr int kSums = Vec::width == 16 ? 16 : 8;

struct Pieces {
  int64_t across, count, length;  // in a row of taps, in all, floats of each
  explicit Pieces(const Patches& p) {
    const bool joined = p.across.span() == p.across.count && (p.pixel == p.channels || !p.in_place());
    across = joined ? 1 : p.across.count, count = p.down.count * across, length = p.k() / count;
  }
  int64_t offset(const Patches& p, const Chunk& of, int64_t piece) const {
    const int64_t u = piece / across, v = piece % across;
    return (p.down.offset[u] - p.down.first()) * of.tap_h + (p.across.offset[v] - p.across.first()) * of.tap_w;
  }
};
bool serves(const Conv2dShape& s) {
  // Pieces of at least a vector, of which the last is mostly full.
  return s.groups == 1 && s.oc <= kMostFilters && s.ic >= Vec::width && s.n * s.oh * s.ow > 0;
}

// y[r * F + f] = <patch at x + row[r], w[f]> + bias[f] for ROWS patches; w (F, k).
template <int ROWS, int F>
[[gnu::noinline]] void dots(const Pieces& pieces, const int64_t* piece, const float* x, const int64_t* row, const float* w, int64_t k,
                            const float* bias, float* y) {
  Vec sums[ROWS][F];
  FASTNN_UNROLL for (int r = 0; r < ROWS; ++r)
    FASTNN_UNROLL for (int f = 0; f < F; ++f) sums[r][f] = Vec::zero();
  for (int64_t i = 0; i < pieces.count; ++i, w += pieces.length) {
    const float* const from = x + piece[i];
    int64_t c = 0;
    const auto step = [&](int64_t n) __attribute__((always_inline)) {
      Vec wf[F];
      FASTNN_UNROLL for (int f = 0; f < F; ++f) wf[f] = Vec::load(w + f * k + c, n);
      FASTNN_UNROLL for (int r = 0; r < ROWS; ++r) {
        const Vec v = Vec::load(from + row[r] + c, n);
        FASTNN_UNROLL for (int f = 0; f < F; ++f) sums[r][f] = fma(v, wf[f], sums[r][f]);
      }
    };
    for (; c + Vec::width <= pieces.length; c += Vec::width) step(Vec::width);
    if (c < pieces.length) step(pieces.length - c);
  }
  FASTNN_UNROLL for (int r = 0; r < ROWS; ++r)
    FASTNN_UNROLL for (int f = 0; f < F; ++f) y[r * F + f] = sum(sums[r][f]) + (bias ? bias[f] : 0.0f);
}

template <int F>
void forward(const Patches& p, const float* w, const float* bias, float* y, int64_t activation) {
  constexpr int kRows = kSums / F;
  const int64_t k = p.k();
  const Pieces pieces(p);
  Scratch<float> filters(F * k);  // (F, k)
  for (int64_t i = 0; i < k; ++i)
    for (int f = 0; f < F; ++f) filters[f * k + i] = w[i * F + f];
  const Chunks cut = cut_patches(p, max(64, min(512, 200000 / (k * F))));
  parallel_for(cut.count(), max(1, 100000 / (Chunk::max_count(cut) * k * F)), [&](int64_t begin, int64_t end) {
    Scratch<float> buffer(Chunk::buffer_size(p, cut));
    Scratch<int64_t> offsets(Chunk::max_count(cut) + pieces.count);
    int64_t* const piece = offsets + Chunk::max_count(cut);
    for (int64_t index = begin; index < end; ++index) {
      const Chunk chunk(p, cut, index, buffer, offsets);
      for (int64_t i = 0; i < pieces.count; ++i) piece[i] = pieces.offset(p, chunk, i);
      float* const to = y + chunk.first * F;
      int64_t i = 0;
      for (; i + kRows <= chunk.count; i += kRows) dots<kRows, F>(pieces, piece, chunk.data, offsets + i, filters, k, bias, to + i * F);
      for (; i < chunk.count; ++i) dots<1, F>(pieces, piece, chunk.data, offsets + i, filters, k, bias, to + i * F);
      apply_epilogue(to, 0, 1, chunk.count * F, nullptr, activation);
    }
  });
}

// sums[f * k + c] += sum over patches r of gy[r * F + f] * x[row[r] + c], for NV vectors c, of which the last has `last` values.
template <int NV, int F>
[[gnu::noinline]] void add_products(const float* x, const int64_t* row, int64_t count, const float* gy, float* sums, int64_t k, int64_t last) {
  Vec acc[NV][F];
  FASTNN_UNROLL for (int j = 0; j < NV; ++j)
    FASTNN_UNROLL for (int f = 0; f < F; ++f) {
      const float* from = sums + f * k + j * Vec::width;
      acc[j][f] = j < NV - 1 ? Vec::load(from) : Vec::load(from, last);
    }
  const auto add = [&](int64_t tail) __attribute__((always_inline)) {
    for (int64_t r = 0; r < count; ++r) {
      const float* const from = x + row[r];
      Vec g[F];
      FASTNN_UNROLL for (int f = 0; f < F; ++f) g[f] = Vec::set(gy[r * F + f]);
      FASTNN_UNROLL for (int j = 0; j < NV; ++j) {
        const Vec v = j < NV - 1 ? Vec::load(from + j * Vec::width) : Vec::load(from + j * Vec::width, tail);
        FASTNN_UNROLL for (int f = 0; f < F; ++f) acc[j][f] = fma(v, g[f], acc[j][f]);
      }
    }
  };
  if (last == Vec::width) add(Vec::width);
  else add(last);
  FASTNN_UNROLL for (int j = 0; j < NV; ++j)
    FASTNN_UNROLL for (int f = 0; f < F; ++f) {
      float* to = sums + f * k + j * Vec::width;
      if (j < NV - 1) acc[j][f].store(to);
      else acc[j][f].store(to, last);
    }
}
using AddProducts = void (*)(const float*, const int64_t*, int64_t, const float*, float*, int64_t, int64_t);
template <int NV, int F>
AddProducts products_of(int64_t vectors) {
  if constexpr (NV > 1)
    if (vectors < NV) return products_of<NV - 1, F>(vectors);
  return add_products<NV, F>;
}

template <int F>
void backward_weights(const Patches& p, const float* gy, float* gw) {
  constexpr int kMost = (Vec::width == 16 ? 24 : 12) / F;  // vectors at once
  const int64_t k = p.k();
  const Pieces pieces(p);
  const Chunks cut = cut_patches(p, 512);
  const int64_t most_parts = max(1, min(min(16, p.count() / 256), cut.count())), per_part = ceil_div(cut.count(), most_parts),
                parts = ceil_div(cut.count(), per_part);
  const int64_t vectors = ceil_div(pieces.length, Vec::width), blocks = ceil_div(vectors, kMost), block = ceil_div(vectors, blocks);
  Scratch<float> partial(parts * F * k);  // (parts, F, k)
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    Scratch<float> buffer(Chunk::buffer_size(p, cut));
    Scratch<int64_t> offsets(Chunk::max_count(cut));
    for (int64_t part = begin; part < end; ++part) {
      float* const sums = partial + part * F * k;
      zero(sums, F * k);
      for (int64_t index = part * per_part; index < min(cut.count(), (part + 1) * per_part); ++index) {
        const Chunk chunk(p, cut, index, buffer, offsets);
        for (int64_t i = 0; i < pieces.count; ++i)
          for (int64_t v = 0; v < vectors; v += block) {
            const int64_t nv = min(block, vectors - v), c = v * Vec::width, last = min(pieces.length - c, nv * Vec::width) - (nv - 1) * Vec::width;
            products_of<kMost, F>(nv)(chunk.data + pieces.offset(p, chunk, i) + c, offsets, chunk.count, gy + chunk.first * F,
                                      sums + i * pieces.length + c, k, last);
          }
      }
    }
  });
  for (int64_t i = 0; i < k; ++i)
    for (int f = 0; f < F; ++f) {
      float total = 0;
      for (int64_t part = 0; part < parts; ++part) total += partial[(part * F + f) * k + i];
      gw[i * F + f] = total;
    }
}

template <int F, class Call>
void with_filters(int64_t filters, Call call) {
  if constexpr (F > 1)
    if (filters < F) return with_filters<F - 1>(filters, call);
  call.template operator()<F>();
}

}  // namespace

bool few_forward(const float* x, const float* w, const float* bias, float* y, const Conv2dShape& s, int64_t activation) {
  if (!serves(s)) return false;
  Scratch<int64_t> offsets(s.kh + s.kw);
  const Patches p = forward_patches(s, x, offsets);
  with_filters<kMostFilters>(s.oc, [&]<int F>() { forward<F>(p, w, bias, y, activation); });
  return true;
}
bool few_backward_weights(const float* x, const float* gy, float* gw, const Conv2dShape& s) {
  if (!serves(s)) return false;
  Scratch<int64_t> offsets(s.kh + s.kw);
  const Patches p = forward_patches(s, x, offsets);
  with_filters<kMostFilters>(s.oc, [&]<int F>() { backward_weights<F>(p, gy, gw); });
  return true;
}

}  // namespace fastnn::FASTNN_TARGET
