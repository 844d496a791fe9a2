// Whatever a user gets wrong ends in one clear line and exit code 2, and leaves nothing behind.

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <thread>

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
      {"a device that is none",
       [](const TemporaryFolder& f) {
         return tiny_run() + Words{"--out", f / "out", "--device", "gpu"};
       },
       {"expected cpu or cuda"}},
  };
  return rows;
}

void check_one_line(const Result& result, const std::vector<const char*>& message) {
  CHECK(result.code == 2);
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  CHECK(result.err.starts_with("decant"));
  for (const char* part : message) {
    CAPTURE(part);
    CHECK(result.err.find(part) != std::string::npos);
  }
}

void check_no_temporaries(const fs::path& folder) {
  for (const auto& [name, bytes] : contents(folder)) {
    CAPTURE(name);
    CHECK(name.find(".tmp") == std::string::npos);
  }
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

TEST_CASE("a loss that is not finite stops the run before it is saved") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  begin_and_kill(tiny_run() + Words{"epochs=40", "optim.name=sgd", "optim.lr=3e-4"}, out);
  Json config = Json::parse(bytes_of(out + "/config.json"));
  config["optim"]["lr"] = 1e38;
  write_bytes(out + "/config.json", config.dump());
  const std::string state = bytes_of(out + "/state.safetensors");
  const Result result = decant::apps::decant({"train", "--resume", out});
  CAPTURE(result.err);
  check_one_line(result, {"epoch", "expected a finite"});
  check_no_temporaries(folder.path());
  // What was committed is still there, whole.
  CHECK((bytes_of(out + "/state.safetensors") == state));
  CHECK(decant::apps::decant({"evaluate", out}).code == 0);
}

TEST_CASE("a full disk stops the run and keeps the last commit") {
  const TemporaryFolder folder;
  const std::string small = folder / "small";
  fs::create_directory(small);
  if (mount("tmpfs", small.c_str(), "tmpfs", 0, "size=4m") != 0) {
    MESSAGE("not shown: mounting a small file system needs root");
    return;
  }
  const std::string out = small + "/out";
  begin_and_kill(tiny_run() + Words{"epochs=40", "previews=0"}, out);
  const std::string state = bytes_of(out + "/state.safetensors");
  write_bytes(small + "/filler", std::string(size_t{8} << 20, 'x'));  // as much as there is room
  const Result result = decant::apps::decant({"train", "--resume", out});
  const Result evaluated = decant::apps::decant({"evaluate", out});
  const auto left = contents(out);
  umount(small.c_str());
  CAPTURE(result.err);
  check_one_line(result, {"No space left"});
  CHECK((left.at("state.safetensors") == state));
  CHECK(evaluated.code == 0);
  for (const auto& [name, bytes] : left) CHECK(name.find(".tmp") == std::string::npos);
}
