// A pool of our own rather than OpenMP: its waiting threads must not burn a busy machine, it must
// survive fork(), and a slow thread must not hold up the rest. Every thread has a part of the chunks of
// its own, the same part in each kernel, so that what it wrote is in its cache when the next kernel reads
// it, and neighbouring chunks share what they read. Chunks are taken one by one, and who is through with
// its part helps with the others', so a thread that the system has put aside simply takes fewer.
#include "parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <thread>

#include "check.h"
#include "cpu/parallel.h"
#include "cpu/parallel_back.h"
#include "memory.h"

namespace fastnn {
namespace {

constexpr int kMaxThreads = 256;
// Long enough to span the Python between two kernels, short enough to cost a busy neighbour little.
constexpr auto kSpin = std::chrono::microseconds(30);

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `word` differs from `old`: a short spin, then sleep in the kernel.
void wait_while_equal(std::atomic<uint32_t>& word, uint32_t old, std::atomic<int>* sleepers) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (word.load(std::memory_order_acquire) != old) return;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  if (sleepers) sleepers->fetch_add(1, std::memory_order_seq_cst);
  while (word.load(std::memory_order_seq_cst) == old) word.wait(old, std::memory_order_acquire);
  if (sleepers) sleepers->fetch_sub(1, std::memory_order_relaxed);
}

// The CPU this thread is on, or -1.
inline int current_cpu() {
#ifdef __linux__
  return sched_getcpu();
#else
  return -1;
#endif
}

// Moves this thread off a CPU that it shares with the thread it should help. Beside another busy process the system
// wakes a thread on its waker's CPU and may leave it there for seconds. Moving costs some 10 us: at most one in kMoves.
constexpr auto kMoves = std::chrono::milliseconds(2);
void leave_cpu([[maybe_unused]] int cpu, [[maybe_unused]] std::chrono::steady_clock::time_point& last) {
#ifdef __linux__
  const auto now = std::chrono::steady_clock::now();
  cpu_set_t all;
  if (now - last < kMoves || sched_getaffinity(0, sizeof all, &all) != 0) return;
  last = now;
  cpu_set_t others = all;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) == 0) return;
  if (sched_setaffinity(0, sizeof others, &others) != 0) return;  // moves it now
  // And leaves it free to be moved, unless somebody has pinned it while it waited for the other CPU.
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_EQUAL(&set, &others)) sched_setaffinity(0, sizeof all, &all);
#endif
}

struct Job {
  void (*call)(void*, int64_t) = nullptr;
  void* context = nullptr;
  std::atomic<int> cpu{-1};  // of the caller
  int64_t parts = 0;
  bool back = false;  // each part from its end
  std::exception_ptr error;
  std::mutex error_mutex;
};

// Chunks [next, end) of a job: one thread's part, which others may help with.
struct alignas(64) Part {
  std::atomic<int64_t> next{0};
  int64_t begin = 0, end = 0;
};

class Pool {
 public:
  // False: another thread is using the pool, nothing was run.
  bool run(int threads, int64_t chunks, void (*call)(void*, int64_t), void* context, bool back) {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    grow(threads - 1);
    job_.call = call;
    job_.context = context;
    job_.back = back;
    job_.error = nullptr;
    job_.cpu.store(current_cpu(), std::memory_order_relaxed);
    const int64_t parts = job_.parts = std::min<int64_t>(std::min(threads, workers_ + 1), chunks);
    for (int64_t p = 0; p < parts; ++p) {
      parts_[p].begin = p * chunks / parts;
      parts_[p].end = (p + 1) * chunks / parts;
      parts_[p].next.store(parts_[p].begin, std::memory_order_relaxed);
    }
    // Opens the door to as many helpers as can find a chunk.
    seats_.store(int(parts - 1), std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) epoch_.notify_all();
    work(0);
    // Close the door, then wait for those inside.
    seats_.exchange(kClosed, std::memory_order_acq_rel);
    for (uint32_t n; (n = inside_.load(std::memory_order_acquire)) != 0;) wait_while_equal(inside_, n, nullptr);
    if (job_.error) std::rethrow_exception(job_.error);
    return true;
  }

 private:
  static constexpr int kClosed = -1 << 20;

  void work(int id) {
    for (int64_t k = 0; k < job_.parts; ++k) {
      Part& part = parts_[(id + k) % job_.parts];
      for (int64_t i; (i = part.next.fetch_add(1, std::memory_order_relaxed)) < part.end;) {
        try {
          job_.call(job_.context, job_.back ? part.begin + part.end - 1 - i : i);
        } catch (...) {
          std::lock_guard lock(job_.error_mutex);
          job_.error = std::current_exception();
        }
      }
    }
  }

