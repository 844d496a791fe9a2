#include "data/check.h"

#include <algorithm>
#include <iomanip>

#include "data/duplicates.h"
#include "engine/core/error.h"
#include "engine/core/parallel.h"

namespace decant::data {
namespace {

/// What looking at one sample shows; samples are looked at in parallel and merged in order.
struct Finding {
  std::vector<Fault> faults;
  ImageSize size;
  Fingerprint print;
  int64_t lesion_pixels = 0;
  bool readable = false;
  bool has_mask = false;
};

std::string percent(double share) {
  std::ostringstream out;
  out << std::setprecision(3) << 100 * share << " %";
  return out.str();
}

std::string size_text(ImageSize size) {
  return str(size.width, " x ", size.height);
}

// The reason alone: the message of an Error also names the operation and the file.
std::string reason_of(const Error& error, const std::filesystem::path& file) {
  std::string text = error.what();
  if (const size_t at = text.find(": "); at != std::string::npos) text.erase(0, at + 2);
  if (const size_t at = text.rfind(": " + file.string()); at != std::string::npos) text.erase(at);
  return text;
}

void inspect_mask(const std::filesystem::path& file, Finding& finding, Image& merged) {
  const Mask mask = read_mask(file);
  const ImageSize size{mask.image.width, mask.image.height};
  if (finding.readable && !(size == finding.size)) {
    finding.faults.push_back(
        {file, "mask of " + size_text(size) + " for an image of " + size_text(finding.size), true});
    return;
  }
  const MaskValues& values = mask.values;
  if (values.ambiguous()) {
    finding.faults.push_back(
        {file,
         str("mask values up to ", values.largest, ", ", percent(values.middle_share),
             " in 64..191: neither 0/1 nor 0/255"),
         true});
    return;
  }
  if (values.odd_share > 0)
    finding.faults.push_back({file,
                              str(percent(values.odd_share), " of the mask is neither 0 nor ",
                                  values.largest, "; read as lesion above 127"),
                              false});
  finding.has_mask = true;
  if (merged.pixels.empty()) merged = Image(size.width, size.height, 1);
  for (size_t i = 0; i < merged.pixels.size() && i < mask.image.pixels.size(); ++i)
    merged.pixels[i] |= mask.image.pixels[i];
}

Finding inspect(const Sample& sample) {
  Finding finding;
  std::filesystem::path file = sample.image;
  try {
    const Image image = read_image(file, 1);
    finding.size = {image.width, image.height};
    finding.print = fingerprint(image);
    finding.readable = true;
  } catch (const Error& error) {
    finding.faults.push_back({file, reason_of(error, file), true});
  }
  if (sample.masks.empty()) finding.faults.push_back({file, "no mask", true});
  Image merged;
  for (const auto& mask : sample.masks) {
    try {
      inspect_mask(mask, finding, merged);
    } catch (const Error& error) {
      finding.faults.push_back({mask, reason_of(error, mask), true});
    }
  }
  for (const uint8_t v : merged.pixels) finding.lesion_pixels += v;
  return finding;
}

void set_sizes(CheckReport& report, std::vector<int> widths, std::vector<int> heights) {
  if (widths.empty()) return;
  std::ranges::sort(widths);
  std::ranges::sort(heights);
  const size_t middle = widths.size() / 2;
  report.smallest = {widths.front(), heights.front()};
  report.largest = {widths.back(), heights.back()};
  report.median = {widths[middle], heights[middle]};
}

// A near-duplicate on the other side of the manifest's split makes its figures too good.
void add_leaks(const Dataset& dataset, CheckReport& report) {
  for (const auto& group : report.groups) {
    const Sample& first = dataset.find(group.front());
    for (const std::string& id : group) {
      const Sample& other = dataset.find(id);
      if (other.split != first.split)
        report.faults.push_back({other.image,
                                 str("in '", other.split, "', and its near-duplicate '", first.id,
                                     "' in '", first.split, "'"),
                                 false});
    }
  }
}

void print_counts(const char* title, const std::map<std::string, int64_t>& counts,
                  std::ostream& out) {
  if (counts.size() == 1 && counts.begin()->first.empty()) return;
  out << title;
  const char* between = "";
  for (const auto& [name, count] : counts) {
    out << between << count << ' ' << (name.empty() ? "without" : name);
    between = ", ";
  }
  out << '\n';
}

}  // namespace

bool CheckReport::accepted() const {
  return std::ranges::none_of(faults, [](const Fault& f) { return f.refused; });
}

CheckReport check_dataset(const std::filesystem::path& path, std::string_view layout) {
  const Dataset dataset = open_dataset(path, layout);
  std::vector<Finding> findings(dataset.samples.size());
  parallel_for(static_cast<int64_t>(findings.size()), [&](int64_t i) {
    findings[static_cast<size_t>(i)] = inspect(dataset.samples[static_cast<size_t>(i)]);
  });

  CheckReport report;
  report.root = dataset.root;
  report.layout = dataset.layout;
  report.images = static_cast<int64_t>(dataset.samples.size());
  std::vector<int> widths;
  std::vector<int> heights;
  std::vector<Fingerprint> prints;
  for (size_t i = 0; i < findings.size(); ++i) {
    const Sample& sample = dataset.samples[i];
    Finding& finding = findings[i];
    ++report.classes[sample.class_name];
    ++report.splits[sample.split];
    report.masks += static_cast<int64_t>(sample.masks.size());
    report.several_masks += sample.masks.size() > 1 ? 1 : 0;
    if (finding.readable) {
      widths.push_back(finding.size.width);
      heights.push_back(finding.size.height);
    }
    if (finding.readable && finding.has_mask) {
      report.empty_masks += finding.lesion_pixels == 0 ? 1 : 0;
      if (finding.lesion_pixels > 0)
        report.lesion_shares.push_back(static_cast<double>(finding.lesion_pixels) /
                                       finding.size.width / finding.size.height);
    }
    std::ranges::move(finding.faults, std::back_inserter(report.faults));
    prints.push_back(std::move(finding.print));
  }
  for (const Remark& remark : dataset.remarks)
    report.faults.push_back({remark.file, remark.what, false});
  set_sizes(report, std::move(widths), std::move(heights));
  std::ranges::sort(report.lesion_shares);
  report.groups = group_duplicates(dataset.ids(), prints);
  add_leaks(dataset, report);
  return report;
}

void print(const CheckReport& report, std::ostream& out) {
  out << report.root.string() << ": layout " << report.layout << ", " << report.images
      << " images, " << report.masks << " masks\n";
  print_counts("classes: ", report.classes, out);
  print_counts("splits: ", report.splits, out);
  out << "sizes: " << size_text(report.smallest) << " to " << size_text(report.largest)
      << ", median " << size_text(report.median) << '\n'
      << "masks: " << report.empty_masks << " images without a lesion, " << report.several_masks
      << " with several masks\n";
  if (const auto& shares = report.lesion_shares; !shares.empty())
    out << "lesion's share of the image: " << percent(shares.front()) << " to "
        << percent(shares.back()) << ", median " << percent(shares[shares.size() / 2]) << '\n';
  for (const auto& group : report.groups) {
    out << "near-duplicates:";
    for (const std::string& id : group) out << " '" << id << '\'';
    out << '\n';
  }
  for (const Fault& fault : report.faults)
    out << (fault.refused ? "refused: " : "notice: ") << fault.file.string() << ": " << fault.what
        << '\n';
  const auto refused =
      std::ranges::count_if(report.faults, [](const Fault& f) { return f.refused; });
  if (refused == 0)
    out << "training accepts this data set\n";
  else
    out << "training does not accept this data set: " << refused << " faults\n";
}

}  // namespace decant::data
