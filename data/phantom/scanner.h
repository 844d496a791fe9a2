#pragma once

#include "data/phantom/tissue.h"

namespace decant::data {

/// The B-mode image of a tissue, one channel.
/// Every pixel holds a random complex scatterer whose strength follows echo_db and the losses above
/// it; a separable point-spread function, widest away from the focus, sums them to the echo; its
/// magnitude (speckle: Rayleigh-distributed where the tissue is even), log-compressed, is the
/// image. Source: R. F. Wagner et al. 1983, "Statistics of speckle in ultrasound B-scans".
Image scan(const Tissue& tissue, const RngKey& key);

}  // namespace decant::data
