#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/image_io.h"

namespace decant::data {

/// One image of a data set and what is known of it.
struct Sample {
  std::string id = {};               ///< file name without suffix; "class/stem" where that is
                                     ///< not unique; unique in its data set
  std::filesystem::path image = {};  ///< absolute or relative to the working folder
  std::vector<std::filesystem::path> masks = {};  ///< merged by OR; none where none was found
  std::string class_name = {};                    ///< "" where unknown
  std::string patient = {};                       ///< "" where unknown
  std::string split = {};                         ///< of a manifest: train, val, test, or ""
};

/// Something remarkable about one file that stops nobody: a mask without an image, for example.
struct Remark {
  std::filesystem::path file;
  std::string what;
};

/// A folder of images with masks, listed but not decoded.
struct Dataset {
  std::filesystem::path root;
  std::string layout;           ///< name of the layout it was read as
  std::vector<Sample> samples;  ///< sorted by id, numbers by value: "benign (2)" < "benign (10)"
  std::vector<Remark> remarks;

  /// Throws Error naming the id and the nearest known one.
  const Sample& find(std::string_view id) const;
  std::vector<std::string> ids() const;
};

/// Lists a data set. Layouts ("auto" tries them in this order):
///   manifest  a CSV file, or a folder with manifest.csv that has columns image and mask
///             (paths relative to the CSV), and optionally id, split, class, patient
///   busi      class folders benign/malignant/normal, or any folders with STEM.png beside
///             STEM_mask.png, STEM_mask_1.png ...; also one folder of such pairs, and a root
///             that holds Dataset_BUSI_with_GT
///   udiat     original/ and GT/ with equal names
///   folders   images|image|imgs|img and masks|mask|labels|label|gt with equal stems, a suffix of
///             the mask's stem such as _mask allowed
/// A manifest.csv in the root of another layout may add split, class and patient by name (column
/// id, name or image); a column that is nearly called so is remarked. Names are compared without
/// regard to case where two ways could be meant.
/// Throws Error naming the folder and what was looked for where nothing is recognised.
Dataset open_dataset(const std::filesystem::path& path, std::string_view layout = "auto");

/// The images of a data set in any layout, of a folder and all folders in it, or the one file,
/// without masks: what `predict` reads. STEM_mask.png, STEM_mask_1.png beside STEM.png are masks.
/// Ids of a plain folder are stems; paths below the folder where a stem is not unique.
Dataset open_images(const std::filesystem::path& path);

/// One decoded sample.
struct LoadedSample {
  Image image;
  Image mask;  ///< one channel, 0 or 1, of the image's size; empty (width 0) where there is none
};

/// Decodes a sample and merges its masks. Throws Error naming the file: unreadable, a mask of
/// another size than its image, mask values of open meaning.
LoadedSample load_sample(const Sample& sample, int channels);

/// Decodes everything and throws Error naming the first files that check_dataset refuses (no mask,
/// one of another size or of open meaning, a damaged file), and their number: what training asks
/// before it begins.
void require_masks(const Dataset& dataset);

}  // namespace decant::data
