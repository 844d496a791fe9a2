#pragma once

#include <array>
#include <string>

#include "apps/study/report_page.h"
#include "apps/study/study_view.h"

namespace decant::apps {

// The parts of a report page, in their order, without headings; "" where there is nothing to show.
std::string summary_section(const Report& report, const StudyView& view);
std::string matrix_section(const StudyView& view);
std::string images_section(const StudyView& view);
std::string cost_section(const StudyView& view);
std::string gallery_section(const Report& report);
std::string curves_section(const Report& report, const StudyView& view);
std::string tables_section(const Report& report, const StudyView& view);
std::string provenance_section(const Report& report);

/// Points of Dice, and an interval of them, as a page shows them: "+3.1", "[−0.5, +1.3]".
std::string points_text(double points);
std::string points_text(const std::array<double, 2>& interval);

}  // namespace decant::apps
