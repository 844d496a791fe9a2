// The op table as text and as JSON.
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "engine/check/gradient_check.h"

namespace decant {
namespace {

std::string json_text(std::string_view text) {
  std::ostringstream out;
  out << '"';
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out << '\\' << c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out << "\\u" << std::hex << std::setw(4) << std::setfill('0') << static_cast<int>(c)
          << std::dec;
    else
      out << c;
  }
  out << '"';
  return out.str();
}

// JSON has neither NaN nor infinity.
std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  std::ostringstream out;
  out << std::setprecision(17) << value;
  return out.str();
}

const char* truth(bool value) {
  return value ? "true" : "false";
}

}  // namespace

void print_reports(std::ostream& out, const std::vector<RowReport>& reports) {
  std::ostringstream text;  // formatting flags of `out` stay as they are
  text << std::left << std::setw(28) << "op" << std::right << std::setw(6) << "rows" << std::setw(8)
       << "checks" << std::setw(18) << "worst gradient"
       << "   result\n";
  size_t rows = 0;
  size_t failures = 0;
  double worst_of_all = 0;
  for (auto first = reports.begin(); first != reports.end();) {
    const auto last =
        std::find_if(first, reports.end(), [&](const RowReport& r) { return r.op != first->op; });
    size_t checks = 0;
    double worst = 0;
    const auto failed =
        static_cast<size_t>(std::count_if(first, last, [](const auto& r) { return !r.passed; }));
    for (auto r = first; r != last; ++r) {
      checks += r->checks.size();
      if (!(r->worst_gradient_error <= worst)) worst = r->worst_gradient_error;
    }
    text << std::left << std::setw(28) << first->op << std::right << std::setw(6) << last - first
         << std::setw(8) << checks << std::setw(18) << std::scientific << std::setprecision(1)
         << worst << "   " << (failed == 0 ? "pass" : "FAIL") << '\n';
    rows += static_cast<size_t>(last - first);
    failures += failed;
    if (!(worst <= worst_of_all)) worst_of_all = worst;
    first = last;
  }
  for (const RowReport& r : reports)
    for (const CheckResult& c : r.checks)
      if (!c.passed)
        text << "FAIL " << r.op << " (" << r.variant << "), " << c.check << ": " << c.message
             << '\n';
  text << rows << " rows, " << failures << " failed, worst gradient error " << worst_of_all << '\n';
  out << text.str();
}

std::string reports_json(const std::vector<RowReport>& reports) {
  std::ostringstream out;
  out << "{\"passed\": " << truth(all_passed(reports)) << ", \"rows\": [";
  for (size_t i = 0; i < reports.size(); ++i) {
    const RowReport& r = reports[i];
    out << (i == 0 ? "\n" : ",\n") << "  {\"op\": " << json_text(r.op)
        << ", \"variant\": " << json_text(r.variant) << ", \"passed\": " << truth(r.passed)
        << ", \"worst_gradient_error\": " << number(r.worst_gradient_error)
        << ", \"message\": " << json_text(r.message) << ", \"checks\": [";
    for (size_t k = 0; k < r.checks.size(); ++k) {
      const CheckResult& c = r.checks[k];
      out << (k == 0 ? "" : ", ") << "{\"check\": " << json_text(c.check)
          << ", \"passed\": " << truth(c.passed) << ", \"error\": " << number(c.error)
          << ", \"tolerance\": " << number(c.tolerance) << ", \"message\": " << json_text(c.message)
          << '}';
    }
    out << "]}";
  }
  out << "\n]}\n";
  return out.str();
}

}  // namespace decant
