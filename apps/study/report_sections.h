#pragma once

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

/// 0.0312 as "0.031", less than 0.001 as "< 0.001"; "–" for none.
std::string p_text(double p);
/// 3.14 as "+3.1", with a true minus sign; "–" for none.
std::string signed_text(double value, int places);
std::string points_text(double points);

}  // namespace decant::apps
