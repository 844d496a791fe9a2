#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/report.h"
#include "data/dataset.h"

namespace decant::apps {

/// A few images of one run, as its network and its teacher answer them.
struct Gallery {
  struct Picture {
    std::string rank;  ///< best, median, worst
    std::string image;
    double student_dice;
    double teacher_dice;        ///< NaN without a teacher
    std::vector<Panel> panels;  ///< the image, truth, teacher, student, errors
  };
  std::string student;  ///< what the page calls them
  std::string teacher;  ///< "" without one
  std::vector<Picture> pictures;
};

struct GalleryImage {
  std::string rank;
  std::string name;
};
/// The best, the median and the worst of `dice` (pairs of name and Dice), each once.
std::vector<GalleryImage> choose_images(std::vector<std::pair<std::string, double>> dice);

/// Asks both checkpoints about the images; `teacher` may be empty.
/// Throws Error where a checkpoint or an image is not there.
Gallery draw_gallery(const data::Dataset& dataset, const std::vector<GalleryImage>& images,
                     const std::filesystem::path& student, const std::filesystem::path& teacher);

}  // namespace decant::apps
