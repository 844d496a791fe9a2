#include "apps/config.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "engine/cpu/conv_algorithm.h"
#include "tests/apps/program.h"

using namespace decant;
using namespace decant::apps;

namespace {

using Words = std::vector<std::string>;

TrainConfig complete() {
  TrainConfig config;
  config.model = "thin_unet";
  config.data.path = "somewhere";
  return config;
}

void read(const char* text) {
  TrainConfig config;
  read_json(keys_of(config), Json::parse(text), "run.json");
}

}  // namespace

TEST_CASE("a config that is echoed and read again is the same config") {
  TrainConfig changed = complete();
  changed.optim.lr = 0.1 + 0.2;  // needs all 17 digits
  changed.data.split = "kfold:5";
  changed.seed = ~uint64_t{0};
  changed.distill.spec = {{"terms", {{{"pathway", "hidden"}}}}};
  const Json echoed = Json::parse(to_json(keys_of(changed)).dump());
  TrainConfig again;
  read_json(keys_of(again), echoed, "echo");
  CHECK(again.optim.lr == changed.optim.lr);
  CHECK(again.seed == changed.seed);
  CHECK(to_json(keys_of(again)).dump() == to_json(keys_of(changed)).dump());
}

TEST_CASE("unknown keys and wrong kinds are errors that name file, key and what came") {
  const auto refuses = [](const char* text, const char* message) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(read(text), doctest::Contains(message), Error);
  };
  refuses(R"({"epoch": 3})",
          R"(run.json: expected a known key, got "epoch", did you mean "epochs"?)");
  refuses(R"({"optim": {"rl": 1}})", R"(got "optim.rl", did you mean "optim.lr"?)");
  refuses(R"({"lr": 1})", "did you mean \"optim.lr\"?");
  refuses(R"({"zzzzzzzz": 1})", "expected a known key, got \"zzzzzzzz\"");
  refuses(R"({"epochs": "ten"})", "run.json: epochs: expected a whole number, got \"ten\"");
  refuses(R"({"epochs": 1.5})", "expected a whole number, got 1.5");
  refuses(R"({"epochs": true})", "expected a whole number, got true");
  refuses(R"({"seed": -1})", "expected a whole number, not negative, got -1");
  refuses(R"({"data": {"size": 99999999999}})", "data.size: expected a whole number");
  refuses(R"({"drop_last": 1})", "expected true or false, got 1");
  refuses(R"({"loss": null})", "loss: expected text, got null");
  refuses(R"({"optim": 3})", "optim: expected a section {...}, got 3");
  refuses(R"([1])", "run.json: expected an object");
}

TEST_CASE("a file of JSON with a key twice, or no JSON, is an error with its place") {
  const TemporaryFolder folder;
  write_bytes(folder / "twice.json", R"({"epochs": 1, "data": {"size": 1}, "epochs": 2})");
  CHECK_THROWS_WITH_AS(read_json_file(folder / "twice.json"),
                       doctest::Contains("got \"epochs\" twice"), Error);
  write_bytes(folder / "half.json", "{\"epochs\": ");
  CHECK_THROWS_WITH_AS(read_json_file(folder / "half.json"), doctest::Contains("line 1"), Error);
  CHECK_THROWS_AS(read_json_file(folder / "none.json"), Error);
}

TEST_CASE("key=value reaches every key, also inside of a JSON value") {
  TrainConfig config;
  const std::vector<Key> keys = keys_of(config);
  apply_override(keys, "optim.lr=1e-3");
  CHECK(config.optim.lr == 1e-3);
  apply_override(keys, "data.split=kfold:5");
  CHECK(config.data.split == "kfold:5");
  apply_override(keys, "augment=weak");
  CHECK(config.augment == "weak");
  apply_override(keys, "distill.spec.teacher_view=same");
  apply_override(keys, "distill.spec.distill_weight=0.25");
  CHECK(config.distill.spec == Json({{"teacher_view", "same"}, {"distill_weight", 0.25}}));
  CHECK_THROWS_AS(apply_override(keys, "optim.lr"), Error);
  CHECK_THROWS_AS(apply_override(keys, "=3"), Error);
  CHECK_THROWS_WITH_AS(apply_override(keys, "optim.lr=fast"),
                       "optim.lr=fast: optim.lr: expected a number, got \"fast\"", Error);
}

