#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "data/check.h"
#include "data/phantom.h"
#include "data/phantom/scanner.h"
#include "engine/core/error.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;

namespace {

std::map<std::string, std::string> all_files(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[std::filesystem::relative(entry.path(), folder).string()] = read_bytes(entry.path());
  return files;
}

}  // namespace

TEST_CASE("phantoms are a BUSI data set that training accepts, the same bytes for one seed") {
  const TempFolder folder;
  write_phantoms(folder.path() / "a", {.count = 60, .size = 48, .seed = 3});
  write_phantoms(folder.path() / "b", {.count = 60, .size = 48, .seed = 3});
  write_phantoms(folder.path() / "b", {.count = 60, .size = 48, .seed = 3});
  write_phantoms(folder.path() / "c", {.count = 60, .size = 48, .seed = 4});
  CHECK(all_files(folder.path() / "a") == all_files(folder.path() / "b"));
  CHECK(all_files(folder.path() / "a") != all_files(folder.path() / "c"));

  const CheckReport r = check_dataset(folder.path() / "a");
  CHECK(r.layout == "busi");
  CHECK(r.accepted());
  CHECK(r.faults.empty());
  CHECK(r.groups.empty());
  CHECK(r.images == 60);
  CHECK(r.classes.at("benign") == 34);
  CHECK(r.classes.at("malignant") == 20);
  CHECK(r.classes.at("normal") == 6);
  CHECK(r.empty_masks == 6);
  CHECK(r.several_masks >= 1);
  CHECK(r.largest == ImageSize{48, 48});
  CHECK(r.lesion_shares.front() > 0.002);
  CHECK(r.lesion_shares.back() < 0.4);

  CHECK(contains(message_of([&] {
                   write_phantoms(folder.path() / "a", {.count = 30, .size = 48, .seed = 3});
                 }),
                 "expected an empty folder"));
  CHECK_THROWS_AS(write_phantoms(folder.path() / "d", {.count = 0}), Error);
  CHECK_THROWS_AS(write_phantoms(folder.path() / "d", {.size = 5}), Error);
}

TEST_CASE("phantoms go on where writing was killed, and go nowhere among other files") {
  const TempFolder folder;
  const PhantomOptions options = {.count = 9, .size = 32, .seed = 3};
  write_phantoms(folder.path() / "whole", options);
  const auto expected = all_files(folder.path() / "whole");

  write_phantoms(folder.path() / "killed", options);
  const auto killed = folder.path() / "killed/benign";
  std::filesystem::remove(killed / "benign (2).png");
  write_bytes(killed / "benign (2).png.tmp", "half of it");
  write_bytes(killed / "benign (1)_mask.png.tmp", "half of it");
  write_phantoms(folder.path() / "killed", options);
  CHECK(all_files(folder.path() / "killed") == expected);

  // A series of another seed or size is not written over.
  for (const PhantomOptions& other : {PhantomOptions{.count = 9, .size = 32, .seed = 4},
                                      PhantomOptions{.count = 9, .size = 48, .seed = 3}}) {
    CHECK(contains(message_of([&] { write_phantoms(folder.path() / "whole", other); }),
                   "the same series, got one of another seed or size"));
    CHECK(all_files(folder.path() / "whole") == expected);
  }

  // Nothing is removed or written where one file is another's, a temporary one or not.
  for (const char* other : {"thesis.txt", "notes/a.txt", "benign/thesis.tmp",
                            "benign/benign (1).txt", "benign/benign (99).png.tmp"}) {
    CAPTURE(other);
    const TempFolder full;
    write_bytes(full.at(other), "mine");
    write_bytes(full.at("benign/benign (1).png.tmp"), "ours");
    CHECK(contains(message_of([&] { write_phantoms(full.path(), options); }),
                   str("found ", full.path().string())));
    CHECK(all_files(full.path()).size() == 2);
  }
}

