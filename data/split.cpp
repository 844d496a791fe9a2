#include "data/split.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "data/duplicates.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"
#include "engine/core/rng.h"

namespace decant::data {
namespace {

using nlohmann::json;

constexpr int64_t kMostSplits = 1000;

/// Images that must not be separated, as indices into the data set, and how many of each class.
struct Group {
  std::vector<size_t> members;
  std::vector<int64_t> per_class;
  int64_t size() const { return static_cast<int64_t>(members.size()); }
};

/// The data set as the splitting sees it.
struct Grouping {
  std::vector<int64_t> class_sizes;
  std::vector<Group> groups;
};

// Images of one patient and near-duplicates, transitively: a patient's image may be a duplicate of
// another patient's, and then both go together.
Grouping group_samples(const Dataset& dataset) {
  const auto& samples = dataset.samples;
  std::vector<size_t> root(samples.size());
  std::iota(root.begin(), root.end(), size_t{0});
  const auto find = [&root](size_t i) {
    while (root[i] != i) i = root[i] = root[root[i]];
    return i;
  };
  const auto join = [&](size_t a, size_t b) {
    root[std::max(find(a), find(b))] = std::min(find(a), find(b));
  };

  std::map<std::string, size_t> by_id;
  std::map<std::string, size_t> by_patient;
  std::map<std::string, size_t> classes;
  for (size_t i = 0; i < samples.size(); ++i) {
    by_id[samples[i].id] = i;
    classes.emplace(samples[i].class_name, 0);
    if (!samples[i].patient.empty())
      join(by_patient.emplace(samples[i].patient, i).first->second, i);
  }
  for (const auto& group : duplicate_groups(dataset))
    for (const std::string& id : group) join(by_id[group.front()], by_id[id]);

  size_t next_class = 0;
  for (auto& [name, index] : classes) index = next_class++;
  Grouping result{std::vector<int64_t>(classes.size()), {}};
  std::map<size_t, size_t> group_of_root;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto [it, fresh] = group_of_root.emplace(find(i), result.groups.size());
    if (fresh) result.groups.push_back({{}, std::vector<int64_t>(classes.size())});
    Group& group = result.groups[it->second];
    const size_t c = classes[samples[i].class_name];
    group.members.push_back(i);
    ++group.per_class[c];
    ++result.class_sizes[c];
  }
  return result;
}

/// Shares of `total` among the classes in proportion to their sizes, by the largest remainder.
std::vector<int64_t> quotas(const std::vector<int64_t>& class_sizes, int64_t total) {
  const int64_t all = std::accumulate(class_sizes.begin(), class_sizes.end(), int64_t{0});
  std::vector<int64_t> quota;
  std::vector<std::pair<int64_t, size_t>> remainders;  // negative: the largest comes first
  for (size_t c = 0; c < class_sizes.size(); ++c) {
    quota.push_back(class_sizes[c] * total / all);
    remainders.emplace_back(-(class_sizes[c] * total % all), c);
  }
  std::ranges::sort(remainders);
  int64_t rest = total - std::accumulate(quota.begin(), quota.end(), int64_t{0});
  for (size_t i = 0; rest > 0; ++i, --rest) ++quota[remainders[i].second];
  return quota;
}

/// Deals the groups to parts of the given sizes (which sum to the number of images): every group
/// to the part that lacks most of its classes' quota, in random order, large groups first, since
/// small ones can still even out what those leave. Returns the part of each image.
std::vector<size_t> deal(const Grouping& grouping, const std::vector<int64_t>& sizes,
                         const RngKey& key) {
  std::vector<std::vector<int64_t>> lack;  // [part][class]
  std::vector<int64_t> room = sizes;
  // Quotas of the first k parts together, then differences: rounding then evens out over parts.
  std::vector<int64_t> before(grouping.class_sizes.size());
  int64_t total = 0;
  for (const int64_t size : sizes) {
    total += size;
    const std::vector<int64_t> upto = quotas(grouping.class_sizes, total);
    lack.emplace_back();
    for (size_t c = 0; c < upto.size(); ++c) lack.back().push_back(upto[c] - before[c]);
    before = upto;
  }

  std::vector<size_t> order(grouping.groups.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const Rng rng(key);
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[rng.below(i, i + 1)]);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    return grouping.groups[a].size() > grouping.groups[b].size();
  });

  std::vector<size_t> part_of(static_cast<size_t>(total));
  for (const size_t g : order) {
    const Group& group = grouping.groups[g];
    // How many of the group's images are within the part's quotas, and the room behind that.
    const auto fit = [&](size_t part) {
      int64_t wanted = 0;
      int64_t lacking = 0;
      for (size_t c = 0; c < group.per_class.size(); ++c) {
        if (group.per_class[c] == 0) continue;
        wanted += std::clamp(lack[part][c], int64_t{0}, group.per_class[c]);
        lacking += lack[part][c];
      }
      return std::tuple(std::min(room[part], group.size()), wanted, lacking);
    };
    size_t best = 0;
    for (size_t part = 1; part < sizes.size(); ++part)
      if (fit(part) > fit(best)) best = part;
    for (size_t c = 0; c < group.per_class.size(); ++c) lack[best][c] -= group.per_class[c];
    room[best] -= group.size();
    for (const size_t i : group.members) part_of[i] = best;
  }
  return part_of;
}

