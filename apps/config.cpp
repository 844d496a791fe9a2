#include "apps/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/memory.h"
#include "apps/run_folder.h"
#include "data/augment.h"
#include "engine/core/nearest_name.h"
#include "nn/checkpoint.h"
#include "nn/losses.h"
#include "nn/registry.h"

namespace decant::apps {
namespace {

void check_choice(std::string_view key, const std::string& value,
                  const std::vector<std::string>& choices) {
  if (std::ranges::find(choices, value) != choices.end()) return;
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "" : ", ") + choice;
  throw Error(
      str(key, ": expected one of ", list, "; got \"", value, "\"", suggestion(value, choices)));
}

// The most of what counts steps, images or MiB: products of two still fit into 64 bits.
constexpr int64_t kMost = 1'000'000'000;

void check_count(std::string_view key, int64_t value, int64_t least) {
  check(value >= least && value <= kMost, key, ": expected ", least, " .. ", kMost, ", got ",
        value);
}

template <class T>
void check_least(std::string_view key, T value, T least) {
  check(value >= least, key, ": expected at least ", least, ", got ", value);
}

// A preset's name as it is, a file as the list in it.
Json resolve_augment(const Json& augment) {
  if (!augment.is_string()) return augment;
  const std::string name = augment.get<std::string>();
  const std::vector<std::string> presets = data::Pipeline::preset_names();
  if (std::ranges::find(presets, name) != presets.end()) return augment;
  if (name.ends_with(".json") || std::filesystem::exists(name)) return read_json_file(name);
  std::string list;
  for (const std::string& preset : presets) list += preset + ", ";
  throw Error(str("augment: expected ", list, "or FILE.json; got \"", name, "\"",
                  suggestion(name, presets)));
}

void validate(const TrainConfig& c, bool distilling) {
  check(!c.model.is_null(), "model: expected a network, got none (--model unet/resnet18)");
  check(!c.data.path.empty(), "data.path: expected a data set, got none (--data DIR)");
  check_size("data.size", c.data.size, 8);
  check_count("data.fold", c.data.fold, 0);
  check_count("data.cache_mb", c.data.cache_mb, 0);
  check_choice("data.augment_on", c.data.augment_on, {"device", "cpu"});
  check_count("data.device_mb", c.data.device_mb, 0);
  nn::loss_terms(c.loss);  // throws where it knows one of them not
  check_choice("optim.name", c.optim.name, {"adam", "adamw", "sgd"});
  check(c.optim.lr >= 0 && std::isfinite(c.optim.lr),
        "optim.lr: expected a number above 0, or 0 for the default, got ", c.optim.lr);
  check_least("optim.weight_decay", c.optim.weight_decay, 0.0);
  check(c.optim.momentum >= 0 && c.optim.momentum < 1,
        "optim.momentum: expected 0 or more and below 1, got ", c.optim.momentum);
  check_least("optim.clip", c.optim.clip, 0.0);
  check(c.optim.ema >= 0 && c.optim.ema < 1, "optim.ema: expected 0 or more and below 1, got ",
        c.optim.ema);
  check_choice("schedule.name", c.schedule.name, {"poly", "cosine", "step", "constant"});
  check_least("schedule.power", c.schedule.power, 0.0);
  check_count("schedule.warmup_steps", c.schedule.warmup_steps, 0);
  check_count("schedule.step_epochs", c.schedule.step_epochs, 1);
  check(c.schedule.gamma > 0 && c.schedule.gamma <= 1,
        "schedule.gamma: expected above 0 and at most 1, got ", c.schedule.gamma);
  check(c.schedule.final_fraction >= 0 && c.schedule.final_fraction <= 1,
        "schedule.final_fraction: expected 0 .. 1, got ", c.schedule.final_fraction);
  check_count("epochs", c.epochs, 1);
  check_count("batch", c.batch, 1);
  check_count("patience", c.patience, 0);
  check_count("previews", c.previews, 0);
  check_least("threads", c.threads, 0);
  check_choice("metric", c.metric, {"val_loss", "val_dice"});
  check_device(c.device, c.precision);
  check_choice("step_graph", c.step_graph, {"on", "off"});
  const bool part = c.init.starts_with("encoder=") || c.init.starts_with("network=");
  check(c.init.empty() || (part && !c.init.ends_with("=")),
        "init: expected encoder=FILE or network=FILE, got \"", c.init, "\"");
  if (distilling) {
    check(!c.distill.teacher.empty(),
          "distill.teacher: expected a run folder or checkpoint, got none (--teacher RUN)");
    check(!c.distill.preset.empty() || !c.distill.spec.is_null(),
          "distill: expected a preset or a spec, got neither (--preset L_KLD)");
  } else {
    check(c.distill.teacher.empty() && c.distill.preset.empty() && c.distill.spec.is_null(),
          "distill: expected nothing in a plain training run; use `decant distill`");
  }
}

std::string absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

}  // namespace

