#include "apps/study/matrix.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "apps/study/escape.h"
#include "kd/spec.h"
#include "nn/network_spec.h"

namespace decant::apps {
namespace {

constexpr std::string_view kDistill = "distill.";

struct Setting {
  std::string key;
  Json value;
};

struct Axis {
  std::string key;
  std::vector<Json> values;
  std::vector<std::string> presets;  // that it multiplies; empty: all

  bool reaches_student() const { return presets.empty() && !key.starts_with(kDistill); }
  bool reaches(const std::string& preset) const {
    return presets.empty() || std::ranges::find(presets, preset) != presets.end();
  }
};

// One point on some axes.
struct Variant {
  std::string suffix;  // ".temperature=4"
  std::vector<Setting> settings;
};

void apply(TrainConfig& config, const Setting& setting) {
  apply_override(keys_of(config), setting.key + "=" +
                                      (setting.value.is_string() ? setting.value.get<std::string>()
                                                                 : setting.value.dump()));
}

void apply(TrainConfig& config, const Json& settings, const std::string& where) {
  read_json(keys_of(config), settings, where);
}

// Settings that a study decides for each job, and what sets them: given as a network's own they
// would have no effect.
struct Decided {
  std::string_view key;
  std::string_view instead;
};
constexpr Decided kDecided[] = {
    {"data.path", "the study's key \"data\""},
    {"data.layout", "the study's key \"layout\""},
    {"data.split", "the study's key \"splits\""},
    {"data.fold", "the study's key \"splits\", of which every fold is trained"},
    {"data.split_seed", "the study's key \"split_seed\""},
    {"seed", "the study's key \"seeds\""},
    {"threads", "--threads of matrix run"},
    {"distill.teacher", "the study's key \"teacher\""},
};

void refuse_decided(std::string_view key, const std::string& where) {
  for (const Decided& decided : kDecided)
    check(key != decided.key, where, ": expected ", decided.instead, " to set it, got ", key);
}

// Every key of a section, "data.size" say.
void refuse_all_decided(const Json& settings, const std::string& where,
                        const std::string& before = "") {
  if (!settings.is_object()) return;  // whoever reads it says what it should be
  for (const auto& [name, value] : settings.items()) {
    refuse_decided(before + name, where);
    refuse_all_decided(value, where, str(before, name, "."));
  }
}

// Part of a cell's name, which names files.
std::string word_of(const Setting& setting) {
  const Json& value = setting.value;
  return file_word(setting.key.substr(setting.key.rfind('.') + 1) + "=" +
                   (value.is_string() ? value.get<std::string>() : value.dump()));
}

template <class Reaches>
std::vector<Variant> variants(const std::vector<Axis>& axes, Reaches reaches) {
  std::vector<Variant> all = {{}};
  for (const Axis& axis : axes) {
    if (!reaches(axis)) continue;
    std::vector<Variant> longer;
    for (const Variant& variant : all)
      for (const Json& value : axis.values) {
        const Setting setting{axis.key, value};
        Variant& next = longer.emplace_back(variant);
        next.suffix.append(".").append(word_of(setting));
        next.settings.push_back(setting);
      }
    all = std::move(longer);
  }
  return all;
}

std::vector<std::string> texts(const Json& list, const std::string& where) {
  check(list.is_array(), where, ": expected a list of text, got ", list.dump());
  std::vector<std::string> words;
  for (const Json& word : list) {
    check(word.is_string(), where, ": expected a list of text, got ", list.dump());
    words.push_back(word.get<std::string>());
  }
  return words;
}

Axis read_axis(const std::string& key, const Json& json, const std::string& where) {
  Axis axis{.key = key, .values = {}, .presets = {}};
  Json values = json;
  if (json.is_object()) {
    const std::vector<std::string> known = {"values", "presets"};
    for (const auto& [word, value] : json.items())
      check(std::ranges::find(known, word) != known.end(), where,
            ": expected values and presets, got \"", word, "\"", suggestion(word, known));
    check(json.contains("values"), where, ": expected values, got none");
    values = json["values"];
    if (json.contains("presets")) axis.presets = texts(json["presets"], where + ".presets");
  }
  check(values.is_array(), where, ": expected a list of values, got ", values.dump());
  check(!values.empty(), where, ": expected at least one value, got none");
  axis.values.assign(values.begin(), values.end());
  for (size_t i = 0; i < values.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      check(values[i] != values[k], where, ": expected different values, got ", values[k].dump(),
            " and ", values[i].dump());
  return axis;
}

std::vector<Axis> read_axes(const Json& json, const std::string& where) {
  check(json.is_object(), where, ": expected {KEY: [values]}, got ", json.dump());
  std::vector<Axis> axes;
  for (const auto& [key, value] : json.items()) {
    refuse_decided(key, where);
    axes.push_back(read_axis(key, value, where + "." + key));
  }
  return axes;
}

// A value that names a file beside the study's, as an absolute path; all others as they stand.
Json beside(const std::filesystem::path& folder, const std::string& key, const Json& value) {
  if (!value.is_string()) return value;
  const std::string text = value.get<std::string>();
  const auto absolute = [&](const std::string& path) {
    return path.empty() ? path : (folder / path).lexically_normal().string();
  };
  if (key == "init") {
    const size_t file = text.find('=') + 1;
    return text.substr(0, file) + absolute(text.substr(file));
  }
  const bool there = std::filesystem::exists(folder / text);
  if (key == "augment" && (text.ends_with(".json") || there)) return absolute(text);
  if (key == "model" && there) {
    try {
      nn::parse_network(text);  // a network's name means it, even where a folder is called so
    } catch (const Error&) {
      return absolute(text);
    }
  }
  return value;
}

void write_paths(Matrix& matrix, const std::filesystem::path& folder) {
  const auto absolute = [&](const std::string& path) {
    return (folder / path).lexically_normal().string();
  };
  if (!matrix.data.empty()) matrix.data = absolute(matrix.data);
  if (matrix.splits.ends_with(".json")) matrix.splits = absolute(matrix.splits);
  for (Json* section : {&matrix.train, &matrix.teacher, &matrix.student}) {
    if (!section->is_object()) continue;
    for (const auto& [key, value] : section->items()) value = beside(folder, key, value);
  }
  if (!matrix.axes.is_object()) return;
  for (const auto& [key, axis] : matrix.axes.items()) {
    const bool open = axis.is_object() && axis.contains("values");
    Json& values = open ? axis["values"] : axis;
    if (!values.is_array()) continue;
    for (Json& value : values) value = beside(folder, key, value);
  }
}

// Whether settings name a key, "optim.lr", in whatever sections.
bool holds(const Json& settings, const std::string& key) {
  if (!settings.is_object()) return false;
  for (const auto& [name, value] : settings.items())
    if (name == key || (key.starts_with(name + ".") && holds(value, key.substr(name.size() + 1))))
      return true;
  return false;
}

// What a distilled cell distils: a preset, or terms under a name of their own.
struct Distilled {
  std::string name;
  DistillConfig distill;

  void visit(auto&& v) {
    v("name", name, "of the cell");
    v("preset", distill.preset, "to begin from");
    v("spec", distill.spec, "what it distils");
  }
};

Distilled of_preset(const std::string& name) {
  Distilled cell{.name = name, .distill = {}};
  cell.distill.preset = name;
  return cell;
}

Distilled read_distilled(const Json& json, const std::string& where) {
  if (json.is_string()) return of_preset(json.get<std::string>());
  Distilled given;
  read_json(keys_of(given), json, where);
  check(!given.name.empty(), where, ": expected a name for this cell, got none");
  const std::string ending = std::filesystem::path(given.name).extension().string();
  check(given.name == file_word(given.name) && given.name.front() != '.' && ending != ".json" &&
            ending != ".lock" && ending != ".log" && ending != ".provenance",
        where, ": expected a cell's name of letters, digits and _ = - . that is no file's, got \"",
        given.name, "\"");
  return given;
}

std::vector<Distilled> read_presets(const Json& presets, const std::string& where) {
  std::vector<Distilled> cells;
  if (presets.is_null()) {
    for (const std::string& name : kd::preset_names()) cells.push_back(of_preset(name));
    return cells;
  }
  check(presets.is_array(), where, ": expected a list of presets, got ", presets.dump());
  for (size_t i = 0; i < presets.size(); ++i)
    cells.push_back(read_distilled(presets[i], str(where, "[", i, "]")));
  return cells;
}

void check_axes(const std::vector<Axis>& axes, const std::vector<Distilled>& distilled,
                const std::string& where) {
  std::vector<std::string> names;
  for (const Distilled& cell : distilled) names.push_back(cell.name);
  for (const Axis& axis : axes)
    for (const std::string& preset : axis.presets)
      check(std::ranges::find(names, preset) != names.end(), where, ".", axis.key,
            ".presets: expected cells of this study, got \"", preset, "\"",
            suggestion(preset, names));
}

// Makes the cells of one study; whatever a cell's settings lack is an Error that names the cell.
class CellMaker {
 public:
  CellMaker(const Matrix& matrix, const std::string& where) : matrix_(matrix), where_(where) {
    refuse_all_decided(matrix.train, where + ": train");
    refuse_all_decided(matrix.teacher, where + ": teacher");
    refuse_all_decided(matrix.student, where + ": student");
    axes_ = read_axes(matrix.axes, where + ": axes");
    distilled_ = read_presets(matrix.presets, where + ": presets");
    check_axes(axes_, distilled_, where + ": axes");
  }

  std::vector<MatrixCell> make() {
    std::vector<MatrixCell> students;
    for (const Variant& variant :
         variants(axes_, [](const Axis& a) { return a.reaches_student(); }))
      students.push_back(student(variant));
    std::vector<MatrixCell> taught;
    for (const Distilled& distilled : distilled_)
      for (const Variant& variant :
           variants(axes_, [&](const Axis& a) { return a.reaches(distilled.name); }))
        taught.push_back(distil(distilled, variant));
    std::vector<MatrixCell> cells = teachers_;
    for (MatrixCell& teacher : cells) teacher.student = students.front().name;
    cells.insert(cells.end(), students.begin(), students.end());
    cells.insert(cells.end(), taught.begin(), taught.end());
    check_names(cells);
    return cells;
  }

 private:
  void check_names(const std::vector<MatrixCell>& cells) const {
    std::set<std::string> names;
    for (const MatrixCell& cell : cells)
      check(names.insert(cell.name).second, where_, ": expected cells of different names, got ",
            cell.name, " twice");
  }

  TrainConfig base(const Json& own, const char* section) const {
    TrainConfig config = paper_settings();
    apply(config, matrix_.train, where_ + ": train");
    apply(config, own, where_ + ": " + section);
    config.data.path = matrix_.data;
    config.data.layout = matrix_.layout;
    return config;
  }

  TrainConfig resolved(TrainConfig config, const std::vector<Setting>& settings,
                       const std::string& name, const char* section, bool distilling) const {
    try {
      for (const Setting& setting : settings) apply(config, setting);
      return resolve(std::move(config), distilling);
    } catch (const Error& error) {
      const std::string place = section_of(error.what(), settings, section);
      if (place.empty()) throw Error(str(where_, ": ", name, ": ", error.what()));
      throw Error(str(where_, ": ", place, ": ", error.what(), " (of ", name, ")"));
    }
  }

  // Where the user wrote the setting that a message begins with; "" where nobody did.
  std::string section_of(const std::string& message, const std::vector<Setting>& settings,
                         const std::string& section) const {
    const std::string key = message.substr(0, message.find(": "));
    for (const Setting& setting : settings)
      if (setting.key == key) return "axes";
    if (holds(section == "teacher" ? matrix_.teacher : matrix_.student, key)) return section;
    return holds(matrix_.train, key) ? "train" : "";
  }

  MatrixCell student(const Variant& variant) const {
    const std::string name = str("student", variant.suffix);
    return {name, Role::student, "", name,
            resolved(base(matrix_.student, "student"), variant.settings, name, "student", false)};
  }

  MatrixCell distil(const Distilled& distilled, const Variant& variant) {
    const std::string name = distilled.name + variant.suffix;
    TrainConfig config = base(matrix_.student, "student");
    config.distill = distilled.distill;
    config.distill.teacher = "teacher";  // a job puts its own here
    config = resolved(std::move(config), variant.settings, name, "student", true);
    config.distill.teacher.clear();
    std::string alone = "student";
    for (const Setting& setting : variant.settings)
      if (reaches_student(setting.key)) alone.append(".").append(word_of(setting));
    const std::string augment = distill_spec(config).expects_teacher_augment;
    return {name, Role::distilled, teacher(augment), alone, std::move(config)};
  }

  // The teacher of an augmentation, by which it is called; "" is that of the settings, which stands
  // first. Where both are one, there is one teacher.
  std::string teacher(const std::string& augment) {
    TrainConfig config = base(matrix_.teacher, "teacher");
    const bool by_settings = augment.empty() || config.augment == Json(augment);
    if (!augment.empty()) config.augment = augment;
    config = resolved(std::move(config), {}, "teacher", "teacher", false);
    const std::string name = "teacher_" + augment_name(config);
    if (std::ranges::find(teachers_, name, &MatrixCell::name) != teachers_.end()) return name;
    teachers_.insert(by_settings ? teachers_.begin() : teachers_.end(),
                     {name, Role::teacher, "", "", std::move(config)});
    return name;
  }

  bool reaches_student(const std::string& key) const {
    return std::ranges::find(axes_, key, &Axis::key)->reaches_student();
  }

  const Matrix& matrix_;
  const std::string& where_;
  std::vector<Axis> axes_;
  std::vector<Distilled> distilled_;
  std::vector<MatrixCell> teachers_;
};

}  // namespace

TrainConfig paper_settings() {
  TrainConfig config;
  config.data.size = 224;
  config.augment = "strong";  // what nobody sets mirrors nothing, as the paper
  config.loss = "ce";
  config.optim.lr = 1e-4;
  config.schedule.name = "constant";
  config.epochs = 500;
  config.batch = 64;
  config.patience = 50;
  return config;
}

Matrix read_matrix(const std::string& file) {
  Matrix matrix;
  read_json(keys_of(matrix), read_json_file(file), file);
  write_paths(matrix, std::filesystem::absolute(file).parent_path());
  if (matrix.name.empty()) matrix.name = std::filesystem::path(file).stem().string();
  check(!matrix.data.empty(), file, ": data: expected a data set, got none");
  check(!matrix.splits.empty(), file,
        ": splits: expected words as of --split, or the key left out, got none");
  check(matrix.seeds.is_array() && !matrix.seeds.empty(), file,
        ": seeds: expected a list of at least one, got ", matrix.seeds.dump());
  std::set<Json> seen;
  for (const Json& seed : matrix.seeds)
    check(seed.is_number_integer() && seed >= 0 && seen.insert(seed).second, file,
          ": seeds: expected different whole numbers, not negative, got ", matrix.seeds.dump());
  return matrix;
}

const char* name_of(Role role) {
  return role == Role::teacher ? "teacher" : role == Role::student ? "student" : "distilled";
}

namespace {

// A cell as it is kept.
struct KeptCell {
  std::string name;
  std::string role;
  std::string teacher;
  std::string student;
  TrainConfig config;