Split collect(const Dataset& dataset, const std::vector<size_t>& part_of,
              const std::vector<std::vector<std::string> Split::*>& names) {
  Split split;
  for (size_t i = 0; i < part_of.size(); ++i)
    (split.*names[part_of[i]]).push_back(dataset.samples[i].id);
  return split;
}

std::vector<std::string> fields_of(std::string_view spec) {
  std::vector<std::string> fields;
  size_t begin = 0;
  for (size_t end = 0; end != std::string_view::npos; begin = end + 1) {
    end = spec.find(':', begin);
    fields.emplace_back(spec.substr(begin, end == std::string_view::npos ? end : end - begin));
  }
  return fields;
}

[[noreturn]] void reject(std::string_view spec) {
  throw Error(str("split: expected manifest, random:K:TRAIN[:VAL], kfold:K[:test] or FILE.json, ",
                  "got '", spec, "'"));
}

// `what` of the spec it is, "TRAIN".
int64_t whole_number(const std::string& text, std::string_view spec, const char* what,
                     int64_t most = 1000000) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) reject(spec);
  check(error == std::errc() && value >= 1 && value <= most, "split: expected 1 .. ", most, " as ",
        what, ", got ", text, " in '", spec, "'");
  return value;
}

// A number of images, or with a point in it a share of all.
int64_t image_count(const std::string& text, int64_t all, std::string_view spec, const char* what) {
  if (text.find('.') == std::string::npos) return whole_number(text, spec, what);
  double share = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), share);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) reject(spec);
  check(error == std::errc() && share > 0 && share < 1,
        "split: expected a share between 0 and 1 as ", what, ", got ", text, " in '", spec, "'");
  return std::llround(share * static_cast<double>(all));
}

std::vector<Split> random_splits(const Dataset& dataset, const std::vector<std::string>& fields,
                                 std::string_view spec, uint64_t seed) {
  if (fields.size() < 3 || fields.size() > 4) reject(spec);
  const auto all = static_cast<int64_t>(dataset.samples.size());
  const int64_t count = whole_number(fields[1], spec, "K", kMostSplits);
  const int64_t train = image_count(fields[2], all, spec, "TRAIN");
  std::vector<int64_t> sizes = {train, all - train};
  std::string asked = str(train, " to train");
  if (fields.size() == 4) {
    const int64_t val = image_count(fields[3], all, spec, "VAL");
    sizes = {train, val, all - train - val};
    asked += str(", ", val, " to choose by (val)");
  }
  const char* rest = sizes.size() == 3 ? "test" : "val";
  check(sizes.back() >= 1, "split: expected to leave an image for ", rest, ", got ", all,
        all == 1 ? " image" : " images", " in the data set, of which '", spec, "' asks for ",
        asked);
  check(*std::ranges::min_element(sizes) >= 1, "split: expected an image in every part, got ",
        asked, " of ", all, " in '", spec, "'");
  const Grouping grouping = group_samples(dataset);
  std::vector<Split> splits;
  splits.reserve(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k)
    splits.push_back(
        collect(dataset, deal(grouping, sizes, RngKey::of(seed, "split", static_cast<uint64_t>(k))),
                {&Split::train, &Split::val, &Split::test}));
  return splits;
}

