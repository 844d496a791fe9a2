// A study: planned, run by one or several processes, killed and continued, its table.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <set>
#include <thread>

#include "apps/command.h"
#include "apps/study/collect.h"
#include "apps/study/estimate.h"
#include "apps/study/job_lock.h"
#include "apps/study/results.h"
#include "apps/study/slurm.h"
#include "apps/study/study.h"
#include "apps/study/study_view.h"
#include "apps/study/tables.h"
#include "tests/apps/small_matrix.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

namespace {

// What a study's runs are made of: all files of its run folders, and their results.
std::map<std::string, std::string> runs_of(const fs::path& study) {
  std::map<std::string, std::string> files = contents(study / "runs");
  std::erase_if(files, [](const auto& file) {
    return file.first.ends_with(".log") || file.first.ends_with(".guard") ||
           file.first.ends_with(".provenance.json");
  });
  return files;
}

}  // namespace

TEST_CASE("matrix: the plan has each split's teachers once, before what they teach") {
  const TemporaryFolder folder;
  Json matrix = small_matrix();
  matrix["presets"] = nullptr;  // all twelve
  matrix["seeds"] = {0, 7};
  const Study study = begin_study(write_matrix(folder, matrix), folder.path() / "study");
  CHECK(study.cells.size() == 2 + 1 + 12);
  CHECK(study.jobs.size() == 2 * (2 + 2 + 2 * 12));
  std::set<std::string> before;
  for (const Job& job : study.jobs) {
    CAPTURE(job.name);
    if (!job.needs.empty()) CHECK(before.contains(job.needs));
    CHECK(before.insert(job.name).second);
  }
  const Job& weak = study.job("split1/HReg_KLD_WAug.seed7");
  CHECK(weak.needs == "split1/teacher_weak");
  CHECK(weak.seed == 7);
  const TrainConfig config = study.config_of(weak);
  CHECK(config.distill.teacher == (folder.path() / "study/runs/split1/teacher_weak").string());
  CHECK(config.optim.lr == 1e-4);  // the paper's, where nobody says otherwise
  CHECK(config.augment == "strong");
  CHECK(study.cell_of(study.job(weak.needs)).config.augment == "weak");
  CHECK(study.cell_of(study.job("split1/teacher_strong")).config.augment == "strong");
  CHECK(config.epochs == 2);
  const data::Dataset dataset = data::open_dataset(phantoms());
  CHECK(study.split_of(weak, dataset).test.size() == 4);
}

TEST_CASE("matrix: an axis multiplies the cells that it is for") {
  const TemporaryFolder folder;
  Json matrix = small_matrix();
  matrix["presets"] = {"L_KLD", "L_MSE"};
  matrix["axes"] = {{"distill.spec.temperature", {{"values", {1, 4}}, {"presets", {"L_KLD"}}}},
                    {"model", {"thin_unet:width=4,depth=4", "thin_unet:width=8,depth=4"}}};
  std::vector<std::string> names;
  std::map<std::string, std::string> students;
  for (const MatrixCell& cell : cells_of(read_matrix(write_matrix(folder, matrix)), "study.json")) {
    names.push_back(cell.name);
    students[cell.name] = cell.student;
  }
  const std::string small = ".model=thin_unet-width=4-depth=4";
  CHECK(names.size() == 1 + 2 + 4 + 2);
  CHECK(students.at("L_KLD.temperature=4" + small) == "student" + small);
  CHECK(students.at("L_MSE" + small) == "student" + small);
  CHECK(students.at("teacher_strong") == "student" + small);  // the first
}