  void visit(auto&& v) {
    v("name", name, "of the cell");
    v("role", role, "teacher, student or distilled");
    v("teacher", teacher, "the cell it learns from");
    v("student", student, "the same network alone");
    v.section("config", config);
  }
};

}  // namespace

Json to_json(const std::vector<MatrixCell>& cells) {
  Json json = Json::array();
  for (const MatrixCell& cell : cells) {
    KeptCell kept{cell.name, name_of(cell.role), cell.teacher, cell.student, cell.config};
    json.push_back(to_json(keys_of(kept)));
  }
  return json;
}

std::vector<MatrixCell> cells_from_json(const Json& json, const std::string& where) {
  check(json.is_array(), where, ": expected a list of cells, got ", json.type_name());
  std::vector<MatrixCell> cells;
  for (const Json& one : json) {
    KeptCell kept;
    read_json(keys_of(kept), one, where);
    std::optional<Role> role;
    for (const Role each : {Role::teacher, Role::student, Role::distilled})
      if (kept.role == name_of(each)) role = each;
    check(role.has_value(), where, ": role: expected teacher, student or distilled, got \"",
          kept.role, "\"");
    cells.push_back({kept.name, *role, kept.teacher, kept.student, std::move(kept.config)});
  }
  return cells;
}

std::vector<MatrixCell> cells_of(const Matrix& matrix, const std::string& where) {
  return CellMaker(matrix, where).make();
}

void check_different(const std::vector<MatrixCell>& cells, const std::string& where) {
  std::map<std::string, std::string> trained;
  for (const MatrixCell& cell : cells) {
    TrainConfig config = cell.config;
    config.distill.preset.clear();  // its terms are written out
    const std::string settings =
        str(name_of(cell.role), " ", cell.teacher, " ", to_json(keys_of(config)).dump());
    const auto [first, is_new] = trained.emplace(settings, cell.name);
    check(is_new, where, ": expected cells that differ in a setting, got ", first->second, " and ",
          cell.name, ", which train the same; leave one of them out");
  }
}

}  // namespace decant::apps
