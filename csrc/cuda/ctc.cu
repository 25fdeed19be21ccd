// Connectionist temporal classification; csrc/cpu/ctc.cpp has the states, and says what alpha and beta are.
//
// One block per sample, one thread per state: frames follow each other, so a frame costs a few barriers, and what
// bounds a launch is their latency, some microseconds a frame; samples run beside each other. Rows of alpha go from
// frame to frame through the first-level cache, so targets may be as long as memory allows. What several states add
// to one class is added by the first of them, in their order.
#include "functions.h"
#include "rows.h"

namespace fastnn::cuda {
namespace {

constexpr float kImpossible = 1e5f;
constexpr float kNever = Max::neutral;  // log(0)

// Drops NaN: sums have it anyway.
struct RawMax {
  __device__ __forceinline__ float operator()(float a, float b) const { return a > b ? a : b; }
  static constexpr float neutral = Max::neutral;
};

// log(exp(a) + exp(b) + exp(c))
__device__ __forceinline__ float log_sum(float a, float b, float c) {
  const float m = RawMax()(RawMax()(a, b), c), shift = m == kNever ? 0.0f : m;
  return shift + logf(expf(a - shift) + expf(b - shift) + expf(c - shift));
}

// The states of one target.
struct States {
  const int64_t* label;
  int64_t blank, count;
  __device__ __forceinline__ int64_t at(int64_t s) const { return s % 2 ? label[s / 2] : blank; }
  // Whether s can be reached from s - 2.
  __device__ __forceinline__ bool skips(int64_t s) const { return s % 2 && s >= 3 && label[s / 2] != label[s / 2 - 1]; }
};

__global__ void ctc_forward_kernel(const int64_t* __restrict__ label, const int64_t* __restrict__ label_count,
                                   const int64_t* __restrict__ frame_count, const float* __restrict__ logp, float* __restrict__ y,
                                   float* alpha, int64_t batch, int64_t frames, int64_t classes, int64_t labels, int64_t blank) {
  const int64_t width = 2 * labels + 3;
  for (int64_t i = blockIdx.x; i < batch; i += gridDim.x) {
    const States states{label + i * labels, blank, 2 * label_count[i] + 1};
    float* row = alpha + i * frames * width;
    double total = 0;  // what the rows have lost to their largest
    for (int64_t t = 0; t < frame_count[i]; ++t, row += width) {
      const float *last = row - width, *x = logp + (i * frames + t) * classes;
      float most = kNever;
      for (int64_t s = threadIdx.x; s < states.count; s += blockDim.x) {
        const float before = t == 0 ? (s < 2 ? 0.0f : kNever) : log_sum(last[2 + s], last[1 + s], states.skips(s) ? last[s] : kNever);
        const float v = before + x[states.at(s)];
        row[2 + s] = v;
        most = RawMax()(v, most);
      }
      if (threadIdx.x < 2) row[threadIdx.x] = kNever;
      most = block_reduce(most, RawMax());
      if (most != kNever) {
        for (int64_t s = threadIdx.x; s < states.count; s += blockDim.x) row[2 + s] -= most;
        total += most;
      }
      __syncthreads();  // the row is complete
    }
    if (threadIdx.x == 0) {
      if (frame_count[i] == 0) {
        y[i] = label_count[i] ? kImpossible : 0.0f;
      } else {
        // The last blank and the last label end an alignment.
        const float end = log_sum(row[1 - width + states.count], row[states.count - width], kNever);
        y[i] = end == kNever ? kImpossible : float(-(total + end));
      }
    }
  }
}

// next, share: two rows of floats; follow: the next state of the same label or 0; head: whether no state before has it.
__global__ void ctc_backward_kernel(const int64_t* __restrict__ label, const int64_t* __restrict__ label_count,
                                    const int64_t* __restrict__ frame_count, const float* __restrict__ logp,
                                    const float* __restrict__ alpha, const float* __restrict__ gy, float* glogp, float* rows,
                                    int* links, int64_t batch, int64_t frames, int64_t classes, int64_t labels, int64_t blank) {
  const int64_t width = 2 * labels + 3;
  float *next = rows + blockIdx.x * 2 * width, *share = next + width;
  int *follow = links + blockIdx.x * 2 * width, *head = follow + width;
  for (int64_t i = blockIdx.x; i < batch; i += gridDim.x) {
    const States states{label + i * labels, blank, 2 * label_count[i] + 1};
    const int64_t count = states.count;
    for (int64_t s = threadIdx.x; s < count; s += blockDim.x) {
      int64_t behind = s + 2, before = s - 2;
      while (s % 2 && behind < count && states.at(behind) != states.at(s)) behind += 2;
      while (s % 2 && before > 0 && states.at(before) != states.at(s)) before -= 2;
      follow[s] = s % 2 && behind < count ? int(behind) : 0;
      head[s] = s % 2 && before < 0 && states.at(s) != blank;
    }
    for (int64_t t = frame_count[i] - 1; t >= 0; --t) {
      const float *row = alpha + (i * frames + t) * width + 2, *x = logp + (i * frames + t) * classes;
      const bool ending = t == frame_count[i] - 1;
      for (int64_t s = threadIdx.x; s < count; s += blockDim.x)
        share[s] = ending ? (s >= count - 2 ? 0.0f : kNever)
                          : log_sum(next[s], s + 1 < count ? next[s + 1] : kNever, s + 2 < count && states.skips(s + 2) ? next[s + 2] : kNever);
      __syncthreads();  // next has been read
      float most = kNever, most_next = kNever;
      for (int64_t s = threadIdx.x; s < count; s += blockDim.x) {
        const float beta = share[s], both = beta + row[s], with_frame = beta + x[states.at(s)];
        share[s] = both;
        next[s] = with_frame;
        most = Max()(both, most);
        most_next = RawMax()(with_frame, most_next);
      }
      most = block_reduce(most, Max());
      most_next = block_reduce(most_next, RawMax());
      for (int64_t s = threadIdx.x; s < count && most_next != kNever; s += blockDim.x) next[s] -= most_next;
      if (most != kNever) {  // the same for the whole block
        float total = 0, blanks = 0;
        for (int64_t s = threadIdx.x; s < count; s += blockDim.x) {
          const float e = expf(share[s] - most);
          share[s] = e;
          total += e;
          if (states.at(s) == blank) blanks += e;
        }
        total = block_reduce(total, Sum());  // its barriers show all of share, too
        blanks = block_reduce(blanks, Sum());
        const float scale = -gy[i] / total;
        float* g = glogp + (i * frames + t) * classes;
        if (threadIdx.x == 0) g[blank] = scale * blanks;
        for (int64_t s = threadIdx.x; s < count; s += blockDim.x) {
          if (!head[s]) continue;
          float sum = share[s];
          for (int k = follow[s]; k; k = follow[k]) sum += share[k];
          g[states.at(s)] = scale * sum;
        }
      }
      __syncthreads();  // share has been read, next is complete
    }
    __syncthreads();  // follow and head have been read
  }
}

// Threads of a block: one for each state, as far as a block goes.
unsigned state_threads(int64_t labels) {
  const int64_t states = 2 * labels + 1;
  return unsigned(states >= kThreads ? kThreads : ceil_div(states, 32) * 32);
}

}  // namespace

void ctc_forward(const int64_t* label, const int64_t* label_count, const int64_t* frame_count, const float* logp, float* y,
                 float* alpha, int64_t batch, int64_t frames, int64_t classes, int64_t labels, int64_t blank) {
  launch(ctc_forward_kernel, blocks_for(batch, 1), state_threads(labels), 0, label, label_count, frame_count, logp, y, alpha, batch,
         frames, classes, labels, blank);
}

void ctc_backward(const int64_t* label, const int64_t* label_count, const int64_t* frame_count, const float* logp,
                  const float* alpha, const float* gy, float* glogp, int64_t batch, int64_t frames, int64_t classes,
                  int64_t labels, int64_t blank) {
  const unsigned blocks = blocks_for(batch, 1);
  const int64_t words = blocks * 2 * (2 * labels + 3);
  Scratch<float> rows(words);
  Scratch<int> links(words);
  fill_bytes(glogp, 0, batch * frames * classes * int64_t(sizeof(float)));
  launch(ctc_backward_kernel, blocks, state_threads(labels), 0, label, label_count, frame_count, logp, alpha, gy, glogp, rows.get(),
         links.get(), batch, frames, classes, labels, blank);
}

}  // namespace fastnn::cuda
