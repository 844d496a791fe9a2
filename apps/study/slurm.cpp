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

  // An array of the jobs to do of a role, in one split or, where `split` is "", in all: its
  // elements are the lines of NAME.txt.
  void array(const std::string& name, Role role, const std::string& split,
             const std::string& dependency) {
    std::string names;
    int64_t count = 0;
    for (const Job& job : study_.jobs) {
      if (study_.cell_of(job).role != role || (!split.empty() && job.split != split)) continue;
      if (study_.done(job)) continue;
      names += job.name + "\n";
      ++count;
      if (role == Role::teacher) teachers_.push_back(job.split);
    }
    if (count == 0) return;
    elements_ += count;
    write_file_atomically(folder_ / (name + ".txt"), names);
    const std::string list = shell_word(fs::absolute(folder_ / (name + ".txt")).string());
    script(name, "%A_%a",
           "run " + study() + " --job \"$(sed -n \"${SLURM_ARRAY_TASK_ID}p\" " + list +
               ")\" --threads \"${SLURM_CPUS_PER_TASK:-0}\" ${DECANT_WORDS:-}");
    submit_ += str(name, "=$(sbatch --parsable --array=1-", count, dependency, " \"$@\" ", name,
                   ".sbatch)\n");
    all_ += ":$" + name;
  }

  void script(const std::string& name, const char* log, const std::string& words) {
    write_file_atomically(folder_ / (name + ".sbatch"), head(study_, name, log) + command(words));
  }

  // " --dependency=afterok:$teachers_1:$teachers_2 --kill-on-invalid-dep=yes": where a teacher has
  // failed, what waits for it goes from the queue, and the table does not wait for ever.
  std::string after_teachers_of(const std::string& split) const {
    std::string elements;
    for (size_t i = 0; i < teachers_.size(); ++i)
      if (teachers_[i] == split) elements += str(":${teachers}_", i + 1);
    return elements.empty() ? ""
                            : " --dependency=afterok" + elements + " --kill-on-invalid-dep=yes";
  }

  const Study& study_;
  fs::path folder_;
  std::string submit_;
  std::string all_;                    // ":$teachers:$students..."
  std::vector<std::string> teachers_;  // the split of each element of that array
  int64_t elements_ = 0;
};

}  // namespace

int64_t write_slurm(const Study& study, const fs::path& folder) {
  return Slurm(study, folder).write();
}

}  // namespace decant::apps
