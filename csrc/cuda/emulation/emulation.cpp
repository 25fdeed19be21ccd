#include "emulation.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "fiber.h"

#if defined(FASTNN_EMU_CHECKS_ALIGNMENT)
// What g++ calls under -fsanitize=alignment, without the sanitizer's library: a GPU faults there.
struct TypeMismatch {
  const char* file;
  uint32_t line, column;
  const void* type;
  unsigned char log_alignment, kind;
};
extern "C" void __ubsan_handle_type_mismatch_v1(void* data, void* pointer) {
  const auto& found = *static_cast<const TypeMismatch*>(data);
  const unsigned wanted = 1u << found.log_alignment;
  fastnn::emulation::fail("misaligned address: not a multiple of " + std::to_string(wanted) + " but " +
                          std::to_string(reinterpret_cast<uintptr_t>(pointer) % wanted) + " past one, " + found.file + ":" +
                          std::to_string(found.line));
}
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace fastnn::emulation {
namespace {

enum class State { ready, at_barrier, in_exchange, done };

struct AsyncCopy {
  void* shared;
  const void* global;
  int bytes, filled, group;
};

struct Thread {
  Fiber* fiber = nullptr;  // from its first step to its last
  dim3 index;
  int number = 0;
  State state = State::ready;
  const char* barrier_file = nullptr;
  int barrier_line = 0;
  std::vector<AsyncCopy> copies;
  int groups = 0;
};

// One exchange at a time in a warp: lanes put their values down, the last one lets all of them read.
struct Warp {
  unsigned arrived = 0, masks[kWarp] = {};
  const char* what[kWarp] = {};
  alignas(kLaneBytes) unsigned char values[kWarp * kLaneBytes];
  int reading = 0;
};

struct Shared {
  const void* tag;
  size_t bytes;
  void* data;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;  // the last that came to rest is the first to be used, while it is in the caches
  std::vector<Shared> shared;
  void* dynamic = nullptr;
  size_t dynamic_bytes = 0, static_bytes = 0;
  int current = -1, done = 0, waiting = 0, barriers = 0;
  Fiber scheduler;
  void (*body)(const void*) = nullptr;
  const void* arguments = nullptr;
  std::string error;
  char barrier_object[2];

  ~Block() { free_shared(); }
  // Each array in memory of its own, between guards; under the address sanitizer its own ones guard it.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kGuard = 0;
#else
  static constexpr size_t kGuard = 64;
#endif
  static constexpr unsigned char kGuardByte = 0xa5;
  // Fresh memory holds NaN, a large number or something small, by the order: a kernel that reads what it has not
  // written gives different results.
  static void* poisoned(size_t bytes) {
    auto* p = static_cast<unsigned char*>(std::malloc(bytes + 2 * kGuard + (bytes == 0)));
    if (!p) throw std::bad_alloc();
    const Order order = options().order;
    std::memset(p, kGuardByte, kGuard);
    std::memset(p + kGuard, order == Order::forward ? 0xff : order == Order::reverse ? 0x7e : 0x3d, bytes);
    std::memset(p + kGuard + bytes, kGuardByte, kGuard);
    return p + kGuard;
  }
  static bool intact(const void* data, size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (size_t i = 0; i < kGuard; ++i)
      if (*(p - 1 - i) != kGuardByte || p[bytes + i] != kGuardByte) return false;
    return true;
  }
  bool shared_is_intact() const {
    for (const Shared& s : shared)
      if (!intact(s.data, s.bytes)) return false;
    return !dynamic || intact(dynamic, dynamic_bytes);
  }
  static void give_back(void* p) {
    if (p) std::free(static_cast<unsigned char*>(p) - kGuard);
  }
  void free_shared() {
    for (Shared& s : shared) give_back(s.data);
    shared.clear();
    give_back(dynamic);
    dynamic = nullptr;
    static_bytes = 0;
  }
};

Block* block = nullptr;

Thread& self() { return block->threads[block->current]; }

void to_scheduler() { self().fiber->leave(block->scheduler, self().state == State::done); }

void thread_main() {
  block->scheduler.arrived_first();
  block->body(block->arguments);
  {
    Untracked untracked;
    if (!self().copies.empty()) block->error = "a thread ends with cp.async copies that it has not waited for";
    self().state = State::done;
    ++block->done;
  }
  Fiber::release(&block->done);
  to_scheduler();
  std::abort();  // a finished thread is not resumed
}

void resume(int number) {
  block->current = number;
  Thread& t = block->threads[number];
  threadIdx = t.index;
  if (!t.fiber) {
    if (block->idle.empty()) {
      block->fibers.push_back(std::make_unique<Fiber>(block->fibers.size()));
      block->idle.push_back(block->fibers.back().get());
    }
    t.fiber = block->idle.back();
    t.fiber->start(thread_main);
    block->idle.pop_back();
  }
  block->scheduler.enter(*t.fiber);
  if (t.state == State::done) {
    block->idle.push_back(t.fiber);
    t.fiber = nullptr;
  }
}

std::string place() {
  return " in block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " +
         std::to_string(blockIdx.z) + ")";
}
[[noreturn]] void raise(const std::string& why) { throw Error("[cuda-emu] " + why + place()); }

// The barrier opens when every thread stands at it, all at the same one.
bool open_barrier() {
  Block& b = *block;
  if (!b.waiting || b.waiting + b.done != int(b.threads.size())) return false;
  if (b.done) raise("__syncthreads() is not reached by all threads of the block: some have ended");
  const Thread& first = b.threads[0];
  for (const Thread& t : b.threads)
    if (t.barrier_line != first.barrier_line || t.barrier_file != first.barrier_file)
      raise("divergent __syncthreads(): lines " + std::to_string(first.barrier_line) + " and " +
            std::to_string(t.barrier_line) + " of " + first.barrier_file);
  b.waiting = 0;
  b.barriers ^= 1;
  for (Thread& t : b.threads) t.state = State::ready;
  return true;
}

// Each warp runs as far as it can before the next one does: round robin would hide missing barriers.
void run_block(std::mt19937& random) {
  Block& b = *block;
  const int n = int(b.threads.size()), warps = (n + kWarp - 1) / kWarp;
  b.done = b.waiting = 0;
  b.warps.resize(warps);
  for (Warp& w : b.warps) w.arrived = 0, w.reading = 0;
  b.free_shared();
  if (b.dynamic_bytes) b.dynamic = Block::poisoned(b.dynamic_bytes);
  for (int i = 0; i < n; ++i) {
    Thread& t = b.threads[i];
    t.number = i;
    t.index = dim3(i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y));
    t.state = State::ready;
    t.copies.clear();
    t.groups = 0;
  }
  const Order order = options().order;
  std::vector<int> turn(warps), lanes(kWarp);
  for (int w = 0; w < warps; ++w) turn[w] = order == Order::reverse ? warps - 1 - w : w;
  while (b.done < n) {
    if (order == Order::shuffled) std::shuffle(turn.begin(), turn.end(), random);
    bool progress = false;
    for (int w : turn) {
      const int low = w * kWarp, count = std::min(n - low, kWarp);
      for (int k = 0; k < count; ++k) lanes[k] = order == Order::reverse ? count - 1 - k : k;
      if (order == Order::shuffled) std::shuffle(lanes.begin(), lanes.begin() + count, random);
      for (bool again = true; again;) {
        again = false;
        for (int k = 0; k < count; ++k) {
          if (b.threads[low + lanes[k]].state != State::ready) continue;
          progress = again = true;
          resume(low + lanes[k]);
          if (!b.error.empty()) raise(b.error);
        }
      }
    }
    progress |= open_barrier();
    if (!progress && b.done < n) raise("deadlock: divergent __syncthreads() or a warp collective that misses a lane");
  }
  if (!b.shared_is_intact()) raise("a kernel has written past the ends of an array in shared memory");
}

}  // namespace

