// Planted bugs: each case is a kernel that is right with bug == 0 and wrong with bug == 1, and gives what it
// computed. tests/test_cuda_emulation.py runs every case in a process of its own.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cuda.h"
#include "library.h"
#include "ptx.h"

namespace planted {

using namespace fastnn;
using namespace fastnn::cuda;

using Run = std::vector<float> (*)(bool bug);
inline std::map<std::string, Run>& cases() {
  static std::map<std::string, Run> all;
  return all;
}
struct Register {
  Register(const char* name, Run run) { cases()[name] = run; }
};
#define PLANTED(name)                              \
  std::vector<float> name(bool bug);               \
  const Register register_##name(#name, name);     \
  std::vector<float> name([[maybe_unused]] bool bug)

inline const DeviceLibrary& device() {
  static const DeviceLibrary* library = [] {
    const char* why;
    return fastnn_device_library(&why);
  }();
  return *library;
}

// An array of the emulated device, which looks after its ends; 0, 1, 2 ... at first, or NaN.
class Array {
 public:
  explicit Array(int64_t n, bool counted = true) : n_(n), data_(static_cast<float*>(device().allocate(n * 4))) {
    if (counted)
      for (int64_t i = 0; i < n; ++i) data_[i] = float(i);
  }
  ~Array() { device().deallocate(data_, n_ * 4); }
  Array(const Array&) = delete;
  float* get() const { return data_; }
  std::vector<float> values() const {
    const void* pointers[] = {data_};
    device().verify(pointers, 1, true);
    return {data_, data_ + n_};
  }

 private:
  int64_t n_;
  float* data_;
};

// kernel<bug> with the bug or without.
#define LAUNCH(kernel, grid, block, shared, ...) \
  (bug ? launch(kernel<true>, grid, block, shared, __VA_ARGS__) : launch(kernel<false>, grid, block, shared, __VA_ARGS__))

}  // namespace planted
