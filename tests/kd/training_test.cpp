// The whole of it on small networks: a frozen teacher, a student, each of the twelve presets.
#include <doctest/doctest.h>

#include "engine/check/op_row.h"
#include "engine/core/parallel.h"
#include "engine/ops/losses.h"
#include "kd/distiller.h"
#include "kd/teacher.h"
#include "nn/optimizer.h"
#include "nn/parameter_set.h"
#include "tests/kd/maps.h"

using namespace decant;
using namespace decant::kd;

namespace {

// The first pixels brighter on the left, and a mask that says so.
Tensor images(uint64_t seed) {
  Tensor x = randn({2, 32, 32, 3}, seed).to(DType::f32);
  auto* values = x.mutable_data<float>();
  for (int64_t i = 0; i < x.size(); ++i)
    if (i / 3 % 32 < 16) values[i] += 2;
  return x;
}

Tensor left_half() {
  Tensor y({2, 32, 32, 1});
  auto* values = y.mutable_data<float>();
  for (int64_t i = 0; i < y.size(); ++i) values[i] = i % 32 < 16 ? 1.0F : 0.0F;
  return y;
}

}  // namespace

TEST_CASE("hidden maps of any two networks meet: those kept large by an output stride among them") {
  const std::pair<const char*, const char*> pairs[] = {
      {"deeplabv3plus/resnet18", "deeplabv3/mobilenet_v2:output_stride=16"},
      {"fpn/resnet18", "manet/mobilenet_v2"},
      {"pspnet/resnet18", "unetplusplus/resnet18:depth=3,channels=32-16-16"}};
  for (const auto& [teacher_name, student_name] : pairs) {
    CAPTURE(teacher_name);
    CAPTURE(student_name);
    const std::shared_ptr<nn::Network> network =
        nn::make_network(nn::parse_network(teacher_name), 1, DType::f32, "teacher");
    const DistillSpec spec = preset("HReg_MSE");
    FrozenTeacher teacher(network, spec.teacher_batch_norm);
    const auto student = nn::make_network(nn::parse_network(student_name), 2);
    Distiller distiller(spec, {.classes = 1, .hidden_channels = student->hidden_channels()},
                        {.classes = 1, .hidden_channels = network->hidden_channels()}, 0);
    nn::ParameterSet parameters({{"", student.get()}, {"distiller", &distiller}});
    const auto optimizer = nn::make_optimizer(parameters, {.name = "adam"});
    const Variable view(images(3));
    double first = 0;
    double last = 0;
    for (uint64_t step = 0; step < 8; ++step) {
      parameters.zero_gradients();
      const nn::Output said = teacher.forward(view);
      const nn::Output answer =
          student->forward(view, {.training = true, .key = RngKey::of(0, "dropout", step)});
      const Losses losses =
          distiller.loss(answer, said, bce_with_logits(answer.logits, left_half()), {});
      backward(losses.total);
      optimizer->step(1e-3);
      last = losses.total.value().item();
      if (step == 0) first = last;
    }
    CHECK(last < 0.9 * first);
  }
}

TEST_CASE("every preset trains a student, its regressor with it, and leaves the teacher alone") {
  const std::shared_ptr<nn::Network> network = nn::make_network(
      {.decoder = "thin_unet", .encoder = "", .width = 8, .depth = 3}, 1, DType::f32, "teacher");
  const Tensor view = images(3);
  const int threads = num_threads();
  set_num_threads(1);  // maps this small leave further threads waiting for one another
  const std::vector<Affine> moves(2, Affine::rotation(20, 15.5, 15.5));
  for (const std::string& name : preset_names()) {
    CAPTURE(name);
    const DistillSpec spec = preset(name);
    FrozenTeacher teacher(network, spec.teacher_batch_norm);
    const auto student = nn::make_network(
        {.decoder = "thin_unet", .encoder = "", .width = 4, .depth = 3}, 2, DType::f32);
    Distiller distiller(spec, {.classes = 1, .hidden_channels = student->hidden_channels()},
                        {.classes = 1, .hidden_channels = network->hidden_channels()}, 0);
    nn::ParameterSet parameters({{"", student.get()}, {"distiller", &distiller}});
    const auto optimizer = nn::make_optimizer(parameters, {.name = "adam"});
    const Tensor before = parameters.values().clone();

    double first = 0;
    double last = 0;
    for (int step = 0; step < 12; ++step) {
      parameters.zero_gradients();
      const nn::Output said = teacher.forward(Variable(view));
      const nn::Output answer = student->forward(Variable(view), {.training = true});
      const Losses losses =
          distiller.loss(answer, said, bce_with_logits(answer.logits, left_half()), moves);
      backward(losses.total);
      optimizer->step(3e-3);
      last = losses.total.value().item();
      if (step == 0) first = last;
      CHECK(std::isfinite(last));
    }
    CHECK(last < 0.9 * first);
    // Slots of the regressor moved as well: training reaches them through the distiller alone.
    const bool regressor = name.starts_with("HReg");
    CHECK((nn::parameter_count(distiller) > 0) == regressor);
    if (!regressor) continue;
    const auto range = parameters.range("distiller");
    const Tensor was = before.view(range.offset, {range.size}).to(DType::f64);
    const Tensor is = parameters.values().view(range.offset, {range.size}).to(DType::f64);
    CHECK(largest_difference(was.values<double>(), is.values<double>()) > 1e-3);
  }
  set_num_threads(threads);
}