Options& options() {
  static Options chosen = [] {
    Options o;
    const auto get = [](const char* name) { const char* v = std::getenv(name); return std::string(v ? v : ""); };
    if (get("FASTNN_EMU_ORDER") == "reverse") o.order = Order::reverse;
    if (get("FASTNN_EMU_ORDER") == "shuffled") o.order = Order::shuffled;
    o.copies_late = get("FASTNN_EMU_COPIES") != "early";
    if (!get("FASTNN_EMU_SECONDS").empty()) o.seconds = std::atof(get("FASTNN_EMU_SECONDS").c_str());
    if (!get("FASTNN_EMU_GRID").empty()) o.grid = std::atoll(get("FASTNN_EMU_GRID").c_str());
    if (!get("FASTNN_EMU_SEED").empty()) o.seed = uint32_t(std::atoi(get("FASTNN_EMU_SEED").c_str()));
    return o;
  }();
  return chosen;
}

void fail(const std::string& why) {
  // Exceptions do not cross stacks: the scheduler throws, and the fibers of the block are given up.
  block->error = why;
  to_scheduler();
  std::abort();
}

void run_grid(dim3 grid, dim3 threads, size_t shared_bytes, void (*body)(const void*), const void* arguments) {
  Untracked untracked;
  static std::recursive_mutex one_at_a_time;
  std::lock_guard lock(one_at_a_time);
  const size_t n = size_t(threads.x) * threads.y * threads.z;
  blockIdx = dim3(0, 0, 0);
  if (n == 0 || n > 1024 || threads.z > 64) raise("a block must have 1 to 1024 threads, at most 64 of them in z");
  if (!grid.x || !grid.y || !grid.z || grid.x > options().grid || grid.y > 65535 || grid.z > 65535)
    raise("a grid must have 1 to " + std::to_string(options().grid) + " blocks in x and 1 to 65535 in y and z");
  if (shared_bytes > size_t(kDynamicShared)) raise("a block has at most 99 KiB of dynamic shared memory on sm_86");
  struct Kept {
    std::unique_ptr<Block> block;
    ~Kept() {
      Untracked untracked;
      block.reset();
    }
  };
  static Kept kept;
  if (block) raise("a kernel must not launch a kernel");
  if (!kept.block) kept.block = std::make_unique<Block>();
  block = kept.block.get();
  struct Leave {
    ~Leave() {
      // The launching thread goes on after the grid, also after one that was stopped: it may free what the kernel used.
      Fiber::acquire(&block->done);
      for (Thread& t : block->threads)
        if (t.fiber) t.fiber->abandon();
      if (!block->error.empty()) kept.block.reset();  // fibers stopped half way
      else block->free_shared();
      block = nullptr;
    }
  } leave;
  block->error.clear();
  block->threads.resize(n);
  block->dynamic_bytes = shared_bytes;
  block->body = body;
  block->arguments = arguments;
  gridDim = grid;
  blockDim = threads;
  std::mt19937 random(options().seed);
  const int64_t blocks = int64_t(grid.x) * grid.y * grid.z;
  // Shuffled: a start and a step that has no factor in common with the number of blocks.
  int64_t start = 0, step = 1;
  if (options().order == Order::shuffled && blocks > 2) {
    start = int64_t(random() % uint64_t(blocks));
    for (step = int64_t(random() % uint64_t(blocks)) | 1; std::__gcd(step, blocks) != 1;) step += 2;
  }
  const std::clock_t begin = std::clock();  // of the processor: other work must not decide which tests are run
  const double limit = options().seconds;
  try {
    for (int64_t k = 0; k < blocks; ++k) {
      if (limit > 0 && k % 16 == 15 && double(std::clock() - begin) > limit * CLOCKS_PER_SEC) raise("a kernel took more than FASTNN_EMU_SECONDS");
      int64_t i = options().order == Order::reverse ? blocks - 1 - k : int64_t((start + __int128(k) * step) % blocks);
      blockIdx = dim3(unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / (int64_t(grid.x) * grid.y)));
      run_block(random);
    }
  } catch (...) {
    if (block->error.empty()) block->error = "stopped";
    throw;
  }
}

