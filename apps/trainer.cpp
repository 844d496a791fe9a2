#include "apps/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "apps/device.h"
#include "apps/memory.h"
#include "apps/report.h"
#include "engine/core/parallel.h"
#include "engine/cpu/conv_algorithm.h"
#include "engine/io/atomic_file.h"
#include "nn/schedule.h"

namespace decant::apps {
namespace {

Tensor on_host(const Tensor& figures) {
  return figures.to(Device::cpu).to(DType::f64);
}

// Numbers in texts that must be equal between equal runs: nine digits tell all floats apart.
std::string digits(double value) {
  std::ostringstream out;
  out.precision(9);
  out << value;
  return out.str();
}

// A thread that decodes ahead takes time from the pool's, so there is one for every four; on cuda
// the pool has nothing else to do.
int loader_threads(Device device) {
  if (device == Device::cuda) return num_threads();
  return num_threads() == 1 ? 0 : std::max(1, num_threads() / 4);
}

}  // namespace

CacheShares share_cache(int64_t limit_bytes, size_t train, size_t val) {
  const auto all = static_cast<int64_t>(train + val);
  const int64_t val_bytes = limit_bytes / all * static_cast<int64_t>(val);
  return {.train_bytes = limit_bytes - val_bytes, .val_bytes = val_bytes};
}

Trainer::~Trainer() = default;

void Trainer::load_init() {
  const std::filesystem::path weights =
      find_weights(config_.init.substr(config_.init.find('=') + 1));
  if (config_.init.starts_with("encoder="))
    nn::load_encoder_weights(*network_, weights);
  else
    nn::load_network_weights(*network_, weights);
}

Trainer::Trainer(TrainConfig config, data::Dataset dataset, const data::SplitSet& splits,
                 Console& console)
    : config_(std::move(config)),
      console_(console),
      device_(use_device(config_.device, config_.precision)),
      dataset_(std::move(dataset)),
      split_(splits.fold(0)),
      split_origin_(splits.origin) {
  cpu::set_exact_convolutions(config_.exact);
  check(!split_.train.empty() && !split_.val.empty(),
        "split: expected images to train on and images to choose by, got ", split_.train.size(),
        " and ", split_.val.size());
  const nn::NetworkSpec spec = network_spec(config_);
  network_ = nn::make_network(spec, config_.seed);
  if (!config_.init.empty()) load_init();
  const int channels = static_cast<int>(spec.in_channels);
  const data::Pipeline augmentation = pipeline(config_);
  bool pair = false;
  nn::move_to(*network_, device_);
  if (is_distilling(config_)) {
    load_teacher();
    pair = distiller_->spec().teacher_view != kd::TeacherView::same;
    parameters_ =
        std::make_unique<nn::ParameterSet>(std::vector<std::pair<std::string, nn::Module*>>{
            {"", network_.get()}, {"distiller", distiller_.get()}});
  } else {
    parameters_ = std::make_unique<nn::ParameterSet>(*network_);
  }
  const CacheShares cache =
      share_cache(config_.data.cache_mb << 20, split_.train.size(), split_.val.size());
  optimizer_ = nn::make_optimizer(*parameters_, {.name = config_.optim.name,
                                                 .weight_decay = config_.optim.weight_decay,
                                                 .momentum = config_.optim.momentum});
  step_ = std::make_unique<TrainStep>(*network_, *parameters_, *optimizer_,
                                      StepOptions{.loss = {.name = config_.loss},
                                                  .clip = config_.optim.clip,
                                                  .seed = config_.seed,
                                                  .graph = config_.step_graph == "on"});
  if (distiller_) step_->teach_by(*teacher_, *distiller_);
  if (config_.optim.ema > 0) {
    average_ = std::make_unique<nn::WeightAverage>(*network_, *parameters_, config_.optim.ema);
    step_->average_into(*average_);
  }
  check(!config_.drop_last || std::cmp_less_equal(config_.batch, split_.train.size()),
        "batch: expected at most the ", split_.train.size(),
        " training images with drop_last, got ", config_.batch);
  if (device_ == Device::cpu)
    require_step_memory(*network_, config_.data.size,
                        std::min(config_.batch, static_cast<int64_t>(split_.train.size())),
                        "data.size");
  check_framing(augmentation);
  check_views(augmentation);
  load_pictures(augmentation, channels);
  feed_ = std::make_unique<StepFeed>(device_, pictures_);
  loader_ =
      std::make_unique<data::Loader>(dataset_, split_.train, augmentation,
                                     data::LoaderOptions{.batch = config_.batch,
                                                         .seed = config_.seed,
                                                         .threads = loader_threads(device_),
                                                         .shuffle = true,
                                                         .drop_last = config_.drop_last,
                                                         .cache_limit_bytes = cache.train_bytes,
                                                         .in_channels = channels,
                                                         .pair = pair,
                                                         .pictures = pictures_});
  const int64_t steps = config_.epochs * loader_->batches();
  check(config_.schedule.warmup_steps == 0 || config_.schedule.warmup_steps < steps,
        "schedule.warmup_steps: expected fewer than all ", steps, " steps of the run (epochs ",
        config_.epochs, ", ", loader_->batches(), " batches each), got ",
        config_.schedule.warmup_steps);
  check_smallest_batch();
  const data::Pipeline evaluation = augmentation.evaluation(config_.data.size);
  validation_ =
      std::make_unique<EvaluationSet>(dataset_, split_.val, evaluation, channels, cache.val_bytes);
  notes_ = {.size = config_.data.size,
            .augment = augment_name(config_),
            .preset = config_.distill.preset,
            .seed = config_.seed,
            .split = split_origin_,
            .pipeline = Json(evaluation.to_json()),
            .data_digest = data_digest(dataset_, split_)};
  if (teacher_) {
    notes_.teacher_digest = fnv1a64(read_bytes(find_checkpoint(config_.distill.teacher)));
    check_teacher_pixels(evaluation);
  }
  progress_.arithmetic = arithmetic();
}

// Where the images are augmented is a matter of speed, and of the last bits: whatever keeps them
// from the device is said, and the CPU does it.
void Trainer::load_pictures(const data::Pipeline& augmentation, int channels) {
  if (device_ == Device::cpu || config_.data.augment_on == "cpu") return;
  if (const std::string refused = augmentation.only_on_cpu(); !refused.empty()) {
    augmentation_line_ = str("notice: augmentation on the cpu, the device does not know ", refused);
    return;
  }
  auto pictures = std::make_shared<data::PictureStore>(dataset_, split_.train, channels);
  const int64_t mib = (pictures->bytes() + (1 << 20) - 1) >> 20;
  if (mib > config_.data.device_mb) {
    augmentation_line_ = str("notice: augmentation on the cpu, the decoded images take ", mib,
                             " MiB and data.device_mb allows ", config_.data.device_mb);
    return;
  }
  pictures->load(device_);
  pictures_ = std::move(pictures);
  augmentation_line_ = str("augmentation on the device: ", split_.train.size(),
                           " decoded images uploaded once, ", mib, " MiB");
}

// What computes here, as far as bits depend on it.
std::string Trainer::arithmetic() const {
  return arithmetic_of(device_) + (pictures_ ? " and augmentation" : "");
}

void Trainer::load_teacher() {
  TrainedNetwork trained = load_trained(config_.distill.teacher);
  const nn::NetworkSpec mine = network_->spec();
  const nn::NetworkSpec theirs = trained.network->spec();
  nn::NetworkSpec fitting = mine;
  fitting.in_channels = theirs.in_channels;
  check(mine.in_channels == theirs.in_channels, config_.distill.teacher, ": expected a teacher of ",
        mine.in_channels, "-channel images as the student, got one of ", theirs.in_channels,
        "; --model ", fitting.name(), " makes one for it");
  const kd::DistillSpec spec = distill_spec(config_);
  distiller_ = std::make_unique<kd::Distiller>(
      spec, kd::TapFacts{mine.classes, network_->hidden_channels()},
      kd::TapFacts{theirs.classes, trained.network->hidden_channels()}, config_.seed);
  teacher_notes_ = trained.notes;
  nn::move_to(*trained.network, device_);
  nn::move_to(*distiller_, device_);
  teacher_ =
      std::make_unique<kd::FrozenTeacher>(std::move(trained.network), spec.teacher_batch_norm);
}

Variable Trainer::supervised(const Variable& logits, const Tensor& masks) const {
  return nn::supervised_loss(logits, {.labels = masks}, {.name = config_.loss});
}

void Trainer::log(const std::string& line) {
  folder_->append_log(line);
  console_.line(line);
}

Outcome Trainer::run(RunFolder& folder, const std::vector<std::string>& header) {
  folder_ = &folder;
  const InterruptGuard interrupts;
  if (folder.committed())
    restore();
  else
    for (const std::string& line : header) log(line);
  console_.line(str(num_threads(), " threads, ", progress_.arithmetic, " kernels"));
  console_.begin();
  while (!progress_.finished) {
    const auto start = std::chrono::steady_clock::now();
    if (!train_epoch()) {
      if (progress_.batch > 0) commit();
      console_.line(str("stopped in ", epoch_text(), " after ", progress_.batch, " of its ",
                        loader_->batches(), " steps, all saved; decant train --resume ",
                        folder.path(),  // quoted as a shell needs it
                        " goes on from there"));
      return Outcome::interrupted;
    }
    finish_epoch(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  console_.line(str("finished: the best network is that of epoch ", progress_.best_epoch, ", ",
                    config_.metric, " ", rounded(progress_.best_score, 4), ": ",
                    folder.best().string()));
  return Outcome::finished;
}

std::string Trainer::epoch_text() const {
  return str("epoch ", progress_.epoch + 1, "/", config_.epochs);
}

bool Trainer::train_epoch() {
  const int64_t batches = loader_->batches();
  const int64_t resumed_at = folder_->progress().step;
  const int64_t first = progress_.batch;
  Tensor& table = at_work_.figures;
  feed_->put(loader_->batch(progress_.epoch, first));
  for (int64_t i = first; i < batches; ++i) {
    if (InterruptGuard::interrupted()) {
      if (device_ == Device::cuda && i > 0) check_finite(on_host(table), 0, i);
      return false;
    }
    const data::Batch& batch = feed_->take();
    const bool wants_norms = distiller_ && i == 0;
    std::optional<Profile> profile;
    if (progress_.step == 0 && device_ == Device::cpu) profile.emplace();
    step_->run(batch, learning_rate(progress_.step), progress_.step,
               wants_norms ? &at_work_.gradient_norms : nullptr);
    if (profile) folder_->append_log(algorithms_of(*profile));
    ++progress_.step;
    ++progress_.batch;
    const Tensor& row = step_->figures();
    if (!table.defined()) table = Tensor({batches, row.size()}, row.dtype(), row.device());
    table.view(i * row.size(), row.shape()).copy_from(row);
    // On cuda the numbers are read when the epoch is over: nothing waits for the device before.
    if (device_ == Device::cpu) check_finite(table, i, i + 1);
    if (i + 1 < batches) feed_->put(loader_->batch(progress_.epoch, i + 1));
    console_.progress(epoch_text(), progress_.step - resumed_at,
                      config_.epochs * batches - resumed_at);
  }
  return true;  // all steps are done: a signal now waits until the epoch is saved
}

Trainer::EpochFigures Trainer::epoch_figures() const {
  const int64_t batches = loader_->batches();
  const Tensor rows = on_host(at_work_.figures);
  check_finite(rows, 0, batches);
  EpochFigures figures;
  figures.learning_rate = learning_rate(progress_.step - 1);
  const auto width = static_cast<int64_t>(step_->names().size());
  for (int64_t k = 0; k < width; ++k) {
    double sum = 0;
    for (int64_t i = 0; i < batches; ++i) sum += rows.data<double>()[i * width + k];
    const double mean = sum / static_cast<double>(batches);
    if (k + 1 < width)
      figures.losses.emplace_back(step_->names()[static_cast<size_t>(k)], mean);
    else
      figures.gradient_norm = mean;
  }
  return figures;
}

// Of the steps [begin, end) of the epoch, one row of `figures` each.
void Trainer::check_finite(const Tensor& figures, int64_t begin, int64_t end) const {
  const int64_t width = figures.shape()[1];
  const auto* values = figures.data<double>();
  for (int64_t i = begin * width; i < end * width; ++i)
    check(std::isfinite(values[i]), "epoch ", progress_.epoch + 1, ", step ",
          progress_.epoch * loader_->batches() + i / width + 1, ": expected a finite ",
          step_->names()[static_cast<size_t>(i % width)], ", got ", values[i], "; ", saved_text());
}

// What a resume would go on from.
std::string Trainer::saved_text() const {
  const Progress& saved = folder_->progress();
  if (!folder_->committed()) return "nothing was saved yet";
  const std::string steps = saved.batch == 0 ? "" : str(" and ", saved.batch, " steps of the next");
  return str("the network after epoch ", saved.epoch, steps, " is in ", folder_->last().string());
}

double Trainer::learning_rate(int64_t step) const {
  const int64_t batches = loader_->batches();
  return nn::learning_rate({.name = config_.schedule.name,
                            .warmup_steps = config_.schedule.warmup_steps,
                            .step_every = config_.schedule.step_epochs * batches,
                            .gamma = config_.schedule.gamma,
                            .power = config_.schedule.power,
                            .final_fraction = config_.schedule.final_fraction},
                           config_.optim.lr, step, config_.epochs * batches);
}

nn::Network& Trainer::kept_network() {
  return average_ ? average_->network() : *network_;
}

void Trainer::finish_epoch(double seconds) {
  const EpochFigures figures = epoch_figures();
  const Validation val = validate(
      *validation_, config_.batch, forward_of(kept_network()),
      [this](const Variable& logits, const Tensor& masks) { return supervised(logits, masks); });
  const std::string epoch = epoch_text();
  ++progress_.epoch;
  progress_.batch = 0;
  check(std::isfinite(val.loss), "epoch ", progress_.epoch, ": expected a finite val_loss, got ",
        val.loss, "; ", saved_text());
  const bool by_dice = config_.metric == "val_dice";
  const double score = by_dice ? val.dice : val.loss;
  const bool better = progress_.best_epoch == 0 ||
                      (by_dice ? score > progress_.best_score : score < progress_.best_score);
  if (better) {
    progress_.best_epoch = progress_.epoch;
    progress_.best_score = score;
  }
  const bool out_of_patience =
      config_.patience > 0 && progress_.epoch - progress_.best_epoch >= config_.patience;
  progress_.finished = progress_.epoch == config_.epochs || out_of_patience;

  notes_.epoch = progress_.epoch;
  notes_.val_loss = val.loss;
  notes_.val_dice = val.dice;
  notes_.val_digest = val.digest;

  std::string header = "epoch,step,lr";
  std::string row = str(progress_.epoch, ",", progress_.step, ",", digits(figures.learning_rate));
  std::string words = epoch;
  std::vector<EventScalar> scalars = {{event_tag("lr"), figures.learning_rate}};
  const auto column = [&](const std::string& name, double value) {
    scalars.push_back({event_tag(name), value});
    header.append(",").append(name);
    row.append(",").append(std::isnan(value) ? "" : digits(value));  // Dice of no lesions
  };
  for (const auto& [name, value] : figures.losses) {
    column("train_" + name, value);
    words += str("  ", name, " ", rounded(value, 4));
  }
  column("gradient_norm", figures.gradient_norm);
  for (const kd::GradientNorm& of : at_work_.gradient_norms)
    column("gradient_norm_" + of.name + "_at_" + of.map, of.norm);
  column("val_loss", val.loss);
  column("val_dice", val.dice);
  column("val_dice_lesions", val.lesion_dice);
  words += str("  val_loss ", rounded(val.loss, 4), "  val_dice ", dice_text(val),
               better ? "  best" : "");
  if (progress_.epoch == 1) folder_->append_metrics(header);
  folder_->append_metrics(row);
  folder_->append_log(words);
  console_.line(str(words, "  ", rounded(seconds, 1), " s"));
  if (out_of_patience)
    log(str("stopped early: no better ", config_.metric, " for ", config_.patience, " epochs"));

  // Drawing takes as long as an epoch of a tiny network: at epochs 1, 2, 4, 8 .. and at the end.
  const bool power_of_two = (progress_.epoch & (progress_.epoch - 1)) == 0;
  std::vector<EventImage> previews;
  if (progress_.finished || power_of_two) previews = draw_previews(better);
  if (!folder_->has_events()) folder_->append_events(event_file_head());
  folder_->append_events(epoch_event(progress_.epoch, scalars, previews));
  commit();
  at_work_.gradient_norms.clear();
}

std::vector<EventImage> Trainer::draw_previews(bool current_is_best) {
  std::vector<EventImage> drawn;
  const int64_t count = std::min(config_.previews, validation_->count());
  if (count == 0) return drawn;
  std::unique_ptr<nn::Network> loaded;
  if (!current_is_best) loaded = nn::network_from_checkpoint(folder_->best()).network;
  const Forward student = forward_of(loaded ? *loaded : kept_network());
  const Forward teacher = teacher_ ? forward_of(teacher_->network()) : nullptr;
  const std::filesystem::path directory = folder_->path() / "previews";
  std::filesystem::create_directories(directory);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = i * validation_->count() / count;  // spread over the classes
    const EvaluationSet::Item item = validation_->load(at);
    PreviewParts parts{.image = item.own, .truth = item.truth};
    parts.student = predicted_mask(student, item);
    if (teacher) parts.teacher = predicted_mask(teacher, item);
    std::string name = validation_->id(at);
    std::ranges::replace(name, '/', '_');
    drawn.push_back(event_image("previews/" + name, draw_preview(parts)));
    write_file_atomically(directory / (name + ".png"), drawn.back().png);
  }
  return drawn;
}

}  // namespace decant::apps
