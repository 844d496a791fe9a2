#include "apps/run_folder.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "engine/io/atomic_file.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

namespace {

// A run whose "network" is a text with the epoch in it.
struct PretendRun {
  int64_t epoch = 0;
  std::function<void(int)> wrote = nullptr;  // hears the number of each network that was written

  std::function<void(const fs::path&)> writer() const {
    return [text = str("network of epoch ", epoch), wrote = wrote,
            count = 0](const fs::path& path) mutable {
      write_file_atomically(path, text);
      if (wrote) wrote(++count);
    };
  }

  void advance(RunFolder& folder, bool better) {
    ++epoch;
    Progress p = folder.progress();
    p.epoch = epoch;
    p.step = 10 * epoch;
    p.batch = 0;
    if (better) p.best_epoch = epoch;
    p.best_score = 1.0 / 3;
    folder.append_metrics(str("row ", epoch));
    folder.append_log(str("line ", epoch));
    folder.commit(p, {{"values", Tensor::full({4}, static_cast<double>(epoch))}}, {{"note", "x"}},
                  writer());
  }
};

// Runs `work` in a process that the system kills in the middle of a file, `bytes` bytes into it.
void killed_in_a_file_at(rlim_t bytes, const std::function<void()>& work) {
  const pid_t process = fork();
  if (process == 0) {
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
    work();
    _exit(0);
  }
  CHECK(wait_for(process) == 128 + SIGXFSZ);
}

void killed(const std::function<void()>& work) {
  const pid_t process = fork();
  if (process == 0) {
    work();
    _exit(0);
  }
  CHECK(wait_for(process) == 128 + SIGKILL);
}

}  // namespace

TEST_CASE("a run folder gives back what was committed") {
  const TemporaryFolder parent;
  const fs::path path = parent.path() / "runs" / "a";
  PretendRun run;
  {
    RunFolder folder = RunFolder::create(path, {{"epochs", 3}}, {{"origin", "x"}});
    CHECK(!folder.committed());
    run.advance(folder, true);
    run.advance(folder, false);
    run.advance(folder, false);
  }
  RunFolder folder = RunFolder::open(path);
  CHECK(folder.progress().epoch == 3);
  CHECK(folder.progress().step == 30);
  CHECK(folder.progress().best_epoch == 1);
  CHECK(folder.progress().best_score == 1.0 / 3);
  CHECK(folder.config() == Json{{"epochs", 3}});
  CHECK(folder.state().at("values").data<float>()[0] == 3);
  CHECK(folder.state().metadata.at("note") == "x");
  CHECK(bytes_of(folder.best()) == "network of epoch 1");
  CHECK(bytes_of(folder.last()) == "network of epoch 3");
  CHECK(bytes_of(path / "metrics.csv") == "row 1\nrow 2\nrow 3\n");
}

TEST_CASE("what a dead process wrote after its last commit is taken back") {
  const TemporaryFolder parent;
  const fs::path path = parent.path() / "a";
  PretendRun run;
  {
    RunFolder folder = RunFolder::create(path, {}, {});
    run.advance(folder, true);
    run.advance(folder, false);
    // The next commit dies before its rename: everything but the state is ahead.
    folder.append_metrics("row of a dead");
    folder.append_log("line of a dead");
    write_bytes(folder.best(), "ahead");
    write_bytes(folder.last(), "ahead");
    write_bytes(path / "state.safetensors.tmp", "half");
    write_bytes(path / "best.safetensors.tmp", "half");
  }
  RunFolder folder = RunFolder::open(path);
  folder.repair(run.writer());
  CHECK(bytes_of(folder.best()) == "network of epoch 1");
  CHECK(bytes_of(folder.last()) == "network of epoch 2");
  CHECK(bytes_of(path / "metrics.csv") == "row 1\nrow 2\n");
  CHECK(bytes_of(path / "log.txt") == "line 1\nline 2\n");
  for (const auto& [name, bytes] : contents(path)) CHECK(!name.ends_with(".tmp"));
  run.advance(folder, false);  // and the best of epoch 1 lives on in later states
  fs::remove(folder.best());
  folder.repair(run.writer());
  CHECK(bytes_of(folder.best()) == "network of epoch 1");
}