TEST_CASE("matrix: a teacher is called by its augmentation, and is one where two would be equal") {
  const TemporaryFolder folder;
  const auto teachers = [&](const Json& augment) {
    Json matrix = small_matrix();
    matrix["presets"] = {"L_KLD_WAug", "L_KLD"};
    matrix["train"]["augment"] = augment;
    std::string order;
    for (const MatrixCell& cell : cells_of(read_matrix(write_matrix(folder, matrix)), "study.json"))
      if (cell.role == Role::teacher) order += cell.name + " ";
    return order;
  };
  CHECK(teachers("strong") == "teacher_strong teacher_weak ");  // that of the settings is first
  CHECK(teachers("strong_flip") == "teacher_strong_flip teacher_weak ");
  CHECK(teachers("weak") == "teacher_weak ");
}

TEST_CASE("matrix: jobs are of one kind only where they take the same time") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  matrix["student"] = matrix["teacher"];  // the same network in every role
  matrix["presets"] = {"L_KLD", "L_MSE", "HReg_KLD", "L_KLD_WAug"};
  matrix["axes"] = {{"batch", {4, 2}},
                    {"data.size", {32, 64}},
                    {"distill.spec.temperature", {{"values", {1, 4}}, {"presets", {"L_KLD"}}}}};
  const Study study = begin_study(write_matrix(folder, matrix), folder.path() / "study");
  std::map<KindOfJob, std::set<std::string>> kinds;
  for (const Job& job : study.jobs) kinds[kind_of(study, job)].insert(study.cell_of(job).name);
  // A teacher, and at two sizes in two batches a student alone and four that are distilled.
  CHECK(kinds.size() == 1 + 2 * 2 * (1 + 4));
  CHECK(kinds.at(kind_of(study, study.job("split0/teacher_strong"))) ==
        std::set<std::string>{"teacher_strong", "teacher_weak"});
  const KindOfJob two = kind_of(study, study.job("split0/L_KLD.batch=4.size=32.temperature=4"));
  CHECK(kinds.at(two) == std::set<std::string>{"L_KLD.batch=4.size=32.temperature=1",
                                               "L_KLD.batch=4.size=32.temperature=4"});
  CHECK(two.text() ==
        "distilled thin_unet:width=8,depth=4 under thin_unet:width=8,depth=4 by logits.kld");
}

TEST_CASE("matrix: a plan times a step of what the job does") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  matrix["presets"] = Json::array({{{"name", "two_terms"},
                                    {"spec",
                                     {{"terms",
                                       {{{"pathway", "logits"}, {"loss", "kld"}},
                                        {{"pathway", "regressor"}, {"loss", "mse"}}}}}}}});
  const Result plan = decant::apps::decant(
      {"matrix", "plan", write_matrix(folder, matrix), "--steps", "1", "--out", folder / "study"});
  INFO(plan.err);
  REQUIRE(plan.code == 0);
  CHECK(contains(plan.out,
                 "an epoch of distilled thin_unet:width=4,depth=4 under "
                 "thin_unet:width=8,depth=4 by logits.kld + regressor.mse at 32 x 32, batch 4, "
                 "cpu: "));
  CHECK(contains(plan.out, "an epoch of teacher thin_unet"));
  CHECK(contains(plan.out, "an epoch of student thin_unet"));
  CHECK_FALSE(contains(plan.out, "what was not timed"));
}

