#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "data/split.h"
#include "engine/core/error.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;

namespace {

using Strings = std::vector<std::string>;

/// A data set without near-duplicates, whose images exist only where `folder` is given.
Dataset listed(int benign, int malignant) {
  Dataset d{"somewhere", "folders", {}, {}};
  for (int i = 0; i < benign + malignant; ++i) {
    const bool is_benign = i < benign;
    d.samples.push_back({.id = str("s", i),
                         .image = "missing.png",
                         .class_name = is_benign ? "benign" : "malignant"});
  }
  return d;
}

std::map<std::string, int> classes(const Dataset& d, const Strings& ids) {
  std::map<std::string, int> count;
  for (const std::string& id : ids) ++count[d.find(id).class_name];
  return count;
}

Strings sorted(Strings ids) {
  std::ranges::sort(ids);
  return ids;
}

}  // namespace

TEST_CASE("random splits have the size asked for and keep the classes in proportion") {
  const Dataset d = listed(120, 60);
  const SplitSet set = make_splits(d, "random:3:130", 7);
  REQUIRE(set.folds.size() == 3);
  CHECK(contains(set.origin, "random:3:130"));
  for (const Split& s : set.folds) {
    CHECK(s.train.size() == 130);
    CHECK(s.val.size() == 50);
    CHECK(s.test.empty());
    CHECK(sorted(s.part("all")) == sorted(d.ids()));
    // 130 of 180: 86.7 of the benign.
    CHECK(classes(d, s.train)["benign"] == 87);
    CHECK(classes(d, s.train)["malignant"] == 43);
  }
  CHECK(set.folds[0].val != set.folds[1].val);
  CHECK(make_splits(d, "random:3:130", 7).folds == set.folds);
  CHECK(make_splits(d, "random:3:130", 8).folds != set.folds);

  const Split three = make_splits(d, "random:1:0.7:0.15", 7).fold(0);
  CHECK(three.train.size() == 126);
  CHECK(three.val.size() == 27);
  CHECK(three.test.size() == 27);
  CHECK(classes(d, three.test)["benign"] == 18);
  CHECK(make_splits(d, "", 7).fold(0).train.size() == 144);
}

TEST_CASE("k folds cover every image once, in proportion") {
  const Dataset d = listed(63, 40);
  const SplitSet set = make_splits(d, "kfold:5", 3);
  REQUIRE(set.folds.size() == 5);
  Strings held_out;
  for (const Split& s : set.folds) {
    held_out.insert(held_out.end(), s.val.begin(), s.val.end());
    CHECK(s.train.size() + s.val.size() == 103);
    CHECK(s.val.size() >= 20);
    CHECK(s.val.size() <= 21);
    CHECK(classes(d, s.val)["malignant"] == 8);
  }
  CHECK(sorted(held_out) == sorted(d.ids()));
  const SplitSet tested = make_splits(d, "kfold:5:test", 3);
  for (size_t k = 0; k < 5; ++k) {
    CHECK(tested.folds[k].test == set.folds[k].val);
    CHECK(tested.folds[k].val == set.folds[(k + 1) % 5].val);
    CHECK(sorted(tested.folds[k].part("all")) == sorted(d.ids()));
  }
}

TEST_CASE("images of one patient stay together") {
  Dataset d = listed(60, 40);
  for (size_t i = 0; i < d.samples.size(); ++i) d.samples[i].patient = "p" + std::to_string(i / 3);
  for (const char* spec : {"random:4:0.7:0.1", "kfold:4"}) {
    for (const Split& s : make_splits(d, spec, 1).folds) {
      std::map<std::string, std::set<std::string>> parts;
      for (const char* part : {"train", "val", "test"})
        for (const std::string& id : s.part(part)) parts[d.find(id).patient].insert(part);
      for (const auto& [patient, where] : parts) CHECK(where.size() == 1);
      CHECK(s.part("all").size() == 100);
      CHECK(s.val.size() >= 8);
      CHECK(s.val.size() <= 28);
    }
  }
}

TEST_CASE("near-duplicates stay together, also through a patient they share") {
  const TempFolder folder;
  for (uint64_t i = 0; i < 16; ++i) {
    // Images 0, 4, 8, 12 show one scene in different sizes.
    const int side = 40 + static_cast<int>(i);
    write_png(folder.at("images/s" + std::to_string(i) + ".png"),
              random_image(side, side, i % 4 == 0 ? 0 : i));
    write_png(folder.at("masks/s" + std::to_string(i) + ".png"), disc(side, side, 9, 9, 3));
  }
  Dataset d = open_dataset(folder.path());
  for (Sample& s : d.samples)
    if (s.id == "s12" || s.id == "s13") s.patient = "p";
  for (const Split& s : make_splits(d, "random:6:8", 2).folds) {
    const std::set<std::string> train(s.train.begin(), s.train.end());
    const bool first = train.contains("s0");
    for (const char* id : {"s4", "s8", "s12", "s13"}) CHECK(train.contains(id) == first);
    CHECK(train.size() == 8);
  }
}

TEST_CASE("splits survive a file and refuse ids that are not there or double") {
  const Dataset d = listed(10, 5);
  const SplitSet set = make_splits(d, "kfold:3:test", 3);
  const TempFolder folder;
  write_bytes(folder.at("split.json"), to_json(set).dump());
  const SplitSet back = make_splits(d, folder.at("split.json").string(), 99);
  CHECK(back.folds == set.folds);
  CHECK(back.origin == set.origin);

  nlohmann::json json = to_json(set);
  json["folds"][1]["val"].push_back("s99");
  CHECK(contains(message_of([&] { splits_from_json(json, d); }), "'s99'"));
  json = to_json(set);
  json["folds"][0]["val"].push_back(json["folds"][0]["train"][0]);
  CHECK(contains(message_of([&] { splits_from_json(json, d); }), "twice"));
  CHECK_THROWS_AS(splits_from_json(nlohmann::json::array(), d), Error);
  CHECK_THROWS_AS(splits_from_json({{"folds", {{{"train", 3}}}}}, d), Error);
  write_bytes(folder.at("bad.json"), "{\"folds\": [");
  CHECK(
      contains(message_of([&] { make_splits(d, folder.at("bad.json").string(), 0); }), "bad.json"));
}