void* shared_memory(const void* tag, size_t bytes) {
  Untracked untracked;
  for (const Shared& s : block->shared)
    if (s.tag == tag) return s.data;
  block->static_bytes += bytes;
  if (block->static_bytes > size_t(kStaticShared)) fail("more than 48 KiB of static shared memory");
  block->shared.push_back({tag, bytes, Block::poisoned(bytes)});
  return block->shared.back().data;
}

void* dynamic_shared_memory() {
  Untracked untracked;
  return block->dynamic;
}

void barrier(const char* file, int line) {
  char* object;
  {
    Untracked untracked;
    Thread& t = self();
    t.state = State::at_barrier;
    t.barrier_file = file;
    t.barrier_line = line;
    ++block->waiting;
    object = &block->barrier_object[block->barriers];
  }
  Fiber::release(object);
  to_scheduler();
  Fiber::acquire(object);
}

int lane() {
  Untracked untracked;
  return self().number % kWarp;
}

const unsigned char* enter_exchange(unsigned mask, const void* value, size_t bytes, const char* what) {
  Untracked untracked;
  Thread& me = self();
  const int w = me.number / kWarp, l = me.number % kWarp;
  Warp& warp = block->warps[w];
  const int members = std::min(int(block->threads.size()) - w * kWarp, kWarp);
  if (!(mask >> l & 1)) fail(std::string(what) + ": the calling lane is not in its mask");
  if (members < kWarp) {
    if (mask != 0xffffffffu && mask >> members) fail(std::string(what) + ": the mask names lanes that do not exist");
    mask &= (1u << members) - 1;
  }
  while (warp.reading > 0) to_scheduler();
  std::memcpy(warp.values + l * kLaneBytes, value, bytes);
  warp.masks[l] = mask;
  warp.what[l] = what;
  warp.arrived |= 1u << l;
  Fiber::release(&warp);
  if ((warp.arrived & mask) == mask) {
    for (unsigned rest = mask; rest; rest &= rest - 1) {
      const int k = __builtin_ctz(rest);
      if (warp.masks[k] != mask) fail(std::string(what) + ": the masks of its lanes differ");
      if (warp.what[k] != what) fail(std::string("lanes of one warp meet in ") + what + " and " + warp.what[k]);
      block->threads[w * kWarp + k].state = State::ready;
    }
    warp.reading = __builtin_popcount(mask);
    warp.arrived &= ~mask;
  } else {
    me.state = State::in_exchange;
    to_scheduler();
  }
  Fiber::acquire(&warp);
  return warp.values;
}

