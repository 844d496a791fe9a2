#include "engine/inference/plan.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "engine/autograd/profile.h"
#include "engine/core/error.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/cpu/prepared_conv.h"
#include "engine/inference/operation.h"
#include "engine/inference/replay.h"
#include "engine/ops/batch_norm_passes.h"

namespace decant {
namespace {

using Values = std::span<const Tensor>;
using Run = std::function<Tensor(Values)>;

// Images that go through the plan together. A batch of eight would need twice the memory, and its
// maps would leave the cache sooner; of fewer, the filters would be read more often than the maps.
constexpr int64_t kTogether = 4;

Shape of_images(Shape shape, int64_t count) {
  shape[0] = count;
  return shape;
}

Tensor images_of(const Tensor& maps, int64_t first, int64_t count) {
  const int64_t size = maps.size() / maps.shape()[0];
  return maps.view(first * size, of_images(maps.shape(), count));
}

cpu::ConvFilters filters_of(const ConvOperation& conv) {
  return {.w = conv.w.data<float>(),
          .bias = conv.b.data<float>(),
          .activation = cpu::kind_of(conv.activation)};
}

// A trace of one image cannot tell a residual of the images from one of them all.
const Tensor& residual_of(const Tensor& y, const Tensor& residual) {
  check(residual.shape() == y.shape(), "InferencePlan: expected a residual ", y.shape(), ", got ",
        residual.shape());
  return residual;
}

// The inputs are x and, where they are, skip and residual. Results are [n, h, w, channels].
struct Reads {
  bool skip = false;
  bool residual = false;
};
Run run_prepared(std::shared_ptr<const cpu::PreparedConv> conv, Reads reads, int64_t h, int64_t w,
                 int64_t channels) {
  return [=](Values inputs) {
    const int64_t n = inputs[0].shape()[0];
    Tensor y({n, h, w, channels});
    cpu::ConvInputs in{.x = inputs[0].data<float>()};
    if (reads.skip) {
      check(inputs[1].shape()[0] == n, "InferencePlan: expected a skip of ", n, " images, got ",
            inputs[1].shape());
      in.skip = inputs[1].data<float>();
    }
    if (reads.residual) in.residual = residual_of(y, inputs.back()).data<float>();
    conv->run(n, in, y.mutable_data<float>());
    return y;
  };
}

Run prepare(const ConvOperation& conv) {
  const cpu::ConvShape& s = conv.shape;
  const Reads reads = {.residual = conv.residual != 0};
  if (conv.transposed)
    return run_prepared(cpu::prepare_conv_transpose2d(s, filters_of(conv)), reads, s.h, s.w,
                        s.c_in);
  return run_prepared(cpu::prepare_conv2d(s, filters_of(conv)), reads, s.ho, s.wo, s.c_out);
}

Run prepare(const SeparableOperation& both) {
  const cpu::ConvShape& s = both.depthwise.shape;
  const int64_t c_out = both.pointwise.shape.c_out;
  return run_prepared(cpu::prepare_separable(s, filters_of(both.depthwise), c_out,
                                             filters_of(both.pointwise), both.upsampled),
                      {.skip = both.skip != 0, .residual = both.pointwise.residual != 0}, s.ho,
                      s.wo, c_out);
}

// One pixel is an image to the pair.
Run prepare(const PointwisePairOperation& pair) {
  const cpu::ConvShape& s = pair.second.shape;
  const std::shared_ptr<const cpu::PreparedConv> both = cpu::prepare_pointwise_pair(
      pair.first.shape.c_in, filters_of(pair.first), s.c_in, filters_of(pair.second), s.c_out);
  return [=, h = s.ho, w = s.wo, channels = s.c_out](Values inputs) {
    const int64_t n = inputs[0].shape()[0];
    Tensor y({n, h, w, channels});
    both->run(n * h * w,
              {.x = inputs[0].data<float>(),
               .residual = inputs.size() > 1 ? residual_of(y, inputs[1]).data<float>() : nullptr},
              y.mutable_data<float>());
    return y;
  };
}

Run prepare(const OtherOperation& other) {
  return replay(other.step);
}

// For profiles. No ops of the list.
constexpr OpInfo named(std::string_view name) {
  return {.name = name, .formula = "", .source = ""};
}
constexpr OpInfo kConvolution = named("planned conv2d");
constexpr OpInfo kTransposed = named("planned conv_transpose2d");
constexpr OpInfo kSeparable = named("planned separable");
constexpr OpInfo kPointwisePair = named("planned pointwise pair");

PlannedWork planned(const ConvOperation& conv) {
  const cpu::ConvShape& s = conv.shape;
  const auto pass = conv.transposed ? cpu::ConvPass::input_gradient : cpu::ConvPass::forward;
  return {.op = conv.transposed ? &kTransposed : &kConvolution,
          .algorithm = cpu::name_of(cpu::algorithm_of(s, pass, s.n)),
          .multiply_adds = cpu::multiply_adds(s)};
}
PlannedWork planned(const SeparableOperation& both) {
  return {.op = &kSeparable,
          .algorithm = "depthwise, pointwise",
          .multiply_adds =
              cpu::multiply_adds(both.depthwise.shape) + cpu::multiply_adds(both.pointwise.shape)};
}
PlannedWork planned(const PointwisePairOperation& pair) {
  return {.op = &kPointwisePair,
          .algorithm = "pointwise, pointwise",
          .multiply_adds =
              cpu::multiply_adds(pair.first.shape) + cpu::multiply_adds(pair.second.shape)};
}
PlannedWork planned(const OtherOperation&) {
  return {};
}

// Parameters and running moments.
std::vector<Tensor> sources_of(const Trace& trace, uint64_t input) {
  std::set<uint64_t> seen = {0, input};
  std::vector<Tensor> sources;
  for (const Trace::Step& step : trace.steps()) {
    for (const uint64_t value : step.inputs)
      if (seen.insert(value).second) sources.push_back(trace.constant(value));
    seen.insert(step.output);
    sources.insert(sources.end(), step.buffers.begin(), step.buffers.end());
  }
  return sources;
}

}  // namespace

InferencePlan::InferencePlan(const Trace& trace, uint64_t input,
                             const std::vector<uint64_t>& outputs) {
  const Tensor& image = trace.constant(input);
  check(image.dtype() == DType::f32 && image.device() == Device::cpu && image.shape().rank() == 4 &&
            image.shape()[0] == 1,
        "InferencePlan: expected a trace of one image [1, H, W, C] of float32 on the cpu, got ",
        image.shape(), " ", image.dtype(), " on ", image.device());
  image_ = image.shape();
  Graph graph = graph_of(trace, outputs);
  fuse(trace, graph);
  join_separable(graph);
  join_pointwise(graph);

  std::map<uint64_t, size_t> places = {{input, 0}};
  constants_.resize(1);
  const auto place_of = [&](uint64_t value, bool made) {
    const auto [found, added] = places.try_emplace(value, constants_.size());
    if (added) constants_.push_back(made ? Tensor() : trace.constant(value).clone());
    return found->second;
  };
  for (const Operation& operation : graph.operations) {
    Step step;
    step.run = std::visit([](const auto& kind) { return prepare(kind); }, operation);
    step.planned = std::visit([](const auto& kind) { return planned(kind); }, operation);
    for (const uint64_t value : inputs_of(operation)) step.inputs.push_back(place_of(value, false));
    step.output = place_of(output_of(operation), true);
    steps_.push_back(std::move(step));
  }
  for (const uint64_t value : outputs) outputs_.push_back(place_of(value, false));
  for (const Tensor& source : sources_of(trace, input))
    sources_.push_back({source, source.version()});
  free_early(constants_.size());
}

// From the last step to the first: who reads a value first, reads it last.
void InferencePlan::free_early(size_t values) {
  std::vector<bool> needed(values, false);
  for (size_t i = 0; i < values; ++i) needed[i] = constants_[i].defined();
  for (const size_t output : outputs_) needed[output] = true;
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step)
    for (const size_t input : step->inputs) {
      if (needed[input]) continue;
      needed[input] = true;
      step->dead.push_back(input);
    }
}

