// The fragment layouts of CuTe's traits, printed as `semantics layouts` prints those of the emulator.
#include <cstdio>

#include <cute/atom/copy_traits_sm75.hpp>
#include <cute/atom/mma_traits_sm80.hpp>

using namespace cute;

// A layout gives (lane, value) the position in a matrix whose first size is `rows`, column by column.
template <class Layout>
void print(const char* name, Layout layout, int rows) {
  std::printf("%s:", name);
  for (int lane = 0; lane < 32; ++lane)
    for (int value = 0; value < int(size<1>(layout)); ++value) {
      const int at = int(layout(lane, value));
      std::printf(" %d,%d", at % rows, at / rows);
    }
  std::printf("\n");
}

template <class Traits>
void print_mma(const char* a, const char* b, const char* c) {
  print(a, typename Traits::ALayout{}, 16);
  print(b, typename Traits::BLayout{}, 8);
  print(c, typename Traits::CLayout{}, 16);
}

// In bits: where each bit of a lane's registers comes from.
template <class Traits>
void print_copy(const char* name) {
  const typename Traits::DstLayout layout{};
  std::printf("%s:", name);
  for (int lane = 0; lane < 32; ++lane)
    for (int half = 0; half < 8; ++half) std::printf(" %d", int(layout(lane, 16 * half)) / 16);
  std::printf("\n");
}

int main() {
  print_mma<MMA_Traits<SM80_16x8x8_F32TF32TF32F32_TN>>("tf32 A", "tf32 B", "tf32 C");
  print_mma<MMA_Traits<SM80_16x8x16_F32BF16BF16F32_TN>>("bf16 A", "bf16 B", "bf16 C");
  print_copy<Copy_Traits<SM75_U32x4_LDSM_N>>("ldmatrix normal");
  print_copy<Copy_Traits<SM75_U16x8_LDSM_T>>("ldmatrix transposed");
}
