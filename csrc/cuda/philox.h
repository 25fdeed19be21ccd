// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): the words of csrc/cpu.
// Counter c yields the words of element 64 (c / 16) + c % 16 and of those 16, 32 and 48 further on.
#pragma once
#include "cuda.h"

namespace fastnn::cuda {

__device__ __forceinline__ void philox4x32_10(uint64_t counter, uint32_t k0, uint32_t k1, uint32_t (&c)[4]) {
  c[0] = uint32_t(counter), c[1] = uint32_t(counter >> 32), c[2] = c[3] = 0;
  FASTNN_UNROLL for (int round = 0; round < 10; ++round) {
    const uint32_t h0 = __umulhi(0xD2511F53u, c[0]), l0 = 0xD2511F53u * c[0];
    const uint32_t h2 = __umulhi(0xCD9E8D57u, c[2]), l2 = 0xCD9E8D57u * c[2];
    c[0] = h2 ^ c[1] ^ k0;
    c[1] = l2;
    c[2] = h0 ^ c[3] ^ k1;
    c[3] = l0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

}  // namespace fastnn::cuda