TEST_CASE("a run whose state was deleted is not begun again over its networks") {
  const TemporaryFolder parent;
  const fs::path path = parent.path() / "a";
  PretendRun run;
  {
    RunFolder folder = RunFolder::create(path, {}, {});
    folder.append_metrics("epoch");
    run.advance(folder, true);
    run.advance(folder, true);
  }
  fs::remove(path / "state.safetensors");
  const auto before = contents(path);
  CHECK_THROWS_WITH_AS(
      RunFolder::open(path),
      doctest::Contains("expected the state of a run of 2 epochs, got no such file"), Error);
  CHECK(contents(path) == before);
}

TEST_CASE("a run in which nothing was committed can be taken back, one with a commit cannot") {
  const TemporaryFolder parent;
  PretendRun run;
  const auto fails = [&](const fs::path& path) {
    RunFolder folder = RunFolder::create(path, {}, {{"origin", "x"}});
    folder.append_metrics("row 1");
    folder.append_log("line 1");
    fs::create_directory(path / "previews");
    for (const char* name : {"last.safetensors", "best.safetensors", "previews/a.png"})
      write_bytes(path / name, "uncommitted");
    folder.take_back();
  };
  fails(parent.path() / "new");
  CHECK(!fs::exists(parent.path() / "new"));
  fs::create_directory(parent.path() / "empty");
  fails(parent.path() / "empty");
  CHECK(fs::is_empty(parent.path() / "empty"));
  // The split of this run, which lay there before.
  fs::create_directory(parent.path() / "split");
  const std::string split = Json({{"origin", "x"}}).dump(1) + "\n";
  write_bytes(parent / "split/split.json", split);
  fails(parent.path() / "split");
  CHECK(contents(parent.path() / "split") ==
        std::map<std::string, std::string>{{"split.json", split}});

  const fs::path path = parent.path() / "committed";
  RunFolder folder = RunFolder::create(path, {}, {});
  run.advance(folder, true);
  const auto before = contents(path);
  folder.take_back();
  CHECK(contents(path) == before);
}

TEST_CASE("a folder without a state starts from nothing") {
  const TemporaryFolder parent;
  const fs::path path = parent.path() / "a";
  {
    RunFolder folder = RunFolder::create(path, {}, {});
    folder.append_metrics("row 1");
    write_bytes(folder.best(), "uncommitted");
  }
  const RunFolder folder = RunFolder::open(path);
  CHECK(!folder.committed());
  CHECK(bytes_of(path / "metrics.csv").empty());
}

TEST_CASE("a folder with files is refused and keeps them; one that is no run is refused") {
  const TemporaryFolder parent;
  write_bytes(parent / "thesis.txt", "mine");
  CHECK_THROWS_WITH_AS(RunFolder::create(parent.path(), {}, {}),
                       doctest::Contains("expected a new or empty folder"), Error);
  CHECK_THROWS_WITH_AS(RunFolder::create(parent.path() / "thesis.txt", {}, {}),
                       doctest::Contains("expected a folder, got a file"), Error);
  CHECK_THROWS_WITH_AS(RunFolder::open(parent.path()), doctest::Contains("expected a run folder"),
                       Error);
  CHECK(contents(parent.path()) == std::map<std::string, std::string>{{"thesis.txt", "mine"}});
}

