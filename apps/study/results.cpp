#include "apps/study/results.h"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <map>
#include <set>
#include <utility>

namespace decant::apps {
namespace {

constexpr const char* kSchema = "decant-results-1";

template <class T>
constexpr bool kMayMiss = false;
template <class T>
constexpr bool kMayMiss<std::optional<T>> = true;

template <class T>
concept Visited = requires(T value) { value.visit([](auto&&...) {}); };

// To JSON: an object's members in their order.
struct Writer {
  Json json = Json::object();

  template <class T>
  void operator()(const char* name, const T& value) {
    json[name] = of(value);
  }

  template <class T>
  static Json of(const T& value) {
    if constexpr (Visited<T>) {
      Writer writer;
      const_cast<T&>(value).visit(writer);  // the writer changes nothing
      return writer.json;
    } else {
      return Json(value);
    }
  }
  static Json of(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
  template <class T>
  static Json of(const std::optional<T>& value) {
    return value ? Json(*value) : Json(nullptr);
  }
  static Json of(const std::array<double, 2>& ends) { return {of(ends[0]), of(ends[1])}; }
  template <class T>
  static Json of(const std::vector<T>& values) {
    Json list = Json::array();
    for (const T& value : values) list.push_back(of(value));
    return list;
  }
};

// From JSON: every member once, no other key. `place` says where it is, "results.json: runs[3]",
// and `inside` what joins a key to that.
class Reader {
 public:
  Reader(const Json& json, std::string place, const char* inside)
      : json_(json), place_(std::move(place)), inside_(inside) {
    check(json.is_object(), place_, ": expected an object {\"key\": value}, got ",
          json.type_name());
  }

  template <class T>
  void operator()(const char* name, T& value) {
    const auto found = json_.find(name);
    if (kMayMiss<T> && found == json_.end()) return;
    check(found != json_.end(), place_, ": expected the key \"", name, "\", got none");
    known_.emplace_back(name);
    read(*found, value, place_ + inside_ + name);
  }

  void refuse_others() const {
    for (const auto& [key, value] : json_.items())
      check(std::ranges::find(known_, key) != known_.end(), place_,
            ": expected a known key, got \"", key, "\"", suggestion(key, known_));
  }

  template <Visited T>
  static void read(const Json& json, T& value, const std::string& place, const char* inside = ".") {
    Reader reader(json, place, inside);
    value.visit(reader);
    reader.refuse_others();
  }

 private:
  template <class T>
  static void take(bool fits, const char* expected, const Json& json, T& value,
                   const std::string& place) {
    check(fits, place, ": expected ", expected, ", got ", json.dump().substr(0, 60));
    value = json.get<T>();
  }
  static void read(const Json& json, std::string& value, const std::string& place) {
    take(json.is_string(), "text", json, value, place);
  }
  static void read(const Json& json, bool& value, const std::string& place) {
    take(json.is_boolean(), "true or false", json, value, place);
  }
  template <std::integral T>
  static void read(const Json& json, T& value, const std::string& place) {
    take(json.is_number_integer() && json >= 0, "a whole number, not negative", json, value, place);
  }
  static void read(const Json& json, double& value, const std::string& place) {
    value = kNoFigure;
    if (!json.is_null()) take(json.is_number(), "a number or null", json, value, place);
  }
  template <class T>
  static void read(const Json& json, std::optional<T>& value, const std::string& place) {
    value.reset();
    if (!json.is_null()) read(json, value.emplace(), place);
  }
  static void read(const Json& json, std::array<double, 2>& ends, const std::string& place) {
    check(json.is_array() && json.size() == 2, place, ": expected [low, high], got ",
          json.dump().substr(0, 60));
    for (size_t i = 0; i < 2; ++i) read(json[i], ends[i], str(place, "[", i, "]"));
  }
  template <class T>
  static void read(const Json& json, std::vector<T>& values, const std::string& place) {
    check(json.is_array(), place, ": expected a list, got ", json.type_name());
    values.resize(json.size());
    for (size_t i = 0; i < values.size(); ++i) read(json[i], values[i], str(place, "[", i, "]"));
  }

