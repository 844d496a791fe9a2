#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

#include "engine/core/affine.h"
#include "engine/core/allocator.h"
#include "engine/core/arena.h"
#include "engine/core/parallel.h"
#include "engine/core/processors.h"
#include "engine/core/rng.h"
#include "engine/core/tensor.h"

using namespace decant;

TEST_CASE("philox reproduces the known answers of its authors") {
  // Random123 1.x, kat_vectors, philox4x32 10.
  using Block = std::array<uint32_t, 4>;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}) ==
        Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random numbers are independent of the order of asking and have the right moments") {
  const Rng rng(RngKey::of(7, "test"));
  const double first = rng.normal(3);
  double sum = 0;
  double squares = 0;
  constexpr int kCount = 100000;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double v = rng.normal(i);
    sum += v;
    squares += v * v;
  }
  CHECK(rng.normal(3) == first);
  CHECK(std::fabs(sum / kCount) < 4 / std::sqrt(kCount));
  CHECK(std::fabs(squares / kCount - 1) < 4 * std::sqrt(2.0 / kCount));
  CHECK(Rng(RngKey::of(7, "test", 1)).uniform(0) != rng.uniform(0));
  CHECK(Rng(RngKey::of(7, "test").part("a")).uniform(0) != rng.uniform(0));
  for (uint64_t i = 0; i < 1000; ++i) CHECK(rng.below(i, 7) < 7);
}

TEST_CASE("the processors that a process may run on are those of its affinity") {
  cpu_set_t before;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  CHECK(available_processors() == CPU_COUNT(&before));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);  // as taskset does
  CHECK(available_processors() == 1);
  REQUIRE(sched_setaffinity(0, sizeof before, &before) == 0);
}

TEST_CASE("parallel_for runs every chunk once, nested or not, and rethrows") {
  for (const int threads : {1, 2, 7}) {
    set_num_threads(threads);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::array<std::atomic<int>, 37> hits{};
      parallel_for(37, [&](int64_t i) { ++hits[static_cast<size_t>(i)]; });
      for (const auto& h : hits) REQUIRE(h == 1);
    }
    std::atomic<int> inner = 0;
    parallel_for(5, [&](int64_t) { parallel_for(5, [&](int64_t) { ++inner; }); });
    CHECK(inner == 25);
    CHECK_THROWS_AS(parallel_for(9, [](int64_t i) { check(i != 4, "four"); }), Error);
  }
  set_num_threads(2);
}

TEST_CASE("affine maps compose right to left and invert") {
  const Affine a = Affine::rotation(30, 5, 7) * Affine::translation(2, -1);
  const auto p = a(3, 4);
  const auto back = a.inverse()(p[0], p[1]);
  CHECK(back[0] == doctest::Approx(3));
  CHECK(back[1] == doctest::Approx(4));
  const auto up = Affine::rotation(90, 0, 0)(1, 0);  // counter-clockwise on the screen: upwards
  CHECK(up[0] == doctest::Approx(0));
  CHECK(up[1] == doctest::Approx(-1));
  CHECK_THROWS_AS(Affine::scaling(0, 1).inverse(), Error);
}

TEST_CASE("tensors share storage until cloned, and know their type") {
  Tensor a = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  Tensor b = a.reshape({3, 2});
  b.mutable_data<float>()[5] = 9;
  CHECK(a.data<float>()[5] == 9);
  const Tensor c = a.clone();
  a.fill(0);
  CHECK(c.data<float>()[5] == 9);
  CHECK(a.view(2, {2}).shape() == Shape{2});
  CHECK_THROWS_WITH_AS(a.data<double>(), "Tensor: holds float32, asked for float64", Error);
  CHECK_THROWS_AS(a.reshape({7}), Error);
  CHECK_THROWS_AS(a.view(5, {2}), Error);
}

TEST_CASE("the allocator reuses blocks and reports exhaustion with figures") {
  {
    const Tensor warm({1000, 1000});
  }
  const auto before = cpu_memory::statistics();
  for (int i = 0; i < 10; ++i) const Tensor t({1000, 1000});
#ifndef __SANITIZE_ADDRESS__
  CHECK(cpu_memory::statistics().system_requests == before.system_requests);
#endif
  CHECK(cpu_memory::statistics().in_use_bytes == before.in_use_bytes);
  cpu_memory::set_limit(before.in_use_bytes + (1U << 20U));
  CHECK_THROWS_WITH_AS(Tensor({10000, 1000}), doctest::Contains("requested 40000000 bytes"), Error);
  cpu_memory::set_limit(0);
}

