#pragma once

#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

namespace decant::apps {

/// A process that holds a lock: pids are given out again, so its start tells it from later ones.
struct Owner {
  std::string host;
  std::string machine = {};  ///< systemd's id of it: several may have one host name; "" unknown
  std::string boot;          ///< of the host's kernel: a process does not outlive it; "" unknown
  std::string pids = {};     ///< the namespace of its pid: containers number apart; "" unknown
  int64_t pid = 0;
  int64_t started = 0;  ///< clock ticks after that boot; 0 unknown

  static Owner self();
  /// Of this host's name, and known to be of this machine: by its id, or by running since the same
  /// boot. One that has neither in common with this process, or whose pid is counted elsewhere (in
  /// another container), is as one of another host.
  bool on_this_host() const;
  /// Whether it may still be at work: false only where it was on this host and is no more. A
  /// process that nothing here may look at (/proc mounted with hidepid) may live while kill(2)
  /// knows its number.
  bool may_live() const;
  std::string text() const;  ///< "process 4711 on node3"

  bool operator==(const Owner&) const = default;
};

/// While it lives, other processes keep out; by flock(2), so that the system drops it with the
/// process. Held for as long as it takes to plan a study anew, and by collect() while it times the
/// study's networks.
class FolderGuard {
 public:
  /// Waits until nobody else has it. `busy`: what one who has it does, which standard error is told
  /// once where that must be waited for; nullptr where that is a matter of moments.
  explicit FolderGuard(const std::filesystem::path& folder, const char* busy = nullptr);
  ~FolderGuard();
  FolderGuard(const FolderGuard&) = delete;
  FolderGuard& operator=(const FolderGuard&) = delete;

  /// Whether anybody has ever guarded the folder.
  static bool is_known(const std::filesystem::path& folder);

 private:
  int file_ = -1;
};

/// The right to do a job, for hours: a file that names its owner, also to other hosts.
///
/// It is made by link(2) from a file already written, so it is never seen half, and only one of
/// several processes makes it. File systems without links (FAT, some of the network's) make it by
/// open(2) with O_EXCL; who reads it before it is whole reads it again. A lock that outlived its
/// owner is removed and made anew under a FolderGuard: of two processes that find it, the second
/// reads the first one's new lock in its place and keeps away.
class JobLock {
 public:
  /// Empty where another process holds it. `steal`: locks of other hosts, whose owners nobody here
  /// can ask for, are taken as those of the dead. Throws Error where the file cannot be made.
  /// `link`: the system's, or in tests one of a file system that has none.
  static std::optional<JobLock> take(const std::filesystem::path& file, bool steal,
                                     int (*link)(const char*, const char*) = ::link);

  /// Who holds it; empty where nobody does, or an owner on this host that is dead.
  static std::optional<Owner> holder(const std::filesystem::path& file);

  ~JobLock();
  JobLock(JobLock&& other) noexcept;
  JobLock& operator=(JobLock&&) = delete;

 private:
  explicit JobLock(std::filesystem::path file) : file_(std::move(file)) {}

  std::filesystem::path file_;
};

}  // namespace decant::apps
