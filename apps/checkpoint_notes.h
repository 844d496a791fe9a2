#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "apps/options.h"
#include "data/augment.h"
#include "nn/checkpoint.h"

namespace decant::apps {

/// What a checkpoint of ours tells of itself, beside weights and network: how to feed it, and what
/// it reached where it was chosen. It stands in the safetensors metadata as JSON under "decant".
struct CheckpointNotes {
  int size = 0;         ///< side of the square it was trained on
  std::string augment;  ///< "weak", "strong_flip", "custom"
  std::string preset;   ///< of the distillation; "" of a network trained alone
  uint64_t seed = 0;
  int64_t epoch = 0;
  double val_loss = 0;
  double val_dice = 0;
  uint64_t val_digest = 0;  ///< Validation::digest of the images that val_dice was measured on
  std::string split;        ///< the words its split was made from
  /// How it sees an image that it is asked about, as JSON. null, in checkpoints of before it was
  /// noted: the preset `none`, which they all were evaluated with.
  Json pipeline = nullptr;
  uint64_t data_digest = 0;     ///< data_digest() of its training and validation images; 0 unknown
  uint64_t teacher_digest = 0;  ///< of its teacher's checkpoint; 0 unknown or none

  void visit(auto&& v) {
    v("size", size, "side of the input");
    v("augment", augment, "augmentation of its training");
    v("preset", preset, "of its distillation");
    v("seed", seed, "of its training");
    v("epoch", epoch, "epochs done");
    v("val_loss", val_loss, "on the images that chose it");
    v("val_dice", val_dice, "on the images that chose it");
    v("val_digest", val_digest, "of the images that chose it");
    v("split", split, "words its split was made from");
    v("pipeline", pipeline, "that an image goes through before it");
    v("data_digest", data_digest, "of the files of its training and validation images");
    v("teacher_digest", teacher_digest, "of its teacher's checkpoint");
  }

  data::Pipeline evaluation() const;  ///< `pipeline`, as the room data knows it
};

nn::Metadata to_metadata(CheckpointNotes notes);

/// Throws Error where the metadata holds none: `path` is a checkpoint of another program.
CheckpointNotes notes_of(const nn::Metadata& metadata, const std::filesystem::path& path);

struct TrainedNetwork {
  std::filesystem::path path;
  std::unique_ptr<nn::Network> network;
  CheckpointNotes notes;
};

/// From a checkpoint or a run folder (its best). Throws Error where it has no notes.
TrainedNetwork load_trained(const std::filesystem::path& path);

struct AnyNetwork {
  std::unique_ptr<nn::Network> network;
  std::optional<CheckpointNotes> notes;  ///< none of what decant did not train
};

/// The same for those who need no notes, and of a folder of SMP.
AnyNetwork load_any(const std::filesystem::path& path);

/// Where weights lie that a path means: the file itself, a folder of segmentation_models.pytorch,
/// or the best checkpoint of a run folder. Throws Error where it is none of them.
std::filesystem::path find_weights(const std::filesystem::path& path);

}  // namespace decant::apps
