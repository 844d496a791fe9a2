#include "nn/module.h"

#include "engine/core/parallel.h"

namespace decant::nn {
namespace {

std::string join(const std::string& path, std::string_view name) {
  if (path.empty()) return std::string(name);
  if (name.empty()) return path;
  return path + '.' + std::string(name);
}

void fill_initial(const Initializer& initializer, const RngKey& key, Tensor& values) {
  const double scale = initializer.scale;
  if (initializer.kind == Initializer::Kind::constant) {
    values.fill(scale);
    return;
  }
  with_real_type(values.dtype(), [&]<class T>() {
    T* out = values.mutable_data<T>();
    const Rng rng(key);
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

void allocate(Module& module, DType dtype) {
  struct Allocating : Visitor {
    explicit Allocating(DType t) : dtype(t) {}

    void on_parameter(const std::string& /*path*/, Parameter& parameter) override {
      parameter.variable = Variable::leaf(Tensor::zeros(parameter.shape, dtype));
    }
    void on_buffer(const std::string& /*path*/, Buffer& buffer) override {
      buffer.tensor =
          Tensor::full(buffer.shape, buffer.initial, buffer.counter ? DType::i64 : dtype);
    }
    void on_module(const std::string& path, std::string_view name, Module& part) override {
      part.path_ = path;
      part.name_ = name;
    }

    DType dtype;
  };
  check(is_real(dtype), "nn: expected a network of float32 or float64, got ", dtype);
  Allocating visitor(dtype);
  module.visit(visitor);
}

void initialize(Module& module, uint64_t seed, DType dtype, std::string_view prefix) {
  struct Filling : Visitor {
    Filling(uint64_t s, std::string_view p) : seed(s), prefix(p) {}

    void on_parameter(const std::string& path, Parameter& parameter) override {
      Tensor values = parameter.variable.value();
      fill_initial(parameter.initializer, RngKey::of(seed, join(prefix, path)), values);
    }

    uint64_t seed;
    std::string prefix;
  };
  allocate(module, dtype);
  Filling visitor(seed, prefix);
  module.visit(visitor);
}

void move_to(Module& module, Device device) {
  struct Moving : Visitor {
    explicit Moving(Device d) : device(d) {}

    void on_parameter(const std::string& /*path*/, Parameter& parameter) override {
      if (parameter.variable.value().device() != device)
        parameter.variable = Variable::leaf(parameter.variable.value().to(device));
    }
    void on_buffer(const std::string& /*path*/, Buffer& buffer) override {
      if (!buffer.counter) buffer.tensor = buffer.tensor.to(device);
    }

    Device device;
  };
  Moving visitor(device);
  module.visit(visitor);
}

void count_batch(Module& module) {
  struct Counting : Visitor {
    void on_buffer(const std::string& /*path*/, Buffer& buffer) override {
      if (buffer.counter) ++*buffer.tensor.mutable_data<int64_t>();
    }
  };
  Counting visitor;
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
