#include "apps/console.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "engine/core/error.h"

namespace decant::apps {
namespace {

volatile std::sig_atomic_t interrupt_seen = 0;

void on_interrupt(int signal) {
  interrupt_seen = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

Console::Console() : terminal_(is_terminal()), start_(Clock::now()) {}

Console::~Console() {
  clear();
}

bool Console::is_terminal() {
  return ::isatty(STDOUT_FILENO) == 1;
}

void Console::clear() {
  if (drawn_) std::cout << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

void Console::line(std::string_view text) {
  clear();
  std::cout << text << '\n' << std::flush;  // whoever reads a pipe sees it now
}

void Console::begin() {
  start_ = Clock::now();
}

void Console::progress(std::string_view what, int64_t done, int64_t total) {
  if (!terminal_ || done <= 0) return;
  const auto now = Clock::now();
  if (drawn_ && now - last_drawn_ < std::chrono::milliseconds(100)) return;
  last_drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double left = seconds / static_cast<double>(done) * static_cast<double>(total - done);
  constexpr int kWidth = 24;
  const auto filled = static_cast<size_t>(kWidth * done / total);
  std::cout << "\r\x1b[K" << what << " [" << std::string(filled, '=')
            << std::string(kWidth - filled, ' ') << "] " << 100 * done / total << " %, "
            << duration_text(left) << " left" << std::flush;
  drawn_ = true;
}

std::string rounded(double value, int places) {
  std::ostringstream out;
  out.precision(places);
  out << std::fixed << value;
  return out.str();
}

std::string hexadecimal(uint64_t value) {
  std::ostringstream out;
  out << std::hex << std::setw(16) << std::setfill('0') << value;
  return out.str();
}

std::string figure(double value, int places) {
  return std::isnan(value) ? "-" : rounded(value, places);
}

size_t shown_width(std::string_view text) {
  // All bytes of a character but its first are 10xxxxxx.
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string columns_text(const std::vector<std::vector<std::string>>& table, size_t names) {
  std::vector<size_t> widths(table.front().size());
  for (const auto& line : table)
    for (size_t c = 0; c < widths.size(); ++c)
      widths[c] = std::max(widths[c], shown_width(line[c]));
  std::string text;
  for (const auto& line : table) {
    for (size_t c = 0; c < widths.size(); ++c) {
      const std::string room(widths[c] - shown_width(line[c]), ' ');
      text += (c == 0 ? "" : "  ") + (c < names ? line[c] + room : room + line[c]);
    }
    text += "\n";
  }
  return text;
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole < 60) return str(whole, " s");
  if (whole < 3600) return str(whole / 60, " min ", whole % 60, " s");
  return str(whole / 3600, " h ", whole / 60 % 60, " min");
}

InterruptGuard::InterruptGuard() {
  interrupt_seen = 0;
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  // The terminal was closed; nohup's wish to go on without it stands.
  if (std::signal(SIGHUP, on_interrupt) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  if (std::signal(SIGHUP, SIG_DFL) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

bool InterruptGuard::interrupted() {
  return interrupt_seen != 0;
}

}  // namespace decant::apps