TEST_CASE("a split file's misspelt key is refused, and every message names the file") {
  const Dataset d = listed(4, 2);
  const TempFolder folder;
  const std::string path = folder.at("mine.json").string();
  const auto message = [&](const char* text) {
    write_bytes(path, text);
    return message_of([&] { make_splits(d, path, 0); });
  };
  CHECK(message(R"({"folds": [{"train": ["s0"], "val": ["s1"], "test": ["s2"]}]})").empty());
  for (const auto& [text, part] : std::vector<std::pair<const char*, const char*>>{
           {R"({"folds": [{"train": ["s0"], "val": ["s1"], "tset": ["s2"]}]})",
            "'tset', did you mean 'test'?"},
           {R"({"folds": [{"train": ["s0"]}], "orgin": "x"})", "'orgin', did you mean 'origin'?"},
           {R"({"folds": [{"train": ["s0"]}], "origin": 3})", "origin"},
           {R"({"fold": []})", "'folds'"},
           {R"({"folds": []})", "'folds'"},
           {R"({"folds": [3]})", "expected a fold"},
           {R"({"folds": [{"train": "s0"}]})", "expected a list of ids"},
           {R"({"folds": [{"train": ["s9"]}]})", "'s9'"},
           {R"({"folds": [{"train": ["s1", "s1"]}]})", "twice"},
           {R"({"folds": [{"train": []}]})", "got none"},
           {"[", "expected JSON"}}) {
    CAPTURE(text);
    CHECK(contains(message(text), part));
    CHECK(contains(message(text), path));
  }
}

TEST_CASE("the manifest's split, and specs that mean nothing") {
  Dataset d = listed(6, 4);
  CHECK(contains(message_of([&] { make_splits(d, "manifest", 0); }), "manifest.csv"));
  for (size_t i = 0; i < 10; ++i) d.samples[i].split = i % 3 == 0 ? "val" : "train";
  const SplitSet set = make_splits(d, "manifest", 0);
  CHECK(set.fold(0).val == Strings{"s0", "s3", "s6", "s9"});
  CHECK(set.fold(0).train.size() == 6);
  CHECK(set.origin == "manifest");
  CHECK(contains(message_of([&] { set.fold(1); }), "got 1"));
  CHECK_THROWS_AS(set.fold(0).part("dev"), Error);
  for (const char* spec : {"random", "random:2", "random:x:3", "random:1:1.5", "random:1:3:2:1",
                           "kfold:", "kfold:5:val", "kfold:-2", "half"})
    CHECK(contains(message_of([&] { make_splits(d, spec, 0); }), spec));
  for (const char* spec : {"random:1:10", "random:1:8:2", "kfold:1", "kfold:11"})
    CHECK(contains(message_of([&] { make_splits(d, spec, 0); }), spec));
  const auto says = [&](const char* spec, const char* words) {
    CAPTURE(spec);
    CHECK(message_of([&] { make_splits(d, spec, 0); }) == words);
  };
  says("random:0:3", "split: expected 1 .. 1000 as K, got 0 in 'random:0:3'");
  says("random:2:0", "split: expected 1 .. 1000000 as TRAIN, got 0 in 'random:2:0'");
  says("random:2:3:0.0",
       "split: expected a share between 0 and 1 as VAL, got 0.0 in 'random:2:3:0.0'");
  says("random:1000000:4:5", "split: expected 1 .. 1000 as K, got 1000000 in 'random:1000000:4:5'");
  says("random:1:80:11",
       "split: expected to leave an image for test, got 10 images in the data set, of which "
       "'random:1:80:11' asks for 80 to train, 11 to choose by (val)");
  says("random:1:10",
       "split: expected to leave an image for val, got 10 images in the data set, of which "
       "'random:1:10' asks for 10 to train");
  says("kfold:11", "split: expected 2 to 10 folds of 10 images, got 11 in 'kfold:11'");
  d.samples.resize(1);
  says("kfold:3:test", "split: expected at least 3 images for 'kfold:3:test', got 1");
}

TEST_CASE("without a spec the manifest's split stands where it is whole") {
  Dataset d = listed(6, 4);
  for (size_t i = 0; i < 10; ++i) d.samples[i].split = i % 3 == 0 ? "val" : "train";
  for (const char* spec : {"", "default"}) {
    const SplitSet chosen = make_splits(d, spec, 0);
    CHECK(chosen.folds == make_splits(d, "manifest", 0).folds);
    CHECK(chosen.origin == "manifest");
  }
  Dataset partial = d;
  for (const size_t i : {size_t{1}, size_t{4}}) partial.samples[i].split.clear();
  CHECK(contains(make_splits(partial, "", 0).origin, "random:1:0.8"));
  CHECK(contains(message_of([&] { make_splits(partial, "manifest", 0); }),
                 "got none for 2 of 10, the first 's1'"));
  Dataset without_val = d;
  for (Sample& s : without_val.samples)
    if (s.split == "val") s.split = "test";
  CHECK(contains(make_splits(without_val, "", 0).origin, "random:1:0.8"));
}
