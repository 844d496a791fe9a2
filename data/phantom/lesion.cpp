#include "data/phantom/lesion.h"

#include <numbers>

namespace decant::data {
namespace {

constexpr double kPi = std::numbers::pi;

/// A star-shaped outline about a centre, in pixels: an ellipse whose radius is multiplied by a sum
/// of waves and spikes of the angle.
class Outline {
 public:
  Outline(double cx, double cy, double a, double b, double tilt)
      : cx_(cx), cy_(cy), a_(a), b_(b), cos_(std::cos(tilt)), sin_(std::sin(tilt)) {}

  void add_waves(int from, int to, double amplitude, Draws& draws) {
    for (int k = from; k <= to; ++k)
      waves_.push_back(
          {k, amplitude * draws.uniform(0.3, 1) / std::sqrt(k), draws.uniform(0, 2 * kPi)});
  }

  void add_spikes(int count, double height, Draws& draws) {
    for (int i = 0; i < count; ++i)
      spikes_.push_back({2 * kPi * (i + draws.uniform(-0.35, 0.35)) / count,
                         height * draws.uniform(0.3, 1), draws.uniform(0.1, 0.24)});
  }

  /// Distance from the centre in units of the outline's radius in that direction: below 1 inside.
  double level(double x, double y) const {
    const double u = (cos_ * (x - cx_) + sin_ * (y - cy_)) / a_;
    const double v = (cos_ * (y - cy_) - sin_ * (x - cx_)) / b_;
    const double angle = std::atan2(v, u);
    double radius = 1;
    for (const Wave& w : waves_) radius += w.amplitude * std::cos(w.k * angle + w.phase);
    for (const Spike& s : spikes_) {
      const double d = std::remainder(angle - s.angle, 2 * kPi) / s.width;
      radius += s.height * std::exp(-d * d);
    }
    return std::hypot(u, v) / std::max(radius, 0.3);
  }

  double a() const { return a_; }
  double b() const { return b_; }

 private:
  struct Wave {
    int k;
    double amplitude, phase;
  };
  struct Spike {
    double angle, height, width;
  };

