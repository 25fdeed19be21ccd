// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
//
// A stream is a key of two words. Counter c yields the words of element 64 (c / 16) + c % 16 and of
// those 16, 32 and 48 further on: 16 counters fill 64 consecutive elements, without a transposition.
// Element i depends on the key and on i alone, so any split into threads gives the same numbers.
#pragma once
#include <cstdint>

#include "cpu/simd.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace fastnn {
namespace {

constexpr int64_t kPhiloxGroup = 64;

// Word: as many 32-bit words as a Vec has lanes.
typedef uint32_t Word __attribute__((vector_size(4 * Vec::width)));
constexpr int kPhiloxParts = 16 / Vec::width;

// High and low words of x * factor, lane by lane: products of the even lanes and of the odd lanes.
inline void multiply_wide(Word x, uint32_t factor, Word& high, Word& low) {
#if defined(__AVX512F__)
  const __m512i f = _mm512_set1_epi32(int(factor)), v = __m512i(x);
  const __m512i even = _mm512_mul_epu32(v, f), odd = _mm512_mul_epu32(_mm512_srli_epi64(v, 32), f);
  high = Word(_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_CDAB));
  low = Word(_mm512_mask_shuffle_epi32(even, 0xaaaa, odd, _MM_PERM_CDAB));
#elif defined(__AVX2__)
  const __m256i f = _mm256_set1_epi32(int(factor)), v = __m256i(x);
  const __m256i even = _mm256_mul_epu32(v, f), odd = _mm256_mul_epu32(_mm256_srli_epi64(v, 32), f);
  high = Word(_mm256_blend_epi32(_mm256_shuffle_epi32(even, 0xb1), odd, 0xaa));
  low = Word(_mm256_blend_epi32(even, _mm256_shuffle_epi32(odd, 0xb1), 0xaa));
#elif defined(__SSE2__)
  const __m128i f = _mm_set1_epi32(int(factor)), v = __m128i(x);
  const __m128i even = _mm_mul_epu32(v, f), odd = _mm_mul_epu32(_mm_srli_epi64(v, 32), f);
  const __m128i mask = _mm_set1_epi64x(0xffffffff);
  high = Word(_mm_or_si128(_mm_srli_epi64(even, 32), _mm_andnot_si128(mask, odd)));
  low = Word(_mm_or_si128(_mm_and_si128(mask, even), _mm_slli_epi64(odd, 32)));
#else
  for (int i = 0; i < Vec::width; ++i) {
    const uint64_t p = uint64_t(x[i]) * factor;
    high[i] = uint32_t(p >> 32);
    low[i] = uint32_t(p);
  }
#endif
}

// Ten rounds on Vec::width counters; c: the four words of each.
inline void philox4x32_10(Word* c, uint32_t k0, uint32_t k1) {
  FASTNN_UNROLL for (int round = 0; round < 10; ++round) {
    Word h0, l0, h2, l2;
    multiply_wide(c[0], 0xD2511F53u, h0, l0);
    multiply_wide(c[2], 0xCD9E8D57u, h2, l2);
    c[0] = h2 ^ c[1] ^ k0;
    c[1] = l2;
    c[2] = h0 ^ c[3] ^ k1;
    c[3] = l0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Part `part` of the group: word w of lane l belongs to element 64 group + 16 w + width part + l.
inline void philox_group(const uint32_t* key, uint64_t group, int part, Word* out) {
  const uint64_t first = group * 16 + part * Vec::width;  // a multiple of 16: the low word does not carry
  Word lanes;
  for (int i = 0; i < Vec::width; ++i) lanes[i] = uint32_t(i);
  out[0] = lanes + uint32_t(first);
  out[1] = Word{} + uint32_t(first >> 32);
  out[2] = out[3] = Word{};
  philox4x32_10(out, key[0], key[1]);
}

}  // namespace
}  // namespace fastnn
