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
    throw Error(str("id '", twice->id, "': expected one image of it, got ", twice->image.string(),
                    " and ", (twice + 1)->image.string()));
}

// Training falls back to a split of its own where the manifest's leaves images out.
void remark_incomplete_split(const fs::path& path, Listing& listing) {
  const auto without = std::ranges::count(listing.samples, "", &Sample::split);
  const auto all = std::ssize(listing.samples);
  if (without > 0 && without < all)
    listing.remarks.push_back({path, str("a split is named for ", all - without, " of ", all,
                                         " images; without one for each it is not used")});
}

std::optional<Dataset> try_layout(const Layout& layout, const fs::path& path) {
  auto listing = layout.read(path);
  if (!listing || listing->samples.empty()) return {};
  settle_ids(listing->samples);
  if (layout.name != "manifest") add_manifest_columns(path, *listing);
  remark_incomplete_split(path, *listing);
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
  check(part.image.width == image.width && part.image.height == image.height, file.string(),
        ": expected a mask of its image's size, ", image.width, " x ", image.height, " (",
        sample.image.string(), "), got ", part.image.width, " x ", part.image.height);
  check(!part.values.ambiguous(), file.string(),
        ": expected a mask of 0/1 or 0/255, got values up to ", part.values.largest, " with ",
        100 * part.values.middle_share, " % in 64..191");
  if (mask.pixels.empty()) mask = Image(image.width, image.height, 1);
  for (size_t i = 0; i < mask.pixels.size(); ++i) mask.pixels[i] |= part.image.pixels[i];
}

void require_readable(const fs::path& path, const char* what) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  check(fs::exists(status), path.string(), ": expected ", what, ", got ",
        fs::status_known(status) ? "no such file or folder" : code.message());
  if (fs::is_directory(status)) fs::directory_iterator(path, code);
  check(!code, path.string(), ": expected a folder that can be read, got ", code.message());
}

}  // namespace

const Sample& Dataset::find(std::string_view id) const {
  const auto it = std::ranges::lower_bound(samples, id, natural_less, &Sample::id);
  if (it != samples.end() && it->id == id) return *it;
  throw Error(str(root.string(), ": no image with the id '", id, "'; the nearest is '",
                  nearest_name(id, ids()), "'"));
}

std::vector<std::string> Dataset::ids() const {
  std::vector<std::string> out;
  out.reserve(samples.size());
  for (const Sample& s : samples) out.push_back(s.id);
  return out;
}

Dataset open_dataset(const fs::path& path, std::string_view layout) {
  require_readable(path, "a data set");
  for (const Layout& candidate : kLayouts) {
    if (layout != "auto" && layout != candidate.name) continue;
    if (auto dataset = try_layout(candidate, path)) return *dataset;
    check(layout == "auto", path.string(), ": expected ", candidate.looked_for, " (layout ",
          candidate.name, "), found none", manifest_hint(path));
  }
  check(layout == "auto", "layout: expected auto, ",
        join(kLayouts, ", ", [](const Layout& l) { return l.name; }), ", got '", layout, "'");
  throw Error(str(path.string(), ": expected images with masks, found none; looked for ",
                  join(kLayouts, "; ", [](const Layout& l) { return l.looked_for; }),
                  manifest_hint(path)));
}

Dataset open_images(const fs::path& path) {
  require_readable(path, "images");
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
  check(!dataset.samples.empty(), path.string(), ": expected PNG, JPEG or BMP images, found none");
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
  throw Error(str(dataset.root.string(), ": expected images and masks to train on, got ", count,
                  count == 1 ? " fault: " : " faults: ",
                  join(faults, "; ", [](const std::string& f) { return f; }),
                  count > 3 ? "; ..." : ""));
}

}  // namespace decant::data
