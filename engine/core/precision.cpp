#include "engine/core/precision.h"

#include <atomic>

namespace decant {
namespace {

std::atomic<Precision> current = Precision::f32;

}  // namespace

Precision precision() {
  return current;
}

void set_precision(Precision precision) {
  current = precision;
}

}  // namespace decant