TEST_CASE("matrix: times of answers are of one machine and one program; builds are told apart") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  matrix["train"]["epochs"] = 1;
  const std::string out = folder / "study";
  const Result whole = decant::apps::decant(run_words(write_matrix(folder, matrix), out));
  INFO(whole.err);
  REQUIRE(whole.code == 0);
  CHECK_FALSE(contains(whole.out, "Several programs"));
  const Results first = read_results(out);
  CHECK(first.cell("L_KLD").student == "student");
  CHECK(first.cell("teacher_strong").student == "student");
  CHECK_FALSE(first.cell("student").student);
  for (const RunResult& run : first.runs) CHECK(run.program == first.program);

  const std::string file = out + "/latency.json";
  Json times = Json::parse(bytes_of(file));
  REQUIRE(times.size() == 1);
  const std::string here = times.begin().key();
  CHECK(contains(here, ", decant " + first.program));
  CHECK(here.starts_with(*first.timed_on));
  const std::string small = "thin_unet:width=4,depth=4 at 32";
  const std::string large = "thin_unet:width=8,depth=4 at 32";
  CHECK(times[here].size() == 2);  // of three cells: two are one network
  times[here][small] = 1234.5;
  write_bytes(file, times.dump());
  const Words table = {"matrix", "table", out, "--threads", "1"};
  REQUIRE(decant::apps::decant(table).code == 0);
  CHECK(read_results(out).cell("student").latency_ms == 1234.5);  // measured once
  CHECK(read_results(out).cell("L_KLD").latency_ms == 1234.5);    // the same network
  CHECK(read_results(out).cell("teacher_strong").latency_ms < 1234.5);
  write_bytes(file, Json({{"elsewhere, decant 0", times[here]}}).dump());
  REQUIRE(decant::apps::decant(table).code == 0);
  CHECK(read_results(out).cell("student").latency_ms < 1234.5);  // of this machine, again
  times = Json::parse(bytes_of(file));
  CHECK(times.size() == 2);
  CHECK(times["elsewhere, decant 0"][small] == 1234.5);
  for (const std::string cut : {"[]", "{\"elsewhere\": {\"L_", "{\"elsewhere\": 3}"}) {
    CAPTURE(cut);
    write_bytes(file, cut);
    REQUIRE(decant::apps::decant(table).code == 0);  // nothing is lost but times
    CHECK(Json::parse(bytes_of(file)).begin().value().contains(small));
  }

  // A time that was known stays, with where it was measured.
  fs::remove(file);
  leave_lock(out + "/runs/split0/student.lock", "elsewhere");
  Json elsewhere = Json::parse(bytes_of(out + "/results.json"));
  elsewhere["timed_on"] = "elsewhere";
  for (Json& cell : elsewhere["cells"]) cell["latency_ms"] = 1234.5;
  write_bytes(out + "/results.json", elsewhere.dump());
  const auto untouched = contents(out);
  REQUIRE(decant::apps::decant({"report", out, "--out", folder / "page.html"}).code == 0);
  CHECK(contents(out) == untouched);
  CHECK(contains(bytes_of(folder / "page.html"), "1234.5"));
  CHECK(contains(bytes_of(folder / "page.html"), "single answers on elsewhere."));
  REQUIRE(decant::apps::decant(table).code == 0);
  CHECK(read_results(out).timed_on == "elsewhere");
  for (const Cell& cell : read_results(out).cells) CHECK(cell.latency_ms == 1234.5);

  // Times under load are no times, and a run whose folder is gone still has its figures.
  fs::remove(out + "/results.json");
  const Result busy = decant::apps::decant(table);
  CHECK(busy.code == 0);
  CHECK(contains(busy.out, "A time that is missing was not measured"));
  CHECK(std::isnan(read_results(out).cell("L_KLD").latency_ms));
  CHECK_FALSE(fs::exists(file));
  fs::remove(out + "/runs/split0/student.lock");
  fs::rename(out + "/runs/split0/teacher_strong", out + "/away");
  REQUIRE(decant::apps::decant(table).code == 0);
  CHECK(std::isnan(read_results(out).cell("teacher_strong").latency_ms));
  CHECK(read_results(out).cell("L_KLD").latency_ms > 0);
  times = Json::parse(bytes_of(file));
  CHECK_FALSE(times.begin().value().contains(large));
  times.begin().value()[small] = 1234.5;
  write_bytes(file, times.dump());
  fs::rename(out + "/away", out + "/runs/split0/teacher_strong");
  REQUIRE(decant::apps::decant(table).code == 0);
  CHECK(read_results(out).cell("teacher_strong").latency_ms > 0);
  CHECK(read_results(out).cell("L_KLD").latency_ms < 1234.5);  // all in one go

  const std::string provenance = out + "/runs/split0/student.provenance.json";
  Json other = Json::parse(bytes_of(provenance));
  other["program"] = "0.0.9 build 0123456789abcdef";
  write_bytes(provenance, other.dump());
  const std::string line =
      str("Several programs: decant ", first.program,
          " began this study; 1 run is by decant 0.0.9 build 0123456789abcdef, 2 runs are by "
          "decant ",
          first.program, ".");
  CHECK(contains(decant::apps::decant(table).out, line));
  REQUIRE(decant::apps::decant({"report", out, "--out", folder / "page.html"}).code == 0);
  CHECK(contains(bytes_of(folder / "page.html"), line));
}

