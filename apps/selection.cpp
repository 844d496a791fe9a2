#include "apps/selection.h"

#include <algorithm>
#include <set>

#include "apps/evaluate.h"
#include "data/split.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

// A run's split, with the names of images that may be of another data set by now.
Json read_split(const std::string& file) {
  Json split = read_json_object(file);
  const auto folds = split.find("folds");
  check(folds != split.end() && folds->is_array(), file, ": expected a list 'folds'");
  const auto is_text = [](const Json& id) { return id.is_string(); };
  for (const Json& fold : *folds) {
    check(fold.is_object(), file, ": expected a fold with train, val, test, got ",
          fold.type_name());
    for (const auto& [name, part] : fold.items())
      check(part.is_array() && std::ranges::all_of(part, is_text), file, ": ", name,
            ": expected a list of images' names");
  }
  return split;
}

bool holds(const data::Dataset& dataset, const Json& split) {
  const std::vector<std::string> ids = dataset.ids();
  const std::set<std::string> known(ids.begin(), ids.end());
  for (const Json& fold : split.at("folds"))
    for (const auto& [name, part] : fold.items())
      for (const Json& id : part)
        if (!known.contains(id.get<std::string>())) return false;
  return true;
}

// Whether the data set is the one the checkpoint was trained on: wherever it lies now, the images
// that chose the checkpoint must be the same to the pixel. (Ids alone do not tell: every BUSI
// folder has a "benign (1)".)
std::optional<data::Split> own_split(const data::Dataset& dataset, const TrainedNetwork& trained,
                                     const std::optional<Origin>& origin) {
  if (!origin || !holds(dataset, origin->split)) return {};
  data::Split split = data::splits_from_json(nlohmann::json(origin->split), dataset).fold(0);
  if (split.val.empty()) return {};
  EvaluationSet val(dataset, split.val, trained);
  if (val.digest() != trained.notes.val_digest) return {};
  return split;
}

// The runs of a study lie beside their teacher, and each has its provenance beside it; one that was
// copied out alone has its teacher where it was.
std::string teacher_of(const fs::path& checkpoint, const TrainConfig& config) {
  const std::string& noted = config.distill.teacher;
  const fs::path run = fs::absolute(checkpoint).lexically_normal().parent_path();
  const bool of_study = !noted.empty() && fs::exists(run.string() + ".provenance.json");
  if (!of_study) return noted;
  const fs::path beside = run.parent_path() / fs::path(noted).filename();
  const bool moved = fs::exists(beside) || !fs::exists(noted);  // or still where it was
  return moved ? beside.string() : noted;
}

}  // namespace

std::optional<Origin> origin_of(const fs::path& checkpoint) {
  const fs::path folder = checkpoint.parent_path();
  if (!fs::exists(folder / "config.json") || !fs::exists(folder / "split.json")) return {};
  Origin origin;
  const std::string file = (folder / "config.json").string();
  read_json(keys_of(origin.config), read_json_file(file), file);
  origin.split = read_split((folder / "split.json").string());
  origin.teacher = teacher_of(checkpoint, origin.config);
  return origin;
}

data::Dataset open_data(const std::string& path, const std::string& layout,
                        const std::optional<Origin>& origin) {
  if (!path.empty()) {
    const bool known = layout == "auto" && origin.has_value();
    return data::open_dataset(path, known ? origin->config.data.layout : layout);
  }
  check(origin.has_value(), "data: expected a data set, got none, and the checkpoint lies in no ",
        "run folder (--data DIR)");
  return data::open_dataset(origin->config.data.path, origin->config.data.layout);
}

std::string label_of_part(const std::string& part) {
  if (part == "train") return "the images it was trained on";
  if (part == "val") return "val chose the checkpoint: expect less on new images";
  if (part == "test") return "images that neither trained nor chose it";
  if (part == "all") return "all images, those it was trained on among them";
  return "";
}

Selection select_images(const data::Dataset& dataset, const TrainedNetwork& trained,
                        const std::optional<Origin>& origin, const std::string& asked) {
  const std::optional<data::Split> own = own_split(dataset, trained, origin);
  Selection s;
  if (own) {
    s.part = !asked.empty() ? asked : own->test.empty() ? "val" : "test";
    s.ids = own->part(s.part);
    s.label = label_of_part(s.part);
    s.chose = s.part == "val" || s.part == "all";
    check(!s.ids.empty(), "split: expected images, got none in \"", s.part, "\"");
    return s;
  }
  s.part = asked.empty() ? "all" : asked;
  s.label = "not the data of its run: whether it has seen these images is not known";
  if (s.part == "all") {
    s.ids = dataset.ids();
    return s;
  }
  data::Split().part(s.part);  // throws for another word
  for (const data::Sample& sample : dataset.samples)
    if (sample.split == s.part) s.ids.push_back(sample.id);
  check(!s.ids.empty(), "split: expected \"", s.part,
        "\" to be known, got a checkpoint whose split is not of this data, and no split column");
  return s;
}

}  // namespace decant::apps
