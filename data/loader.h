#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/augment.h"
#include "data/dataset.h"
#include "data/picture_store.h"
#include "engine/core/tensor.h"

namespace decant::data {

struct LoaderOptions {
  int64_t batch = 8;
  uint64_t seed = 0;
  int threads = 1;       ///< that decode and augment ahead; 0: on the thread that asks
  bool shuffle = false;  ///< a new order in every epoch
  bool drop_last = false;
  int64_t cache_limit_bytes = int64_t{1} << 30;  ///< of decoded images kept in memory
  int in_channels = 3;
  bool pair = false;       ///< also make the teacher's view (see ViewPair)
  bool need_masks = true;  ///< refuse images without a mask; otherwise their mask is 0
  /// Holds the decoded images: a batch is then a plan for make_pixels() instead of pixels.
  std::shared_ptr<const PictureStore> pictures = nullptr;
};

struct Batch {
  Shape frames;   ///< [N, H, W, C]
  Tensor images;  ///< [N, H, W, C] f32; like all pixels undefined where there is a table
  Tensor masks;   ///< [N, H, W, 1] f32, 0 or 1
  Tensor table;   ///< augment_table(), where the loader has options.pictures
  std::vector<std::string> ids;
  std::vector<bool> has_mask;
  Tensor teacher_images;                   ///< [N, H, W, C]; undefined unless options.pair
  std::vector<Affine> teacher_to_student;  ///< per image; empty unless options.pair
};

/// Fills the images, the masks and, where they are defined, the teacher's images of a batch by its
/// table; all lie where the pictures do. On cuda it only queues kernels: the same numbers as the
/// CPU's loader makes, to the accuracy of float32 (see ops/augment.h for masks).
void make_pixels(const PictureStore& pictures, Batch& batch);

/// Batches of a data set. `batch(epoch, i)` is a pure function of its arguments and of what the
/// loader was made from: threads only compute early what will be asked next, and the cache only
/// saves decoding.
/// Ask from one thread at a time. All frames of a batch must come out with one size.
class Loader {
 public:
  /// Throws Error where an id is unknown, `ids` is empty, or a mask is missing (need_masks), and
  /// for pictures of other channels or a pipeline that is only_on_cpu() beside pictures.
  Loader(const Dataset& dataset, const std::vector<std::string>& ids, Pipeline pipeline,
         const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches() const;  ///< per epoch
  int64_t samples() const;

  /// Throws Error naming the file that could not be read, also where a thread met it.
  Batch batch(int64_t epoch, int64_t i);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace decant::data
