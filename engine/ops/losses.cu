// Losses over elements. One thread takes every n-th element, neighbours side by side: what it moves
// (8 bytes of an element forward, 12 back, and its mask) bounds it.
#include "engine/ops/mean_of.cuh"

namespace decant::cuda {
namespace {

template <class T>
__global__ void mask_kernel(const T* __restrict__ mask, uint8_t* __restrict__ out, int64_t n) {
  for (int64_t i = global_thread(); i < n; i += all_threads())
    out[i] = mask[i] == T(0) ? 0 : (mask[i] == T(1) ? 1 : Counted::kRefused);
}

template <class Loss, class Target>
__global__ void sum_kernel(Loss loss, const float* __restrict__ x,
                           const Target* __restrict__ target, MaskView mask, int64_t n,
                           LossPart* __restrict__ parts) {
  LossPart mine = {};
  for (int64_t i = global_thread(); i < n; i += all_threads()) {
    const uint8_t m = mask[i];
    if (m == 0) continue;
    const auto y = static_cast<float>(target[i]);
    const bool expected = !Loss::kProbabilities || (y >= 0.0F && y <= 1.0F);
    if (m == Counted::kRefused || !expected)
      ++mine.refused;
    else
      mine.add(loss.f(x[i], y));
  }
  store_part(mine, parts);
}

template <class Loss, class Target>
__global__ void gradient_kernel(Loss loss, const float* __restrict__ x,
                                const Target* __restrict__ target, MaskView mask, int64_t n,
                                const float* __restrict__ dy, const float* __restrict__ divisor,
                                float* __restrict__ dx) {
  const float factor = *dy / *divisor;
  for (int64_t i = global_thread(); i < n; i += all_threads())
    dx[i] = mask[i] == 0 ? 0.0F : factor * loss.df(x[i], static_cast<float>(target[i]));
}

__global__ void finish_kernel(const LossPart* __restrict__ parts, unsigned count, float factor,
                              float* __restrict__ value, float* __restrict__ divisor) {
  LossPart mine = {};
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) mine = AddParts()(mine, parts[i]);
  const LossPart all = block_reduce(mine, LossPart{}, AddParts());
  if (threadIdx.x != 0) return;
  *divisor = all.refused > 0 ? NAN : static_cast<float>(all.count > 0 ? all.count : 1);
  *value = factor * all.sum / *divisor;
}

// Calls f with the type of a loss's targets: only probabilities come as anything but float.
template <class Loss, class F>
void with_target_type(DType dtype, F&& f) {
  if constexpr (Loss::kProbabilities)
    with_number_type("targets", dtype, f);
  else
    f.template operator()<float>();
}

}  // namespace

Mean finish_mean(const Where& op, const LossPart* parts, unsigned count, float factor) {
  Mean mean = {Tensor({}, DType::f32, Device::cuda), Tensor({}, DType::f32, Device::cuda)};
  launch(op, finish_kernel, {.threads = 256}, parts, count, factor,
         mean.value.mutable_device_data<float>(), mean.divisor.mutable_device_data<float>());
  return mean;
}

Counted read_mask(std::string_view /*op*/, const Tensor& mask, const Shape& /*shape*/,
                  int64_t repeats) {
  Counted result = {Tensor(mask.shape(), DType::u8, Device::cuda), repeats};
  with_number_type("mask", mask.dtype(), [&]<class T>() {
    launch("mask of a loss", mask_kernel<T>, grid_over(mask.size()), mask.device_data<T>(),
           result.mask.mutable_device_data<uint8_t>(), mask.size());
  });
  return result;
}

template <template <class> class Loss>
Mean element_mean(const Loss<double>& loss, const Tensor& x, const Tensor& target,
                  const Counted& counted) {
  const auto sum = [&](const Grid& grid, LossPart* parts) {
    with_target_type<Loss<float>>(target.dtype(), [&]<class T>() {
      launch("mean of a loss", sum_kernel<Loss<float>, T>, grid, loss.template as<float>(),
             x.device_data<float>(), target.device_data<T>(), MaskView(counted), x.size(), parts);
    });
  };
  return mean_of("mean of a loss", grid_over(x.size()), 1.0F, sum);
}

template <template <class> class Loss>
void element_gradient(const Loss<double>& loss, const Tensor& x, const Tensor& target,
                      const Counted& counted, const Tensor& dy, const Tensor& divisor, Tensor& dx) {
  with_target_type<Loss<float>>(target.dtype(), [&]<class T>() {
    launch("gradient of a loss", gradient_kernel<Loss<float>, T>, grid_over(x.size()),
           loss.template as<float>(), x.device_data<float>(), target.device_data<T>(),
           MaskView(counted), x.size(), dy.device_data<float>(), divisor.device_data<float>(),
           dx.mutable_device_data<float>());
  });
}

#define DECANT_INSTANTIATE(Loss)                                                                  \
  template Mean element_mean(const element_loss::Loss<double>&, const Tensor&, const Tensor&,     \
                             const Counted&);                                                     \
  template void element_gradient(const element_loss::Loss<double>&, const Tensor&, const Tensor&, \
                                 const Counted&, const Tensor&, const Tensor&, Tensor&);
DECANT_INSTANTIATE(BinaryCrossEntropy)
DECANT_INSTANTIATE(BernoulliKl)
DECANT_INSTANTIATE(SquaredError)
#undef DECANT_INSTANTIATE

}  // namespace decant::cuda
