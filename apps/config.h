#pragma once

#include <cstdint>
#include <string>

#include "apps/device.h"
#include "apps/options.h"
#include "data/augment.h"
#include "kd/spec.h"
#include "nn/network.h"

namespace decant::apps {

struct DataConfig {
  std::string path;
  std::string layout = "auto";
  std::string split;
  int64_t fold = 0;
  uint64_t split_seed = 0;
  int size = 128;
  int64_t cache_mb = 1024;
  std::string augment_on = "device";
  int64_t device_mb = 4096;

  void visit(auto&& v) {
    v("path", path, "folder or CSV file with images and masks", "--data");
    v("layout", layout, "auto, manifest, busi, udiat or folders", "--layout");
    v("split", split,
      "manifest, random:K:TRAIN[:VAL], kfold:K[:test] or FILE.json; by default the manifest's, or "
      "random:1:0.8",
      "--split");
    v("fold", fold, "which of the K splits, from 0", "--fold");
    v("split_seed", split_seed, "of the split, apart from the run's seed", "--split-seed");
    v("size", size, "side of the square the network sees", "--size");
    v("cache_mb", cache_mb, "memory for decoded images, of training and validation together");
    v("augment_on", augment_on, "on cuda: device augments there, cpu uploads finished batches");
    v("device_mb", device_mb, "on cuda: memory for the decoded training images; more: on the cpu");
  }
};

struct OptimConfig {
  std::string name = "adam";
  double lr = 0;
  double weight_decay = 0;
  double momentum = 0.9;
  double clip = 0;
  double ema = 0;

  void visit(auto&& v) {
    v("name", name, "adam, adamw or sgd", "--optimizer");
    v("lr", lr,
      "learning rate at the start; 0: 3e-3 for small new networks, 1e-3 for others, 3e-4 with "
      "--init",
      "--lr");
    v("weight_decay", weight_decay, "adam, sgd: added to the gradient; adamw: decoupled");
    v("momentum", momentum, "of sgd (Nesterov)");
    v("clip", clip, "largest norm of the gradient; 0 does not clip", "--clip");
    v("ema", ema,
      "what a running mean of the weights keeps per step, 0.99 say: it is validated and "
      "saved; 0: the weights are");
  }
};

struct ScheduleConfig {
  std::string name = "poly";
  double power = 0.9;
  int64_t warmup_steps = 0;
  int64_t step_epochs = 30;
  double gamma = 0.1;
  double final_fraction = 0;

  void visit(auto&& v) {
    v("name", name, "poly, cosine, step or constant", "--schedule");
    v("power", power, "poly: lr (1 - t/T)^power");
    v("warmup_steps", warmup_steps, "steps of linear rise to lr");
    v("step_epochs", step_epochs, "step: epochs between drops");
    v("gamma", gamma, "step: factor of each drop");
    v("final_fraction", final_fraction, "poly, cosine: where it ends, as a part of lr");
  }
};

struct DistillConfig {
  std::string teacher;
  std::string preset;
  Json spec = nullptr;

  void visit(auto&& v) {
    v("teacher", teacher, "run folder or checkpoint of the teacher", "--teacher");
    v("preset", preset, "one of the twelve: L_MSE ... HReg_KLD_WAug", "--preset");
    v("spec", spec, "distill.spec.KEY refines the preset; or all of it as JSON");
  }
};

/// A whole run: what train and distill read from flags, a file and key=value, and what a run
/// folder keeps as config.json. The defaults are meant to train a Unet-resnet18 from scratch on a
/// few hundred ultrasound images.
struct TrainConfig {
  Json model = nullptr;
  DataConfig data;
  Json augment = "strong_flip";
  std::string loss = "ce_dice";
  OptimConfig optim;
  ScheduleConfig schedule;
  int64_t epochs = 80;
  int64_t batch = 8;
  bool drop_last = false;
  uint64_t seed = 0;
  std::string metric = "val_loss";
  int64_t patience = 0;
  std::string init;
  int64_t previews = 4;
  DistillConfig distill;
  int threads = 0;
  std::string device = "cpu";
  std::string precision = "float32";
  std::string step_graph = "on";
  bool exact = false;

  void visit(auto&& v) {
    v("model", model,
      "decoder/encoder, thin_unet, a network's JSON, or a run: its network, not its weights",
      "--model");
    v.section("data", data);
    v("augment", augment, "none, weak, strong, strong_flip or FILE.json", "--augment");
    v("loss", loss,
      "supervised: ce, dice, jaccard, tversky, focal, soft_bce, soft_ce, a sum such as "
      "focal+dice, or ce_dice",
      "--loss");
    v.section("optim", optim);
    v.section("schedule", schedule);
    v("epochs", epochs, "passes over the training images", "--epochs");
    v("batch", batch, "images per step", "--batch");
    v("drop_last", drop_last, "leave out a last batch that is not full");
    v("seed", seed, "of weights, order and augmentation", "--seed");
    v("metric", metric, "chooses best.safetensors: val_loss or val_dice", "--metric");
    v("patience", patience, "stop after that many epochs without a better metric; 0 never",
      "--patience");
    v("init", init,
      "encoder=FILE or network=FILE: weights to begin with, of PyTorch, SMP, timm or a run",
      "--init");
    v("previews", previews, "validation images drawn at epochs 1, 2, 4, 8 .. and at the end");
    v.section("distill", distill);
    v("threads", threads, "0 takes what this process may run on", "--threads");
    v("device", device, kDeviceHelp, "--device");
    v("precision", precision, kPrecisionHelp, "--precision");
    v("step_graph", step_graph, "on cuda: on records a step and replays it; off does not",
      "--step-graph");
    v("exact", exact, "on cpu: convolutions are summed directly, never by Winograd's transforms");
  }
};

/// Adam's rate where nobody names one: 3e-3 for a network of less than a million parameters that
/// starts from random weights, 1e-3 for a larger one, 3e-4 for one that was trained before
/// (measured in apps/README.md). Throws Error for sgd,
/// which has no default, and for a network that is not known.
void write_learning_rate(TrainConfig& config);

/// Checks every value and writes out what names stand for: the network's spec, the augmentation of
/// a file, the terms of a preset, the default learning rate; paths become absolute. Throws Error
/// naming the key where a value makes no sense. `distilling`: a teacher and terms are needed;
/// otherwise they are refused.
TrainConfig resolve(TrainConfig config, bool distilling);

/// What the preset and what refines it come to, every key written out.
Json spec_in_full(const DistillConfig& distill);

/// A resolved config as a run folder keeps it: without `threads`, `step_graph`, `data.augment_on`
/// and `data.device_mb`, none of which a run must go on with, so that equal runs have equal files.
Json run_json(TrainConfig config);

// The parts of a resolved config, as the rooms know them.
nn::NetworkSpec network_spec(const TrainConfig& config);
kd::DistillSpec distill_spec(const TrainConfig& config);
data::Pipeline pipeline(const TrainConfig& config);
bool is_distilling(const TrainConfig& config);
/// The augmentation's name; "custom" for a list.
std::string augment_name(const TrainConfig& config);

/// A name from a command line or a config as a network's spec; that of a run folder or a checkpoint
/// of ours is the spec of its network, without its weights.
nn::NetworkSpec read_network(const Json& model);

}  // namespace decant::apps
