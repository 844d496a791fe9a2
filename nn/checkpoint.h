#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "nn/network.h"

namespace decant::nn {

/// Parameters and buffers by PyTorch's names, in its order and its order of extents (a rank-4
/// weight [O, kH, kW, I] becomes [O, I, kH, kW]; a transposed convolution's [I, kH, kW, O] likewise
/// [I, O, kH, kW]). Real values as `dtype`, counters int64. On the CPU, wherever the module is; and
/// what one device wrote another reads.
std::vector<NamedTensor> state_dict(Module& module, DType dtype = DType::f32);

/// How the tensors of a file stand to a module's, by name. Where a fault needs words (two shapes),
/// they follow the name.
struct StateMatch {
  std::vector<std::string> matched;
  std::vector<std::string> missing;     ///< the module's, which the file lacks
  std::vector<std::string> unexpected;  ///< the file's, which the module lacks
  std::vector<std::string> twice;       ///< in the file
  std::vector<std::string> reshaped;
  std::vector<std::string> retyped;  ///< weights of whole numbers, counters of real ones
  std::string prefix;  ///< "module." or "model." where every name of the file begins so: taken off,
                       ///< more of them may match

  bool fits() const;
  /// "; missing (3): a, b, c; unexpected (1): d", of each at most ten; "" where all fits.
  std::string faults() const;
};
/// Counters (num_batches_tracked) that the file lacks, as files of old PyTorch do, are missing or
/// not as asked.
StateMatch match_state(Module& module, const std::vector<NamedTensor>& state,
                       bool counters_may_be_absent = false);

/// The other way round; real values are converted to the module's type. Everything must match:
/// throws one Error that begins with `what` and lists the faults of match_state(). The module is
/// changed only if all of it matches.
void load_state_dict(Module& module, const std::vector<NamedTensor>& state, const std::string& what,
                     bool counters_may_be_absent = false);

using Metadata = std::map<std::string, std::string>;

/// Writes a safetensors file that a PyTorch user opens as is: F32, num_batches_tracked I64,
/// metadata "format" = "pt" and the caller's. Whole or not at all.
void save_checkpoint(const std::filesystem::path& path, Module& module, Metadata metadata = {});
/// The same with the network's spec as JSON under "network", from which network_from_checkpoint
/// builds it again.
void save_checkpoint(const std::filesystem::path& path, Network& network, Metadata metadata = {});

/// Strict (load_state_dict); returns the metadata.
Metadata load_checkpoint(const std::filesystem::path& path, Module& module);

struct LoadedNetwork {
  std::unique_ptr<Network> network;
  Metadata metadata;
};
/// Throws Error naming the path where the file is damaged or was not written by save_checkpoint.
LoadedNetwork network_from_checkpoint(const std::filesystem::path& path, DType dtype = DType::f32);

/// Loads pretrained encoder weights from any file of tensors (nn/files/tensor_file.h) or a folder
/// as SMP writes it, with torchvision's, SMP's or timm's names: with or without "module.",
/// "encoder." and "model." in front, as the network's own names. Classifiers (fc., _fc.,
/// classifier., conv_head.) and, in whole networks, decoders and heads are dropped. A first
/// convolution for three channels is summed over them where the network takes one; for n it repeats
/// them, scaled by 3 / n, as SMP. Anything else must match, as in load_state_dict;
/// num_batches_tracked may be absent.
void load_encoder_weights(Network& network, const std::filesystem::path& path);

/// The same for a whole network, whose names must be ours, with or without "module." and "model."
/// in front of all of them.
void load_network_weights(Network& network, const std::filesystem::path& path);

}  // namespace decant::nn
