#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include "data/check.h"
#include "data/dataset.h"
#include "data/duplicates.h"
#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "tests/data/fixtures.h"

using namespace decant;
using namespace decant::data;

namespace {

void add_image(const TempFolder& folder, const std::string& name, uint64_t seed) {
  write_png(folder.at(name), random_image(24, 16, seed));
}

void add_mask(const TempFolder& folder, const std::string& name, double cx = 8) {
  write_png(folder.at(name), disc(24, 16, cx, 8, 4));
}

std::vector<std::string> names(const std::vector<std::filesystem::path>& files) {
  std::vector<std::string> out;
  for (const auto& file : files) out.push_back(file.filename().string());
  return out;
}

using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("BUSI: several masks are merged, and masks of benign (10) are not those of benign (1)") {
  const TempFolder folder;
  for (const char* n : {"1", "2", "10"})
    add_image(folder, std::string("Dataset_BUSI_with_GT/benign/benign (") + n + ").png",
              static_cast<uint64_t>(n[0]) + static_cast<uint64_t>(n[1]));
  const std::string benign = "Dataset_BUSI_with_GT/benign/";
  add_mask(folder, benign + "benign (1)_mask.png", 6);
  for (const char* suffix : {"_mask", "_mask_10", "_mask_2"})
    add_mask(folder, benign + "benign (10)" + suffix + ".png", 18);
  add_mask(folder, benign + "benign (2)_MASK.PNG");
  add_mask(folder, benign + "benign (1)_mask_1.png", 18);
  add_mask(folder, benign + "benign (7)_mask.png");
  add_image(folder, "Dataset_BUSI_with_GT/normal/normal (1).png", 9);
  add_image(folder, "Dataset_BUSI_with_GT/normal/._normal (1).png", 9);

  const Dataset d = open_dataset(folder.path());
  CHECK(d.layout == "busi");
  CHECK(d.ids() == Strings{"benign (1)", "benign (2)", "benign (10)", "normal (1)"});
  CHECK(names(d.samples[0].masks) == Strings{"benign (1)_mask.png", "benign (1)_mask_1.png"});
  CHECK(names(d.samples[1].masks) == Strings{"benign (2)_MASK.PNG"});
  CHECK(names(d.samples[2].masks) ==
        Strings{"benign (10)_mask.png", "benign (10)_mask_2.png", "benign (10)_mask_10.png"});
  CHECK(d.samples[0].class_name == "benign");
  CHECK(d.samples[3].masks.empty());
  REQUIRE(d.remarks.size() == 1);
  CHECK(d.remarks[0].file.filename() == "benign (7)_mask.png");

  const LoadedSample loaded = load_sample(d.samples[0], 3);
  CHECK(loaded.image.channels == 3);
  CHECK(loaded.mask.at(6, 8) == 1);
  CHECK(loaded.mask.at(18, 8) == 1);
  CHECK(loaded.mask.at(12, 8) == 0);
  CHECK(contains(message_of([&] { require_masks(d); }), "normal (1).png"));
}

TEST_CASE("one folder of images and masks, and class folders of any name, are BUSI too") {
  const TempFolder flat;
  add_image(flat, "a.png", 1);
  add_mask(flat, "a_mask.png");
  CHECK(open_dataset(flat.path()).ids() == Strings{"a"});
  const TempFolder folder;
  add_image(folder, "cyst/1.png", 1);
  add_mask(folder, "cyst/1_mask.png");
  add_image(folder, "solid/1.png", 2);
  add_mask(folder, "solid/1_mask.png");
  add_image(folder, "previews/picture.png", 2);
  CHECK(open_dataset(folder.path()).ids() == Strings{"cyst/1", "solid/1"});
}

TEST_CASE("UDIAT: original and GT with equal names, also one level down") {
  const TempFolder folder;
  for (const char* n : {"000002", "000001", "000310"}) {
    add_image(folder, std::string("BUS/original/") + n + ".png", static_cast<uint64_t>(n[5]));
    add_mask(folder, std::string("BUS/GT/") + n + ".png");
  }
  const Dataset d = open_dataset(folder.path());
  CHECK(d.layout == "udiat");
  CHECK(d.ids() == Strings{"000001", "000002", "000310"});
  CHECK(names(d.samples[2].masks) == Strings{"000310.png"});
}

TEST_CASE("folder pairs: suffixes, other formats, case, and splits as folders") {
  const TempFolder folder;
  add_image(folder, "Images/a.PNG", 1);
  add_image(folder, "Images/a_1.png", 2);
  add_image(folder, "Images/b.png", 3);
  add_mask(folder, "Masks/A.png");
  add_mask(folder, "Masks/a_1.png");
  add_mask(folder, "Masks/b_mask_0.png");
  add_mask(folder, "Masks/b_mask_1.png");
  add_mask(folder, "Masks/c.png");
  const Dataset d = open_dataset(folder.path());
  CHECK(d.layout == "folders");
  CHECK(names(d.find("a").masks) == Strings{"A.png"});
  CHECK(names(d.find("a_1").masks) == Strings{"a_1.png"});
  CHECK(d.find("b").masks.size() == 2);
  REQUIRE(d.remarks.size() == 1);
  CHECK(d.remarks[0].file.filename() == "c.png");

  const TempFolder split;
  for (const char* part : {"train", "val"}) {
    add_image(split, std::string(part) + "/images/1.png", 1);
    add_mask(split, std::string(part) + "/masks/1.png");
  }
  const Dataset s = open_dataset(split.path());
  CHECK(s.ids() == Strings{"train/1", "val/1"});
  CHECK(s.samples[1].split == "val");
}

TEST_CASE("a CSV manifest lists a data set, or adds columns to another layout") {
  const TempFolder folder;
  add_image(folder, "pictures/one, two.png", 1);
  add_image(folder, "pictures/b.png", 2);
  add_mask(folder, "drawn/1.png", 6);
  add_mask(folder, "drawn/2.png", 18);
  write_bytes(folder.at("manifest.csv"),
              "\xEF\xBB\xBFimage,mask,split,class,patient\r\n"
              "\"pictures/one, two.png\",drawn/1.png;drawn/2.png,training,cyst,p1\r\n"
              "pictures/b.png,,validation,,p2\r\n");
  const Dataset d = open_dataset(folder.path());
  CHECK(d.layout == "manifest");
  CHECK(d.ids() == Strings{"b", "one, two"});
  const Sample& s = d.find("one, two");
  CHECK(s.split == "train");
  CHECK(s.class_name == "cyst");
  CHECK(s.patient == "p1");
  CHECK(load_sample(s, 1).mask.at(18, 8) == 1);
  CHECK(d.find("b").masks.empty());

  const TempFolder busi;
  add_image(busi, "benign/benign (1).png", 1);
  add_mask(busi, "benign/benign (1)_mask.png");
  write_bytes(busi.at("manifest.csv"),
              "class,name,split,patient\nbenign,benign (1),val,p9\nbenign,benign (8),train,p9\n");
  const Dataset b = open_dataset(busi.path());
  CHECK(b.layout == "busi");
  CHECK(b.samples[0].split == "val");
  CHECK(b.samples[0].patient == "p9");
  REQUIRE(b.remarks.size() == 1);
  CHECK(contains(b.remarks[0].what, "benign (8)"));

  write_bytes(busi.at("manifest.csv"), "name,split\nbenign (1),dev\n");
  CHECK(contains(message_of([&] { open_dataset(busi.path()); }), "dev"));
  write_bytes(busi.at("manifest.csv"), "name,split\nbenign (1)\n");
  CHECK(contains(message_of([&] { open_dataset(busi.path()); }), "line 2"));
}

TEST_CASE("a manifest's column that is nearly a known one is remarked, other columns are not") {
  const TempFolder folder;
  add_image(folder, "a.png", 1);
  add_mask(folder, "a_mask.png");
  const auto remarks = [&](const char* columns) {
    write_bytes(folder.at("manifest.csv"), str(columns, "\na,train,y,z\n"));
    return open_dataset(folder.path()).remarks;
  };
  const auto found = remarks("name,splt,Pateint,width");
  REQUIRE(found.size() == 2);
  CHECK(found[0].file.filename() == "manifest.csv");
  CHECK(contains(found[0].what, "'pateint' is not read, did you mean 'patient'?"));
  CHECK(contains(found[1].what, "'splt' is not read, did you mean 'split'?"));
  CHECK(remarks("name,split,splt,width").empty());  // there is one of that name
  CHECK(remarks("name,width,mask_mode,lesion_share").empty());
  write_bytes(folder.at("manifest.csv"), "image,mask,clas\na.png,a_mask.png,benign\n");
  CHECK(open_dataset(folder.path()).remarks.size() == 1);
}

TEST_CASE("a manifest of other columns is said to be there, with what was wanted and found") {
  const TempFolder folder;
  const std::string found = (folder.path() / "manifest.csv").string();
  write_bytes(folder.at("manifest.csv"), "picture,truth,split\na,b,train\n");
  for (const char* layout : {"auto", "manifest"}) {
    const std::string message = message_of([&] { open_dataset(folder.path(), layout); });
    CAPTURE(message);
    CHECK(message.starts_with(folder.path().string() + ": "));
    CHECK(contains(message, "manifest.csv with columns image and mask"));
    CHECK(contains(message, found + " has the columns picture, truth, split"));
  }
  add_image(folder, "images/a.png", 1);
  add_mask(folder, "masks/a.png");
  const Dataset d = open_dataset(folder.path());
  CHECK(d.layout == "folders");
  REQUIRE(d.remarks.size() == 1);
  CHECK(d.remarks[0].file == found);
  CHECK(contains(d.remarks[0].what,
                 "expected a column id, name or image, got picture, truth, split"));
}

TEST_CASE("where nothing is recognised the message names the folder and what was looked for") {
  const TempFolder folder;
  for (const std::string& message : {message_of([&] { open_dataset(folder.path()); }),
                                     message_of([&] { open_dataset(folder.path(), "udiat"); })}) {
    CHECK(contains(message, folder.path().string()));
    CHECK(contains(message, "GT/"));
  }
  CHECK(contains(message_of([&] { open_dataset(folder.path() / "no"); }), "no such"));
  CHECK(contains(message_of([&] { open_dataset(folder.path(), "coco"); }), "udiat"));
  CHECK(contains(message_of([&] { open_images(folder.path()); }), folder.path().string()));
}

TEST_CASE("a mask belongs to the longest stem of an image that its name goes with") {
  const TempFolder folder;
  for (const char* name : {"a", "a_1", "b", "c"})
    add_image(folder, str("images/", name, ".png"), fnv1a64(name));
  for (const char* name : {"a_1", "b", "b_1", "b_2", "c_mask", "c_1_2"})
    add_mask(folder, str("masks/", name, ".png"));
  const Dataset d = open_dataset(folder.path());
  CHECK(d.find("a").masks.empty());  // a_1 shows the other image's lesion
  CHECK(names(d.find("a_1").masks) == Strings{"a_1.png"});
  CHECK(names(d.find("b").masks) == Strings{"b.png", "b_1.png", "b_2.png"});
  CHECK(names(d.find("c").masks) == Strings{"c_mask.png"});
  REQUIRE(d.remarks.size() == 1);
  CHECK(d.remarks[0].file.filename() == "c_1_2.png");
}

TEST_CASE("open_images: the images of a data set, of folders in folders, of one file; no masks") {
  const TempFolder busi;
  for (const char* name : {"benign/benign (1)", "normal/normal (1)"}) {
    add_image(busi, str(name, ".png"), 1);
    add_mask(busi, str(name, "_mask.png"));
    add_mask(busi, str(name, "_mask_1.png"));
  }
  const Dataset set = open_images(busi.path());
  CHECK(set.ids() == Strings{"benign (1)", "normal (1)"});
  for (const Sample& sample : set.samples) CHECK(sample.masks.empty());
  CHECK(open_images(busi.path() / "benign").ids() == Strings{"benign (1)"});
  CHECK(open_images(busi.at("benign/benign (1).png")).ids() == Strings{"benign (1)"});

  const TempFolder pairs;
  add_image(pairs, "images/a.png", 1);
  add_mask(pairs, "masks/a.png");
  CHECK(open_images(pairs.path()).samples.size() == 1);

  const TempFolder plain;
  for (const char* name : {"x.png", "day 1/left/a.png", "day 2/left/a.png", "day 2/left/b.png",
                           "day 2/b.bmp", "day 2/b.png", "alone_mask.png"})
    add_image(plain, name, 1);
  std::filesystem::create_directory_symlink(plain.path(), plain.path() / "day 2/circle");
  CHECK(open_images(plain.path()).ids() == Strings{"alone_mask", "day 1/left/a", "day 2/b.bmp",
                                                   "day 2/b.png", "day 2/left/a", "day 2/left/b",
                                                   "x"});
}

TEST_CASE("a misspelt id is an Error with the nearest") {
  const TempFolder folder;
  add_image(folder, "a.png", 1);
  add_mask(folder, "a_mask.png");
  add_image(folder, "lesion.png", 2);
  add_mask(folder, "lesion_mask.png");
  CHECK(contains(message_of([&] { open_dataset(folder.path()).find("leison"); }), "'lesion'"));
}

TEST_CASE("check-data finds every fault, names its file and says what training refuses") {
  const TempFolder folder;
  for (uint64_t i = 0; i < 9; ++i) {
    const std::string stem = "benign/b" + std::to_string(i);
    add_image(folder, stem + ".png", i);
    if (i != 1) add_mask(folder, stem + "_mask.png");
  }
  CHECK_FALSE(check_dataset(folder.path()).accepted());  // b1 has no mask
  add_mask(folder, "benign/b1_mask.png");
  CHECK(check_dataset(folder.path()).accepted());
  CHECK(check_dataset(folder.path()).faults.empty());

  std::filesystem::remove(folder.at("benign/b1_mask.png"));
  write_png(folder.at("benign/b2_mask.png"), disc(20, 16, 8, 8, 4));
  truncate_file(folder.at("benign/b3.png"), 0.7);
  write_bytes(folder.at("benign/b4_mask.png"), "text");
  write_png(folder.at("benign/b5_mask.png"), Image(24, 16, 1));
  Image grey = random_image(24, 16, 3);
  for (uint8_t& v : grey.pixels) v = 64 + v / 2;
  write_png(folder.at("benign/b6_mask.png"), grey);
  add_mask(folder, "benign/orphan_mask.png");
  Image soft = disc(24, 16, 8, 8, 4);
  soft.at(0, 0) = 7;
  write_png(folder.at("benign/b7_mask.png"), soft);

  const CheckReport r = check_dataset(folder.path());
  CHECK_FALSE(r.accepted());
  CHECK(r.images == 9);
  CHECK(r.empty_masks == 1);
  const auto fault = [&](const std::string& file, bool refused, const std::string& what) {
    return std::ranges::any_of(r.faults, [&](const Fault& f) {
      return f.file.filename() == file && f.refused == refused && contains(f.what, what);
    });
  };
  CHECK(fault("b1.png", true, "no mask"));
  CHECK(fault("b2_mask.png", true, "20 x 16"));
  CHECK(fault("b3.png", true, "truncated"));
  CHECK(fault("b4_mask.png", true, "expected a PNG"));
  CHECK(fault("b6_mask.png", true, "neither 0/1 nor 0/255"));
  CHECK(fault("b7_mask.png", false, "neither 0 nor 255"));
  CHECK(fault("orphan_mask.png", false, "without an image"));
  CHECK(r.faults.size() == 7);
  std::ostringstream out;
  print(r, out);
  CHECK(contains(out.str(), "refused: " + folder.at("benign/b2_mask.png").string()));
  CHECK(contains(out.str(), "does not accept"));

  // What the check refuses, training refuses before it begins.
  std::string message = message_of([&] { require_masks(open_dataset(folder.path())); });
  CHECK(contains(message, "b1.png"));
  CHECK(contains(message, "got 5 faults"));
  const TempFolder vague;  // a mask whose header is in order and whose values mean nothing
  add_image(vague, "a.png", 1);
  write_png(vague.at("a_mask.png"), grey);
  message = message_of([&] { require_masks(open_dataset(vague.path())); });
  CHECK(message.starts_with(vague.path().string() + ": "));
  CHECK(contains(message, "got 1 fault: "));
  CHECK(contains(message, "a_mask.png"));
  CHECK(contains(message, "neither 0/1 nor 0/255"));
  const Dataset d = open_dataset(folder.path());
  CHECK(contains(message_of([&] { load_sample(d.find("b2"), 3); }), "b2_mask.png"));
  CHECK(contains(message_of([&] { load_sample(d.find("b6"), 3); }), "b6_mask.png"));
}

TEST_CASE("near-duplicates: resized, brightened and noisy copies are found, other images not") {
  const TempFolder folder;
  for (uint64_t i = 0; i < 12; ++i) {
    add_image(folder, "images/i" + std::to_string(i) + ".png", i);
    add_mask(folder, "masks/i" + std::to_string(i) + ".png");
  }
  Image brighter = random_image(24, 16, 3);
  for (size_t i = 0; i < brighter.pixels.size(); ++i)
    brighter.pixels[i] = static_cast<uint8_t>(20 + brighter.pixels[i] * 7 / 8 + i % 5);
  write_png(folder.at("images/copy.png"), brighter);
  write_png(folder.at("masks/copy.png"), disc(24, 16, 8, 8, 4));
  write_png(folder.at("images/large.png"), random_image(96, 80, 7));
  write_png(folder.at("masks/large.png"), disc(96, 80, 8, 8, 4));
  const auto groups = duplicate_groups(open_dataset(folder.path()));
  REQUIRE(groups.size() == 2);
  CHECK(groups[0] == Strings{"copy", "i3"});
  CHECK(groups[1] == Strings{"i7", "large"});

  // Two of one scene on both sides of a manifest's split are pointed out.
  write_bytes(folder.at("manifest.csv"), "name,split\ni3,train\ncopy,val\ni7,val\nlarge,val\n");
  const CheckReport r = check_dataset(folder.path());
  CHECK(r.groups == groups);
  REQUIRE(r.faults.size() == 2);
  CHECK(contains(r.faults[0].what, "a split is named for 4 of"));
  CHECK(contains(r.faults[1].what, "'copy'"));
  CHECK(r.accepted());
}

TEST_CASE("check-data tells of pictures it does not read, of a whole image as lesion, of too few") {
  const TempFolder folder;
  add_image(folder, "images/a.png", 1);
  add_mask(folder, "masks/a.png");
  CHECK_FALSE(check_dataset(folder.path()).accepted());  // nothing would be left to choose by

  add_image(folder, "images/b.png", 2);
  Image all(24, 16, 1);
  std::ranges::fill(all.pixels, uint8_t{255});
  write_png(folder.at("masks/b.png"), all);
  write_bytes(folder.at("images/c.TIF"), "II*");
  std::filesystem::create_symlink("nowhere.png", folder.at("images/d.png"));
  write_bytes(folder.at("manifest.csv"), "name,split\na,train\n");
  CheckReport r = check_dataset(folder.path());
  const auto notice = [&](const std::string& file, const std::string& what) {
    return std::ranges::any_of(r.faults, [&](const Fault& f) {
      return f.file.filename() == file && !f.refused && contains(f.what, what);
    });
  };
  CHECK(r.accepted());
  CHECK(notice("b.png", "whole image"));
  CHECK(notice("c.TIF", "PNG, JPEG and BMP"));
  CHECK(notice("d.png", "link to nothing"));
  CHECK(notice(folder.path().filename().string(), "a split is named for 1 of 2"));
  CHECK(r.faults.size() == 4);

  for (const char* name : {"masks/a.png", "masks/b.png"})
    write_png(folder.at(name), Image(24, 16, 1));
  r = check_dataset(folder.path());
  CHECK(notice(folder.path().filename().string(), "no mask has a lesion"));
}
