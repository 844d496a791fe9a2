#include "apps/study/job_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "apps/options.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// Field 22 of /proc/PID/stat, proc(5); 0 where there is no such process, or it has ended and only
// its parent has not asked yet. Its name, field 2, may hold blanks and brackets.
int64_t start_of(int64_t pid) {
  const std::string stat = first_line(str("/proc/", pid, "/stat").c_str());
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string state;
  fields >> state;
  if (state == "Z" || state == "X") return 0;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  int64_t started = 0;
  fields >> started;
  return started;
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::string boot_id() {
  return first_line("/proc/sys/kernel/random/boot_id");
}

std::string text_of(const Owner& owner) {
  return Json({{"host", owner.host},
               {"boot", owner.boot},
               {"pid", owner.pid},
               {"started", owner.started}})
             .dump() +
         "\n";
}

// What the lock file says; empty where there is none. Throws Error where it is no lock of ours.
std::optional<Owner> read_owner(const fs::path& file) {
  std::ifstream in(file);
  if (!in.good()) return {};
  const Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  try {
    return Owner{json.at("host").get<std::string>(), json.at("boot").get<std::string>(),
                 json.at("pid").get<int64_t>(), json.at("started").get<int64_t>()};
  } catch (const nlohmann::json::exception&) {
    throw Error(str(file.string(), ": expected the lock of a job, got something else"));
  }
}

// Makes the lock where there is none: a link to a file that is already whole.
bool make(const fs::path& file, const Owner& owner) {
  const fs::path own = str(file.string(), ".", owner.host, ".", owner.pid);
  write_file_atomically(own, text_of(owner));
  const int failed = ::link(own.c_str(), file.c_str()) == 0 ? 0 : errno;
  ::unlink(own.c_str());
  check(failed == 0 || failed == EEXIST, file.string(), ": expected to make this lock, got ",
        std::strerror(failed));
  return failed == 0;
}

}  // namespace

Owner Owner::self() {
  return {host_name(), boot_id(), ::getpid(), start_of(::getpid())};
}

bool Owner::on_this_host() const {
  return host == host_name();
}

bool Owner::may_live() const {
  return !on_this_host() || (boot == boot_id() && start_of(pid) == started);
}

std::string Owner::text() const {
  return str("process ", pid, " on ", host);
}

FolderGuard::FolderGuard(const fs::path& folder) {
  const fs::path file = folder / ".guard";
  file_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  check(file_ >= 0, file.string(), ": expected to open it, got ", std::strerror(errno));
  while (::flock(file_, LOCK_EX) != 0)
    check(errno == EINTR, file.string(), ": expected to lock it, got ", std::strerror(errno));
}

FolderGuard::~FolderGuard() {
  ::close(file_);
}

std::optional<JobLock> JobLock::take(const fs::path& file, bool steal) {
  const Owner self = Owner::self();
  if (make(file, self)) return JobLock(file);
  const FolderGuard guard(file.parent_path());
  const std::optional<Owner> owner = read_owner(file);
  if (owner && owner->may_live() && (owner->on_this_host() || !steal)) return {};
  if (owner) fs::remove(file);
  if (!make(file, self)) return {};
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
