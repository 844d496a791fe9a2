// Whatever a user gets wrong ends in one clear line and exit code 2, and leaves nothing behind.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <thread>

#include "apps/command.h"
#include "apps/options.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

// A copy of the phantoms that a test may damage.
std::string copy_of_phantoms(const TemporaryFolder& folder) {
  fs::copy(phantoms(), folder.path() / "data", fs::copy_options::recursive);
  return folder / "data";
}

// The tiny run's words with another data set.
Words run_on(const std::string& data, const std::string& out) {
  Words words = tiny_run() + Words{"--out", out};
  words[2] = data;
  return words;
}

// The same PNG with other sides in its header, whose checksum is right again.
std::string with_sides(std::string png, uint32_t width, uint32_t height) {
  const auto put = [&png](size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; ++i) png[at + i] = static_cast<char>(value >> (24 - 8 * i));
  };
  put(16, width);
  put(20, height);
  uint32_t crc = ~0U;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<uint8_t>(png[i]);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
  }
  put(29, ~crc);
  return png;
}

// Phantoms of 48 x 48, of which the second benign one is of 40 x 40. The split takes all but the
// normal ones for training.
std::string with_a_smaller_image(const TemporaryFolder& folder) {
  const std::string data = copy_of_phantoms(folder);
  const std::string other = folder / "other";
  decant::apps::decant({"phantom", other, "--count", "3", "--size", "40"});
  for (const char* end : {".png", "_mask.png"})
    fs::copy_file(other + "/benign/benign (1)" + end, data + "/benign/benign (2)" + end,
                  fs::copy_options::overwrite_existing);
  std::string manifest = "name,split\n";
  for (const auto& entry : fs::recursive_directory_iterator(data)) {
    const std::string stem = entry.path().stem().string();
    if (entry.is_regular_file() && stem.find("_mask") == std::string::npos)
      manifest += stem + (stem.starts_with("normal") ? ",val\n" : ",train\n");
  }
  write_bytes(data + "/manifest.csv", manifest);
  return data;
}

struct BadInput {
  const char* what;
  /// Makes the input in the folder and returns the command line; "out" below is where it may write.
  std::function<Words(const TemporaryFolder&)> prepare;
  /// What the one line must contain.
  std::vector<const char*> message;
};

std::string cut_in_half(const std::string& bytes) {
  return bytes.substr(0, bytes.size() / 2);
}

