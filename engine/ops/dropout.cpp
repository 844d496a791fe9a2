#include "engine/ops/dropout.h"

#include "engine/core/on_device.h"
#include "engine/core/parallel.h"
#include "engine/ops/dropout_kernels.h"
#include "engine/ops/expect.h"

namespace decant {
namespace cpu {
namespace {

template <class T>
T dropped(T x, T factor) {
  return factor == T(0) ? T(0) : factor * x;  // what is dropped may be infinite
}

// y = x / (1 - p) where the element's number in the key's stream keeps it, 0 elsewhere.
void dropout_kernel(const Tensor& x, double p, const RngKey& key, DropoutOf of,
                    const Tensor& /*stream*/, Tensor& y) {
  with_real_type(x.dtype(), [&]<class T>() {
    const T* in = x.data<T>();
    T* out = y.mutable_data<T>();
    const Rng rng(key);
    const auto factor = [&](uint64_t draw) {
      return rng.uniform(draw) < p ? T(0) : static_cast<T>(1 / (1 - p));
    };
    if (of == DropoutOf::elements) {
      parallel_ranges(x.size(), kElementGrain, [&, in, out](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          out[i] = dropped(in[i], factor(static_cast<uint64_t>(i)));
      });
      return;
    }
    if (x.size() == 0) return;
    const DropoutDraws draws = DropoutDraws::of(x.shape(), of);
    const int64_t channels = x.shape()[-1];
    std::vector<T> factors;  // [N, C], drawn once for all pixels
    for (int64_t n = 0; n < x.shape()[0]; ++n)
      for (int64_t c = 0; c < channels; ++c) factors.push_back(factor(draws(n * draws.sample + c)));
    const int64_t grain = std::max<int64_t>(1, kElementGrain / channels);
    parallel_ranges(x.size() / channels, grain, [&, in, out](int64_t begin, int64_t end) {
      for (int64_t pixel = begin; pixel < end; ++pixel) {
        const int64_t first = pixel * channels;
        const T* row = factors.data() + first / draws.sample * channels;
        for (int64_t c = 0; c < channels; ++c) out[first + c] = dropped(in[first + c], row[c]);
      }
    });
  });
}

}  // namespace
}  // namespace cpu

namespace {

const OpInfo& kDropout =
    register_op({.name = "dropout",
                 .formula = "y = x / (1 - p), or 0 with probability p",
                 .source = "Srivastava et al. 2014; Tompson et al. 2015; Huang et al. 2016",
                 .stored = kEveryInput});

struct DropoutOptions {
  double p;
  DropoutOf of;
  void visit(auto&& v) const {
    v("p", p);
    v("of", name_of(of));
  }
};

}  // namespace

Variable dropout(const Variable& input, double p, const RngKey& key, DropoutOf of,
                 const Tensor& stream) {
  const Tensor& x = input.value();
  expect_stored(kDropout, x);
  check(p >= 0 && p < 1, "dropout: expected a probability 0 <= p < 1, got ", p);
  check(of == DropoutOf::elements || x.shape().rank() >= 2, "dropout: expected [N, .., C] to drop ",
        name_of(of), " of, got ", x.shape());
  check(!stream.defined() ||
            (stream.device() == Device::cuda && stream.dtype() == DType::i64 && stream.size() == 1),
        "dropout: expected a stream of one int64 on cuda, got ", stream.shape(), ' ',
        stream.defined() ? stream.dtype() : DType::i64);
  if (p == 0) return input;
  Tensor y(x.shape(), x.dtype(), x.device());
  ON_DEVICE(x, dropout_kernel, x, p, key, of, stream, y);
  return record(kDropout, DropoutOptions{p, of}, y, {input},
                [p, key, of, stream](const Tensor& dy, const Wanted&) {
                  Tensor dx(dy.shape(), dy.dtype(), dy.device());
                  ON_DEVICE(dy, dropout_kernel, dy, p, key, of, stream, dx);
                  return std::vector<Tensor>{dx};
                });
}

}  // namespace decant
