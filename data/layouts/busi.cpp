// BUSI and everything that names masks after their images in the same folder.
#include <algorithm>
#include <array>
#include <map>

#include "data/layouts/layout.h"

namespace decant::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kClasses = {"benign", "malignant", "normal"};

bool is_class_name(const fs::path& folder) {
  const std::string name = lower_case(folder.filename().string());
  return std::ranges::find(kClasses, name) != kClasses.end();
}

// Appends the samples of one folder; returns whether it holds a mask named after an image.
bool read_folder(const fs::path& folder, const std::string& class_name, Listing& listing) {
  std::map<std::string, std::vector<std::pair<int, fs::path>>> masks;
  std::vector<fs::path> images;
  for (const fs::path& file : image_files(folder)) {
    const std::string name = lower_case(file.stem().string());
    if (const auto mask = mask_beside_image(name))
      masks[mask->stem].emplace_back(mask->number, file);
    else
      images.push_back(file);
  }
  bool matched = false;
  for (const fs::path& image : images) {
    Sample sample{.image = image, .class_name = class_name};
    if (auto found = masks.extract(lower_case(image.stem().string()))) {
      std::ranges::sort(found.mapped());
      for (auto& [number, file] : found.mapped()) sample.masks.push_back(file);
      matched = true;
    }
    listing.samples.push_back(std::move(sample));
  }
  for (const auto& [stem, files] : masks)
    for (const auto& [number, file] : files)
      listing.remarks.push_back({file, "mask without an image"});
  return matched;
}

}  // namespace

std::optional<Listing> read_busi(const fs::path& root) {
  fs::path top = root;
  for (const fs::path& folder : subfolders(root))
    if (lower_case(folder.filename().string()) == "dataset_busi_with_gt") top = folder;
  Listing listing;
  bool recognised = read_folder(top, "", listing);
  if (!recognised) listing = {};  // pictures of its own in the root are no samples
  for (const fs::path& folder : subfolders(top)) {
    Listing part;
    const bool matched = read_folder(folder, lower_case(folder.filename().string()), part);
    if (!matched && (!is_class_name(folder) || part.samples.empty())) continue;
    recognised = true;
    std::ranges::move(part.samples, std::back_inserter(listing.samples));
    std::ranges::move(part.remarks, std::back_inserter(listing.remarks));
  }
  if (!recognised) return {};
  return listing;
}

}  // namespace decant::data
