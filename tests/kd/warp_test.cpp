// Where a teacher's map lands when the student sees a moved image. The judge is geometry done
// here: a point of the image is carried by trigonometry of its own, and maps that are linear in
// the image's coordinates, which bilinear sampling reproduces exactly, tell every cell's position.
#include <doctest/doctest.h>

#include <numbers>

#include "engine/check/op_row.h"
#include "kd/distiller.h"
#include "kd/map_pair.h"
#include "tests/kd/maps.h"

using namespace decant;
using namespace decant::kd;

namespace {

struct Point {
  double x, y;
};

// Turned counter-clockwise as seen on the screen about a centre, enlarged about it, then shifted.
struct Motion {
  double degrees = 0;
  double zoom = 1;
  Point centre = {};
  Point shift = {};

  Point operator()(Point p) const {
    const double a = degrees * std::numbers::pi / 180;
    const double dx = p.x - centre.x;
    const double dy = p.y - centre.y;
    return {centre.x + zoom * (std::cos(a) * dx + std::sin(a) * dy) + shift.x,
            centre.y + zoom * (-std::sin(a) * dx + std::cos(a) * dy) + shift.y};
  }
  Point back(Point p) const {
    const double a = -degrees * std::numbers::pi / 180;
    const double dx = (p.x - shift.x - centre.x) / zoom;
    const double dy = (p.y - shift.y - centre.y) / zoom;
    return {centre.x + std::cos(a) * dx + std::sin(a) * dy,
            centre.y - std::sin(a) * dx + std::cos(a) * dy};
  }
  Affine affine() const {
    return Affine::translation(shift.x, shift.y) * Affine::translation(centre.x, centre.y) *
           Affine::scaling(zoom, zoom) * Affine::translation(-centre.x, -centre.y) *
           Affine::rotation(degrees, centre.x, centre.y);
  }
};

// A map of 7 x 7 cells whose centres lie at offset + 32 i of the image.
constexpr int64_t kCells = 7;
constexpr double kStride = 32;

Point centre_of(int64_t column, int64_t row, double offset) {
  return {offset + kStride * static_cast<double>(column),
          offset + kStride * static_cast<double>(row)};
}

template <class F>  // F: Point in the image -> value
Tensor map_of(double offset, F f) {
  Tensor t({1, kCells, kCells, 1}, DType::f64);
  auto* out = t.mutable_data<double>();
  for (int64_t row = 0; row < kCells; ++row)
    for (int64_t column = 0; column < kCells; ++column)
      out[row * kCells + column] = f(centre_of(column, row, offset));
  return t;
}

double linear(Point p) {
  return 0.3 * p.x / kStride - 0.2 * p.y / kStride + 0.7;
}

MapPair warp(const Tensor& teacher, double offset, const Motion& motion) {
  const Variable student(Tensor::zeros(teacher.shape(), DType::f64));
  const std::vector<Affine> moves = {motion.affine()};
  return match_hidden("test", {student, kStride, offset}, {Variable(teacher), kStride, offset},
                      false, moves);
}

}  // namespace

TEST_CASE("the test's own motion is the engine's affine") {
  const Motion motion = {.degrees = 30, .zoom = 1.1, .centre = {100, 90}, .shift = {5, -3}};
  const Affine affine = motion.affine();
  for (const Point p : {Point{0, 0}, Point{50, 10}, Point{120, 200}}) {
    const Point moved = motion(p);
    const auto by_affine = affine(p.x, p.y);
    CHECK(std::abs(by_affine[0] - moved.x) < 1e-10);
    CHECK(std::abs(by_affine[1] - moved.y) < 1e-10);
    CHECK(std::abs(motion.back(moved).x - p.x) < 1e-10);
    CHECK(std::abs(motion.back(moved).y - p.y) < 1e-10);
  }
}

