// The gradient of a convolution's kernel: the product of transposed patches and gy.
#include "cpu/conv2d.h"
#include "cpu/conv2d_patches.h"
#include "cpu/transpose.h"
#include "kernels.h"

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
void multiply_pixels(const float* x, const float* gy, float* gw, int64_t pixels, int64_t ic, int64_t oc) {
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

}  // namespace

void conv2d_backward_weights(const float* x, const float* gy, float* gw, Conv2dShape s) {
  if (is_pointwise(s)) {
    const bool all = takes_all_pixels(s);
    Scratch<float> taken(all ? 0 : s.n * s.oh * s.ow * s.ic);
    if (!all) take_pixels(x, taken, s);
    return multiply_pixels(all ? x : taken.get(), gy, gw, s.n * s.oh * s.ow, s.ic, s.oc);
  }
  if (winograd_backward_weights(x, gy, gw, s)) return;
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
          multiply({chunk.data, rows, fb, false}, [&](int64_t p0, int64_t, int64_t*) { return chunk.offset + p0; }, chunk.count,
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
