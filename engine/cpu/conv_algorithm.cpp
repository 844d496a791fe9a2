#include "engine/cpu/conv_algorithm.h"

#include <atomic>

#include "engine/cpu/level.h"
#include "engine/cpu/panels.h"
#include "engine/cpu/winograd.h"

namespace decant::cpu {
namespace {

std::atomic<bool> exact = false;

// Costs in multiply-adds of a full vector unit, per channel; the constants were fitted to
// conv_bench on a processor with AVX-512.
constexpr double kDirect = 1.25;       // one multiply-add of the direct sum
constexpr double kProduct = 1.2;       // one of Winograd's products
constexpr double kTransform = 800;     // a tile on its way in or out
constexpr double kTransformed = 1200;  // the same for the weight gradient, whose tiles go to memory
constexpr double kFilter = 400;        // the transform of one 3x3 filter

bool winograd_is_cheaper(const ConvShape& s, ConvPass pass, int64_t images) {
  const int64_t lanes = kernels().lanes;
  const auto whole = [&](int64_t channels) {
    return static_cast<double>(ceil_div(channels, lanes) * lanes);
  };
  const bool backwards = pass == ConvPass::input_gradient;
  const int64_t h = backwards ? s.h : s.ho;
  const int64_t w = backwards ? s.w : s.wo;
  const double in = whole(s.c_in);
  const double out = whole(s.c_out);
  // The direct kernels fill up one side to whole vectors: that of the columns of the product.
  const double pairs =
      backwards ? in * static_cast<double>(s.c_out) : static_cast<double>(s.c_in) * out;
  const double direct = kDirect * 9 * pairs * static_cast<double>(images * h * w);
  const auto tiles = static_cast<double>(images * ceil_div(h, 4) * ceil_div(w, 4));
  const double transform = pass == ConvPass::weight_gradient ? kTransformed : kTransform;
  const double winograd =
      tiles * (kProduct * 36 * in * out + transform * (in + out)) + kFilter * in * out;
  return winograd < direct;
}

// The direct kernels fill a vector of output channels; where most of it would stay empty, vectors
// along the source do better: forward along its channels (but for four outputs, see narrow.inc),
// for the weight gradient along a row of the kernel.
bool has_few_outputs(const ConvShape& s, ConvPass pass) {
  const int64_t lanes = kernels().lanes;
  if (s.groups != 1 || 3 * s.c_out >= lanes || pass == ConvPass::input_gradient) return false;
  if (pass == ConvPass::forward) return s.c_in % lanes == 0 && s.c_out != 4;
  return (s.dilation == 1 ? s.kw * s.c_in : s.c_in) % lanes == 0;
}

}  // namespace

std::string_view name_of(ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::depthwise:
      return "depthwise";
    case ConvAlgorithm::few_outputs:
      return "few outputs";
    case ConvAlgorithm::direct:
      return "direct";
    case ConvAlgorithm::winograd:
      return "winograd";
  }
  return "unknown";
}

ConvAlgorithm algorithm_of(const ConvShape& s, ConvPass pass, int64_t images) {
  if (s.groups == s.c_in && s.groups == s.c_out && s.groups > 1) return ConvAlgorithm::depthwise;
  if (has_few_outputs(s, pass)) return ConvAlgorithm::few_outputs;
  if (has_winograd(s) && !exact && winograd_is_cheaper(s, pass, images))
    return ConvAlgorithm::winograd;
  return ConvAlgorithm::direct;
}

std::string_view name_of_one_pass(const ConvShape& s) {
  if (!gradients_in_one_pass(s)) return "";
  return is_pointwise(s) ? "pointwise, both" : "depthwise, both";
}

bool exact_convolutions() {
  return exact;
}

void set_exact_convolutions(bool value) {
  exact = value;
}

}  // namespace decant::cpu