TEST_CASE("a marked cell lands where its point of the image lands, at stride 32") {
  for (const double offset : {0.0, 15.5}) {
    // A quarter turn about a cell's centre, and a shift by whole cells, take centres to centres.
    const Point pivot = centre_of(3, 2, offset);
    for (const Motion& motion :
         {Motion{.degrees = 90, .centre = pivot}, Motion{.degrees = 180, .centre = pivot},
          Motion{.shift = {2 * kStride, -kStride}},
          Motion{.degrees = -90, .centre = pivot, .shift = {-kStride, kStride}}}) {
      CAPTURE(offset);
      CAPTURE(motion.degrees);
      const Point marked = centre_of(4, 3, offset);
      const Tensor teacher =
          map_of(offset, [&](Point p) { return p.x == marked.x && p.y == marked.y ? 1.0 : 0.0; });
      const MapPair maps = warp(teacher, offset, motion);
      const Point landed = motion(marked);
      const auto column = std::lround((landed.x - offset) / kStride);
      const auto row = std::lround((landed.y - offset) / kStride);
      const auto values = maps.teacher.value().values<double>();
      const auto mask = maps.mask.values<double>();
      for (int64_t i = 0; i < kCells * kCells; ++i) {
        const bool here = i == row * kCells + column;
        CHECK(std::abs(values[static_cast<size_t>(i)] - (here ? 1 : 0)) < 1e-9);
        if (here) CHECK(mask[static_cast<size_t>(i)] == 1);
      }
    }
  }
}

TEST_CASE("every cell holds the teacher's value of the place it shows, or is masked") {
  for (const double offset : {0.0, 15.5, -4.0})
    for (const Motion& motion : {Motion{.degrees = 45, .centre = {111.5, 111.5}},
                                 Motion{.degrees = 17, .zoom = 0.9, .centre = {111.5, 111.5}},
                                 Motion{.zoom = 1.1, .centre = {111.5, 111.5}, .shift = {14, -9}},
                                 Motion{.shift = {40, 0}}}) {
      CAPTURE(offset);
      CAPTURE(motion.degrees);
      const MapPair maps = warp(map_of(offset, linear), offset, motion);
      const auto values = maps.teacher.value().values<double>();
      const auto mask = maps.mask.values<double>();
      int known = 0;
      for (int64_t row = 0; row < kCells; ++row)
        for (int64_t column = 0; column < kCells; ++column) {
          const auto i = static_cast<size_t>(row * kCells + column);
          const Point source = motion.back(centre_of(column, row, offset));
          const double last = offset + kStride * (kCells - 1);
          const double margin =
              std::min({source.x - offset, last - source.x, source.y - offset, last - source.y});
          if (std::abs(margin) > 1e-3) CHECK(mask[i] == (margin > 0 ? 1 : 0));
          if (mask[i] == 0) continue;
          ++known;
          CHECK(std::abs(values[i] - linear(source)) < 1e-9);
        }
      CHECK(known >= 20);  // a check of nothing would pass too
      CHECK(known < kCells * kCells);
    }
}

TEST_CASE("logits move with the image's own pixels") {
  const Motion motion = {.degrees = 30, .centre = {6, 5}, .shift = {1.5, -0.5}};
  Tensor teacher({1, 11, 13, 1}, DType::f64);
  auto* out = teacher.mutable_data<double>();
  for (int64_t y = 0; y < 11; ++y)
    for (int64_t x = 0; x < 13; ++x)
      *out++ = linear({static_cast<double>(x), static_cast<double>(y)});
  const std::vector<Affine> moves = {motion.affine()};
  const MapPair maps = match_logits("test", Variable(teacher), Variable(teacher), moves);
  int known = 0;
  for (int64_t y = 0; y < 11; ++y)
    for (int64_t x = 0; x < 13; ++x) {
      const auto i = static_cast<size_t>(y * 13 + x);
      if (maps.mask.values<double>()[i] == 0) continue;
      ++known;
      const Point source = motion.back({static_cast<double>(x), static_cast<double>(y)});
      CHECK(std::abs(maps.teacher.value().values<double>()[i] - linear(source)) < 1e-12);
    }
  CHECK(known > 60);
}

