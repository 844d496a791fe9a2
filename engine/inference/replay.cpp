#include "engine/inference/replay.h"

#include <map>

#include "engine/core/error.h"
#include "engine/inference/attributes.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/group_norm.h"
#include "engine/ops/matmul.h"
#include "engine/ops/pointwise.h"
#include "engine/ops/pool.h"
#include "engine/ops/resize.h"
#include "engine/ops/shape_ops.h"
#include "engine/ops/softmax.h"

namespace decant {
namespace {

using Inputs = std::vector<Variable>;
using Function = std::function<Variable(const Inputs&)>;
using Maker = Function (*)(const Trace::Step&);

template <Variable (*Op)(const Variable&)>
Function unary(const Trace::Step&) {
  return [](const Inputs& in) { return Op(in[0]); };
}

template <Variable (*Op)(const Variable&, const Variable&)>
Function binary(const Trace::Step&) {
  return [](const Inputs& in) { return Op(in[0], in[1]); };
}

PoolOptions pool_options(const Trace::Step& step) {
  return {.kernel = attribute<int64_t>(step, "kernel"),
          .stride = attribute<int64_t>(step, "stride"),
          .padding = attribute<int64_t>(step, "padding")};
}

Function resized(const Trace::Step& step) {
  const bool nearest = attribute<std::string>(step, "mode") == "nearest";
  return
      [h = attribute<int64_t>(step, "h"), w = attribute<int64_t>(step, "w"),
       options = ResizeOptions{.mode = nearest ? Interpolation::nearest : Interpolation::bilinear,
                               .align_corners = attribute<bool>(step, "align_corners")}](
          const Inputs& in) { return resize(in[0], h, w, options); };
}

Function padded(const Trace::Step& step) {
  const auto before = attribute<std::vector<int64_t>>(step, "before");
  const auto after = attribute<std::vector<int64_t>>(step, "after");
  std::vector<std::pair<int64_t, int64_t>> amounts;
  for (size_t i = 0; i < before.size(); ++i) amounts.emplace_back(before[i], after[i]);
  return [amounts, value = attribute<double>(step, "value")](const Inputs& in) {
    return pad(in[0], amounts, value);
  };
}

Function sliced(const Trace::Step& step) {
  return [axis = static_cast<int>(attribute<int64_t>(step, "axis")),
          begin = attribute<int64_t>(step, "begin"), end = attribute<int64_t>(step, "end")](
             const Inputs& in) { return slice(in[0], axis, begin, end); };
}

// The images' axis is as long as the input's, whatever the traced one.
Function reshaped(const Trace::Step& step) {
  return [extents = attribute<std::vector<int64_t>>(step, "shape")](const Inputs& in) {
    std::vector<int64_t> shape = extents;
    shape[0] = in[0].shape()[0];
    return reshape(in[0], Shape(shape));
  };
}

Function permuted(const Trace::Step& step) {
  const auto& order = attribute<std::vector<int64_t>>(step, "order");
  return [axes = std::vector<int>(order.begin(), order.end())](const Inputs& in) {
    return permute(in[0], axes);
  };
}

Function group_normalized(const Trace::Step& step) {
  const GroupNormOptions options{.groups = attribute<int64_t>(step, "groups"),
                                 .eps = attribute<double>(step, "eps")};
  return [options, scales = step.inputs[1] != 0, shifts = step.inputs[2] != 0](const Inputs& in) {
    return group_norm(in[0], scales ? in[1] : Variable(), shifts ? in.back() : Variable(), options);
  };
}

// A batch norm that no convolution could take in. The moments are the traced ones.
Function normalized(const Trace::Step& step) {
  const BatchNormOptions options{.eps = attribute<double>(step, "eps"),
                                 .activation = activation_of(step)};
  return [options, mean = step.buffers[0].clone(),
          variance = step.buffers[1].clone()](const Inputs& in) mutable {
    return batch_norm(in[0], in[1], in[2], mean, variance, options,
                      in.size() > 3 ? in[3] : Variable());
  };
}

const std::map<std::string_view, Maker>& makers() {
  static const std::map<std::string_view, Maker> kMakers = {
      {"add", binary<add>},
      {"mul", binary<mul>},
      {"relu", unary<relu>},
      {"relu6", unary<relu6>},
      {"sigmoid", unary<sigmoid>},
      {"hard_sigmoid", unary<hard_sigmoid>},
      {"hard_swish", unary<hard_swish>},
      {"silu", unary<silu>},
      {"batch_norm", normalized},
      {"max_pool2d",
       [](const Trace::Step& step) -> Function {
         return [options = pool_options(step)](const Inputs& in) {
           return max_pool2d(in[0], options);
         };
       }},
      {"avg_pool2d",
       [](const Trace::Step& step) -> Function {
         return [options = pool_options(step)](const Inputs& in) {
           return avg_pool2d(in[0], options);
         };
       }},
      {"adaptive_avg_pool2d",
       [](const Trace::Step& step) -> Function {
         return [h = attribute<int64_t>(step, "h"), w = attribute<int64_t>(step, "w")](
                    const Inputs& in) { return adaptive_avg_pool2d(in[0], h, w); };
       }},
      {"resize", resized},
      {"upsample_concat",
       [](const Trace::Step&) -> Function {
         return [](const Inputs& in) {
           return upsample_concat(in[0], in.size() > 1 ? in[1] : Variable());
         };
       }},
      {"concat",
       [](const Trace::Step& step) -> Function {
         return [axis = static_cast<int>(attribute<int64_t>(step, "axis"))](const Inputs& in) {
           return concat(in, axis);
         };
       }},
      {"pad", padded},
      {"reshape", reshaped},
      {"permute", permuted},
      {"group_norm", group_normalized},
      {"softmax",
       [](const Trace::Step& step) -> Function {
         return [axis = static_cast<int>(attribute<int64_t>(step, "axis"))](const Inputs& in) {
           return softmax(in[0], axis);
         };
       }},
      {"matmul",
       [](const Trace::Step& step) -> Function {
         return [options = MatmulOptions{.transpose_a = attribute<bool>(step, "transpose_a"),
                                         .transpose_b = attribute<bool>(step, "transpose_b")}](
                    const Inputs& in) { return matmul(in[0], in[1], options); };
       }},
      {"slice", sliced},
  };
  return kMakers;
}

// The axis of the images, of which a trace has one and a plan any number, must be left alone.
bool changes_images(const Trace::Step& step) {
  if (step.op->name == "slice" || step.op->name == "concat") {
    const auto axis = attribute<int64_t>(step, "axis");
    return axis == 0 || axis == -step.output_shape.rank();
  }
  if (step.op->name == "softmax") return attribute<int64_t>(step, "axis") == 0;
  if (step.op->name == "permute") return attribute<std::vector<int64_t>>(step, "order")[0] != 0;
  if (step.op->name == "matmul") return step.output_shape.rank() != 3;
  if (step.op->name == "reshape")
    return step.output_shape.rank() == 0 || step.input_shapes[0].rank() == 0 ||
           step.output_shape[0] != step.input_shapes[0][0];
  if (step.op->name == "pad")
    return attribute<std::vector<int64_t>>(step, "before")[0] != 0 ||
           attribute<std::vector<int64_t>>(step, "after")[0] != 0;
  return false;
}

}  // namespace

bool can_replay(const Trace::Step& step) {
  if (step.op->name == "batch_norm" && attribute<bool>(step, "training")) return false;
  if (changes_images(step)) return false;
  return makers().contains(step.op->name);
}

std::function<Tensor(std::span<const Tensor>)> replay(const Trace::Step& step) {
  check(can_replay(step), "InferencePlan: expected an op that plans know, got ", step.op->name);
  return [run = makers().at(step.op->name)(step)](std::span<const Tensor> inputs) {
    const NoGrad no_grad;
    return run(Inputs(inputs.begin(), inputs.end())).value();
  };
}

}  // namespace decant