TEST_CASE("a small network that starts from nothing learns at a larger rate by default") {
  const auto rate = [](const char* model, const char* init, double lr) {
    TrainConfig config = complete();
    config.model = model;
    config.init = init;
    config.optim.lr = lr;
    return resolve(config, false).optim.lr;
  };
  CHECK(rate("thin_unet", "", 0) == 3e-3);
  CHECK(rate("linknet/mobilenet_v3_small_075", "", 0) == 3e-3);  // 0.82 million parameters
  CHECK(rate("linknet/mobilenet_v3_small_075", "encoder=weights.safetensors", 0) == 3e-4);
  CHECK(rate("unet/resnet18", "", 0) == 1e-3);
  CHECK(rate("thin_unet", "", 1e-2) == 1e-2);

  const Result printed = decant::apps::decant({"train", "--model", "thin_unet", "--print-config"});
  CHECK(Json::parse(printed.out)["optim"]["lr"].get<double>() == 3e-3);
}

TEST_CASE("values that make no sense are errors that name their key") {
  const auto refuses = [](auto change, const char* message) {
    TrainConfig config = complete();
    change(config);
    CHECK_THROWS_WITH_AS(resolve(config, false), doctest::Contains(message), Error);
  };
  CHECK_NOTHROW(resolve(complete(), false));
  refuses([](TrainConfig& c) { c.epochs = 0; }, "epochs: expected 1 .. 1000000000, got 0");
  refuses([](TrainConfig& c) { c.batch = -2; }, "batch: expected 1 .. 1000000000, got -2");
  refuses([](TrainConfig& c) { c.optim.lr = -1; }, "optim.lr: expected a number above 0");
  refuses([](TrainConfig& c) { c.optim.ema = 1; }, "optim.ema: expected 0 or more and below 1");
  refuses([](TrainConfig& c) { c.optim.name = "sgd"; }, "optim.lr: expected a rate for sgd");
  refuses([](TrainConfig& c) { c.epochs = int64_t{1} << 62; }, "epochs: expected 1 .. 1000000000");
  refuses([](TrainConfig& c) { c.optim.name = "adamm"; }, "did you mean \"adam\"?");
  refuses([](TrainConfig& c) { c.schedule.gamma = 0; }, "schedule.gamma: expected above 0");
  refuses([](TrainConfig& c) { c.schedule.gamma = 1.5; }, "at most 1, got 1.5");
  refuses([](TrainConfig& c) { c.schedule.final_fraction = -0.1; }, "schedule.final_fraction");
  refuses([](TrainConfig& c) { c.schedule.final_fraction = 2; }, "expected 0 .. 1, got 2");
  refuses([](TrainConfig& c) { c.loss = "mse"; }, "loss: expected one of ce, dice, ce_dice");
  refuses([](TrainConfig& c) { c.loss = "focal+jacard"; }, "did you mean \"jaccard\"?");
  refuses([](TrainConfig& c) { c.loss = "tversky+soft_ce"; }, "several classes for soft_ce");
  refuses([](TrainConfig& c) { c.model = "unet/resnet18:classes=3"; }, "got classes=3");
  refuses([](TrainConfig& c) { c.model = R"({"decoder": "unet")"; }, "expected JSON");
  refuses([](TrainConfig& c) { c.model = R"({"decoder": "unet"})"; }, "an encoder for unet");
  const TemporaryFolder folder;
  const std::string list = folder / "list.json";
  write_bytes(list, R"([{"name": "HorizontalFlip"}, {"name": "RandomRotate90"}])");
  refuses(
      [&](TrainConfig& c) { c.augment = list; },
      "list.json: augmentation: entry 2: unknown transform 'RandomRotate90'; data/README.md lists");
  refuses([](TrainConfig& c) { c.metric = "dice"; }, "metric: expected one of");
  if (!kWithCuda) refuses([](TrainConfig& c) { c.device = "cuda"; }, "this build has no CUDA");
  refuses([](TrainConfig& c) { c.device = "gpu"; }, "device: expected cpu or cuda, got \"gpu\"");
  refuses([](TrainConfig& c) { c.precision = "fp16"; },
          "precision: expected float32, tf32 or bf16");
  refuses([](TrainConfig& c) { c.init = "encoder="; },
          "init: expected encoder=FILE or network=FILE");
  refuses([](TrainConfig& c) { c.step_graph = "yes"; }, "step_graph: expected one of on, off");
  refuses([](TrainConfig& c) { c.data.augment_on = "gpu"; },
          "data.augment_on: expected one of device, cpu");
  refuses([](TrainConfig& c) { c.model = "unet/resnet81"; }, "resnet18");
  refuses([](TrainConfig& c) { c.model = nullptr; }, "model: expected a network, got none");
  refuses([](TrainConfig& c) { c.augment = "stronk"; }, "did you mean \"strong\"?");
  refuses([](TrainConfig& c) { c.distill.preset = "L_KLD"; }, "use `decant distill`");
  TrainConfig config = complete();
  CHECK_THROWS_WITH_AS(resolve(config, true), doctest::Contains("distill.teacher"), Error);
  config.distill.teacher = "runs/teacher";
  CHECK_THROWS_WITH_AS(resolve(config, true), doctest::Contains("expected a preset"), Error);
  config.distill.preset = "L_KLS";
  CHECK_THROWS_WITH_AS(resolve(config, true), doctest::Contains("L_KLD"), Error);
}

