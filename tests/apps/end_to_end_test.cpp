// The program's main job on tiny phantoms, and the promise that a run's files are the same bytes
// for any number of threads and however often it was killed.

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "apps/options.h"
#include "engine/io/safetensors.h"
#include "nn/checkpoint.h"
#include "nn/files/tensor_file.h"
#include "nn/parameter_set.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

Result must(const Words& words) {
  Result result = decant::apps::decant(words);
  std::string line;
  for (const std::string& word : words) line += word + " ";
  CAPTURE(line);
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  return result;
}

void check_same(const std::map<std::string, std::string>& a,
                const std::map<std::string, std::string>& b) {
  CHECK(a.size() == b.size());
  for (const auto& [name, bytes] : a) {
    CAPTURE(name);
    REQUIRE(b.contains(name));
    CHECK((bytes == b.at(name)));
  }
}

// val_dice of an epoch in metrics.csv.
double dice_of_epoch(const std::string& run, int64_t epoch) {
  std::istringstream csv(bytes_of(run + "/metrics.csv"));
  std::string header;
  std::string row;
  std::getline(csv, header);
  for (int64_t i = 0; i < epoch; ++i) std::getline(csv, row);
  const auto field = [](const std::string& line, size_t n) {
    std::istringstream words(line);
    std::string word;
    for (size_t i = 0; i <= n; ++i) std::getline(words, word, ',');
    return word;
  };
  size_t column = 0;
  while (field(header, column) != "val_dice") ++column;
  return std::stod(field(row, column));
}

int64_t rows_of(const std::string& csv) {
  return std::count(csv.begin(), csv.end(), '\n');
}

}  // namespace

TEST_CASE("train, distil by each pathway, evaluate, predict") {
  const TemporaryFolder folder;
  for (const char* preset : {"L_KLD", "H_MSE", "HReg_KLD", "L_MSE_WAug"}) {
    const std::string run = folder / preset;
    const Result result =
        must(tiny_run("distill") + Words{"--teacher", trained(), "--preset", preset, "--out", run});
    CHECK(result.out.find("teacher: thin_unet") != std::string::npos);
    const bool wants_weak = std::string(preset).ends_with("_WAug");
    CHECK((result.out.find("expects a teacher trained with the augmentation weak") !=
           std::string::npos) == wants_weak);
    const std::string csv = bytes_of(run + "/metrics.csv");
    CHECK(rows_of(csv) == 3);
    CHECK(csv.find(",gradient_norm_supervised_at_logits,") != std::string::npos);
    const bool at_logits = preset[0] == 'L';
    CHECK((csv.find(at_logits ? "_at_hidden," : ".mse_at_logits,") == std::string::npos));
    CHECK((csv.find(at_logits ? "gradient_norm_logits." : "_at_hidden,") != std::string::npos));
    CHECK(csv.find("nan") == std::string::npos);
    CHECK(!contents(run + "/previews").empty());
  }
  const std::string run = folder / "L_KLD";
  const Result shown = must({"evaluate", run, "--json", folder / "metrics.json"});
  CHECK(shown.out.find("val chose the checkpoint") != std::string::npos);
  const Json metrics = Json::parse(bytes_of(folder / "metrics.json"));
  CHECK(metrics["split"] == "val");
  // The same data in another place is known again by its pixels, other data is not.
  fs::copy(phantoms(), folder.path() / "moved", fs::copy_options::recursive);
  const Result moved = must({"evaluate", run, "--data", folder / "moved", "--split", "train"});
  CHECK(moved.out.find("trained on") != std::string::npos);
  must({"phantom", folder / "others", "--count", "20", "--size", "48", "--seed", "4"});
  const Result others = must({"evaluate", run, "--data", folder / "others"});
  CHECK(others.out.find("20 images (all): not the data of its run") != std::string::npos);

  must({"predict", run, "--input", phantoms() + "/benign/benign (1).png",
        folder / "others/benign/benign (1).png", "--out", folder / "masks"});
  const auto masks = contents(folder / "masks");
  CHECK(masks.size() == 6);  // of two images with one name
  CHECK(masks.contains("benign (1)_overlay.png"));
  CHECK(masks.contains("benign (1)_2_mask.png"));
}

