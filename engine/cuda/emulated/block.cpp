#include "engine/cuda/emulated/block.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "engine/core/error.h"
#include "engine/cuda/emulated/device.h"
#include "engine/cuda/emulated/fiber.h"
#include "engine/cuda/emulated/schedule.h"
#include "engine/cuda/emulated/shared_memory.h"

namespace decant::emulated {
namespace {

constexpr unsigned kWarp = 32;

struct AsyncCopy {
  void* to;
  const void* from;
  unsigned valid;
};

enum class State { fresh, running, ready, waits_for_block, waits_for_warp, left };

struct Thread {
  uint3 index = {};
  State state = State::fresh;
  Fiber* fiber = nullptr;  // while it runs or waits
  // Where and for whom it waits.
  Place place;
  const char* what = "";
  unsigned mask = 0;
  void* mine = nullptr;
  Collective together = nullptr;

  std::vector<AsyncCopy> open_copies;  // not yet committed
  std::deque<std::vector<AsyncCopy>> groups;
};

struct Block {
  const Launch* launch = nullptr;
  std::vector<Thread> threads;
  std::deque<unsigned> runnable;  // fresh or ready, in the order in which they go on
  unsigned current = 0;
  unsigned waiting = 0;  // at the block's barrier
  unsigned left = 0;
  std::exception_ptr error;
};

// One grid runs at a time (the device holds a lock), so its state is here, as a GPU's is its own.
Block block;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle_fibers;

bool permuted = false;  // this grid's schedule has a seed
std::mt19937_64 dice;

// Brings to the front of the queue whoever is to go on next: the first to have been ready, or any.
void choose_next() {
  if (permuted && !block.runnable.empty())
    std::swap(block.runnable.front(), block.runnable[dice() % block.runnable.size()]);
}

Thread& current() {
  return block.threads[block.current];
}

std::string name_of(const uint3& i) {
  return str('(', i.x, ", ", i.y, ", ", i.z, ')');
}

std::string name_of(const Place& place) {
  std::string_view file = place.file_name();
  file.remove_prefix(file.rfind('/') + 1);
  return str(file, ':', place.line());
}

void make_current(unsigned t) {
  block.current = t;
  block.threads[t].state = State::running;
  threadIdx = block.threads[t].index;
}

void make_ready(unsigned t) {
  block.threads[t].state = State::ready;
  block.runnable.push_back(t);
}

// The thread that runs waits; another goes on, until this one is made current again.
void wait(State state) {
  const unsigned me = block.current;
  block.threads[me].state = state;
  Fiber::leave();
  make_current(me);
}

void run_thread() {
  Thread& t = current();
  block.launch->body();
  check(t.open_copies.empty() && t.groups.empty(), "asynchronous copies were never waited for");
  t.state = State::left;
  ++block.left;
}

// What a fiber does: threads that have not begun, one after the other. A thread that never waits
// costs no switch.
void run_threads() {
  for (;;) {
    try {
      run_thread();
    } catch (...) {
      block.error = std::current_exception();
    }
    choose_next();
    const bool more = block.error == nullptr && !block.runnable.empty() &&
                      block.threads[block.runnable.front()].state == State::fresh;
    if (more) {
      Fiber* const mine = current().fiber;
      make_current(block.runnable.front());
      block.runnable.pop_front();
      current().fiber = mine;
    } else {
      if (block.error == nullptr) idle_fibers.push_back(current().fiber);
      Fiber::leave();
    }
  }
}

Fiber* take_fiber() {
  if (idle_fibers.empty()) {
    fibers.push_back(std::make_unique<Fiber>(run_threads));
    return fibers.back().get();
  }
  Fiber* const fiber = idle_fibers.back();
  idle_fibers.pop_back();
  return fiber;
}

// Fibers left in the middle of a thread cannot be used again.
void drop_fibers() {
  idle_fibers.clear();
  fibers.clear();
}

std::string state_of(const Thread& t) {
  switch (t.state) {
    case State::left:
      return "left the kernel";
    case State::waits_for_block:
      return str("wait at __syncthreads (", name_of(t.place), ')');
    case State::waits_for_warp:
      return str("wait at ", t.what, " (", name_of(t.place), ") with mask ", std::hex, "0x",
                 t.mask);
    default:
      return "run";
  }
}

// "threads 0-15, 31 left the kernel; threads 16-30 wait at __syncthreads (softmax.cu:12)"
std::string states() {
  std::map<std::string, std::vector<unsigned>> by_state;
  for (unsigned t = 0; t < block.threads.size(); ++t)
    by_state[state_of(block.threads[t])].push_back(t);
  std::string text;
  for (const auto& [state, threads] : by_state) {
    text += text.empty() ? "threads " : "; threads ";
    for (size_t i = 0; i < threads.size();) {
      size_t end = i + 1;
      while (end < threads.size() && threads[end] == threads[end - 1] + 1) ++end;
      if (i > 0) text += ", ";
      text += end == i + 1 ? str(threads[i]) : str(threads[i], '-', threads[end - 1]);
      i = end;
    }
    text += ' ' + state;
  }
  return text;
}

[[noreturn]] void rethrow_with_place() {
  const std::string place = str("kernel ", block.launch->kernel, ", block ", name_of(blockIdx),
                                ", thread ", name_of(current().index), ": ");
  const std::exception_ptr error = std::exchange(block.error, nullptr);
  drop_fibers();
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    throw Error(place + e.what());
  }
}

void run_block(const Launch& launch) {
  const unsigned count = launch.block.x * launch.block.y * launch.block.z;
  begin_shared_memory(launch.shared_bytes, launch.declared_shared_limit);
  block.launch = &launch;
  block.waiting = block.left = 0;
  block.threads.resize(count);
  block.runnable.resize(count);
  std::iota(block.runnable.begin(), block.runnable.end(), 0U);
  for (unsigned t = 0; t < count; ++t) {
    Thread& thread = block.threads[t];
    thread.index = {t % launch.block.x, t / launch.block.x % launch.block.y,
                    t / (launch.block.x * launch.block.y)};
    thread.state = State::fresh;
    thread.open_copies.clear();
    thread.groups.clear();
  }
  while (!block.runnable.empty()) {
    choose_next();
    const unsigned t = block.runnable.front();
    block.runnable.pop_front();
    Thread& thread = block.threads[t];
    if (thread.state == State::fresh) {
      thread.fiber = take_fiber();
      make_current(t);
    }
    thread.fiber->enter();
    if (block.error != nullptr) rethrow_with_place();
  }
  if (block.left < count) {
    const std::string message = str("kernel ", launch.kernel, ", block ", name_of(blockIdx),
                                    ": divergent barrier: ", states());
    drop_fibers();
    throw Error(message);
  }
  if (const std::string damage = damaged_shared_memory(); !damage.empty())
    throw Error(str("kernel ", launch.kernel, ", block ", name_of(blockIdx), ": ", damage));
}

// Applies the copies of all groups but the `pending` last.
void complete_copies(Thread& t, size_t pending) {
  for (; t.groups.size() > pending; t.groups.pop_front())
    for (const AsyncCopy& copy : t.groups.front()) {
      auto* to = static_cast<unsigned char*>(copy.to);
      if (copy.valid > 0) std::memcpy(to, copy.from, copy.valid);
      std::memset(to + copy.valid, 0, 16 - copy.valid);
    }
}

}  // namespace