void leave_exchange() {
  Untracked untracked;
  --block->warps[self().number / kWarp].reading;
}

void copy_async(void* shared, const void* global, int bytes, int filled) {
  bool now;
  {
    Untracked untracked;
    if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) & uintptr_t(bytes - 1))
      fail("cp.async needs addresses aligned to its size");
    now = !options().copies_late;
    if (!now) self().copies.push_back({shared, global, bytes, filled, self().groups});
  }
  if (!now) return;
  std::memcpy(shared, global, filled);
  std::memset(static_cast<char*>(shared) + filled, 0, bytes - filled);
}

void commit_copies() {
  Untracked untracked;
  ++self().groups;
}

void wait_copies(int groups_left) {
  std::vector<AsyncCopy> due;
  {
    Untracked untracked;
    Thread& t = self();
    const int limit = t.groups - groups_left;
    const auto later = std::stable_partition(t.copies.begin(), t.copies.end(), [&](const AsyncCopy& c) { return c.group < limit; });
    due.assign(t.copies.begin(), later);
    t.copies.erase(t.copies.begin(), later);
  }
  for (const AsyncCopy& c : due) {
    std::memcpy(c.shared, c.global, c.filled);
    std::memset(static_cast<char*>(c.shared) + c.filled, 0, c.bytes - c.filled);
  }
}

// What a thread wrote before a fence is seen by those that pass one later.
void fence() {
  static char everywhere;
  Fiber::release(&everywhere);
  Fiber::acquire(&everywhere);
}

}  // namespace fastnn::emulation
