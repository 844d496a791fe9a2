#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/image_io.h"

namespace decant::apps {

/// Event files as TensorBoard reads them: records of the TFRecord format, each a protobuf message
/// `Event`, put together by hand.
///
///   record   uint64 length | uint32 masked(length) | message | uint32 masked(message),
///            little endian, masked = the CRC-32C turned right by 15 bits, plus 0xa282ead8
///   Event    1: double wall_time  2: int64 step  3: string file_version  5: Summary
///   Summary  1: Value, repeated;  Value  1: string tag  2: float simple_value  4: Image
///   Image    1: height  2: width  3: channels  4: the bytes of a PNG
///
/// Source: tensorflow/core/lib/io/record_writer.cc and tensorflow/core/framework/summary.proto.

struct EventScalar {
  std::string tag;
  double value;
};
struct EventImage {
  std::string tag;
  int width;
  int height;
  int channels;
  std::string png;  ///< the file's bytes
};
EventImage event_image(std::string tag, const data::Image& image);

/// The record that a file begins with.
std::string event_file_head();

/// One record of an epoch. Its wall time is the epoch, in seconds: equal runs have equal files, and
/// TensorBoard's relative time counts epochs. Scalars that are not finite are left out.
std::string epoch_event(int64_t epoch, const std::vector<EventScalar>& scalars,
                        const std::vector<EventImage>& images);

/// The tag of a column of metrics.csv: TensorBoard makes a group of what stands before "/".
///   train_logits.kld -> train/logits.kld, val_dice -> val/dice, gradient_norm ->
///   train/gradient_norm
std::string event_tag(std::string_view column);

/// CRC-32C (Castagnoli): polynomial 0x1edc6f41, reflected. Source: RFC 3720, appendix B.4.
uint32_t crc32c(std::string_view bytes);

}  // namespace decant::apps
