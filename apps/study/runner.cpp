#include "apps/study/runner.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "apps/console.h"
#include "apps/study/job_lock.h"
#include "apps/study/process.h"
#include "apps/study/statistics.h"
#include "apps/study/study_checks.h"
#include "engine/core/processors.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// The last line that stands in a log behind what it held before, "" without one.
std::string last_line(const fs::path& log, uintmax_t before) {
  std::ifstream in(log);
  in.seekg(static_cast<std::streamoff>(before));
  std::string last;
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) last = line;
  return last;
}

// Epochs that a run at work has written.
int64_t epochs_written(const fs::path& run) {
  std::ifstream in(run / "metrics.csv");
  return std::max<int64_t>(
      0,
      std::count(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>(), '\n') - 1);
}

std::string figures_of(const Study& study, const Job& job) {
  const RunResult run = read_one_run(study.file(job, ".json").string()).runs[0];
  std::vector<double> dice;
  for (const ImageResult& image : run.images)
    if (image.lesion) dice.push_back(image.dice);
  const MeanStd found = mean_std(dice);
  return str("Dice ", figure(found.mean, 4), " +- ", figure(found.std, 4), " on ", dice.size(),
             " lesions (", run.part, "), epoch ", run.best_epoch, " of ", run.epochs);
}

class Runner {
 public:
  Runner(const Study& study, const RunnerOptions& options)
      : study_(study), options_(options), jobs_(jobs_of(study, options.shard)) {}

  Exit run() {
    const InterruptGuard interrupts;
    console_.line(str(study_.matrix.name, ": ", jobs_.size(), " jobs, ", done(), " done"));
    if (const std::string lost = lost_runs_text(study_); !lost.empty())
      console_.line("notice: " + lost);
    for (const Job& job : jobs_)
      if (!study_.done(job)) check_teacher(study_, job);
    if (any_to_come()) check_data(study_);
    check_init(study_, jobs_);
    check_plan(study_);  // all that took its time
    console_.begin();
    note_left_behind();
    while (true) {
      reap();
      if (InterruptGuard::interrupted()) return stop();
      start_what_is_ready();
      if (at_work_.empty() && !any_to_come()) break;
      refuse_to_wait_for_others();
      show();
      pause();
    }
    check(failed_.empty(), failed_.size(), " of ", jobs_.size(), " jobs failed, the first ",
          first_failed_);
    return Exit::done;
  }

 private:
  static constexpr std::chrono::milliseconds kShortest{50};
  static constexpr std::chrono::milliseconds kLongest{1000};

  struct AtWork {
    const Job* job;
    pid_t process;
    Clock::time_point start;
    uintmax_t log_before;  // bytes that earlier attempts left in its log
  };

  // Until a child ends or the user stops it, but no longer than a while that grows as long as
  // nothing happens: the locks and results of others may lie on a slow file system.
  void pause() {
    for (auto waited = kShortest - kShortest; waited < pause_; waited += kShortest) {
      std::this_thread::sleep_for(kShortest);
      if (any_ended() || InterruptGuard::interrupted()) return;
    }
    pause_ = std::min(kLongest, pause_ + pause_ / 2);
  }

  void note_left_behind() {
    if (!options_.steal) return;
    for (const Job& job : jobs_) {
      const auto owner = JobLock::holder(study_.file(job, ".lock"));
      if (owner && !owner->on_this_host()) left_behind_[job.name] = owner->text();
    }
  }

  int64_t done() const {
    return std::ranges::count_if(jobs_, [&](const Job& job) { return study_.done(job); });
  }

  // Who keeps a job that is to come from being started here; nobody where it can be.
  std::optional<Owner> holder(const Job& job) const {
    if (!job.needs.empty() && !study_.done(study_.job(job.needs)))
      return JobLock::holder(study_.file(study_.job(job.needs), ".lock"));
    return JobLock::holder(study_.file(job, ".lock"));
  }

  // Nobody here can ask whether processes of another host live: where nothing else is left, they
  // are waited for only where the user says that they do.
  void refuse_to_wait_for_others() const {
    if (options_.wait || options_.steal || !at_work_.empty()) return;
    const Job* held = nullptr;
    for (const Job& job : jobs_) {
      if (study_.done(job) || fails(job)) continue;
      const std::optional<Owner> owner = holder(job);
      if (!owner || owner->on_this_host()) return;
      held = &job;
    }
    if (held == nullptr) return;
    throw Error(str(held->name, ": expected a lock of this host, got one of ",
                    holder(*held).value_or(Owner{}).text(),
                    "; --wait waits for it, and where it is no more, --steal takes it over"));
  }

  bool fails(const Job& job) const {
    return failed_.contains(job.name) || (!job.needs.empty() && failed_.contains(job.needs));
  }

  bool is_at_work(const Job& job) const {
    return std::ranges::any_of(at_work_, [&](const AtWork& a) { return a.job->name == job.name; });
  }

  // Whether a job is left that will be done, here or by another process.
  bool any_to_come() const {
    return std::ranges::any_of(jobs_,
                               [&](const Job& job) { return !study_.done(job) && !fails(job); });
  }

  bool is_ready(const Job& job) const {
    if (study_.done(job) || fails(job) || is_at_work(job)) return false;
    if (!job.needs.empty() && !study_.done(study_.job(job.needs))) return false;
    const auto owner = JobLock::holder(study_.file(job, ".lock"));
    return !owner || may_steal(job, *owner);
  }