TEST_CASE("lesions are darker than their surroundings on the whole, but not by a threshold alone") {
  int darker = 0;
  double best_dice_sum = 0;
  int lesions = 0;
  for (int64_t i = 0; i < 60; ++i) {
    const Phantom p = make_phantom({.size = 64, .seed = 2}, i);
    if (p.class_name == "normal") continue;
    ++lesions;
    Image mask = p.masks[0];
    for (const Image& m : p.masks)
      for (size_t k = 0; k < mask.pixels.size(); ++k) mask.pixels[k] |= m.pixels[k];
    double in = 0, out = 0, n_in = 0;
    for (size_t k = 0; k < mask.pixels.size(); ++k) {
      (mask.pixels[k] ? in : out) += p.image.pixels[k];
      n_in += mask.pixels[k] != 0;
    }
    darker += in / n_in < out / (64 * 64 - n_in);
    double best = 0;
    for (int threshold = 0; threshold < 256; ++threshold) {
      double tp = 0, marked = 0;
      for (size_t k = 0; k < mask.pixels.size(); ++k) {
        if (p.image.pixels[k] >= threshold) continue;
        ++marked;
        tp += mask.pixels[k] != 0;
      }
      best = std::max(best, 2 * tp / (marked + n_in));
    }
    best_dice_sum += best;
  }
  CHECK(darker > 0.8 * lesions);
  CHECK(best_dice_sum / lesions < 0.6);  // with the best threshold for each image
}

TEST_CASE("speckle in even tissue is fully developed: its power is exponential, with mean 1") {
  // For an exponential the standard deviation is the mean, 1 - 1/e lie below the mean and 1/2
  // below ln 2. A pixel is alike its neighbours, so that n^2 pixels count as about n^2 / 20.
  const int n = 256;
  const Tissue even{n, std::vector<double>(n * n, 0), std::vector<double>(n * n, 0), {}};
  const std::vector<double> power = echo_power(even, {0.5, 1.2, 1.8}, RngKey::of(1, "speckle"));
  const double count = n * n;
  double mean = 0, squares = 0, below_mean = 0, below_median = 0;
  for (const double p : power) {
    mean += p / count;
    squares += p * p / count;
    below_mean += (p < 1) / count;
    below_median += (p < std::numbers::ln2) / count;
  }
  const double error = 5 / std::sqrt(count / 20);  // five standard deviations of a mean
  CHECK(std::fabs(mean - 1) < error);
  CHECK(std::fabs(squares - 2) < std::sqrt(20) * error);  // var(p^2) = 24 - 4
  CHECK(std::fabs(below_mean - (1 - std::exp(-1))) < 0.5 * error);
  CHECK(std::fabs(below_median - 0.5) < 0.5 * error);

  // The echo's correlation is the point-spread function's: power of neighbours by d correlates as
  // exp(-d^2 / (2 sigma^2)), finer along the beam than across. At the focus, in rows 118 .. 138.
  const auto correlation = [&](int dx, int dy) {
    double sum = 0;
    int pairs = 0;
    for (int y = 118; y < 138; ++y)
      for (int x = 0; x + dx < n; ++x, ++pairs)
        sum += (power[static_cast<size_t>(y * n + x)] - 1) *
               (power[static_cast<size_t>((y + dy) * n + x + dx)] - 1);
    return sum / pairs;
  };
  CHECK(correlation(1, 0) == doctest::Approx(std::exp(-1 / (2 * 1.8 * 1.8))).epsilon(0.2));
  CHECK(correlation(0, 1) == doctest::Approx(std::exp(-1 / (2 * 1.2 * 1.2))).epsilon(0.2));
  CHECK(std::fabs(correlation(20, 0)) < 0.2);
}

TEST_CASE("what lies behind a loss is darker by that loss") {
  const int n = 64;
  Tissue tissue{n, std::vector<double>(n * n, 0), std::vector<double>(n * n, 0), {}};
  for (int y = 20; y < 36; ++y)  // a quarter of the depth at 40 dB per depth: 10 dB
    for (int x = 0; x < n; ++x) tissue.attenuation_db[tissue.index(x, y)] = 40;
  double above = 0, below = 0;
  for (uint64_t k = 0; k < 20; ++k) {
    const auto power = echo_power(tissue, {0.5, 0.8, 1}, RngKey::of(k, "loss"));
    for (int y = 0; y < 14; ++y)
      for (int x = 0; x < n; ++x) {
        above += power[tissue.index(x, y)];
        below += power[tissue.index(x, y + 45)];
      }
  }
  CHECK(10 * std::log10(above / below) == doctest::Approx(10).epsilon(0.03));
}
