// Times calls while a profile is taken: by kernel, by layer, and as events for a trace.
#pragma once
#include <chrono>
#include <cstddef>
#include <vector>

#include "record.h"

namespace fastnn {

struct Event {
  const char* name;
  int kernel;
  const char* label;
  double start, seconds;  // from the start of the profile
  double flops, bytes;
};

// What a kernel must compute and move, counted from its arguments; 0 where nobody has counted.
struct Cost {
  double flops = 0, bytes = 0;
};
Cost cost_of(int kernel, const std::byte* args);

class Profiler {
 public:
  bool start();  // false if another profile is taken in this thread
  void stop();
  void note(const char* name, int kernel, const char* label, const std::byte* args,
            std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
    note(name, kernel, label, kernel < 0 ? Cost{} : cost_of(kernel, args), begin, end);
  }
  void note(const char* name, int kernel, const char* label, const Cost& cost,
            std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end);
  std::vector<Event> events;

 private:
  std::chrono::steady_clock::time_point zero_;
};

template <class F>
void profile_call(Profiler& profiler, const char* name, int kernel, const char* label, const std::byte* args, F run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  profiler.note(name, kernel, label, args, begin, std::chrono::steady_clock::now());
}

}  // namespace fastnn
