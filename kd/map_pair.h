#pragma once

#include <span>
#include <string>

#include "engine/autograd/variable.h"
#include "engine/core/affine.h"
#include "kd/spec.h"

namespace decant::kd {

/// One network's map and where its pixels lie: the centre of pixel i is at offset + stride * i of
/// the image, on both axes.
struct MapOnImage {
  Variable map;  ///< [N, h, w, C]
  double stride = 1;
  double offset = 0;
};

/// A student's and a teacher's map on one grid, ready to be compared position by position.
struct MapPair {
  Variable student;  ///< [N, h, w, C_S]
  Variable teacher;  ///< [N, h, w, C_T], a constant
  Tensor mask;       ///< [N, h, w, 1]: 1 where both are known; undefined where that is everywhere
};

/// The image's motion A as one from a map's cells to those of a map of the same stride:
///   T A S^-1  with  S(p) = (p - offset) / stride,  T(p) = (p - to_offset) / stride
/// Scaling A's translation by 1 / stride alone would turn a map about the wrong point: half a cell
/// off for a 7 x 7 map turned by 45 degrees.
Affine on_map(const Affine& image, double stride, double offset, double to_offset);

/// How far cells of one index lie apart, in cells of the coarser map, once match_hidden has pooled
/// the finer one.
double cell_distance(const MapOnImage& a, const MapOnImage& b);

/// Two hidden maps on the coarser one's grid, each averaged over its channels if `average` says so
/// (which commutes with all that follows and leaves less to move). The finer is average-pooled
/// where both its extents are the same whole multiple of the other's. If `teacher_to_student` is
/// not empty, one affine per image, the teacher's map is then moved by it to where it would lie had
/// the teacher seen the student's view, and the mask tells where that is known. `match` says which
/// cell goes with which where the two maps' offsets differ. Throws Error beginning with `op` where
/// batches, sizes or strides do not fit, naming both.
MapPair match_hidden(const std::string& op, MapOnImage student, MapOnImage teacher, bool average,
                     std::span<const Affine> teacher_to_student,
                     HiddenMatch match = HiddenMatch::cells);

/// The same for logits, which lie at the image's own pixels: the student's are resized (bilinear)
/// to the teacher's where the sizes differ. Class counts must agree, and sizes too where there are
/// affines: those lead to the student's pixels, whose grid a resize would change.
MapPair match_logits(const std::string& op, const Variable& student, const Variable& teacher,
                     std::span<const Affine> teacher_to_student);

}  // namespace decant::kd
