#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace decant::data {

/// What a layout found in a folder. Ids may be empty or double; open_dataset settles them.
struct Listing {
  std::vector<Sample> samples;
  std::vector<Remark> remarks;
};

/// One way of laying out images and masks. To add one: write read_NAME in a file of its own beside
/// this one, declare it here and give it a row in kLayouts (dataset.cpp).
struct Layout {
  std::string_view name;
  std::string_view looked_for;  ///< for the message where nothing is recognised
  /// Nothing where the folder is laid out otherwise.
  std::optional<Listing> (*read)(const std::filesystem::path& root);
};

std::optional<Listing> read_manifest(const std::filesystem::path& root);
std::optional<Listing> read_busi(const std::filesystem::path& root);
std::optional<Listing> read_udiat(const std::filesystem::path& root);
std::optional<Listing> read_folders(const std::filesystem::path& root);

/// For the message where nothing is recognised: what the columns of a manifest.csv that is there
/// are; "" without one.
std::string manifest_hint(const std::filesystem::path& root);

/// Adds split, class and patient from root/manifest.csv, if there is one, to samples by name.
void add_manifest_columns(const std::filesystem::path& root, Listing& listing);

// What the layouts share.

std::string lower_case(std::string_view text);
/// a < b with runs of digits compared by value.
bool natural_less(std::string_view a, std::string_view b);
/// Entries of a folder in natural order, without hidden ones; none where it is no folder.
/// Throws Error where it may not be read: what lies in it would be missed.
std::vector<std::filesystem::path> image_files(const std::filesystem::path& folder);
std::vector<std::filesystem::path> subfolders(const std::filesystem::path& folder);
/// Number of a mask file whose name, in lower case, is STEM + suffix + ("" | _digits) for one of
/// the suffixes: 0 without digits; nothing where it is not a mask of this stem.
std::optional<int> mask_number(std::string_view name, std::string_view stem,
                               std::span<const std::string_view> suffixes);
/// What the name of a mask beside its image, in lower case, says: STEM_mask is number 0 of STEM,
/// STEM_mask_1 number 1; nothing for other names. Anchored at the end: "benign (1)" must not
/// collect the masks of "benign (10)".
struct MaskName {
  std::string stem;
  int number;
};
std::optional<MaskName> mask_beside_image(std::string_view name);
/// train, val or test for the words in use for them, otherwise "".
std::string split_name(std::string_view word);

}  // namespace decant::data
