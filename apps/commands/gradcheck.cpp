#include <iostream>

#include "apps/command.h"
#include "engine/check/gradient_check.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

struct GradcheckOptions {
  std::string filter;
  std::string json;

  void visit(auto&& v) {
    v("filter", filter, "rows whose name contains it; all without", "filter");
    v("json", json, "file to write every check to", "--json");
  }
};

Exit run(GradcheckOptions& options, const Arguments&) {
  require_writable(options.json);
  const std::vector<RowReport> reports = run_rows(options.filter);
  check(!reports.empty(), "filter: expected a part of an op's name, got \"", options.filter,
        "\", which no row contains");
  print_reports(std::cout, reports);
  bool passed = all_passed(reports);
  if (options.filter.empty()) {
    for (const std::string& op : missing_rows()) {
      std::cout << op << ": registered, but no row checks it\n";
      passed = false;
    }
  }
  if (!options.json.empty()) write_file_atomically(options.json, reports_json(reports) + "\n");
  return passed ? Exit::done : Exit::check_failed;
}

}  // namespace

Command gradcheck_command() {
  return make_command<GradcheckOptions>(
      "gradcheck", "check every op and every distillation term against numeric gradients",
      "  decant gradcheck\n  decant gradcheck kd. --json gradients.json\n", run);
}

}  // namespace decant::apps
