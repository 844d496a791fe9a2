#include <algorithm>
#include <filesystem>
#include <iostream>
#include <optional>

#include "apps/checkpoint_notes.h"
#include "apps/command.h"
#include "apps/config.h"
#include "apps/memory.h"
#include "nn/files/byte_reader.h"
#include "nn/files/smp_folder.h"
#include "nn/files/tensor_file.h"

namespace decant::apps {
namespace {

namespace fs = std::filesystem;

struct ConvertOptions {
  std::string from;
  std::string to;
  std::string model;
  std::string strip;
  std::string tensor;
  int size = 0;

  void visit(auto&& v) {
    v("from", from,
      "a file of safetensors, PyTorch (.pt, .pth) or numpy (.npy), a run, or an SMP model's folder",
      "from");
    v("to", to, "NAME.safetensors, .pt, .pth, .npy, or a folder (no ending) for SMP", "to");
    v("model", model, "hold the tensors against this network (decoder/encoder)", "--model");
    v("strip", strip, "take this off the names: module., model.", "--strip");
    v("tensor", tensor, "write this one only", "--tensor");
    v("size", size, "of the images a network of others was trained on: evaluate and distill ask it",
      "--size");
  }
};

struct Source {
  nn::Tensors file;
  std::unique_ptr<nn::Network> network;  ///< without its weights yet; nullptr where none is named
};

Source read_source(const ConvertOptions& options) {
  const fs::path path = find_weights(options.from);
  const bool smp = nn::is_smp_folder(path);
  Source source;
  if (smp) {
    std::unique_ptr<nn::Network> network = nn::read_smp_folder(path);
    source.file.tensors = nn::state_dict(*network);
    source.network = std::move(network);
  } else {
    source.file = nn::read_tensors(path);
  }
  const auto named = source.file.metadata.find("network");
  if (!options.model.empty())
    source.network = std::make_unique<nn::Network>(read_network(Json(options.model)));
  else if (!smp && named != source.file.metadata.end())
    source.network = std::make_unique<nn::Network>(nn::parse_network(named->second));
  return source;
}

void show(const char* title, const std::vector<std::string>& names) {
  for (const std::string& name : names) std::cout << "  " << title << ": " << name << "\n";
}

/// Fills the network from the file's tensors; false where they do not fit, which it has told then.
bool fill(nn::Network& network, nn::Tensors& file, const std::string& what) {
  nn::allocate(network);
  const nn::StateMatch match = nn::match_state(network, file.tensors, true);
  std::cout << network.spec().name() << ": matched " << match.matched.size() << ", missing "
            << match.missing.size() << ", unexpected " << match.unexpected.size()
            << ", of another shape " << match.reshaped.size() << "\n";
  show("missing", match.missing);
  show("unexpected, left out", match.unexpected);
  show("of another shape", match.reshaped);
  show("of another type", match.retyped);
  show("twice", match.twice);
  if (!match.missing.empty() || !match.reshaped.empty() || !match.retyped.empty() ||
      !match.twice.empty()) {
    if (!match.prefix.empty())
      std::cout << "every name begins with " << match.prefix << "; --strip " << match.prefix
                << " takes it off\n";
    return false;
  }
  std::erase_if(file.tensors, [&](const NamedTensor& t) {
    return std::ranges::find(match.unexpected, t.name) != match.unexpected.end();
  });
  nn::load_state_dict(network, file.tensors, what, true);
  return true;
}

void take_one(nn::Tensors& file, const std::string& name) {
  const auto found = std::ranges::find(file.tensors, name, &NamedTensor::name);
  check(found != file.tensors.end(), "tensor: expected one of the file's, got ", name);
  file.tensors = {NamedTensor(*found)};
}

int64_t count_numbers(const std::vector<NamedTensor>& tensors) {
  int64_t count = 0;
  for (const NamedTensor& tensor : tensors) count += tensor.tensor.size();
  return count;
}

/// What evaluate, predict and distill want to know of a network that decant did not train.
void note_size(nn::Metadata& metadata, int size) {
  if (size == 0) return;
  check_size("size", size);
  CheckpointNotes notes;
  notes.size = size;
  notes.pipeline = Json(data::Pipeline::preset("none", size).to_json());
  metadata.merge(to_metadata(notes));
}

Exit run(ConvertOptions& options, const Arguments&) {
  check(!options.from.empty() && !options.to.empty(),
        "expected a file to read and one to write, got ", options.from.empty() ? "none" : "one");
  const fs::path to = options.to;
  const bool folder = !to.has_extension();
  if (!folder) require_writable(options.to);
  std::error_code unknown;
  check(!fs::equivalent(options.from, options.to, unknown), options.to,
        ": expected another file than the one to read");
  check(!fs::equivalent(find_weights(options.from), to, unknown), options.to,
        ": expected another file than the one to read");
  check(!folder || !fs::exists(to / "config.json") || nn::is_smp_folder(to), options.to,
        ": expected a new folder or one of SMP, got one with a config.json of something else");

  Source source = read_source(options);
  nn::Tensors& file = source.file;
  std::cout << options.from << ": " << file.tensors.size() << " tensors, "
            << count_numbers(file.tensors) << " numbers\n";
  for (const std::string& remark : file.remarks) std::cout << "  " << remark << "\n";
  if (!options.strip.empty()) nn::strip_prefix(file.tensors, options.strip);
  if (source.network != nullptr && !fill(*source.network, file, options.from)) {
    std::cout << options.to << ": not written\n";
    return Exit::check_failed;
  }
  check(!folder || source.network != nullptr, options.to,
        ": expected to know the network for a folder (--model decoder/encoder)");
  note_size(file.metadata, options.size);

  if (!options.tensor.empty()) {
    take_one(file, options.tensor);
    nn::write_tensors(to, file);
  } else if (folder) {
    nn::write_smp_folder(to, *source.network);
  } else if (to.extension() == ".safetensors" && source.network != nullptr) {
    nn::save_checkpoint(to, *source.network, file.metadata);
  } else {
    file.metadata["format"] = "pt";
    nn::write_tensors(to, file);
  }
  std::cout << options.to << ": written\n";
  return Exit::done;
}

}  // namespace

Command convert_command() {
  return make_command<ConvertOptions>(
      "convert", "weights from PyTorch, SMP or numpy, and to them",
      "  decant convert unet.pth unet.safetensors --model unet/resnet18 --strip module.\n"
      "  decant convert runs/L_KLD student.pt\n"
      "  decant convert runs/teacher smp_model     (smp.from_pretrained(\"smp_model\") loads it)\n"
      "  decant convert smp_model teacher.safetensors --size 256\n",
      run);
}

}  // namespace decant::apps
