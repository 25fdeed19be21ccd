// A stable sort of 32-bit keys, and the scan it needs: how sums over equal indices keep their order.
#pragma once
#include "cuda.h"

namespace fastnn::cuda {

// data[i] = the sum of data[j] over j < i.
void exclusive_scan(uint32_t* data, int64_t n);

// Pairs of arrays that a sort goes back and forth between; the result is in keys() and values().
class SortBuffers {
 public:
  explicit SortBuffers(int64_t n) : n_(n), memory_(4 * n) {}
  uint32_t* keys() { return memory_.get() + n_ * now_; }
  uint32_t* values() { return memory_.get() + n_ * (2 + now_); }
  // By key, equal keys as they stood; keys are below limit <= 2^32, n < 2^32.
  void sort(int64_t limit);

 private:
  int64_t n_, now_ = 0;
  Scratch<uint32_t> memory_;
};

}  // namespace fastnn::cuda
