#include <iostream>

#include "apps/command.h"
#include "data/phantom.h"

namespace decant::apps {
namespace {

struct PhantomCommandOptions {
  std::string out;
  int64_t count = 240;
  int size = 128;
  uint64_t seed = 1;

  void visit(auto&& v) {
    v("out", out, "folder to make, in the layout of BUSI", "out");
    v("count", count, "images", "--count");
    v("size", size, "pixels a side", "--size");
    v("seed", seed, "of everything random", "--seed");
  }
};

Exit run(PhantomCommandOptions& options, const Arguments&) {
  check(!options.out.empty(), "expected a folder to make, got none");
  data::write_phantoms(options.out,
                       {.count = options.count, .size = options.size, .seed = options.seed});
  std::cout << options.out << ": " << options.count << " phantoms of " << options.size << " x "
            << options.size << " pixels\n";
  return Exit::done;
}

}  // namespace

Command phantom_command() {
  return make_command<PhantomCommandOptions>(
      "phantom", "make simulated breast-ultrasound images with masks",
      "  decant phantom phantoms --count 240 --size 128 --seed 1\n", run);
}

}  // namespace decant::apps
