#include "engine/core/parallel.h"

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "engine/core/allocator.h"
#include "engine/core/error.h"
#include "engine/core/processors.h"

namespace decant {
namespace {

thread_local bool inside_parallel = false;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// One loop: chunks are taken from `next` by whoever is free. Lives on the caller's stack until
// every worker that entered it has left.
struct Loop {
  int64_t count = 0;
  void (*call)(void*, int64_t) = nullptr;
  void* context = nullptr;
  std::atomic<int64_t> next = 0;
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() {
    const cpu_memory::KeepBlocks for_the_next_chunk;
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      try {
        call(context, i);
      } catch (...) {
        const std::scoped_lock lock(error_mutex);
        if (!error) error = std::current_exception();
        next = count;
      }
    }
  }
};

// Workers wait for `generation` to change, first spinning (a step of a network starts hundreds of
// loops within microseconds of each other), then asleep. A loop is open until its caller has run
// out of chunks; only workers that entered before are waited for, so one that the system has put
// aside delays nobody.
class Pool {
 public:
  /// Starts as many threads as the system gives, at most `threads` with the caller's.
  explicit Pool(int threads) {
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { serve(); });
    } catch (const std::system_error& error) {
      refusal_ = error.what();
    }
  }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }
  /// The system's reason for giving fewer threads.
  const std::string& refusal() const { return refusal_; }

  ~Pool() { stop(); }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void run(Loop& loop) {
    loop_ = &loop;
    entered_ = kOpen;
    announce();
    loop.work();
    entered_ -= kOpen;
    for (int spins = 0; entered_.load() > 0; ++spins)
      spins < kSpins ? pause_briefly() : std::this_thread::yield();
  }

 private:
  static constexpr int kSpins = 4000;
  static constexpr int64_t kOpen = int64_t{1} << 32;

  void stop() {
    stop_ = true;
    announce();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  void announce() {
    generation_.fetch_add(1);
    if (sleepers_.load() > 0) generation_.notify_all();
  }

  // Whether the caller's loop is still open, in which case it stays until leave().
  bool enter() {
    int64_t count = entered_.load();
    while (count >= kOpen)
      if (entered_.compare_exchange_weak(count, count + 1)) return true;
    return false;
  }
  void leave() { entered_.fetch_sub(1); }

  void serve() {
    inside_parallel = true;
    uint64_t seen = 0;
    while (!stop_.load()) {
      for (int i = 0; i < kSpins && generation_.load() == seen; ++i) pause_briefly();
      sleepers_.fetch_add(1);
      generation_.wait(seen);  // returns at once where the generation has changed
      sleepers_.fetch_sub(1);
      seen = generation_.load();
      if (!enter()) continue;
      loop_.load()->work();
      leave();
    }
  }

  std::vector<std::thread> workers_;
  std::string refusal_;
  std::atomic<Loop*> loop_ = nullptr;
  std::atomic<int64_t> entered_ = 0;  // workers inside the loop, plus kOpen while more may come
  std::atomic<uint64_t> generation_ = 0;
  std::atomic<int> sleepers_ = 0;
  std::atomic<bool> stop_ = false;
};

struct PoolHolder {
  std::mutex mutex;  // held by the thread whose loop runs
  std::unique_ptr<Pool> pool;
  std::atomic<int> threads = available_processors();
};

// Never destroyed: a loader thread may still run a loop while the program ends.
PoolHolder& holder() {
  static auto* const instance = new PoolHolder;
  return *instance;
}

}  // namespace

int num_threads() {
  return holder().threads;
}

void set_num_threads(int count) {
  check(count >= 1 && count <= 1024, "set_num_threads: expected 1 to 1024 threads, got ", count);
  check(!inside_parallel, "set_num_threads: called from inside parallel_for");
  const std::scoped_lock lock(holder().mutex);
  holder().pool.reset();
  holder().threads = 1;  // what holds if the system does not give more
  if (count > 1) {
    auto pool = std::make_unique<Pool>(count);
    check(pool->threads() == count, "set_num_threads: expected ", count, " threads, got ",
          pool->threads(), " from the system: ", pool->refusal());
    holder().pool = std::move(pool);
  }
  holder().threads = count;
}

SerialScope::SerialScope() : previous_(std::exchange(inside_parallel, true)) {}
SerialScope::~SerialScope() {
  inside_parallel = previous_;
}

namespace detail {

void run_chunks(int64_t count, void (*call)(void*, int64_t), void* context) {
  PoolHolder& h = holder();
  std::unique_lock<std::mutex> lock(h.mutex, std::defer_lock);
  if (count <= 1 || inside_parallel || h.threads == 1 || !lock.try_lock()) {
    for (int64_t i = 0; i < count; ++i) call(context, i);
    return;
  }
  if (!h.pool) {  // nobody asked for a number of threads: what the system gives will do
    h.pool = std::make_unique<Pool>(h.threads.load());
    h.threads = h.pool->threads();
  }
  Loop loop;
  loop.count = count;
  loop.call = call;
  loop.context = context;
  inside_parallel = true;
  h.pool->run(loop);
  inside_parallel = false;
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace detail
}  // namespace decant