const std::vector<BadInput>& table() {
  static const std::vector<BadInput> rows = {
      {"a truncated image",
       [](const TemporaryFolder& f) {
         const std::string data = copy_of_phantoms(f);
         for (const auto& entry : fs::directory_iterator(data + "/benign"))
           if (!entry.path().stem().string().ends_with("_mask"))
             write_bytes(entry.path(), cut_in_half(bytes_of(entry.path())));
         return run_on(data, f / "out");
       },
       {"benign (", ".png"}},
      {"a mask of another size than its image",
       [](const TemporaryFolder& f) {
         const std::string data = copy_of_phantoms(f);
         const std::string other = f / "other";
         decant::apps::decant({"phantom", other, "--count", "3", "--size", "40"});
         fs::copy_file(other + "/benign/benign (1)_mask.png", data + "/benign/benign (2)_mask.png",
                       fs::copy_options::overwrite_existing);
         return run_on(data, f / "out");
       },
       {"benign (2)", "40 x 40", "48 x 48"}},
      {"an image without a mask",
       [](const TemporaryFolder& f) {
         const std::string data = copy_of_phantoms(f);
         fs::remove(data + "/benign/benign (2)_mask.png");
         return run_on(data, f / "out");
       },
       {"benign (2)", "mask"}},
      {"an empty folder",
       [](const TemporaryFolder& f) {
         fs::create_directory(f / "empty");
         return run_on(f / "empty", f / "out");
       },
       {"empty"}},
      {"no folder",
       [](const TemporaryFolder& f) { return run_on(f / "none", f / "out"); },
       {"none"}},
      {"an unknown config key",
       [](const TemporaryFolder& f) {
         write_bytes(f / "run.json", R"({"optim": {"learning_rate": 1}})");
         return tiny_run() + Words{"--out", f / "out", "--config", f / "run.json"};
       },
       {"run.json", "optim.learning_rate"}},
      {"a value of the wrong kind",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "optim.lr=quick"};
       },
       {"optim.lr", "expected a number", "quick"}},
      {"a misspelt flag",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "--epocs", "3"};
       },
       {"--epocs", "did you mean \"--epochs\"?"}},
      {"a flag without its value",
       [](const TemporaryFolder&) { return Words{"train", "--out"}; },
       {"--out"}},
      {"a teacher that is no safetensors file",
       [](const TemporaryFolder& f) {
         write_bytes(f / "teacher.safetensors", "certainly not");
         return tiny_run("distill") + Words{"--out", f / "out",   "--preset",
                                            "L_KLD", "--teacher", f / "teacher.safetensors"};
       },
       {"teacher.safetensors"}},
      {"a teacher cut short",
       [](const TemporaryFolder& f) {
         write_bytes(f / "teacher.safetensors",
                     cut_in_half(bytes_of(trained() + "/best.safetensors")));
         return tiny_run("distill") + Words{"--out", f / "out",   "--preset",
                                            "L_KLD", "--teacher", f / "teacher.safetensors"};
       },
       {"teacher.safetensors"}},
      {"encoder weights of another network",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "model=unet/resnet18", "--init",
                                   "encoder=" + trained() + "/best.safetensors"};
       },
       {"best.safetensors", "missing", "conv1.weight"}},
      {"an augmentation whose frames have another size",
       [](const TemporaryFolder& f) {
         write_bytes(f / "own.json",
                     R"([{"name": "Resize", "height": 40, "width": 24}, {"name": "Normalize"}])");
         return tiny_run() + Words{"--out", f / "out", "--augment", f / "own.json"};
       },
       {"augment", "32 x 32", "24 x 40"}},
      {"an augmentation that frames by chance",
       [](const TemporaryFolder& f) {
         write_bytes(f / "own.json",
                     R"([{"name": "Resize", "height": 32, "width": 32, "p": 0.99},
                         {"name": "Normalize"}])");
         return tiny_run() + Words{"--out", f / "out", "--augment", f / "own.json"};
       },
       {"Resize with p = 1", "0.99"}},
      {"a teacher of another Normalize",
       [](const TemporaryFolder& f) {
         write_bytes(f / "own.json",
                     R"([{"name": "Resize", "height": 32, "width": 32},
                         {"name": "Normalize", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}])");
         return tiny_run("distill") + Words{"--out",     f / "out", "--preset",  "L_KLD",
                                            "--teacher", trained(), "--augment", f / "own.json"};
       },
       {"teacher", "Normalize", "0.485", "0.5"}},
      {"a teacher of other channels",
       [](const TemporaryFolder& f) {
         return tiny_run("distill") +
                Words{"--out", f / "out", "--preset", "L_KLD", "--teacher", trained()} +
                Words{"model=thin_unet:in_channels=1,width=4"};
       },
       {"1-channel", "--model thin_unet:width=4 makes one"}},
      {"a preset beside other terms",
       [](const TemporaryFolder& f) {
         write_bytes(f / "run.json",
                     R"({"distill": {"spec": {"terms": [{"pathway": "hidden", "loss": "mse"}]}}})");
         return tiny_run("distill") + Words{"--out",    f / "out", "--teacher", trained(),
                                            "--preset", "L_KLD",   "--config",  f / "run.json"};
       },
       {"distill.preset", "L_KLD", "terms"}},
      {"an unknown preset",
       [](const TemporaryFolder& f) {
         return tiny_run("distill") +
                Words{"--out", f / "out", "--preset", "L_KLS", "--teacher", trained()};
       },
       {"L_KLS", "L_KLD"}},
      {"a term that these sizes cannot compute",
       [](const TemporaryFolder& f) {  // one hidden position at size 16: no softmax over positions
         return tiny_run("distill") + Words{"--out",     f / "out", "--preset",    "H_KLD",
                                            "--teacher", trained(), "data.size=16"};
       },
       {"kld"}},
      {"an output folder with files in it",
       [](const TemporaryFolder& f) {
         fs::create_directory(f / "full");
         write_bytes(f / "full/thesis.txt", "mine");
         return tiny_run() + Words{"--out", f / "full"};
       },
       {"expected a new or empty folder"}},
      {"an output folder that holds the split to take",
       [](const TemporaryFolder& f) {
         fs::create_directory(f / "full");
         write_bytes(f / "full/thesis.txt", "mine");
         fs::create_directory(f / "out");
         Json folds = Json::array();
         const Json split = Json::parse(bytes_of(trained() + "/split.json"));
         for (int i = 0; i < 3; ++i) folds.push_back(split["folds"][0]);
         write_bytes(f / "out/split.json", Json({{"folds", folds}}).dump());
         return tiny_run() +
                Words{"--out", f / "out", "--split", f / "out/split.json", "--fold", "1"};
       },
       {"out: expected a new or empty folder", "split.json"}},
      {"a run whose split is none",
       [](const TemporaryFolder& f) {
         std::filesystem::copy(trained(), f / "run");
         write_bytes(f / "run/split.json", R"({"folds": [{"val": 7}]})");
         return Words{"evaluate", f / "run"};
       },
       {"split.json: val: expected a list of images' names"}},
      {"an output folder under a file",
       [](const TemporaryFolder& f) {
         write_bytes(f / "file", "x");
         return tiny_run() + Words{"--out", f / "file/run"};
       },
       {"file/run"}},
      {"a folder to resume that is none",
       [](const TemporaryFolder& f) { return Words{"train", "--resume", f.path().string()}; },
       {"expected a run folder"}},
      {"other settings on resume",
       [](const TemporaryFolder&) {
         return Words{"train", "--resume", trained(), "--epochs", "9"};
       },
       {"epochs"}},
      {"evaluation of a folder that is no run",
       [](const TemporaryFolder& f) { return Words{"evaluate", f.path().string()}; },
       {"best.safetensors"}},
      {"prediction beside the images",
       [](const TemporaryFolder& f) {
         const std::string data = copy_of_phantoms(f) + "/benign";
         return Words{"predict", trained(), "--input", data, "--out", data};
       },
       {"expected another folder"}},
      {"prediction into a folder of images inside the input",
       [](const TemporaryFolder& f) {
         const std::string data = copy_of_phantoms(f);
         return Words{"predict", trained(), "--input", data, "--out", data + "/benign"};
       },
       {"expected another folder"}},
      {"prediction of a file that is no image",
       [](const TemporaryFolder& f) {
         write_bytes(f / "scan.png", "certainly not");
         return Words{"predict", trained(), "--input", f / "scan.png", "--out", f / "out"};
       },
       {"scan.png"}},
      {"a report that cannot be written",
       [](const TemporaryFolder& f) {
         return Words{"summary", "thin_unet", "--size", "32", "--json", f / "none/summary.json"};
       },
       {"none/summary.json"}},
      {"a warm-up as long as the run",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "schedule.warmup_steps=8"};
       },
       {"schedule.warmup_steps", "expected fewer than all 8 steps", "epochs 2", "got 8"}},
      {"a last batch of one image that batch norm cannot train on",
       [](const TemporaryFolder& f) {  // one hidden position at size 16
         return tiny_run() + Words{"--out", f / "out", "--split", "random:1:13", "data.size=16"};
       },
       {"batch", "13 training images", "drop_last=true", "data.size 16"}},
      {"batches of one image that batch norm cannot train on",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "batch=1", "drop_last=true", "data.size=16"};
       },
       {"batch", "got 1", "data.size 16"}},
      {"a teacher of batch statistics of one value",
       [](const TemporaryFolder& f) {  // the student, of half its stride, has four
         return tiny_run("distill") +
                Words{"--out", f / "out", "--preset", "L_KLD", "--teacher", trained()} +
                Words{"model=thin_unet:width=8,depth=3", "distill.spec.teacher_batch_norm=batch",
                      "batch=1", "data.size=16"};
       },
       {"batch", "got 1", "data.size 16"}},
      {"a command that is none",
       [](const TemporaryFolder&) { return Words{"trian"}; },
       {"did you mean \"train\"?"}},
      {"more threads than a machine of this size could use",
       [](const TemporaryFolder& f) {
         const unsigned many = std::max(16U, 4 * std::thread::hardware_concurrency()) + 1;
         return tiny_run() + Words{"--out", f / "out", "--threads", std::to_string(many)};
       },
       {"threads: expected at most", "processors"}},
      {"a size that no image has",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "--size", "1000000"};
       },
       {"data.size: expected 8 .. 8192, got 1000000"}},
      {"a step that no machine has the memory for",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "--size", "8192", "--batch", "16"} +
                Words{"model=thin_unet:width=1024,depth=2"};
       },
       {"data.size", "GiB of memory of this machine", "data.size 8192 and batch 16"}},
      {"steps to time that no machine has the memory for",
       [](const TemporaryFolder&) {
         return Words{"bench", "train",   "--size",
                      "8192",  "--model", "thin_unet:width=1024,depth=2"};
       },
       {"size: expected a step", "GiB of memory", "size 8192 and batch 8"}},
      {"steps to time in a precision that the cpu has not",
       [](const TemporaryFolder&) {
         return Words{"bench", "train", "--size", "32", "--precision", "bf16"};
       },
       {"precision: expected float32, the only one on the cpu, got bf16"}},
      {"a preset for steps that distil nothing",
       [](const TemporaryFolder&) { return Words{"bench", "train", "--preset", "L_KLDD"}; },
       {"expected with distill, got train"}},
      {"fewer than no steps before those that are timed",
       [](const TemporaryFolder&) { return Words{"bench", "train", "--warmup", "-1"}; },
       {"warmup: expected 0 or more, got -1"}},
      {"one file for figures and tensors",
       [](const TemporaryFolder& f) {
         return Words{"bench", "train", "--size", "32", "--json", f / "a", "--save", f / "a"};
       },
       {"save and json: expected two files"}},
      {"a preset in small letters",
       [](const TemporaryFolder& f) {
         return tiny_run("distill") +
                Words{"--out", f / "out", "--preset", "l_kld", "--teacher", trained()};
       },
       {"did you mean \"L_KLD\"?"}},
      {"an image whose header states an absurd size",
       [](const TemporaryFolder& f) {
         const std::string data = copy_of_phantoms(f);
         const std::string file = data + "/benign/benign (1).png";
         write_bytes(file, with_sides(bytes_of(file), 100000, 100000));
         return run_on(data, f / "out");
       },
       {"got 1 fault: ", "benign (1).png", "100000 x 100000", "at most 67108864 pixels"}},
      {"a manifest whose columns say nothing of its split",
       [](const TemporaryFolder& f) {
         const std::string data = copy_of_phantoms(f);
         write_bytes(data + "/manifest.csv", "picture,part\nbenign (1),train\n");
         return run_on(data, f / "out") + Words{"--split", "manifest"};
       },
       {"manifest.csv", "expected a column id, name or image", "got picture, part"}},
      {"several runs to evaluate",
       [](const TemporaryFolder&) { return Words{"evaluate", trained(), trained()}; },
       {"run: expected one", "compare takes several", "trained"}},
      {"a run to take the network of that is none",
       [](const TemporaryFolder& f) {
         fs::create_directory(f / "empty");
         return tiny_run() + Words{"--out", f / "out", "model=" + (f / "empty")};
       },
       {"empty: expected a run folder with best.safetensors"}},
      {"an image too small for the crop",
       [](const TemporaryFolder& f) {
         const std::string data = with_a_smaller_image(f);
         write_bytes(
             f / "own.json",
             R"([{"name": "RandomCrop", "height": 48, "width": 48}, {"name": "Normalize"}])");
         return run_on(data, f / "out") + Words{"--augment", f / "own.json", "data.size=48"};
       },
       {"augment", "benign (2).png", "expected at least 48 x 48 pixels, got 40 x 40"}},
      {"images of sizes that no step brings to one",
       [](const TemporaryFolder& f) {
         const std::string data = with_a_smaller_image(f);
         write_bytes(f / "own.json",
                     R"([{"name": "PadIfNeeded", "min_height": 40, "min_width": 40},
                         {"name": "Normalize"}])");
         return run_on(data, f / "out") + Words{"--augment", f / "own.json", "data.size=40"};
       },
       {"augment: expected frames of 40 x 40 (data.size), got 48 x 48 of", ".png"}},
      {"a last batch that drop_last leaves nothing of",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "batch=99", "drop_last=true"};
       },
       {"batch: expected at most the 16 training images with drop_last, got 99"}},
      {"a run that is not there in a network's place",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "--model", f / "missing"};
       },
       {"model: expected a network's name or a run, got", "missing"}},
      {"a key that a network does not have",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "--model", "unet/resnet18:width=9"};
       },
       {"width is a key of thin_unet, unet/resnet18 has none"}},
      {"a device that is none",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "--device", "gpu"};
       },
       {"expected cpu or cuda"}},
  };
  return rows;
}

}  // namespace

