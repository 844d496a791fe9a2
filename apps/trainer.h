#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/checkpoint_notes.h"
#include "apps/config.h"
#include "apps/console.h"
#include "apps/evaluate.h"
#include "apps/run_folder.h"
#include "apps/step_feed.h"
#include "apps/tensorboard.h"
#include "apps/train_step.h"
#include "data/loader.h"
#include "data/split.h"
#include "kd/distiller.h"
#include "kd/teacher.h"
#include "nn/optimizer.h"
#include "nn/parameter_set.h"
#include "nn/weight_average.h"

namespace decant::apps {

enum class Outcome { finished, interrupted };

/// A run's one limit for decoded images, shared out between its two sets by their numbers of
/// images; not both 0.
struct CacheShares {
  int64_t train_bytes;
  int64_t val_bytes;
};
CacheShares share_cache(int64_t limit_bytes, size_t train, size_t val);

/// The one loop behind `train` and `distill`. An epoch is: all batches (one TrainStep each), one
/// pass over the validation images, one commit of the run folder. Everything random is a function
/// of the config and counters, so a run that was killed and resumed goes on with the same bits.
class Trainer {
 public:
  /// Reads the data set and builds networks, loader and optimizer, without a folder: whatever does
  /// not fit is an Error before anything is written. `splits` holds the one split of the run.
  Trainer(TrainConfig config, data::Dataset dataset, const data::SplitSet& splits,
          Console& console);
  ~Trainer();

  /// What a new run begins its log with. The teacher is evaluated for it: where its checkpoint
  /// records a Dice for these very images and it is off by more than 0.005, that is an Error.
  std::vector<std::string> header();

  /// Trains until the config's end or an interrupt; from the folder's last commit where it has one,
  /// otherwise from the beginning, with `header` as the first lines of the log.
  /// Throws Error where a loss is not finite, naming epoch, step and term: the last commit stays.
  Outcome run(RunFolder& folder, const std::vector<std::string>& header);

 private:
  /// Means over the steps of an epoch, by name: the columns of metrics.csv.
  struct EpochFigures {
    std::vector<std::pair<std::string, double>> losses;
    double gradient_norm = 0;  ///< of the whole gradient, before clipping
    double learning_rate = 0;  ///< of the last step
  };

  /// What the steps of the epoch at work have left so far.
  struct EpochAtWork {
    Tensor figures;  ///< [batches, TrainStep::figures], on the device; void for steps to come
    std::vector<kd::GradientNorm> gradient_norms;  ///< at the first step
  };

  void load_pictures(const data::Pipeline& augmentation, int channels);
  void load_init();
  void load_teacher();
  void check_smallest_batch() const;
  void check_framing(const data::Pipeline& augmentation) const;
  void check_views(const data::Pipeline& augmentation) const;
  void check_teacher_pixels(const data::Pipeline& evaluation) const;
  void check_terms();
  void note_cells_apart(std::vector<std::string>& lines) const;
  void check_teacher(std::vector<std::string>& lines);
  void check_unchanged(const CheckpointNotes& before) const;
  void restore();
  void restore_epoch(const TensorFile& state);
  bool train_epoch();  ///< the rest of the epoch at work; false where the user stopped it
  EpochFigures epoch_figures() const;
  void check_finite(const Tensor& figures, int64_t begin, int64_t end) const;
  double learning_rate(int64_t step) const;
  nn::Network& kept_network();  ///< that is validated, chosen, drawn and saved
  Variable supervised(const Variable& logits, const Tensor& masks) const;
  /// Ends an epoch: the best network's bookkeeping, texts, previews, commit.
  void finish_epoch(double seconds);
  void commit();
  std::vector<EventImage> draw_previews(bool current_is_best);
  std::vector<NamedTensor> state_tensors();
  void save(const std::filesystem::path& path);
  void log(const std::string& line);
  std::string saved_text() const;  ///< "the network after epoch 3 is in runs/a/last.safetensors"
  std::string arithmetic() const;
  std::string epoch_text() const;  ///< "epoch 3/80", of the epoch at work

  TrainConfig config_;
  Console& console_;
  Device device_;
  RunFolder* folder_ = nullptr;  ///< while run() runs

  data::Dataset dataset_;
  data::Split split_;
  std::string split_origin_;
  std::unique_ptr<nn::Network> network_;
  std::shared_ptr<data::PictureStore> pictures_;  ///< where the device augments
  std::string augmentation_line_;                 ///< where it does, or why not; "" on the CPU
  std::unique_ptr<data::Loader> loader_;
  std::unique_ptr<EvaluationSet> validation_;

  std::unique_ptr<kd::FrozenTeacher> teacher_;  ///< the next three only where it distils
  CheckpointNotes teacher_notes_;
  std::unique_ptr<kd::Distiller> distiller_;

  std::unique_ptr<nn::ParameterSet> parameters_;
  std::unique_ptr<nn::Optimizer> optimizer_;
  std::unique_ptr<nn::WeightAverage> average_;  ///< only with optim.ema
  std::unique_ptr<TrainStep> step_;
  std::unique_ptr<StepFeed> feed_;
  Progress progress_;
  EpochAtWork at_work_;
  CheckpointNotes notes_;  ///< of the network as it is now
};

}  // namespace decant::apps
