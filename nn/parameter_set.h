#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nn/module.h"

namespace decant::nn {

/// All that one optimizer trains, in one buffer of values and one of gradients: zeroing is one
/// fill, a step is one op, a snapshot is one copy. Making it moves the modules' parameters into it:
/// their tensors become views, their gradients too. Slots begin at multiples of 64 bytes; the gaps
/// hold zeros and stay so. The modules must be initialized, of one type, on one device, and live no
/// shorter than the optimizer's steps. The layout is the same on all devices, so that what one
/// saved another goes on with. Throws Error for a parameter or a name that comes twice.
class ParameterSet {
 public:
  struct Slot {
    std::string name;  ///< "encoder.conv1.weight", after its module's prefix
    int64_t offset;    ///< in elements, of the values and of the gradients
    int64_t size;
    Parameter* parameter;
    bool frozen = false;
  };
  struct Range {
    int64_t offset;
    int64_t size;
    bool operator==(const Range&) const = default;
  };

  explicit ParameterSet(Module& module);
  /// Several modules, one after the other, each name behind its prefix: {{"", student},
  /// {"regressor", regressor}}. An empty prefix adds nothing.
  explicit ParameterSet(const std::vector<std::pair<std::string, Module*>>& modules);
  ParameterSet(const ParameterSet&) = delete;
  ParameterSet& operator=(const ParameterSet&) = delete;

  DType dtype() const { return values_.dtype(); }
  Device device() const { return values_.device(); }
  /// Values that learn, gaps not counted, frozen ones not counted.
  int64_t trainable_count() const;

  /// [size]: all slots and gaps.
  Tensor& values() { return values_; }
  Tensor& gradients() { return gradients_; }
  const std::vector<Slot>& slots() const { return slots_; }

  /// What a step covers: the slots that are not frozen and that a gradient has arrived at since
  /// zero_gradients(), neighbours (with the gap between them) joined. Parameters that no backward
  /// pass came by (an encoder's stages that do not run, say) neither decay nor move, as PyTorch
  /// passes over those without a gradient.
  std::vector<Range> reached() const;
  /// The span of all slots whose name is `path` or begins with `path` and a dot; the whole buffer
  /// for "". Throws Error where there is none.
  Range range(std::string_view path) const;

  /// Takes the slots under `path` out of the steps (no momentum, no decay) and out of the backward
  /// pass. The layout stays.
  void freeze(std::string_view path);

  void zero_gradients();

 private:
  Tensor values_;
  Tensor gradients_;
  std::vector<Slot> slots_;
};

}  // namespace decant::nn