  const Json& json_;
  std::string place_;
  const char* inside_;
  std::vector<std::string> known_;
};

void check_name(const std::string& place, const std::string& name,
                const std::vector<std::string>& known) {
  check(std::ranges::find(known, name) != known.end(), place,
        ": expected one that is listed, got \"", name, "\"", suggestion(name, known));
}

std::vector<std::string> cell_names(const Results& results) {
  std::vector<std::string> names;
  for (const Cell& cell : results.cells) names.push_back(cell.name);
  return names;
}

// Shares of 1, where they exist.
void check_scores(const ImageResult& image, const std::string& where) {
  const std::pair<const char*, double> scores[] = {{"dice", image.dice},
                                                   {"iou", image.iou},
                                                   {"sensitivity", image.sensitivity},
                                                   {"specificity", image.specificity},
                                                   {"precision", image.precision}};
  for (const auto& [key, value] : scores)
    check(std::isnan(value) || (value >= 0 && value <= 1), where, ".", key,
          ": expected a number of 0 to 1, got ", value);
}

void check_names(const Results& results, const std::string& where) {
  const std::vector<std::string> cells = cell_names(results);
  const auto at = [&](const char* list, size_t i, const char* key) {
    return str(where, ": ", list, "[", i, "].", key);
  };
  for (size_t i = 0; i < results.cells.size(); ++i) {
    check(std::ranges::count(cells, cells[i]) == 1, at("cells", i, "name"),
          ": expected a name of its own, got \"", cells[i], "\" twice");
  }
  for (size_t i = 0; i < results.runs.size(); ++i) {
    check_name(at("runs", i, "cell"), results.runs[i].cell, cells);
    check_name(at("runs", i, "split"), results.runs[i].split, results.splits);
    const std::vector<ImageResult>& images = results.runs[i].images;
    for (size_t m = 0; m < images.size(); ++m) {
      check_scores(images[m], str(where, ": runs[", i, "].images[", m, "]"));
      check(!images[m].lesion || !std::isnan(images[m].dice), where, ": runs[", i, "].images[", m,
            "].dice: expected a number for an image with a lesion, got null");
    }
  }
  for (size_t i = 0; i < results.table.size(); ++i)
    check_name(at("table", i, "cell"), results.table[i].cell, cells);
}

}  // namespace

ImageResult image_result(const data::ImageMetrics& m) {
  return {.name = m.id,
          .lesion = !m.truth_empty(),
          .dice = m.dice,
          .iou = m.iou,
          .sensitivity = m.sensitivity,
          .specificity = m.specificity,
          .precision = m.precision,
          .hd95_pooled = m.hd95_pooled,
          .hd95_max = m.hd95_max};
}

const Cell& Results::cell(const std::string& wanted) const {
  check_name("cell", wanted, cell_names(*this));
  return *std::ranges::find(cells, wanted, &Cell::name);
}

std::string several_programs(const Results& results) {
  std::map<std::string, int64_t> runs_by;
  for (const RunResult& run : results.runs)
    if (run.program) ++runs_by[*run.program];
  if (runs_by.empty() || (runs_by.size() == 1 && runs_by.contains(results.program))) return "";
  std::string line = str("Several programs: decant ", results.program, " began this study; ");
  std::string between;
  for (const auto& [program, runs] : runs_by) {
    line += str(between, runs, runs == 1 ? " run is" : " runs are", " by decant ", program);
    between = ", ";
  }
  return line + ".";
}

std::string timed_text(const Results& results) {
  if (!results.timed_on) return "";
  return str("Times are medians of single answers on ", *results.timed_on, ".");
}

std::string untimed_text(const Results& results) {
  const auto untimed = [](const Cell& cell) { return std::isnan(cell.latency_ms); };
  if (!results.jobs || std::ranges::none_of(results.cells, untimed)) return "";
  return "A time that is missing was not measured: jobs of the study were at work then, the folder "
         "of the run is gone, that of the study cannot be written, or nobody has asked for decant "
         "matrix table since.";
}

bool has_seeds(const Results& results) {
  return std::ranges::any_of(results.table,
                             [](const TableRow& row) { return row.dice_seeds_std.has_value(); });
}

std::string reference_teacher(const Results& results, const Cell& cell) {
  if (cell.teacher) return *cell.teacher;
  const auto first = std::ranges::find(results.cells, "teacher", &Cell::role);
  return first == results.cells.end() ? "" : first->name;
}

std::string references_text(const Results& results) {
  std::set<std::string> teachers;
  std::set<std::string> students;
  std::string first;
  for (const TableRow& row : results.table) {
    const Cell& cell = results.cell(row.cell);
    if (std::isfinite(row.to_teacher.points)) teachers.insert(reference_teacher(results, cell));
    if (std::isfinite(row.to_teacher.points) && !cell.teacher)
      first = reference_teacher(results, cell);
    if (std::isfinite(row.to_student.points) && cell.student) students.insert(*cell.student);
  }
  std::string text;
  if (teachers.size() == 1)
    text = "\"to teacher\" is against " + *teachers.begin();
  else if (!teachers.empty())
    text = "\"to teacher\" is against a network's own teacher" +
           (first.empty() ? "" : ", of those without one against " + first);
  if (!students.empty()) {
    text += text.empty() ? "" : "; ";
    text += "\"to student\" is against ";
    text += students.size() == 1 ? *students.begin()
                                 : "the same network alone, a teacher's against the first";
  }
  return text.empty() ? "" : text + ".";
}

std::string jobs_text(const Results& results) {
  return results.jobs ? str(results.runs.size(), " of ", *results.jobs, " jobs done") : "";
}

Json to_json(const Results& results) {
  Json json = {{"schema", kSchema}};
  json.update(Writer::of(results));
  return json;
}

Results results_from_json(const Json& json, const std::string& where) {
  check(json.is_object(), where, ": expected the results of a study, got ", json.type_name());
  const auto schema = json.find("schema");
  check(schema != json.end() && *schema == kSchema, where, ": schema: expected \"", kSchema,
        "\", got ", schema == json.end() ? "none" : schema->dump());
  Json rest = json;
  rest.erase("schema");
  Results results;
  Reader::read(rest, results, where, ": ");
  check_names(results, where);
  return results;
}

Results read_one_run(const std::string& file) {
  try {
    Results one = results_from_json(read_json_file(file), file);
    check(one.runs.size() == 1 && one.cells.size() == 1, file,
          ": expected the results of one run of one cell, got ", one.runs.size(), " runs and ",
          one.cells.size(), " cells");
    return one;
  } catch (const Error& error) {
    throw Error(str(error.what(), "; where this file is removed, matrix run does its job again"));
  }
}

Results read_results(const std::filesystem::path& path) {
  const std::filesystem::path file =
      std::filesystem::is_directory(path) ? path / "results.json" : path;
  return results_from_json(read_json_file(file.string()), file.string());
}

}  // namespace decant::apps
