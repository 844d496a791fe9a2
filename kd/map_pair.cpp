#include "kd/map_pair.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/core/error.h"
#include "engine/ops/affine_warp.h"
#include "engine/ops/pool.h"
#include "engine/ops/reduce.h"
#include "engine/ops/resize.h"

namespace decant::kd {
namespace {

void check_maps(const std::string& op, const Variable& student, const Variable& teacher) {
  check(student.defined() && teacher.defined(), op,
        ": expected a map of both networks, got none of ",
        student.defined() ? "the teacher" : "the student");
  const Shape& s = student.shape();
  const Shape& t = teacher.shape();
  check(s.rank() == 4 && t.rank() == 4 && s[0] == t[0], op,
        ": expected maps [N, h, w, C] of one batch, got student ", s, " and teacher ", t);
}

// How often `coarse` goes into `fine` along both axes, or 0.
int64_t whole_factor(const Shape& fine, const Shape& coarse) {
  if (coarse[1] == 0 || coarse[2] == 0) return 0;
  const int64_t factor = fine[1] / coarse[1];
  return fine[1] == factor * coarse[1] && fine[2] == factor * coarse[2] ? factor : 0;
}

// Where the mean of factor x factor cells lies: at their centre.
double pooled_offset(const MapOnImage& fine, double factor) {
  return fine.offset + fine.stride * (factor - 1) / 2;
}

MapOnImage pooled(const MapOnImage& fine, int64_t factor) {
  const auto f = static_cast<double>(factor);
  return {.map = avg_pool2d(fine.map, {.kernel = factor}),
          .stride = fine.stride * f,
          .offset = pooled_offset(fine, f)};
}

// The teacher's map moved to a map of the same stride and extents whose cells begin at `to_offset`.
MapPair warped(const std::string& op, const Variable& student, const MapOnImage& teacher,
               std::span<const Affine> teacher_to_student, double to_offset) {
  const Shape& shape = teacher.map.shape();
  check(static_cast<int64_t>(teacher_to_student.size()) == shape[0], op,
        ": expected one map of the plane per image, got ", teacher_to_student.size(),
        " for a teacher's map ", shape);
  std::vector<Affine> moves;
  for (const Affine& image : teacher_to_student)
    moves.push_back(on_map(image, teacher.stride, teacher.offset, to_offset));
  const WarpOptions options = {.border = Border::constant};
  return {.student = student,
          .teacher = affine_warp(teacher.map, moves, shape[1], shape[2], options),
          .mask = warp_coverage(shape[1], shape[2], moves, shape[1], shape[2], student.dtype())
                      .to(student.value().device())};
}

}  // namespace

Affine on_map(const Affine& image, double stride, double offset, double to_offset) {
  const auto cells = [stride](double from) {
    return Affine::scaling(1 / stride, 1 / stride) * Affine::translation(-from, -from);
  };
  return cells(to_offset) * image * cells(offset).inverse();
}

double cell_distance(const MapOnImage& a, const MapOnImage& b) {
  const double coarse = std::max(a.stride, b.stride);
  return std::abs(pooled_offset(a, coarse / a.stride) - pooled_offset(b, coarse / b.stride)) /
         coarse;
}

MapPair match_hidden(const std::string& op, MapOnImage student, MapOnImage teacher, bool average,
                     std::span<const Affine> teacher_to_student, HiddenMatch match) {
  check_maps(op, student.map, teacher.map);
  const Shape s = student.map.shape();
  const Shape t = teacher.map.shape();
  const int64_t student_finer = whole_factor(s, t);
  const int64_t teacher_finer = whole_factor(t, s);
  check(student_finer > 0 || teacher_finer > 0, op,
        ": expected map sizes that differ by one whole factor, got student ", s, " and teacher ",
        t);
  teacher.map = teacher.map.detach();
  if (average) {
    student.map = mean(student.map, {3}, true);
    teacher.map = mean(teacher.map, {3}, true);
  }
  if (student_finer > 1) student = pooled(student, student_finer);
  if (teacher_finer > 1) teacher = pooled(teacher, teacher_finer);
  check(student.stride == teacher.stride, op, ": expected cells of one size, got student ", s,
        " and teacher ", t, ", whose cells differ by the factor ", student.stride / teacher.stride);
  const double to_offset = match == HiddenMatch::cells ? teacher.offset : student.offset;
  if (!teacher_to_student.empty())
    return warped(op, student.map, teacher, teacher_to_student, to_offset);
  if (to_offset == teacher.offset) return {student.map, teacher.map, {}};
  const std::vector<Affine> nothing_moves(static_cast<size_t>(s[0]));
  return warped(op, student.map, teacher, nothing_moves, to_offset);
}

MapPair match_logits(const std::string& op, const Variable& student, const Variable& teacher,
                     std::span<const Affine> teacher_to_student) {
  check_maps(op, student, teacher);
  const Shape& s = student.shape();
  const Shape& t = teacher.shape();
  check(s[3] == t[3], op, ": expected logits of the same classes, got student ", s, " and teacher ",
        t);
  check(teacher_to_student.empty() || s == t, op,
        ": expected logits of one size for views that differ by a motion, got student ", s,
        " and teacher ", t);
  const Variable resized =
      s == t ? student : resize(student, t[1], t[2], {.mode = Interpolation::bilinear});
  if (teacher_to_student.empty()) return {resized, teacher.detach(), {}};
  return warped(op, resized, {.map = teacher.detach()}, teacher_to_student, 0);
}

}  // namespace decant::kd