TEST_CASE("a folder whose beginning was killed can be begun again") {
  const Json config = {{"epochs", 3}, {"loss", "ce"}};
  const Json split = {{"origin", "x"}};
  const auto split_bytes = split.dump(1).size() + 1;
  REQUIRE(config.dump(2).size() > split_bytes);
  const TemporaryFolder parent;
  const fs::path path = parent.path() / "a";
  const auto begin = [&] { RunFolder::create(path, config, split); };

  killed_in_a_file_at(3, begin);  // half of split.json
  CHECK(contents(path).size() == 1);
  CHECK_NOTHROW(RunFolder::require_free(path));
  killed_in_a_file_at(split_bytes, begin);  // half of config.json
  CHECK(contents(path).size() == 2);
  CHECK_THROWS_AS(RunFolder::open(path), Error);  // not a run yet
  begin();
  CHECK(contents(path) == std::map<std::string, std::string>{{"config.json", config.dump(2) + "\n"},
                                                             {"split.json", split.dump(1) + "\n"}});

  // A split.json that this run would not write is somebody's.
  const std::string mine = "{\"folds\": [{\"train\": [\"a\"]}, {\"train\": [\"b\"]}]}";
  const fs::path kept = parent.path() / "kept";
  fs::create_directory(kept);
  write_bytes(kept / "split.json", mine);
  CHECK_THROWS_WITH_AS(RunFolder::create(kept, config, split), doctest::Contains("split.json"),
                       Error);
  CHECK(contents(kept) == std::map<std::string, std::string>{{"split.json", mine}});

  // Any other file is somebody's.
  const fs::path other = parent.path() / "b";
  fs::create_directory(other);
  write_bytes(other / "split.json", "{}");
  write_bytes(other / "thesis.tmp", "mine");
  CHECK_THROWS_WITH_AS(RunFolder::require_free(other),
                       doctest::Contains("expected a new or empty folder"), Error);
}

TEST_CASE("a commit that was killed between any two of its writes is taken back") {
  // The writes of a commit: last, best, the state. `dies` is the write it dies after, or in.
  for (const bool better : {true, false}) {
    for (const int dies : {1, 2, 3}) {
      if (!better && dies == 2) continue;  // best is not written
      CAPTURE(better);
      CAPTURE(dies);
      const TemporaryFolder parent;
      const fs::path path = parent.path() / "a";
      PretendRun run;
      {
        RunFolder folder = RunFolder::create(path, {}, {});
        run.advance(folder, true);
      }
      const auto before = contents(path);
      const auto next = [&](const std::function<void(int)>& wrote) {
        RunFolder folder = RunFolder::open(path);
        PretendRun ahead = run;
        ahead.wrote = wrote;
        ahead.advance(folder, better);
      };
      if (dies == 3)  // longer than every other file
        killed_in_a_file_at(100, [&] { next([](int) {}); });
      else
        killed([&] {
          next([&](int count) {
            if (count == dies) raise(SIGKILL);
          });
        });
      CHECK(contents(path) != before);
      {
        RunFolder folder = RunFolder::open(path);
        folder.repair(run.writer());
        CHECK(folder.progress().epoch == 1);
      }
      CHECK(contents(path) == before);
    }
  }
}

TEST_CASE(
    "a commit within an epoch keeps the best network, and one that died in it is taken back") {
  const TemporaryFolder parent;
  const fs::path path = parent.path() / "a";
  PretendRun run;
  const auto stop = [&](RunFolder& folder, PretendRun& at) {
    Progress p = folder.progress();
    p.step += 3;
    p.batch = 3;
    folder.commit(p, {{"values", Tensor::full({4}, 0.5)}}, {}, at.writer());
  };
  {
    RunFolder folder = RunFolder::create(path, {}, {});
    stop(folder, run);  // in the first epoch: there is no best network yet
    CHECK(folder.committed());
    CHECK(!fs::exists(folder.best()));
  }
  {
    RunFolder folder = RunFolder::open(path);
    folder.repair(run.writer());
    CHECK(folder.progress().batch == 3);
    CHECK(!fs::exists(folder.best()));
    run.advance(folder, true);
  }
  const auto before = contents(path);
  killed([&] {
    RunFolder folder = RunFolder::open(path);
    PretendRun ahead = {.epoch = 7, .wrote = [](int) { raise(SIGKILL); }};
    stop(folder, ahead);
  });
  CHECK(contents(path) != before);
  RunFolder folder = RunFolder::open(path);
  folder.repair(run.writer());
  CHECK(contents(path) == before);
  PretendRun ahead = {.epoch = 7};
  stop(folder, ahead);
  CHECK(bytes_of(folder.last()) == "network of epoch 7");
  fs::remove(folder.best());
  folder.repair(ahead.writer());
  CHECK(bytes_of(folder.best()) == "network of epoch 1");
}

