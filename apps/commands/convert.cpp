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
    v("to", to,
      "NAME.safetensors, .pt, .pth, .npy, or a folder (no ending) for SMP; a file that is there is "
      "replaced; without: names, types and shapes are listed",
      "to");
    v("model", model, "hold the tensors against this network (decoder/encoder)", "--model");
    v("strip", strip, "take this off the names; with --model, module. and model. go by themselves",
      "--strip");
    v("tensor", tensor, "write this one only", "--tensor");
    v("size", size, "of the images a network of others was trained on: evaluate and distill ask it",
      "--size");
  }
};

struct Source {
  nn::Tensors file;
  std::unique_ptr<nn::Network> network;  ///< without its weights yet; nullptr where none is named
};

/// `named`: the network of --model, nullptr where none is given.
Source read_source(const ConvertOptions& options, std::unique_ptr<nn::Network> named) {
  const fs::path path = find_weights(options.from);
  Source source;
  if (nn::is_smp_folder(path)) {
    std::unique_ptr<nn::Network> network = nn::read_smp_folder(path);
    source.file.tensors = nn::state_dict(*network);
    source.network = std::move(network);
  } else {
    source.file = nn::read_tensors(path);
    const auto noted = source.file.metadata.find("network");
    if (named == nullptr && noted != source.file.metadata.end())
      source.network = std::make_unique<nn::Network>(nn::parse_network(noted->second));
  }
  if (named != nullptr) source.network = std::move(named);
  return source;
}

void show(const char* title, const std::vector<std::string>& names) {
  constexpr size_t kShown = 10;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i)
    std::cout << "  " << title << ": " << names[i] << "\n";
  if (names.size() > kShown)
    std::cout << "  " << title << ": and " << names.size() - kShown << " more\n";
}

/// Fills the network from the file's tensors; false where they do not fit, which it has told then.
bool fill(nn::Network& network, nn::Tensors& file, const std::string& what) {
  nn::allocate(network);
  const std::string prefix = nn::strip_common_prefixes(file.tensors);
  if (!prefix.empty()) std::cout << "  every name began with " << prefix << ": taken off\n";
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
      !match.twice.empty())
    return false;
  std::erase_if(file.tensors, [&](const NamedTensor& t) {
    return std::ranges::find(match.unexpected, t.name) != match.unexpected.end();
  });
  nn::load_state_dict(network, file.tensors, what, true);
  return true;
}

void take_one(nn::Tensors& file, const std::string& name) {
  const auto found = std::ranges::find(file.tensors, name, &NamedTensor::name);
  if (found == file.tensors.end()) {
    std::vector<std::string> names;
    for (const NamedTensor& tensor : file.tensors) names.push_back(tensor.name);
    throw Error(
        str("tensor: expected one of the file's, got \"", name, '"', suggestion(name, names)));
  }
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
  CheckpointNotes notes;
  notes.size = size;
  notes.pipeline = Json(data::Pipeline::preset("none", size).to_json());
  metadata.merge(to_metadata(notes));
}

/// All that can be wrong with the command before anything is read.
void check_target(const ConvertOptions& options, bool folder) {
  const fs::path to = options.to;
  if (!folder || !options.tensor.empty()) {
    nn::expect_tensor_name(to);
    require_writable(options.to);
  }
  std::error_code unknown;
  check(!fs::equivalent(options.from, to, unknown) &&
            !fs::equivalent(find_weights(options.from), to, unknown),
        options.to, ": expected another file than the one to read");
  if (!folder || !fs::exists(to)) return;
  check(fs::is_directory(to), options.to, ": expected a folder, got a file");
  check(fs::is_empty(to) || nn::is_smp_folder(to), options.to,
        ": expected a new or empty folder, or one of SMP, got one with other files");
}

void list(const std::vector<NamedTensor>& tensors) {
  for (const NamedTensor& t : tensors)
    std::cout << "  " << shown(t.name, 200) << "  " << t.tensor.dtype() << ' ' << t.tensor.shape()
              << "\n";
}

Exit run(ConvertOptions& options, const Arguments&) {
  check(!options.from.empty(), "expected a file to read and one to write, got none");
  if (options.size != 0) check_size("size", options.size);
  std::unique_ptr<nn::Network> named;
  if (!options.model.empty())
    named = std::make_unique<nn::Network>(read_network(Json(options.model)));
  const fs::path to = options.to;
  const bool listing = options.to.empty();
  const bool folder = !listing && !to.has_extension();
  if (!listing) check_target(options, folder);
  std::error_code unknown;
  const bool replaces = fs::exists(folder ? to / nn::kSmpWeights : to, unknown);

  Source source = read_source(options, std::move(named));
  nn::Tensors& file = source.file;
  std::cout << options.from << ": " << file.tensors.size() << " tensors, "
            << count_numbers(file.tensors) << " numbers\n";
  for (const std::string& remark : file.remarks) std::cout << "  " << remark << "\n";
  show("notice: NaN or infinity in", nn::not_finite(file.tensors));
  if (!options.strip.empty()) nn::strip_prefix(file.tensors, options.strip);
  if (listing) {
    list(file.tensors);
    return Exit::done;
  }
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
  std::cout << options.to << (replaces ? ": replaced\n" : ": written\n");
  return Exit::done;
}

}  // namespace

Command convert_command() {
  return make_command<ConvertOptions>(
      "convert", "weights from PyTorch, SMP or numpy, and to them",
      "  decant convert unet.pth unet.safetensors --model unet/resnet18 --size 256\n"
      "  decant convert unet.pth                   (lists what is in it)\n"
      "  decant convert runs/L_KLD student.pt\n"
      "  decant convert runs/teacher smp_model     (smp.from_pretrained(\"smp_model\") loads it)\n"
      "  decant convert smp_model teacher.safetensors --size 256\n",
      run);
}

}  // namespace decant::apps
