// What becomes of a study whose files are not as it left them: runs that are gone, settings that
// changed, a folder that moved.

#include <doctest/doctest.h>

#include <filesystem>

#include "apps/study/differences.h"
#include "apps/study/results.h"
#include "apps/study/study.h"
#include "engine/core/rng.h"
#include "tests/apps/small_matrix.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

TEST_CASE("matrix: a run that is gone is named, and done again where its results go too") {
  const TemporaryFolder folder;
  const std::string out = folder / "study";
  const Result whole = decant::apps::decant(run_words(write_matrix(folder, three_jobs()), out));
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  CHECK_FALSE(contains(whole.out, "notice"));
  const auto before = contents(out + "/runs/split0/L_KLD");
  fs::remove_all(out + "/runs/split0/L_KLD");
  const std::string line =
      str("notice: the networks of 1 job are gone (split0/L_KLD): their figures stand, but nobody "
          "can verify, time or draw them; where ",
          out,
          "/runs/split0/L_KLD.json and what is left of its folder are removed, matrix run does "
          "that job again\n");
  const Words run = {"matrix", "run", out, "--threads", "1"};
  const Result again = decant::apps::decant(run);
  CHECK(again.code == 0);
  CHECK(contains(again.out, line));
  CHECK(contains(again.out, "3 jobs, 3 done"));
  CHECK_FALSE(fs::exists(out + "/runs/split0/L_KLD"));
  const Result plan = decant::apps::decant({"matrix", "plan", out, "--steps", "0"});
  CHECK(plan.err == line);
  CHECK(contains(plan.out, "done, its network is gone\n"));
  const Result table = decant::apps::decant({"matrix", "table", out, "--format", "csv"});
  CHECK(table.code == 0);
  CHECK(table.err == line);
  CHECK(table.out.starts_with("cell,"));

  fs::remove(out + "/runs/split0/L_KLD.json");
  fs::rename(out + "/runs/split0/teacher_strong", folder / "away");
  const std::string message = refused(run);
  CHECK(contains(message, str("split0/L_KLD: expected the network of its teacher in ", out,
                              "/runs/split0/teacher_strong, got none")));
  CHECK(contains(refused(run + Words{"--job", "split0/L_KLD"}), "the network of its teacher"));
  fs::rename(folder / "away", out + "/runs/split0/teacher_strong");
  REQUIRE(decant::apps::decant(run).code == 0);
  CHECK(contents(out + "/runs/split0/L_KLD") == before);
}

