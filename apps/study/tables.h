#pragma once

#include <string>

#include "apps/study/results.h"

namespace decant::apps {

/// The table of a study in the shape of the paper's Table 4, with what the networks cost.
/// `format`: text (for a terminal), markdown, latex (lying on its side, as wide as the page is
/// high), csv (every figure in full, one line per cell) or json. Throws Error for another word.
std::string table_text(const Results& results, const std::string& format);

/// What the figures were measured on, as every table says: "Dice on 33 images with a lesion, ...".
std::string caption_of(const Results& results);

}  // namespace decant::apps
