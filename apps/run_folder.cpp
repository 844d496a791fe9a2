#include "apps/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "engine/io/atomic_file.h"
#include "nn/files/smp_folder.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBest = "best.safetensors";
constexpr const char* kLast = "last.safetensors";
constexpr const char* kState = "state.safetensors";
constexpr const char* kConfig = "config.json";
constexpr const char* kSplit = "split.json";
constexpr const char* kMetrics = "metrics.csv";
constexpr const char* kLog = "log.txt";
constexpr const char* kEvents =
    "events.out.tfevents.0.decant";  // "tfevents" is how readers know it
constexpr const char* kPreviews = "previews";
constexpr const char* kProgress = "progress";

// Files that grow with every epoch, and the key under which a state names their lengths.
struct Growing {
  const char* name;
  const char* length_key;
};
constexpr Growing kGrowing[] = {
    {kMetrics, "metrics_bytes"}, {kLog, "log_bytes"}, {kEvents, "events_bytes"}};

std::string reason() {
  return std::strerror(errno);
}

int64_t length_of(const fs::path& path) {
  std::error_code none;
  const auto size = fs::file_size(path, none);
  return none ? 0 : static_cast<int64_t>(size);
}

// Epochs that metrics.csv tells of, below its header.
int64_t rows_of(const fs::path& path) {
  std::ifstream file(path);
  int64_t lines = 0;
  for (std::string line; std::getline(file, line);) ++lines;
  return std::max<int64_t>(0, lines - 1);
}

// What a dead process appended after the commit goes.
void cut(const fs::path& path, int64_t length) {
  if (!fs::exists(path) && length == 0) return;
  check(length_of(path) >= length, path.string(), ": expected at least the ", length,
        " bytes that were committed, got ", length_of(path));
  std::error_code failed;
  fs::resize_file(path, static_cast<uintmax_t>(length), failed);
  check(!failed, path.string(), ": expected to cut it to its committed length, got ",
        failed.message());
}

// What a killed process was writing.
void remove_temporaries(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".tmp") found.push_back(entry.path());
  for (const fs::path& path : found) fs::remove(path);
}

// Whether all that lies there is what a create() leaves that was killed before config.json made the
// folder a run.
bool is_beginning(const fs::path& folder) {
  return std::ranges::all_of(fs::directory_iterator(folder), [](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    return name == kSplit || name == str(kSplit, ".tmp") || name == str(kConfig, ".tmp");
  });
}

Tensor tensor_of(const std::string& bytes) {
  return Tensor::of<uint8_t>(
      {static_cast<int64_t>(bytes.size())},
      std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

}  // namespace

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)),
      progress_(std::move(other.progress_)),
      best_bytes_(std::move(other.best_bytes_)),
      made_(std::move(other.made_)),
      lock_(std::exchange(other.lock_, -1)) {}

// The lock is on the folder itself: no lock file stays behind, and the system drops it with the
// process, however that ends.
void RunFolder::lock() {
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  check(lock_ >= 0, path_.string(), ": expected a folder, got ", reason());
  check(::flock(lock_, LOCK_EX | LOCK_NB) == 0, path_.string(),
        ": expected no other process at work in it, got one");
}

void RunFolder::require_free(const fs::path& path) {
  std::error_code failed;
  const bool exists = fs::exists(path, failed);
  check(!exists || fs::is_directory(path), path.string(), ": expected a folder, got a file");
  check(!exists || is_beginning(path), path.string(),
        ": expected a new or empty folder, got one with files; --resume goes on with a run");
}

void RunFolder::remove_beginning(const fs::path& path) {
  if (fs::is_directory(path) && is_beginning(path)) fs::remove_all(path);
}

RunFolder RunFolder::create(const fs::path& path, const Json& config, const Json& split) {
  require_free(path);
  const std::string split_words = split.dump(1) + "\n";
  const fs::path left = path / kSplit;  // by a create() that was killed, or by the user
  check(!fs::exists(left) || read_bytes(left) == split_words, path.string(),
        ": expected a new or empty folder, got one with a ", kSplit,
        " that is not this run's; it would be written over");
  RunFolder folder(path);
  std::error_code failed;
  if (fs::create_directories(path, failed)) folder.made_ = {path};
  check(!failed, path.string(), ": expected to make this folder, got ", failed.message());
  folder.lock();
  if (!fs::exists(left)) folder.made_.insert(folder.made_.begin(), left);
  write_file_atomically(path / kSplit, split_words);
  write_file_atomically(path / kConfig, config.dump(2) + "\n");  // last: from now on it is a run
  return folder;
}

