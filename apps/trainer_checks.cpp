// What a Trainer refuses before it begins, and what it says about its run.
#include <algorithm>
#include <cmath>

#include "apps/trainer.h"
#include "kd/map_pair.h"

namespace decant::apps {
namespace {

constexpr double kTeacherDiceTolerance = 0.005;

}  // namespace

// Batch norm divides by the spread of a channel's values, of which one image with one position left
// has one: the run would end with the first such batch, at its first epoch's end and after every
// resume.
void Trainer::check_smallest_batch() const {
  const int64_t images = loader_->samples();
  const bool single = config_.batch == 1 || (!config_.drop_last && images % config_.batch == 1);
  const bool by_batch =
      teacher_ && distiller_->spec().teacher_batch_norm == kd::TeacherBatchNorm::batch;
  const int64_t mine = network_->stride();
  const int64_t theirs = teacher_ ? teacher_->network().stride() : 1;
  const int64_t larger = std::max(mine, theirs);  // to which a step pads the images of both
  const bool one_position =
      config_.data.size <= larger && (mine == larger || (by_batch && theirs == larger));
  if (!single || !one_position) return;
  const std::string reason =
      str(" where data.size ", config_.data.size,
          " leaves a map of one position, of which batch norm learns nothing; ");
  check(config_.batch > 1, "batch: expected more than one image", reason, "got ", config_.batch);
  throw Error(str("batch: expected a last batch of more than one image", reason, "got one of the ",
                  images, " training images (batch ", config_.batch,
                  "); drop_last=true leaves it out"));
}

// What the network learns on must be what it is asked about later.
void Trainer::check_framing(const data::Pipeline& augmentation) const {
  const int size = config_.data.size;
  for (const std::string& id : split_.train) {
    const std::filesystem::path& file = dataset_.find(id).image;
    data::ImageSize frame;
    const data::ImageSize own = data::read_image_size(file);
    try {
      frame = augmentation.frame_size(own);
    } catch (const Error& error) {
      throw Error(str("augment: ", file.string(), ": ", error.what()));
    }
    check(frame == data::ImageSize{size, size}, "augment: expected frames of ", size, " x ", size,
          " (data.size), got ", frame.width, " x ", frame.height, " of ", file.string(), ", ",
          own.width, " x ", own.height);
  }
}

// A teacher's maps are warped to the student's view by one affine map per image.
void Trainer::check_views(const data::Pipeline& augmentation) const {
  if (!distiller_ || distiller_->spec().teacher_view != kd::TeacherView::weak_warped) return;
  const std::string bends = augmentation.not_affine();
  check(bends.empty(),
        "augment: expected transforms that move pixels by affine maps, as the teacher's maps are "
        "warped by (teacher_view weak_warped), got ",
        bends, "; distill.spec.teacher_view=same shows the teacher the student's view");
}

// While it teaches, the teacher sees pixels as the student's Normalize leaves them.
void Trainer::check_teacher_pixels(const data::Pipeline& evaluation) const {
  const nlohmann::json mine = evaluation.to_json();
  const nlohmann::json theirs = teacher_notes_.evaluation().evaluation(config_.data.size).to_json();
  check(mine == theirs, "teacher: expected the student's Normalize to be the teacher's, ",
        theirs.back().dump(), ", got ", mine.back().dump());
}

// Terms that these two networks and this size cannot compute (a softmax over one position, maps of
// sizes that do not match) show here, before there is a folder.
void Trainer::check_terms() {
  feed_->put(loader_->batch(0, 0));
  step_->try_losses(feed_->take());
}

// The paper compares cells by their index alone, wherever the networks place them.
void Trainer::note_cells_apart(std::vector<std::string>& lines) const {
  constexpr double kWorthSaying = 0.5;
  const auto map_of = [](const nn::Network& network) {
    return kd::MapOnImage{
        .map = {}, .stride = network.hidden_stride(), .offset = network.hidden_offset()};
  };
  const double apart = kd::cell_distance(map_of(*network_), map_of(teacher_->network()));
  const kd::DistillSpec& spec = distiller_->spec();
  if (apart >= kWorthSaying && spec.reads_hidden() && spec.hidden_match == kd::HiddenMatch::cells)
    lines.push_back(str("notice: a cell of the student's hidden map lies ", rounded(apart, 2),
                        " cells from the teacher's of the same index; they are compared as in the "
                        "paper, distill.spec.hidden_match=pixels compares by position"));
}

// A teacher that does not score what its checkpoint says is not the teacher that was trained.
void Trainer::check_teacher(std::vector<std::string>& lines) {
  const auto loss = [this](const Variable& logits, const Tensor& masks) {
    return supervised(logits, masks);
  };
  const Forward forward = forward_of(teacher_->network());
  Validation found;
  if (teacher_notes_.size == config_.data.size) {  // check_teacher_pixels saw to the rest
    found = validate(*validation_, config_.batch, forward, loss);
  } else {
    EvaluationSet set(dataset_, split_.val, teacher_notes_.evaluation(),
                      static_cast<int>(teacher_->network().spec().in_channels), 0);
    found = validate(set, config_.batch, forward, loss);
  }
  lines.push_back(str("teacher: ", teacher_->network().spec().name(), ", augmentation ",
                      teacher_notes_.augment, ", val_dice ", dice_text(found)));
  if (found.digest == teacher_notes_.val_digest) {
    check(std::fabs(found.dice - teacher_notes_.val_dice) <= kTeacherDiceTolerance,
          "teacher: expected the Dice of ", rounded(teacher_notes_.val_dice, 4),
          " that its checkpoint records for these images, got ", rounded(found.dice, 4));
  } else {
    lines.push_back(str("notice: the teacher's checkpoint records a Dice of ",
                        rounded(teacher_notes_.val_dice, 4),
                        " on other images; it may have been trained on some of these"));
  }
  const std::string& wanted = distiller_->spec().expects_teacher_augment;
  if (!wanted.empty() && wanted != teacher_notes_.augment)
    lines.push_back(
        str("notice: ", config_.distill.preset.empty() ? "this" : config_.distill.preset,
            " expects a teacher trained with the augmentation ", wanted,
            ", its checkpoint records ", teacher_notes_.augment));
}

// Another teacher or other images would not go on with this run but begin one that nobody asked
// for.
void Trainer::check_unchanged(const CheckpointNotes& before) const {
  const auto same = [this](const char* what, uint64_t then, uint64_t now) {
    check(then == 0 || then == now, what, ": expected the files that ", folder_->path().string(),
          " began with, got others");
  };
  same("data", before.data_digest, notes_.data_digest);
  same("teacher", before.teacher_digest, notes_.teacher_digest);
}

std::vector<std::string> Trainer::header() {
  std::vector<std::string> lines;
  lines.push_back(str(is_distilling(config_) ? "distil " : "train ", network_->spec().name(), ", ",
                      nn::parameter_count(*network_), " parameters, ", loader_->samples(),
                      " images to train on, ", validation_->count(), " to choose by (",
                      split_origin_, ")"));
  lines.push_back(str("input ", config_.data.size, " x ", config_.data.size, ", batch ",
                      config_.batch, ", augmentation ", notes_.augment, ", loss ", config_.loss,
                      ", ", config_.optim.name, " ", config_.optim.lr, ", ", config_.schedule.name,
                      config_.optim.ema > 0 ? str(", EMA ", config_.optim.ema) : "", ", seed ",
                      config_.seed));
  if (!augmentation_line_.empty()) lines.push_back(augmentation_line_);
  if (distiller_) {
    lines.push_back(distiller_->spec().describe());
    note_cells_apart(lines);
    check_terms();
    check_teacher(lines);
  }
  return lines;
}

}  // namespace decant::apps
