#include "data/dataset.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <sstream>

#include "data/inspect.h"
#include "data/layouts/layout.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<Layout, 4> kLayouts = {{
    {"manifest", "manifest.csv with columns image and mask", read_manifest},
    {"busi", "class folders or one folder with STEM.png and STEM_mask.png", read_busi},
    {"udiat", "original/ and GT/", read_udiat},
    {"folders", "images/ and masks/", read_folders},
}};

std::string join(const auto& items, const char* separator, auto&& part) {
  std::ostringstream out;
  const char* between = "";
  for (const auto& item : items) {
    out << between << part(item);
    between = separator;
  }
  return out.str();
}

// The stem; where several samples share one, the folder (a class or a split) before it.
void settle_ids(std::vector<Sample>& samples) {
  std::map<std::string, int> uses;
  for (Sample& s : samples) {
    if (s.id.empty()) s.id = s.image.stem().string();
    ++uses[s.id];
  }
  for (Sample& s : samples) {
    if (uses[s.id] == 1) continue;
    const fs::path folder = s.image.parent_path();
    const std::string outer = !s.class_name.empty() ? s.class_name
                              : !s.split.empty()    ? s.split
                                                    : folder.filename().string();
    s.id = outer + "/" + s.id;
  }
  std::ranges::sort(samples,
                    [](const Sample& a, const Sample& b) { return natural_less(a.id, b.id); });
  const auto twice = std::ranges::adjacent_find(
      samples, [](const Sample& a, const Sample& b) { return a.id == b.id; });
  if (twice != samples.end())
    throw Error(str("open_dataset: two images have the id '", twice->id,
                    "': ", twice->image.string(), " and ", (twice + 1)->image.string()));
}

std::optional<Dataset> try_layout(const Layout& layout, const fs::path& path) {
  auto listing = layout.read(path);
  if (!listing || listing->samples.empty()) return {};
  settle_ids(listing->samples);
  if (layout.name != "manifest") add_manifest_columns(path, *listing);
  return Dataset{path, std::string(layout.name), std::move(listing->samples),
                 std::move(listing->remarks)};
}

// The images of a folder and of those in it, `seen` so far by their resolved paths: links may lead
// in circles.
void walk_images(const fs::path& folder, std::set<fs::path>& seen, std::vector<Sample>& samples) {
  if (!seen.insert(fs::weakly_canonical(folder)).second) return;
  const std::vector<fs::path> files = image_files(folder);
  std::set<std::string> stems;
  for (const fs::path& file : files) stems.insert(lower_case(file.stem().string()));
  for (const fs::path& file : files) {
    const auto mask = mask_beside_image(lower_case(file.stem().string()));
    if (!mask || !stems.contains(mask->stem)) samples.push_back({.image = file});
  }
  for (const fs::path& inner : subfolders(folder)) walk_images(inner, seen, samples);
}

// The stem, or the path below `root`, or that with the suffix (a.png beside a.jpg): the first that
// is unique.
void name_by_path(const fs::path& root, std::vector<Sample>& samples) {
  const auto below = [&root](const Sample& s) { return s.image.lexically_relative(root); };
  const auto stem = [](const Sample& s) { return s.image.stem().string(); };
  const auto path = [&](const Sample& s) { return below(s).replace_extension().generic_string(); };
  std::map<std::string, int> stems;
  std::map<std::string, int> paths;
  for (const Sample& s : samples) {
    ++stems[stem(s)];
    ++paths[path(s)];
  }
  for (Sample& s : samples)
    s.id = stems[stem(s)] == 1   ? stem(s)
           : paths[path(s)] == 1 ? path(s)
                                 : below(s).generic_string();
}

// Adds `part`, the mask in `file`, to `mask`.
void merge_mask(const Mask& part, const fs::path& file, const Sample& sample, const Image& image,
                Image& mask) {
  check(part.image.width == image.width && part.image.height == image.height,
        "load_sample: mask and image differ in size, mask ", part.image.width, " x ",
        part.image.height, " in ", file.string(), ", image ", image.width, " x ", image.height,
        " in ", sample.image.string());
  check(!part.values.ambiguous(), "load_sample: expected a mask of 0/1 or 0/255, got values up to ",
        part.values.largest, " with ", 100 * part.values.middle_share,
        " % in 64..191: ", file.string());
  if (mask.pixels.empty()) mask = Image(image.width, image.height, 1);
  for (size_t i = 0; i < mask.pixels.size(); ++i) mask.pixels[i] |= part.image.pixels[i];
}

}  // namespace

const Sample& Dataset::find(std::string_view id) const {
  const auto it = std::ranges::lower_bound(samples, id, natural_less, &Sample::id);
  if (it != samples.end() && it->id == id) return *it;
  throw Error(str("Dataset::find: no image with the id '", id, "' in ", root.string(),
                  "; the nearest is '", nearest_name(id, ids()), "'"));
}

std::vector<std::string> Dataset::ids() const {
  std::vector<std::string> out;
  out.reserve(samples.size());
  for (const Sample& s : samples) out.push_back(s.id);
  return out;
}

Dataset open_dataset(const fs::path& path, std::string_view layout) {
  check(fs::exists(path), "open_dataset: no such file or folder: ", path.string());
  for (const Layout& candidate : kLayouts) {
    if (layout != "auto" && layout != candidate.name) continue;
    if (auto dataset = try_layout(candidate, path)) return *dataset;
    check(layout == "auto", "open_dataset: expected ", candidate.looked_for, " (layout ",
          candidate.name, "), found none in ", path.string());
  }
  check(layout == "auto", "open_dataset: expected a layout of auto, ",
        join(kLayouts, ", ", [](const Layout& l) { return l.name; }), ", got '", layout, "'");
  throw Error(str("open_dataset: no images with masks in ", path.string(), "; looked for ",
                  join(kLayouts, "; ", [](const Layout& l) { return l.looked_for; })));
}

Dataset open_images(const fs::path& path) {
  check(fs::exists(path), "open_images: no such file or folder: ", path.string());
  Dataset dataset{path, "images", {}, {}};
  if (!fs::is_directory(path)) {
    dataset.samples.push_back({.id = path.stem().string(), .image = path});
    return dataset;
  }
  for (const Layout& layout : kLayouts) {
    if (auto recognised = try_layout(layout, path)) {
      for (Sample& sample : recognised->samples) sample.masks.clear();
      return *recognised;
    }
  }
  std::set<fs::path> seen;
  walk_images(path, seen, dataset.samples);
  check(!dataset.samples.empty(), "open_images: no PNG, JPEG or BMP image in ", path.string());
  name_by_path(path, dataset.samples);
  settle_ids(dataset.samples);
  return dataset;
}

LoadedSample load_sample(const Sample& sample, int channels) {
  LoadedSample loaded{read_image(sample.image, channels), {}};
  for (const fs::path& file : sample.masks)
    merge_mask(read_mask(file), file, sample, loaded.image, loaded.mask);
  return loaded;
}

void require_masks(const Dataset& dataset) {
  std::vector<std::string> faults;
  for (const Finding& finding : inspect(dataset))
    for (const Fault& fault : finding.faults)
      if (fault.refused) faults.push_back(str(fault.file.string(), ": ", fault.what));
  if (faults.empty()) return;
  const size_t count = faults.size();
  faults.resize(std::min(count, size_t{3}));
  throw Error(str("require_masks: expected a readable mask of its size for every image, got ",
                  count, " faults: ", join(faults, "; ", [](const std::string& f) { return f; }),
                  count > 3 ? "; ..." : ""));
}

}  // namespace decant::data