RunFolder RunFolder::open(const fs::path& path) {
  check(fs::exists(path / kConfig), path.string(), ": expected a run folder, got no ", kConfig,
        " there");
  RunFolder folder(path);
  folder.lock();
  remove_temporaries(path);
  if (fs::is_directory(path / kPreviews)) remove_temporaries(path / kPreviews);
  std::map<std::string, int64_t> lengths;
  if (fs::exists(path / kState)) {
    const TensorFile state = read_safetensors(path / kState);
    const auto words = state.metadata.find(kProgress);
    check(words != state.metadata.end(), (path / kState).string(),
          ": expected the state of a run, got a file without \"progress\"");
    try {
      const Json json = Json::parse(words->second);
      Progress& p = folder.progress_;
      p.epoch = json.at("epoch").get<int64_t>();
      p.step = json.at("step").get<int64_t>();
      p.batch = json.value("batch", int64_t{0});
      p.best_epoch = json.at("best_epoch").get<int64_t>();
      p.best_score = json.at("best_score").get<double>();
      p.finished = json.at("finished").get<bool>();
      p.arithmetic = json.at("cpu_level").get<std::string>();
      for (const Growing& file : kGrowing)  // no events in runs of before they were written
        lengths[file.name] = file.name == kEvents ? json.value(file.length_key, int64_t{0})
                                                  : json.at(file.length_key).get<int64_t>();
    } catch (const nlohmann::json::exception& error) {
      throw Error(str((path / kState).string(), ": expected the progress of a run, got ",
                      words->second.substr(0, 100), " (", error.what(), ")"));
    }
    if (const Tensor* best = state.find(kBest)) {
      const auto bytes = best->values<uint8_t>();
      folder.best_bytes_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
  }
  if (!folder.committed()) {
    // A first commit that was killed leaves one epoch's row; more come of commits that were made.
    const int64_t epochs = rows_of(path / kMetrics);
    check(epochs <= 1, (path / kState).string(), ": expected the state of a run of ", epochs,
          " epochs, got no such file; without it the run cannot go on");
  }
  for (const Growing& file : kGrowing) cut(path / file.name, lengths[file.name]);
  return folder;
}

void RunFolder::take_back() noexcept {
  if (committed()) return;
  std::error_code ignored;  // the error that led here is the one to tell
  fs::remove_all(path_ / kPreviews, ignored);
  for (const char* name :
       {kMetrics, kLog, kEvents, kBest, kLast, kConfig})  // config.json makes it a run
    fs::remove(path_ / name, ignored);
  for (const fs::path& made : made_) fs::remove(made, ignored);  // a folder only where it is empty
}

Json RunFolder::config() const {
  return read_json_file((path_ / kConfig).string());
}

Json RunFolder::split() const {
  return read_json_file((path_ / kSplit).string());
}

TensorFile RunFolder::state() const {
  return read_safetensors(path_ / kState);
}

void RunFolder::append(const char* name, std::string_view bytes) {
  const fs::path path = path_ / name;
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  check(file >= 0, path.string(), ": expected to write to it, got ", reason());
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::write(file, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    const std::string why = reason();
    if (count <= 0) ::close(file);
    check(count > 0, path.string(), ": expected to write to it, got ", why);
    done += static_cast<size_t>(count);
  }
  // The state names this length: the bytes must be on the disk before its rename is.
  const bool flushed = ::fsync(file) == 0;
  ::close(file);
  check(flushed, path.string(), ": expected to flush it to the disk, got ", reason());
}

void RunFolder::append_log(std::string_view line) {
  append(kLog, str(line, "\n"));
}

void RunFolder::append_metrics(std::string_view row) {
  append(kMetrics, str(row, "\n"));
}

void RunFolder::append_events(std::string_view records) {
  append(kEvents, records);
}

bool RunFolder::has_events() const {
  return length_of(path_ / kEvents) > 0;
}

void RunFolder::commit(const Progress& progress, std::vector<NamedTensor> tensors,
                       std::map<std::string, std::string> metadata,
                       const std::function<void(const fs::path&)>& write_last) {
  // The best network is about to stop being the last one: from now on the state carries it.
  if (!progress.at_best() && progress_.at_best()) best_bytes_ = read_bytes(best());
  write_last(last());
  if (progress.at_best()) {
    best_bytes_.clear();
    write_last(best());
  } else if (progress.best_epoch > 0) {
    tensors.push_back({kBest, tensor_of(best_bytes_)});
  }
  Json words = {{"epoch", progress.epoch},           {"step", progress.step},
                {"batch", progress.batch},           {"best_epoch", progress.best_epoch},
                {"best_score", progress.best_score}, {"finished", progress.finished},
                {"cpu_level", progress.arithmetic}};
  for (const Growing& file : kGrowing) words[file.length_key] = length_of(path_ / file.name);
  metadata[kProgress] = words.dump();
  write_safetensors(path_ / kState, {std::move(tensors), std::move(metadata)});
  progress_ = progress;
}

void RunFolder::repair(const std::function<void(const fs::path&)>& write_last) {
  write_last(last());
  if (progress_.at_best())
    write_last(best());
  else if (progress_.best_epoch > 0)
    write_file_atomically(best(), best_bytes_);
}

fs::path find_checkpoint(const fs::path& path) {
  if (!fs::is_directory(path)) {
    check(fs::exists(path), path.string(),
          ": expected a run folder or a checkpoint, got nothing: there is no such file or folder");
    return path;
  }
  check(!nn::is_smp_folder(path), path.string(),
        ": expected a run folder or a checkpoint, got a model's folder of "
        "segmentation_models.pytorch; decant convert ",
        path, " OUT.safetensors --size N makes a checkpoint of it");
  check(fs::exists(path / kBest), path.string(), ": expected a run folder with ", kBest,
        has_no_epoch(path)
            ? ", got one that has finished no epoch; decant train --resume goes on with it"
            : ", got none in this folder");
  return path / kBest;
}

bool has_no_epoch(const fs::path& path) {
  return fs::exists(path / kConfig) && !fs::exists(path / kBest) && !nn::is_smp_folder(path);
}

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  check(file.good(), path.string(), ": expected a file, it cannot be opened");
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  check(!file.bad(), path.string(), ": expected to read it whole, reading failed");
  return bytes;
}

}  // namespace decant::apps
