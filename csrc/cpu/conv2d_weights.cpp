// The gradient of a convolution's kernel: the product of transposed patches and gy.
#include "cpu/conv2d.h"
#include "cpu/conv2d_tiles.h"
#include "cpu/transpose.h"
#include "kernels.h"
#include "samples.h"

namespace fastnn::FASTNN_TARGET {
namespace {

// gw (k, n) is cut into blocks (fb, nb), and the sum over patches into `parts` that are added in order.
struct Tasks {
  Chunks cut;
  int64_t parts, per_part, fb, nb, f_blocks, col_blocks;
};
Tasks cut_tasks(const Patches& p, int64_t n) {
  const int64_t k = p.k(), count = p.count(), panel = panel_width(n);
  Tasks t;
  t.cut = cut_patches(p, max(min(count, 2 * kDepth), min(100000 / (k * n), 4096)));
  const int64_t chunks = t.cut.count();
  // Adding up the parts takes about parts * 20 / count of the time of the products; 16 MB at most.
  int64_t parts = min(min(16, count / 400), (int64_t(1) << 22) / (k * n));
  parts = max(1, min(parts, chunks));
  t.per_part = ceil_div(chunks, parts), t.parts = ceil_div(chunks, t.per_part);
  t.fb = k, t.nb = n;
  // Each block of rows reads all of gy, each block of columns all patches, copied anew if they are padded.
  const int64_t work = count / t.parts;
  while (t.parts * ceil_div(k, t.fb) * ceil_div(n, t.nb) < 12 && t.fb * t.nb * work > 400000) {
    if (t.nb > panel && (t.nb >= t.fb || t.nb > 2 * panel || t.fb <= 96)) t.nb = round_up(t.nb / 2, panel);
    else if (t.fb > 48) t.fb = round_up(ceil_div(t.fb, 2), 24);
    else break;
  }
  t.f_blocks = ceil_div(k, t.fb), t.col_blocks = ceil_div(n, t.nb);
  return t;
}

// gw (ic, oc) = x^T (ic, pixels) @ gy (pixels, oc).
void multiply_pixels(const float* x, const float* gy, float* gw, int64_t pixels, int64_t ic, int64_t oc, bool by_sample) {
  // A partial sum (samples.h): one thread's. Other sums of this length are shared out.
  if (by_sample && pixels < 2048 && gemm_tiles_columns(ic, oc, pixels, x, ic, gy, oc, gw, oc)) return;
  // Many rows of few columns leave vectors half empty and read far apart: long sums of the transposed
  // product are 1.1 to 1.6 times faster, and turning it is little beside them.
  if (ic <= oc || pixels < 2048) return gemm(true, false, ic, oc, pixels, x, ic, gy, oc, gw, oc);
  Scratch<float> turned(ic * oc);
  gemm(true, false, oc, ic, pixels, gy, oc, x, ic, turned, ic);
  parallel_for(ic, max(16, 16384 / oc), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c += 16)
      transpose_tile<float>((const char*)(turned + c), ic * 4, (char*)(gw + c * oc), oc * 4, oc, min(16, end - c));
  });
}

#if FASTNN_TILES
// The same on the tile unit, as gy^T (n, patches) @ patches (patches, k): only gy is transposed, once for all taps.
class WeightsOnTiles {
 public:
  WeightsOnTiles(const Patches& p, const float* gy, int64_t ld, int64_t n) : p_(p), gy_(gy), ld_(ld), n_(n) {
    cut_ = cut_patches(p, max(256, ceil_div(p.count(), 32)));
    const int64_t chunks = cut_.count(), sums = blocks_ * block_size();
    parts_ = max(1, min(min(16, chunks), (int64_t(1) << 22) / sums));
    per_part_ = ceil_div(chunks, parts_), parts_ = ceil_div(chunks, per_part_);
    per_task_ = max(1, min(blocks_, blocks_ * parts_ / 12)), tasks_of_part_ = ceil_div(blocks_, per_task_);
  }