TEST_CASE("logits of two sizes are stretched onto each other only where nothing moves") {
  const Variable student(Tensor::zeros({1, 4, 4, 1}, DType::f64));
  const Variable teacher(Tensor::zeros({1, 6, 6, 1}, DType::f64));
  const std::vector<Affine> moves = {Affine::translation(1, 0)};
  CHECK(match_logits("test", student, teacher, {}).student.shape() == Shape{1, 6, 6, 1});
  CHECK_THROWS_WITH_AS(match_logits("test", student, teacher, moves),
                       "test: expected logits of one size for views that differ by a motion, got "
                       "student [1, 4, 4, 1] and teacher [1, 6, 6, 1]",
                       Error);
}

TEST_CASE("a student that sees what the warp says it sees has no loss; at another offset it has") {
  const Motion motion = {.degrees = 45, .centre = {111.5, 111.5}};
  const std::vector<Affine> moves = {motion.affine()};
  const Variable teacher(map_of(0, linear));
  const Variable student(map_of(0, [&](Point p) { return linear(motion.back(p)); }));
  for (const LossKind loss : {LossKind::mse, LossKind::kld}) {
    const TermSpec term = {.pathway = Pathway::hidden, .loss = loss};
    const auto value = [&](TeacherView view, double offset) {
      const Distiller distiller(one_term(term, view), {.hidden_channels = 1},
                                {.hidden_channels = 1}, 0, DType::f64);
      return distiller
          .loss(hidden_output(student, kStride, offset), hidden_output(teacher, kStride, offset),
                {}, moves)
          .total.value()
          .item();
    };
    CHECK(std::abs(value(TeacherView::weak_warped, 0)) < 1e-12);
    // At another offset a linear map is off by a constant, which a softmax does not see.
    if (loss == LossKind::mse) CHECK(value(TeacherView::weak_warped, 15.5) > 1e-3);
    CHECK(value(TeacherView::weak_unaligned, 0) > 1e-3);
  }
}

TEST_CASE("the identity warps nothing and masks nothing") {
  const Tensor map = map_of(15.5, linear);
  const MapPair maps = warp(map, 15.5, {});
  CHECK(largest_difference(maps.teacher.value().values<double>(), map.values<double>()) < 1e-12);
  for (const double m : maps.mask.values<double>()) CHECK(m == 1);
}

TEST_CASE("the finer of two maps is pooled to the coarser, whose grid then moves") {
  // Cells of the 8 x 8 map lie at 7.5 + 16 i: each 2 x 2 of them around a centre at 15.5 + 32 i.
  const auto fine = [](Point p) { return linear(p); };
  Tensor teacher({1, 8, 8, 1}, DType::f64);
  auto* out = teacher.mutable_data<double>();
  for (int64_t row = 0; row < 8; ++row)
    for (int64_t column = 0; column < 8; ++column)
      *out++ = fine({7.5 + 16 * static_cast<double>(column), 7.5 + 16 * static_cast<double>(row)});
  const Motion motion = {.degrees = 20, .centre = {63.5, 63.5}};
  const std::vector<Affine> moves = {motion.affine()};
  const Variable student(Tensor::zeros({1, 4, 4, 1}, DType::f64));
  const MapPair maps =
      match_hidden("test", {student, 32, 15.5}, {Variable(teacher), 16, 7.5}, false, moves);
  CHECK(maps.teacher.shape() == Shape{1, 4, 4, 1});
  int known = 0;
  for (int64_t row = 0; row < 4; ++row)
    for (int64_t column = 0; column < 4; ++column) {
      const auto i = static_cast<size_t>(row * 4 + column);
      if (maps.mask.values<double>()[i] == 0) continue;
      ++known;
      const Point source = motion.back(
          {15.5 + 32 * static_cast<double>(column), 15.5 + 32 * static_cast<double>(row)});
      CHECK(std::abs(maps.teacher.value().values<double>()[i] - linear(source)) < 1e-9);
    }
  CHECK(known >= 4);

  // The other way round it is the student that is pooled, and the teacher that stays.
  const MapPair inverse =
      match_hidden("test", {Variable(teacher), 16, 7.5}, {student, 32, 15.5}, false, {});
  CHECK(inverse.student.shape() == Shape{1, 4, 4, 1});
  CHECK(std::abs(inverse.student.value().values<double>()[0] - linear({15.5, 15.5})) < 1e-12);
}