TEST_CASE("a run's config leaves out what changes nothing in its files") {
  const Json json = run_json(complete());
  CHECK(!json.contains("threads"));
  CHECK(json["device"] == "cpu");
  CHECK(!json.contains("step_graph"));
  CHECK(!json["data"].contains("augment_on"));
  CHECK(!json["data"].contains("device_mb"));
  CHECK(json.contains("precision"));
  CHECK(json.contains("seed"));
}

TEST_CASE("a preset is shown as what it comes to, with what refines it") {
  const Words words = {"distill", "--preset", "H_KLD", "--print-config"};
  const Result plain = decant::apps::decant(words);
  REQUIRE(plain.code == 0);
  const Json spec = Json::parse(plain.out)["distill"]["spec"];
  CHECK(spec["terms"][0]["pathway"] == "hidden");
  CHECK(spec["terms"][0]["axis"] == "spatial");
  CHECK(spec["teacher_view"] == "same");
  const Result refined = decant::apps::decant(words + Words{"distill.spec.distill_weight=0.25"});
  REQUIRE(refined.code == 0);
  Json expected = spec;
  expected["distill_weight"] = 0.25;
  CHECK(Json::parse(refined.out)["distill"]["spec"] == expected);
  const Result hotter = decant::apps::decant(words + Words{"distill.spec.temperature=4"});
  REQUIRE(hotter.code == 0);
  CHECK(Json::parse(hotter.out)["distill"]["spec"]["terms"][0]["temperature"] == 4);
  // What was shown can be read again, and says the same.
  const TemporaryFolder hot;
  write_bytes(hot / "run.json", hotter.out);
  CHECK(decant::apps::decant({"distill", "--config", hot / "run.json", "--print-config"}).out ==
        hotter.out);
  const TemporaryFolder folder;
  write_bytes(folder / "run.json", refined.out);
  CHECK(decant::apps::decant({"distill", "--config", folder / "run.json", "--print-config"}).out ==
        refined.out);
}

