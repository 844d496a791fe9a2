#include "data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <system_error>
#include <thread>
#include <unordered_map>

#include "engine/core/error.h"
#include "engine/core/parallel.h"
#include "engine/core/rng.h"

namespace decant::data {
namespace {

/// Decoded samples, kept until the limit is reached and then no more: a training run visits all
/// samples in turn, for which throwing out the oldest would keep nothing.
class DecodedCache {
 public:
  explicit DecodedCache(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  std::shared_ptr<const LoadedSample> get(const Sample& sample, int channels) {
    {
      const std::lock_guard lock(mutex_);
      if (const auto it = entries_.find(sample.id); it != entries_.end()) return it->second;
    }
    auto loaded = std::make_shared<const LoadedSample>(load_sample(sample, channels));
    const auto bytes =
        static_cast<int64_t>(loaded->image.pixels.size() + loaded->mask.pixels.size());
    const std::lock_guard lock(mutex_);
    if (bytes_ + bytes <= limit_bytes_ && entries_.emplace(sample.id, loaded).second)
      bytes_ += bytes;
    return loaded;
  }

 private:
  const int64_t limit_bytes_;
  std::mutex mutex_;
  int64_t bytes_ = 0;
  std::unordered_map<std::string, std::shared_ptr<const LoadedSample>> entries_;
};

/// Which batch; what a worker made of it, or the exception it met.
struct Job {
  int64_t epoch;
  int64_t index;
  enum { waiting, running, done } state = waiting;
  Batch batch = {};
  std::exception_ptr error = nullptr;
};

// Whether frame number `position` of a batch of `count` fits those before.
void check_frame(const FrameShape& frame, const std::string& id, Shape& batch, int64_t position,
                 int64_t count) {
  const Shape one = {1, frame.height, frame.width, frame.channels};
  if (position == 0) batch = {count, one[1], one[2], one[3]};
  check(batch[1] == one[1] && batch[2] == one[2],
        "augmentation: expected frames of one size in a batch, ", batch, " and ", one, " of '", id,
        "' (a RandomCrop or Resize settles it)");
}

void append_frame(const Frame& frame, Tensor& tensor, int64_t position, int64_t count) {
  if (position == 0) tensor = Tensor({count, frame.height, frame.width, frame.channels});
  const auto size = static_cast<int64_t>(frame.image.size());
  std::ranges::copy(frame.image, tensor.mutable_data<float>() + position * size);
}

}  // namespace

struct Loader::State {
  std::vector<Sample> samples;
  Pipeline pipeline;
  LoaderOptions options;
  DecodedCache cache;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Job>> jobs;  // the batch last asked for, and those after it
  bool stopping = false;
  std::vector<std::thread> workers;

  State(std::vector<Sample> chosen, Pipeline p, const LoaderOptions& o)
      : samples(std::move(chosen)), pipeline(std::move(p)), options(o), cache(o.cache_limit_bytes) {
    try {
      for (int i = 0; i < options.threads; ++i) workers.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      const size_t started = workers.size();
      stop();
      throw Error(str("Loader: expected ", options.threads, " threads, got ", started,
                      " from the system: ", error.what()));
    }
  }

  ~State() { stop(); }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  int64_t count() const { return static_cast<int64_t>(samples.size()); }
  int64_t batches() const {
    const int64_t whole = count() / options.batch;
    return whole + (!options.drop_last && count() % options.batch != 0 ? 1 : 0);
  }

  // The samples of a batch: a slice of the epoch's order, shuffled by Fisher & Yates.
  std::vector<size_t> members(int64_t epoch, int64_t index) const {
    std::vector<size_t> order(samples.size());
    std::iota(order.begin(), order.end(), size_t{0});
    if (options.shuffle) {
      const Rng rng(RngKey::of(options.seed, "shuffle", static_cast<uint64_t>(epoch)));
      for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[rng.below(i, i + 1)]);
    }
    const auto begin = order.begin() + index * options.batch;
    return {begin, begin + std::min(options.batch, count() - index * options.batch)};
  }

  Batch make(int64_t epoch, int64_t index) {
    const std::vector<size_t> chosen = members(epoch, index);
    const auto n = static_cast<int64_t>(chosen.size());
    Batch batch;
    std::vector<AugmentPlan> plans;
    for (int64_t i = 0; i < n; ++i) {
      const Sample& sample = samples[chosen[static_cast<size_t>(i)]];
      if (options.pictures)
        plans.push_back(plan_sample(sample, epoch, i, n, batch));
      else
        add_sample(sample, epoch, i, n, batch);
      batch.ids.push_back(sample.id);
    }
    if (options.pictures) batch.table = augment_table(plans);
    return batch;
  }

  RngKey key_of(const Sample& sample, int64_t epoch) const {
    return RngKey::of(options.seed, "augment", static_cast<uint64_t>(epoch), fnv1a64(sample.id));
  }

  AugmentPlan plan_sample(const Sample& sample, int64_t epoch, int64_t position, int64_t n,
                          Batch& batch) const {
    const PictureStore::Place& place = options.pictures->find(sample.id);
    PlannedFrame frame =
        pipeline.plan({place.width, place.height, options.in_channels}, key_of(sample, epoch));
    check_frame(frame, sample.id, batch.frames, position, n);
    if (options.pair) batch.teacher_to_student.push_back(frame.teacher_to_student());
    batch.has_mask.push_back(place.mask_at >= 0);
    frame.plan.image_at = place.image_at;
    frame.plan.mask_at = place.mask_at;
    return std::move(frame.plan);
  }

