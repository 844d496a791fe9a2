#include "apps/study/curves.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <sstream>

#include "apps/run_folder.h"
#include "engine/core/error.h"

namespace decant::apps {
namespace {

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  for (const char c : line)
    if (c == ',')
      fields.emplace_back();
    else
      fields.back() += c;
  return fields;
}

}  // namespace

const Curves::Column* Curves::find(const std::string& name) const {
  const auto found = std::ranges::find(columns, name, &Column::name);
  return found == columns.end() ? nullptr : &*found;
}

Curves read_curves(const std::filesystem::path& file) {
  std::istringstream text(read_bytes(file));
  std::string line;
  std::getline(text, line);
  const std::vector<std::string> names = fields_of(line);
  check(names.size() > 2 && names[0] == "epoch" && names[1] == "step", file.string(),
        ": expected a table that begins with epoch,step, got \"", line.substr(0, 60), "\"");
  Curves curves;
  for (size_t c = 2; c < names.size(); ++c) curves.columns.push_back({names[c], {}});
  for (int number = 2; std::getline(text, line); ++number) {
    const std::vector<std::string> fields = fields_of(line);
    check(fields.size() == names.size(), file.string(), ": line ", number, ": expected ",
          names.size(), " fields, got ", fields.size());
    for (size_t c = 0; c < fields.size(); ++c) {
      if (c == 1) continue;
      const std::string& field = fields[c];
      double value = std::numeric_limits<double>::quiet_NaN();
      const char* end = field.data() + field.size();
      check(field.empty() || std::from_chars(field.data(), end, value).ptr == end, file.string(),
            ": line ", number, ": expected a number, got \"", field, "\"");
      (c == 0 ? curves.epochs : curves.columns[c - 2].values).push_back(value);
    }
  }
  return curves;
}

std::string curve_title(const std::string& column) {
  constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"lr", "Learning rate"},
      {"gradient_norm", "Norm of the gradient"},
      {"val_loss", "Validation loss"},
      {"val_dice", "Validation Dice"},
      {"val_dice_lesions", "Validation Dice, lesions"},
  };
  for (const auto& [name, words] : kWords)
    if (column == name) return std::string(words);
  constexpr std::string_view kTrain = "train_";
  constexpr std::string_view kNorm = "gradient_norm_";
  if (column.starts_with(kTrain)) return "Training: " + column.substr(kTrain.size());
  if (column.starts_with(kNorm)) return "Gradient: " + column.substr(kNorm.size());
  return column;
}

}  // namespace decant::apps