TEST_CASE("a run's folder or checkpoint stands for its network, a network's name for that") {
  const nlohmann::json network = {{"decoder", "thin_unet"}, {"encoder", "thin"}, {"in_channels", 3},
                                  {"classes", 1},           {"width", 8},        {"depth", 4}};
  for (const std::string& model : {trained(), trained() + "/last.safetensors"}) {
    TrainConfig config = complete();
    config.model = model;
    CHECK(nlohmann::json(resolve(config, false).model) == network);
  }
  const Result timed = decant::apps::decant(
      {"bench", "infer", "--model", trained(), "--size", "32", "--steps", "1", "--warmup", "0"});
  CAPTURE(timed.err);
  CHECK(timed.code == 0);
  CHECK(timed.out.find("\"thin_unet:width=8,depth=4\"") != std::string::npos);

  const TemporaryFolder folder;  // a run of another network under a network's name
  std::filesystem::copy(trained(), folder / "thin_unet", std::filesystem::copy_options::recursive);
  const std::filesystem::path here = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const nn::NetworkSpec named = read_network("thin_unet");
  std::filesystem::current_path(here);
  CHECK(named.width == nn::parse_network("thin_unet").width);
}

TEST_CASE("bench of exact=true sums directly, in a step and in a plan") {
  for (const char* what : {"train", "infer"})
    for (const bool exact : {false, true}) {
      const Result timed =
          decant::apps::decant({"bench", what, "--size", "64", "--steps", "1", "--warmup", "0",
                                "--ops", "--batch", "1", exact ? "exact=true" : "exact=false"});
      CAPTURE(timed.err);
      CHECK(timed.code == 0);
      CHECK((timed.out.find("winograd") == std::string::npos) == exact);
      CHECK((timed.out.find(", exact\"") != std::string::npos) == exact);
    }
  cpu::set_exact_convolutions(false);
}

TEST_CASE("train's help is about training") {
  const std::string help = decant::apps::decant({"train", "--help"}).out;
  CHECK(help.find("--model") != std::string::npos);
  for (const char* word : {"--teacher", "--preset", "distill.spec"})
    CHECK(help.find(word) == std::string::npos);
  CHECK(decant::apps::decant({"distill", "--help"}).out.find("--teacher") != std::string::npos);
}

TEST_CASE("later words win: defaults, the file, flags, key=value") {
  const TemporaryFolder folder;
  write_bytes(folder / "run.json", R"({"epochs": 7, "batch": 7, "seed": 7})");
  const Result result = decant::apps::decant({"train", "--config", folder / "run.json", "--batch",
                                              "8", "--seed", "8", "seed=9", "--print-config"});
  REQUIRE(result.code == 0);
  const Json json = Json::parse(result.out);
  CHECK(json["epochs"] == 7);
  CHECK(json["batch"] == 8);
  CHECK(json["seed"] == 9);
  CHECK(json["optim"]["momentum"] == 0.9);

  write_bytes(folder / "other.json", R"({"epochs": 5})");
  const Result again = decant::apps::decant(
      {"train", "--config", folder / "run.json", "--config", folder / "other.json", "--batch", "8",
       "--batch=4", "--seed", "8", "--seed", "9", "--print-config", "--print-config"});
  CAPTURE(again.err);
  REQUIRE(again.code == 0);
  const Json last = Json::parse(again.out);
  CHECK(last["epochs"] == 5);
  CHECK(last["batch"] == 4);
  CHECK(last["seed"] == 9);
}

TEST_CASE("a flag that lacks its value is told so") {
  for (const Words& words :
       {Words{"train", "--size"}, Words{"train", "--config"}, Words{"predict", "run", "--input"}}) {
    const Result result = decant::apps::decant(words);
    CAPTURE(result.err);
    CHECK(result.code == 2);
    CHECK(result.err.find(": expected a value, got none") != std::string::npos);
  }
}