#if !defined(DECANT_CHECK_MEMORY) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("within a loop a thread finds its blocks again, and behind it none is kept") {
  const size_t before = cpu_memory::statistics().in_use_bytes;
  constexpr size_t kBytes = 5000;
  constexpr size_t kLarge = size_t{1} << 20U;
  {
    const cpu_memory::KeepBlocks keep;
    void* const first = cpu_memory::allocate(kBytes);
    void* const second = cpu_memory::allocate(kBytes);
    cpu_memory::release(first, kBytes);
    CHECK(cpu_memory::statistics().in_use_bytes > before + kBytes);
    void* const other = cpu_memory::allocate(kBytes / 2);
    CHECK(other != first);  // which is kept, and of another size
    {
      const cpu_memory::KeepBlocks within;
    }
    CHECK(cpu_memory::allocate(kBytes) == first);
    for (void* const block : {first, second}) cpu_memory::release(block, kBytes);
    cpu_memory::release(other, kBytes / 2);
    const size_t kept = cpu_memory::statistics().in_use_bytes;
    cpu_memory::release(cpu_memory::allocate(kLarge), kLarge);
    CHECK(cpu_memory::statistics().in_use_bytes == kept);
    // More sizes than are kept.
    for (size_t i = 1; i <= 20; ++i)
      cpu_memory::release(cpu_memory::allocate(kBytes + i * 64), kBytes + i * 64);
  }
  CHECK(cpu_memory::statistics().in_use_bytes == before);
  parallel_for(100, [](int64_t i) {
    const size_t bytes = 64 * (1 + static_cast<size_t>(i) % 12);
    cpu_memory::release(cpu_memory::allocate(bytes), bytes);
  });
  CHECK(cpu_memory::statistics().in_use_bytes == before);
}
#endif

TEST_CASE("sizes that do not fit are refused, not wrapped") {
  CHECK_THROWS_WITH_AS(Shape({int64_t{1} << 61, 1}), doctest::Contains("2^56"), Error);
  CHECK_THROWS_AS(Shape({int64_t{1} << 40, int64_t{1} << 40}), Error);
  Shape grown = {1, 1};
  grown[0] = int64_t{1} << 61;
  CHECK_THROWS_AS(Tensor(grown, DType::f64), Error);
  CHECK_THROWS_AS(Tensor({4}).view(std::numeric_limits<int64_t>::max(), {2}), Error);
}

TEST_CASE("extents set one by one are checked wherever a tensor takes them") {
  Shape turned = {2, 3};  // its size is right
  turned[0] = -2;
  turned[1] = -3;
  CHECK_THROWS_AS(Tensor({6}).reshape(turned), Error);
  CHECK_THROWS_AS(Tensor({6}).view(0, turned), Error);
  CHECK_THROWS_AS(Tensor({turned}), Error);
}

TEST_CASE("a number that a whole type cannot hold is refused where it is written") {
  CHECK_THROWS_WITH_AS(Tensor::full({1}, 300, DType::u8),
                       "Tensor::fill: expected a number that uint8 holds, got 300", Error);
  CHECK_THROWS_AS(Tensor::full({1}, -1, DType::u8), Error);
  CHECK_THROWS_AS(Tensor::full({1}, std::nan(""), DType::i32), Error);
  CHECK_THROWS_AS(Tensor::full({1}, 0x1p31, DType::i32), Error);
  CHECK_THROWS_AS(Tensor::full({1}, 0x1p63, DType::i64), Error);
  CHECK(Tensor::full({1}, 255, DType::u8).item() == 255);
  CHECK(Tensor::full({1}, -0x1p31, DType::i32).item() == -0x1p31);
  CHECK(Tensor::full({1}, -0x1p63, DType::i64).item() == -0x1p63);
  CHECK(Tensor::full({1}, INFINITY).item() == INFINITY);
}