TEST_CASE(
    "networks of two strides see one padded image, and are told where their cells lie apart") {
  const TemporaryFolder folder;
  // Alone the teacher would pad 40 pixels to 48, 3 x 3 cells, and the student to 64, 2 x 2.
  const auto distil = [&](const std::string& model, const std::string& out, const Words& more) {
    return must(Words{"distill", "--data", phantoms(), "--teacher", trained(), "--model", model,
                      "--preset", "H_MSE", "--size", "40", "--epochs", "1", "--batch", "4", "--out",
                      folder / out} +
                more)
        .out;
  };
  distil("thin_unet:width=8,depth=5", "deeper", {});
  const std::string apart = "cells from the teacher's of the same index";
  const std::string model = "linknet/mobilenet_v3_small_075";
  CHECK(distil(model, "cells", {}).find(apart) != std::string::npos);
  const std::string by_pixels = distil(model, "pixels", {"distill.spec.hidden_match=pixels"});
  CHECK(by_pixels.find(apart) == std::string::npos);
  CHECK(by_pixels.find("hidden maps matched by pixels") != std::string::npos);
}

TEST_CASE("predict takes a data set's images, not its masks, and never its own answers") {
  const TemporaryFolder folder;
  fs::copy(phantoms(), folder.path() / "data", fs::copy_options::recursive);
  const auto predict = [&](const std::string& input, const std::string& out) {
    return must({"predict", trained(), "--input", input, "--out", out});
  };
  predict(folder / "data", folder / "masks");
  const auto masks = contents(folder / "masks");
  CHECK(masks.size() == 60);
  for (const auto& [name, bytes] : masks) CHECK(name.find("_mask_") == std::string::npos);

  // A plain folder, its answers in a folder of its own inside: asked again, it answers the same.
  fs::create_directory(folder.path() / "scans");
  for (const char* name : {"benign (1).png", "benign (2).png"})
    fs::copy(phantoms() + "/benign/" + name, folder.path() / "scans");
  predict(folder / "scans", folder / "scans/out");
  const auto once = contents(folder / "scans");
  CHECK(once.size() == 8);
  CHECK(predict(folder / "scans", folder / "scans/out").out.find("2 images") != std::string::npos);
  must({"predict", trained(), "--input", folder / "scans", "--out", folder / "arrays", "--npy"});
  CHECK(nn::read_tensors(folder.path() / "arrays/benign (1)_probability.npy")
            .at("array")
            .shape()
            .rank() == 2);
  check_same(once, contents(folder / "scans"));

  // Arrays go with their pictures; one of somebody else's stays.
  const fs::path array = folder.path() / "arrays/benign (1)_probability.npy";
  must({"predict", trained(), "--input", folder / "scans", "--out", folder / "arrays"});
  CHECK_FALSE(fs::exists(array));
  for (const char* picture : {"mask", "probability", "overlay"})
    fs::remove(folder.path() / str("arrays/benign (1)_", picture, ".png"));
  write_bytes(array, "somebody's");
  const Result refused = apps::decant(
      {"predict", trained(), "--input", folder / "scans", "--out", folder / "arrays", "--npy"});
  CHECK(refused.code == 2);
  CHECK(refused.err.find("benign (1)_probability.npy is there") != std::string::npos);
  CHECK(bytes_of(array) == "somebody's");
}

