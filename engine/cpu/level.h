#pragma once

#include <ostream>
#include <string_view>

#include "engine/cpu/kernels.h"

namespace decant::cpu {

/// The instruction sets that the SIMD kernels are compiled for, slowest first.
enum class Level { portable, avx2, avx512 };

std::string_view name_of(Level level);
inline std::ostream& operator<<(std::ostream& out, Level level) {
  return out << name_of(level);
}

/// Whether this program was built with the level's kernels and this processor can run them.
bool is_supported(Level level);

/// The level in use: the best supported one, unless DECANT_CPU names another
/// (portable, avx2 or avx512). Throws Error where DECANT_CPU is none of them or not supported.
/// Results have the same bits for any number of threads, but not for different levels.
Level level();

/// Overrides the level. Throws Error where it is not supported. Not to be called while ops run.
void set_level(Level level);

/// The kernels of the level in use.
const Kernels& kernels();

}  // namespace decant::cpu
