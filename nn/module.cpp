#include "nn/module.h"

#include "engine/core/parallel.h"

namespace decant::nn {
namespace {

std::string join(const std::string& path, std::string_view name) {
  if (path.empty()) return std::string(name);
  if (name.empty()) return path;
  return path + '.' + std::string(name);
}

Tensor initial_values(const Parameter& parameter, const RngKey& key, DType dtype) {
  const Initializer& initializer = parameter.initializer;
  if (initializer.kind == Initializer::Kind::constant)
    return Tensor::full(parameter.shape, initializer.scale, dtype);
  Tensor values(parameter.shape, dtype);
  with_real_type(dtype, [&]<class T>() {
    T* out = values.mutable_data<T>();
    const Rng rng(key);
    const double scale = initializer.scale;
    const bool normal = initializer.kind == Initializer::Kind::normal;
    parallel_ranges(values.size(), kElementGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto element = static_cast<uint64_t>(i);
        const double value =
            normal ? scale * rng.normal(element) : rng.uniform(element, -scale, scale);
        out[i] = static_cast<T>(value);
      }
    });
  });
  return values;
}

}  // namespace

void Visitor::operator()(std::string_view name, Parameter& parameter) {
  on_parameter(join(path_, name), parameter);
}

void Visitor::operator()(std::string_view name, Buffer& buffer) {
  on_buffer(join(path_, name), buffer);
}

void Visitor::operator()(std::string_view name, Module& module) {
  const std::string outer = path_;
  path_ = join(path_, name);
  on_module(path_, name, module);
  module.visit(*this);
  path_ = outer;
}

void initialize(Module& module, uint64_t seed, DType dtype, std::string_view prefix) {
  struct Initializing : Visitor {
    Initializing(uint64_t s, DType t, std::string_view p) : seed(s), dtype(t), prefix(p) {}

    void on_parameter(const std::string& path, Parameter& parameter) override {
      const RngKey key = RngKey::of(seed, join(prefix, path));
      parameter.variable = Variable::leaf(initial_values(parameter, key, dtype));
    }
    void on_buffer(const std::string& /*path*/, Buffer& buffer) override {
      buffer.tensor =
          Tensor::full(buffer.shape, buffer.initial, buffer.counter ? DType::i64 : dtype);
    }
    void on_module(const std::string& path, std::string_view name, Module& part) override {
      part.path_ = path;
      part.name_ = name;
    }

    uint64_t seed;
    DType dtype;
    std::string prefix;
  };
  check(is_real(dtype), "initialize: expected float32 or float64, got ", dtype);
  Initializing visitor(seed, dtype, prefix);
  module.visit(visitor);
}

int64_t parameter_count(Module& module) {
  struct Counting : Visitor {
    void on_parameter(const std::string& /*path*/, Parameter& parameter) override {
      count += parameter.shape.size();
    }
    int64_t count = 0;
  };
  Counting visitor;
  module.visit(visitor);
  return visitor.count;
}

}  // namespace decant::nn
