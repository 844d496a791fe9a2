#include <iostream>

#include "apps/command.h"
#include "data/check.h"

namespace decant::apps {
namespace {

struct CheckDataOptions {
  std::string path;
  std::string layout = "auto";

  void visit(auto&& v) {
    v("path", path, "folder or CSV file with images and masks", "path");
    v("layout", layout, "auto, manifest, busi, udiat or folders", "--layout");
  }
};

Exit run(CheckDataOptions& options, const Arguments&) {
  check(!options.path.empty(), "expected a data set, got none");
  const data::CheckReport report = data::check_dataset(options.path, options.layout);
  data::print(report, std::cout);
  return report.accepted() ? Exit::done : Exit::check_failed;
}

}  // namespace

Command check_data_command() {
  return make_command<CheckDataOptions>(
      "check-data", "look at every file of a data set and tell what is wrong",
      "  decant check-data phantoms\n  decant check-data BUSI.csv --layout manifest\n", run);
}

}  // namespace decant::apps
