#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "engine/core/parallel.h"

namespace decant::cpu {

/// sums[c] = sum over rows of x[row, c]: the gradient of a bias. In double, in blocks of rows that
/// are merged in order, 16 sums at a time: rows of few columns lie several abreast.
template <class T>
void column_sums(const T* x, int64_t rows, int64_t columns, T* sums) {
  constexpr int64_t kSums = 16;
  const int64_t abreast = std::max<int64_t>(1, kSums / std::max<int64_t>(1, columns));
  const int64_t width = abreast * columns;
  const int64_t whole = rows / abreast;  // rows of that width; what remains is added at the end
  const int64_t block = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, width));
  const int64_t blocks = (whole + block - 1) / block;
  std::vector<double> partial(static_cast<size_t>(blocks * width), 0.0);
  parallel_for(blocks, [&](int64_t b) {
    for (int64_t first = 0; first < width; first += kSums) {
      std::array<double, kSums> sum = {};
      const auto add = [&](int64_t count) {
        for (int64_t row = b * block; row < std::min(whole, (b + 1) * block); ++row)
          for (int64_t j = 0; j < count; ++j)
            sum[static_cast<size_t>(j)] += static_cast<double>(x[row * width + first + j]);
      };
      // A number that the compiler knows keeps the sums in registers.
      width - first >= kSums ? add(kSums) : add(width - first);
      std::copy_n(sum.data(), std::min(kSums, width - first), partial.data() + b * width + first);
    }
  });
  for (int64_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (int64_t i = c; i < blocks * width; i += columns) sum += partial[static_cast<size_t>(i)];
    for (int64_t i = whole * width + c; i < rows * columns; i += columns)
      sum += static_cast<double>(x[i]);
    sums[c] = static_cast<T>(sum);
  }
}

}  // namespace decant::cpu
