#include "dispatch.h"

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/tile_unit.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fastnn {
namespace {

// The CPU has AMX with bfloat16, and the system lets this process use its registers, which it must be asked for.
bool tiles_granted() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned kBfloat16 = 1u << 22, kTiles = 1u << 24;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a, b, c, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBfloat16) == 0 || (d & kTiles) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

struct Isa {
  const char* name;
  bool supported;
  const Kernels* kernels;
};

// What was built and this machine has, best first.
const std::vector<Isa>& usable() {
  static const std::vector<Isa> found = [] {
#ifdef FASTNN_HAS_avx512
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    std::vector<Isa> isas = {
#ifdef FASTNN_HAS_avx512
        {"amx", wide && tiles_granted(), &avx512::kernels},
        {"avx512", wide, &avx512::kernels},
#endif
#ifdef FASTNN_HAS_avx2
        {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), &avx2::kernels},
#endif
#ifdef FASTNN_HAS_baseline
        {"baseline", true, &baseline::kernels},
#endif
    };
    std::erase_if(isas, [](const Isa& isa) { return !isa.supported; });
    return isas;
  }();
  return found;
}

const Isa& choose() {
  const char* wanted = std::getenv("FASTNN_ISA");
  std::string names;
  for (const Isa& isa : usable()) {
    if (!wanted || !*wanted || !std::strcmp(wanted, isa.name)) return isa;
    names += names.empty() ? isa.name : message(", ", isa.name);
  }
  throw std::invalid_argument(message("FASTNN_ISA must name an instruction set of this machine and build: ", names,
                                      ". Received: FASTNN_ISA=", wanted ? wanted : ""));
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
bool has_tiles() {
  static const bool found = !std::strcmp(isa_name(), "amx");
  return found;
}
std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Isa& isa : usable()) names.push_back(isa.name);
  return names;
}

}  // namespace fastnn
