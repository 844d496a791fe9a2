#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "nn/network.h"

namespace decant::nn {

// A network as segmentation_models.pytorch (SMP) keeps it: a folder with config.json, the arguments
// that its class was made with, and model.safetensors. smp.from_pretrained(folder) reads ours,
// which hold the same names and shapes; model.save_pretrained(folder) writes theirs.

inline constexpr const char* kSmpWeights = "model.safetensors";

/// Whether there is a folder with a config.json that names a model's class.
bool is_smp_folder(const std::filesystem::path& path);

/// The network of such a folder, with its weights.
/// Throws Error naming the file where the class, the encoder or an argument is none that we have,
/// or the weights are another network's.
std::unique_ptr<Network> read_smp_folder(const std::filesystem::path& path);

/// Makes the folder where it is not there. Throws Error where SMP has no such network.
void write_smp_folder(const std::filesystem::path& path, Network& network);

/// The arguments: {"_model_class": "Unet", "encoder_name": "resnet18", "classes": 1, ..}.
nlohmann::json smp_config(const NetworkSpec& spec);
/// Arguments that change nothing here (encoder_weights) are passed over; others must be what our
/// network has, and unknown ones are an Error: what they ask for would be missing.
NetworkSpec spec_from_smp(const nlohmann::json& config);

}  // namespace decant::nn
