// What a study refuses, each with one line: faults of its file, folders of others, flags that an
// action does not take. And what it does in a folder that it may not write to.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <iostream>

#include "apps/command.h"
#include "apps/study/collect.h"
#include "apps/study/results.h"
#include "apps/study/study.h"
#include "tests/apps/small_matrix.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

TEST_CASE("matrix: what is wrong in a study's file is one clear line") {
  const TemporaryFolder folder;
  Json bad = small_matrix();
  bad["presests"] = {"L_KLD"};
  CHECK(contains(refused(folder, bad),
                 "study.json: expected a known key, got \"presests\", did "
                 "you mean \"presets\"?"));
  bad = small_matrix();
  bad["train"]["epocs"] = 3;
  CHECK(contains(refused(folder, bad), "study.json: train: expected a known key, got \"epocs\""));
  bad = small_matrix();
  bad["presets"] = {"L_KLT"};
  CHECK(contains(refused(folder, bad), "L_KLT"));
  bad = small_matrix();
  bad["axes"] = {{"distill.spec.temperature", Json::array()}};
  CHECK(contains(refused(folder, bad),
                 "axes.distill.spec.temperature: expected at least one "
                 "value, got none"));
  bad["axes"] = {{"distill.spec.temperature", {1, 4, 4.0}}};
  CHECK(contains(refused(folder, bad),
                 "study.json: axes.distill.spec.temperature: expected different values, got 4 and "
                 "4.0"));
  bad["axes"] = {{"optim.lr", {0.001, "1e-3"}}};
  CHECK(contains(refused(folder, bad),
                 "study.json: expected cells that differ in a setting, got student.lr=0.001 and "
                 "student.lr=1e-3, which train the same"));
  bad = small_matrix();
  bad["presets"] = Json::array({"L_KLD", {{"name", "mine"}, {"preset", "L_KLD"}}});
  CHECK(contains(refused(folder, bad), "got L_KLD and mine, which train the same"));
  bad = small_matrix();
  bad["axes"] = {{"distill.spec.temprature", {1}}};
  CHECK(contains(refused(folder, bad), "temprature"));
  bad = small_matrix();
  bad["seeds"] = {1, 1};
  CHECK(contains(refused(folder, bad), "seeds: expected different"));
  bad = small_matrix();
  bad["train"]["data"]["split"] = "kfold:5";  // each job has a split of the study's
  CHECK(
      contains(refused(folder, bad),
               "study.json: train: expected the study's key \"splits\" to set it, got data.split"));
  bad = small_matrix();
  bad["teacher"]["seed"] = 3;
  CHECK(contains(refused(folder, bad),
                 "teacher: expected the study's key \"seeds\" to set it, got seed"));
  bad = small_matrix();
  bad["student"]["distill"]["teacher"] = "runs/teacher";
  CHECK(contains(refused(folder, bad),
                 "student: expected the study's key \"teacher\" to set it, got distill.teacher"));
  bad = small_matrix();
  bad["axes"] = {{"seed", {1, 2}}};
  CHECK(contains(refused(folder, bad),
                 "axes: expected the study's key \"seeds\" to set it, got seed"));
  bad["axes"] = {{"threads", {1, 2}}};
  CHECK(contains(refused(folder, bad), "axes: expected --threads of matrix run to set it"));
  bad = small_matrix();
  bad["presets"] = Json::array({{{"name", "L.provenance"}, {"preset", "L_KLD"}}});
  CHECK(contains(refused(folder, bad), "that is no file's, got \"L.provenance\""));
  bad = small_matrix();
  bad["splits"] = "";
  CHECK(contains(refused(folder, bad), "study.json: splits: expected words as of --split"));
  bad["splits"] = "random:1000000:14:5";
  CHECK(contains(refused(folder, bad), "split: expected 1 .. 1000 as K, got 1000000 in"));
  bad = small_matrix();
  bad["train"]["epochs"] = 0;  // named where it was written, not where it was noticed
  CHECK(contains(refused(folder, bad), "study.json: train: epochs: expected "));
  bad = small_matrix();
  bad["teacher"]["optim.lr"] = -1;
  CHECK(contains(refused(folder, bad), "study.json: teacher: optim.lr: expected "));
  bad = small_matrix();
  bad["axes"] = {{"batch", {4, 0}}};
  CHECK(contains(refused(folder, bad), "study.json: axes: batch: expected "));
  bad = small_matrix();
  bad["student"]["init"] = "network=" + (folder / "one.safetensors");
  write_bytes(folder / "one.safetensors", "w");
  CHECK(contains(refused(folder, bad), "study.json: student: init: "));
  CHECK_FALSE(fs::exists(folder / "out"));  // nothing was begun

  const std::string file = write_matrix(folder, small_matrix());
  const Words plan = {"matrix", "plan", file, "--steps", "0", "--out", folder / "out"};
  REQUIRE(decant::apps::decant(plan).code == 0);
  CHECK(contains(refused({"matrix", "table", folder / "out"}), "jobs that are done, got none"));
  CHECK(contains(refused({"matrix", "run", folder / "out", "--job", "split0/student2"}),
                 "did you mean \"split0/student\"?"));
  CHECK(contains(refused({"matrix", "run", folder / "out", "--shard", "3/2"}),
                 "shard: expected I/N"));
  CHECK(contains(refused({"matrix", "paln", folder / "out"}), "did you mean \"plan\"?"));
  CHECK(contains(refused({"matrix", "table", folder / "out", "--format", "html"}),
                 "format: expected text"));
}

