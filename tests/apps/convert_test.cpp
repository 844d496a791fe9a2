#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "nn/checkpoint.h"
#include "nn/files/smp_folder.h"
#include "nn/files/torch_file.h"
#include "nn/files/zip.h"
#include "tests/apps/program.h"

namespace decant::apps {
namespace {

using namespace std::string_literals;

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string write_torch(const std::string& path, const std::vector<NamedTensor>& tensors) {
  const std::vector<std::byte> bytes = nn::torch_bytes(tensors);
  write_bytes(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return path;
}

TEST_CASE("a run's weights go to PyTorch's form and back, byte for byte") {
  const TemporaryFolder folder;
  const std::string best = trained() + "/best.safetensors";
  CHECK(decant({"convert", trained(), folder / "a.pt"}).code == 0);
  const Result plain = decant({"convert", folder / "a.pt", folder / "b.safetensors"});
  CHECK(plain.code == 0);
  CHECK(contains(plain.out, "written"));
  const auto spec = nn::network_from_checkpoint(best).network->spec();
  const Result named = decant({"convert", folder / "a.pt", folder / "d.safetensors", "--model",
                               spec.name(), "--size", "64"});
  CAPTURE(named.out);
  REQUIRE(named.code == 0);
  CHECK(contains(named.out, "missing 0, unexpected 0, of another shape 0"));
  const auto tensors = [](const std::string& file) { return read_safetensors(file).tensors; };
  CHECK(nn::torch_bytes(tensors(best)) == nn::torch_bytes(tensors(folder / "d.safetensors")));
  // With a size it is a network like one of ours.
  const Result summary = decant({"summary", folder / "d.safetensors"});
  CHECK(summary.code == 0);
  CHECK(contains(summary.out, "64, 64"));
}

TEST_CASE("what does not match is listed, and nothing is written") {
  const TemporaryFolder folder;
  const auto network = nn::make_network(nn::parse_network("thin_unet:width=4,depth=2"), 1);
  std::vector<NamedTensor> state = nn::state_dict(*network);
  for (NamedTensor& tensor : state) tensor.name = "module." + tensor.name;
  const std::string saved = write_torch(folder / "a.pth", state);
  const std::vector<std::string> words = {"convert", saved, folder / "b.safetensors", "--model",
                                          "thin_unet:width=4,depth=2"};
  const Result stripped = decant(words);  // as --init does
  CHECK(stripped.code == 0);
  CHECK(contains(stripped.out, "every name began with module.: taken off"));
  CHECK(contains(stripped.out, "b.safetensors: written"));
  const Result again = decant(words + std::vector<std::string>{"--strip", "module."});
  CHECK(again.code == 0);
  CHECK(contains(again.out, "b.safetensors: replaced"));
  std::filesystem::remove(folder / "b.safetensors");

  std::vector<NamedTensor> others = state;
  for (NamedTensor& tensor : others) tensor.name = "net." + tensor.name;
  write_torch(saved, others);
  const Result refused = decant(words);
  CHECK(refused.code == 1);
  CHECK(contains(refused.out, "  missing: encoder.stem.0.weight\n"));
  CHECK(contains(refused.out, "  missing: and "));
  CHECK(std::ranges::count(refused.out, '\n') < 30);
  CHECK(!std::filesystem::exists(folder / "b.safetensors"));

  state[0] = {"module.encoder.stem.0.weight", Tensor::zeros({4, 3, 5, 5})};
  state.push_back({"module.fc.bias", Tensor({1})});
  write_torch(saved, state);
  const Result other = decant(words + std::vector<std::string>{"--strip", "module."});
  CHECK(other.code == 1);
  CHECK(contains(other.out, "unexpected 1, of another shape 1"));
  CHECK(contains(other.out, "encoder.stem.0.weight expected [4, 3, 3, 3] got [4, 3, 5, 5]"));
}

TEST_CASE("without a place to write to, convert lists what a file holds") {
  const TemporaryFolder folder;
  const std::string file = write_torch(
      folder / "a.pt", {{"w", Tensor::of<float>({1, 2}, {1, NAN})}, {"n", Tensor({}, DType::i64)}});
  const Result listed = decant({"convert", file});
  CHECK(listed.code == 0);
  CHECK(contains(listed.out, "  notice: NaN or infinity in: w (1 of 2 numbers)\n"));
  CHECK(contains(listed.out, "  w  float32 [1, 2]\n"));
  const Result near = decant({"convert", file, folder / "w.npy", "--tensor", "ww"});
  CHECK(contains(near.err, "tensor: expected one of the file's, got \"ww\", did you mean \"w\"?"));
  // A command that cannot be is refused before anything is read, and nobody's files are mixed.
  CHECK(contains(decant({"convert", "nowhere.pt", folder / "b.pt", "--size", "-3"}).err, "size: "));
  CHECK(contains(decant({"convert", file, folder / "x.h5"}).err, "expected a name that ends in"));
  CHECK(contains(decant({"convert", file, folder.path().string(), "--model", "thin_unet"}).err,
                 "got one with other files"));
}

TEST_CASE(
    "commands that need a run say what to make of a model's folder and of a file of PyTorch") {
  const TemporaryFolder folder;
  const auto network = nn::make_network(nn::parse_network("linknet/resnet18"), 1);
  nn::write_smp_folder(folder / "smp", *network);
  CHECK(decant({"summary", folder / "smp", "--size", "32"}).code == 0);
  const std::string torch = write_torch(folder / "a.pth", nn::state_dict(*network));
  REQUIRE(decant({"convert", folder / "smp", folder / "b.safetensors"}).code == 0);
  const auto refused = [&](const std::string& name, const char* reason) {
    const Result result =
        decant({"predict", folder / name, "--input", phantoms(), "--out", folder / "masks"});
    CAPTURE(result.err);
    CHECK(result.code == 2);
    CHECK(contains(result.err, reason));
  };
  refused("smp", "got a model's folder of segmentation_models.pytorch; decant convert");
  refused("a.pth", "got a file of PyTorch; decant convert");
  refused("b.safetensors", "without its notes; decant convert");
  refused("nowhere", "no such file or folder");
  CHECK(decant({"summary", folder / "b.safetensors", "--size", "32"}).code == 0);
}

TEST_CASE("training begins with weights of any form") {
  const TemporaryFolder folder;
  const auto network = nn::network_from_checkpoint(trained() + "/best.safetensors").network;
  const std::string torch = write_torch(folder / "a.pt", nn::state_dict(*network));
  int number = 0;
  for (const std::string& init : {"network=" + torch, "encoder=" + torch, "network=" + trained()}) {
    CAPTURE(init);
    const Result run = decant(tiny_run() + std::vector<std::string>{"--init", init, "--out",
                                                                    folder / str("run", ++number)});
    CAPTURE(run.err);
    CHECK(run.code == 0);
  }
  const Result odd =
      decant(tiny_run() + std::vector<std::string>{"--init", torch, "--out", folder / "odd"});
  CHECK(odd.code == 2);
  CHECK(contains(odd.err, "expected encoder=FILE or network=FILE"));
}

TEST_CASE("hostile files end in one line and exit code 2, and nothing of them runs") {
  const TemporaryFolder folder;
  const std::string mark = folder / "mark";
  std::string pickle =
      "\x80\x02"
      "cos\nsystem\nX";
  pickle.append(1, static_cast<char>(6 + mark.size())).append("\0\0\0touch "s);
  pickle.append(mark).append("\x85R.");
  const std::vector<std::byte> archive =
      nn::zip_bytes({{"a/data.pkl", std::as_bytes(std::span(pickle))}});
  write_bytes(folder / "evil.pt", {reinterpret_cast<const char*>(archive.data()), archive.size()});
  write_bytes(folder / "text.pth", "these are no weights");
  write_bytes(folder / "empty.safetensors", "");
  write_bytes(folder / "x.npy", "\x93NUMPY\x01\0\x02\0{}"s);
  std::filesystem::create_directories(folder / "folder");
  const auto refused = [&](const std::string& name, const char* reason) {
    const Result result = decant({"convert", folder / name, folder / "out.safetensors"});
    CAPTURE(result.err);
    CHECK(result.code == 2);
    CHECK(contains(result.err, name));
    CHECK(contains(result.err, reason));
    CHECK(std::ranges::count(result.err, '\n') == 1);
  };
  refused("evil.pt", "\"os.system\"");
  refused("text.pth", "safetensors, PyTorch (.pt, .pth) or numpy (.npy)");
  refused("empty.safetensors", "an empty one");
  refused("x.npy", "expected a header");
  refused("nowhere.pt", "nowhere.pt");
  refused("folder", "folder");
  CHECK(!std::filesystem::exists(mark));
  CHECK(!std::filesystem::exists(folder / "out.safetensors"));
}

TEST_CASE("an exported network is a file of ONNX that says what it is") {
  const TemporaryFolder folder;
  const Result any = decant({"export", trained(), "--out", folder / "a.onnx"});
  CAPTURE(any.err);
  CHECK(any.code == 0);
  CHECK(contains(any.out, "image -> logits"));
  CHECK(contains(bytes_of(folder / "a.onnx"), "max_pixel_value"));
  CHECK(decant({"export", trained(), "--out", folder / "b.onnx", "--size", "64", "--resize",
                "--normalize", "--probability"})
            .code == 0);
  CHECK(decant({"export", trained(), "--out", folder / "a.txt"}).code == 2);
}

}  // namespace
}  // namespace decant::apps