  // Cycles of a core, about, as in tiles_pay; for each task gy is split and transposed. A tile without a partner takes more than half
  // the time of two.
  bool pays() const {
    const double rows = double(p_.count()), k = double(tiles_ * 16), n = double(n_tiles_ / 2 * 32 + n_tiles_ % 2 * 20);
    const double tiles = rows * (k * (0.0167 * n + 0.25) + n * double(tasks_of_part_)) + 0.3 * k * n * double(2 + parts_);
    return rows * double(p_.k()) * double(n_) > 4e6 && tiles < 0.93 * 0.03 * rows * double(p_.k()) * double(n_);
  }

  // gw (k, n) with rows of length ld. False: an operand was out of range (split_in_range), and gw is of no use.
  bool run(float* gw) const {
    const int64_t tasks = parts_ * tasks_of_part_;
    Scratch<float> sums(parts_ * blocks_ * block_size());
    LargestSplit images(tasks), gradients(tasks);
    parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        Split of_x, of_gy;
        const int64_t part = t / tasks_of_part_, b0 = t % tasks_of_part_ * per_task_;
        add_part(part, b0, min(blocks_, b0 + per_task_), sums + part * blocks_ * block_size(), of_x, of_gy);
        images.put(t, of_x), gradients.put(t, of_gy);
      }
    });
    if (!split_in_range(images.all(), gradients.all())) return false;
    parallel_for(tiles_, max(1, 4096 / (n_ * parts_)), [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) store_tile(sums, tile, gw);
    });
    return true;
  }

 private:
  // Patches that are split at once (chunks of 32 of them), and tiles of 16 channels of a tap whose sums lie together.
  static constexpr int64_t kNear = 4, kRows = kNear * kTileDepth, kBlock = 4;
  static constexpr int64_t kBlockSplit = kBlock * kNear * kSplit;

  int64_t block_size() const { return n_tiles_ * 16 * kBlock * 16; }

  void add_part(int64_t part, int64_t b0, int64_t b1, float* sums, Split& of_x, Split& of_gy) const {
    Scratch<float> buffer(Chunk::buffer_size(p_, cut_));
    Scratch<int64_t> offsets(Chunk::max_count(cut_));
    Scratch<uint16_t> a(n_tiles_ * kNear * kSplit), b(2 * kBlockSplit);
    const TilesReady ready;
    bool first = true;
    for (int64_t index = part * per_part_; index < min(cut_.count(), (part + 1) * per_part_); ++index) {
      const Chunk chunk(p_, cut_, index, buffer, offsets);
      for (int64_t r0 = 0; r0 < chunk.count; r0 += kRows, first = false) {
        const int64_t rows = min(kRows, chunk.count - r0), near = tiles_of(rows, kTileDepth);
        const float* gy = gy_ + (chunk.first + r0) * ld_;
        for (int64_t t = 0; t < n_tiles_; ++t)
          for (int64_t c = 0; c < near; ++c) {
            uint16_t* to = a + (t * kNear + c) * kSplit;
            split_rows(of_gy, [&](int64_t r) { return gy + r * ld_ + t * 16; }, c * kTileDepth, rows, min(16, n_ - t * 16), to);
            transpose_tiles(to);
          }
        // Patches of a block are split beside the products of the block before: row r of tile `tile`, chunk c, with each call.
        struct {
          int64_t tile, end, c, r, left;
          const float* x;
          uint16_t* to;
        } at = {};
        const auto find = [&] {
          const int64_t tap = at.tile / per_tap_, channel = at.tile % per_tap_ * 16, u = tap / p_.across.count, v = tap % p_.across.count;
          at.x = chunk.data + (p_.down.offset[u] - p_.down.first()) * chunk.tap_h + (p_.across.offset[v] - p_.across.first()) * chunk.tap_w + channel;
          at.left = min(16, p_.channels - channel);
          at.to = b + at.tile / kBlock % 2 * kBlockSplit + at.tile % kBlock * kNear * kSplit;
        };
        const auto start = [&](int64_t block) {
          at.tile = block * kBlock, at.end = min(tiles_, at.tile + kBlock), at.c = at.r = 0;
          find();
          return (at.end - at.tile) * near * 16;
        };
        const auto split_next = [&](int64_t) {
          const int64_t row = at.c * kTileDepth + at.r, *offset = chunk.offset + r0 + row;
          uint16_t* const to = at.to + at.c * kSplit + at.r * kTileDepth;
          if (row + 16 < rows && at.left == 16) of_x.row(Vec::load(at.x + offset[0]), Vec::load(at.x + offset[16]), to);
          else of_x.row(row < rows ? Vec::load(at.x + offset[0], at.left) : Vec::zero(),
                        row + 16 < rows ? Vec::load(at.x + offset[16], at.left) : Vec::zero(), to);
          if (++at.r < 16) return;
          at.r = 0;
          if (++at.c < near) return;
          at.c = 0;
          if (++at.tile < at.end) find();
        };
        for (int64_t i = start(b0); i > 0; --i) split_next(i);
        for (int64_t block = b0; block < b1; ++block) {
          const int64_t cols = min(kBlock, tiles_ - block * kBlock);
          float* c = sums + block * block_size();
          Beside beside(block + 1 < b1 ? start(block + 1) : 0, tiles_slots(n_tiles_, cols, near), split_next);
          for (int64_t i = 0; i < n_tiles_; i += 2, c += 2 * 16 * kBlock * 16)
            tiles_product(min(2, n_tiles_ - i), cols, near, a + i * kNear * kSplit, kNear * kSplit, b + block % 2 * kBlockSplit, kNear * kSplit,
                          first ? nullptr : c, kBlock * 16, c, kBlock * 16, beside);
          beside.finish();
        }
      }
    }
  }
  // Rows [r0, r0 + 32) of n floats as a tile of a right operand, its pairs 16 rows apart.
  template <class F>
  static void split_rows(Split& seen, F row, int64_t r0, int64_t rows, int64_t n, uint16_t* to) {
    for (int64_t r = r0; r < r0 + 16; ++r, to += kTileDepth)
      seen.row(r < rows ? Vec::load(row(r), n) : Vec::zero(), r + 16 < rows ? Vec::load(row(r + 16), n) : Vec::zero(), to);
  }
  // 16 channels of a tap in gw, from the parts' sums.
  void store_tile(const float* sums, int64_t tile, float* gw) const {
    const int64_t tap = tile / per_tap_, channel = tile % per_tap_ * 16, rows = min(16, p_.channels - channel);
    const float* from = sums + tile / kBlock * block_size() + tile % kBlock * 16;
    alignas(64) float sum[16][16], turned[16][16];
    for (int64_t j = 0; j < n_; j += 16, from += 16 * kBlock * 16) {
      for (int64_t i = 0; i < 16; ++i) {
        Vec v = Vec::load(from + i * kBlock * 16);
        for (int64_t part = 1; part < parts_; ++part) v = v + Vec::load(from + part * blocks_ * block_size() + i * kBlock * 16);
        v.store(sum[i]);
      }
      transpose_square((const char*)sum, 64, (char*)turned, 64);
      for (int64_t r = 0; r < rows; ++r) Vec::load(turned[r]).store(gw + (tap * p_.channels + channel + r) * ld_ + j, min(16, n_ - j));
    }
  }

  const Patches& p_;
  const float* const gy_;
  const int64_t ld_, n_;
  const int64_t n_tiles_ = tiles_of(n_, 16), per_tap_ = tiles_of(p_.channels, 16), tiles_ = p_.down.count * p_.across.count * per_tap_,
                blocks_ = tiles_of(tiles_, kBlock);
  Chunks cut_;
  int64_t parts_, per_part_, per_task_, tasks_of_part_;
};
#endif

}  // namespace