TEST_CASE("bad input ends in one line and exit code 2, and leaves nothing behind") {
  trained();
  for (const BadInput& row : table()) {
    CAPTURE(std::string(row.what));
    const TemporaryFolder folder;
    const Words words = row.prepare(folder);
    const Result result = decant::apps::decant(words);
    CAPTURE(result.err);
    check_one_line(result, row.message);
    check_no_temporaries(folder.path());
    CHECK(!fs::exists(fs::path(folder / "out") / "state.safetensors"));
    if (fs::exists(folder / "full")) CHECK(bytes_of(folder / "full/thesis.txt") == "mine");
  }
}

TEST_CASE("an answer that could not be shown is no answer") {
  const std::string command = program() + " evaluate " + trained() + " > /dev/full 2> /dev/null";
  CHECK(WEXITSTATUS(std::system(command.c_str())) == 2);
  const std::string help = program() + " --help > /dev/full 2> /dev/null";
  CHECK(WEXITSTATUS(std::system(help.c_str())) == 2);
}

TEST_CASE("a report's folder is looked for before the work") {
  const TemporaryFolder folder;
  const Result result =
      decant::apps::decant({"evaluate", trained(), "--json", folder / "none/metrics.json"});
  check_one_line(result, {"none/metrics.json"});
  CHECK(result.out.empty());
}

