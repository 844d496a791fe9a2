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
    if (std::find(names.begin(), names.end(), name) != names.end()) return folder;
  }
  return {};
}

// Appends the pairs of root/IMAGES and root/MASKS; false where there are no such folders.
bool read_pairs(const fs::path& root, Names image_names, Names mask_names, std::string split,
                Listing& listing) {
  const fs::path image_folder = find_folder(root, image_names);
  const fs::path mask_folder = find_folder(root, mask_names);
  if (image_folder.empty() || mask_folder.empty()) return false;
  std::map<std::string, fs::path> masks;  // by stem in lower case
  for (const fs::path& file : image_files(mask_folder))
    masks.emplace(lower_case(file.stem().string()), file);
  std::set<fs::path> used;
  for (const fs::path& image : image_files(image_folder)) {
    Sample sample{.image = image, .split = split};
    const std::string stem = lower_case(image.stem().string());
    std::vector<std::pair<int, fs::path>> found;
    // All candidates sort behind the stem, and end where names no longer begin with it.
    for (auto it = masks.lower_bound(stem); it != masks.end() && it->first.starts_with(stem); ++it)
      if (const auto number = mask_number(it->first, stem, kSuffixes))
        found.emplace_back(*number, it->second);
    // "a_1" is an image of its own rather than the second mask of "a", if its image is there.
    const auto exact = masks.find(stem);
    if (exact != masks.end()) found = {{0, exact->second}};
    std::sort(found.begin(), found.end());
    for (auto& [number, file] : found) {
      sample.masks.push_back(file);
      used.insert(file);
    }
    listing.samples.push_back(std::move(sample));
  }
  for (const auto& [stem, file] : masks)
    if (!used.contains(file)) listing.remarks.push_back({file, "mask without an image"});
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
