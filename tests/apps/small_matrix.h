#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "apps/options.h"
#include "tests/apps/program.h"

namespace decant::apps {

using Words = std::vector<std::string>;

/// A study of six jobs of two epochs: in each of two splits of the phantoms a teacher, a student
/// alone, a distilled one.
Json small_matrix();
/// The same of one split: a teacher, a student alone, a distilled one.
Json three_jobs();

/// Writes it into `folder` as study.json, whose path is returned.
std::string write_matrix(const TemporaryFolder& folder, const Json& matrix);

/// Begins the study in `file` and does it, in `out`.
Words run_words(const std::string& file, const std::string& out);

/// The message of a command line that is refused: one line, exit code 2.
std::string refused(const Words& words);
/// The same of a study that nobody can plan.
std::string refused(const TemporaryFolder& folder, const Json& matrix);

/// Until it is so, or a minute has passed: then it is REQUIREd.
void wait_until(const std::function<bool()>& it_is_so);

bool contains(const std::string& text, const std::string& part);

}  // namespace decant::apps
