#include <filesystem>
#include <iostream>
#include <numeric>

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/memory.h"
#include "engine/io/atomic_file.h"
#include "nn/onnx/export.h"

namespace decant::apps {
namespace {

struct ExportOptions {
  std::string run;
  std::string out;
  int size = 0;
  bool resize = false;
  bool normalize = false;
  bool probability = false;
  std::vector<std::string> classes;

  void visit(auto&& v) {
    v("run", run, "run folder, checkpoint or an SMP model's folder", "run");
    v("out", out, "NAME.onnx", "--out");
    v("size", size, "side of its square images; 0: images of any size", "--size");
    v("resize", resize, "inside the model: images of any size to --size, the result back",
      "--resize");
    v("normalize", normalize, "inside the model: it takes grey levels of 0 .. 255", "--normalize");
    v("probability", probability, "the model gives probabilities, not logits", "--probability");
    v("classes", classes, "names of its classes, for the metadata", "--classes");
  }
};

struct Normalization {
  std::vector<double> mean, std;
  double max_pixel_value = 255;
};

/// The Normalize at the end of a pipeline, as it treats images of so many channels.
Normalization normalization_of(const data::Pipeline& pipeline, int64_t channels) {
  const nlohmann::json step = pipeline.to_json().back();
  Normalization n{step.at("mean"), step.at("std"), step.at("max_pixel_value")};
  for (std::vector<double>* values : {&n.mean, &n.std})
    if (channels == 1)
      *values = {std::accumulate(values->begin(), values->end(), 0.0) /
                 static_cast<double>(values->size())};
  return n;
}

std::vector<std::string> class_names(const ExportOptions& options, int64_t classes) {
  if (!options.classes.empty()) {
    check(static_cast<int64_t>(options.classes.size()) == classes, "classes: expected ", classes,
          " names, got ", options.classes.size());
    return options.classes;
  }
  if (classes == 1) return {"lesion"};
  std::vector<std::string> names = {"background"};
  for (int64_t i = 1; i < classes; ++i) names.push_back(str("class ", i));
  return names;
}

Exit run(ExportOptions& options, const Arguments&) {
  check(!options.run.empty(), "expected a run folder or a checkpoint, got none");
  check(options.out.ends_with(".onnx"), "out: expected NAME.onnx, got \"", options.out, '"');
  require_writable(options.out);
  if (options.size != 0) check_size("size", options.size);
  const AnyNetwork subject = load_any(options.run);
  const nn::NetworkSpec& spec = subject.network->spec();
  // A network of others: how SMP's own models see images, ImageNet's mean and deviation.
  const int trained_size = subject.notes ? subject.notes->size : 0;
  const data::Pipeline pipeline =
      subject.notes ? subject.notes->evaluation() : data::Pipeline::preset("none", 224);
  const Normalization n = normalization_of(pipeline, spec.in_channels);

  nn::OnnxOptions onnx{.size = options.size, .resize = options.resize};
  if (options.resize && onnx.size == 0) onnx.size = trained_size;
  if (options.normalize) {
    onnx.mean = n.mean;
    onnx.std = n.std;
    onnx.max_pixel_value = n.max_pixel_value;
  }
  onnx.probability = options.probability;
  onnx.metadata = {
      {"network", nn::to_json(spec).dump()},
      {"classes", Json(class_names(options, spec.classes)).dump()},
      {"mean", Json(n.mean).dump()},
      {"std", Json(n.std).dump()},
      {"max_pixel_value", Json(n.max_pixel_value).dump()},
      {"image", options.normalize ? "RGB, grey levels from 0 to max_pixel_value"
                                  : "RGB, (x / max_pixel_value - mean) / std"},
      {"threshold", "0.5"},
      {"trained_size", std::to_string(trained_size)},
      {"purpose", "For research, not for diagnosis."},
  };
  const nn::OnnxGraph graph = nn::export_onnx(*subject.network, onnx);
  write_file_atomically(options.out, graph.bytes());
  std::cout << options.out << ": " << spec.name() << ", " << graph.nodes().size() << " nodes, "
            << graph.input.name << " -> " << graph.output.name << "\n";
  return Exit::done;
}

}  // namespace

Command export_command() {
  return make_command<ExportOptions>(
      "export", "write a network as ONNX, for other runtimes",
      "  decant export runs/L_KLD --out student.onnx\n"
      "  decant export runs/L_KLD --out student.onnx --size 256 --resize --normalize "
      "--probability\n",
      run);
}

}  // namespace decant::apps
