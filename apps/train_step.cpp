#include "apps/train_step.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "engine/cuda/step_graph.h"

namespace decant::apps {

struct TrainStep::Losses {
  Variable total;
  std::vector<std::pair<std::string, Tensor>> values;  // scalars
};

TrainStep::TrainStep(nn::Network& student, nn::ParameterSet& parameters, nn::Optimizer& optimizer,
                     StepOptions options)
    : student_(student),
      parameters_(parameters),
      optimizer_(optimizer),
      options_(std::move(options)) {
  if constexpr (kWithCuda)
    if (parameters_.device() == Device::cuda && options_.graph &&
        nn::stays_on_device(options_.loss))
      graph_ = std::make_shared<cuda::StepGraph>();
}

TrainStep::~TrainStep() = default;

void TrainStep::teach_by(kd::FrozenTeacher& teacher, const kd::Distiller& distiller) {
  teacher_ = &teacher;
  distiller_ = &distiller;
}

Variable TrainStep::supervised(const Variable& logits, const data::Batch& batch) const {
  return nn::supervised_loss(logits, {.labels = batch.masks, .has_mask = batch.has_mask},
                             options_.loss);
}

TrainStep::Losses TrainStep::losses_of(const data::Batch& batch, const nn::Pass& pass,
                                       std::vector<kd::GradientNorm>* norms) {
  Losses losses;
  if (distiller_ == nullptr) {
    const nn::Output student = student_.forward(Variable(batch.images), pass);
    losses.total = supervised(student.logits, batch);
  } else {
    const kd::DistillSpec& spec = distiller_->spec();
    const bool same = spec.teacher_view == kd::TeacherView::same;
    // Padded once, to the larger stride: else their maps could show different parts of the image.
    const auto padded =
        [stride = std::max(student_.stride(), teacher_->network().stride())](const Tensor& images) {
          return nn::padded_to(Variable(images), stride);
        };
    const auto cropped = [&images = batch.images](nn::Output output) {
      output.logits = nn::cropped_to(output.logits, images.shape()[1], images.shape()[2]);
      return output;
    };
    const Variable images = padded(batch.images);
    const nn::Output student = cropped(student_.forward(images, pass));
    const nn::Output teacher =
        cropped(teacher_->forward(same ? images : padded(batch.teacher_images)));
    const auto supervise = [&](const Variable& logits) { return supervised(logits, batch); };
    const bool wanted = spec.supervised_weight > 0;
    const Variable loss = wanted ? supervise(student.logits) : Variable();
    if (norms != nullptr)
      *norms = distiller_->gradient_norms(
          student, teacher, batch.teacher_to_student,
          wanted ? std::function<Variable(const Variable&)>(supervise) : nullptr);
    const kd::Losses parts = distiller_->loss(student, teacher, loss, batch.teacher_to_student);
    for (const kd::TermLoss& term : parts.terms)
      losses.values.emplace_back(term.name, term.value.value());
    if (wanted) losses.values.emplace_back("supervised", loss.value());
    losses.total = parts.total;
  }
  losses.values.emplace_back("loss", losses.total.value());
  return losses;
}

void TrainStep::compute(const data::Batch& batch, const nn::Pass& pass,
                        std::vector<kd::GradientNorm>* norms) {
  Losses losses = losses_of(batch, pass, norms);
  parameters_.zero_gradients();
  backward(losses.total);
  losses.values.emplace_back("gradient", nn::clip_gradients(parameters_, options_.clip));
  optimizer_.apply();
  if (average_ != nullptr) average_->apply();

  const Tensor& norm = losses.values.back().second;
  if (!figures_.defined()) {
    for (const auto& [name, value] : losses.values) names_.push_back(name);
    figures_ = Tensor({static_cast<int64_t>(names_.size())}, norm.dtype(), parameters_.device());
  }
  for (size_t i = 0; i < losses.values.size(); ++i) {
    const Tensor& value = losses.values[i].second;
    Tensor place = figures_.view(static_cast<int64_t>(i), value.shape());
    place.copy_from(value.device() == Device::cpu ? value.to(place.dtype()) : value);
  }
}

// The graph belongs to the tensors of the first batch that it saw.
bool TrainStep::may_record(const data::Batch& batch) const {
  if (graph_ == nullptr || (distiller_ != nullptr && distiller_->moves_maps())) return false;
  const bool all_count = std::ranges::all_of(batch.has_mask, std::identity());
  return all_count &&
         (!recorded_images_.defined() || (recorded_images_.shares_storage(batch.images) &&
                                          recorded_images_.shape() == batch.images.shape()));
}

void TrainStep::run(const data::Batch& batch, double learning_rate, int64_t step,
                    std::vector<kd::GradientNorm>* norms) {
  nn::Pass pass{.training = true,
                .key = RngKey::of(options_.seed, "dropout", static_cast<uint64_t>(step))};
  if (graph_ != nullptr) {
    const auto stream = static_cast<int64_t>(Rng(pass.key).stream());
    if (!stream_now_.defined()) stream_now_ = Tensor({1}, DType::i64, parameters_.device());
    stream_now_.copy_from(Tensor::of<int64_t>({1}, {stream}));
    pass.stream = stream_now_;
  }
  optimizer_.begin_step(learning_rate);
  if (average_ != nullptr) average_->begin_step(step);
  if constexpr (kWithCuda)
    if (norms == nullptr && may_record(batch)) {
      recorded_images_ = batch.images;
      const bool replays = graph_->recorded();
      graph_->run([&] { compute(batch, pass, nullptr); });
      if (replays) nn::count_batch(student_);
      return;
    }
  compute(batch, pass, norms);
}

void TrainStep::try_losses(const data::Batch& batch) {
  const NoGrad no_grad;
  losses_of(batch, {}, nullptr);
}

bool TrainStep::recorded() const {
  if constexpr (kWithCuda)
    if (graph_ != nullptr) return graph_->recorded();
  return false;
}

std::string algorithms_of(const Profile& step) {
  std::map<bool, std::map<std::string, int>> counts;
  for (const Profile::Row& row : step.rows())
    if (row.op->name == "conv2d" || row.op->name == "conv_transpose2d")
      ++counts[row.backward][row.algorithm];
  std::string text = "convolutions";
  for (const auto& [backward, algorithms] : counts) {
    text += backward ? "; backward: " : " forward: ";
    std::string_view separator;
    for (const auto& [algorithm, count] : algorithms) {
      text += str(separator, count, ' ', algorithm);
      separator = ", ";
    }
  }
  return text;
}

}  // namespace decant::apps
