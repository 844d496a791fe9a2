#include "data/check.h"

#include <algorithm>
#include <array>

#include "data/duplicates.h"
#include "data/layouts/layout.h"
#include "engine/core/error.h"

namespace decant::data {
namespace {

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

// Pictures in formats that nobody here reads, and links to nothing: passed over without a word,
// they would be missed.
void add_unread_files(const Dataset& dataset, CheckReport& report) {
  namespace fs = std::filesystem;
  static constexpr std::array<std::string_view, 9> kPictures = {
      ".tif", ".tiff", ".dcm", ".gif", ".webp", ".jp2", ".pgm", ".ppm", ".mha"};
  std::error_code ignored;  // what cannot be listed has been told by the layouts
  const auto skip = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator it(dataset.root, skip, ignored), end; it != end;
       it.increment(ignored)) {
    const fs::path& file = it->path();
    if (it->is_symlink(ignored) && !fs::exists(file, ignored))
      report.faults.push_back({file, "not read: a link to nothing", false});
    else if (std::ranges::find(kPictures, lower_case(file.extension().string())) != kPictures.end())
      report.faults.push_back({file, "not read: PNG, JPEG and BMP are", false});
  }
}

// What no single file is at fault for.
void add_faults_of_the_whole(CheckReport& report) {
  if (report.images < 2)
    report.faults.push_back({report.root,
                             "one image: training takes at least two, one of which "
                             "chooses the checkpoint",
                             true});
  if (report.masks > 0 && report.lesion_shares.empty())
    report.faults.push_back({report.root, "no mask has a lesion", false});
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
  std::vector<Finding> findings = inspect(dataset);

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
  add_unread_files(dataset, report);
  add_faults_of_the_whole(report);
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
    out << "training does not accept this data set: " << refused
        << (refused == 1 ? " fault\n" : " faults\n");
}

}  // namespace decant::data