TEST_CASE("matrix: a folder that holds something else is no place for a study") {
  const TemporaryFolder folder;
  Json matrix = small_matrix();
  matrix["data"] = folder / "data";
  fs::copy(phantoms(), folder / "data", fs::copy_options::recursive);
  const std::string file = write_matrix(folder, matrix);
  const auto said = [&](const std::string& out) {
    const auto before = contents(out);
    const std::string message = refused({"matrix", "plan", file, "--steps", "0", "--out", out});
    CHECK(contents(out) == before);
    return message;
  };
  CHECK(contains(said(folder / "data"), "which holds its images"));
  fs::copy(trained(), folder / "run", fs::copy_options::recursive);
  CHECK(contains(said(folder / "run"), "which holds best.safetensors"));
  fs::create_directories(folder.path() / "pairs/masks");
  CHECK(contains(said(folder / "pairs"), "which holds masks"));
}

TEST_CASE("matrix: a study under another name is the same") {
  const TemporaryFolder folder;
  const std::string out = folder / "study";
  Json matrix = small_matrix();
  begin_study(write_matrix(folder, matrix), out);
  matrix["name"] = "renamed";
  matrix["train"]["epochs"] = 3;
  CHECK(begin_study(write_matrix(folder, matrix), out).changes ==
        "train.epochs: 2, now 3; name: \"small\", now \"renamed\"");
  write_bytes(out + "/latency.json", "{}");  // as if jobs had run
  matrix["name"] = "renamed again";
  CHECK(begin_study(write_matrix(folder, matrix), out).matrix.name == "renamed");
  matrix["train"]["epochs"] = 2;
  CHECK_THROWS_WITH_AS(begin_study(write_matrix(folder, matrix), out),
                       doctest::Contains("train.epochs: expected 3 as in the study"), Error);
}

TEST_CASE("matrix: a study's folder that cannot be written can be read") {
  if (geteuid() != 0) {
    MESSAGE("not shown: only root can become the user of somebody else's folder");
    return;
  }
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms(0755));
  Json matrix = three_jobs();
  matrix["train"]["epochs"] = 1;
  const std::string out = folder / "study";
  const Result whole =
      decant::apps::decant(run_words(write_matrix(folder, matrix), out) + Words{"--workers", "3"});
  REQUIRE(whole.code == 0);
  // Of jobs that end at a time each is counted in its own line.
  for (const char* count : {"\n1/3  ", "\n2/3  ", "\n3/3  "}) CHECK(contains(whole.out, count));
  fs::remove(out + "/results.json");
  fs::permissions(out + "/.guard", fs::perms(0644));
  const auto before = contents(out);
  const std::string said = folder / "said";
  fs::create_directory(said);
  fs::permissions(said, fs::perms(0777));
  const auto as_nobody = [&](const Words& words) {
    std::cout << std::flush;  // else the child would write it too
    const pid_t process = fork();
    if (process == 0) {
      if (seteuid(65534) != 0) _exit(3);
      dup2(open((said + "/err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDERR_FILENO);
      dup2(open((said + "/out").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644), STDOUT_FILENO);
      const int code = run_program(words);
      std::cout << std::flush;
      _exit(code);
    }
    CHECK(wait_for(process) == 0);
    return bytes_of(said + "/err");
  };
  CHECK(contains(as_nobody({"matrix", "table", out}), "cannot be written: this table is not kept"));
  CHECK(contains(bytes_of(said + "/out"), "small. Dice on "));
  as_nobody({"matrix", "plan", out, "--slurm", said + "/jobs"});
  CHECK(fs::exists(said + "/jobs/submit.sh"));
  as_nobody({"report", out, "--out", said + "/page.html"});
  CHECK(contains(bytes_of(said + "/page.html"), "<h1>small</h1>"));
  CHECK(contents(out) == before);
}

TEST_CASE("matrix: a flag that its action does not take is an error, not forgotten") {
  const auto message = [](const char* action, const Words& flags) {
    return refused(Words{"matrix", action, "nowhere"} + flags);
  };
  const char* const run_only[] = {"--steal", "--wait", "--workers=3", "--job=x"};
  for (const char* action : {"plan", "table"})
    for (const std::string flag : run_only) {
      const std::string name = flag.substr(0, flag.find('='));
      CHECK(message(action, {flag}) == str("decant matrix: ", name,
                                           ": expected matrix run, which takes it, got matrix ",
                                           action, "\n"));
    }
  CHECK(contains(message("table", {"--shard", "1/2"}), "--shard: expected matrix plan or run, "));
  CHECK(contains(message("run", {"--slurm", "jobs"}), "--slurm: expected matrix plan, which"));
  CHECK(contains(message("run", {"--steps", "1"}), "--steps: expected matrix plan, which"));
  CHECK(contains(message("table", {"steps=1"}), "--steps: expected matrix plan, which"));
  CHECK(contains(message("run", {"--format", "csv"}), "--format: expected matrix table, which"));
  // As an element of a job array beyond the end of its list has it: not the whole study.
  for (const Words& none : {Words{"--job", ""}, Words{"job="}})
    CHECK(message("run", none) == "decant matrix: job: expected a name, got none\n");
  CHECK(message("run", {"--job="}) == "decant matrix: --job: expected a value, got none\n");
  for (const char* flag : {"--workers=2", "--shard=1/2", "--wait"})
    CHECK(contains(message("run", {flag, "--job", "x"}), " or --job, got both"));
  CHECK(contains(message("plan", {"--shard=1/2", "--slurm", "jobs"}),
                 "expected --shard or --slurm, got both"));
}