TEST_CASE("predict writes over no mask but its own") {
  const TemporaryFolder folder;
  const fs::path truth = folder.path() / "pairs/masks/scan_mask.png";
  fs::create_directories(folder.path() / "pairs/images");
  fs::create_directories(truth.parent_path());
  fs::copy(phantoms() + "/benign/benign (1).png", folder.path() / "pairs/images/scan.png");
  fs::copy(phantoms() + "/benign/benign (1)_mask.png", truth);
  const std::string before = bytes_of(truth);
  const Result into_masks = apps::decant(
      {"predict", trained(), "--input", folder / "pairs", "--out", folder / "pairs/masks"});
  CHECK(into_masks.code == 2);
  CHECK(into_masks.err.find("scan_mask.png") != std::string::npos);

  // The same beside an image that is named from inside its folder.
  fs::copy(folder.path() / "pairs/images/scan.png", truth.parent_path());
  const std::string here = "cd '" + truth.parent_path().string() + "' && " + program() +
                           " predict " + trained() + " --input scan.png --out . > /dev/null 2>&1";
  CHECK(WEXITSTATUS(std::system(here.c_str())) == 2);
  CHECK(bytes_of(truth) == before);
}

TEST_CASE("predict goes on past an image that cannot be read, and says so in the end") {
  const TemporaryFolder folder;
  fs::create_directory(folder.path() / "scans");
  for (const char* name : {"benign (1).png", "benign (2).png"})
    fs::copy(phantoms() + "/benign/" + name, folder.path() / "scans");
  write_bytes(folder / "scans/benign (15).png", "certainly not");  // between the two
  const Result outcome =
      apps::decant({"predict", trained(), "--input", folder / "scans", "--out", folder / "masks"});
  CHECK(outcome.code == 2);
  CHECK(outcome.err.find("benign (15).png") != std::string::npos);
  CHECK(contents(folder / "masks").size() == 6);
}

TEST_CASE("the Dice that evaluate prints is the one the checkpoint was chosen at") {
  const TemporaryFolder folder;
  must({"evaluate", trained(), "--json", folder / "metrics.json"});
  const Json json = Json::parse(bytes_of(folder / "metrics.json"));
  const double dice = json["metrics"]["all"]["dice"]["mean"].get<double>();
  const int64_t epoch = json["epoch"].get<int64_t>();
  CHECK(dice == doctest::Approx(dice_of_epoch(trained(), epoch)).epsilon(1e-7));
}

// A Normalize that leaves next to nothing of a picture: a network that is asked through it answers
// every image alike. Through any other Normalize it would not.
TEST_CASE("evaluation and prediction see images as the run's own Normalize leaves them") {
  const TemporaryFolder folder;
  write_bytes(folder / "own.json",
              R"([{"name": "Resize", "height": 32, "width": 32}, {"name": "HorizontalFlip"},
                  {"name": "Normalize", "mean": [0, 0, 0], "std": [1e9, 1e9, 1e9]}])");
  const std::string run = folder / "run";
  must(tiny_run() + Words{"--out", run, "--augment", folder / "own.json"});
  const auto answers = [&](const std::string& of) {
    must({"predict", of, "--input", phantoms() + "/benign/benign (1).png",
          phantoms() + "/benign/benign (2).png", "--out", folder / "masks"});
    const auto files = contents(folder / "masks");
    return std::pair(files.at("benign (1)_probability.png"),
                     files.at("benign (2)_probability.png"));
  };
  const auto [one, other] = answers(run);
  CHECK((one == other));
  const auto [seen, another] = answers(trained());
  CHECK((seen != another));
  // The pass after each epoch and `evaluate` go the same way.
  must({"evaluate", run, "--json", folder / "metrics.json"});
  const Json json = Json::parse(bytes_of(folder / "metrics.json"));
  const double dice = json["metrics"]["all"]["dice"]["mean"].get<double>();
  const int64_t epoch = json["epoch"].get<int64_t>();
  CHECK(dice == doctest::Approx(dice_of_epoch(run, epoch)).epsilon(1e-7));
}

