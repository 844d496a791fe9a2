#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/dataset.h"
#include "engine/core/tensor.h"

namespace decant::data {

/// The decoded images and masks of a data set in one block of memory, where the device that
/// augments them reads them: one upload for a whole run.
///   PictureStore store(dataset, ids, 3);
///   if (store.bytes() <= limit) store.load(Device::cuda);
class PictureStore {
 public:
  /// Finds out from the files' headers what they take. Throws Error naming the file, or the id that
  /// is unknown.
  PictureStore(const Dataset& dataset, const std::vector<std::string>& ids, int channels);

  int64_t bytes() const { return bytes_; }
  int channels() const { return channels_; }

  /// Decodes everything, on all threads, and puts it there. Throws Error naming the file.
  void load(Device device);

  /// Where a sample lies: [height, width, channels] at image_at, its mask [height, width] of 0 and
  /// 1 at mask_at, which is -1 where it has none.
  struct Place {
    int width, height;
    int64_t image_at, mask_at;
  };
  /// Throws Error naming the id.
  const Place& find(const std::string& id) const;

  /// u8 [bytes], once loaded.
  const Tensor& pixels() const { return pixels_; }

 private:
  std::vector<Sample> samples_;
  std::unordered_map<std::string, Place> places_;
  int channels_;
  int64_t bytes_ = 0;
  Tensor pixels_;
};

}  // namespace decant::data
