#include "tests/apps/program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "apps/options.h"
#include "apps/study/job_lock.h"

namespace decant::apps {
namespace fs = std::filesystem;

std::string program() {
  return (fs::read_symlink("/proc/self/exe").parent_path() / "decant").string();
}

namespace {

pid_t start(const std::vector<std::string>& words, const std::string& out, const std::string& err) {
  std::vector<std::string> all = {program()};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> pointers;
  for (std::string& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
    dup2(open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
    execv(pointers[0], pointers.data());
    _exit(127);
  }
  return child;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "decant-test-XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

int wait_for(pid_t process) {
  int status = 0;
  REQUIRE(waitpid(process, &status, 0) == process);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result decant(const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  Result result;
  result.code = wait_for(start(words, folder / "out", folder / "err"));
  result.out = bytes_of(folder / "out");
  result.err = bytes_of(folder / "err");
  return result;
}

pid_t start_decant(const std::vector<std::string>& words, const std::string& out) {
  return start(words, out, "/dev/null");
}

pid_t start_decant(const std::vector<std::string>& words, const std::string& out,
                   const std::string& err) {
  return start(words, out, err);
}

void begin_and_kill(const std::vector<std::string>& words, const std::string& out) {
  const pid_t process = start_decant(words + std::vector<std::string>{"--out", out});
  while (!fs::exists(fs::path(out) / "state.safetensors")) {
    REQUIRE(waitpid(process, nullptr, WNOHANG) == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  kill(process, SIGKILL);
  REQUIRE(wait_for(process) == 128 + SIGKILL);
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), folder).string()] = bytes_of(entry.path());
  return files;
}

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const std::string& phantoms() {
  static const TemporaryFolder folder;
  static const std::string path = [] {
    std::string made = folder / "phantoms";
    REQUIRE(decant({"phantom", made, "--count", "20", "--size", "48", "--seed", "3"}).code == 0);
    return made;
  }();
  return path;
}

std::vector<std::string> tiny_run(const std::string& command) {
  return {command,  "--data", phantoms(), "--model",   "thin_unet:width=8,depth=4",
          "--size", "32",     "--epochs", "2",         "--batch",
          "4",      "--seed", "5",        "--threads", "1"};
}

const std::string& trained() {
  static const TemporaryFolder folder;
  static const std::string path = [] {
    std::string made = folder / "trained";
    const Result result = decant(tiny_run() + std::vector<std::string>{"--out", made});
    INFO(result.err);
    REQUIRE(result.code == 0);
    return made;
  }();
  return path;
}

void leave_lock(const std::filesystem::path& file, const std::string& host) {
  std::filesystem::create_directories(file.parent_path());
  Owner owner = Owner::self();
  if (!host.empty()) owner.host = host;
  write_bytes(file, Json({{"host", owner.host},
                          {"boot", owner.boot},
                          {"pid", owner.pid},
                          {"started", owner.started - 1}})  // an earlier process of this pid
                        .dump());
}

void check_one_line(const Result& result, const std::vector<const char*>& message) {
  CHECK(result.code == 2);
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  CHECK(result.err.starts_with("decant"));
  // A message begins with what the user gave, not with what the source calls it.
  for (const char* inner :
       {"open_dataset:", "require_masks:", "read_image:", "read_mask:", "load_sample:", "Loader:",
        "Pipeline::", "Dataset::", "DistillSpec:", "write_file_atomically:", "filesystem error"}) {
    CAPTURE(inner);
    CHECK(result.err.find(inner) == std::string::npos);
  }
  for (const char* part : message) {
    CAPTURE(part);
    CHECK(result.err.find(part) != std::string::npos);
  }
}

void check_no_temporaries(const std::filesystem::path& folder) {
  for (const auto& [name, bytes] : contents(folder)) {
    CAPTURE(name);
    CHECK(name.find(".tmp") == std::string::npos);
  }
}

}  // namespace decant::apps