TEST_CASE("matrix: run, killed and continued, gives the same bytes; verify agrees with it") {
  const TemporaryFolder folder;
  const std::string file = write_matrix(folder, small_matrix());
  const std::string out = folder / "study";
  const Result whole = decant::apps::decant(run_words(file, out));
  INFO(whole.err);
  REQUIRE(whole.code == 0);
  CHECK(contains(whole.out, "neither trained nor chose"));
  const auto expected = runs_of(out);
  REQUIRE(expected.size() == 6 * 9);  // 8 files of a run folder, and its results
  const Results results = read_results(out);
  CHECK(results.runs.size() == 6);
  CHECK(results.table.size() == 3);

  fs::rename(out, folder / "first");
  // A machine that is busy elsewhere may look away for as long as this job takes: then once more.
  for (int attempt = 0; attempt == 0 || fs::exists(out + "/runs/split0/teacher_strong.json");
       ++attempt) {
    REQUIRE(attempt < 20);
    fs::remove_all(out);
    const pid_t process = start_decant(run_words(file, out));
    wait_until([&] { return fs::exists(out + "/runs/split0/teacher_strong/state.safetensors"); });
    kill(process, SIGKILL);
    wait_for(process);
    wait_until([&] {  // its worker ends after it
      return !JobLock::holder(out + "/runs/split0/teacher_strong.lock");
    });
  }
  CHECK_FALSE(fs::exists(out + "/results.json"));
  const std::string provenance = out + "/runs/split0/teacher_strong.provenance.json";
  const std::string begun_by = Json::parse(bytes_of(provenance)).at("program");
  write_bytes(provenance, Json({{"program", "0.0.9 build 1"}}).dump());  // as if another began it
  const Result continued = decant::apps::decant({"matrix", "run", out, "--threads", "1"});
  INFO(continued.err);
  REQUIRE(continued.code == 0);
  CHECK(runs_of(out) == expected);
  CHECK(Json::parse(bytes_of(provenance)).at("program") == "0.0.9 build 1, then " + begun_by);

  const std::string run = out + "/runs/split0/L_KLD";
  const Result same = decant::apps::decant({"verify", run, "--tolerance", "0"});
  INFO(same.out, same.err);
  CHECK(same.code == 0);
  CHECK(contains(same.out, "ok    largest difference of an image's Dice: none\n"));
  CHECK(contains(same.out, "\nverified: 9 of 9 agree with what was recorded\n"));
  const std::string beside = bytes_of(run + ".provenance.json");
  Json other = Json::parse(beside);
  CHECK(other.at("init_digest") == 0);
  other["data_checksum"] = "0123";
  write_bytes(run + ".provenance.json", other.dump());
  const Result changed = decant::apps::decant({"verify", run, "--tolerance", "0"});
  CHECK(changed.code == 1);
  CHECK(contains(changed.out, "DIFFERS  files of all images and masks"));
  CHECK(contains(changed.out, "\nNOT verified: 8 of 9 agree with what was recorded\n"));
  other.erase("data_checksum");
  write_bytes(run + ".provenance.json", other.dump());
  const Result less = decant::apps::decant({"verify", run, "--tolerance", "0"});
  CHECK(less.code == 0);
  CHECK(contains(less.out, "-     files of all images and masks, tested ones too: not recorded\n"));
  CHECK(contains(less.out, "\nverified: 8 of 9 agree, 1 was not recorded\n"));
  write_bytes(run + ".provenance.json", beside);
  std::string recorded = bytes_of(run + ".json");
  Json json = Json::parse(recorded);
  const double dice = json["runs"][0]["images"][0]["dice"];
  json["runs"][0]["images"][0]["dice"] = dice > 0.5 ? 0 : 1;
  write_bytes(run + ".json", json.dump());
  CHECK(decant::apps::decant({"verify", run}).code == 1);
  write_bytes(run + ".json", recorded.substr(0, recorded.size() / 2));  // cut
  CHECK(contains(refused({"matrix", "table", out}),
                 "; where this file is removed, matrix run does its job again"));
  json["runs"] = Json::array();
  write_bytes(run + ".json", json.dump());
  CHECK(
      contains(refused({"verify", run}),
               "L_KLD.json: expected the results of one run of one cell, got 0 runs and 1 cells"));
  CHECK(contains(refused({"matrix", "table", out}), "L_KLD.json: expected the results of one run"));
  write_bytes(run + ".json", recorded);
  const std::string kept = bytes_of(provenance);
  write_bytes(provenance, "[]");
  CHECK(contains(refused({"matrix", "table", out}),
                 "teacher_strong.provenance.json: expected an object of JSON, got array"));
  write_bytes(provenance, kept);
  Json emptied = Json::parse(bytes_of(out + "/results.json"));
  emptied["runs"] = Json::array();
  write_bytes(out + "/results.json", emptied.dump());
  const std::string page = folder / "page.html";
  CHECK(contains(refused({"report", out + "/results.json", "--out", page}),
                 "expected the results of runs, got none"));
  // A page is of what is there by now, whatever results.json was of, which stays as it is.
  fs::remove(out + "/runs/split1/L_KLD.json");
  write_bytes(out + "/results.json", "{\"schema\": \"decant-res");
  REQUIRE(decant::apps::decant({"report", out, "--out", page, "--threads", "1"}).code == 0);
  CHECK(contains(bytes_of(page), "5 of 6 jobs done"));
  CHECK(bytes_of(out + "/results.json") == "{\"schema\": \"decant-res");
  CHECK(contains(refused({"report", file, "--out", page}),
                 "study.json: expected run folders or the folder of a study, got a file of JSON"));
  const Words again = {"matrix", "run", out, "--threads", "1", "--job"};
  const Result early = decant::apps::decant(again + Words{"split0/student"});
  CHECK(early.out == "split0/student: done already\n");
  write_bytes(run + ".json", "{}");
  CHECK(contains(refused({"verify", run}), "schema: expected \"decant-results-1\""));
}

