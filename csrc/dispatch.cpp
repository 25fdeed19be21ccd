#include "dispatch.h"

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <string>

#include "check.h"

namespace fastnn {
namespace {

struct Isa {
  const char* name;
  bool supported;
  const Kernels* kernels;
};

const Isa& choose() {
  // Best first.
  static const Isa isas[] = {
#ifdef FASTNN_HAS_avx512
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"),
       &avx512::kernels},
#endif
#ifdef FASTNN_HAS_avx2
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), &avx2::kernels},
#endif
#ifdef FASTNN_HAS_baseline
      {"baseline", true, &baseline::kernels},
#endif
  };
  const char* wanted = std::getenv("FASTNN_ISA");
  for (const Isa& isa : isas) {
    if (!isa.supported) continue;
    if (!wanted || !*wanted || !std::strcmp(wanted, isa.name)) return isa;
  }
  const Isa* best = isas;
  while (!best->supported) ++best;
  throw std::invalid_argument(message("FASTNN_ISA must name an instruction set of this machine: avx512, avx2 or "
                                      "baseline, at most ", best->name, ". Received: FASTNN_ISA=", wanted));
}

const Isa& chosen() {
  static const Isa& isa = choose();
  return isa;
}

#define K(name, args) #name,
constexpr const char* kKernelNames[] = {
#include "kernels.def"
};
#undef K

}  // namespace

const char* kernel_name(int index) { return kKernelNames[index]; }
int kernel_count() { return int(std::size(kKernelNames)); }

alignas(64) const std::byte zero_bytes[kZeroBytes] = {};

const void* zeros(Device device) {
  if (device == Device::cpu) return zero_bytes;
  static std::mutex mutex;
  static void* made[kDevices] = {};
  std::lock_guard lock(mutex);
  if (void* found = made[int(device)]) return found;
  void* p = library(device).allocate(kZeroBytes);
  if (!p) throw MemoryError(message("[memory] out of memory of ", device_name(device), ". Received: bytes=", kZeroBytes));
  library(device).copy_from_host(p, zero_bytes, kZeroBytes);
  return made[int(device)] = p;
}

const Kernels& cpu_kernels() {
  static const Kernels& kernels = *chosen().kernels;
  return kernels;
}
const char* isa_name() { return chosen().name; }

}  // namespace fastnn
