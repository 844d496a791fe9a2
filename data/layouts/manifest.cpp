// A CSV file that lists images and masks, or adds columns to another layout.
#include <algorithm>
#include <array>
#include <fstream>
#include <initializer_list>
#include <map>

#include "data/layouts/layout.h"
#include "engine/core/error.h"
#include "engine/core/nearest_name.h"

namespace decant::data {
namespace {

namespace fs = std::filesystem;

struct Table {
  fs::path file;
  std::map<std::string, size_t> columns;  // by name in lower case
  std::vector<std::vector<std::string>> rows;

  bool has(const std::string& column) const { return columns.contains(column); }
  /// The first of the columns that exists, or "".
  std::string get(const std::vector<std::string>& row,
                  std::initializer_list<const char*> names) const {
    for (const char* name : names)
      if (const auto it = columns.find(name); it != columns.end()) return row[it->second];
    return "";
  }
};

// Fields of a line separated by commas; quotes hold commas, and "" is a quote (RFC 4180).
std::vector<std::string> split_line(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"')
      fields.back() += line[++i];
    else if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      fields.emplace_back();
    else
      fields.back() += c;
  }
  return fields;
}

std::optional<Table> read_table(const fs::path& path) {
  const fs::path file = fs::is_directory(path) ? path / "manifest.csv" : path;
  if (!fs::is_regular_file(file) || lower_case(file.extension().string()) != ".csv") return {};
  std::ifstream in(file);
  check(in.good(), file.string(), ": cannot open it");
  Table table{file, {}, {}};
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);  // written by Excel
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    std::vector<std::string> fields = split_line(line);
    if (table.columns.empty()) {
      for (size_t i = 0; i < fields.size(); ++i) table.columns.emplace(lower_case(fields[i]), i);
      continue;
    }
    check(fields.size() == table.columns.size(), file.string(), " line ", number, ": expected ",
          table.columns.size(), " fields, got ", fields.size());
    table.rows.push_back(std::move(fields));
  }
  check(!table.columns.empty(), file.string(), ": expected a line of columns, the file is empty");
  return table;
}

std::string read_split(const Table& table, const std::string& word) {
  const std::string split = split_name(word);
  check(word.empty() || !split.empty(), table.file.string(),
        ": expected a split of train, val or test, got '", word, "'");
  return split;
}

std::string columns_of(const Table& table) {
  std::map<size_t, std::string> names;
  for (const auto& [name, index] : table.columns) names[index] = name;
  std::string text;
  for (const auto& [index, name] : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

// A misspelt column would be passed over, and with it a split or the patients. Other columns are
// the data set's own affair.
void remark_misspelt_columns(const Table& table, Listing& listing) {
  constexpr std::array<std::string_view, 4> kNames = {"id", "name", "image", "mask"};
  std::vector<std::string> missing;
  for (const char* column : {"split", "class", "patient"})
    if (!table.has(column)) missing.emplace_back(column);
  for (const auto& [column, index] : table.columns) {
    const std::string meant = near_name(column, missing);
    if (meant.empty() || std::ranges::find(kNames, column) != kNames.end()) continue;
    listing.remarks.push_back(
        {table.file, "column '" + column + "' is not read, did you mean '" + meant + "'?"});
  }
}

}  // namespace

std::optional<Listing> read_manifest(const fs::path& root) {
  const auto table = read_table(root);
  if (!table || !table->has("image") || !table->has("mask")) return {};
  const fs::path base = table->file.parent_path();
  Listing listing;
  remark_misspelt_columns(*table, listing);
  for (const auto& row : table->rows) {
    Sample sample{.id = table->get(row, {"id"}),
                  .image = base / table->get(row, {"image"}),
                  .class_name = table->get(row, {"class"}),
                  .patient = table->get(row, {"patient"}),
                  .split = read_split(*table, table->get(row, {"split"}))};
    // Several masks of one image are separated by semicolons.
    std::string masks = table->get(row, {"mask"});
    while (!masks.empty()) {
      const size_t end = std::min(masks.find(';'), masks.size());
      if (end > 0) sample.masks.push_back(base / masks.substr(0, end));
      masks.erase(0, end + 1);
    }
    listing.samples.push_back(std::move(sample));
  }
  return listing;
}

std::string manifest_hint(const fs::path& root) {
  const auto table = read_table(root);
  return table ? str("; ", table->file.string(), " has the columns ", columns_of(*table)) : "";
}

void add_manifest_columns(const fs::path& root, Listing& listing) {
  const auto table = read_table(root);
  if (!table) return;
  if (!table->has("id") && !table->has("name") && !table->has("image")) {
    listing.remarks.push_back(
        {table->file, "not read: expected a column id, name or image, got " + columns_of(*table)});
    return;
  }
  remark_misspelt_columns(*table, listing);
  std::map<std::string, Sample*> by_name;
  for (Sample& sample : listing.samples) {
    by_name.emplace(sample.image.stem().string(), &sample);
    by_name[sample.id] = &sample;
  }
  for (const auto& row : table->rows) {
    const fs::path named = table->get(row, {"id", "name", "image"});
    auto it = by_name.find(named.string());
    if (it == by_name.end() && has_image_suffix(named)) it = by_name.find(named.stem().string());
    if (it == by_name.end()) {
      listing.remarks.push_back(
          {table->file, "lists '" + named.string() + "', which is not there"});
      continue;
    }
    Sample& sample = *it->second;
    if (const auto split = table->get(row, {"split"}); !split.empty())
      sample.split = read_split(*table, split);
    if (const auto name = table->get(row, {"class"}); !name.empty()) sample.class_name = name;
    if (const auto patient = table->get(row, {"patient"}); !patient.empty())
      sample.patient = patient;
  }
}

}  // namespace decant::data
