#pragma once

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/bench/conv_layer.h"

namespace decant::bench {

/// A number of at least 1 from the command line; the program ends where it is none.
inline int64_t number(const char* name, std::string_view text) {
  int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && rest == end && value >= 1) return value;
  std::fprintf(stderr, "%s: expected a number above 0, got \"%.*s\"\n", name,
               static_cast<int>(text.size()), text.data());
  std::exit(2);
}

/// The convolutions of Unet-resnet18, for an input of 128 x 128, and others.
struct LayerCount {
  ConvLayer layer;
  int count;  // of such layers in the network
};

// NOLINTBEGIN(modernize-use-designated-initializers): a table, its columns named by the structs
inline const LayerCount kLayers[] = {
    {{"stem 7x7 s2", 8, 128, 3, 64, 7, 2, 1}, 1},
    {{"64ch 32", 8, 32, 64, 64, 3, 1, 1}, 4},
    {{"64->128 s2", 8, 32, 64, 128, 3, 2, 1}, 1},
    {{"64->128 1x1 s2", 8, 32, 64, 128, 1, 2, 1}, 1},
    {{"128ch 16", 8, 16, 128, 128, 3, 1, 1}, 3},
    {{"128->256 s2", 8, 16, 128, 256, 3, 2, 1}, 1},
    {{"128->256 1x1 s2", 8, 16, 128, 256, 1, 2, 1}, 1},
    {{"256ch 8", 8, 8, 256, 256, 3, 1, 1}, 3},
    {{"256->512 s2", 8, 8, 256, 512, 3, 2, 1}, 1},
    {{"256->512 1x1 s2", 8, 8, 256, 512, 1, 2, 1}, 1},
    {{"512ch 4", 8, 4, 512, 512, 3, 1, 1}, 3},
    {{"768->256 8", 8, 8, 768, 256, 3, 1, 1}, 1},
    {{"256->256 8", 8, 8, 256, 256, 3, 1, 1}, 1},
    {{"384->128 16", 8, 16, 384, 128, 3, 1, 1}, 1},
    {{"128->128 16", 8, 16, 128, 128, 3, 1, 1}, 1},
    {{"192->64 32", 8, 32, 192, 64, 3, 1, 1}, 1},
    {{"64->64 32", 8, 32, 64, 64, 3, 1, 1}, 1},
    {{"128->32 64", 8, 64, 128, 32, 3, 1, 1}, 1},
    {{"32->32 64", 8, 64, 32, 32, 3, 1, 1}, 1},
    {{"32->16 128", 8, 128, 32, 16, 3, 1, 1}, 1},
    {{"16->16 128", 8, 128, 16, 16, 3, 1, 1}, 1},
    {{"head 16->1 128", 8, 128, 16, 1, 3, 1, 1}, 1},
    // Beyond that network, count 0: not in its sum.
    {{"1x1 16->96 64", 8, 64, 16, 96, 1, 1, 1}, 0},
    {{"1x1 96->16 64", 8, 64, 96, 16, 1, 1, 1}, 0},
    {{"1x1 256->64 32", 8, 32, 256, 64, 1, 1, 1}, 0},
    {{"1x1 64->256 32", 8, 32, 64, 256, 1, 1, 1}, 0},
    {{"1x1 512->128 16", 8, 16, 512, 128, 1, 1, 1}, 0},
    {{"1x1 128->512 16", 8, 16, 128, 512, 1, 1, 1}, 0},
    {{"1x1 1024->256 8", 8, 8, 1024, 256, 1, 1, 1}, 0},
    {{"1x1 256->1024 8", 8, 8, 256, 1024, 1, 1, 1}, 0},
    {{"1x1 2048->512 4", 8, 4, 2048, 512, 1, 1, 1}, 0},
    {{"32x8d 256ch 32", 8, 32, 256, 256, 3, 1, 32}, 0},
    {{"32x8d 1024ch 8", 8, 8, 1024, 1024, 3, 1, 32}, 0},
    {{"depthwise 3x3 96ch", 8, 64, 96, 96, 3, 1, 96}, 0},
    {{"depthwise 3x3 s2", 8, 64, 96, 96, 3, 2, 96}, 0},
    {{"depthwise 5x5 96ch", 8, 16, 96, 96, 5, 1, 96}, 0},
};
// NOLINTEND(modernize-use-designated-initializers)

}  // namespace decant::bench