TEST_CASE("a run goes on with the data and the teacher that it began with, wherever they lie") {
  const TemporaryFolder folder;
  const auto copy = [&](const std::string& from, const char* name) {
    fs::copy(from, folder.path() / name, fs::copy_options::recursive);
    return folder / name;
  };
  const std::string data = copy(phantoms(), "data");
  const std::string teacher = copy(trained(), "teacher");
  Words words = tiny_run("distill") + Words{"--teacher", teacher, "--preset", "L_KLD", "epochs=40"};
  words[2] = data;
  must(words + Words{"--out", folder / "whole"});
  const std::string out = folder / "out";
  begin_and_kill(words, out);

  const auto refuses = [&](const Words& more, const char* message) {
    const auto before = contents(out);
    const Result result = decant::apps::decant(Words{"distill", "--resume", out} + more);
    CAPTURE(result.err);
    CHECK(result.code == 2);
    CHECK(result.err.find(message) != std::string::npos);
    CHECK(bytes_of(out + "/state.safetensors") == before.at("state.safetensors"));
  };
  // Other images under the same names.
  const auto split = Json::parse(bytes_of(out + "/split.json"));
  const std::string id = split["folds"][0]["train"][0].get<std::string>();
  const std::string kind = id.substr(0, id.find(' '));
  const std::string file = "/" + kind + "/" + id + ".png";
  REQUIRE(fs::exists(data + file));
  const std::string image = bytes_of(data + file);
  must({"phantom", folder / "others", "--count", "20", "--size", "48", "--seed", "4"});
  fs::copy_file(folder / "others/benign/benign (1).png", data + file,
                fs::copy_options::overwrite_existing);
  refuses({}, "data: expected the files");
  write_bytes(data + file, image);
  const std::string best = bytes_of(teacher + "/best.safetensors");
  std::string changed = best;
  changed.back() = static_cast<char>(changed.back() ^ 1);
  write_bytes(teacher + "/best.safetensors", changed);
  refuses({}, "teacher: expected the files");
  write_bytes(teacher + "/best.safetensors", best);

  fs::rename(data, folder / "moved");
  fs::rename(teacher, folder / "moved teacher");
  refuses({}, "data");
  refuses({"epochs=41"}, "epochs");
  must({"distill", "--resume", out, "--data", folder / "moved", "--teacher",
        folder / "moved teacher"});
  check_same(contents(folder / "whole"), contents(out));
}

TEST_CASE("pretrained weights are not read again where a run goes on") {
  const TemporaryFolder folder;
  fs::copy_file(trained() + "/best.safetensors", folder / "encoder.safetensors");
  const std::string out = folder / "out";
  const Words run =
      tiny_run() + Words{"epochs=40", "--init", "encoder=" + (folder / "encoder.safetensors")};
  begin_and_kill(run, out);
  fs::remove(folder / "encoder.safetensors");
  must({"train", "--resume", out});
}

TEST_CASE("compare says of each row what the images were to it, its size and its loss") {
  const TemporaryFolder folder;
  must(tiny_run() + Words{"--out", folder / "small", "data.size=16", "--loss", "ce"});
  fs::copy_file(trained() + "/best.safetensors", folder / "alone.safetensors");
  const Result result = must({"compare", trained(), folder / "small", folder / "alone.safetensors",
                              "--split", "all", "--json", folder / "table.json"});
  CHECK(result.out.find("but alone.safetensors: not the data of its run") != std::string::npos);
  const Json rows = Json::parse(bytes_of(folder / "table.json"))["runs"];
  CHECK(rows[0]["size"] == 32);
  CHECK(rows[1]["size"] == 16);
  CHECK(rows[0]["loss"] == "ce_dice");
  CHECK(rows[1]["loss"] == "ce");
  CHECK(rows[2]["loss"] == "-");
  CHECK(rows[0]["label"] != rows[2]["label"]);
  // Columns are as wide as what stands in them, whatever its length.
  CHECK(result.out.find("thin_unet:width=8,depth=4  ce_dice") != std::string::npos);
  CHECK(result.out.find("\nalone.safetensors  thin_unet") != std::string::npos);
  const int64_t normals =
      20 - Json::parse(bytes_of(folder / "table.json"))["lesions"].get<int64_t>();
  REQUIRE(normals > 0);
  for (const Json& row : rows)
    CHECK(row["both_empty"].get<int64_t>() + row["truth_empty_only"].get<int64_t>() == normals);
  CHECK(result.out.find(str(" ", rows[0]["both_empty"].get<int64_t>(), "/",
                            rows[0]["truth_empty_only"].get<int64_t>(), "/",
                            rows[0]["prediction_empty_only"].get<int64_t>(), "\n")) !=
        std::string::npos);
  CHECK(result.out.find("truth and prediction / truth only / prediction only") !=
        std::string::npos);
}

