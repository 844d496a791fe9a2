#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <set>

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/console.h"
#include "apps/device.h"
#include "apps/evaluate.h"
#include "apps/report.h"
#include "nn/files/tensor_file.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

struct PredictOptions {
  std::string run;
  std::vector<std::string> input;
  std::string out;
  bool npy = false;
  int threads = 0;
  std::string device = "cpu";
  std::string precision = "float32";

  void visit(auto&& v) {
    v("run", run, "run folder or checkpoint", "run");
    v("input", input, "images, or folders of images", "--input");
    v("out", out, "folder for NAME_mask.png, NAME_probability.png, NAME_overlay.png", "--out");
    v("npy", npy, "NAME_probability.npy too: float32, [height, width], for numpy.load", "--npy");
    v("threads", threads, "0 takes what this process may run on", "--threads");
    v("device", device, kDeviceHelp, "--device");
    v("precision", precision, kPrecisionHelp, "--precision");
  }
};

data::Image grey_of(const Tensor& probability) {
  data::Image image(static_cast<int>(probability.shape()[1]),
                    static_cast<int>(probability.shape()[0]), 1);
  const auto values = probability.values<float>();
  std::ranges::transform(values, image.pixels.begin(),
                         [](float p) { return static_cast<uint8_t>(std::lround(255 * p)); });
  return image;
}

// One name per image, also where several folders hold files of one name.
std::string unique_name(std::string name, std::set<std::string>& taken) {
  std::ranges::replace(name, '/', '_');
  std::string candidate = name;
  for (int i = 2; !taken.insert(candidate).second; ++i) candidate = str(name, "_", i);
  return candidate;
}

constexpr std::array<std::string_view, 3> kEndings = {"_mask.png", "_probability.png",
                                                      "_overlay.png"};
constexpr std::string_view kArray = "_probability.npy";

// Three pictures at once are what a prediction left, with its array, and may be written over; a
// mask alone, or an array, is somebody's.
void require_own_place(const fs::path& stem) {
  const auto exists = [&](std::string_view ending) {
    return fs::exists(stem.string().append(ending));
  };
  for (const std::string_view ending : {kEndings[0], kArray})
    check(!exists(ending) || std::ranges::all_of(kEndings, exists), "out: ", stem.string(), ending,
          " is there and no earlier prediction's; expected a folder for new masks");
}

// The images of an input, without what an earlier prediction left in a folder `out` inside of it.
data::Dataset images_of(const std::string& input, const fs::path& out) {
  data::Dataset images = data::open_images(input);
  const auto in_out = [&](const data::Sample& sample) {
    return fs::weakly_canonical(fs::absolute(sample.image)).parent_path() == out;
  };
  if (fs::is_directory(input) && fs::weakly_canonical(input) != out)
    std::erase_if(images.samples, [&](const data::Sample& sample) {
      const std::string name = sample.image.filename().string();
      return in_out(sample) && std::ranges::any_of(kEndings, [&](std::string_view ending) {
               return name.ends_with(ending);
             });
    });
  check(std::ranges::none_of(images.samples, in_out),
        "out: expected another folder than the images', got ", out.string(),
        "; a mask there could be overwritten");
  check(!images.samples.empty(), "input: expected images in ", input,
        ", got only what was predicted before");
  return images;
}

Exit run(PredictOptions& options, const Arguments&) {
  check(!options.run.empty(), "expected a run folder or a checkpoint, got none");
  check(!options.input.empty(), "input: expected images, got none (--input FILE_OR_DIR)");
  check(!options.out.empty(), "out: expected a folder, got none (--out DIR)");
  take_threads(options.threads);
  const Device device = use_device(options.device, options.precision);
  const TrainedNetwork trained = load_trained(options.run);
  nn::move_to(*trained.network, device);
  const Forward forward = forward_of(*trained.network);

  std::vector<data::Dataset> inputs;
  for (const std::string& path : options.input)
    inputs.push_back(images_of(path, fs::weakly_canonical(fs::absolute(options.out))));
  check(!fs::exists(fs::path(options.out) / "config.json"), options.out,
        ": expected a folder for masks, got a run folder");
  std::vector<fs::path> stems;
  std::set<std::string> taken;
  for (const data::Dataset& input : inputs)
    for (const std::string& id : input.ids())
      require_own_place(stems.emplace_back(fs::path(options.out) / unique_name(id, taken)));
  std::error_code failed;
  const bool made = fs::create_directories(options.out, failed);
  check(!failed && fs::is_directory(options.out), options.out,
        ": expected to make this folder, got ", failed ? failed.message() : "a file");

  Console console;
  auto stem = stems.begin();
  int64_t written = 0;
  std::vector<std::string> unreadable;
  for (const data::Dataset& input : inputs) {
    const EvaluationSet set(input, input.ids(), trained);
    console.begin();
    for (int64_t i = 0; i < set.count(); ++i, ++stem) {
      EvaluationSet::Item item;
      try {
        item = set.load(i);
      } catch (const Error& error) {  // one bad file does not cost the others their masks
        console.line(str("skipped: ", error.what()));
        unreadable.emplace_back(error.what());
        continue;
      }
      const NoGrad no_grad;
      const Tensor probability =
          probability_at(lesion_probability(forward(Variable(item.image))), 0, item.size);
      data::Image mask = mask_of(probability);
      const double share = static_cast<double>(std::ranges::count(mask.pixels, uint8_t{1})) /
                           static_cast<double>(mask.pixels.size());
      const data::Image grey = grey_of(probability);
      const data::Image over = overlay(item.own, mask, kStudentColour);
      for (uint8_t& v : mask.pixels) v = static_cast<uint8_t>(255 * v);
      const std::string array = stem->string().append(kArray);
      if (options.npy)
        nn::write_tensors(array, {{{"array", probability}}, {}});
      else
        fs::remove(array);  // an earlier prediction's: it would not fit the new pictures
      const data::Image* const pictures[] = {&mask, &grey, &over};
      for (size_t k = kEndings.size(); k-- > 0;)  // the mask last: see require_own_place
        data::write_png(stem->string().append(kEndings[k]), *pictures[k]);
      ++written;
      console.line(str(stem->string(), "  lesion on ",
                       static_cast<double>(std::lround(1000 * share)) / 10, " % of the image"));
      console.progress(input.root.string(), i + 1, set.count());
    }
  }
  console.line(
      str(written, written == 1 ? " image" : " images", "; for research, not for diagnosis"));
  if (made && written == 0) fs::remove(options.out, failed);
  if (unreadable.size() == 1) throw Error(unreadable.front());
  check(unreadable.empty(), "expected images that can be read, skipped ", unreadable.size(), " of ",
        static_cast<size_t>(written) + unreadable.size(),
        ", the first: ", unreadable.empty() ? "" : unreadable.front());
  return Exit::done;
}

}  // namespace

Command predict_command() {
  return make_command<PredictOptions>(
      "predict", "write mask, probability and overlay for images",
      "  decant predict runs/L_KLD --input scan.png --out masks\n"
      "  decant predict runs/L_KLD --input folder other/scan.png --out masks\n"
      "  decant predict runs/L_KLD --input folder --out masks --npy\n",
      run);
}

}  // namespace decant::apps
