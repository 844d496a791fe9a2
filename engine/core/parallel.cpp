#include "engine/core/parallel.h"

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/core/error.h"

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
// every worker has left it.
struct Loop {
  int64_t count = 0;
  void (*call)(void*, int64_t) = nullptr;
  void* context = nullptr;
  std::atomic<int64_t> next = 0;
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() {
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
// loops within microseconds of each other), then asleep.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { serve(); });
  }

  ~Pool() {
    loop_ = nullptr;
    generation_.fetch_add(1);
    generation_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(Loop& loop) {
    busy_ = static_cast<int>(workers_.size());
    loop_ = &loop;
    generation_.fetch_add(1);
    if (sleepers_.load() > 0) generation_.notify_all();
    loop.work();
    while (busy_.load() > 0) pause_briefly();
  }

 private:
  static constexpr int kSpins = 4000;

  void serve() {
    inside_parallel = true;
    uint64_t seen = 0;
    while (true) {
      for (int i = 0; i < kSpins && generation_.load() == seen; ++i) pause_briefly();
      sleepers_.fetch_add(1);
      generation_.wait(seen);  // returns at once where the generation has changed
      sleepers_.fetch_sub(1);
      seen = generation_.load();
      Loop* loop = loop_.load();
      if (loop == nullptr) return;
      loop->work();
      busy_.fetch_sub(1);
    }
  }

  std::vector<std::thread> workers_;
  std::atomic<Loop*> loop_ = nullptr;
  std::atomic<uint64_t> generation_ = 0;
  std::atomic<int> busy_ = 0;
  std::atomic<int> sleepers_ = 0;
};

struct PoolHolder {
  std::mutex mutex;  // held by the thread whose loop runs
  std::unique_ptr<Pool> pool;
  int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
};

PoolHolder& holder() {
  static PoolHolder instance;
  return instance;
}

}  // namespace

int num_threads() {
  return holder().threads;
}

void set_num_threads(int count) {
  check(count >= 1 && count <= 1024, "set_num_threads: expected 1 to 1024 threads, got ", count);
  check(!inside_parallel, "set_num_threads: called from inside parallel_for");
  const std::scoped_lock lock(holder().mutex);
  holder().threads = count;
  holder().pool.reset();
}

namespace detail {

void run_chunks(int64_t count, void (*call)(void*, int64_t), void* context) {
  PoolHolder& h = holder();
  std::unique_lock<std::mutex> lock(h.mutex, std::defer_lock);
  if (count <= 1 || inside_parallel || h.threads == 1 || !lock.try_lock()) {
    for (int64_t i = 0; i < count; ++i) call(context, i);
    return;
  }
  if (!h.pool) h.pool = std::make_unique<Pool>(h.threads);
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