TEST_CASE("matrix: images that changed since a study began stop it before a job starts") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  matrix["data"] = folder / "data";
  fs::copy(phantoms(), folder / "data", fs::copy_options::recursive);
  const std::string out = folder / "study";
  const Study study = begin_study(write_matrix(folder, matrix), out);
  const std::string image = data::open_dataset(folder / "data").samples.front().image.string();
  const std::string before = bytes_of(image);
  write_bytes(image, before + "x");
  const std::string message =
      str(folder / "data", ": expected the ", study.data.images, " images and their masks that ",
          out, " began with (checksum ", study.data.checksum, "), got ", study.data.images,
          " of other bytes");
  const Words run = {"matrix", "run", out, "--threads", "1"};
  CHECK(contains(refused(run), message));
  CHECK(contains(refused(run + Words{"--job", "split0/student"}), message));
  for (const Job& job : study.jobs) {
    CHECK_FALSE(fs::exists(study.run_folder(job)));
    CHECK_FALSE(fs::exists(study.file(job, ".log")));
    CHECK_FALSE(fs::exists(study.file(job, ".lock")));
  }
  write_bytes(image, before);
  CHECK(decant::apps::decant(run + Words{"--job", "split0/student"}).code == 0);
}

TEST_CASE("matrix: relative paths begin at the folder of the study's file") {
  const TemporaryFolder folder;
  Json matrix = small_matrix();
  matrix["data"] = "data";
  matrix["splits"] = "folds/mine.json";
  matrix["train"]["init"] = "encoder=weights.safetensors";
  const Matrix read = read_matrix(write_matrix(folder, matrix));
  CHECK(read.data == folder / "data");
  CHECK(read.splits == folder / "folds/mine.json");
  CHECK(read.train["init"] == "encoder=" + (folder / "weights.safetensors"));
  CHECK(read_matrix(write_matrix(folder, small_matrix())).splits == "random:2:0.6:0.2");
}

