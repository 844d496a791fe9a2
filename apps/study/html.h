#pragma once

#include <string>
#include <string_view>

#include "data/image_io.h"

namespace decant::apps {

/// The text as HTML, and as XML, shows it: & < > " ' are written out, in attributes too. Control
/// characters, which neither allows, become U+FFFD.
std::string escaped(std::string_view text);

/// A figure of figures.h with the signs of print: "-" for a minus becomes "−", alone "–"; "+-" is
/// "±", "~" is "≈".
std::string typographic(std::string_view figure);

/// RFC 4648, with padding.
std::string base64(std::string_view bytes);

/// The picture within the page itself: "data:image/png;base64,...".
std::string data_uri(const data::Image& image);

/// 1234567 as "1 234 567", its spaces narrow and unbroken.
std::string grouped(int64_t value);

/// 123456 to three digits: "123 k"; k, M and G from 1000 on.
std::string short_number(double value);

}  // namespace decant::apps
