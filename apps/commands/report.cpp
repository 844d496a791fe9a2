#include <filesystem>

#include "apps/command.h"
#include "apps/console.h"
#include "apps/study/figures.h"
#include "apps/study/report_source.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

struct ReportOptions {
  std::vector<std::string> runs;
  std::string out = "report.html";
  std::string data;
  std::string layout = "auto";
  std::string split;
  int threads = 0;

  void visit(auto&& v) {
    v("runs", runs, "run folders or checkpoints, or the folder of a study", "runs");
    v("out", out, "the page to write", "--out");
    v("data", data, "data set; without, the runs' own", "--data");
    v("layout", layout, "auto, manifest, busi, udiat or folders", "--layout");
    v("split", split, "train, val, test or all; without, test where the runs have one, or val",
      "--split");
    v("threads", threads, "0 takes what this process may run on", "--threads");
  }
};

Report read(const ReportOptions& options) {
  const MeasuredData data = {options.data, options.layout, options.split};
  if (const std::string& first = options.runs.front();
      first.ends_with(".json") && !is_study(first) && std::filesystem::exists(first))
    throw Error(str(first,
                    ": expected run folders or the folder of a study, got a file of JSON; of "
                    "a study give the folder that matrix plan began (--out)"));
  if (!is_study(options.runs.front())) return report_of_runs(finished_runs(options.runs), data);
  check(options.runs.size() == 1, "expected one study, or several runs, got ", options.runs.front(),
        " and ", options.runs[1]);
  check(options.split.empty(), "split: expected none for a study, whose figures are its own, got ",
        options.split);
  return report_of_study(options.runs.front(), data);
}

Exit run(ReportOptions& options, const Arguments&) {
  check(!options.runs.empty(), "expected run folders or the folder of a study, got none");
  check(!options.out.empty(), "out: expected a file for the page, got none (--out FILE)");
  require_writable(options.out);
  take_threads(options.threads);
  const std::string page = report_page(read(options));
  write_file_atomically(options.out, page);
  Console().line(str(options.out, ": ", bytes_text(page.size()),
                     ", opens in any browser; for research, not for diagnosis"));
  return Exit::done;
}

}  // namespace

Command report_command() {
  return make_command<ReportOptions>(
      "report", "one page of HTML on a run, several runs or a study: figures, charts, pictures",
      "  decant report runs/L_KLD\n"
      "  decant report runs/teacher runs/student runs/L_KLD --out report.html\n"
      "  decant report studies/paper --out paper.html\n",
      run);
}

}  // namespace decant::apps
