#include "apps/evaluate.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/checkpoint_notes.h"
#include "apps/console.h"
#include "apps/trainer.h"
#include "nn/losses.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;

namespace {

using Words = std::vector<std::string>;

// A "network" whose one logit is the first channel of each pixel.
Variable first_channel(const Variable& images) {
  const Shape& s = images.shape();
  Tensor logits({s[0], s[1], s[2], 1});
  const auto from = images.value().values<float>();
  auto to = logits.mutable_values<float>();
  for (size_t i = 0; i < to.size(); ++i) to[i] = from[i * static_cast<size_t>(s[3])];
  return Variable(logits);
}

EvaluationSet phantoms_of(int size) {
  const data::Dataset dataset = data::open_dataset(phantoms());
  return {dataset, dataset.ids(), data::Pipeline::preset("none", size), 3, int64_t{1} << 20};
}

}  // namespace

// A Dice pooled over a batch of images is not the mean of their Dices: the pixels of large lesions
// would outvote those of small ones, and the loss depend on who shares a batch with whom.
TEST_CASE("the validation loss is each image's own, whatever the batch") {
  EvaluationSet set = phantoms_of(32);
  const auto dice_loss = [](const Variable& logits, const Tensor& masks) {
    return nn::supervised_loss(logits, {.labels = masks}, {.name = "dice"});
  };
  double by_hand = 0;
  for (int64_t i = 0; i < set.count(); ++i) {
    const EvaluationSet::Item item = set.load(i);
    by_hand += dice_loss(first_channel(Variable(item.image)), item.mask).value().item();
  }
  by_hand /= static_cast<double>(set.count());
  for (const int64_t batch : {1, 3, 8, 20}) {
    CAPTURE(batch);
    const Validation found = validate(set, batch, first_channel, dice_loss);
    CHECK(found.loss == by_hand);  // the same numbers in the same order
  }
}

TEST_CASE("tables: a dash where there is no spread, columns in line whatever the names' letters") {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "one/benign");
  for (const char* end : {".png", "_mask.png"})
    std::filesystem::copy_file(phantoms() + "/benign/benign (1)" + end,
                               folder / "one/benign/benign (1)" + end);
  const Result evaluated = decant::apps::decant({"evaluate", trained(), "--data", folder / "one"});
  CAPTURE(evaluated.out);
  REQUIRE(evaluated.code == 0);
  CHECK(evaluated.out.find("nan") == std::string::npos);
  CHECK(evaluated.out.find(" +-       - (1)") != std::string::npos);

  const Words runs = {folder / "Prüfung größer", folder / "plain"};
  for (const std::string& run : runs)
    std::filesystem::copy(trained(), run, std::filesystem::copy_options::recursive);
  const Result compared =
      decant::apps::decant(Words{"compare"} + runs + Words{"--data", folder / "one"});
  CAPTURE(compared.out);
  REQUIRE(compared.code == 0);
  CHECK(compared.out.find("nan") == std::string::npos);
  std::istringstream lines(compared.out);
  std::vector<size_t> widths;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("run ") || line.starts_with("Pr") || line.starts_with("plain"))
      widths.push_back(shown_width(line));
  REQUIRE(widths.size() == 3);
  CHECK(widths[1] == widths[0]);
  CHECK(widths[2] == widths[0]);
  CHECK(shown_width("Prüfung größer") == 14);
}

TEST_CASE("training and validation share one limit for what they keep decoded") {
  const CacheShares shares = share_cache(1000, 160, 40);
  CHECK(shares.train_bytes == 800);
  CHECK(shares.val_bytes == 200);
  for (const int64_t limit : {int64_t{0}, int64_t{999}, int64_t{1} << 40}) {
    const CacheShares s = share_cache(limit, 7, 3);
    CHECK(s.train_bytes + s.val_bytes == limit);
    CHECK(s.val_bytes <= s.train_bytes);
  }
}

TEST_CASE("notes without a pipeline mean the preset none; with one, that one") {
  const CheckpointNotes old = notes_of({{"decant", R"({"size": 32, "augment": "strong"})"}}, "old");
  CHECK(old.evaluation().to_json() == data::Pipeline::preset("none", 32).to_json());
  CheckpointNotes notes = old;
  notes.pipeline = Json::parse(
      R"([{"name": "Resize", "height": 32, "width": 32}, {"name": "Normalize", "mean": [0.5], "std": [0.5]}])");
  const CheckpointNotes again = notes_of(to_metadata(notes), "new");
  CHECK(again.evaluation().to_json().back()["mean"] == nlohmann::json({0.5}));
}
