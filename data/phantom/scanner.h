#pragma once

#include "data/phantom/tissue.h"

namespace decant::data {

/// Where the beam is narrowest, in shares of the size, and the widths of the point-spread function
/// there, in pixels (standard deviations along and across the beam).
struct Beam {
  double focus, axial, lateral;
};

/// Power of the echo at every pixel for one look.
/// Every pixel holds a random complex scatterer whose strength follows echo_db and the losses above
/// it; a separable point-spread function sums them to the echo. In even tissue of 0 dB its real and
/// imaginary part are normal, and its power is exponential with mean 1: fully developed speckle.
/// Source: R. F. Wagner et al. 1983, "Statistics of speckle in ultrasound B-scans".
std::vector<double> echo_power(const Tissue& tissue, const Beam& beam, const RngKey& key);

/// The B-mode image of a tissue, one channel: two to four looks, averaged in power as by spatial
/// compounding, log-compressed to the display's range; beam, range, gain and gamma drawn per image.
Image scan(const Tissue& tissue, const RngKey& key);

}  // namespace decant::data
