#pragma once

#include <cstdint>

#include "engine/cpu/conv.h"
#include "engine/cpu/prepared_conv.h"

namespace decant::cpu {

/// Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray 2016, arXiv 1509.09308): 16 results of a
/// 3x3 convolution of stride 1 from 36 products per channel where the direct sum takes 144.
///   y = A^T ( sum over channels of (G g G^T) . (B^T d B) ) A
/// for a tile of 4 x 4 results y, the 6 x 6 pixels d that it sees and the filter g; "." multiplies
/// element by element. The sum over channels is a matrix product for each of the 36 elements,
/// tiles x c_in by c_in x c_out. The price: the transforms, and three bits of accuracy
/// (kWinogradKappa).

/// How far results may be from exact ones, in sqrt(K) 2^-24 for sums of K products, where a direct
/// sum reaches some 0.3. The 36 sums of a tile are as exact as direct ones, but larger than what
/// A^T leaves of them, and their errors do not cancel: of independent entries, along one axis, it
/// amplifies the variance of result p by
///   sum over i of A[p,i]^2 |G[i]|^2 |B[i]|^2, over the 3 of the direct sum
/// and that is 10.8 in the mean of the four p; two axes and a square root make it 10.8 for errors,
/// or 3.2. For the weight gradient, sum over i of G[i,p]^2 |A[i]|^2 |B[i]|^2 over 4 is 10.8, too.
constexpr double kWinogradKappa = 4;

/// Whether there is such a form: 3x3, stride 1, no dilation, one group.
bool has_winograd(const ConvShape& s);

// Contracts as in conv.h, for shapes with has_winograd(s).
void winograd_forward(const ConvShape& s, const float* x, const float* w, const float* bias,
                      float* y);
std::unique_ptr<PreparedConv> prepare_winograd(const ConvShape& s, const ConvFilters& filters);
void winograd_input_gradient(const ConvShape& s, const float* dy, const float* w, const float* bias,
                             float* dx);
void winograd_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw);

}  // namespace decant::cpu
