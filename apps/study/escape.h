#pragma once

#include <string>
#include <string_view>

namespace decant::apps {

// Texts that users chose (names of studies, cells, images, machines) as each format that the
// program writes shows them, one function a format. HTML's and XML's is escaped() in html.h.

/// On a line of a terminal: control characters become U+FFFD.
std::string plain_line(std::string_view text);

/// In a cell of a table, or a sentence, of GitHub's Markdown. An underscore within a word stands.
std::string markdown_escaped(std::string_view text);

/// In LaTeX's text.
std::string latex_escaped(std::string_view text);

/// A field of CSV (RFC 4180).
std::string csv_field(std::string_view text);

/// A word of a shell's command line, in quotes.
std::string shell_word(std::string_view text);

/// What may stand in a file's name and in a directive of Slurm: letters, digits and _ = . - stand,
/// anything else becomes "-".
std::string file_word(std::string_view text);

}  // namespace decant::apps
