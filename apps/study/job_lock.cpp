#include "apps/study/job_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <thread>
#include <utility>

#include "apps/options.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGuard = ".guard";

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// What /proc tells of a process.
struct Seen {
  bool any = false;     // whether it tells anything
  bool ended = false;   // only its parent has not asked yet
  int64_t started = 0;  // field 22 of /proc/PID/stat, proc(5)
};

Seen look_at(int64_t pid) {
  const std::string stat = first_line(str("/proc/", pid, "/stat").c_str());
  const size_t name_end = stat.rfind(')');  // its name, field 2, may hold blanks and brackets
  if (name_end == std::string::npos) return {};
  Seen seen{.any = true};
  std::istringstream fields(stat.substr(name_end + 1));
  std::string state;
  fields >> state;
  seen.ended = state == "Z" || state == "X";
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> seen.started;
  return seen;
}

// Whether the system has a process of this number, whoever's it is.
bool exists(int64_t pid) {
  return ::kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH;
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::string boot_id() {
  return first_line("/proc/sys/kernel/random/boot_id");
}

std::string machine_id() {
  return first_line("/etc/machine-id");
}

std::string pid_namespace() {
  std::error_code unknown;
  return fs::read_symlink("/proc/self/ns/pid", unknown).string();
}

bool same_known(const std::string& a, const std::string& b) {
  return !a.empty() && a == b;
}

std::string text_of(const Owner& owner) {
  return Json({{"host", owner.host},
               {"machine", owner.machine},
               {"boot", owner.boot},
               {"pids", owner.pids},
               {"pid", owner.pid},
               {"started", owner.started}})
             .dump() +
         "\n";
}

// What the lock file says; empty where there is none. One that is not whole yet is read again, for
// two seconds. Throws Error where it is no lock of ours.
std::optional<Owner> read_owner(const fs::path& file) {
  constexpr int kTries = 40;
  for (int i = 0; i < kTries; ++i) {
    if (i > 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    std::ifstream in(file);
    if (!in.good()) return {};
    const Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded()) continue;
    try {
      return Owner{.host = json.at("host").get<std::string>(),
                   .machine = json.value("machine", ""),
                   .boot = json.at("boot").get<std::string>(),
                   .pids = json.value("pids", ""),
                   .pid = json.at("pid").get<int64_t>(),
                   .started = json.at("started").get<int64_t>()};
    } catch (const nlohmann::json::exception&) {
      break;
    }
  }
  throw Error(str(file.string(), ": expected the lock of a job, got something else; where nobody ",
                  "is at work on that job, remove it"));
}

// Makes the lock where there is none and no link can be made: the file of this name is one
// process's, but empty for a moment.
bool make_without_link(const fs::path& file, const std::string& text) {
  const int out = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (out < 0 && errno == EEXIST) return false;
  check(out >= 0, file.string(), ": expected to make this lock, got ", std::strerror(errno));
  const bool whole = std::cmp_equal(::write(out, text.data(), text.size()), text.size());
  const int failed = errno;
  ::close(out);
  if (!whole) ::unlink(file.c_str());
  check(whole, file.string(), ": expected to write this lock, got ", std::strerror(failed));
  return true;
}

// Makes the lock where there is none: a link to a file that is already whole.
bool make(const fs::path& file, const Owner& owner, int (*link)(const char*, const char*)) {
  const fs::path own = str(file.string(), ".", owner.host, ".", owner.pid);
  write_file_atomically(own, text_of(owner));
  const int failed = link(own.c_str(), file.c_str()) == 0 ? 0 : errno;
  ::unlink(own.c_str());
  constexpr int kNoLinks[] = {EPERM, ENOSYS, EOPNOTSUPP, EMLINK};
  if (std::ranges::find(kNoLinks, failed) != std::end(kNoLinks))
    return make_without_link(file, text_of(owner));
  check(failed == 0 || failed == EEXIST, file.string(), ": expected to make this lock, got ",
        std::strerror(failed));
  return failed == 0;
}

}  // namespace

Owner Owner::self() {
  return {.host = host_name(),
          .machine = machine_id(),
          .boot = boot_id(),
          .pids = pid_namespace(),
          .pid = ::getpid(),
          .started = look_at(::getpid()).started};
}

bool Owner::on_this_host() const {
  if (host != host_name()) return false;
  if (same_known(boot, boot_id())) return pids.empty() || pids == pid_namespace();
  return same_known(machine, machine_id());
}

bool Owner::may_live() const {
  if (!on_this_host()) return true;
  if (!boot.empty() && boot != boot_id()) return false;  // this machine has started again since
  const Seen seen = look_at(pid);
  if (!seen.any || started == 0) return exists(pid);
  return !seen.ended && seen.started == started;
}

std::string Owner::text() const {
  return str("process ", pid, " on ", host);
}

bool FolderGuard::is_known(const fs::path& folder) {
  return fs::exists(folder / kGuard);
}

FolderGuard::FolderGuard(const fs::path& folder, const char* busy) {
  const fs::path file = folder / kGuard;
  file_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  check(file_ >= 0, file.string(), ": expected to open it, got ", std::strerror(errno));
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0) return;
  if (busy != nullptr)
    std::cerr << str("notice: ", folder.string(), ": waiting for another process that ", busy,
                     "\n");
  while (::flock(file_, LOCK_EX) != 0)
    check(errno == EINTR, file.string(), ": expected to lock it, got ", std::strerror(errno));
}

FolderGuard::~FolderGuard() {
  ::close(file_);
}

std::optional<JobLock> JobLock::take(const fs::path& file, bool steal,
                                     int (*link)(const char*, const char*)) {
  const Owner self = Owner::self();
  if (make(file, self, link)) return JobLock(file);
  const FolderGuard guard(file.parent_path());
  const std::optional<Owner> owner = read_owner(file);
  if (owner && owner->may_live() && (owner->on_this_host() || !steal)) return {};
  if (owner) fs::remove(file);
  if (!make(file, self, link)) return {};
  return JobLock(file);
}

std::optional<Owner> JobLock::holder(const fs::path& file) {
  std::optional<Owner> owner = read_owner(file);
  if (owner && !owner->may_live()) owner.reset();
  return owner;
}

JobLock::~JobLock() {
  if (file_.empty()) return;
  try {
    const FolderGuard guard(file_.parent_path());
    if (read_owner(file_) == Owner::self()) fs::remove(file_);  // a stolen one is not ours
  } catch (const std::exception&) {  // it stays, as that of a dead process
  }
}

JobLock::JobLock(JobLock&& other) noexcept : file_(std::exchange(other.file_, {})) {}

}  // namespace decant::apps