TEST_CASE("key=value is a setting also behind a list of words, a value of its flag before") {
  const TemporaryFolder folder;
  must({"compare", trained(), trained(), "threads=1", "json=" + (folder / "table.json")});
  CHECK(Json::parse(bytes_of(folder / "table.json"))["runs"].size() == 2);
  must({"predict", trained(), "--input", phantoms() + "/benign/benign (1).png", "threads=1",
        "out=" + (folder / "masks")});
  CHECK(contents(folder / "masks").size() == 3);
  // What follows a flag of one value is that value.
  const Result named = decant::apps::decant({"train", "--out", "seed=3", "--print-config"});
  CHECK(Json::parse(named.out)["out"] == "seed=3");
  CHECK(Json::parse(named.out)["seed"] == 0);
}

TEST_CASE("maps are warped by affine maps alone: bent images are for a teacher of the same view") {
  const TemporaryFolder folder;
  write_bytes(folder / "bent.json",
              R"([{"name": "Resize", "height": 32, "width": 32},
                  {"name": "OneOf", "transforms": [{"name": "GridDistortion"}]},
                  {"name": "Normalize"}])");
  const Words run = tiny_run("distill") + Words{"--teacher",  trained(),     "--preset",
                                                "L_MSE_WAug", "--augment",   folder / "bent.json",
                                                "--out",      folder / "out"};
  const Result result = decant::apps::decant(run);
  CHECK(result.code == 2);
  CHECK(result.err.find("teacher_view weak_warped), got OneOf") != std::string::npos);
  must(run + Words{"distill.spec.teacher_view=same"});
}

TEST_CASE("a teacher that does not score what its checkpoint says is refused") {
  const TemporaryFolder folder;
  std::string bytes = bytes_of(trained() + "/best.safetensors");
  const size_t at = bytes.find("val_dice");
  REQUIRE(at != std::string::npos);
  const size_t digit = bytes.find_first_of("0123456789", at + 8);
  REQUIRE(bytes.substr(digit, 2) == "0.");
  bytes[digit + 2] = bytes[digit + 2] == '9' ? '1' : '9';  // another first decimal
  write_bytes(folder / "teacher.safetensors", bytes);
  const Result result = decant::apps::decant(tiny_run("distill") +
                                             Words{"--teacher", folder / "teacher.safetensors",
                                                   "--preset", "L_KLD", "--out", folder / "out"});
  CAPTURE(result.err);
  CHECK(result.code == 2);
  CHECK(result.err.find("that its checkpoint records") != std::string::npos);
  CHECK(!fs::exists(folder / "out"));
}

TEST_CASE("1, 2 and 7 threads write the same bytes") {
  const TemporaryFolder folder;
  for (const char* threads : {"1", "2", "7"})
    must(tiny_run("distill") + Words{"--teacher", trained(), "--preset", "HReg_KLD_WAug", "--out",
                                     folder / threads, "threads=" + std::string(threads)});
  const auto one = contents(folder / "1");
  check_same(one, contents(folder / "2"));
  check_same(one, contents(folder / "7"));
}

