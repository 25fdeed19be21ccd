// planted              lists the cases
// planted CASE 0|1     runs one, right or with its bug, and prints the bits of what it computed; what the emulator
//                      finds goes to stderr, with exit status 3
#include <cstdio>
#include <cstdlib>

#include "harness.h"

#include "barriers.cu"
#include "copies.cu"
#include "memory.cu"
#include "races.cu"
#include "warps.cu"

namespace fastnn::cuda {
const Kernels kernels = {};  // the runtime wants a table; nothing here is in one
void set_matmul_precision(int64_t) {}
}

int main(int argc, char** argv) {
  if (argc < 3) {
    for (const auto& [name, run] : planted::cases()) std::puts(name.c_str());
    return 0;
  }
  try {
    for (const float v : planted::cases().at(argv[1])(std::atoi(argv[2]) != 0)) std::printf("%08x\n", __float_as_uint(v));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 3;
  }
}
