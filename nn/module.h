#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/autograd/variable.h"
#include "engine/core/rng.h"

namespace decant::nn {

/// What a parameter holds before training. Value i of the parameter at path "a.b.weight" is element
/// i of the random stream (seed, "a.b.weight"): it depends on nothing else in the network.
struct Initializer {
  enum class Kind : uint8_t { constant, normal, uniform };
  Kind kind = Kind::constant;
  double scale = 0;  ///< the constant; the standard deviation; b of the uniform [-b, b)

  static Initializer constant(double value) { return {.kind = Kind::constant, .scale = value}; }
  static Initializer normal(double deviation) { return {.kind = Kind::normal, .scale = deviation}; }
  static Initializer uniform(double bound) { return {.kind = Kind::uniform, .scale = bound}; }
};

/// A tensor that learns. Without memory until allocate() or initialize() gives it some; the shape
/// is known from the start.
struct Parameter {
  Shape shape;
  Initializer initializer;
  Variable variable = {};  ///< the leaf that ops read
};

/// A tensor that a layer keeps without learning it: running moments, counters (int64).
struct Buffer {
  Shape shape;
  double initial = 0;
  bool counter = false;
  Tensor tensor = {};
};

class Module;

/// Walks a module's parameters and buffers, and those of the modules inside of it, in the order of
/// PyTorch's state_dict, each with its path in the whole: "encoder.layer1.0.bn1.weight".
/// Names, counts, initial values, checkpoints and flat buffers are all visitors.
class Visitor {
 public:
  Visitor() = default;
  /// Paths begin with `prefix`, "student" say.
  explicit Visitor(std::string prefix) : path_(std::move(prefix)) {}
  virtual ~Visitor() = default;
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;

  // What Module::visit calls.
  void operator()(std::string_view name, Parameter& parameter);
  void operator()(std::string_view name, Buffer& buffer);
  void operator()(std::string_view name, Module& module);

 protected:
  virtual void on_parameter(const std::string& /*path*/, Parameter& /*parameter*/) {}
  virtual void on_buffer(const std::string& /*path*/, Buffer& /*buffer*/) {}
  /// Before the module's own parts are visited; `name` is its path from the enclosing module.
  virtual void on_module(const std::string& /*path*/, std::string_view /*name*/,
                         Module& /*module*/) {}

 private:
  std::string path_;
};

/// Tells one forward pass how to run. There is no mode that a module remembers.
struct Pass {
  bool training = false;  ///< dropout drops; batch norm normalises by the batch and keeps book
  RngKey key = {};        ///< of dropout, one per step; layers derive their own from it
  Tensor stream = {};     ///< of the key, for dropout on cuda that is to be recorded
  /// Batch norm normalises by the batch although not training, and leaves its running moments
  /// alone.
  bool batch_statistics = false;
};

/// Something with parameters. A class lists its parts once, in visit(), and has a forward() of
/// whatever form suits it, opened by `const Trace::Scope scope(name());`.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual void visit(Visitor& v) = 0;

  /// Its path from the enclosing module, "layer1.0"; empty before initialize() and for the
  /// outermost.
  const std::string& name() const { return name_; }
  /// Its path from the outermost module.
  const std::string& path() const { return path_; }

 private:
  friend void allocate(Module&, DType);

  std::string name_;
  std::string path_;
};

/// Names every module and gives every parameter and buffer memory: of `dtype` (float32 or float64;
/// counters int64), parameters at zero, buffers at their initial values. For weights that come from
/// elsewhere.
void allocate(Module& module, DType dtype = DType::f32);

/// The same with the parameters' initial values. `prefix` keeps the random streams of two networks
/// with one seed apart.
void initialize(Module& module, uint64_t seed, DType dtype = DType::f32,
                std::string_view prefix = "");

/// Moves parameters and buffers to a device: same bits, new leaves. Counters stay on the host, who
/// counts. Before a ParameterSet is made of them, which keeps them where they are.
void move_to(Module& module, Device device);

/// What a training pass of the module's forward adds to its counters, for a pass that a step graph
/// repeated without calling forward.
void count_batch(Module& module);

/// Number of values that learn: without buffers, as PyTorch users count.
int64_t parameter_count(Module& module);

}  // namespace decant::nn