// A resnet's 3x3 convolutions go through Winograd's transforms unless exact is set; a run's files
// say which it was.
TEST_CASE("exact=true sums convolutions directly, and the run goes on so") {
  const TemporaryFolder folder;
  const auto train = [&](const char* out, const char* exact) {
    return must(tiny_run("train") + Words{"--model", "unet/resnet18", "--epochs", "1", "--out",
                                          folder / out, std::string("exact=") + exact});
  };
  CHECK(train("usual", "false").out.find("exact kernels") == std::string::npos);
  CHECK(train("exact", "true").out.find(", exact kernels") != std::string::npos);
  const auto usual = contents(folder / "usual");
  const auto exact = contents(folder / "exact");
  CHECK(usual.at("best.safetensors") != exact.at("best.safetensors"));
  CHECK(exact.at("config.json").find("\"exact\": true") != std::string::npos);
  // The log names what ran the convolutions.
  CHECK(usual.at("log.txt").find(" winograd") != std::string::npos);
  CHECK(exact.at("log.txt").find("convolutions forward: ") != std::string::npos);
  CHECK(exact.at("log.txt").find("winograd") == std::string::npos);
}

// DECANT_KILLS sets how often (10).
TEST_CASE("a run that was killed at random moments and resumed writes the same bytes") {
  const TemporaryFolder folder;
  const Words run = tiny_run("distill") + Words{"--teacher", trained(), "--preset", "HReg_MSE_WAug",
                                                "epochs=40", "--clip",  "1"};
  const auto start = std::chrono::steady_clock::now();
  must(run + Words{"--out", folder / "whole"});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const char* wanted = std::getenv("DECANT_KILLS");
  const int kills = wanted == nullptr ? 10 : std::atoi(wanted);

  const std::string out = folder / "killed";
  const uint32_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  // About a 20th of the run: so many fit into it, and most come after its beginning.
  std::uniform_real_distribution<double> moment(0.02, 0.12);
  int done = 0;
  int of_committed = 0;  // that found something to take back
  for (int tries = 0; done < kills || of_committed == 0; ++tries) {
    REQUIRE(tries < 10 * kills);
    const bool begun = fs::exists(fs::path(out) / "config.json");
    const bool committed = fs::exists(fs::path(out) / "state.safetensors");
    const pid_t process =
        start_decant(begun ? Words{"train", "--resume", out} : run + Words{"--out", out});
    // Longer from try to try, so that a commit is reached also where beginning takes its time.
    const double longer = std::min(4.0, 1 + 0.1 * tries);
    std::this_thread::sleep_for(std::chrono::duration<double>(moment(random) * longer * seconds));
    kill(process, SIGKILL);
    const int code = wait_for(process);
    if (code == 128 + SIGKILL) {
      ++done;
      of_committed += committed ? 1 : 0;
    } else {  // it was over before; another run begins
      REQUIRE(code == 0);
      check_same(contents(folder / "whole"), contents(out));
      fs::remove_all(out);
    }
  }
  MESSAGE("killed ", done, " times, ", of_committed, " of them after a commit");
  if (!fs::exists(fs::path(out) / "config.json")) must(run + Words{"--out", out});
  must({"train", "--resume", out});
  check_same(contents(folder / "whole"), contents(out));
  const Result again = must({"train", "--resume", out});
  CHECK(again.out.find("nothing to do") != std::string::npos);
}

// Of 40 epochs two steps each, so that the kill finds the run at work.
TEST_CASE("the mean of the weights is what is kept; training knows nothing of it, resume goes on") {
  const TemporaryFolder folder;
  const Words run = tiny_run() + Words{"epochs=40", "previews=0"};
  const Words averaged = run + Words{"optim.ema=0.9"};
  must(run + Words{"--out", folder / "plain"});
  must(averaged + Words{"--out", folder / "whole"});
  const auto state = [&](const char* out) {
    return read_safetensors(folder.path() / out / "state.safetensors");
  };
  const TensorFile plain = state("plain");
  const TensorFile mean = state("whole");
  CHECK(std::ranges::equal(plain.at("values").values<float>(), mean.at("values").values<float>()));
  CHECK(!std::ranges::equal(mean.at("values").values<float>(),
                            mean.at("average.weights").values<float>()));
  const auto last = nn::network_from_checkpoint(folder.path() / "whole/last.safetensors").network;
  CHECK(std::ranges::equal(nn::ParameterSet(*last).values().values<float>(),
                           mean.at("average.weights").values<float>()));
  // What was validated is what was saved.
  must({"evaluate", folder / "whole", "--json", folder / "metrics.json"});
  const Json json = Json::parse(bytes_of(folder / "metrics.json"));
  CHECK(
      json["metrics"]["all"]["dice"]["mean"].get<double>() ==
      doctest::Approx(dice_of_epoch(folder / "whole", json["epoch"].get<int64_t>())).epsilon(1e-7));

  begin_and_kill(averaged, folder / "killed");
  must({"train", "--resume", folder / "killed"});
  check_same(contents(folder / "whole"), contents(folder / "killed"));
}

