#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "engine/autograd/profile.h"
#include "kd/distiller.h"
#include "kd/teacher.h"
#include "nn/losses.h"
#include "nn/network.h"
#include "nn/optimizer.h"
#include "nn/parameter_set.h"
#include "nn/weight_average.h"

namespace decant::cuda {
class StepGraph;
}

namespace decant::apps {

struct StepOptions {
  nn::LossOptions loss;
  double clip = 0;  ///< largest norm of the gradient; 0 does not clip
  uint64_t seed = 0;
  bool graph = true;  ///< on cuda: record the step and replay it
};

/// One training step of a network, alone or under a teacher: forward, losses, backward, clipping,
/// optimizer, mean of the weights. All that train, distil and bench do in a step is here, on both
/// devices.
///
/// On cuda nothing in it waits for the device, and from its third run on batches that lie in the
/// same tensors it is a StepGraph's replay, with the same bits. Not so where a term reads the
/// host's motions (kd::Distiller::moves_maps): those would be recorded as they were.
class TrainStep {
 public:
  /// All must outlive it.
  TrainStep(nn::Network& student, nn::ParameterSet& parameters, nn::Optimizer& optimizer,
            StepOptions options);
  ~TrainStep();
  void teach_by(kd::FrozenTeacher& teacher, const kd::Distiller& distiller);
  void average_into(nn::WeightAverage& average) { average_ = &average; }

  /// `step` counts from 0. `batch` lies on the networks' device.
  /// norms: where given, how hard each part of a distillation pulls (kd::gradient_norms); reading
  /// them waits for the device, so ask for them rarely.
  void run(const data::Batch& batch, double learning_rate, int64_t step,
           std::vector<kd::GradientNorm>* norms = nullptr);

  /// What run() leaves in figures(): the losses by name, "loss" for their total, and "gradient" for
  /// the norm of the gradient before clipping.
  const std::vector<std::string>& names() const { return names_; }
  /// [names], on the device (float32 there, float64 on the CPU), until the next run().
  const Tensor& figures() const { return figures_; }

  /// Computes all losses and nothing else: throws Error where a term cannot be computed.
  void try_losses(const data::Batch& batch);

  bool recorded() const;

 private:
  struct Losses;
  Losses losses_of(const data::Batch& batch, const nn::Pass& pass,
                   std::vector<kd::GradientNorm>* norms);
  Variable supervised(const Variable& logits, const data::Batch& batch) const;
  void compute(const data::Batch& batch, const nn::Pass& pass,
               std::vector<kd::GradientNorm>* norms);
  bool may_record(const data::Batch& batch) const;

  nn::Network& student_;
  nn::ParameterSet& parameters_;
  nn::Optimizer& optimizer_;
  StepOptions options_;
  kd::FrozenTeacher* teacher_ = nullptr;
  const kd::Distiller* distiller_ = nullptr;
  nn::WeightAverage* average_ = nullptr;

  std::vector<std::string> names_;
  Tensor figures_;
  std::shared_ptr<cuda::StepGraph> graph_;
  Tensor recorded_images_;  ///< that the graph reads
  Tensor stream_now_;       ///< so does dropout in it
};

/// What ran the convolutions of a step: "convolutions forward: 17 winograd, 3 direct; backward:
/// ..."
std::string algorithms_of(const Profile& step);

}  // namespace decant::apps
