#include "apps/study/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "engine/core/error.h"

namespace decant::apps {
namespace {

int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int wait_with(pid_t child, int options) {
  int status = 0;
  pid_t found = 0;
  do found = ::waitpid(child, &status, options);
  while (found < 0 && errno == EINTR);
  if (found == 0) return -1;                      // at work
  return found == child ? code_of(status) : 255;  // nobody's child any more: how it ended is lost
}

}  // namespace

pid_t start_program(const std::vector<std::string>& words, const std::filesystem::path& log) {
  std::vector<std::string> all = words;
  all.insert(all.begin(), "decant");
  std::vector<char*> pointers;
  for (std::string& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  check(out >= 0, log.string(), ": expected to write to it, got ", std::strerror(errno));
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {  // only what a signal handler may call as well
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::setpgid(0, 0);  // Ctrl-C is the parent's, which passes it on once
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    ::execv("/proc/self/exe", pointers.data());
    ::_exit(127);
  }
  const int failed = errno;
  ::close(out);
  check(child > 0, "expected to start a process for a job, got ", std::strerror(failed));
  return child;
}

int ended(pid_t child) {
  return wait_with(child, WNOHANG);
}

bool any_ended() {
  siginfo_t child = {};
  return ::waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 && child.si_pid != 0;
}

int wait_for_end(pid_t child) {
  return wait_with(child, 0);
}

}  // namespace decant::apps
