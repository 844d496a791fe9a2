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

/// The other way round; real values are converted to the module's type. Everything must match:
/// throws one Error that begins with `what` and lists names that are missing, unexpected or there
/// twice, other shapes, and other types: weights of whole numbers, counters of real ones. The
/// module is changed only if all of it matches.
void load_state_dict(Module& module, const std::vector<NamedTensor>& state,
                     const std::string& what);

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

/// Loads pretrained encoder weights from a safetensors file with torchvision's, SMP's or timm's
/// names: with or without "encoder." and "model." in front, as the network's own names. Classifiers
/// (fc., classifier., conv_head.) and, in whole networks, decoders and heads are dropped. A first
/// convolution for three channels is summed over them where the network takes one; for n it repeats
/// them, scaled by 3 / n, as SMP. Anything else must match, as in load_state_dict;
/// num_batches_tracked may be absent.
void load_encoder_weights(Network& network, const std::filesystem::path& path);

}  // namespace decant::nn
