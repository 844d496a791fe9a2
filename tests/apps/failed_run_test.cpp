// Runs that fail once they have begun, by a loss that is not finite or a full disk: what they say,
// and what of them is kept.

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

#include "apps/options.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

}  // namespace

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

TEST_CASE("a run that fails before anything is saved leaves its folder free") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  const Words run = tiny_run() + Words{"--out", out, "optim.name=sgd"};
  const Result failed = decant::apps::decant(run + Words{"optim.lr=1e38"});
  CAPTURE(failed.err);
  check_one_line(failed, {"epoch 1", "expected a finite", "nothing was saved yet"});
  CHECK(contents(folder.path()).empty());
  CHECK(!fs::exists(out));
  CHECK(decant::apps::decant(run + Words{"optim.lr=1e-3"}).code == 0);
}

TEST_CASE("a run stopped within an epoch says what is saved of it where it fails later") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  const Words run =
      tiny_run() +
      Words{"--out",        out, "model=unet/resnet18", "batch=1", "data.size=64", "optim.name=sgd",
            "optim.lr=3e-4"};
  std::string said;
  for (int tries = 0; said.find("stopped in epoch 1/2") == std::string::npos ||
                      said.find(" after 0 of its ") != std::string::npos;
       ++tries) {
    REQUIRE(tries < 20);
    fs::remove_all(out);
    const std::string said_file = folder / str("said_", tries);
    const pid_t process = start_decant(run, said_file);
    while (bytes_of(said_file).find("kernels") == std::string::npos) {  // from now on it trains
      REQUIRE(waitpid(process, nullptr, WNOHANG) == 0);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    kill(process, SIGINT);
    wait_for(process);
    said = bytes_of(said_file);
  }
  Json config = Json::parse(bytes_of(out + "/config.json"));
  config["optim"]["lr"] = 1e38;
  write_bytes(out + "/config.json", config.dump());
  const auto before = contents(out);
  const Result result = decant::apps::decant({"train", "--resume", out});
  CAPTURE(result.err);
  check_one_line(result, {"epoch 1, step", "expected a finite", "the network after epoch 0 and ",
                          " steps of the next is in ", "last.safetensors"});
  CHECK(bytes_of(out + "/state.safetensors") == before.at("state.safetensors"));
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
