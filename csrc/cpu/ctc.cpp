// Connectionist temporal classification (Graves et al. 2006): the sums over all alignments of a target with frames.
//
// The states of a target l of length m are blank l_1 blank l_2 ... l_m blank. alpha[t, s] is the log probability of
// frames 0 to t ending in state s, beta[t, s] that of the frames behind t. A state is reached from itself, from the one
// before, and, where a label differs from the last one, from that. Both are kept relative to the largest of their
// frame: differences are what gradients need, and float32 has digits for them. One sample is one task.
#include <math.h>

#include "cpu/math.h"
#include "cpu/parallel.h"
#include "kernels.h"

namespace fastnn::FASTNN_TARGET {
namespace {

constexpr float kInf = __builtin_inff();
constexpr float kImpossible = 1e5f;  // Keras's loss of a target that no alignment gives, about
// Frames times states of a task: some 50 cycles for a vector of them.
constexpr int64_t kChunk = 4 * 1024;

// log(exp(a) + exp(b) + exp(c))
inline Vec log_sum(Vec a, Vec b, Vec c) {
  const Vec m = raw_max(raw_max(a, b), c), shift = select(m == Vec::set(-kInf), Vec::zero(), m);
  return shift + log(exp_or_zero(a - shift) + exp_or_zero(b - shift) + exp_or_zero(c - shift));
}

// x (n) minus its largest, which is returned; -inf throughout stays.
inline float relative_to_largest(float* x, int64_t n) {
  Vec m = Vec::set(-kInf);
  for_each_vec(n, [&](int64_t i, int64_t k) { m = raw_max(Vec::load(x + i, k, -kInf), m); });
  const float largest = reduce_lanes(m, [](Vec a, Vec b) { return raw_max(a, b); });
  if (largest == -kInf) return 0;
  for_each_vec(n, [&](int64_t i, int64_t k) { (Vec::load(x + i, k) - Vec::set(largest)).store(x + i, k); });
  return largest;
}

// One target: its states, and where they can be reached from.
class States {
 public:
  States(const int64_t* label, int64_t labels, int64_t blank, float* memory)
      : count_(2 * labels + 1), label_(label), blank_(blank), skip_(memory), emit_(memory + count_ + 2) {
    for (int64_t s = 0; s < count_ + 2; ++s) {
      const bool skips = s % 2 && s >= 3 && s < count_ && label[s / 2] != label[s / 2 - 1];
      skip_[s] = skips ? 0 : -kInf;
    }
  }
  static int64_t memory(int64_t labels) { return 2 * (2 * labels + 1) + 2; }
  int64_t count() const { return count_; }
  // 0 where state s can be reached from s - 2, else -inf; two more behind the last state.
  const float* skip() const { return skip_; }
  // What the states give in a frame of log probabilities.
  const float* emit(const float* logp) {
    for (int64_t s = 0; s < count_; s += 2) emit_[s] = logp[blank_];
    for (int64_t s = 1; s < count_; s += 2) emit_[s] = logp[label_[s / 2]];
    return emit_;
  }