  double cx_, cy_, a_, b_, cos_, sin_;
  std::vector<Wave> waves_;
  std::vector<Spike> spikes_;
};

/// How the tissue inside an outline looks.
struct Look {
  double echo_db;    ///< inside
  double margin;     ///< width of the transition, in radii
  double uneven_db;  ///< variation inside
  double rim_db;     ///< bright line (capsule) or zone (halo) around
  double rim_width;  ///< in radii
  double loss_db;    ///< of the echo behind the middle; negative is enhancement
};

void paint(Tissue& tissue, const Outline& outline, const Look& look, const RngKey& key) {
  const SmoothNoise noise(key.part("inside"));
  const double grain = 10.0 / tissue.size;
  // A column through the middle crosses 2 b pixels; spread there, the loss adds up to loss_db.
  const double density = look.loss_db * tissue.size / (2 * outline.b());
  for (int y = 0; y < tissue.size; ++y) {
    for (int x = 0; x < tissue.size; ++x) {
      const double level = outline.level(x, y);
      if (level > 2) continue;
      double& echo = tissue.echo_db[tissue.index(x, y)];
      const double rim = (level - 1 - 0.5 * look.rim_width) / look.rim_width;
      echo += look.rim_db * std::exp(-4 * rim * rim);
      const double inside = 1 - smooth_step(1 - look.margin, 1 + look.margin, level);
      const double target =
          look.echo_db + look.uneven_db * noise.fractal(2 * grain * x, 2 * grain * y);
      echo = std::lerp(echo, target, inside);
      tissue.attenuation_db[tissue.index(x, y)] += density * inside;
    }
  }
}

// Beams that graze a smooth wall are refracted away: a thin shadow below either side.
void add_edge_shadows(Tissue& tissue, double cx, double cy, const Outline& outline,
                      double loss_db) {
  for (const double side : {-1.0, 1.0}) {
    const double at = cx + side * outline.a() * 0.97;
    for (int y = static_cast<int>(cy);
         y < std::min<int>(tissue.size, static_cast<int>(cy + outline.b())); ++y)
      for (int x = 0; x < tissue.size; ++x) {
        const double d = (x - at) / (0.012 * tissue.size);
        tissue.attenuation_db[tissue.index(x, y)] +=
            loss_db * tissue.size / outline.b() * std::exp(-d * d);
      }
  }
}

void add_calcifications(Tissue& tissue, const Outline& outline, double cx, double cy,
                        Draws& draws) {
  const int count = 3 + draws.below(8);
  for (int i = 0; i < count; ++i) {
    const double x = cx + outline.a() * draws.uniform(-0.6, 0.6);
    const double y = cy + outline.b() * draws.uniform(-0.6, 0.6);
    const auto ix = std::clamp(static_cast<int>(x), 0, tissue.size - 1);
    const auto iy = std::clamp(static_cast<int>(y), 0, tissue.size - 1);
    tissue.echo_db[tissue.index(ix, iy)] += draws.uniform(14, 22);
  }
}

Image mask_of(const Tissue& tissue, const Outline& outline) {
  Image mask(tissue.size, tissue.size, 1);
  for (int y = 0; y < tissue.size; ++y)
    for (int x = 0; x < tissue.size; ++x) mask.at(x, y) = outline.level(x, y) < 1 ? 255 : 0;
  return mask;
}

}  // namespace

void add_lesion(Tissue& tissue, bool malignant, const Region& region, const RngKey& key) {
  Draws draws(key);
  const double size = tissue.size;
  const double a = size * (malignant ? draws.uniform(0.08, 0.21) : draws.uniform(0.06, 0.25));
  const double b = a * (malignant ? draws.uniform(0.7, 1.25) : draws.uniform(0.45, 0.8));
  const double cx = size * draws.uniform(region.left, region.right);
  const double cy = std::max(size * draws.uniform(region.top, region.bottom), 0.06 * size + b);
  Outline outline(cx, cy, a, b, draws.uniform(-0.35, 0.35));
  Look look = {};
  if (malignant) {
    outline.add_waves(2, 5, 0.16, draws);
    outline.add_waves(6, 11, 0.1, draws);
    if (draws.chance(0.6)) outline.add_spikes(5 + draws.below(7), draws.uniform(0.15, 0.4), draws);
    look = {.echo_db = draws.uniform(-21, -10),
            .margin = draws.uniform(0.08, 0.25),
            .uneven_db = draws.uniform(2, 6),
            .rim_db = draws.uniform(0, 5),
            .rim_width = draws.uniform(0.2, 0.4),
            .loss_db = draws.uniform(3, 22)};
  } else {
    outline.add_waves(2, 4, draws.chance(0.5) ? 0.05 : 0.13, draws);
    const bool cyst = draws.chance(0.2);
    look = {.echo_db = cyst ? draws.uniform(-34, -26) : draws.uniform(-19, -7),
            .margin = draws.uniform(0.03, 0.12),
            .uneven_db = cyst ? 0.5 : draws.uniform(1, 3.5),
            .rim_db = draws.uniform(0, 6),
            .rim_width = draws.uniform(0.06, 0.12),
            .loss_db = cyst ? draws.uniform(-9, -5) : draws.uniform(-6, 2)};
  }
  paint(tissue, outline, look, key);
  if (!malignant && draws.chance(0.4))
    add_edge_shadows(tissue, cx, cy, outline, draws.uniform(3, 8));
  if (malignant && draws.chance(0.4)) add_calcifications(tissue, outline, cx, cy, draws);
  tissue.masks.push_back(mask_of(tissue, outline));
}

void add_distractor(Tissue& tissue, const Region& region, const RngKey& key) {
  Draws draws(key);
  const double size = tissue.size;
  const double a = size * draws.uniform(0.04, 0.15);
  const double b = a * draws.uniform(0.35, 0.7);
  Outline outline(size * draws.uniform(0, 1), size * draws.uniform(region.top, region.bottom), a, b,
                  draws.uniform(-0.4, 0.4));
  outline.add_waves(2, 4, 0.1, draws);
  const Look look = {.echo_db = draws.uniform(-14, -8),
                     .margin = draws.uniform(0.2, 0.5),
                     .uneven_db = draws.uniform(1, 3),
                     .rim_db = draws.uniform(1, 5),
                     .rim_width = draws.uniform(0.1, 0.25),
                     .loss_db = draws.uniform(-1, 3)};
  paint(tissue, outline, look, key);
}

}  // namespace decant::data
