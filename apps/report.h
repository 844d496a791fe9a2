#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/image_io.h"

namespace decant::apps {

using Colour = std::array<uint8_t, 3>;

constexpr Colour kTruthColour = {70, 220, 110};     // green
constexpr Colour kTeacherColour = {255, 190, 60};   // amber
constexpr Colour kStudentColour = {70, 200, 255};   // sky blue
constexpr Colour kMissedColour = {60, 150, 255};    // blue
constexpr Colour kInventedColour = {255, 120, 40};  // orange

/// The image in three channels.
data::Image to_rgb(const data::Image& image);

/// The image in three channels with the mask's outline drawn over it and its inside tinted.
/// The outline is an anti-aliased line of `width` pixels along the mask's border.
/// Throws Error naming both sizes where they differ.
data::Image overlay(const data::Image& image, const data::Image& mask, const Colour& colour,
                    double width = 2);

/// The picture scaled to a height of `height` pixels, bilinearly.
data::Image scaled_to_height(const data::Image& image, int height);

struct Panel {
  std::string title;  ///< capital letters, digits, dot and space
  data::Image image;
};

/// Panels of equal height beside each other on a dark ground, each with its title above.
data::Image side_by_side(const std::vector<Panel>& panels);

/// One image with what is known of it; a teacher or a student may be missing (width 0).
struct PreviewParts {
  data::Image image = {};
  data::Image truth = {};
  data::Image teacher = {};
  data::Image student = {};
};

/// Image, truth, teacher and student, 256 pixels high. The teacher's panel and the student's show
/// the truth too, as a thin line.
std::vector<Panel> preview_panels(const PreviewParts& parts);

/// The same side by side.
data::Image draw_preview(const PreviewParts& parts);

/// Where the student errs, over the darkened image: what it missed of the lesion, what it took for
/// one, and in white where it is right. 256 pixels high.
Panel error_panel(const PreviewParts& parts);

}  // namespace decant::apps