TEST_CASE("a place that may not be read is named in one line") {
  if (geteuid() != 0) {
    MESSAGE("not shown: only root can become the user of somebody else's folder");
    return;
  }
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms(0755));
  const std::string data = copy_of_phantoms(folder);
  fs::create_directory(folder / "hidden");
  fs::copy(trained(), folder / "hidden/run", fs::copy_options::recursive);
  fs::permissions(folder / "hidden", fs::perms(0700));
  fs::create_directory(folder / "said");
  fs::permissions(folder / "said", fs::perms(0777));
  const auto refused = [&](const Words& words, const std::vector<const char*>& message) {
    const std::string file = folder / "said/err";
    fs::remove(file);
    std::cout << std::flush;  // else the child would write it too
    const pid_t process = fork();
    if (process == 0) {
      if (seteuid(65534) != 0) _exit(3);
      dup2(open(file.c_str(), O_WRONLY | O_CREAT, 0644), STDERR_FILENO);
      _exit(run_program(words));
    }
    const Result result{.code = wait_for(process), .out = "", .err = bytes_of(file)};
    CAPTURE(result.err);
    check_one_line(result, message);
    CHECK(result.err.find("Permission denied") != std::string::npos);
  };
  const std::string run = folder / "hidden/run";
  refused({"evaluate", run}, {"evaluate: ", "hidden/run: expected"});
  refused({"train", "--resume", run}, {"hidden/run/config.json: expected"});
  refused(run_on(data, folder / "hidden/new"), {"hidden/new"});
  refused({"check-data", folder / "hidden/data"}, {"hidden/data: expected a data set"});
  fs::permissions(data + "/benign", fs::perms(0700));  // its images would be missed without a word
  refused({"check-data", data}, {"data/benign: expected a folder that can be read"});
  fs::permissions(data, fs::perms(0711));
  refused({"check-data", data}, {"data: expected a folder that can be read"});
  fs::permissions(data, fs::perms(0700));
  refused({"check-data", data}, {"data: expected a folder that can be read"});
}
