#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "apps/options.h"
#include "engine/io/safetensors.h"

namespace decant::apps {

/// Where a run stands after its last commit.
struct Progress {
  int64_t epoch = 0;  ///< epochs done
  int64_t step = 0;   ///< optimizer steps done
  int64_t batch = 0;  ///< those of the epoch at work, where the run was stopped within one
  int64_t best_epoch = 0;
  double best_score = 0;
  bool finished = false;
  std::string arithmetic;  ///< that computed it, see arithmetic_of(): bits are promised for one

  /// Whether the network at hand is the best so far.
  bool at_best() const { return batch == 0 && epoch > 0 && best_epoch == epoch; }
};

/// The folder of one training run, which commits by one rename.
///
///   config.json split.json          what the run is, written once at its beginning
///   metrics.csv log.txt             a row and a line per epoch
///   best.safetensors last.safetensors previews/*.png
///   events.out.tfevents.0.decant    the same for TensorBoard, see tensorboard.h
///   state.safetensors               weights, moments, Progress, the bytes of best, and the lengths
///                                   of the growing files above: its rename *is* the commit
///
/// A commit writes the others first. A process that dies in between leaves them ahead of the state;
/// open() brings them back to it: growing files are cut to their committed length, networks are
/// written again. Nothing holds a time or a number of threads, so equal runs have equal bytes.
/// One process at a time: the folder is locked while a RunFolder lives.
class RunFolder {
 public:
  /// Throws Error unless create() may make a run there: nothing, an empty folder, or what a
  /// create() left that was killed. (Whether a split.json there is such, create() tells.)
  static void require_free(const std::filesystem::path& path);

  /// Removes a folder in which nothing lies but what a create() left that was killed.
  static void remove_beginning(const std::filesystem::path& path);

  /// Begins a run. Throws Error where the folder is not free, holds a split.json of other bytes
  /// than `split` has, cannot be written, or another process uses it; nothing in it is changed
  /// then.
  static RunFolder create(const std::filesystem::path& path, const Json& config, const Json& split);

  /// Goes on with a run. Throws Error where there is none, or another process uses it.
  static RunFolder open(const std::filesystem::path& path);

  /// After create(): takes the run back where nothing was committed, so that the same command can
  /// begin it again. What lay there before stays.
  void take_back() noexcept;

  ~RunFolder();
  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path best() const { return path_ / "best.safetensors"; }
  std::filesystem::path last() const { return path_ / "last.safetensors"; }
  Json config() const;
  Json split() const;

  const Progress& progress() const { return progress_; }
  bool committed() const { return progress_.step > 0; }
  /// The tensors of the last commit. Throws Error where there is none or the file is damaged.
  TensorFile state() const;

  void append_log(std::string_view line);
  void append_metrics(std::string_view row);
  void append_events(std::string_view records);
  bool has_events() const;  ///< false where the next ones begin the file

  /// Commits an epoch, or the steps of one at work.
  ///   tensors       all that going on needs, and `metadata`, which state() gives back
  ///   write_last    writes the network as it is now to the given path
  /// `best` becomes the same bytes where progress.at_best().
  /// Throws Error where something cannot be written; the last commit stays as it was.
  void commit(const Progress& progress, std::vector<NamedTensor> tensors,
              std::map<std::string, std::string> metadata,
              const std::function<void(const std::filesystem::path&)>& write_last);

  /// After open(): writes last and best as the state has them.
  void repair(const std::function<void(const std::filesystem::path&)>& write_last);

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  void lock();
  void append(const char* name, std::string_view bytes);

  std::filesystem::path path_;
  Progress progress_;
  std::string best_bytes_;  ///< of best.safetensors, where it is not the network at hand
  std::vector<std::filesystem::path> made_;  ///< by create(), the last first
  int lock_ = -1;
};

/// The checkpoint that `path` means: the file itself, or best.safetensors of a run folder.
/// Throws Error where it is neither.
std::filesystem::path find_checkpoint(const std::filesystem::path& path);

/// Whether `path` is a run folder that has finished no epoch yet.
bool has_no_epoch(const std::filesystem::path& path);

/// The bytes of a file. Throws Error naming it.
std::string read_bytes(const std::filesystem::path& path);

}  // namespace decant::apps
