#include "apps/runs.h"

namespace decant::apps {
namespace {

// The paper's loss: 0.5 distillation + 0.5 cross-entropy, without the Dice term of `train`.
struct DistillOptions : RunOptions {
  DistillOptions() { config.loss = "ce"; }
};

}  // namespace

Command distill_command() {
  return make_command<DistillOptions>(
      "distill", "train a small network by a large one's answers",
      "  decant distill --data phantoms --teacher runs/teacher --model thin_unet --preset L_KLD "
      "--out runs/L_KLD\n"
      "  decant distill --data phantoms --teacher runs/weak --model thin_unet "
      "--preset HReg_KLD_WAug \\\n"
      "      distill.spec.teacher_view=same --out runs/HReg\n"
      "  decant distill --resume runs/L_KLD\n"
      "Presets: {L,H,HReg}_{MSE,KLD}, each also with _WAug: a teacher of weak augmentation that\n"
      "sees the weak view. distill.spec.KEY=VALUE refines one; --print-config shows what it comes "
      "to. For example:\n"
      "  temperature=4  axis=class|spatial|channel|flat (kld)  weight=1  distill_weight=0.5\n"
      "  supervised_weight=0.5  regressor.kernels=[3,3]  regressor.relu=last|both|none (HReg)\n"
      "  teacher_view=same|weak_warped|weak_unaligned  teacher_batch_norm=eval|batch\n",
      [](DistillOptions& options, const Arguments& arguments) {
        return run_training(options, arguments, /*distilling=*/true);
      });
}

}  // namespace decant::apps
