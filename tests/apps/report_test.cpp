// The page of `decant report`: its figures are those of the files, it needs nothing beside itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "apps/console.h"
#include "apps/study/html.h"
#include "apps/study/report_page.h"
#include "apps/study/study.h"
#include "engine/core/rng.h"
#include "tests/apps/page_reader.h"
#include "tests/apps/small_matrix.h"

using namespace decant;
using namespace decant::apps;
namespace fs = std::filesystem;

namespace {

// A study of two cells that a teacher taught, on four images, three with a lesion.
Results small_study(const std::string& name) {
  Results results;
  results.program = "0.0";
  results.name = name;
  results.data = {name, "busi", 4, "abc"};
  results.splits = {"split0"};
  const auto add = [&](const std::string& cell_name, const std::string& role,
                       const std::vector<double>& dice) {
    Cell& cell = results.cells.emplace_back();
    cell.name = cell_name;
    cell.role = role;
    cell.network = "thin_unet";
    cell.parameters = 1000;
    cell.latency_ms = 2;
    RunResult& run = results.runs.emplace_back();
    run.cell = cell_name;
    run.split = "split0";
    run.folder = "runs/" + cell_name;
    run.part = "test";
    run.chose_checkpoint = false;
    for (size_t i = 0; i < dice.size(); ++i) {
      ImageResult& image = run.images.emplace_back();
      image.name = str(name, i);
      image.lesion = i > 0;
      image.dice = dice[i];
    }
    TableRow& row = results.table.emplace_back();
    row.cell = cell_name;
    row.dice_images_mean = (dice[1] + dice[2] + dice[3]) / 3;
    row.dice_images_std = 0.125;
    row.n_images = 3;
    row.n_splits = 1;
  };
  add("teacher", "teacher", {1, 0.875, 0.75, 0.625});
  add("alone", "student", {1, 0.25, 0.5, 0.125});
  for (const char* loss : {"mse", "kld"}) {
    add(str("L_", loss), "distilled", {1, 0.5, 0.75, loss[0] == 'm' ? 0.25 : 0.375});
    Cell& cell = results.cells.back();
    cell.teacher = "teacher";
    cell.student = "alone";
    cell.preset = cell.name;
    cell.pathway = "logits";
    cell.loss = loss;
    cell.teacher_augment = "strong";
    results.table.back().to_student.points = 25;
    results.table.back().to_student.wilcoxon_p = 0.25;
  }
  return results;
}

// Whatever a page could ask the world for.
void check_alone(const std::string& page) {
  for (const char* asks : {"http:", "https:", "url(", "@import", "<script", "<iframe", "<object",
                           "<embed", "src=\"/", "javascript:", "onload", "onerror"}) {
    CAPTURE(asks);
    CHECK(page.find(asks) == std::string::npos);
  }
  CHECK(page.find("content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"") !=
        std::string::npos);
  std::set<std::string> ids;
  const auto elements = elements_of(page);
  for (const Element& element : elements)
    if (const auto id = element.attributes.find("id"); id != element.attributes.end()) {
      CAPTURE(id->second);
      CHECK(ids.insert(id->second).second);
    }
  for (const Element& link : select(elements, "a"))
    CHECK(ids.contains(link.attributes.at("href").substr(1)));
  for (const Element& image : select(elements, "img")) {
    CHECK(image.attributes.at("src").starts_with("data:image/png;base64,iVBOR"));
    CHECK(!image.attributes.at("alt").empty());
  }
}

// The words of the fields of the row that `first` begins, in the table of a caption.
Words row_of(const std::string& page, const std::string& caption, const std::string& first) {
  const size_t begin = page.find("<caption>" + caption + "</caption>");
  REQUIRE(begin != std::string::npos);
  const std::string table = page.substr(begin, page.find("</table>", begin) - begin);
  Words words;
  bool inside = false;
  for (const Element& element : elements_of("<!DOCTYPE html>\n<table>" + table + "</table>")) {
    if (element.name == "th") inside = element.text == first;
    if (inside && (element.name == "th" || element.name == "td")) words.push_back(element.text);
  }
  REQUIRE(!words.empty());
  return words;
}

std::string description(const std::string& page, const std::string& id) {
  for (const Element& element : select(elements_of(page), "desc"))
    if (element.attributes.at("id") == id + "-desc") return element.text;
  FAIL("no chart ", id);
  return "";
}

Words split(const std::string& line) {
  Words words;
  std::istringstream in(line);
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
}

Result report(const Words& words, const std::string& out) {
  return apps::decant(Words{"report"} + words + Words{"--out", out, "threads=1"});
}

}  // namespace

TEST_CASE("a page escapes whatever it is given, and asks the world for nothing") {
  const std::string evil = "</title><script>alert(\"x\")</script>&amp; 'y'";
  Report all{.results = small_study(evil), .files = {}, .gallery = {}, .remarks = {evil}};
  all.files.resize(all.results.runs.size());
  all.files[0].config = {{evil, evil}};
  all.files[0].curves = {{1, 2}, {{evil, {0.5, 0.25}}}};
  Gallery gallery{.student = evil, .teacher = evil, .pictures = {}};
  gallery.pictures.push_back({"best", evil, 0.5, 0.25, {{"IMAGE", data::Image(4, 3, 3)}}});
  all.gallery = gallery;
  const std::string page = report_page(all);
  check_alone(page);
  CHECK(select(elements_of(page), "h1").front().text == evil);
  CHECK(page.find("For research, not for diagnosis.") != std::string::npos);
}

TEST_CASE("figures have the signs of print, names stay as they are") {
  CHECK(typographic("-") == "–");
  CHECK(typographic("[-1.5, +2.0]") == "[−1.5, +2.0]");
  CHECK(typographic("0.5000 +- -") == "0.5000 ± –");
  CHECK(typographic("~<0.0001") == "≈ < 0.0001");
  CHECK(escaped("a_b & <c> %d|e") == "a_b &amp; &lt;c&gt; %d|e");
  Results results = small_study("x");
  results.cells[2].name = results.runs[2].cell = results.table[2].cell = "a-1 +- b & <c>";
  results.table[2].to_student.wilcoxon_exact = false;
  Report all{.results = results, .files = {}, .gallery = {}, .remarks = {}};
  all.files.resize(results.runs.size());
  const std::string page = report_page(all);
  CHECK(row_of(page, "Against the student alone, paired over images", "a-1 +- b & <c>")[3] ==
        "≈ 0.2500");
}

TEST_CASE("the page of a study shows the figures of its results.json") {
  const TemporaryFolder folder;
  const Results results = small_study("pretend");
  write_bytes(folder / "results.json", to_json(results).dump());
  fs::create_directories(folder.path() / "runs/L_mse");
  write_bytes(folder / "runs/L_mse/metrics.csv",
              "epoch,step,lr,val_dice\n1,5,0.1,0.25\n2,10,0.05,0.5\n");
  const Result result = report({folder.path().string()}, folder / "page.html");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  const std::string page = bytes_of(folder / "page.html");
  check_alone(page);
  // The images are nowhere, three runs have no folder: the page says so and stands.
  CHECK(page.find("There is no gallery: ") != std::string::npos);
  CHECK(page.find("learning curves of 3 of 4 runs") != std::string::npos);
  CHECK(description(page, "matrix") ==
        "logits mse, strong teacher: 0.500. logits kld, strong teacher: 0.542. ");
  CHECK(description(page, "dice") ==
        "teacher: mean 0.750. alone: mean 0.292. L_mse: mean 0.500. L_kld: mean 0.542. ");
  const Words row = row_of(page, "Dice and cost of every network", "L_kld");
  CHECK(row[3] == "0.5417 ± 0.1250");
  CHECK(row_of(page, "Against the student alone, paired over images", "L_mse")[1] == "+25.0");
  // Differences pair images: 0.5 - 0.25, 0.75 - 0.5 and 0.25 - 0.125, in points.
  std::multiset<std::string> dots;
  for (const Element& dot : select(elements_of(page), "circle", "dot")) dots.insert(dot.text);
  CHECK(dots.count("pretend1: 25.000") == 2);  // of L_mse and L_kld
  CHECK(dots.count("pretend3: 12.500") == 1);
  CHECK(dots.count("pretend1: 0.500") == 2);
  CHECK(std::ranges::none_of(dots, [](const auto& dot) { return dot.starts_with("pretend0"); }));
}

TEST_CASE("where only figures of a study were kept, the page is of them") {
  const TemporaryFolder folder;
  const std::string out = folder / "study";
  begin_study(write_matrix(folder, small_matrix()), out);
  write_bytes(out + "/results.json", to_json(small_study("kept")).dump());
  const Result result = report({out}, folder / "page.html");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  CHECK(bytes_of(folder / "page.html").find("Best distilled: L_kld") != std::string::npos);
}

TEST_CASE("a page calls no network the best that does not beat the student alone") {
  Report all{.results = small_study("x"), .files = {}, .gallery = {}, .remarks = {}};
  all.files.resize(all.results.runs.size());
  all.results.cells[0].latency_ms = 15.86;
  for (size_t i = 1; i < 4; ++i) all.results.cells[i].latency_ms = 0.451;
  const std::string page = report_page(all);
  CHECK(page.find("Best distilled: L_kld") != std::string::npos);
  CHECK(page.find("No distilled network is better") == std::string::npos);
  CHECK(page.find("<b>36 ×</b> 0.45 ms per image instead of 16") != std::string::npos);
  CHECK(page.find("&quot;to teacher&quot;") == std::string::npos);  // of no comparison
  for (TableRow& row : all.results.table) row.to_student.points = -5;
  all.results.table[2].to_teacher.points = -9;
  all.results.table[2].n_seeds = 2;
  all.results.table[2].dice_seeds_std = 0.0719;
  const std::string worse = report_page(all);
  CHECK(worse.find("No distilled network is better than the student alone (alone, 0.292).") !=
        std::string::npos);
  CHECK(worse.find("&quot;to teacher&quot; is against teacher; ") != std::string::npos);
  const Words row = row_of(worse, "Dice and cost of every network", "L_mse");
  CHECK(row[row.size() - 2] == "0.0719");
  CHECK(row.back() == "2");
  // Of several students alone each network has its own, and what is not done counts for nothing.
  Report two{.results = all.results, .files = {}, .gallery = {}, .remarks = {}};
  two.files.resize(two.results.runs.size() + 1);
  for (auto* of : {&two.results.cells[1], &two.results.cells[3]}) of->jobs = 1;
  two.results.cells.push_back(two.results.cells[1]);
  two.results.cells.back().name = "alone.wide";
  two.results.runs.push_back(two.results.runs[1]);
  two.results.runs.back().cell = "alone.wide";
  two.results.table.push_back(two.results.table[1]);
  two.results.table.back().cell = "alone.wide";
  two.results.cells[3].student = "alone.wide";
  const std::string several = "No distilled network is better than the same network alone.";
  CHECK(report_page(two).find(several) != std::string::npos);
  two.results.cells[2].jobs = 2;
  CHECK(report_page(two).find("than the student alone (alone.wide, 0.292).") != std::string::npos);
  two.results.cells[3].jobs = 2;
  CHECK(report_page(two).find("No distilled network is better") == std::string::npos);
  // A learning rate that stays needs no chart.
  for (RunFiles& files : all.files) files.curves = {{1, 2}, {{"lr", {0.1, 0.1}}}};
  CHECK(report_page(all).find("Learning rate") == std::string::npos);
  all.files[1].curves.columns[0].values[1] = 0.05;
  CHECK(report_page(all).find("Learning rate") != std::string::npos);
}

TEST_CASE("the page of a large study is bounded, and says what it leaves out") {
  constexpr size_t kCells = 30;
  constexpr size_t kImages = 1000;
  constexpr size_t kEpochs = 500;
  Results results = small_study("large");
  results.cells.resize(2);  // the teacher and the student alone
  results.runs.resize(2);
  results.table.resize(2);
  for (size_t c = 0; c < kCells; ++c) {
    Cell cell = small_study("large").cells[2];
    cell.name = str("cell", c);
    RunResult run = small_study("large").runs[2];
    run.cell = cell.name;
    run.folder = "runs/" + cell.name;
    run.best_epoch = 123;
    TableRow row = small_study("large").table[2];
    row.cell = cell.name;
    results.cells.push_back(cell);
    results.runs.push_back(run);
    results.table.push_back(row);
  }
  for (RunResult& run : results.runs) {
    run.images.clear();
    for (size_t i = 0; i < kImages; ++i)
      run.images.push_back({.name = str("image", i),
                            .lesion = true,
                            .dice = static_cast<double>(i * 7919 % kImages) / kImages});
  }
  Report all{.results = results, .files = {}, .gallery = {}, .remarks = {}};
  all.files.resize(results.runs.size());
  for (size_t r = 0; r < all.files.size(); ++r) {
    Curves& curves = all.files[r].curves;
    for (size_t e = 1; e <= kEpochs; ++e) curves.epochs.push_back(static_cast<double>(e));
    for (size_t c = 0; c < 25; ++c)
      curves.columns.push_back({str("figure", c), std::vector<double>(kEpochs, 0.123456)});
    all.files[r].config = {{"lr", 0.1 * static_cast<double>(r)}, {"seed", r}, {"batch", 64}};
    if (r == 30) all.files[r].config["own"] = true;
    all.files[r].provenance = {{"program", "1 build a"}, {"checkpoint_digest", 0xabcu + r}};
  }
  const std::string page = report_page(all);
  CHECK(page.size() < 8'000'000);
  check_alone(page);
  const auto elements = elements_of(page);
  const auto dots = select(elements, "circle", "dot");
  CHECK(dots.size() == (32 + 30 + 30) * (9000 / 32));
  const auto has = [&](const std::string& text) {
    return std::ranges::any_of(select(elements, "p", "note"), [&](const Element& note) {
      return note.text.find(text) != std::string::npos;
    });
  };
  CHECK(has("A row has at most 281 dots of up to 1000, at even ranks"));
  CHECK(has("Of up to 500 epochs at most 249, and the one that was kept, are drawn, at even"));
  CHECK(
      has("Settings are of the first run of each network, of the first 24 of 32 networks; whether "
          "a setting differs is told of all"));
  CHECK(std::ranges::any_of(dots, [](const Element& dot) { return dot.text == "image0: 0.000"; }));
  CHECK(row_of(page, "Settings that tell the runs apart", "lr").size() == 1 + 24);
  // What tells one apart that is not shown is not what all share.
  CHECK(row_of(page, "Settings that tell the runs apart", "own") == Words{"own"} + Words(24, "–"));
  CHECK(row_of(page, "Settings", "batch") == Words{"batch", "64"});
  CHECK(row_of(page, "Digests, program and device of every run", "runs/cell7") ==
        Words{"runs/cell7", "cell7", "split0", "0", "123 of 0", "–", "–", "–", "1 build a",
              hexadecimal(0xabcu + 9), "–", "–"});
  // On a phone no table is wider than the page: each scrolls in a box of its own.
  size_t tables = 0;
  for (size_t at = 0; (at = page.find("<table>", at)) != std::string::npos; ++at) {
    const size_t tag = page.rfind('<', at - 1);
    CHECK(std::string_view(page).substr(tag).starts_with("<div class=\"scroll\""));
    ++tables;
  }
  CHECK(tables >= 6);

  // As many networks as a heat map has rows, and more.
  const size_t distilled = all.results.cells.size();
  while (all.results.cells.size() < distilled + 20) {
    all.results.cells.push_back(all.results.cells.back());
    all.results.cells.back().name = str("more", all.results.cells.size());
    all.results.table.push_back(all.results.table.back());
    all.results.table.back().cell = all.results.cells.back().name;
  }
  const std::string larger = report_page(all);
  CHECK(larger.find("Networks left out here: ") != std::string::npos);
  CHECK(select(elements_of(larger), "rect", "field").size() == 40 + 1);  // all of one Dice
}

TEST_CASE("a network that has no column in the heat map leaves no empty row there") {
  Results results = small_study("wide");
  const Cell cell = results.cells.back();
  const TableRow row = results.table.back();
  results.cells.resize(2);
  results.runs.resize(2);
  results.table.resize(2);
  for (int i = 0; i < 8; ++i) {
    results.cells.push_back(cell);
    results.cells.back().loss = str("loss", i);
    results.cells.back().teacher_augment = str("augmentation", i);
    results.table.push_back(row);
    results.cells.back().name = results.table.back().cell = str("cell", i);
  }
  Report all{.results = results, .files = {}, .gallery = {}, .remarks = {}};
  all.files.resize(results.runs.size());
  const std::string page = report_page(all);
  CHECK(select(elements_of(page), "rect", "no-field").size() == 6 * 6 - 6);
  CHECK(page.find("Networks left out here: 2; the tables have them.") != std::string::npos);
  CHECK(description(page, "matrix").find("logits loss6") == std::string::npos);
}

TEST_CASE("the page of a distilled run shows the figures of evaluate and of metrics.csv") {
  const TemporaryFolder folder;
  const std::string run = folder / "student";
  REQUIRE(apps::decant(tiny_run("distill") +
                       Words{"--teacher", trained(), "--preset", "L_KLD", "--out", run})
              .code == 0);
  const Result result = report({run}, folder / "page.html");
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  const std::string page = bytes_of(folder / "page.html");
  check_alone(page);
  const auto elements = elements_of(page);

  REQUIRE(apps::decant({"evaluate", run, "--json", folder / "metrics.json"}).code == 0);
  const Json metrics = Json::parse(bytes_of(folder / "metrics.json"))["metrics"];
  const Json& dice = metrics["lesions"]["dice"];
  const Words row = row_of(page, "Dice and cost of every network", "student");
  CHECK(row[3] ==
        str(rounded(dice["mean"].get<double>(), 4), " ± ", rounded(dice["std"].get<double>(), 4)));
  std::multiset<std::string> dots;
  for (const Element& dot : select(elements, "circle", "dot")) dots.insert(dot.text);
  for (const Json& image : metrics["images"]) {
    const bool lesion = image["tp"].get<int64_t>() + image["fn"].get<int64_t>() > 0;
    const std::string dot =
        str(image["id"].get<std::string>(), ": ", rounded(image["dice"].get<double>(), 3));
    CAPTURE(dot);
    CHECK(dots.contains(dot) == lesion);
  }

  std::istringstream csv(bytes_of(run + "/metrics.csv"));
  Words lines(3);
  for (std::string& line : lines) std::getline(csv, line);
  const Words names = split(lines[0]);
  for (size_t c = 2; c < names.size(); ++c) {
    const std::string from = rounded(std::stod(split(lines[1])[c]), 4);
    const std::string to = rounded(std::stod(split(lines[2])[c]), 4);
    CAPTURE(names[c]);
    CHECK(
        description(page, "curve-" + names[c]).find(str("student: from ", from, " to ", to, ".")) !=
        std::string::npos);
  }
  // The teacher came along, and everybody's answers are drawn: image, truth, two answers, errors.
  CHECK(row_of(page, "Every run", "trained")[0] == "trained");
  const size_t lesions = metrics["lesions"]["dice"]["count"].get<size_t>();
  CHECK(select(elements, "img").size() == 5 * std::min<size_t>(3, lesions));
}

TEST_CASE("the page of a report says what the images were to a run") {
  const TemporaryFolder folder;
  const auto label = [&](const Words& words) {
    const Result result = report(Words{trained()} + words, folder / "page.html");
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return row_of(bytes_of(folder / "page.html"), "Every run", "trained")[4];
  };
  CHECK(label({"--split", "train"}) == "the images it was trained on");
  CHECK(label({"--split", "all"}) == "all images, those it was trained on among them");
  const auto chose = [&] {
    return bytes_of(folder / "page.html").find("Validation images chose the checkpoints") !=
           std::string::npos;
  };
  CHECK(chose());
  const Words phantom = {"phantom", folder / "foreign", "--count", "6", "--size", "48"};
  REQUIRE(apps::decant(phantom + Words{"--seed", "4"}).code == 0);
  CHECK(label({"--data", folder / "foreign"}) ==
        "not the data of its run: whether it has seen these images is not known");
  CHECK_FALSE(chose());
}

TEST_CASE("a report of what is no run or no study is one line and exit code 2") {
  const TemporaryFolder folder;
  const auto refused = [&](const Words& words, const char* message) {
    const Result result = report(words, folder / "page.html");
    CAPTURE(result.err);
    CHECK(result.code == 2);
    CHECK(result.err.find(message) != std::string::npos);
    CHECK(std::ranges::count(result.err, '\n') == 1);
    CHECK(!fs::exists(folder / "page.html"));
  };
  refused({}, "expected run folders or the folder of a study");
  refused({folder / "nowhere"}, "got nothing");
  fs::create_directory(folder.path() / "begun");
  write_bytes(folder / "begun/config.json", "{}");
  refused({folder / "begun"}, "finished no epoch");
  fs::create_directory(folder.path() / "study");
  write_bytes(folder / "study/results.json", "{\"runs\": []}");
  refused({folder / "study"}, "schema: expected \"decant-results-1\", got none");
  write_bytes(folder / "study/results.json", "{\"runs\": [");
  refused({folder / "study"}, "results.json");
  write_bytes(folder / "study/results.json", to_json(small_study("x")).dump());
  refused({folder / "study", trained()}, "expected one study, or several runs");
  refused({folder / "study", "--split", "val"}, "split: expected none for a study");
  write_bytes(folder / "matrix.json", Json({{"data", phantoms()},
                                            {"splits", "random:1:0.6:0.2"},
                                            {"train", {{"epochs", 1}, {"data", {{"size", 32}}}}},
                                            {"teacher", {{"model", "thin_unet"}}},
                                            {"student", {{"model", "thin_unet"}}},
                                            {"presets", {"L_KLD"}}})
                                          .dump());
  REQUIRE(apps::decant({"matrix", "plan", folder / "matrix.json", "--out", folder / "planned",
                        "--steps", "0"})
              .code == 0);
  refused({folder / "planned"}, "expected a study with jobs that are done, got none");
  const Result nowhere = report({trained()}, folder / "none/page.html");
  CHECK(nowhere.code == 2);
  CHECK(nowhere.err.find("expected its folder to be there") != std::string::npos);
}

namespace {

// What Chromium makes of a page, and what it says about it.
struct Shown {
  std::string dom;
  std::string said;  // a fetch that was refused is said there too
};

// Says so, for CTest, where there is none.
bool has_chromium() {
  if (std::system("command -v chromium > /dev/null") == 0) return true;
  MESSAGE("skipped: no chromium on the PATH");
  return false;
}

Shown in_chromium(const TemporaryFolder& folder, const std::string& page) {
  const std::string command =
      "chromium --headless --no-sandbox --disable-gpu --user-data-dir=" + folder / "profile" +
      " --enable-logging=stderr --dump-dom file://" + page + " > " + folder / "dom" + " 2> " +
      folder / "err";
  REQUIRE(std::system(command.c_str()) == 0);
  return {bytes_of(folder / "dom"), bytes_of(folder / "err")};
}

}  // namespace

TEST_CASE("Chromium shows the page and says nothing" * doctest::skip()) {
  if (!has_chromium()) return;
  const TemporaryFolder folder;
  REQUIRE(report({trained()}, folder / "page.html").code == 0);
  const Shown shown = in_chromium(folder, folder / "page.html");
  CHECK(shown.dom.find("Dice of every image") != std::string::npos);
  CAPTURE(shown.said);
  CHECK(shown.said.find("CONSOLE") == std::string::npos);
}

TEST_CASE("Chromium shows the figures of a study's results.json" * doctest::skip()) {
  if (!has_chromium()) return;
  const TemporaryFolder folder;
  const std::string out = folder / "study";
  REQUIRE(apps::decant(run_words(write_matrix(folder, small_matrix()), out)).code == 0);
  REQUIRE(report({out}, folder / "page.html").code == 0);
  const Shown shown = in_chromium(folder, folder / "page.html");
  CAPTURE(shown.said);
  CHECK(shown.said.find("CONSOLE") == std::string::npos);
  const std::string& dom = shown.dom;
  const Json results = Json::parse(bytes_of(out + "/results.json"));
  REQUIRE(results["table"].size() == 3);
  const auto number = [](const Json& value, int places) {
    return rounded(value.get<double>(), places);
  };
  const auto points = [&](const Json& value) {
    const std::string digits = rounded(std::fabs(value.get<double>()), 1);
    return digits == "0.0" ? digits : (value < 0 ? "−" : "+") + digits;
  };
  for (const Json& row : results["table"]) {
    const std::string cell = row["cell"];
    CAPTURE(cell);
    const Words words = row_of(dom, "Dice and cost of every network", cell);
    const auto spread = [&](const char* over) {
      return str(number(row[str("dice_", over, "_mean")], 4), " ± ",
                 number(row[str("dice_", over, "_std")], 4));
    };
    CHECK(words[3] == spread("images"));
    CHECK(words[4] == spread("splits"));
    CHECK(words[5] == row["n_images"].dump());
    CHECK(words[6] == "2");
    CHECK(dom.find(str(cell, ": mean ", number(row["dice_images_mean"], 3), ". ")) !=
          std::string::npos);
    if (cell == "student") continue;
    const Words student = row_of(dom, "Against the student alone, paired over images", cell);
    CHECK(student[1] == points(row["to_student_points"]));
    CHECK(student[3] == typographic(row["wilcoxon_p"].get<double>() < 1e-4
                                        ? "<0.0001"
                                        : number(row["wilcoxon_p"], 4)));
  }
  CHECK(row_of(dom, "Against the teacher, paired over images", "L_KLD")[1] ==
        points(results["table"][2]["to_teacher_points"]));
  // Every run is there, with its own mean and the digest of what it left.
  REQUIRE(results["runs"].size() == 6);
  for (const Json& run : results["runs"]) {
    const std::string of = run["folder"];
    CAPTURE(of);
    const Words words = row_of(dom, "Digests, program and device of every run", of);
    CHECK(words[4] == str(run["best_epoch"].dump(), " of ", run["epochs"].dump()));
    CHECK(words[8] == run["program"]);
    CHECK(words[9] == hexadecimal(fnv1a64(bytes_of(out + "/" + of + "/best.safetensors"))));
  }
  // An image that one split tested has its Dice as a dot.
  std::map<std::string, std::vector<double>> dice;
  for (const Json& run : results["runs"])
    if (run["cell"] == "L_KLD")
      for (const Json& image : run["images"])
        if (image["lesion"] == true) dice[image["name"]].push_back(image["dice"]);
  REQUIRE_FALSE(dice.empty());
  for (const auto& [image, values] : dice) {
    double sum = 0;
    for (const double value : values) sum += value;
    const std::string mean = rounded(sum / static_cast<double>(values.size()), 3);
    CHECK(dom.find(str("<title>", image, ": ", mean, "</title>")) != std::string::npos);
  }
}