 private:
  int64_t count_;
  const int64_t* label_;
  int64_t blank_;
  float *skip_, *emit_;
};

// f(i, scratch) for each sample, with n floats of scratch.
template <class F>
inline void for_samples(int64_t batch, int64_t work, int64_t n, F f) {
  parallel_for(batch, kChunk / (work + 1) + 1, [&](int64_t begin, int64_t end) {
    Scratch<float> scratch(n);
    for (int64_t i = begin; i < end; ++i) f(i, scratch.get());
  });
}

}  // namespace

void ctc_forward(const int64_t* label, const int64_t* label_count, const int64_t* frame_count, const float* logp, float* y,
                 float* alpha, int64_t batch, int64_t frames, int64_t classes, int64_t labels, int64_t blank) {
  const int64_t width = 2 * labels + 3;
  for_samples(batch, frames * width, States::memory(labels), [=](int64_t i, float* scratch) {
    States states(label + i * labels, label_count[i], blank, scratch);
    const int64_t count = states.count();
    const float *skip = states.skip(), *x = logp + i * frames * classes;
    float* row = alpha + i * frames * width;
    double total = 0;  // what the rows have lost to relative_to_largest
    for (int64_t t = 0; t < frame_count[i]; ++t, row += width) {
      const float* emit = states.emit(x + t * classes);
      // Two states that are never reached stand before the first.
      row[0] = row[1] = -kInf;
      if (t == 0) {
        for (int64_t s = 0; s < count; ++s) row[2 + s] = s < 2 ? emit[s] : -kInf;
      } else {
        const float* last = row - width;
        for_each_vec(count, [&](int64_t s, int64_t n) {
          const Vec two = Vec::load(last + s, n, -kInf) + Vec::load(skip + s, n);
          const Vec sum = log_sum(Vec::load(last + 2 + s, n, -kInf), Vec::load(last + 1 + s, n, -kInf), two);
          (sum + Vec::load(emit + s, n)).store(row + 2 + s, n);
        });
      }
      total += relative_to_largest(row + 2, count);
    }
    if (frame_count[i] == 0) {
      y[i] = label_count[i] ? kImpossible : 0;
      return;
    }
    // The last blank and the last label end an alignment.
    row -= width;
    const double a = row[1 + count], b = row[count], m = a > b ? a : b;
    y[i] = m == -kInf ? kImpossible : float(-(total + m + ::log(::exp(a - m) + ::exp(b - m))));
  });
}

// glogp[t, k] = -gy sum of exp(alpha + beta) over the states of class k, relative to the sum over all: the share of
// the alignments that are there at t. No alignment, no gradient.
void ctc_backward(const int64_t* label, const int64_t* label_count, const int64_t* frame_count, const float* logp,
                  const float* alpha, const float* gy, float* glogp, int64_t batch, int64_t frames, int64_t classes,
                  int64_t labels, int64_t blank) {
  const int64_t width = 2 * labels + 3;
  for_samples(batch, frames * (2 * width + classes / 16), States::memory(labels) + 2 * width, [=](int64_t i, float* scratch) {
    States states(label + i * labels, label_count[i], blank, scratch + 2 * width);
    const int64_t count = states.count();
    const float *skip = states.skip(), *x = logp + i * frames * classes;
    // next: beta of the frame behind with what it gives, and two states behind the last that are never reached.
    float *next = scratch, *share = scratch + width, *out = glogp + i * frames * classes;
    __builtin_memset(out, 0, frames * classes * sizeof(float));
    for (int64_t t = frame_count[i] - 1; t >= 0; --t) {
      const float* row = alpha + (i * frames + t) * width + 2;
      if (t == frame_count[i] - 1) {
        for (int64_t s = 0; s < count; ++s) share[s] = s >= count - 2 ? 0 : -kInf;
        next[count] = next[count + 1] = -kInf;
      } else {
        for_each_vec(count, [&](int64_t s, int64_t n) {
          const Vec two = Vec::load(next + s + 2, n, -kInf) + Vec::load(skip + s + 2, n);
          log_sum(Vec::load(next + s, n, -kInf), Vec::load(next + s + 1, n, -kInf), two).store(share + s, n);
        });
      }
      const float* emit = states.emit(x + t * classes);
      Vec most = Vec::set(-kInf);
      for_each_vec(count, [&](int64_t s, int64_t n) {
        const Vec beta = Vec::load(share + s, n, -kInf), both = beta + Vec::load(row + s, n);
        (beta + Vec::load(emit + s, n)).store(next + s, n);
        both.store(share + s, n);
        most = max(both, most);
      });
      relative_to_largest(next, count);
      const float m = max_lane(most);
      if (m == -kInf) continue;
      Vec total = Vec::zero();
      for_each_vec(count, [&](int64_t s, int64_t n) {
        const Vec e = exp_or_zero(Vec::load(share + s, n, -kInf) - Vec::set(m));
        e.store(share + s, n);
        total = total + e;
      });
      const float scale = -gy[i] / sum(total);
      float* g = out + t * classes;
      float blanks = 0;
      for (int64_t s = 0; s < count; s += 2) blanks += share[s];
      g[blank] = scale * blanks;
      for (int64_t s = 1; s < count; s += 2) g[label[i * labels + s / 2]] += scale * share[s];
    }
  });
}

}  // namespace fastnn::FASTNN_TARGET
