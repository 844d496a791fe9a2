#include "apps/runs.h"

namespace decant::apps {

Command train_command() {
  return make_command<RunOptions>(
      "train", "train a network on images with masks",
      "  decant train --data phantoms --model unet/resnet18 --size 128 --epochs 12 --batch 8 "
      "--out runs/teacher\n"
      "  decant train --data BUSI --split random:3:0.8 --fold 1 --model thin_unet --out "
      "runs/alone\n"
      "  decant train --config run.json --out runs/again optim.lr=1e-3\n"
      "  decant train --resume runs/teacher\n"
      "Ctrl-C saves and stops; --resume goes on from there. An epoch is saved when it ends. The "
      "folder holds best.safetensors,\n"
      "last.safetensors, metrics.csv, log.txt, config.json, split.json and previews/.\n",
      [](RunOptions& options, const Arguments& arguments) {
        return run_training(options, arguments, /*distilling=*/false);
      },
      "distill.");
}

}  // namespace decant::apps
