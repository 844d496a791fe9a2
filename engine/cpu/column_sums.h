#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/core/parallel.h"

namespace decant::cpu {

/// sums[c] = sum over rows of x[row, c]: the gradient of a bias. In double, in blocks of rows that
/// are merged in order.
template <class T>
void column_sums(const T* x, int64_t rows, int64_t columns, T* sums) {
  const int64_t block = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, columns));
  const int64_t blocks = (rows + block - 1) / block;
  std::vector<double> partial(static_cast<size_t>(blocks * columns), 0.0);
  parallel_for(blocks, [&](int64_t b) {
    double* sum = partial.data() + b * columns;
    for (int64_t row = b * block; row < std::min(rows, (b + 1) * block); ++row)
      for (int64_t c = 0; c < columns; ++c) sum[c] += static_cast<double>(x[row * columns + c]);
  });
  for (int64_t c = 0; c < columns; ++c) {
    double sum = 0;
    for (int64_t b = 0; b < blocks; ++b) sum += partial[static_cast<size_t>(b * columns + c)];
    sums[c] = static_cast<T>(sum);
  }
}

}  // namespace decant::cpu