TEST_CASE("matrix: a study of which no job has run is planned anew, and says what changed") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  Json matrix = three_jobs();
  matrix["data"] = folder / "data";
  fs::copy(phantoms(), folder / "data", fs::copy_options::recursive);
  const auto plan = [&](const Json& of) {
    const Result result = decant::apps::decant(
        {"matrix", "plan", write_matrix(folder, of), "--steps", "0", "--out", out});
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return result.err;
  };
  CHECK(plan(matrix).empty());
  CHECK(plan(matrix).empty());
  Json other = matrix;
  other["splits"] = "random:2:0.6:0.2";
  other["train"]["epochs"] = 3;
  other["student"]["optim"]["lr"] = 0.01;
  CHECK(plan(other) ==
        "notice: planned anew, as no job had run: splits: \"random:1:0.6:0.2\", now "
        "\"random:2:0.6:0.2\"; train.epochs: 2, now 3; student.optim: none, now {\"lr\":0.01}\n");
  const Study changed = open_study(out);
  CHECK(changed.jobs.size() == 6);
  CHECK(changed.config_of(changed.job("split1/student")).epochs == 3);
  CHECK(contains(plan(matrix), "train.epochs: 3, now 2"));
  CHECK_FALSE(fs::exists(out + "/splits/split1.json"));
  Json reordered = matrix;  // the same settings
  reordered["train"] = {{"data", {{"size", 32}}}, {"previews", 0}, {"batch", 4}, {"epochs", 2}};
  CHECK(plan(reordered).empty());
  const fs::path image = data::open_dataset(folder / "data").samples.front().image;
  const std::string bytes = bytes_of(image);
  write_bytes(image, bytes + "x");
  CHECK(plan(matrix) ==
        "notice: planned anew, as no job had run: images: 20, now 20 (other bytes)\n");
  write_bytes(image, bytes);
  CHECK(contains(plan(matrix), "other bytes"));
  other["splits"] = "random:2:0.9:0.5";  // makes no sense, so the study stays as it was
  CHECK(refused(folder, other)
            .ends_with(
                "study.json: split: expected to leave an image for test, got 20 images in the data "
                "set, of which 'random:2:0.9:0.5' asks for 18 to train, 10 to choose by (val)\n"));
  CHECK(plan(matrix).empty());
  other["splits"] = "random:2:0.6:0.2";

  Json origin = Json::parse(bytes_of(out + "/origin.json"));
  const std::string program = origin["program"];
  origin["program"] = "0.0.9 build 1";
  write_bytes(out + "/origin.json", origin.dump());
  CHECK(plan(matrix) ==
        str("notice: planned anew, as no job had run: program: decant 0.0.9 build 1, now ", program,
            "\n"));
  Json with_file = matrix;
  with_file["train"]["augment"] = "light.json";
  write_bytes(folder / "light.json",
              R"([{"name": "Resize", "height": 32, "width": 32}, {"name": "Normalize"}])");
  CHECK(contains(plan(with_file), "train.augment: none, now "));
  write_bytes(folder / "light.json",
              R"([{"name": "Resize", "height": 32, "width": 32}, {"name": "HorizontalFlip"},)"
              R"({"name": "Normalize"}])");
  CHECK(contains(plan(with_file), "as no job had run: what files that its settings name hold"));
  CHECK(contains(plan(matrix), "train.augment: "));

  const Words run = {"matrix", "run", out, "--threads", "1"};
  REQUIRE(decant::apps::decant(run + Words{"--job", "split0/student"}).code == 0);
  CHECK(contains(refused(folder, other),
                 str("study.json: splits: expected \"random:1:0.6:0.2\" as in the study in ", out,
                     ", of which jobs have run (", out,
                     "/runs/split0/student.json), got \"random:2:0.6:0.2\"; --out NEW")));
  other["splits"] = matrix["splits"];
  CHECK(contains(refused(folder, other), "study.json: train.epochs: expected 2 as in"));
  CHECK(plan(matrix).empty());
  const std::string file = write_matrix(folder, other);
  const Words table = {"matrix", "table", file, "--out", out};
  CHECK(contains(refused(table), "of which jobs have run ("));
  // One that has only begun has settings already.
  fs::remove(out + "/runs/split0/student.json");
  CHECK(contains(refused(folder, other),
                 str("of which jobs have run (", out, "/runs/split0/student/config.json), got 3")));
  fs::remove_all(out + "/runs/split0/student");
  // Figures of runs that are gone would be those of another plan.
  write_bytes(out + "/results.json", "{}");
  CHECK(contains(refused(folder, other),
                 str("of which jobs have run (", out, "/results.json), got 3")));
  fs::remove(out + "/results.json");
  // Who asks for a table plans nothing.
  CHECK(contains(refused(table), str("train.epochs: expected 2 as in the study in ", out,
                                     ", which plan and run alone begin anew, got 3")));
  CHECK(open_study(out).matrix.train["epochs"] == 2);
  // What a run that was killed as it was made has left, and what is nobody's here.
  for (const char* left : {"split0/student", "folds/a"}) {
    fs::create_directories(out + "/runs/" + left);
    write_bytes(str(out, "/runs/", left, "/split.json"), "{}");
  }
  CHECK(contains(plan(other), "train.epochs: 2, now 3"));
  CHECK_FALSE(fs::exists(out + "/runs/split0/student"));
  CHECK(fs::exists(out + "/runs/folds/a/split.json"));
}

TEST_CASE("matrix: a file of splits that changed is noticed as long as no job has run") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  const std::string first = folder / "first";
  begin_study(write_matrix(folder, matrix), first);
  const std::string file = folder / "folds.json";
  Json folds = Json::parse(bytes_of(first + "/splits/split0.json"));
  write_bytes(file, folds.dump());
  matrix["splits"] = file;
  const std::string out = folder / "study";
  const std::string study = write_matrix(folder, matrix);
  begin_study(study, out);
  CHECK(begin_study(study, out).changes.empty());
  Json& fold = folds["folds"][0];
  std::swap(fold["val"], fold["test"]);
  write_bytes(file, folds.dump());
  CHECK(begin_study(study, out).changes == str("splits: \"", file, "\" (other images)"));
  CHECK(Json::parse(bytes_of(out + "/splits/split0.json"))["folds"][0]["val"] == fold["val"]);
  CHECK(begin_study(study, out).changes.empty());

  // Once a job has run the file may lie elsewhere, with the same folds.
  write_bytes(out + "/results.json", "{}");
  matrix["splits"] = folder / "moved.json";
  write_matrix(folder, matrix);
  fs::rename(file, folder / "moved.json");
  CHECK(begin_study(study, out).changes.empty());
  CHECK(open_study_of(study, out).matrix.splits == file);
  std::swap(fold["val"], fold["test"]);
  write_bytes(folder / "moved.json", folds.dump());
  const auto is_refused = doctest::Contains("splits: expected \"");
  CHECK_THROWS_WITH_AS(begin_study(study, out), is_refused, Error);
  CHECK_THROWS_WITH_AS(open_study_of(study, out), is_refused, Error);
  fs::remove(folder / "moved.json");
  CHECK_THROWS_WITH_AS(open_study_of(study, out), is_refused, Error);
}