void fault(const std::string& message) {
  throw Error(message);
}

void expect_threads(unsigned most) {
  check(block.threads.size() <= most, "expected a block of at most ", most,
        " threads, as its launch bounds say, got ", block.threads.size());
}

void wait_for_block(const Place& place) {
  Thread& me = current();
  me.place = place;
  ++block.waiting;
  if (block.waiting < block.threads.size()) return wait(State::waits_for_block);

  block.waiting = 0;
  for (unsigned t = 0; t < block.threads.size(); ++t) {
    if (t == block.current) continue;
    const Place& other = block.threads[t].place;
    check(other.line() == place.line() && std::strcmp(other.file_name(), place.file_name()) == 0,
          "divergent barrier: this thread waits at ", name_of(place), ", thread ",
          name_of(block.threads[t].index), " at ", name_of(other));
    make_ready(t);
  }
}

void meet(const char* what, unsigned mask, void* mine, Collective together, const Place& place) {
  const unsigned first = block.current / kWarp * kWarp;
  const unsigned lanes =
      std::min<unsigned>(kWarp, static_cast<unsigned>(block.threads.size()) - first);
  check((mask >> (block.current - first) & 1U) != 0, what,
        ": expected a mask that names this lane, ", block.current - first, ", got ", std::hex, "0x",
        mask);
  Thread& me = current();
  me.place = place;
  me.what = what;
  me.mask = mask;
  me.mine = mine;
  me.together = together;
  void* handed[kWarp] = {};
  for (unsigned lane = 0; lane < lanes; ++lane) {
    if ((mask >> lane & 1U) == 0) continue;
    const unsigned t = first + lane;
    const Thread& other = block.threads[t];
    handed[lane] = other.mine;
    if (t == block.current) continue;
    const bool here =
        other.state == State::waits_for_warp && other.together == together && other.mask == mask;
    if (!here) return wait(State::waits_for_warp);
  }
  together(handed);
  for (unsigned lane = 0; lane < lanes; ++lane)
    if ((mask >> lane & 1U) != 0 && first + lane != block.current) make_ready(first + lane);
}

void copy_async(void* to, const void* from, unsigned valid) {
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  check(is_shared(to, 16), "cp.async: expected to write to 16 bytes of shared memory");
  check(aligned(to) && (valid == 0 || aligned(from)),
        "cp.async: expected addresses that are multiples of 16");
  check(valid <= 16, "cp.async: expected at most 16 bytes, got ", valid);
  if (valid > 0) expect_device(from, valid, "cp.async");
  std::memset(to, kPoison, 16);
  current().open_copies.push_back({to, from, valid});
}

void commit_copies() {
  Thread& me = current();
  me.groups.push_back(std::move(me.open_copies));
  me.open_copies.clear();
}

void wait_copies(unsigned pending) {
  complete_copies(current(), pending);
}

void run_grid(const Launch& launch) {
  permuted = schedule().seed != 0;
  dice.seed(schedule().seed);
  gridDim = launch.grid;
  blockDim = launch.block;
  const uint64_t count = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  std::vector<uint32_t> order;
  if (permuted) {
    order.resize(count);
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::shuffle(order, dice);
  }
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t b = order.empty() ? i : order[i];
    blockIdx = {static_cast<unsigned>(b % launch.grid.x),
                static_cast<unsigned>(b / launch.grid.x % launch.grid.y),
                static_cast<unsigned>(b / launch.grid.x / launch.grid.y)};
    run_block(launch);
  }
}

}  // namespace decant::emulated
