// Training on batches that the device makes against training on the CPU's: a card, or the emulated
// device.
#include <doctest/doctest.h>

#include <cmath>
#include <optional>

#include "apps/step_feed.h"
#include "apps/train_step.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;

namespace {

constexpr const char* kTiny = "thin_unet:width=4,depth=2";
constexpr int64_t kBatch = 4;
constexpr int64_t kSteps = 7;  // four batches of 19 images, then a shorter one, then two more

/// The losses of some steps, [steps][losses], of images that the device augments, or the CPU.
std::vector<std::vector<double>> train(bool on_device, const std::optional<kd::DistillSpec>& spec) {
  const data::Dataset dataset = data::open_dataset(phantoms());
  std::vector<std::string> ids = dataset.ids();
  ids.resize(4 * kBatch + 3);
  std::shared_ptr<data::PictureStore> pictures;
  if (on_device) {
    pictures = std::make_shared<data::PictureStore>(dataset, ids, 3);
    pictures->load(Device::cuda);
  }
  const bool distils = spec.has_value();
  data::Loader loader(dataset, ids, data::Pipeline::preset("strong_flip", 32),
                      {.batch = kBatch,
                       .seed = 3,
                       .threads = 2,
                       .shuffle = true,
                       .pair = distils,
                       .pictures = pictures});

  const auto network = nn::make_network(nn::parse_network(kTiny), 1);
  nn::move_to(*network, Device::cuda);
  std::unique_ptr<kd::Distiller> distiller;
  std::unique_ptr<kd::FrozenTeacher> teacher;
  if (distils) {
    auto taught = nn::make_network(nn::parse_network(kTiny), 2);
    nn::move_to(*taught, Device::cuda);
    distiller = std::make_unique<kd::Distiller>(*spec, kd::TapFacts{1, network->hidden_channels()},
                                                kd::TapFacts{1, taught->hidden_channels()}, 1);
    nn::move_to(*distiller, Device::cuda);
    teacher = std::make_unique<kd::FrozenTeacher>(std::move(taught));
  }
  nn::ParameterSet parameters(*network);
  const auto optimizer = nn::make_optimizer(parameters, {.name = "sgd", .momentum = 0.9});
  TrainStep step(*network, parameters, *optimizer, {.loss = {.name = "ce"}});
  if (distils) step.teach_by(*teacher, *distiller);

  StepFeed feed(Device::cuda, pictures);
  std::vector<Tensor> figures;
  Tensor first;
  const auto batch = [&](int64_t i) {
    return loader.batch(i / loader.batches(), i % loader.batches());
  };
  feed.put(batch(0));
  for (int64_t i = 0; i < kSteps; ++i) {
    const data::Batch& ready = feed.take();
    if (i == 0) first = ready.images;
    if (ready.images.shape()[0] == kBatch) CHECK(ready.images.shares_storage(first));
    step.run(ready, 0.05, i);
    figures.push_back(step.figures().clone());
    if (i + 1 < kSteps) feed.put(batch(i + 1));
  }
  CHECK(step.recorded() == (!distils || !distiller->moves_maps()));
  std::vector<std::vector<double>> losses;
  for (const Tensor& row : figures) {
    const Tensor values = row.to(Device::cpu).to(DType::f64);
    losses.emplace_back(values.values<double>().begin(), values.values<double>().end());
  }
  return losses;
}

// What images that differ by float32's rounding (1e-5 of what they span, see
// tests/data/device_augment_test.cpp) make of losses, with as much again for what steps add.
constexpr double kAllowed = 2e-5;
// The last figure is the gradient's norm, which jumps where a value crosses the kink of a relu: one
// of the few thousand at stake moves it by some 1e-5. A wrong picture or a wrong matrix moves it by
// 1e-1.
constexpr double kGradientAllowed = 1e-3;

void check_same_losses(const std::optional<kd::DistillSpec>& spec) {
  const auto there = train(true, spec);
  const auto here = train(false, spec);
  REQUIRE(there.size() == here.size());
  for (size_t i = 0; i < here.size(); ++i) {
    REQUIRE(there[i].size() == here[i].size());
    for (size_t k = 0; k < here[i].size(); ++k) {
      CAPTURE(i);
      CAPTURE(k);
      CHECK(std::isfinite(here[i][k]));
      const double allowed = k + 1 == here[i].size() ? kGradientAllowed : kAllowed;
      CHECK(std::abs(there[i][k] - here[i][k]) <= allowed * std::max(1.0, std::abs(here[i][k])));
    }
  }
}

}  // namespace

TEST_CASE("cuda: steps on batches that the device augments have the losses of the CPU's batches") {
  if constexpr (!kWithCuda) return;
  check_same_losses({});
}

TEST_CASE("cuda: and so have a student's under a teacher that sees the weak view") {
  if constexpr (!kWithCuda) return;
  kd::DistillSpec spec = kd::preset("L_KLD_WAug");
  check_same_losses(spec);
  spec.teacher_view = kd::TeacherView::weak_unaligned;  // of which a graph is recorded
  check_same_losses(spec);
}

TEST_CASE("cuda: train says where it augments, and why not on the device") {
  if constexpr (!kWithCuda) return;
  const TemporaryFolder folder;
  const std::vector<std::string> words = {"--device", "cuda", "epochs=1", "previews=0"};
  const auto run = [&](const std::string& name, const std::vector<std::string>& more) {
    const Result result =
        apps::decant(tiny_run() + words + more + std::vector<std::string>{"--out", folder / name});
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return bytes_of(folder / name + "/log.txt");
  };
  CHECK(run("device", {})
            .find("augmentation on the device: 16 decoded images uploaded once, 1 MiB") !=
        std::string::npos);
  const std::string asked = run("cpu", {"data.augment_on=cpu"});
  CHECK(asked.find("notice: augmentation") == std::string::npos);
  const std::string large = run("large", {"data.device_mb=0"});
  CHECK(large.find("notice: augmentation on the cpu, the decoded images take 1 MiB and "
                   "data.device_mb allows 0") != std::string::npos);
  write_bytes(folder / "pad.json",
              R"([{"name": "PadIfNeeded", "min_height": 48, "min_width": 48},
                  {"name": "RandomCrop", "height": 32, "width": 32}, {"name": "Normalize"}])");
  const std::string pads = run("pads", {"--augment", folder / "pad.json"});
  CHECK(pads.find("notice: augmentation on the cpu, the device does not know PadIfNeeded") !=
        std::string::npos);
  // Equal files but for what the log says and float32's rounding: the settings are not part of it.
  CHECK(bytes_of(folder / "cpu/config.json") == bytes_of(folder / "device/config.json"));
  CHECK(bytes_of(folder / "cpu/metrics.csv") == bytes_of(folder / "large/metrics.csv"));
}
