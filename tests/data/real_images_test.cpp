#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "data/check.h"
#include "data/loader.h"
#include "data/split.h"
#include "engine/core/error.h"

using namespace decant;
using namespace decant::data;

namespace {

namespace fs = std::filesystem;

/// The folder of real data sets: $DECANT_DATA_DIR, or shared/data beside the project.
fs::path busi_folder() {
  const char* given = std::getenv("DECANT_DATA_DIR");
  const fs::path root = given ? fs::path(given) : fs::path(DECANT_SOURCE_DIR) / "../shared/data";
  return root / "busi-210";
}

bool skipped() {
  if (fs::is_directory(busi_folder())) return false;
  MESSAGE("skipped: no real images in " << busi_folder().string()
                                        << " (set DECANT_DATA_DIR to their folder)");
  return true;
}

struct Row {
  int width, height;
  double share;
};

// What the data set's authors wrote down of each image, by another program.
std::map<std::string, Row> manifest_rows() {
  std::map<std::string, Row> rows;
  std::ifstream in(busi_folder() / "manifest.csv");
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string kind, name, width, height, mode, mask_mode, share;
    for (std::string* s : {&kind, &name, &width, &height, &mode, &mask_mode, &share})
      std::getline(fields, *s, ',');
    rows[name] = {std::stoi(width), std::stoi(height), std::stod(share)};
  }
  return rows;
}

}  // namespace

TEST_CASE("real BUSI images: counts, sizes and lesion shares are those of their manifest") {
  if (skipped()) return;
  const auto rows = manifest_rows();
  const Dataset d = open_dataset(busi_folder());
  CHECK(d.layout == "busi");
  REQUIRE(d.samples.size() == rows.size());
  CHECK(d.remarks.empty());
  for (const Sample& sample : d.samples) {
    CAPTURE(sample.id);
    const Row& row = rows.at(sample.id);
    const LoadedSample loaded = load_sample(sample, 1);
    CHECK(loaded.image.width == row.width);
    CHECK(loaded.image.height == row.height);
    double lesion = 0;
    for (const uint8_t v : loaded.mask.pixels) lesion += v;
    // Written with three significant digits.
    CHECK(lesion / (row.width * row.height) == doctest::Approx(row.share).epsilon(0.0051));
  }
}

TEST_CASE("real BUSI images: training accepts them, and their split is the manifest's") {
  if (skipped()) return;
  const CheckReport r = check_dataset(busi_folder());
  CHECK(r.accepted());
  CHECK(r.classes ==
        std::map<std::string, int64_t>{{"benign", 120}, {"malignant", 60}, {"normal", 30}});
  CHECK(r.empty_masks == 30);
  // Pairs that a look at the pictures shows to be one scene.
  const std::vector<std::string> pair = {"benign (216)", "benign (265)"};
  CHECK(std::ranges::find(r.groups, pair) != r.groups.end());
  CHECK(r.groups.size() == 8);

  const Dataset d = open_dataset(busi_folder());
  const Split split = make_splits(d, "manifest", 0).fold(0);
  CHECK(split.train.size() == 168);
  CHECK(split.val.size() == 42);
  CHECK(split.test.empty());
  Loader loader(d, split.train, Pipeline::preset("strong", 64), {.batch = 8, .threads = 2});
  const Batch b = loader.batch(0, 0);
  CHECK(b.images.shape() == Shape{8, 64, 64, 3});
}
