#include "data/inspect.h"

#include <iomanip>
#include <sstream>

#include "engine/core/error.h"
#include "engine/core/parallel.h"

namespace decant::data {
namespace {

// The reason alone: the message of an Error begins with the file.
std::string reason_of(const Error& error, const std::filesystem::path& file) {
  std::string text = error.what();
  if (const std::string begin = file.string() + ": "; text.starts_with(begin))
    text.erase(0, begin.size());
  return text;
}

void inspect_mask(const std::filesystem::path& file, Finding& finding, Image& merged) {
  const Mask mask = read_mask(file);
  const ImageSize size{mask.image.width, mask.image.height};
  if (finding.readable && !(size == finding.size)) {
    finding.faults.push_back(
        {file, "mask of " + size_text(size) + " for an image of " + size_text(finding.size), true});
    return;
  }
  const MaskValues& values = mask.values;
  if (values.ambiguous()) {
    finding.faults.push_back(
        {file,
         str("mask values up to ", values.largest, ", ", percent(values.middle_share),
             " in 64..191: neither 0/1 nor 0/255"),
         true});
    return;
  }
  if (values.odd_share > 0)
    finding.faults.push_back({file,
                              str(percent(values.odd_share), " of the mask is neither 0 nor ",
                                  values.largest, "; read as lesion above 127"),
                              false});
  finding.has_mask = true;
  if (merged.pixels.empty()) merged = Image(size.width, size.height, 1);
  for (size_t i = 0; i < merged.pixels.size() && i < mask.image.pixels.size(); ++i)
    merged.pixels[i] |= mask.image.pixels[i];
}

Finding inspect_sample(const Sample& sample) {
  Finding finding;
  std::filesystem::path file = sample.image;
  try {
    const Image image = read_image(file, 1);
    finding.size = {image.width, image.height};
    finding.print = fingerprint(image);
    finding.readable = true;
  } catch (const Error& error) {
    finding.faults.push_back({file, reason_of(error, file), true});
  }
  if (sample.masks.empty()) finding.faults.push_back({file, "no mask", true});
  Image merged;
  for (const auto& mask : sample.masks) {
    try {
      inspect_mask(mask, finding, merged);
    } catch (const Error& error) {
      finding.faults.push_back({mask, reason_of(error, mask), true});
    }
  }
  for (const uint8_t v : merged.pixels) finding.lesion_pixels += v;
  if (finding.has_mask && finding.lesion_pixels == std::ssize(merged.pixels))
    finding.faults.push_back({sample.masks.front(), "the lesion covers the whole image", false});
  return finding;
}

}  // namespace

std::vector<Finding> inspect(const Dataset& dataset) {
  std::vector<Finding> findings(dataset.samples.size());
  parallel_for(static_cast<int64_t>(findings.size()), [&](int64_t i) {
    findings[static_cast<size_t>(i)] = inspect_sample(dataset.samples[static_cast<size_t>(i)]);
  });
  return findings;
}

std::string percent(double share) {
  std::ostringstream out;
  out << std::setprecision(3) << 100 * share << " %";
  return out.str();
}

std::string size_text(ImageSize size) {
  return str(size.width, " x ", size.height);
}

}  // namespace decant::data