TEST_CASE("matrix: a run of other images is no run of its job") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  const std::string one = folder / "one";
  const std::string file = write_matrix(folder, matrix);
  const Words job = {"--job", "split0/student"};
  REQUIRE(decant::apps::decant(run_words(file, one) + job).code == 0);
  const std::string two = folder / "two";
  matrix["split_seed"] = 1;
  write_matrix(folder, matrix);
  begin_study(file, two);
  fs::create_directories(two + "/runs/split0");
  fs::copy(one + "/runs/split0/student", two + "/runs/split0/student");
  const std::string message = refused(Words{"matrix", "run", two, "--threads", "1"} + job);
  CHECK(contains(message, "/runs/split0/student/split.json: folds[0]."));
  CHECK(contains(message, " as in the study's job split0/student, got "));
  CHECK_FALSE(fs::exists(two + "/runs/split0/student.json"));
}

TEST_CASE("matrix: a study that began with cells that are equal goes on") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  const std::string out = folder / "study";
  begin_study(write_matrix(folder, matrix), out);
  matrix["axes"] = {{"optim.lr", {0.001, "1e-3"}}};
  CHECK_THROWS_WITH_AS(begin_study(write_matrix(folder, matrix), folder / "new"),
                       doctest::Contains("which train the same; leave one of them out"), Error);
  Json kept = Json::parse(bytes_of(out + "/matrix.json"));
  kept["axes"] = matrix["axes"];
  write_bytes(out + "/matrix.json", kept.dump());
  fs::remove(out + "/cells.json");  // as a program of before it was refused
  write_bytes(out + "/results.json", "{}");
  CHECK(begin_study(write_matrix(folder, matrix), out).cells.size() == 5);
}

TEST_CASE("differences are named with both values, whatever the order of keys") {
  const auto text = [](const Json& mine, const Json& other) {
    std::string words;
    for (const Difference& each : differences(mine, other))
      words += str(each.key, " ", each.mine, " ", each.other, ";");
    return words;
  };
  CHECK(text({{"a", 1}, {"b", {{"c", 2}, {"d", 3}}}}, {{"b", {{"d", 3}, {"c", 2}}}, {"a", 1.0}}) ==
        "");
  CHECK(text({{"a", 1}, {"b", {{"c", 2}}}}, {{"b", {{"c", "x"}, {"d", {1, 2}}}}}) ==
        "a 1 none;b.c 2 \"x\";b.d none [1,2];");
  CHECK(text({{"a", {{"b", 1}}}}, {{"a", 2}}) == "a {\"b\":1} 2;");
  const Json one = {{"name", "x"}, {"preset", "L_KLD"}};
  const Json same = {{"preset", "L_KLD"}, {"name", "x"}};
  CHECK(text({{"a", {1, one}}}, {{"a", {1, same}}}) == "");
  CHECK(text({{"a", {1, one}}}, {{"a", {1, {{"name", "y"}, {"preset", "L_KLD"}}, 3}}}) ==
        "a[1].name \"x\" \"y\";a[2] none 3;");
  // A long text from shortly before it differs, and never half a character.
  const std::string words(80, 'w');
  CHECK(text({{"a", words + "0123456789abcdefé"}}, {{"a", words + "0123456789abcdefè"}}) ==
        "a \"...123456789abcdefé\" \"...123456789abcdefè\";");
}

TEST_CASE("matrix: in a copy of a study a run is verified with the copy's teacher") {
  const TemporaryFolder folder;
  const std::string out = folder / "study";
  const std::string copy = folder / "copy";
  REQUIRE(decant::apps::decant(run_words(write_matrix(folder, three_jobs()), out)).code == 0);
  fs::copy(out, copy, fs::copy_options::recursive);
  const auto verify = [](const std::string& study) {
    return decant::apps::decant(
        {"verify", study + "/runs/split0/L_KLD", "--tolerance", "0", "--threads", "1"});
  };
  const std::string own = copy + "/runs/split0/teacher_strong";
  const std::string notice = "notice: the study lies elsewhere than when it ran; its own teacher ";
  CHECK_FALSE(contains(verify(out).out, "notice"));
  const Result moved = verify(copy);
  CHECK(moved.code == 0);
  CHECK(contains(moved.out, notice + "is meant, " + own + "\n"));
  CHECK(contains(moved.out, "ok    teacher's checkpoint: as recorded"));

  fs::rename(out, folder / "away");  // a report of the run finds its teacher as well
  REQUIRE(decant::apps::decant({"report", copy + "/runs/split0/L_KLD", "--out",
                                folder / "page.html", "--threads", "1"})
              .code == 0);
  CHECK(contains(bytes_of(folder / "page.html"), "<th scope=\"row\">teacher_strong</th>"));
  fs::rename(folder / "away", out);

  const std::string bytes = bytes_of(own + "/best.safetensors");
  write_bytes(own + "/best.safetensors", bytes + "x");
  const Result changed = verify(copy);
  CHECK(changed.code == 1);
  CHECK(contains(changed.out, "DIFFERS  teacher's checkpoint: other bytes than recorded"));
  CHECK(verify(out).code == 0);
  fs::remove_all(own);
  const Result there = verify(copy);  // where it was when it taught
  CHECK(there.code == 0);
  CHECK_FALSE(contains(there.out, "notice"));
  CHECK(contains(there.out, "ok    teacher's checkpoint: as recorded"));
  fs::remove_all(out + "/runs/split0/teacher_strong");
  const Result without = verify(copy);
  CHECK(without.code == 0);
  CHECK(contains(without.out, str("notice: the teacher ", own, " is not there and was not")));
  CHECK_FALSE(contains(without.out, "teacher's checkpoint"));
}

