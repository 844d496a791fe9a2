#include "nn/summary.h"

#include <filesystem>
#include <iostream>

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/config.h"
#include "apps/memory.h"
#include "engine/io/atomic_file.h"

namespace decant::apps {
namespace {

struct SummaryOptions {
  std::string model;
  int size = 0;
  std::string json;

  void visit(auto&& v) {
    v("model", model,
      "decoder/encoder, thin_unet, a run folder, checkpoint or an SMP model's folder", "model");
    v("size", size, "side of the input; 0: as trained, or 224", "--size");
    v("json", json, "file to write the figures to", "--json");
  }
};

Json shape_json(const Shape& shape) {
  Json extents = Json::array();
  for (const int64_t extent : shape.extents()) extents.push_back(extent);
  return extents;
}

Json json_of(const nn::Summary& summary, const std::string& name) {
  Json layers = Json::array();
  for (const nn::LayerSummary& layer : summary.layers)
    layers.push_back({{"name", layer.name},
                      {"op", layer.op},
                      {"output_shape", shape_json(layer.output_shape)},
                      {"parameters", layer.parameters},
                      {"macs", layer.macs},
                      {"activation_bytes", layer.activation_bytes}});
  return {{"network", name},
          {"input_shape", shape_json(summary.input_shape)},
          {"parameters", summary.parameters},
          {"macs", summary.macs},
          {"activation_bytes", summary.activation_bytes},
          {"layers", layers}};
}

Exit run(SummaryOptions& options, const Arguments&) {
  check(!options.model.empty(), "expected a network, got none");
  require_writable(options.json);
  check(options.size >= 0, "size: expected 0 or more, got ", options.size);
  std::unique_ptr<nn::Network> network;
  int64_t size = options.size;
  if (std::filesystem::exists(options.model) && !options.model.ends_with(".json")) {
    AnyNetwork there = load_any(options.model);
    network = std::move(there.network);
    if (size == 0 && there.notes) size = there.notes->size;
  } else {
    network = nn::make_network(read_network(Json(options.model)));
  }
  if (size == 0) size = 224;
  check_size("size", size);
  const nn::Summary summary = nn::summarize(*network, size, size);
  std::cout << network->spec().name() << "\n" << summary.text();
  if (!options.json.empty())
    write_file_atomically(options.json, json_of(summary, network->spec().name()).dump(1) + "\n");
  return Exit::done;
}

}  // namespace

Command summary_command() {
  return make_command<SummaryOptions>(
      "summary", "layers, shapes, parameters, multiply-adds and memory of a network",
      "  decant summary linknet/mobilenet_v3_small_075 --size 224\n"
      "  decant summary runs/L_KLD --json summary.json\n",
      run);
}

}  // namespace decant::apps
