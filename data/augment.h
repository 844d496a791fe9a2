#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "data/image_io.h"
#include "engine/core/affine.h"
#include "engine/core/rng.h"
#include "engine/core/tensor.h"
#include "engine/ops/augment.h"

namespace decant::data {

/// What is known of an image on its way through a pipeline beside its pixels.
struct FrameShape {
  int width = 0;
  int height = 0;
  int channels = 0;
  Affine geometry = {};  ///< position in the source image -> position in this frame
};

/// An image with its mask on its way through a pipeline.
/// Pixels are float in 0 .. 255 until Normalize; unlike Albumentations on 8-bit images we do not
/// round after each transform (at most half a grey level apart), but we do clip noise to 0 .. 255.
struct Frame : FrameShape {
  std::vector<float> image;   ///< [height, width, channels]
  std::vector<uint8_t> mask;  ///< [height, width], 0 or 1; empty where the image has none

  Frame() = default;
  explicit Frame(const Image& picture, const Image& mask_picture = {});

  Tensor image_tensor() const;  ///< [1, H, W, C] f32
};

/// The same without pixels: what the pipeline does to them, drawn and written down, for the device
/// that holds them (engine/ops/augment.h).
struct PlannedFrame : FrameShape {
  AugmentPlan plan;
  Affine framing;  ///< source -> the teacher's view, see ViewPair

  Affine teacher_to_student() const { return geometry * framing.inverse(); }
};

/// Both views of one image for distillation with different augmentations.
struct ViewPair {
  Frame teacher;              ///< the shared framing and Normalize only
  Frame student;              ///< everything
  Affine teacher_to_student;  ///< position in the teacher's view -> position in the student's
};

struct Step;

/// A list of transforms, Albumentations by name, arguments, defaults and meaning: those of 1.3.1,
/// or of 2.0.8 where an entry has "version": 2.
/// Transform number t draws from key.part("t"), so a result depends on the key and the list only.
class Pipeline {
 public:
  /// Our short form [{"name": "HorizontalFlip", "p": 0.5}, ...], or the dictionary that
  /// Albumentations' to_dict and A.save write: a Compose of known transforms, of version 1.0 to 1.3
  /// or 2.x.
  /// Throws Error naming the transform or argument that is unknown, with the nearest known one, or
  /// a transform that needs grey levels of 0 .. 255 behind Normalize.
  static Pipeline from_json(const nlohmann::json& given);

  /// none         Resize to size, Normalize (what evaluation and prediction use)
  /// weak         Resize to size * 1.125 (144 for 128, 252 for 224), RandomCrop to size, Normalize
  /// strong       weak, with ShiftScaleRotate, GaussNoise, PixelDropout before Normalize
  /// strong_flip  strong, with HorizontalFlip after the crop (not in the paper's list)
  /// Throws Error naming the presets.
  static Pipeline preset(std::string_view name, int size);
  static std::vector<std::string> preset_names();

  /// How the validation of a network trained through this pipeline sees its images: resized to
  /// size x size, then this pipeline's own Normalize.
  /// Throws Error unless the pipeline holds exactly one Normalize, as its last step, and leaves
  /// neither that nor a step that frames the image to chance (p other than 1), naming the step.
  Pipeline evaluation(int size) const;

  /// The short form with every argument written out.
  nlohmann::json to_json() const;

  /// The size of the frame that an image of size `source` becomes, where no framing step is left to
  /// chance. Throws Error where a step cannot take it: a RandomCrop larger than the image.
  ImageSize frame_size(ImageSize source) const;

  /// `key`: of(seed, purpose, epoch, hash of the sample's id).
  void apply(Frame& frame, const RngKey& key) const;

  /// The leading run of Resize, PadIfNeeded and RandomCrop is shared; of the rest the teacher's
  /// view gets Normalize only. The student's view equals apply() with the same key.
  /// Throws Error where one of those steps follows a transform that only the student's view gets:
  /// the views would then show different parts or differ in size.
  ViewPair apply_pair(const Frame& source, const RngKey& key) const;

  /// The first transform that moves positions otherwise than by an affine map, as a user knows it;
  /// "" where none does. Behind one, geometry and teacher_to_student are not the whole truth.
  std::string not_affine() const;

  /// What no device does of this pipeline, as words for a user; "" where it does everything. A
  /// device does Resize, RandomCrop, HorizontalFlip, ShiftScaleRotate (linear, reflect_101),
  /// GaussNoise, PixelDropout (sparing the mask) and Normalize (p = 1), each once at most and in
  /// this order: all presets.
  std::string only_on_cpu() const;

  /// What apply() and apply_pair() would do to an image of this size, the same draws to the bit;
  /// the image's place in a store is left to fill in. Throws Error as they do, and for a pipeline
  /// that is only_on_cpu().
  PlannedFrame plan(const FrameShape& source, const RngKey& key) const;

 private:
  void apply_step(size_t index, Frame& frame, const RngKey& key) const;

  std::vector<std::shared_ptr<const Step>> steps_;
};

/// Names of all transforms, sorted.
std::vector<std::string> transform_names();

}  // namespace decant::data
