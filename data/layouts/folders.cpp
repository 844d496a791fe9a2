// Layouts that keep images in one folder and masks in another: UDIAT, and the many like it.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "data/layouts/layout.h"

namespace decant::data {
namespace {

namespace fs = std::filesystem;

using Names = std::span<const std::string_view>;

constexpr std::array<std::string_view, 1> kUdiatImages = {"original"};
constexpr std::array<std::string_view, 1> kUdiatMasks = {"gt"};
constexpr std::array<std::string_view, 4> kImages = {"images", "image", "imgs", "img"};
constexpr std::array<std::string_view, 8> kMasks = {
    "masks", "mask", "labels", "label", "gt", "groundtruth", "ground_truth", "segmentations"};
constexpr std::array<std::string_view, 7> kSuffixes = {"",     "_mask",  "-mask",        "_gt",
                                                       "_seg", "_label", "_segmentation"};

fs::path find_folder(const fs::path& root, Names names) {
  for (const fs::path& folder : subfolders(root)) {
    const std::string name = lower_case(folder.filename().string());
    if (std::ranges::find(names, name) != names.end()) return folder;
  }
  return {};
}

// A mask and how it is numbered among those of its image.
using Numbered = std::pair<int, fs::path>;

// The masks of `folder` by the stem of their image in lower case. A mask belongs to the longest
// stem its name goes with: "a_1" to the image a_1 where there is one, otherwise to the image a.
std::map<std::string, std::vector<Numbered>> masks_by_stem(const fs::path& folder,
                                                           const std::set<std::string>& stems,
                                                           std::vector<Remark>& remarks) {
  std::map<std::string, std::vector<Numbered>> masks;
  for (const fs::path& file : image_files(folder)) {
    const std::string name = lower_case(file.stem().string());
    bool matched = false;
    for (size_t length = name.size(); length > 0 && !matched; --length) {
      const std::string stem = name.substr(0, length);
      const auto number = mask_number(name, stem, kSuffixes);
      matched = number && stems.contains(stem);
      if (matched) masks[stem].emplace_back(*number, file);
    }
    if (!matched) remarks.push_back({file, "mask without an image"});
  }
  for (auto& [stem, files] : masks) std::ranges::sort(files);
  return masks;
}

// Appends the pairs of root/IMAGES and root/MASKS; false where there are no such folders.
bool read_pairs(const fs::path& root, Names image_names, Names mask_names, const std::string& split,
                Listing& listing) {
  const fs::path image_folder = find_folder(root, image_names);
  const fs::path mask_folder = find_folder(root, mask_names);
  if (image_folder.empty() || mask_folder.empty()) return false;
  const std::vector<fs::path> images = image_files(image_folder);
  std::set<std::string> stems;
  for (const fs::path& image : images) stems.insert(lower_case(image.stem().string()));
  auto masks = masks_by_stem(mask_folder, stems, listing.remarks);
  for (const fs::path& image : images) {
    Sample sample{.image = image, .split = split};
    for (const auto& [number, file] : masks[lower_case(image.stem().string())])
      sample.masks.push_back(file);
    listing.samples.push_back(std::move(sample));
  }
  return true;
}

// Looks in the root, then one level below: in train/, val/, test/, or in one enclosing folder.
std::optional<Listing> read_layout(const fs::path& root, Names images, Names masks) {
  Listing listing;
  if (read_pairs(root, images, masks, "", listing)) return listing;
  bool recognised = false;
  for (const fs::path& folder : subfolders(root))
    recognised |=
        read_pairs(folder, images, masks, split_name(folder.filename().string()), listing);
  if (!recognised) return {};
  return listing;
}

}  // namespace

std::optional<Listing> read_udiat(const fs::path& root) {
  return read_layout(root, kUdiatImages, kUdiatMasks);
}

std::optional<Listing> read_folders(const fs::path& root) {
  return read_layout(root, kImages, kMasks);
}

}  // namespace decant::data