nn::NetworkSpec read_network(const Json& model) {
  if (model.is_string()) {
    const std::string name = model.get<std::string>();
    // A network's name means it, even where a folder is called so.
    try {
      return nn::parse_network(name);
    } catch (const Error&) {
      if (name.starts_with('{')) throw;  // a network's JSON
      const std::string decoder = name.substr(0, name.find_first_of("/:"));
      const bool may_be_a_name = !near_name(decoder, nn::decoder_names()).empty();
      const bool there = std::filesystem::exists(name);
      if (name.ends_with(".json") || (may_be_a_name && !there)) throw;
      check(there, "model: expected a network's name or a run, got ", name,
            ", which is no file or folder, and there is no decoder \"", decoder, "\"");
    }
    return nn::network_from_checkpoint(find_checkpoint(name)).network->spec();
  }
  return nn::network_spec_from_json(nlohmann::json(model));
}

void write_learning_rate(TrainConfig& config) {
  nn::Network network(read_network(config.model));  // without memory it costs nothing
  if (config.optim.lr != 0) return;
  check(config.optim.name != "sgd",
        "optim.lr: expected a rate for sgd, got none (--lr 0.01); the defaults are Adam's");
  const bool small = nn::parameter_count(network) < 1'000'000;
  config.optim.lr = !config.init.empty() ? 3e-4 : small ? 3e-3 : 1e-3;
}

TrainConfig resolve(TrainConfig config, bool distilling) {
  validate(config, distilling);
  const nn::NetworkSpec network = read_network(config.model);
  config.model = Json(nn::to_json(network));
  check(network.classes <= 2,
        "model: expected one class, or two, as the pixels of a mask are lesion or not, got "
        "classes=",
        network.classes);
  nn::check_loss(config.loss, network.classes);
  write_learning_rate(config);
  const bool from_file = config.augment.is_string();
  const std::string augment_file = from_file ? config.augment.get<std::string>() : "";
  config.augment = resolve_augment(config.augment);
  try {
    pipeline(config);  // throws for what it does not know
  } catch (const Error& error) {
    if (!from_file || config.augment.is_string()) throw;
    throw Error(str(augment_file, ": ", error.what()));
  }
  config.data.path = absolute(config.data.path);
  const size_t file = config.init.find('=') + 1;
  if (!config.init.empty())
    config.init = config.init.substr(0, file) + absolute(config.init.substr(file));
  if (config.data.split.ends_with(".json")) config.data.split = absolute(config.data.split);
  if (distilling) {
    config.distill.teacher = absolute(config.distill.teacher);
    config.distill.spec = spec_in_full(config.distill);
  }
  return config;
}

Json spec_in_full(const DistillConfig& distill) {
  Json spec = distill.spec.is_null() ? Json::object() : distill.spec;
  check(spec.is_object(), "distill.spec: expected an object, got ", spec.dump());
  if (!distill.preset.empty()) spec["preset"] = distill.preset;
  return Json(kd::to_json(kd::spec_from_json(nlohmann::json(spec))));
}

Json run_json(TrainConfig config) {
  Json json = to_json(keys_of(config));
  json.erase("threads");
  json.erase("step_graph");
  json["data"].erase("augment_on");
  json["data"].erase("device_mb");
  return json;
}

nn::NetworkSpec network_spec(const TrainConfig& config) {
  return nn::network_spec_from_json(nlohmann::json(config.model));
}

kd::DistillSpec distill_spec(const TrainConfig& config) {
  return kd::spec_from_json(nlohmann::json(config.distill.spec));
}

data::Pipeline pipeline(const TrainConfig& config) {
  if (config.augment.is_string())
    return data::Pipeline::preset(config.augment.get<std::string>(), config.data.size);
  return data::Pipeline::from_json(nlohmann::json(config.augment));
}

bool is_distilling(const TrainConfig& config) {
  return !config.distill.teacher.empty();
}

std::string augment_name(const TrainConfig& config) {
  return config.augment.is_string() ? config.augment.get<std::string>() : "custom";
}

}  // namespace decant::apps
