#include "data/phantom/tissue.h"

#include <limits>
#include <string>

#include "data/phantom/lesion.h"
#include "data/phantom/noise.h"

namespace decant::data {
namespace {

/// Depths, in shares of the size, at which one layer ends and the next begins, above one column.
struct Layers {
  double skin, fat, gland, retro, muscle;
};

class Anatomy {
 public:
  explicit Anatomy(const RngKey& key)
      : waves_(key.part("waves")),
        texture_(key.part("texture")),
        warp_(key.part("warp")),
        sites_(key.part("sites")) {
    Draws draws(key.part("anatomy"));
    skin_ = draws.uniform(0.03, 0.055);
    fat_ = draws.uniform(0.12, 0.34);
    gland_ = draws.uniform(0.58, 0.78);
    retro_ = draws.uniform(0.02, 0.06);
    muscle_ = draws.uniform(0.1, 0.2);
    slope_ = draws.uniform(-0.06, 0.06);
    fat_db_ = draws.uniform(-15, -10);
    gland_db_ = draws.uniform(0, 4);
    patchiness_ = draws.uniform(3, 13);
    lobules_ = draws.uniform(3.5, 6);
  }

  Layers at(double u) const {
    const double tilt = slope_ * (u - 0.5);
    Layers l{};
    l.skin = skin_ + 0.006 * waves_(2 * u, 0);
    l.fat = fat_ + tilt + 0.06 * waves_(2.5 * u, 10) + 0.02 * waves_(7 * u, 20);
    l.gland = gland_ + tilt + 0.045 * waves_(2 * u, 30) + 0.012 * waves_(6 * u, 40);
    l.retro = l.gland + retro_ * (1 + 0.4 * waves_(3 * u, 50));
    l.muscle = l.retro + muscle_ * (1 + 0.15 * waves_(2 * u, 60));
    return l;
  }

  double echo_db(double u, double v) const {
    const Layers l = at(u);
    double db = blend(v, l, u);
    // Fasciae and the skin's two faces: thin mirrors across the beam.
    db += 13 * line(v, 0.008, 0.007) + 7 * line(v, l.skin, 0.006);
    db += 7 * strength(u, 70) * line(v, l.gland, 0.006) +
          10 * strength(u, 80) * line(v, l.retro, 0.006);
    db += 13 * strength(u, 90) * line(v, l.muscle, 0.008);
    return db;
  }

  Region lesion_region() const { return {0.22, 0.78, 0.75 * fat_, gland_ - 0.06}; }

 private:
  static double line(double v, double at, double width) {
    const double d = (v - at) / width;
    return std::exp(-d * d);
  }
  double strength(double u, double row) const { return 0.65 + 0.35 * waves_(5 * u, row); }

  // Soft steps from layer to layer; only the two nearest are computed.
  double blend(double v, const Layers& l, double u) const {
    constexpr double kSoft = 0.012;
    const auto step = [&](double depth, auto&& upper, auto&& lower) {
      const double t = smooth_step(depth - kSoft, depth + kSoft, v);
      return t <= 0 ? upper() : t >= 1 ? lower() : std::lerp(upper(), lower(), t);
    };
    const auto skin = [&] { return 3 + 2 * texture_(30 * u, 60 * v); };
    const auto fat = [&] { return fat_at(u, v); };
    const auto gland = [&] { return gland_at(u, v); };
    const auto muscle = [&] { return muscle_at(u, v, l); };
    const auto wall = [&] { return chest_wall_at(u, v); };
    if (v < 0.5 * (l.skin + l.fat)) return step(l.skin, skin, fat);
    if (v < 0.5 * (l.fat + l.gland)) return step(l.fat, fat, gland);
    if (v < 0.5 * (l.gland + l.retro)) return step(l.gland, gland, fat);
    if (v < 0.5 * (l.retro + l.muscle)) return step(l.retro, fat, muscle);
    return step(l.muscle, muscle, wall);
  }

  // Lobules: the cells about random sites; between them bright septa, brightest where they lie
  // across the beam (Cooper's ligaments).
  double fat_at(double u, double v) const {
    const double x = lobules_ * u + 0.35 * warp_(5 * u, 5 * v);
    const double y = 2.2 * lobules_ * v + 0.35 * warp_(5 * u + 40, 5 * v);
    double nearest = std::numeric_limits<double>::max();
    double second = nearest;
    double nx = 0;
    double ny = 0;
    double sx = 0;
    double sy = 0;
    double shade = 0;
    const auto ix = static_cast<int64_t>(std::floor(x));
    const auto iy = static_cast<int64_t>(std::floor(y));
    for (int64_t j = iy - 1; j <= iy + 1; ++j) {
      for (int64_t i = ix - 1; i <= ix + 1; ++i) {
        const double px = static_cast<double>(i) + 0.5 + 0.45 * sites_.lattice(i, j);
        const double py = static_cast<double>(j) + 0.5 + 0.45 * sites_.lattice(i + 20, j);
        const double d = std::hypot(x - px, y - py);
        if (d < nearest) {
          second = nearest;
          sx = nx;
          sy = ny;
          nearest = d;
          nx = px;
          ny = py;
          shade = sites_.lattice(i + 40, j);
        } else if (d < second) {
          second = d;
          sx = px;
          sy = py;
        }
      }
    }
    const double across = std::fabs(ny - sy) / (std::hypot(nx - sx, ny - sy) + 1e-9);
    const double gap = (second - nearest) / 0.13;
    const double septum = std::exp(-gap * gap) * (0.25 + 0.75 * across * across);
    return fat_db_ + 2 * shade + 13 * septum + 1.5 * texture_.fractal(12 * u, 24 * v);
  }

