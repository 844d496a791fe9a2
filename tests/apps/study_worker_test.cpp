// The processes of a study: what the one that starts the others makes of their end.

#include <doctest/doctest.h>
#include <signal.h>

#include <filesystem>
#include <optional>
#include <thread>

#include "apps/study/job.h"
#include "apps/study/job_lock.h"
#include "apps/study/runner.h"
#include "apps/study/study.h"
#include "tests/apps/small_matrix.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

TEST_CASE("matrix: a worker that is killed is named, the others go on, a second run does its job") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  matrix["teacher"]["epochs"] = 60;  // time enough to be killed in
  const std::string file = write_matrix(folder, matrix);
  const std::string out = folder / "study";
  const std::string teacher = out + "/runs/split0/teacher_strong";
  // A machine that is busy elsewhere may look away for as long as the job takes: then once more.
  for (int attempt = 0; attempt == 0 || fs::exists(teacher + ".json"); ++attempt) {
    REQUIRE(attempt < 10);
    fs::remove_all(out);
    const pid_t manager =
        start_decant(run_words(file, out) + Words{"--workers", "2"}, folder / "said");
    std::optional<Owner> worker;
    wait_until([&] {  // not before there is something to go on with
      if (fs::exists(teacher + "/state.safetensors")) worker = JobLock::holder(teacher + ".lock");
      return worker || fs::exists(teacher + ".json");
    });
    if (worker) kill(static_cast<pid_t>(worker->pid), SIGKILL);
    const int code = wait_for(manager);
    CHECK(code == (fs::exists(teacher + ".json") ? 0 : 2));
  }
  const std::string said = bytes_of(folder / "said");
  CAPTURE(said);
  CHECK(contains(said, "split0/teacher_strong failed: ended by signal 9\n"));
  CHECK(contains(said, "1/3  split0/student: Dice "));
  CHECK(fs::exists(out + "/runs/split0/student.json"));
  CHECK_FALSE(fs::exists(out + "/runs/split0/L_KLD.log"));  // it waits for its teacher
  CHECK(fs::exists(teacher + ".lock"));
  CHECK_FALSE(JobLock::holder(teacher + ".lock"));  // of nobody who lives

  const Result second = decant::apps::decant({"matrix", "run", out, "--threads", "1"});
  CAPTURE(second.err);
  REQUIRE(second.code == 0);
  CHECK(contains(second.out, "3 jobs, 1 done\n"));
  CHECK(contains(second.out, "3/3  split0/L_KLD: Dice "));
  CHECK_FALSE(fs::exists(teacher + ".lock"));
  const std::string whole = folder / "whole";
  REQUIRE(decant::apps::decant(run_words(file, whole)).code == 0);
  for (const char* job : {"teacher_strong", "student", "L_KLD"}) {
    auto mine = contents(out + "/runs/split0/" + job);
    auto other = contents(whole + "/runs/split0/" + job);
    mine.erase("config.json");  // which names its folder
    other.erase("config.json");
    CHECK(mine == other);
  }
}

TEST_CASE("matrix: a job that starts while its study is planned anew does not train the old one") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  const std::string out = folder / "study";
  const Study study = begin_study(write_matrix(folder, matrix), out);
  const Job& job = study.job("split0/student");
  std::string message;
  std::jthread worker;
  {
    const FolderGuard guard(out);
    worker = std::jthread([&] {
      try {
        run_job(study, job, 1, false);
      } catch (const Error& error) {
        message = error.what();
      }
    });
    wait_until([&] { return fs::exists(study.file(job, ".lock")); });  // it waits for the guard
    Json kept = Json::parse(bytes_of(out + "/matrix.json"));
    kept["train"]["epochs"] = 3;
    write_bytes(out + "/matrix.json", kept.dump());
  }
  worker.join();
  CHECK(message == str(out,
                       ": expected the study that this process opened, got one that was "
                       "planned anew meanwhile (matrix.train.epochs: 2, now 3)"));
  CHECK_FALSE(fs::exists(study.run_folder(job)));
  CHECK_FALSE(fs::exists(study.file(job, ".lock")));
  // Once it has its lock, nobody plans anew.
  const auto lock = JobLock::take(study.file(job, ".lock"), false);
  matrix["train"]["epochs"] = 4;
  CHECK_THROWS_WITH_AS(begin_study(write_matrix(folder, matrix), out),
                       doctest::Contains("runs/split0/student.lock), got 4"), Error);
}

TEST_CASE("matrix: who starts the jobs of a study that was planned anew meanwhile is told so") {
  const TemporaryFolder folder;
  Json matrix = small_matrix();
  const std::string out = folder / "study";
  const Study study = begin_study(write_matrix(folder, matrix), out);
  matrix["train"]["epochs"] = 3;
  begin_study(write_matrix(folder, matrix), out);
  const RunnerOptions no_jobs{.shard = {.index = 100, .count = 100}};
  CHECK_THROWS_WITH_AS(run_jobs(study, no_jobs),
                       doctest::Contains("planned anew meanwhile (matrix.train.epochs: 2, now 3)"),
                       Error);
  CHECK(run_jobs(open_study(out), no_jobs) == Exit::done);
}

TEST_CASE("matrix: a study that is just planned anew is waited for") {
  const TemporaryFolder folder;
  const std::string out = folder / "study";
  const std::string file = write_matrix(folder, small_matrix());
  begin_study(file, out);
  const std::string matrix = bytes_of(out + "/matrix.json");
  std::optional<FolderGuard> guard(std::in_place, out);
  fs::remove(out + "/matrix.json");
  const pid_t by_folder =
      start_decant({"matrix", "table", out}, "/dev/null", folder / "folder.txt");
  const pid_t by_file =
      start_decant({"matrix", "table", file, "--out", out}, "/dev/null", folder / "file.txt");
  const std::string said = str("notice: ", out, ": waiting for another process that plans it anew");
  for (const char* name : {"folder.txt", "file.txt"})
    wait_until(
        [&] { return fs::exists(folder / name) && contains(bytes_of(folder / name), said); });
  write_bytes(out + "/matrix.json", matrix);
  guard.reset();
  CHECK(wait_for(by_folder) == 2);
  CHECK(wait_for(by_file) == 2);
  for (const char* name : {"folder.txt", "file.txt"})
    CHECK(contains(bytes_of(folder / name), "expected a study with jobs that are done, got none"));
}
