#include "apps/memory.h"

#include <unistd.h>

#include "engine/core/error.h"
#include "nn/summary.h"

namespace decant::apps {
namespace {

constexpr int64_t kLargestSize = 8192;
constexpr double kGib = 1 << 30;

}  // namespace

void check_size(std::string_view key, int64_t size, int64_t least) {
  check(size >= least && size <= kLargestSize, key, ": expected ", least, " .. ", kLargestSize,
        ", got ", size);
}

void require_step_memory(nn::Network& network, int64_t size, int64_t batch,
                         std::string_view size_key) {
  constexpr int64_t kSmall = 64;  // activations grow with the pixels: a small input tells
  const double sides = static_cast<double>(size) / kSmall;
  const double needed =
      0.5 * static_cast<double>(batch) * sides * sides *
      static_cast<double>(nn::summarize(network, kSmall, kSmall).activation_bytes);
  const double there =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  check(there <= 0 || needed <= there, size_key, ": expected a step that fits into the ",
        static_cast<int64_t>(there / kGib), " GiB of memory of this machine, got one of more than ",
        static_cast<int64_t>(needed / kGib), " GiB by ", size_key, " ", size, " and batch ", batch);
}

}  // namespace decant::apps
