// What a Trainer keeps in its run's state, and how it goes on from there.
#include <algorithm>

#include "apps/trainer.h"

namespace decant::apps {
namespace {

constexpr const char* kValues = "values";
constexpr const char* kOptimizer = "optimizer.";
constexpr const char* kAverage = "average.";
constexpr const char* kFigures = "epoch.figures";
constexpr const char* kNorms = "epoch.gradient_norms";

// Running moments and counters of a module, by path.
class BufferCollector : public nn::Visitor {
 public:
  std::vector<NamedTensor> take() { return std::move(tensors_); }

 protected:
  void on_buffer(const std::string& path, nn::Buffer& buffer) override {
    tensors_.push_back({"buffer." + path, buffer.tensor});
  }

 private:
  std::vector<NamedTensor> tensors_;
};

std::vector<NamedTensor> buffers_of(nn::Module& module) {
  BufferCollector collector;
  module.visit(collector);
  return collector.take();
}

// The tensors of a state whose names begin with `prefix`, by what follows it.
std::vector<NamedTensor> part_of(const TensorFile& state, std::string_view prefix) {
  std::vector<NamedTensor> part;
  for (const NamedTensor& named : state.tensors)
    if (named.name.starts_with(prefix))
      part.push_back({named.name.substr(prefix.size()), named.tensor});
  return part;
}

Json to_json(const std::vector<kd::GradientNorm>& norms) {
  Json json = Json::array();
  for (const kd::GradientNorm& of : norms) json.push_back({of.name, of.map, of.norm});
  return json;
}

}  // namespace

void Trainer::commit() {
  nn::Metadata metadata = to_metadata(notes_);
  if (progress_.batch > 0) metadata[kNorms] = to_json(at_work_.gradient_norms).dump();
  folder_->commit(progress_, state_tensors(), std::move(metadata),
                  [this](const std::filesystem::path& path) { save(path); });
}

std::vector<NamedTensor> Trainer::state_tensors() {
  std::vector<NamedTensor> tensors = {{kValues, parameters_->values().to(Device::cpu)}};
  for (const NamedTensor& buffer : buffers_of(*network_))
    tensors.push_back({buffer.name, buffer.tensor.to(Device::cpu)});
  for (NamedTensor& moment : optimizer_->state())
    tensors.push_back({kOptimizer + moment.name, std::move(moment.tensor)});
  if (average_)
    for (NamedTensor& mean : average_->state())
      tensors.push_back({kAverage + mean.name, std::move(mean.tensor)});
  if (progress_.batch > 0) {
    const Tensor& all = at_work_.figures;
    tensors.push_back({kFigures, all.view(0, {progress_.batch, all.shape()[1]}).to(Device::cpu)});
  }
  return tensors;
}

void Trainer::save(const std::filesystem::path& path) {
  nn::save_checkpoint(path, kept_network(), to_metadata(notes_));
}

void Trainer::restore() {
  progress_ = folder_->progress();
  const TensorFile state = folder_->state();
  const Tensor& values = state.at(kValues);
  check(values.size() == parameters_->values().size(), folder_->path().string(),
        ": expected the state of this network, ", parameters_->values().size(), " values, got ",
        values.size());
  parameters_->values().copy_from(values);
  for (NamedTensor& buffer : buffers_of(*network_)) buffer.tensor.copy_from(state.at(buffer.name));
  optimizer_->load_state(part_of(state, kOptimizer));
  if (average_) average_->load_state(part_of(state, kAverage));
  if (progress_.batch > 0) restore_epoch(state);
  const CheckpointNotes before = notes_of(state.metadata, folder_->path());
  check_unchanged(before);
  notes_.epoch = before.epoch;
  notes_.val_loss = before.val_loss;
  notes_.val_dice = before.val_dice;
  notes_.val_digest = before.val_digest;
  folder_->repair([this](const std::filesystem::path& path) { save(path); });
  const std::string now = arithmetic();
  if (progress_.arithmetic != now)
    console_.line(str("notice: this run was computed with ", progress_.arithmetic,
                      " kernels so far and goes on with ", now,
                      ": its bits will differ from an undisturbed run's"));
  progress_.arithmetic = now;
  if (!augmentation_line_.empty()) console_.line(augmentation_line_);
  console_.line(
      str("resuming ", folder_->path().string(), " after epoch ", progress_.epoch, " of ",
          config_.epochs,
          progress_.batch > 0 ? str(" and ", progress_.batch, " steps of the next") : ""));
}

// What the steps of an epoch that was stopped have left.
void Trainer::restore_epoch(const TensorFile& state) {
  const Tensor& done = state.at(kFigures);
  const auto norms = state.metadata.find(kNorms);
  const Shape& shape = done.shape();
  check(shape.rank() == 2 && shape[0] == progress_.batch && shape[0] < loader_->batches() &&
            norms != state.metadata.end(),
        folder_->path().string(), ": expected the figures of the ", progress_.batch,
        " steps that its epoch at work has done, got ", shape);
  at_work_.figures = Tensor({loader_->batches(), shape[1]}, done.dtype(), device_);
  at_work_.figures.view(0, shape).copy_from(done);
  at_work_.gradient_norms.clear();
  for (const Json& of : Json::parse(norms->second))
    at_work_.gradient_norms.push_back({.name = of.at(0), .map = of.at(1), .norm = of.at(2)});
}

}  // namespace decant::apps
