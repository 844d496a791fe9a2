#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace decant::apps {

/// What a long command says while it works. On a terminal the last line moves with the progress
/// and the time it will take; elsewhere (a file, a pipe) there are whole lines only.
class Console {
 public:
  Console();
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void line(std::string_view text);

  /// `done` of `total` parts are done since begin(); drawn at most ten times a second.
  void begin();
  void progress(std::string_view what, int64_t done, int64_t total);

  static bool is_terminal();

 private:
  using Clock = std::chrono::steady_clock;

  void clear();

  bool terminal_;
  bool drawn_ = false;
  Clock::time_point start_;
  Clock::time_point last_drawn_;
};

/// 0.12345 to 2 places: "0.12".
std::string rounded(double value, int places);

/// The same of a figure; "-" where there is none (NaN): the spread of one value, the mean of none.
std::string figure(double value, int places);

/// Sixteen digits, as digests are shown.
std::string hexadecimal(uint64_t value);

/// How many characters a terminal shows of a text in UTF-8.
size_t shown_width(std::string_view text);

/// Lines of cells in columns as wide as their longest, the first `names` of them to the left and
/// figures to the right.
std::string columns_text(const std::vector<std::vector<std::string>>& table, size_t names);

/// "9 s", "3 min 20 s", "2 h 5 min".
std::string duration_text(double seconds);

/// While it lives, the first SIGINT or SIGTERM only sets a flag, so that the work can stop at a
/// place of its choice; the second ends the process at once.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool interrupted();
};

}  // namespace decant::apps