void conv2d_backward_weights(const float* x, const float* gy, float* gw, Conv2dShape s) {
  if (const int64_t samples = samples_of_sum(s)) {
    const int64_t sums = s.n / samples, size = s.ic * s.oc, pixels = samples * s.oh * s.ow;
    Scratch<float> partial(sums * size);
    Conv2dShape few = s;
    few.n = samples;
    parallel_for(sums, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        conv2d_backward_weights(x + i * pixels * s.ic, gy + i * pixels * s.oc, partial + i * size, few);
    });
    return reduce(reduce_op::sum, partial, gw, 1, sums, size, 1);
  }
  if (is_pointwise(s) && !reads_strides(s)) {
    const bool all = takes_all_pixels(s);
    Scratch<float> taken(all ? 0 : s.n * s.oh * s.ow * s.ic);
    if (!all) take_pixels(x, taken, s);
    return multiply_pixels(all ? x : taken.get(), gy, gw, s.n * s.oh * s.ow, s.ic, s.oc, is_by_sample(s));
  }
  if (few_backward_weights(x, gy, gw, s) || winograd_backward_weights(x, gy, gw, s)) return;
  const int64_t icg = s.ic / s.groups, ocg = s.oc / s.groups, k = s.kh * s.kw * icg;
  Scratch<int64_t> offsets(s.kh + s.kw);
  for (int64_t g = 0; g < s.groups; ++g) {
    Patches p = forward_patches(s, x + g * icg, offsets);
    p.spread = true;
    float* out = gw + g * ocg;
    if (p.count() == 0) {
      for (int64_t i = 0; i < k; ++i) zero(out + i * s.oc, ocg);
      continue;
    }
#if FASTNN_TILES
    if (has_tiles()) {
      p.spread = false;
      const WeightsOnTiles tiles(p, gy + g * ocg, s.oc, ocg);
      if (tiles.pays() && tiles.run(out)) continue;
      p.spread = true;
    }
#endif
    const Tasks tasks = cut_tasks(p, ocg);
    const Chunks& cut = tasks.cut;
    const int64_t chunks = cut.count(), blocks = tasks.f_blocks * tasks.col_blocks;
    // (parts, k, ocg)
    Scratch<float> partial(tasks.parts > 1 ? tasks.parts * k * ocg : 0);
    const int64_t ld = tasks.parts > 1 ? ocg : s.oc;
    // With one tap a block of rows is a range of channels.
    const bool one_tap = s.kh * s.kw == 1;
    Patches widest = p;
    if (one_tap) widest.channels = tasks.fb + 16;  // a copy may leave a gap
    parallel_for(tasks.parts * blocks, 1, [&](int64_t begin, int64_t end) {
      Scratch<float> buffer(Chunk::buffer_size(widest, cut));
      Scratch<int64_t> ints(Chunk::max_count(cut) + 2 * tasks.fb);
      int64_t *rows = ints + Chunk::max_count(cut), *place = rows + tasks.fb;
      for (int64_t t = begin; t < end; ++t) {
        const int64_t part = t / blocks, f0 = t % blocks / tasks.col_blocks * tasks.fb, fb = min(tasks.fb, k - f0),
                      j0 = t % tasks.col_blocks * tasks.nb, nb = min(tasks.nb, ocg - j0);
        float* sum = (tasks.parts > 1 ? partial.get() + part * k * ocg : out) + f0 * ld + j0;
        for (int64_t i = 0; i < fb; ++i) place[i] = i * ld;
        const int64_t first = part * tasks.per_part, last = min(chunks, first + tasks.per_part);
        Patches q = p;
        if (one_tap) q.x += f0, q.channels = fb;
        for (int64_t index = first; index < last; ++index) {
          const Chunk chunk(q, cut, index, buffer, ints);
          chunk.taps(q, one_tap ? 0 : f0, fb, rows);
          const float* b = gy + chunk.first * s.oc + g * ocg + j0;
          const bool more = index + 1 < last;
          multiply({chunk.data, rows, fb, 0}, [&](int64_t p0, int64_t, int64_t*) { return chunk.offset + p0; }, chunk.count,
                   {b, chunk.count, s.oc, panel_width(ocg), false}, nb, {sum, place, index > first, nullptr, kActivationLinear},
                   Ahead(b + chunk.count * s.oc, more ? chunk.count : 0, nb, s.oc), more ? chunk.following : Ahead());
        }
      }
    });
    if (tasks.parts == 1) continue;
    parallel_for(k, max(1, 16384 / (ocg * tasks.parts)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for_each_vec(ocg, [&](int64_t j, int64_t n) {
          const float* from = partial.get() + i * ocg + j;
          Vec sum = Vec::load(from, n);
          for (int64_t part = 1; part < tasks.parts; ++part) sum = sum + Vec::load(from + part * k * ocg, n);
          sum.store(out + i * s.oc + j, n);
        });
    });
  }
}

}  // namespace fastnn::FASTNN_TARGET
