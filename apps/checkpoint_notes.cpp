#include "apps/checkpoint_notes.h"

#include "apps/run_folder.h"
#include "nn/files/smp_folder.h"

namespace decant::apps {
namespace {

constexpr const char* kNotes = "decant";

}  // namespace

data::Pipeline CheckpointNotes::evaluation() const {
  if (pipeline.is_null()) return data::Pipeline::preset("none", size);
  return data::Pipeline::from_json(nlohmann::json(pipeline));
}

nn::Metadata to_metadata(CheckpointNotes notes) {
  return {{kNotes, to_json(keys_of(notes)).dump()}};
}

CheckpointNotes notes_of(const nn::Metadata& metadata, const std::filesystem::path& path) {
  const auto found = metadata.find(kNotes);
  check(found != metadata.end(), path.string(),
        ": expected a checkpoint that decant trained, got one without its notes; decant convert ",
        path, " OUT.safetensors --size N notes the size of its images");
  CheckpointNotes notes;
  const Json json = Json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  read_json(keys_of(notes), json, path.string());
  check(notes.size > 0, path.string(), ": expected the input's size in its notes, got ",
        notes.size);
  return notes;
}

TrainedNetwork load_trained(const std::filesystem::path& path) {
  TrainedNetwork trained;
  trained.path = find_checkpoint(path);
  nn::LoadedNetwork loaded = nn::network_from_checkpoint(trained.path);
  trained.network = std::move(loaded.network);
  trained.notes = notes_of(loaded.metadata, trained.path);
  return trained;
}

AnyNetwork load_any(const std::filesystem::path& path) {
  if (nn::is_smp_folder(path)) return {nn::read_smp_folder(path), {}};
  const std::filesystem::path file = find_checkpoint(path);
  nn::LoadedNetwork loaded = nn::network_from_checkpoint(file);
  AnyNetwork any{std::move(loaded.network), {}};
  if (loaded.metadata.contains(kNotes)) any.notes = notes_of(loaded.metadata, file);
  return any;
}

std::filesystem::path find_weights(const std::filesystem::path& path) {
  return nn::is_smp_folder(path) ? path : find_checkpoint(path);
}

}  // namespace decant::apps
