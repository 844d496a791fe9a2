#pragma once

#include <algorithm>

#include "engine/core/parallel.h"
#include "engine/ops/batch_norm_activation.h"

namespace decant::reference {

// What the fast batch norm is judged by: plain loops over x [pixels, channels].

template <class T>
void channel_moments(const T* x, int64_t pixels, int64_t channels, double* mean, double* variance) {
  parallel_for(channels, [&](int64_t c) {
    const auto count = static_cast<double>(pixels);
    double sum = 0;
    for (int64_t i = 0; i < pixels; ++i) sum += static_cast<double>(x[i * channels + c]);
    const double about = sum / count;
    double rest = 0;
    double squares = 0;
    for (int64_t i = 0; i < pixels; ++i) {
      const double d = static_cast<double>(x[i * channels + c]) - about;
      rest += d;
      squares += d * d;
    }
    mean[c] = about + rest / count;
    variance[c] = std::max(0.0, squares - rest * rest / count) / count;
  });
}

/// One batch norm: z = (x - mean) gain + shift + residual, y = act(z), gain = scale inverse.
template <class T>
struct BatchNorm {
  int64_t pixels, channels;
  Activation activation;
  const T* x;
  const T* mean;
  const T* gain;
  const T* shift;
  const T* residual;  // or null

  T z(int64_t i, int64_t c) const {
    const T value = (x[i] - mean[c]) * gain[c] + shift[c];
    return residual == nullptr ? value : value + residual[i];
  }
};

template <class T>
void normalize(const BatchNorm<T>& n, T* y) {
  parallel_for(n.pixels, [&](int64_t p) {
    for (int64_t c = 0; c < n.channels; ++c) {
      const int64_t i = p * n.channels + c;
      y[i] = activate(n.activation, n.z(i, c));
    }
  });
}

/// dz = dy act'(z), and per channel the sums of dz and of dz (x - mean).
template <class T>
void normalize_sums(const BatchNorm<T>& n, const T* dy, T* dz, double* sum_dz, double* sum_dz_x) {
  parallel_for(n.channels, [&](int64_t c) {
    sum_dz[c] = 0;
    sum_dz_x[c] = 0;
    for (int64_t i = c; i < n.pixels * n.channels; i += n.channels) {
      const T d = dy[i] * activation_slope(n.activation, n.z(i, c));
      if (dz != nullptr) dz[i] = d;
      sum_dz[c] += static_cast<double>(d);
      sum_dz_x[c] += static_cast<double>(d * (n.x[i] - n.mean[c]));
    }
  });
}

/// dx = dz gain + (x - mean) slope + offset
template <class T>
void normalize_gradient(const BatchNorm<T>& n, const T* dy, const T* slope, const T* offset,
                        T* dx) {
  parallel_for(n.pixels, [&](int64_t p) {
    for (int64_t c = 0; c < n.channels; ++c) {
      const int64_t i = p * n.channels + c;
      const T dz = dy[i] * activation_slope(n.activation, n.z(i, c));
      dx[i] = dz * n.gain[c] + (n.x[i] - n.mean[c]) * slope[c] + offset[c];
    }
  });
}

}  // namespace decant::reference