TEST_CASE("matrix: a study is frozen: its settings are written out, its files named once") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  matrix["teacher"]["init"] = "encoder=weights.safetensors";
  fs::copy(trained() + "/best.safetensors", folder / "weights.safetensors");
  matrix["student"]["model"] = "teachers/run";
  fs::create_directories(folder.path() / "teachers");
  fs::copy(trained(), folder / "teachers/run", fs::copy_options::recursive);
  write_bytes(folder / "light.json",
              R"([{"name": "Resize", "height": 32, "width": 32}, {"name": "Normalize"}])");
  matrix["train"]["augment"] = "light.json";
  const std::string out = folder / "study";
  begin_study(write_matrix(folder, matrix), out);
  const Json kept = Json::parse(bytes_of(out + "/matrix.json"));
  CHECK(kept["teacher"]["init"] == "encoder=" + (folder / "weights.safetensors"));
  CHECK(kept["student"]["model"] == folder / "teachers/run");
  CHECK(kept["train"]["augment"] == folder / "light.json");
  fs::remove_all(folder / "teachers");  // the network's spec is written out, not its name
  fs::remove(folder / "light.json");
  Json cells = Json::parse(bytes_of(out + "/cells.json"));
  for (Json& cell : cells) {
    CHECK(cell["config"]["optim"]["momentum"] == 0.9);  // that nobody named
    cell["config"]["optim"]["momentum"] = 0.75;         // as if it had been a default then
    cell["config"]["epochs"] = 1;
  }
  write_bytes(out + "/cells.json", cells.dump());
  const Study study = open_study(out);
  const Job& job = study.job("split0/student");
  CHECK(study.config_of(job).optim.momentum == 0.75);
  CHECK(network_spec(study.config_of(job)).name() == "thin_unet:width=8,depth=4");

  const Words run = {"matrix", "run", out, "--threads", "1", "--job", job.name};
  const Result first = decant::apps::decant(run);
  CAPTURE(first.err);
  REQUIRE(first.code == 0);
  fs::remove(study.file(job, ".json"));  // as if it had been stopped before it was measured
  REQUIRE(decant::apps::decant(run).code == 0);
  fs::remove(study.file(job, ".json"));
  const fs::path config = study.run_folder(job) / "config.json";
  Json settings = Json::parse(bytes_of(config));
  settings["optim"]["lr"] = 0.5;
  write_bytes(config, settings.dump());
  CHECK(contains(refused(run), str(config.string(),
                                   ": optim.lr: expected 0.0001 as in the study's job "
                                   "split0/student, got 0.5; where the folder is removed")));

  // Of a program that wrote no settings out nobody knows what its defaults were.
  const std::string old = folder / "old";
  begin_study(write_matrix(folder, small_matrix()), old);
  fs::remove(old + "/cells.json");
  Json origin = Json::parse(bytes_of(old + "/origin.json"));
  origin["program"] = "0.0.9 build 1";
  write_bytes(old + "/origin.json", origin.dump());
  CHECK(
      contains(refused({"matrix", "run", old, "--threads", "1", "--job", "split0/student"}),
               "expected a study whose settings are written out (cells.json), got one that decant "
               "0.0.9 build 1 began"));
}