TEST_CASE(
    "Ctrl-C ends with 130 and saves, in the middle of epochs too; the rest gives the same bytes") {
  const TemporaryFolder folder;
  const Words run = tiny_run("distill") +
                    Words{"--teacher", trained(), "--preset", "HReg_MSE", "epochs=4", "batch=1"};
  must(run + Words{"--out", folder / "whole"});
  const std::string out = folder / "stopped";
  std::mt19937 random(7);
  std::uniform_int_distribution<int> milliseconds(1, 40);
  int within = 0;  // an epoch
  int begun_anew = 0;
  for (int tries = 0; within < 4; ++tries) {
    REQUIRE(tries < 40);
    const bool begun = fs::exists(fs::path(out) / "state.safetensors");
    const std::string said_file = folder / str("said_", tries);
    const pid_t process = start_decant(
        begun ? Words{"train", "--resume", out} : run + Words{"--out", out}, said_file);
    while (bytes_of(said_file).find("kernels") == std::string::npos)  // from now on it trains
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds(random)));
    kill(process, SIGINT);
    const int code = wait_for(process);
    const std::string said = bytes_of(said_file);
    CAPTURE(said);
    if (code == 0) {  // it was over before; another run begins
      check_same(contents(folder / "whole"), contents(out));
      fs::remove_all(out);
      ++begun_anew;
      continue;
    }
    REQUIRE(code == 130);
    CHECK(said.find(str("decant train --resume ", fs::path(out))) != std::string::npos);
    REQUIRE(said.find("stopped in epoch ") != std::string::npos);
    within += said.find(" after 0 of its ") == std::string::npos ? 1 : 0;
    if (!fs::exists(fs::path(out) / "state.safetensors")) fs::remove_all(out);  // nothing was done
  }
  MESSAGE(within, " stops within an epoch, ", begun_anew, " runs were over before");
  const Result resumed = must({"train", "--resume", out});
  CHECK(resumed.out.find(" steps of the next") != std::string::npos);
  check_same(contents(folder / "whole"), contents(out));
}

TEST_CASE("batches of one image train where batch norm has more than one value of each channel") {
  const TemporaryFolder folder;
  const Words small = {"--split", "random:1:13", "epochs=1", "data.size=16"};
  must(tiny_run() + small + Words{"--out", folder / "left_out", "drop_last=true"});
  must(tiny_run() + Words{"--out", folder / "larger", "--split", "random:1:13", "epochs=1"});
  must(tiny_run() +
       Words{"--out", folder / "single", "--split", "random:1:4", "epochs=1", "batch=1"});
  // A step pads to the teacher's stride, twice the student's.
  must(tiny_run("distill") + small +
       Words{"--out", folder / "padded", "--teacher", trained(), "--preset", "L_KLD"} +
       Words{"model=thin_unet:width=8,depth=3", "data.size=8"});
}

TEST_CASE("early stopping ends a run that gets no better") {
  const TemporaryFolder folder;
  const Result result = must(tiny_run() + Words{"--out", folder / "out", "epochs=9", "--patience",
                                                "2", "--optimizer", "sgd", "--lr", "1e-30"});
  CHECK(result.out.find("stopped early") != std::string::npos);
}