  void add_sample(const Sample& sample, int64_t epoch, int64_t position, int64_t n, Batch& batch) {
    const auto loaded = cache.get(sample, options.in_channels);
    Frame frame(loaded->image, loaded->mask);
    const RngKey key = key_of(sample, epoch);
    if (options.pair) {
      ViewPair views = pipeline.apply_pair(frame, key);
      check_frame(views.teacher, sample.id, batch.frames, position, n);
      append_frame(views.teacher, batch.teacher_images, position, n);
      batch.teacher_to_student.push_back(views.teacher_to_student);
      frame = std::move(views.student);
    } else {
      pipeline.apply(frame, key);
    }
    check_frame(frame, sample.id, batch.frames, position, n);
    append_frame(frame, batch.images, position, n);
    Frame mask = {};
    mask.width = frame.width;
    mask.height = frame.height;
    mask.channels = 1;
    mask.image.assign(frame.mask.begin(), frame.mask.end());
    if (frame.mask.empty())
      mask.image.assign(frame.image.size() / static_cast<size_t>(frame.channels), 0);
    append_frame(mask, batch.masks, position, n);
    batch.has_mask.push_back(!frame.mask.empty());
  }

  void work() {
    const SerialScope serial;  // the pool belongs to the thread that trains
    std::unique_lock lock(mutex);
    while (true) {
      std::shared_ptr<Job> job;
      changed.wait(lock, [&] { return stopping || (job = next_waiting()) != nullptr; });
      if (stopping) return;
      job->state = Job::running;
      lock.unlock();
      try {
        job->batch = make(job->epoch, job->index);
      } catch (...) {
        job->error = std::current_exception();
      }
      lock.lock();
      job->state = Job::done;
      changed.notify_all();
    }
  }

  std::shared_ptr<Job> next_waiting() const {
    for (const auto& job : jobs)
      if (job->state == Job::waiting) return job;
    return nullptr;
  }

  // The batch itself and those that are asked for after it in an epoch-by-epoch run, one more than
  // there are threads, so that none of them is idle while the caller computes.
  void schedule(int64_t epoch, int64_t index) {
    const auto is_wanted = [&](const auto& job) {
      return job->epoch == epoch && job->index == index;
    };
    // Behind us, or, after a jump to another place, of no more use. A running job lives on until
    // its worker is done with it.
    while (!jobs.empty() && !is_wanted(jobs.front())) jobs.pop_front();
    if (jobs.empty()) jobs.push_back(std::make_shared<Job>(Job{epoch, index}));
    while (jobs.size() < static_cast<size_t>(options.threads) + 2) {
      const Job& last = *jobs.back();
      const bool next_epoch = last.index + 1 == batches();
      jobs.push_back(std::make_shared<Job>(next_epoch ? Job{last.epoch + 1, 0}
                                                      : Job{last.epoch, last.index + 1}));
    }
  }

  Batch fetch(int64_t epoch, int64_t index) {
    std::unique_lock lock(mutex);
    schedule(epoch, index);
    const std::shared_ptr<Job> job = jobs.front();
    changed.notify_all();
    changed.wait(lock, [&] { return job->state == Job::done; });
    jobs.pop_front();
    if (job->error) std::rethrow_exception(job->error);
    return std::move(job->batch);
  }
};

void make_pixels(const PictureStore& pictures, Batch& batch) {
  const auto like = [](const Tensor& t) { return Tensor(t.shape(), t.dtype(), t.device()); };
  const Tensor grey = like(batch.images);
  const Tensor grey_masks = like(batch.masks);
  frame_images(pictures.pixels(), batch.table, grey, grey_masks);
  if (batch.teacher_images.defined()) normalize_images(grey, batch.table, batch.teacher_images);
  vary_images(grey, grey_masks, batch.table, batch.images, batch.masks);
}

Loader::Loader(const Dataset& dataset, const std::vector<std::string>& ids, Pipeline pipeline,
               const LoaderOptions& options) {
  check(!ids.empty(), "Loader: expected at least one image, got none of ", dataset.root.string());
  check(options.batch >= 1, "Loader: expected a batch of at least 1, got ", options.batch);
  check(options.threads >= 0 && options.threads <= 256, "Loader: expected 0 .. 256 threads, got ",
        options.threads);
  check(options.in_channels == 1 || options.in_channels == 3,
        "Loader: expected 1 or 3 input channels, got ", options.in_channels);
  if (options.pictures) {
    check(options.pictures->channels() == options.in_channels, "Loader: expected pictures of ",
          options.in_channels, " channels, got ", options.pictures->channels());
    const std::string refused = pipeline.only_on_cpu();
    check(refused.empty(), "Loader: expected a pipeline that a device does, got ", refused);
  }
  std::vector<Sample> samples;
  for (const std::string& id : ids) {
    samples.push_back(dataset.find(id));
    check(!options.need_masks || !samples.back().masks.empty(), samples.back().image.string(),
          ": expected a mask for it, found none");
  }
  check(!options.drop_last || static_cast<int64_t>(ids.size()) >= options.batch,
        "Loader: expected at least one whole batch of ", options.batch, ", got ", ids.size(),
        " images");
  state_ = std::make_unique<State>(std::move(samples), std::move(pipeline), options);
}

Loader::~Loader() = default;

int64_t Loader::batches() const {
  return state_->batches();
}

int64_t Loader::samples() const {
  return state_->count();
}

Batch Loader::batch(int64_t epoch, int64_t i) {
  check(epoch >= 0 && i >= 0 && i < batches(), "Loader: expected a batch of 0 .. ", batches() - 1,
        ", got batch ", i, " of epoch ", epoch);
  return state_->options.threads == 0 ? state_->make(epoch, i) : state_->fetch(epoch, i);
}

}  // namespace decant::data
