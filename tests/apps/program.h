#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace decant::apps {

/// A folder that lives as long as the test.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

struct Result {
  int code = 0;  ///< exit code; 128 + signal where a signal ended it
  std::string out;
  std::string err;
};

/// The program beside this test's own file.
std::string program();

/// The program with `words`; it is waited for.
Result decant(const std::vector<std::string>& words);

/// The same in the background.
pid_t start_decant(const std::vector<std::string>& words, const std::string& out = "/dev/null");
/// The same, with a file for what it says on standard error.
pid_t start_decant(const std::vector<std::string>& words, const std::string& out,
                   const std::string& err);
int wait_for(pid_t process);

/// Starts a run in `out` and kills it after its first commit.
void begin_and_kill(const std::vector<std::string>& words, const std::string& out);

/// Every file below a folder by its relative name, with its bytes.
std::map<std::string, std::string> contents(const std::filesystem::path& folder);

std::string bytes_of(const std::filesystem::path& file);
void write_bytes(const std::filesystem::path& file, const std::string& bytes);

/// A folder of small phantoms, made once for all tests of the process.
const std::string& phantoms();
/// A thin network trained on them for two epochs, made once.
const std::string& trained();
/// The words of a tiny training run on the phantoms: {"train", "--data", ...} without --out.
std::vector<std::string> tiny_run(const std::string& command = "train");

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b);

/// Leaves the lock of a process of this host that is dead, or of one of another host.
void leave_lock(const std::filesystem::path& file, const std::string& host);

/// Exit code 2 and one line that has all parts of `message`, and no name of the source in it.
void check_one_line(const Result& result, const std::vector<const char*>& message);
/// That no file below the folder is one that was being written.
void check_no_temporaries(const std::filesystem::path& folder);

}  // namespace decant::apps