  // Fibrous strands, mostly along the skin, and darker ducts and fat between them.
  double gland_at(double u, double v) const {
    const double bend = warp_(3 * u, 3 * v);
    const double strands = texture_.ridges(5 * u + bend, 17 * v + 2 * bend, 0.16) +
                           0.6 * texture_.ridges(9 * u + 7, 30 * v + 2 * bend, 0.2);
    const double patches = warp_.fractal(3.5 * u + 20, 5.5 * v);
    return gland_db_ - 3 + 8 * strands + 3 * texture_.fractal(8 * u, 14 * v) -
           patchiness_ * smooth_step(0, 0.5, patches);
  }

  double muscle_at(double u, double v, const Layers& l) const {
    const double depth = (v - l.retro) / (l.muscle - l.retro);
    const double fibres = texture_.ridges(4 * u + 10, 7 * depth + 1.5 * warp_(4 * u, 4 * v), 0.2);
    return -14 + 11 * fibres + 2 * texture_.fractal(14 * u, 20 * v);
  }

  double chest_wall_at(double u, double v) const {
    return -17 + 5 * texture_.fractal(4 * u + 20, 9 * v) - 20 * std::max(v - 0.85, 0.0);
  }

  SmoothNoise waves_, texture_, warp_, sites_;
  double skin_, fat_, gland_, retro_, muscle_, slope_, fat_db_, gland_db_, lobules_, patchiness_;
};

// A rib's bright arc below the muscle, and the dark behind it.
void add_rib(Tissue& tissue, const Anatomy& anatomy, const RngKey& key) {
  Draws draws(key);
  const double centre = draws.uniform(0, 1);
  const double half = draws.uniform(0.12, 0.2);
  for (int x = 0; x < tissue.size; ++x) {
    const double u = (x + 0.5) / tissue.size;
    const double d = (u - centre) / half;
    if (std::fabs(d) > 1) continue;
    const double top = anatomy.at(u).muscle + 0.02 + 0.06 * d * d;
    for (int y = 0; y < tissue.size; ++y) {
      const double v = (y + 0.5) / tissue.size;
      const double arc = (v - top) / 0.01;
      tissue.echo_db[tissue.index(x, y)] += 12 * (1 - d * d) * std::exp(-arc * arc);
      if (v > top) tissue.attenuation_db[tissue.index(x, y)] += 160 * (1 - d * d);
    }
  }
}

}  // namespace

Tissue make_tissue(int size, std::string_view class_name, const RngKey& key) {
  const auto pixels = static_cast<size_t>(size) * static_cast<size_t>(size);
  Tissue tissue{size, std::vector<double>(pixels), std::vector<double>(pixels), {}};
  const Anatomy anatomy(key);
  const SmoothNoise loss(key.part("loss"));
  const double tilt_db = Draws(key.part("tilt")).uniform(-4, 20);  // compensation never fits
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const double u = (x + 0.5) / size;
      const double v = (y + 0.5) / size;
      tissue.echo_db[tissue.index(x, y)] = anatomy.echo_db(u, v);
      // Fat, ligaments and poor contact weaken some beams more than others.
      tissue.attenuation_db[tissue.index(x, y)] =
          7 * loss(5 * u, 2 * v) + 4 * loss(14 * u, 40) + tilt_db * v;
    }
  }
  Draws draws(key.part("contents"));
  if (draws.chance(0.45)) add_rib(tissue, anatomy, key.part("rib"));
  const Region region = anatomy.lesion_region();
  const int distractors = draws.below(4);
  for (int i = 0; i < distractors; ++i)
    add_distractor(tissue, region, key.part("distractor" + std::to_string(i)));
  if (class_name == "normal") {
    tissue.masks.emplace_back(size, size, 1);
    return tissue;
  }
  const bool malignant = class_name == "malignant";
  if (draws.chance(0.08)) {  // two, in the halves of the image
    const double middle = 0.5 * (region.left + region.right);
    add_lesion(tissue, malignant, {region.left, middle - 0.1, region.top, region.bottom},
               key.part("first"));
    add_lesion(tissue, malignant, {middle + 0.1, region.right, region.top, region.bottom},
               key.part("second"));
  } else {
    add_lesion(tissue, malignant, region, key.part("lesion"));
  }
  return tissue;
}

}  // namespace decant::data
