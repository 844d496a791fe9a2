// Who may do a job: one of many that ask at once, and nobody while its owner may live.

#include "apps/study/job_lock.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

TEST_CASE("matrix: of many processes that want a lock at once, one has it") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "job.lock";
  for (int round = 0; round < 20; ++round) {
    if (round % 2 == 1) leave_lock(file, "");  // the dead one's must be fought over
    int answers[2];
    REQUIRE(pipe(answers) == 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) {
      children.push_back(fork());
      if (children.back() != 0) continue;
      const auto lock = JobLock::take(file, false);
      const char answer = lock ? 1 : 0;
      _exit(write(answers[1], &answer, 1) == 1 && pause() != 0 ? 0
                                                               : 1);  // alive until all have asked
    }
    int owners = 0;
    for (size_t i = 0; i < children.size(); ++i) {
      char answer = 0;
      REQUIRE(read(answers[0], &answer, 1) == 1);
      owners += answer;
    }
    CHECK(owners == 1);
    for (const pid_t child : children) {
      kill(child, SIGKILL);
      wait_for(child);
    }
    close(answers[0]);
    close(answers[1]);
    fs::remove(file);
  }
}

TEST_CASE("matrix: who holds a lock is told from others of that name, and lives until known dead") {
  Owner self = Owner::self();
  CHECK(self.on_this_host());
  CHECK(self.may_live());
  Owner other = self;  // a machine of the same name
  other.machine = "00000000000000000000000000000000";
  other.boot = "another";
  CHECK_FALSE(other.on_this_host());
  CHECK(other.may_live());
  other.machine.clear();  // or one that does not know its id: nothing says that it is this one
  CHECK_FALSE(other.on_this_host());
  Owner earlier = self;  // this machine before it was started again
  earlier.boot = "another";
  if (!self.machine.empty()) CHECK_FALSE(earlier.may_live());

  Owner contained = self;  // another container of this name: its pids are not ours
  contained.pids = "pid:[1]";
  CHECK_FALSE(contained.on_this_host());
  CHECK(contained.may_live());

  // What /proc does not show (hidepid): alive while the system knows the number.
  Owner hidden = self;
  hidden.started = 0;
  CHECK(hidden.may_live());
  const pid_t child = fork();
  if (child == 0) _exit(0);
  REQUIRE(wait_for(child) == 0);
  hidden.pid = child;
  CHECK_FALSE(hidden.may_live());
}
