#pragma once

#include <nlohmann/json.hpp>

namespace decant::data {

/// Whether this is what Albumentations' to_dict and A.save write, rather than our short form.
bool is_dictionary(const nlohmann::json& given);

/// Such a dictionary as our short form, its version in every entry.
/// Throws Error where it is no Compose with p = 1, or of a version whose meanings are not followed:
/// between 1.3 and 2.0 they changed from release to release.
nlohmann::json short_form(const nlohmann::json& dictionary);

}  // namespace decant::data