TEST_CASE("matrix: weights to begin with are looked at before a job starts, and noted") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  const std::string weights = folder / "weights.safetensors";
  Json matrix = three_jobs();
  matrix["student"]["init"] = "network=" + weights;
  CHECK(contains(refused(folder, matrix),
                 str("study.json: student: init: ", weights,
                     ": expected a run folder or a checkpoint, got nothing")));
  CHECK_FALSE(fs::exists(out));

  // The student's own network, trained before; the first job is that of the teacher.
  Words words = tiny_run() + Words{"--model", "thin_unet:width=4,depth=4", "--epochs", "1"};
  REQUIRE(decant::apps::decant(words + Words{"--out", folder / "before"}).code == 0);
  fs::copy(folder / "before/best.safetensors", weights);
  const Words plan = {"matrix", "plan", write_matrix(folder, matrix), "--steps", "0", "--out", out};
  REQUIRE(decant::apps::decant(plan).code == 0);
  const Words run = {"matrix", "run", out, "--threads", "1"};
  fs::rename(weights, folder / "away");
  CHECK(contains(refused({"matrix", "plan", out, "--steps", "0"}), "split0/student: init: "));
  CHECK(contains(refused(run), str("split0/student: init: ", weights, ": expected a run folder")));
  const std::string bytes = bytes_of(folder / "away");
  std::string others = bytes;
  others.back() = static_cast<char>(others.back() ^ 1);  // in its last number
  write_bytes(weights, others);
  const std::string changed = str("split0/student: init: expected network=", weights,
                                  " as it was when ", out, " began, got other bytes");
  CHECK(contains(refused(run), changed));
  CHECK(contains(refused(run + Words{"--job", "split0/student"}), changed));
  CHECK_FALSE(fs::exists(out + "/runs/split0/teacher_strong"));
  const Result anew = decant::apps::decant(plan);  // no job has run
  CHECK(anew.err == str("notice: planned anew, as no job had run: init: network=", weights,
                        " (other bytes)\n"));
  write_bytes(weights, bytes);
  REQUIRE(decant::apps::decant(plan).code == 0);
  REQUIRE(decant::apps::decant(run).code == 0);
  const auto noted = [&](const std::string& job) {
    return Json::parse(bytes_of(out + "/runs/split0/" + job + ".provenance.json"))["init_digest"];
  };
  CHECK(noted("student") == fnv1a64(bytes));
  CHECK(noted("teacher_strong") == 0);
  fs::remove(weights);  // networks that have trained have their weights
  CHECK(decant::apps::decant(run).code == 0);
}

TEST_CASE("matrix: a study's networks begin with the weights in a folder of SMP") {
  const TemporaryFolder folder;
  Json matrix = three_jobs();
  matrix["student"]["model"] = "unet/resnet18";
  matrix["train"]["epochs"] = 1;
  matrix["presets"] = Json::array();
  const Words words = {"train",  "--data", phantoms(),       "--model", "unet/resnet18",
                       "--size", "32",     "--epochs",       "1",       "--batch",
                       "4",      "--out",  folder / "before"};
  REQUIRE(decant::apps::decant(words).code == 0);
  REQUIRE(decant::apps::decant({"convert", folder / "before", folder / "smp"}).code == 0);
  matrix["student"]["init"] = "encoder=smp";
  const std::string out = folder / "study";
  const Result run = decant::apps::decant(run_words(write_matrix(folder, matrix), out));
  CAPTURE(run.err);
  REQUIRE(run.code == 0);
  CHECK(Json::parse(bytes_of(out + "/runs/split0/student.provenance.json"))["init_digest"] ==
        fnv1a64(bytes_of(folder / "smp/model.safetensors")));
}