  void loop(int id) {
    uint32_t seen = 0;
    std::chrono::steady_clock::time_point moved{};
    for (;;) {
      wait_while_equal(epoch_, seen, &sleepers_);
      seen = epoch_.load(std::memory_order_acquire);
      if (const int cpu = current_cpu(); cpu >= 0 && cpu == job_.cpu.load(std::memory_order_relaxed)) leave_cpu(cpu, moved);
      // Announce first, then take a seat: the caller closes the seats before it counts who is inside.
      inside_.fetch_add(1, std::memory_order_seq_cst);
      if (seats_.fetch_sub(1, std::memory_order_seq_cst) > 0) work(id);
      if (inside_.fetch_sub(1, std::memory_order_seq_cst) == 1) inside_.notify_all();
    }
  }

  void grow(int wanted) {
    if (workers_ >= wanted) return;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);  // signals belong to the program's own threads
    try {
      for (; workers_ < wanted; ++workers_) {
        std::thread([this, id = workers_ + 1] {
          in_worker() = true;
          loop(id);
        }).detach();
      }
    } catch (const std::system_error&) {
      // Fewer threads than asked for: the ones we have do the work.
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }

 public:
  // True while this thread runs a chunk: a kernel called from a chunk is serial.
  static bool& in_worker() {
    static thread_local bool inside = false;
    return inside;
  }

 private:
  std::mutex mutex_;
  Job job_;
  Part parts_[kMaxThreads];
  int workers_ = 0;
  std::atomic<uint32_t> epoch_{0};
  std::atomic<int> seats_{kClosed};
  std::atomic<uint32_t> inside_{0};
  std::atomic<int> sleepers_{0};
};

// Leaked on purpose: its threads sleep until the process ends.
std::atomic<Pool*> pool_{nullptr};

Pool& pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    pool_ = new Pool;
    // The threads do not exist in a child of fork(): it starts with a pool of its own.
    pthread_atfork(nullptr, nullptr, [] { pool_ = new Pool; });
  });
  return *pool_.load();
}

int from_environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : 0;
}

// CPUs granted by a control group ("max" or no file: 0). Version 2, then version 1.
int quota() {
  double limit = 0, period = 0;
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(f, "%lf %lf", &limit, &period) != 2) limit = 0;
    std::fclose(f);
  } else if (FILE* q = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) {
    if (std::fscanf(q, "%lf", &limit) != 1) limit = 0;
    std::fclose(q);
    if (FILE* p = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
      if (std::fscanf(p, "%lf", &period) != 1) period = 0;
      std::fclose(p);
    }
  }
  return limit > 0 && period > 0 ? int((limit + period - 1) / period) : 0;
}

int default_threads() {
  for (const char* name : {"FASTNN_NUM_THREADS", "OMP_NUM_THREADS"})
    if (int n = from_environment(name); n >= 1) return std::min(n, kMaxThreads);
  int n = int(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
  if (int q = quota(); q >= 1) n = std::min(n, q);
  return std::max(1, std::min(n, kMaxThreads));
}

std::atomic<int>& threads() {
  static std::atomic<int> n{default_threads()};
  return n;
}

}  // namespace

int num_threads() { return threads(); }
void set_num_threads(int n) {
  check(n >= 1 && n <= kMaxThreads, "[set_num_threads] n must be from 1 to ", kMaxThreads, ". Received: n=", n);
  threads() = n;
}

namespace {
void run(int64_t chunks, void (*call)(void*, int64_t), void* context, bool back) {
  bool& inside = Pool::in_worker();
  const int n = num_threads();
  if (!inside && n > 1 && chunks > 1) {
    struct Leave {
      bool& flag;
      ~Leave() { flag = false; }
    } leave{inside};
    inside = true;
    if (pool().run(n, chunks, call, context, back)) return;
  }
  for (int64_t i = 0; i < chunks; ++i) call(context, back ? chunks - 1 - i : i);
}
}  // namespace

void parallel_run(int64_t chunks, void (*call)(void*, int64_t), void* context) { run(chunks, call, context, false); }
void parallel_run_back(int64_t chunks, void (*call)(void*, int64_t), void* context) { run(chunks, call, context, true); }

void* scratch_acquire(int64_t bytes) { return allocate(bytes); }
void scratch_release(void* block, int64_t bytes) { deallocate(block, bytes); }

}  // namespace fastnn
