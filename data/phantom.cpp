#include "data/phantom.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "data/phantom/scanner.h"
#include "data/phantom/tissue.h"
#include "engine/core/error.h"
#include "engine/core/parallel.h"

namespace decant::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 9> kClasses = {"benign", "malignant", "benign",
                                                 "benign", "malignant", "benign",
                                                 "normal", "malignant", "benign"};

constexpr std::array<std::string_view, 3> kFolders = {"benign", "malignant", "normal"};

const char* class_of(int64_t index) {
  return kClasses[static_cast<size_t>(index) % kClasses.size()];
}

// "benign (7)": the n-th of its class, from 1.
std::vector<std::string> stems(int64_t count) {
  std::map<std::string, int> used;
  std::vector<std::string> names;
  for (int64_t i = 0; i < count; ++i) {
    const std::string name = class_of(i);
    names.push_back(str(name, '/', name, " (", ++used[name], ")"));
  }
  return names;
}

// A smaller series written over a larger one would leave a mixture of both, and one written among
// other files a folder that is neither's. Returns what an interrupted writing of ours left.
std::vector<fs::path> refuse_other_files(const fs::path& folder,
                                         const std::vector<std::string>& names) {
  const auto refuse = [](const fs::path& found) {
    throw Error(
        str("phantom: expected an empty folder or the same series, found ", found.string()));
  };
  const std::set<std::string> ours(names.begin(), names.end());
  std::vector<fs::path> left;
  if (!fs::exists(folder)) return left;
  check(fs::is_directory(folder), "phantom: expected a folder, got a file: ", folder.string());
  for (const auto& top : fs::directory_iterator(folder)) {
    const std::string name = top.path().filename().string();
    if (std::ranges::find(kFolders, name) == kFolders.end() || !top.is_directory())
      refuse(top.path());
    for (const auto& entry : fs::directory_iterator(top)) {
      fs::path file = entry.path();
      if (file.extension() == ".tmp") file.replace_extension();
      const std::string stem = file.stem().string();
      if (file.extension() != ".png" ||
          !ours.contains(str(name, '/', stem.substr(0, stem.find("_mask")))))
        refuse(entry.path());
      if (file != entry.path()) left.push_back(entry.path());
    }
  }
  return left;
}

// What is written over must be the same image: somebody may have trained on what lies there.
void refuse_other_series(const fs::path& folder, const std::vector<std::string>& names,
                         const PhantomOptions& options) {
  for (size_t i = 0; i < names.size(); ++i) {
    const fs::path file = folder / (names[i] + ".png");
    if (!fs::exists(file)) continue;
    const Image there = read_image(file, 1);
    const Image ours = make_phantom(options, static_cast<int64_t>(i)).image;
    check(
        there.width == ours.width && there.pixels == ours.pixels,
        "phantom: expected an empty folder or the same series, got one of another seed or size in ",
        folder.string());
    return;
  }
}

}  // namespace

Phantom make_phantom(const PhantomOptions& options, int64_t index) {
  const auto key = RngKey::of(options.seed, "phantom", 0, static_cast<uint64_t>(index));
  Phantom phantom;
  phantom.class_name = class_of(index);
  Tissue tissue = make_tissue(options.size, phantom.class_name, key);
  phantom.image = scan(tissue, key);
  phantom.masks = std::move(tissue.masks);
  return phantom;
}

void write_phantoms(const fs::path& folder, const PhantomOptions& options) {
  check(options.count >= 1 && options.count <= 1000000,
        "phantom: expected a count of 1 .. 1000000, got ", options.count);
  check(options.size >= 32 && options.size <= 4096, "phantom: expected a size of 32 .. 4096, got ",
        options.size);
  const std::vector<std::string> names = stems(options.count);
  const std::vector<fs::path> left = refuse_other_files(folder, names);
  refuse_other_series(folder, names, options);
  for (const fs::path& file : left) fs::remove(file);
  for (const std::string_view name : kFolders) {
    std::error_code code;
    fs::create_directories(folder / name, code);
    check(!code, "phantom: cannot create ", (folder / name).string(), ": ", code.message());
  }
  parallel_for(options.count, [&](int64_t i) {
    const Phantom phantom = make_phantom(options, i);
    const std::string stem = (folder / names[static_cast<size_t>(i)]).string();
    write_png(stem + ".png", phantom.image);
    for (size_t k = 0; k < phantom.masks.size(); ++k)
      write_png(stem + "_mask" + (k == 0 ? "" : str('_', k)) + ".png", phantom.masks[k]);
  });
}

}  // namespace decant::data
