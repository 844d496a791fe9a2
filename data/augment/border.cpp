#include "data/augment/border.h"

namespace decant::data {

Outside read_outside(Arguments& arguments, const OutsideNames& names) {
  const bool v2 = arguments.is_v2();
  const char* border = v2 ? "border_mode" : names.border;
  const int mode = arguments.integer(border, static_cast<int>(v2 ? Border::constant : names.usual));
  check(mode <= 4, arguments.transform(), ": expected a ", border,
        " of 0 (constant), 1 (replicate), 2 (reflect), 3 (wrap) or 4 (reflect_101), got ", mode);
  return {.border = static_cast<Border>(mode),
          .fill = arguments.numbers(v2 ? "fill" : names.fill, {0}),
          .fill_mask = arguments.numbers(v2 ? "fill_mask" : names.fill_mask, {0}).front() != 0};
}

}  // namespace decant::data