TEST_CASE("one process at a time") {
  const TemporaryFolder parent;
  const fs::path path = parent.path() / "a";
  const RunFolder mine = RunFolder::create(path, {}, {});
  const pid_t other = fork();
  if (other == 0) {
    try {
      RunFolder::open(path);
      _exit(1);
    } catch (const Error& error) {
      _exit(std::string(error.what()).find("no other process") == std::string::npos ? 2 : 0);
    }
  }
  CHECK(wait_for(other) == 0);
}

TEST_CASE("a damaged state is an error that names it") {
  const TemporaryFolder parent;
  const fs::path path = parent.path() / "a";
  PretendRun run;
  {
    RunFolder folder = RunFolder::create(path, {}, {});
    run.advance(folder, true);
  }
  const std::string whole = bytes_of(path / "state.safetensors");
  write_bytes(path / "state.safetensors", whole.substr(0, whole.size() - 3));
  CHECK_THROWS_WITH_AS(RunFolder::open(path), doctest::Contains("state.safetensors"), Error);
  write_bytes(path / "state.safetensors", whole);
  write_bytes(path / "metrics.csv", "");  // shorter than what was committed
  CHECK_THROWS_WITH_AS(RunFolder::open(path), doctest::Contains("metrics.csv"), Error);
}

TEST_CASE("a folder that may not be written is an error, and what was committed stays") {
  if (geteuid() != 0) {
    MESSAGE("not shown: only root can become the user of somebody else's folder");
    return;
  }
  const TemporaryFolder parent;
  fs::permissions(parent.path(), fs::perms(0755));
  const fs::path path = parent.path() / "a";
  PretendRun run;
  {
    RunFolder folder = RunFolder::create(path, {}, {});
    run.advance(folder, true);
  }
  const auto before = contents(path);
  const auto refused = [](const std::function<void()>& work) {
    const pid_t process = fork();
    if (process == 0) {
      if (seteuid(65534) != 0) _exit(3);
      try {
        work();
        _exit(1);
      } catch (const Error& error) {
        _exit(std::string(error.what()).find("Permission denied") == std::string::npos ? 2 : 0);
      }
    }
    CHECK(wait_for(process) == 0);
  };
  refused([&] { RunFolder::create(parent.path() / "b", {}, {}); });
  CHECK(!fs::exists(parent.path() / "b"));
  refused([&] {
    RunFolder folder = RunFolder::open(path);
    run.advance(folder, true);
  });
  CHECK(contents(path) == before);
}

TEST_CASE("the state of another run is an error that names what does not fit") {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  const std::string other = folder / "other";
  begin_and_kill(tiny_run() + std::vector<std::string>{"epochs=40"}, out);
  begin_and_kill(
      tiny_run() + std::vector<std::string>{"epochs=40", "model=thin_unet:width=4,depth=4"}, other);
  fs::copy_file(other + "/state.safetensors", out + "/state.safetensors",
                fs::copy_options::overwrite_existing);
  write_bytes(out + "/metrics.csv", bytes_of(other + "/metrics.csv"));
  write_bytes(out + "/log.txt", bytes_of(other + "/log.txt"));
  const std::string best = bytes_of(out + "/best.safetensors");
  const Result result = decant::apps::decant({"train", "--resume", out});
  CAPTURE(result.err);
  CHECK(result.code == 2);
  CHECK(result.err.find("state") != std::string::npos);
  CHECK((bytes_of(out + "/best.safetensors") == best));
}
