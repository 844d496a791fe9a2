#include "apps/study/slurm.h"

#include <algorithm>

#include "apps/study/escape.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

std::string program_path() {
  return fs::read_symlink("/proc/self/exe").string();
}

// What every script begins with: where the user stood, which relative paths begin at.
// `log`: what tells its log from others.
std::string head(const Study& study, const std::string& name, const char* log) {
  return str("#!/bin/sh\n#SBATCH --job-name=", file_word(study.matrix.name), "-", name,
             "\n#SBATCH --output=%x-", log, ".log\nset -e\ncd ",
             shell_word(fs::current_path().string()), "\n");
}

std::string command(const std::string& words) {
  return str("exec ", shell_word(program_path()), " matrix ", words, "\n");
}

// Numbers that ascend, as sbatch takes the elements of an array: "3,7,12-30".
std::string ranges_text(const std::vector<size_t>& numbers) {
  std::string text;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const size_t first = numbers[i];
    while (i + 1 < numbers.size() && numbers[i + 1] == numbers[i] + 1) ++i;
    text += str(text.empty() ? "" : ",", first);
    if (numbers[i] != first) text += str("-", numbers[i]);
  }
  return text;
}

class Slurm {
 public:
  Slurm(const Study& study, fs::path folder) : study_(study), folder_(std::move(folder)) {
    fs::create_directories(folder_);
    submit_ =
        "#!/bin/sh\n# Hands the study in; further words go to every sbatch,\n# those of "
        "DECANT_WORDS to the program: DECANT_WORDS=--steal ./submit.sh --time=8:00:00\nset "
        "-e\ncd " +
        shell_word(fs::absolute(folder_).string()) + "\n";
  }

  int64_t write() {
    array("teachers", Role::teacher, "", "");
    array("students", Role::student, "", "");
    for (const std::string& split : study_.splits)
      array("distilled_" + split, Role::distilled, split, after_teachers_of(split));
    script("table", "%j", "table " + study());
    const std::string after = all_.empty() ? "" : " --dependency=afterany" + all_;
    submit_ += "sbatch --parsable" + after + " \"$@\" table.sbatch\n";
    write_file_atomically(folder_ / "submit.sh", submit_);
    fs::permissions(folder_ / "submit.sh", fs::perms::owner_exec, fs::perm_options::add);
    return elements_;
  }

 private:
  std::string study() const { return shell_word(fs::absolute(study_.folder).string()); }

  // An array of the jobs of a role, in one split or, where `split` is "", in all: its elements are
  // the lines of NAME.txt, which has all of them, done or not. An element reads its line as it
  // starts: those that wait in the queue from before mean the same jobs.
  void array(const std::string& name, Role role, const std::string& split,
             const std::string& dependency) {
    std::string names;
    size_t line = 0;
    std::vector<size_t> left;
    for (const Job& job : study_.jobs) {
      if (study_.cell_of(job).role != role || (!split.empty() && job.split != split)) continue;
      names += job.name + "\n";
      ++line;
      if (study_.done(job)) continue;
      left.push_back(line);
      if (role == Role::teacher) teachers_.push_back({line, job.split});
    }
    if (left.empty()) return;
    elements_ += std::ssize(left);
    write_file_atomically(folder_ / (name + ".txt"), names);
    const std::string list = shell_word(fs::absolute(folder_ / (name + ".txt")).string());
    script(name, "%A_%a",
           "run " + study() + " --job \"$(sed -n \"${SLURM_ARRAY_TASK_ID}p\" " + list +
               ")\" --threads \"${SLURM_CPUS_PER_TASK:-0}\" ${DECANT_WORDS:-}");
    submit_ += str(name, "=$(sbatch --parsable --array=", ranges_text(left), dependency, " \"$@\" ",
                   name, ".sbatch)\n");
    all_ += ":$" + name;
  }

  void script(const std::string& name, const char* log, const std::string& words) {
    write_file_atomically(folder_ / (name + ".sbatch"), head(study_, name, log) + command(words));
  }

  // " --dependency=afterok:$teachers_1:$teachers_2 --kill-on-invalid-dep=yes": where a teacher has
  // failed, what waits for it goes from the queue, and the table does not wait for ever.
  std::string after_teachers_of(const std::string& split) const {
    std::string elements;
    for (const Teacher& teacher : teachers_)
      if (teacher.split == split) elements += str(":${teachers}_", teacher.element);
    return elements.empty() ? ""
                            : " --dependency=afterok" + elements + " --kill-on-invalid-dep=yes";
  }

  struct Teacher {
    size_t element;  // of the array
    std::string split;
  };

  const Study& study_;
  fs::path folder_;
  std::string submit_;
  std::string all_;                // ":$teachers:$students..."
  std::vector<Teacher> teachers_;  // that are to do
  int64_t elements_ = 0;
};

}  // namespace

int64_t write_slurm(const Study& study, const fs::path& folder) {
  return Slurm(study, folder).write();
}

}  // namespace decant::apps
