#pragma once

namespace decant::cpu {

/// What this machine reaches with as many threads as the pool has, measured now, in some
/// milliseconds: the two ceilings against which benchmarks state the speed of kernels. Other
/// programs on the machine lower them.

/// Multiply-adds of the widest vectors in registers, in FLOP per second; a multiply-add is two.
double multiply_add_peak();

/// Copying one array to another, both larger than caches are: bytes read and written per second.
double copy_peak();

}  // namespace decant::cpu