TEST_CASE("matched by pixels, a teacher's map moves to where the student's cells lie") {
  // The student's cells begin at 31, as mobilenet_v3's do: nearly one cell beyond the teacher's.
  const double teacher_offset = 0;
  const double student_offset = 31;
  const Variable student(Tensor::zeros({1, kCells, kCells, 1}, DType::f64));
  const Variable teacher(map_of(teacher_offset, linear));
  const std::vector<Motion> motions = {{}, {.degrees = 25, .centre = {111.5, 111.5}}};
  for (const Motion& motion : motions) {
    CAPTURE(motion.degrees);
    std::vector<Affine> moves;
    if (motion.degrees != 0) moves.push_back(motion.affine());
    const MapPair maps =
        match_hidden("test", {student, kStride, student_offset}, {teacher, kStride, teacher_offset},
                     false, moves, HiddenMatch::pixels);
    int known = 0;
    for (int64_t row = 0; row < kCells; ++row)
      for (int64_t column = 0; column < kCells; ++column) {
        const auto i = static_cast<size_t>(row * kCells + column);
        if (maps.mask.values<double>()[i] == 0) continue;
        ++known;
        const Point source = motion.back(centre_of(column, row, student_offset));
        CHECK(std::abs(maps.teacher.value().values<double>()[i] - linear(source)) < 1e-9);
      }
    // The last row and column lie beyond the teacher's cells.
    CHECK(known <= (kCells - 1) * (kCells - 1));
    CHECK(known >= 20);
  }
  CHECK(cell_distance({{}, 32, 31}, {{}, 32, 0}) == 31.0 / 32);
  // Pairs of the finer map's cells lie between them: 0 and 16 at 8.
  CHECK(cell_distance({{}, 32, 8}, {{}, 16, 0}) == 0);
}

TEST_CASE("cells of two sizes are not compared, whatever the maps' extents") {
  const Variable map(Tensor::zeros({1, 1, 1, 1}, DType::f64));
  CHECK_THROWS_WITH_AS(match_hidden("test", {map, 16, 0}, {map, 32, 0}, false, {}),
                       "test: expected cells of one size, got student [1, 1, 1, 1] and teacher "
                       "[1, 1, 1, 1], whose cells differ by the factor 0.5",
                       Error);
}

TEST_CASE("an image out of frame leaves the mean") {
  const std::vector<Affine> moves = {Affine{}, Affine::translation(1000, 0)};
  const Tensor teacher = randn({2, 4, 4, 3}, 1);
  const Tensor student = randn({2, 4, 4, 3}, 2);
  const auto first = [](const Tensor& t) { return Variable(t.view(0, {1, 4, 4, 3}).clone()); };
  for (const TermSpec& term : {TermSpec{.pathway = Pathway::hidden, .loss = LossKind::mse},
                               TermSpec{.pathway = Pathway::hidden, .loss = LossKind::kld}}) {
    const Distiller warped(one_term(term, TeacherView::weak_warped), {.hidden_channels = 3},
                           {.hidden_channels = 3}, 0, DType::f64);
    const Distiller same(one_term(term), {.hidden_channels = 3}, {.hidden_channels = 3}, 0,
                         DType::f64);
    const double both =
        warped.loss(hidden_output(Variable(student)), hidden_output(Variable(teacher)), {}, moves)
            .total.value()
            .item();
    const double one = same.loss(hidden_output(first(student)), hidden_output(first(teacher)), {})
                           .total.value()
                           .item();
    CHECK(std::abs(both - one) < 1e-12);
  }
}