std::vector<Split> kfold_splits(const Dataset& dataset, const std::vector<std::string>& fields,
                                std::string_view spec, uint64_t seed) {
  if (fields.size() < 2 || fields.size() > 3 || (fields.size() == 3 && fields[2] != "test"))
    reject(spec);
  const auto all = static_cast<int64_t>(dataset.samples.size());
  const int64_t count = whole_number(fields[1], spec, "K", kMostSplits);
  const bool with_test = fields.size() == 3;
  const int64_t least = with_test ? 3 : 2;
  check(all >= least, "split: expected at least ", least, " images for '", spec, "', got ", all);
  check(count >= least && count <= all, "split: expected ", least, " to ", all, " folds of ", all,
        " images, got ", count, " in '", spec, "'");
  std::vector<int64_t> sizes;
  sizes.reserve(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k) sizes.push_back(all * (k + 1) / count - all * k / count);
  const std::vector<size_t> fold_of =
      deal(group_samples(dataset), sizes, RngKey::of(seed, "kfold"));
  std::vector<Split> splits;
  for (int64_t k = 0; k < count; ++k) {
    const auto held_out = static_cast<size_t>(k);
    const auto next = static_cast<size_t>((k + 1) % count);
    std::vector<size_t> part_of;
    part_of.reserve(fold_of.size());
    for (const size_t fold : fold_of)
      part_of.push_back(fold == held_out ? (with_test ? 2 : 1) : with_test && fold == next ? 1 : 0);
    splits.push_back(collect(dataset, part_of, {&Split::train, &Split::val, &Split::test}));
  }
  return splits;
}

Split manifest_split(const Dataset& dataset) {
  Split split;
  std::vector<std::string> without;
  for (const Sample& sample : dataset.samples) {
    if (sample.split == "train") split.train.push_back(sample.id);
    if (sample.split == "val") split.val.push_back(sample.id);
    if (sample.split == "test") split.test.push_back(sample.id);
    if (sample.split.empty()) without.push_back(sample.id);
  }
  const auto remark = std::ranges::find_if(
      dataset.remarks, [](const Remark& r) { return r.file.extension() == ".csv"; });
  check(
      !split.train.empty() && split.val.size() + split.test.size() > 0,
      "split: expected a manifest.csv with a split column naming train and val images in ",
      dataset.root.string(), ", got ", split.train.size(), " train, ", split.val.size(), " val, ",
      split.test.size(), " test",
      remark == dataset.remarks.end() ? "" : str("; ", remark->file.string(), ": ", remark->what));
  if (!without.empty())
    throw Error(str("split: expected the manifest to name a split for every image, got none for ",
                    without.size(), " of ", dataset.samples.size(), ", the first '",
                    without.front(), "'"));
  return split;
}

bool has_whole_manifest_split(const Dataset& dataset) {
  const auto names = [&](std::string_view part) {
    return std::ranges::count(dataset.samples, part, &Sample::split);
  };
  return names("train") > 0 && names("val") > 0 && names("") == 0;
}

json read_json(const std::filesystem::path& path) {
  std::ifstream in(path);
  check(in.good(), path.string(), ": expected a file with a split, it cannot be opened");
  json parsed = json::parse(in, nullptr, /*allow_exceptions=*/false);
  check(!parsed.is_discarded(), path.string(), ": expected JSON, got something else");
  return parsed;
}

