#pragma once

#include <string>

#include "engine/core/device.h"

namespace decant::apps {

/// What --device says in its help: what this build has.
constexpr const char* kDeviceHelp = kWithCuda ? "cpu or cuda" : "cpu (this build has no CUDA)";
constexpr const char* kPrecisionHelp =
    "of products on cuda: float32, tf32 or bf16 (sums stay float32)";

/// Whether the words make sense and this build knows the device. Throws Error naming the key.
void check_device(const std::string& device, const std::string& precision);

/// The device, ready, and the process's products at that precision. Throws Error as check_device
/// does, and "no CUDA device found" where the machine has none.
Device use_device(const std::string& device, const std::string& precision = "float32");

/// What computes here and now, as far as bits depend on it: "avx512", "avx512, exact", "cuda
/// (NVIDIA H200, tf32)". A run's files remember it.
std::string arithmetic_of(Device device);

/// The machine as times on its CPU depend on it: "node3: AMD EPYC 9654, avx512, 2 threads".
std::string machine_text();

}  // namespace decant::apps