TEST_CASE("matrix: two processes on one folder do no job twice") {
  const TemporaryFolder folder;
  const std::string file = write_matrix(folder, small_matrix());
  const std::string out = folder / "study";
  const pid_t first = start_decant(run_words(file, out) + Words{"--shard", "1/2"});
  const pid_t second = start_decant(run_words(file, out) + Words{"--shard", "2/2"});
  CHECK(wait_for(first) == 0);
  CHECK(wait_for(second) == 0);
  const Study study = open_study(out);
  for (const Job& job : study.jobs) {
    CAPTURE(job.name);
    CHECK(study.done(job));
    CHECK_FALSE(fs::exists(study.file(job, ".lock")));
    // A run that was begun twice, or gone on with, would say so a second time.
    const std::string log = bytes_of(study.file(job, ".log"));
    const size_t at = log.find("finished: the best network");
    CHECK(at != std::string::npos);
    CHECK(log.find("finished", at + 1) == std::string::npos);
  }
}

TEST_CASE("matrix: a lock of a dead process is taken over, one of another host only by --steal") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  const std::string out = folder / "study";
  const Study study = begin_study(write_matrix(folder, matrix), out);
  leave_lock(study.file(study.job("split0/teacher_strong"), ".lock"), "");
  leave_lock(study.file(study.job("split0/student"), ".lock"), "elsewhere");
  const Words run = {"matrix", "run", out, "--threads", "1"};
  const std::string message = refused(run);
  CHECK(contains(message, "split0/student: expected a lock of this host, got one of process"));
  CHECK(contains(message, "on elsewhere"));
  CHECK(study.done(study.job("split0/teacher_strong")));
  CHECK(study.done(study.job("split0/L_KLD")));
  CHECK(decant::apps::decant(run + Words{"--steal"}).code == 0);
  CHECK(study.done(study.job("split0/student")));
}

TEST_CASE("matrix: a file system without links has locks as well, and half of one is read again") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "job.lock";
  const auto no_links = [](const char*, const char*) {
    errno = EPERM;
    return -1;
  };
  {
    const auto lock = JobLock::take(file, false, no_links);
    REQUIRE(lock);
    CHECK(JobLock::holder(file) == Owner::self());
    CHECK_FALSE(JobLock::take(file, false, no_links));
  }
  CHECK_FALSE(fs::exists(file));
  leave_lock(file, "");  // of a dead process
  CHECK(JobLock::take(file, false, no_links));
  CHECK(contents(folder.path()).size() == 1);  // the guard

  leave_lock(file, "elsewhere");
  const std::string whole = bytes_of(file);
  write_bytes(file, "");
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    write_bytes(file, whole.substr(0, 9));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    write_bytes(file, whole);
  });
  CHECK_FALSE(JobLock::take(file, false, no_links));
  writer.join();
  write_bytes(file, "{\"host\"");
  CHECK_THROWS_WITH_AS(JobLock::take(file, false),
                       doctest::Contains("expected the lock of a job, got something else; where"),
                       Error);
}

TEST_CASE("matrix: a job that fails is named, the others are done") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  matrix["teacher"]["init"] = "encoder=" + (folder / "damaged.safetensors");
  fs::copy(trained() + "/state.safetensors", folder / "damaged.safetensors");  // of no network
  const std::string out = folder / "study";
  const std::string message = refused(run_words(write_matrix(folder, matrix), out));
  CHECK(contains(message, "1 of 3 jobs failed, the first split0/teacher_strong"));
  CHECK(contains(message, "damaged.safetensors"));
  CHECK(fs::exists(out + "/runs/split0/student.json"));
}