std::vector<Tensor> InferencePlan::run(const Tensor& images) const {
  const int64_t n = images.shape().rank() == 4 ? std::max<int64_t>(1, images.shape()[0]) : 1;
  const Shape expected = {n, image_[1], image_[2], image_[3]};
  check(
      images.shape() == expected && images.dtype() == DType::f32 && images.device() == Device::cpu,
      "InferencePlan: expected images ", expected, " of float32 on the cpu, got ", images.shape(),
      " ", images.dtype());
  if (n <= kTogether) return run_together(images);
  std::vector<Tensor> whole;
  for (int64_t first = 0; first < n; first += kTogether) {
    const int64_t count = std::min(kTogether, n - first);
    const std::vector<Tensor> part = run_together(images_of(images, first, count));
    for (size_t i = 0; i < part.size(); ++i) {
      if (first == 0) whole.emplace_back(of_images(part[i].shape(), n));
      images_of(whole[i], first, count).copy_from(part[i]);
    }
  }
  return whole;
}

std::vector<Tensor> InferencePlan::run_together(const Tensor& images) const {
  std::vector<Tensor> values = constants_;
  values[0] = images;
  std::vector<Tensor> inputs;
  for (const Step& step : steps_) {
    inputs.clear();
    for (const size_t place : step.inputs) inputs.push_back(values[place]);
    const Tensor& y = values[step.output] = step.run(inputs);
    if (Profile* profile = Profile::active(); profile != nullptr && step.planned.op != nullptr) {
      const Shape& x = inputs[0].shape();
      Profile::note(step.planned.algorithm, x[0] * step.planned.multiply_adds);
      profile->add({.op = step.planned.op,
                    .backward = false,
                    .inputs = {x, y.shape()},
                    .bytes = 4 * (x.size() + y.shape().size())});
    }
    inputs.clear();
    for (const size_t place : step.dead) values[place] = Tensor();
  }
  std::vector<Tensor> out;
  for (const size_t place : outputs_) out.push_back(values[place]);
  return out;
}

bool InferencePlan::is_current() const {
  return std::ranges::all_of(
      sources_, [](const Source& source) { return source.tensor.version() == source.version; });
}

bool InferencePlan::knows_all(const Trace& trace) {
  std::set<uint64_t> made;
  for (const Trace::Step& step : trace.steps()) {
    const bool convolution = is_convolution(step);
    if (!convolution && !can_replay(step)) return false;
    // Filters and the parameters of batch norm are taken as they are: they must not be computed.
    if (convolution || step.op->name == "batch_norm")
      for (size_t i = 1; i < std::min<size_t>(3, step.inputs.size()); ++i)
        if (made.contains(step.inputs[i])) return false;
    made.insert(step.output);
  }
  return true;
}

}  // namespace decant