  // Only what another host held when this process began: a lock made since then is of somebody who
  // is at work.
  bool may_steal(const Job& job, const Owner& owner) const {
    const auto found = left_behind_.find(job.name);
    return found != left_behind_.end() && found->second == owner.text();
  }

  void start_what_is_ready() {
    for (const Job& job : jobs_) {
      if (std::cmp_greater_equal(at_work_.size(), options_.workers)) return;
      if (is_ready(job)) start(job);
    }
  }

  void start(const Job& job) {
    fs::create_directories(study_.run_folder(job).parent_path());
    const int all = options_.threads > 0 ? options_.threads : available_processors();
    const int each = std::max(1, all / static_cast<int>(options_.workers));
    std::vector<std::string> words = {"matrix", "run",       study_.folder.string(), "--job",
                                      job.name, "--threads", std::to_string(each)};
    if (left_behind_.contains(job.name)) words.push_back("--steal");
    pause_ = kShortest;
    const fs::path log = study_.file(job, ".log");
    const uintmax_t before = fs::exists(log) ? fs::file_size(log) : 0;
    at_work_.push_back({&job, start_program(words, log), Clock::now(), before});
  }

  // A child that found the job held by another process has ended well and done nothing: the job is
  // then waited for.
  void reap() {
    // Of two that ended meanwhile the first one's line counts the first only.
    auto said = std::ranges::count_if(
        jobs_, [&](const Job& job) { return study_.done(job) && !is_at_work(job); });
    std::erase_if(at_work_, [&](const AtWork& work) {
      const int code = ended(work.process);
      if (code < 0) return false;
      const std::chrono::duration<double> took = Clock::now() - work.start;
      if (study_.done(*work.job))
        console_.line(str(++said, "/", jobs_.size(), "  ", work.job->name, ": ",
                          figures_of(study_, *work.job), ", ", duration_text(took.count())));
      else if (code != 0 && code != static_cast<int>(Exit::held) && !InterruptGuard::interrupted())
        note_failure(work, code);
      return true;
    });
  }

  void note_failure(const AtWork& work, int code) {
    const Job& job = *work.job;
    const fs::path log = study_.file(job, ".log");
    std::string why = last_line(log, work.log_before);
    if (code == static_cast<int>(Exit::interrupted))
      why = "interrupted, not by this process; it goes on where it was";
    else if (code > 128)
      why = str("ended by signal ", code - 128);
    else if (why.empty())
      why = str("ended with exit code ", code, " and no word");
    console_.line(str(job.name, " failed: ", why));
    if (failed_.empty()) first_failed_ = str(job.name, ": ", why, " (", log.string(), ")");
    failed_.insert(job.name);
  }

  Exit stop() {
    console_.line(str("stopping: ", at_work_.size(), " jobs save what they have trained"));
    for (const AtWork& work : at_work_) ::kill(work.process, SIGTERM);
    for (const AtWork& work : at_work_) wait_for_end(work.process);
    console_.line(str(done(), " of ", jobs_.size(), " jobs done; decant matrix run ",
                      study_.folder.string(), " goes on"));
    return Exit::interrupted;
  }

  // Progress in epochs: those of a job that stopped early count as all of its own.
  void show() {
    if (!Console::is_terminal() || Clock::now() - shown_ < std::chrono::seconds(1)) return;
    shown_ = Clock::now();
    int64_t total = 0;
    int64_t finished = 0;
    for (const Job& job : jobs_) {
      const int64_t epochs = study_.cell_of(job).config.epochs;
      total += epochs;
      finished +=
          study_.done(job) ? epochs : std::min(epochs, epochs_written(study_.run_folder(job)));
    }
    if (finished_before_ < 0) finished_before_ = finished;
    console_.progress(str(done(), " of ", jobs_.size(), " jobs, ", at_work_.size(), " at work"),
                      finished - finished_before_, total - finished_before_);
  }

  const Study& study_;
  RunnerOptions options_;
  std::vector<Job> jobs_;
  std::vector<AtWork> at_work_;
  std::map<std::string, std::string>
      left_behind_;  // by --steal: jobs, and who held them at the start
  std::set<std::string> failed_;
  std::string first_failed_;
  int64_t finished_before_ = -1;
  std::chrono::milliseconds pause_ = kShortest;
  Clock::time_point shown_;
  Console console_;
};

}  // namespace

Shard Shard::parse(const std::string& text) {
  Shard shard;
  if (text.empty()) return shard;
  const char* end = text.data() + text.size();
  const auto [slash, failed] = std::from_chars(text.data(), end, shard.index);
  const bool whole = failed == std::errc() && slash != end && *slash == '/';
  const auto last = whole ? std::from_chars(slash + 1, end, shard.count) : std::from_chars_result{};
  check(whole && last.ec == std::errc() && last.ptr == end && shard.index >= 1 &&
            shard.index <= shard.count,
        "shard: expected I/N with 1 <= I <= N, got \"", text, "\"");
  return shard;
}

std::vector<Job> jobs_of(const Study& study, const Shard& shard) {
  std::set<std::string> wanted;
  for (size_t i = 0; i < study.jobs.size(); ++i) {
    if (std::cmp_not_equal(i % static_cast<size_t>(shard.count), shard.index - 1)) continue;
    wanted.insert(study.jobs[i].name);
    wanted.insert(study.jobs[i].needs);
  }
  std::vector<Job> jobs;
  for (const Job& job : study.jobs)
    if (wanted.contains(job.name)) jobs.push_back(job);
  return jobs;
}

Exit run_jobs(const Study& study, const RunnerOptions& options) {
  return Runner(study, options).run();
}

}  // namespace decant::apps