TEST_CASE("matrix: job arrays for Slurm wait for the teachers of their split") {
  const TemporaryFolder folder;
  const std::string file = write_matrix(folder, small_matrix());
  const std::string jobs = folder / "jobs";
  REQUIRE(decant::apps::decant(
              {"matrix", "plan", file, "--steps", "0", "--out", folder / "out", "--slurm", jobs})
              .code == 0);
  const std::string submit = bytes_of(jobs + "/submit.sh");
  CHECK(contains(submit, "teachers=$(sbatch --parsable --array=1-2 \"$@\" teachers.sbatch)"));
  CHECK(contains(submit,
                 "distilled_split1=$(sbatch --parsable --array=1 "
                 "--dependency=afterok:${teachers}_2 --kill-on-invalid-dep=yes "));
  CHECK(bytes_of(jobs + "/teachers.txt") == "split0/teacher_strong\nsplit1/teacher_strong\n");
  CHECK(contains(bytes_of(jobs + "/teachers.sbatch"), " --job "));
  CHECK(bytes_of(jobs + "/teachers.sbatch").ends_with("\" ${DECANT_WORDS:-}\n"));

  CHECK(contains(bytes_of(jobs + "/teachers.sbatch"), "--output=%x-%A_%a.log\n"));
  CHECK(contains(bytes_of(jobs + "/table.sbatch"), "--output=%x-%j.log\n"));
  const Words plan = {"matrix", "plan", file, "--steps", "0", "--out", folder / "out", "--slurm"};
  CHECK(contains(refused(plan + Words{""}), "slurm: expected a folder, got none"));
  // Of jobs that are done no element is handed in; those in the queue find their lines again.
  fs::create_directories(folder / "out/runs/split0");
  write_bytes(folder / "out/runs/split0/teacher_strong.json", "{}");
  REQUIRE(decant::apps::decant(plan + Words{jobs}).code == 0);
  CHECK(bytes_of(jobs + "/teachers.txt") == "split0/teacher_strong\nsplit1/teacher_strong\n");
  CHECK(contains(bytes_of(jobs + "/submit.sh"),
                 "teachers=$(sbatch --parsable --array=2 \"$@\" teachers.sbatch)"));
  CHECK(contains(bytes_of(jobs + "/submit.sh"),
                 "distilled_split1=$(sbatch --parsable --array=1 "
                 "--dependency=afterok:${teachers}_2 "));
  CHECK(contains(bytes_of(jobs + "/submit.sh"),
                 "distilled_split0=$(sbatch --parsable --array=1 \"$@\" "));

  Json many = small_matrix();
  many["seeds"] = {0, 1, 2, 3};
  const std::string seeds = folder / "seeds";
  const Study study = begin_study(write_matrix(folder, many), seeds);
  for (const char* done : {"split0/student.seed1", "split1/student.seed0"}) {
    fs::create_directories(study.run_folder(study.job(done)).parent_path());
    write_bytes(study.file(study.job(done), ".json"), "{}");
  }
  CHECK(write_slurm(study, jobs) == 2 + 6 + 8);
  CHECK(contains(bytes_of(jobs + "/submit.sh"), "students=$(sbatch --parsable --array=1,3-4,6-8 "));

  Json named = small_matrix();
  named["name"] = "a_b & <c> %d|e\n#SBATCH --exclusive 'x'";
  const std::string other = folder / "it's $HOME";
  REQUIRE(decant::apps::decant({"matrix", "plan", write_matrix(folder, named), "--steps", "0",
                                "--out", other, "--slurm", jobs})
              .code == 0);
  const std::string script = bytes_of(jobs + "/teachers.sbatch");
  CHECK(contains(script, "\n#SBATCH --job-name=a_b----c---d-e--SBATCH---exclusive--x--teachers\n"));
  CHECK_FALSE(contains(script, "\n#SBATCH --exclusive"));
  CHECK(contains(script, " matrix run '" + folder.path().string() + "/it'\\''s $HOME' --job "));
}