// A misspelt part would be passed over, and its images be in none.
void check_keys(const json& object, const std::vector<std::string>& known, std::string_view where) {
  for (const auto& [key, value] : object.items())
    if (std::ranges::find(known, key) == known.end())
      throw Error(
          str(where, ": unknown key '", key, "', did you mean '", nearest_name(key, known), "'?"));
}

std::vector<std::string> read_part(const json& fold, const char* name, const Dataset& dataset,
                                   std::string_view where, std::set<std::string>& seen) {
  if (!fold.contains(name)) return {};
  const json& list = fold[name];
  check(list.is_array() && std::ranges::all_of(list, [](const json& id) { return id.is_string(); }),
        where, ": expected a list of ids for '", name, "', got ", list.type_name());
  auto ids = list.get<std::vector<std::string>>();
  for (const std::string& id : ids) {
    try {
      dataset.find(id);
    } catch (const Error& error) {
      throw Error(str(where, ": ", error.what()));
    }
    check(seen.insert(id).second, where, ": the id '", id, "' occurs twice in one fold");
  }
  return ids;
}

}  // namespace

std::vector<std::string> Split::part(std::string_view name) const {
  if (name == "train") return train;
  if (name == "val") return val;
  if (name == "test") return test;
  check(name == "all", "split: expected train, val, test or all, got '", name, "'");
  std::vector<std::string> all = train;
  all.insert(all.end(), val.begin(), val.end());
  all.insert(all.end(), test.begin(), test.end());
  return all;
}

const Split& SplitSet::fold(int64_t index) const {
  check(index >= 0 && index < static_cast<int64_t>(folds.size()), "split: expected a fold of 0 .. ",
        folds.size() - 1, " of '", origin, "', got ", index);
  return folds[static_cast<size_t>(index)];
}

SplitSet make_splits(const Dataset& dataset, std::string_view spec, uint64_t seed) {
  if (spec.empty() || spec == "default")
    spec = has_whole_manifest_split(dataset) ? "manifest" : "random:1:0.8";
  if (spec == "manifest") return {"manifest", {manifest_split(dataset)}};
  if (spec.ends_with(".json")) return splits_from_json(read_json(spec), dataset, spec);
  const std::vector<std::string> fields = fields_of(spec);
  const std::string origin = str(spec, " seed ", seed);
  if (fields[0] == "random") return {origin, random_splits(dataset, fields, spec, seed)};
  if (fields[0] == "kfold") return {origin, kfold_splits(dataset, fields, spec, seed)};
  reject(spec);
}

json to_json(const SplitSet& splits) {
  json folds = json::array();
  for (const Split& s : splits.folds)
    folds.push_back({{"train", s.train}, {"val", s.val}, {"test", s.test}});
  return {{"origin", splits.origin}, {"folds", std::move(folds)}};
}

SplitSet splits_from_json(const json& given, const Dataset& dataset, std::string_view where) {
  check(given.is_object() && given.contains("folds") && given["folds"].is_array() &&
            !given["folds"].empty(),
        where, ": expected an object with a list 'folds'");
  check_keys(given, {"origin", "folds"}, where);
  const json origin = given.value("origin", json("file"));
  check(origin.is_string(), where, ": expected a text as 'origin', got ", origin.type_name());
  SplitSet splits{origin.get<std::string>(), {}};
  for (const json& fold : given["folds"]) {
    check(fold.is_object(), where, ": expected a fold with train, val, test, got ",
          fold.type_name());
    check_keys(fold, {"train", "val", "test"}, where);
    std::set<std::string> seen;
    Split split;
    split.train = read_part(fold, "train", dataset, where, seen);
    split.val = read_part(fold, "val", dataset, where, seen);
    split.test = read_part(fold, "test", dataset, where, seen);
    check(!split.train.empty(), where, ": expected images to train on, got none");
    splits.folds.push_back(std::move(split));
  }
  return splits;
}

}  // namespace decant::data
