// Times calls while a profile is taken: by kernel, by layer, and as events for a trace.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "record.h"

namespace fastnn {

struct Event {
  const char* name;
  int kernel;
  std::string label;
  double start, seconds;  // from the start of the profile
  double flops, bytes;
};

class Profiler {
 public:
  bool start();  // false if another profile is taken in this thread
  void stop();
  void set_label(std::string label) { label_ = std::move(label); }
  const std::string& label() const { return label_; }
  void note(const char* name, int kernel, const std::string& label, const std::byte* args,
            std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end);
  std::vector<Event> events;

 private:
  std::chrono::steady_clock::time_point zero_;
  std::string label_;
};

template <class F>
void profile_call(Profiler& profiler, const char* name, int kernel, const std::string& label, const std::byte* args, F run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  profiler.note(name, kernel, label, args, begin, std::chrono::steady_clock::now());
}

// What a kernel must compute and move, counted from its arguments; 0 where nobody has counted.
struct Cost {
  double flops = 0, bytes = 0;
};
Cost cost_of(int kernel, const std::byte* args);

}  // namespace fastnn
