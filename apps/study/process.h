#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace decant::apps {

/// This program as a child process, with `words` as its command line; what it says is appended to
/// `log`. It is asked to end (SIGTERM) where its parent dies. Throws Error where none can be made.
pid_t start_program(const std::vector<std::string>& words, const std::filesystem::path& log);

/// How a child that has ended ended: its exit code, or 128 + the signal. -1 while it runs.
int ended(pid_t child);

/// Whether a child has ended that ended() was not asked about since.
bool any_ended();

/// Waits for it, as ended().
int wait_for_end(pid_t child);

}  // namespace decant::apps
