#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace decant::apps {

/// The figures of metrics.csv, by column.
struct Curves {
  struct Column {
    std::string name;
    std::vector<double> values;  ///< one for each epoch; NaN where the field is empty
  };
  std::vector<double> epochs;
  std::vector<Column> columns;  ///< all but epoch and step

  const Column* find(const std::string& name) const;
};

/// Reads metrics.csv. Throws Error naming file and line where it is no such table.
Curves read_curves(const std::filesystem::path& file);

/// A column's name in words: "train_logits.kld" is "Training: logits.kld".
std::string curve_title(const std::string& column);

}  // namespace decant::apps
