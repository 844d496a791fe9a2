#include "apps/study/gallery.h"

#include <algorithm>
#include <limits>

#include "apps/evaluate.h"

namespace decant::apps {
namespace {

// A network's answers to the images, in their order.
std::vector<data::Image> answers(const data::Dataset& dataset, const std::vector<std::string>& ids,
                                 const std::filesystem::path& checkpoint) {
  const TrainedNetwork trained = load_trained(checkpoint);
  const Forward forward = forward_of(*trained.network);
  const EvaluationSet set(dataset, ids, trained);
  std::vector<data::Image> masks;
  for (int64_t i = 0; i < set.count(); ++i) masks.push_back(predicted_mask(forward, set.load(i)));
  return masks;
}

}  // namespace

std::vector<GalleryImage> choose_images(std::vector<std::pair<std::string, double>> dice) {
  if (dice.empty()) return {};
  std::ranges::stable_sort(dice, [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<GalleryImage> chosen = {{"best", dice.front().first}};
  if (dice.size() > 2) chosen.push_back({"median", dice[dice.size() / 2].first});
  if (dice.size() > 1) chosen.push_back({"worst", dice.back().first});
  return chosen;
}

Gallery draw_gallery(const data::Dataset& dataset, const std::vector<GalleryImage>& images,
                     const std::filesystem::path& student, const std::filesystem::path& teacher) {
  std::vector<std::string> ids;
  for (const GalleryImage& image : images) ids.push_back(image.name);
  const std::vector<data::Image> students = answers(dataset, ids, student);
  std::vector<data::Image> teachers;
  if (!teacher.empty()) teachers = answers(dataset, ids, teacher);
  Gallery gallery;
  for (size_t i = 0; i < images.size(); ++i) {
    const data::LoadedSample own = data::load_sample(dataset.find(ids[i]), 1);
    PreviewParts parts{.image = own.image, .truth = own.mask};
    parts.student = students[i];
    if (!teachers.empty()) parts.teacher = teachers[i];
    Gallery::Picture picture{.rank = images[i].rank,
                             .image = ids[i],
                             .student_dice = mask_dice(parts.student, parts.truth),
                             .teacher_dice = teachers.empty()
                                                 ? std::numeric_limits<double>::quiet_NaN()
                                                 : mask_dice(parts.teacher, parts.truth),
                             .panels = preview_panels(parts)};
    picture.panels.push_back(error_panel(parts));
    gallery.pictures.push_back(std::move(picture));
  }
  return gallery;
}

}  // namespace decant::apps
