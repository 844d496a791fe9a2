#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/io/safetensors.h"
#include "nn/network.h"
#include "nn/parameter_set.h"

namespace decant::nn {

/// A network beside one that trains, whose weights are a running mean (EMA) of the other's:
///   mean = d mean + (1 - d) weights,  d = min(decay, (1 + t) / (10 + t)) after step t = 0, 1, ..
/// The rising d is TensorFlow's: with a fixed one the random weights of the beginning would weigh
/// 0.37 of the mean after 1 / (1 - decay) steps.
///
/// Batch norm's running moments are averaged like weights, as in timm and Ultralytics (PyTorch's
/// AveragedModel and mmengine copy the last ones unless told otherwise): to first order the moments
/// that mean weights make are the mean of the moments, while the last ones belong to other weights.
/// Counters are the training network's own.
///
/// A step is two ops, one over all weights and one over all moments, so that on cuda it is two
/// kernels, which a step graph may record.
/// Source: Polyak & Juditsky 1992; Tarvainen & Valpola 2017, with the mean as the network to keep.
class WeightAverage {
 public:
  /// `parameters` holds the weights of `network`, and perhaps others' behind them. Both must
  /// outlive it; the network's running moments move into one buffer, theirs from now on.
  /// Throws Error unless 0 < decay < 1.
  WeightAverage(Network& network, ParameterSet& parameters, double decay);

  /// Takes the d of the next step, on cuda to where a recorded step reads it. `step` is from 0.
  void begin_step(int64_t step);
  /// Moves the mean, after the optimizer has moved the weights.
  void apply();

  /// The mean as a network: to evaluate and to save, not to train.
  Network& network() { return *mean_; }

  /// What a resumed run needs to go on with the same bits.
  std::vector<NamedTensor> state() const;
  /// Throws Error naming what is missing or of another shape.
  void load_state(const std::vector<NamedTensor>& state);

 private:
  /// Tensors of the training network in one buffer, and their mean.
  struct Part {
    const char* name;
    Tensor now, mean;
  };

  double decay_;
  double decay_now_ = 0;
  Tensor numbers_now_;  ///< on cuda, where a recorded step reads it; undefined on the CPU
  std::vector<Part> parts_;
  std::unique_ptr<Network> mean_;
};

}  // namespace decant::nn