TEST_CASE("a tensor that was only declared is refused where values are needed") {
  Tensor none;
  CHECK_THROWS_AS(none.clone(), Error);
  CHECK_THROWS_AS(none.to(DType::f32), Error);
  CHECK_THROWS_AS(none.version(), Error);
  CHECK_THROWS_AS(none.copy_from(Tensor({1})), Error);
  CHECK_THROWS_AS(Tensor({1}).copy_from(none), Error);
}

TEST_CASE("an arena takes no more than the system says it can give") {
  std::ifstream facts("/proc/meminfo");
  size_t kilobytes = 0;
  for (std::string name; name != "MemTotal:" && facts >> name;) facts >> kilobytes;
  // Nearly all that the machine has: never all of it is free, whatever this process has of it.
  const size_t nearly_all = kilobytes / 2048 * 2048 * 1024 - (size_t{4} << 20U);
  CHECK(Arena().take(nearly_all) == nullptr);
  CHECK(Arena().take(size_t{64} << 20U) != nullptr);
}

TEST_CASE("a block is the front of the first free range that holds it") {
  Arena arena;
  CHECK(arena.size() == 0);
  constexpr size_t kUnit = Arena::kAlignment;
  auto* const a = static_cast<std::byte*>(arena.take(4 * kUnit));
  auto* const b = static_cast<std::byte*>(arena.take(2 * kUnit));
  auto* const c = static_cast<std::byte*>(arena.take(kUnit));
  CHECK(b == a + 4 * kUnit);
  CHECK(c == b + 2 * kUnit);
  arena.give_back(a, 4 * kUnit);
  CHECK(arena.take(5 * kUnit) == c + kUnit);  // does not fit before b
  CHECK(arena.take(3 * kUnit) == a);
  CHECK(arena.take(kUnit) == a + 3 * kUnit);  // what is left before b
}

TEST_CASE("what comes back joins its free neighbours, in any order") {
  constexpr size_t kUnit = Arena::kAlignment;
  std::array<int, 4> order = {0, 1, 2, 3};
  do {
    Arena arena;
    std::array<std::byte*, 5> blocks = {};
    for (auto& block : blocks) block = static_cast<std::byte*>(arena.take(kUnit));
    for (const int i : order) arena.give_back(blocks[static_cast<size_t>(i)], kUnit);
    CHECK(arena.take(4 * kUnit) == blocks[0]);  // the fifth is still in use behind it
    CHECK(arena.take(kUnit) == blocks[4] + kUnit);
  } while (std::ranges::next_permutation(order).found);
}

TEST_CASE("an arena grows by what its end lacks") {
  constexpr size_t kMib = size_t{1} << 20U;
  Arena arena;
  CHECK(arena.take(kMib) != nullptr);
  CHECK(arena.size() == 2 * kMib);  // whole huge pages
  auto* const large = static_cast<std::byte*>(arena.take(9 * kMib));
  CHECK(arena.size() == 10 * kMib);
  large[9 * kMib - 1] = std::byte{1};
  CHECK(arena.requests() == 2);
  arena.give_back(large, 9 * kMib);
  CHECK(arena.take(10 * kMib) == large);  // what was free, and more behind it
  CHECK(arena.size() == 12 * kMib);
  CHECK(arena.take(size_t{1} << 60U) == nullptr);
}

#ifndef __SANITIZE_ADDRESS__
TEST_CASE("a peak that is measured anew leaves the cache alone") {
  constexpr size_t kBytes = size_t{64} << 20U;
  const auto take_and_release = [](size_t bytes) {
    const Tensor t({static_cast<int64_t>(bytes)}, DType::u8);
  };
  take_and_release(kBytes);
  CHECK(cpu_memory::statistics().peak_in_use_bytes >= kBytes);
  cpu_memory::reset_peak();
  take_and_release(1000);
  const auto s = cpu_memory::statistics();
  CHECK(s.peak_in_use_bytes < s.in_use_bytes + kBytes);
  CHECK(s.cached_bytes >= kBytes);
}
#endif

TEST_CASE("a map that is not finite has no inverse") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(Affine::translation(nan, 0).inverse(), Error);
  CHECK_THROWS_AS(Affine::scaling(1e-320, 1).inverse(), Error);
}

TEST_CASE("a thread in a SerialScope leaves the pool to others") {
  set_num_threads(2);
  const SerialScope serial;
  const auto self = std::this_thread::get_id();
  parallel_for(100, [&](int64_t) { REQUIRE(std::this_thread::get_id() == self); });
}
