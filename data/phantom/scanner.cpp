#include "data/phantom/scanner.h"

#include <cmath>
#include <complex>
#include <string>

#include "data/phantom/noise.h"

namespace decant::data {
namespace {

using Field = std::vector<std::complex<double>>;

/// Weights of a Gaussian, scaled so that white noise keeps its variance.
std::vector<double> gaussian(double sigma) {
  const int radius = static_cast<int>(std::ceil(3 * sigma));
  std::vector<double> weights;
  double squares = 0;
  for (int i = -radius; i <= radius; ++i) {
    weights.push_back(std::exp(-0.5 * i * i / (sigma * sigma)));
    squares += weights.back() * weights.back();
  }
  for (double& w : weights) w /= std::sqrt(squares);
  return weights;
}

// Scatterers, weaker by the losses on the way: the running sum down each column. The scanner's
// time-gain compensation undoes the average loss, so only the excess counts.
Field scatterers(const Tissue& tissue, const RngKey& key) {
  const Rng real(key.part("real"));
  const Rng imaginary(key.part("imaginary"));
  Field field(tissue.echo_db.size());
  for (int x = 0; x < tissue.size; ++x) {
    double loss_db = 0;
    for (int y = 0; y < tissue.size; ++y) {
      const size_t i = tissue.index(x, y);
      loss_db += tissue.attenuation_db[i] / tissue.size;
      const double strength = std::pow(10, (tissue.echo_db[i] - loss_db) / 20);
      field[i] = strength * std::complex(real.normal(i), imaginary.normal(i));
    }
  }
  return field;
}

// Rows and columns beyond the edge repeat it mirrored.
int mirrored(int i, int n) {
  if (i < 0) i = -i - 1;
  return i >= n ? 2 * n - 1 - i : i;
}

Field spread(const Tissue& tissue, const Field& field, const Beam& beam) {
  const int n = tissue.size;
  Field lateral(field.size());
  for (int y = 0; y < n; ++y) {
    const double off_focus = (static_cast<double>(y) / n - beam.focus) / 0.35;
    const auto weights = gaussian(beam.lateral * std::sqrt(1 + off_focus * off_focus));
    const int radius = static_cast<int>(weights.size()) / 2;
    for (int x = 0; x < n; ++x)
      for (size_t k = 0; k < weights.size(); ++k)
        lateral[tissue.index(x, y)] +=
            weights[k] * field[tissue.index(mirrored(x + static_cast<int>(k) - radius, n), y)];
  }
  const auto weights = gaussian(beam.axial);
  const int radius = static_cast<int>(weights.size()) / 2;
  Field echo(field.size());
  for (int y = 0; y < n; ++y)
    for (int x = 0; x < n; ++x)
      for (size_t k = 0; k < weights.size(); ++k)
        echo[tissue.index(x, y)] +=
            weights[k] * lateral[tissue.index(x, mirrored(y + static_cast<int>(k) - radius, n))];
  return echo;
}

}  // namespace

std::vector<double> echo_power(const Tissue& tissue, const Beam& beam, const RngKey& key) {
  std::vector<double> power;
  for (const auto& echo : spread(tissue, scatterers(tissue, key), beam))
    power.push_back(std::norm(echo) / 2);
  return power;
}

Image scan(const Tissue& tissue, const RngKey& key) {
  Draws draws(key.part("scanner"));
  const double focus = draws.uniform(0.3, 0.6);
  const double axial = draws.uniform(0.0044, 0.006) * tissue.size;
  const double lateral = draws.uniform(0.0055, 0.0085) * tissue.size;
  const double range_db = draws.uniform(52, 66);
  const double gain_db = draws.uniform(-4, 5);
  const double gamma = draws.uniform(1, 1.5);
  const int looks = 2 + draws.below(3);
  std::vector<double> power(tissue.echo_db.size(), 1e-5);  // what electronic noise leaves of black
  for (int look = 0; look < looks; ++look) {
    const RngKey own = key.part("look" + std::to_string(look));
    const std::vector<double> one = echo_power(tissue, {focus, axial, lateral}, own);
    for (size_t i = 0; i < one.size(); ++i) power[i] += one[i] / looks;
  }
  Image image(tissue.size, tissue.size, 1);
  for (size_t i = 0; i < power.size(); ++i) {
    // Mean power 1, that of glandular tissue, is shown at 55 % of the range.
    const double db = 10 * std::log10(power[i]) + gain_db;
    const double shown = std::clamp(0.55 + db / range_db, 0.0, 1.0);
    image.pixels[i] = static_cast<uint8_t>(std::lround(255 * std::pow(shown, gamma)));
  }
  return image;
}

}  // namespace decant::data
