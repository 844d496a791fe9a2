#include "nn/parameter_set.h"

#include <map>
#include <set>

namespace decant::nn {
namespace {

constexpr int64_t kAlignment = 64;  // bytes: a cache line, the widest SIMD register

struct Collecting : Visitor {
  Collecting(std::string prefix, std::vector<ParameterSet::Slot>& out)
      : Visitor(std::move(prefix)), slots(out) {}

  void on_parameter(const std::string& path, Parameter& parameter) override {
    check(parameter.variable.defined(), "ParameterSet: expected initialized parameters, got ", path,
          " without memory");
    slots.push_back(
        {.name = path, .offset = 0, .size = parameter.shape.size(), .parameter = &parameter});
  }

  std::vector<ParameterSet::Slot>& slots;
};

bool lies_under(std::string_view name, std::string_view path) {
  return path.empty() ||
         (name.starts_with(path) && (name.size() == path.size() || name[path.size()] == '.'));
}

// A parameter in two slots would have its value in the second and be stepped on in both.
void expect_each_once(const std::vector<ParameterSet::Slot>& slots) {
  std::set<std::string_view> names;
  std::map<const Parameter*, std::string_view> parameters;
  for (const ParameterSet::Slot& slot : slots) {
    const auto [seen, is_new] = parameters.emplace(slot.parameter, slot.name);
    check(is_new, "ParameterSet: expected every parameter once, got ", seen->second, " again as ",
          slot.name);
    check(names.insert(slot.name).second, "ParameterSet: expected unique names, got ", slot.name,
          " twice");
  }
}

}  // namespace

ParameterSet::ParameterSet(Module& module) : ParameterSet({{"", &module}}) {}

ParameterSet::ParameterSet(const std::vector<std::pair<std::string, Module*>>& modules) {
  for (const auto& [prefix, module] : modules) {
    Collecting collect(prefix, slots_);
    module->visit(collect);
  }
  expect_each_once(slots_);
  check(!slots_.empty(), "ParameterSet: expected modules with parameters, got none");
  const DType type = slots_.front().parameter->variable.dtype();
  const Device device = slots_.front().parameter->variable.value().device();
  const int64_t alignment = kAlignment / static_cast<int64_t>(size_of(type));
  int64_t total = 0;
  for (Slot& slot : slots_) {
    slot.offset = total;
    total += (slot.size + alignment - 1) / alignment * alignment;
  }
  values_ = Tensor::zeros({total}, type, device);
  gradients_ = Tensor::zeros({total}, type, device);
  for (const Slot& slot : slots_) {
    Parameter& parameter = *slot.parameter;
    check(parameter.variable.dtype() == type, "ParameterSet: expected one type, got ", type, ' ',
          slots_.front().name, " and ", parameter.variable.dtype(), ' ', slot.name);
    const Device here = parameter.variable.value().device();
    check(here == device, "ParameterSet: expected one device, got ", device, ' ',
          slots_.front().name, " and ", here, ' ', slot.name);
    Tensor value = values_.view(slot.offset, parameter.shape);
    value.copy_from(parameter.variable.value());
    parameter.variable = Variable::leaf(value, gradients_.view(slot.offset, parameter.shape));
  }
}

int64_t ParameterSet::trainable_count() const {
  int64_t count = 0;
  for (const Slot& slot : slots_)
    if (!slot.frozen) count += slot.size;
  return count;
}

std::vector<ParameterSet::Range> ParameterSet::reached() const {
  std::vector<Range> ranges;
  bool joins = false;  // whether the slot before is in the last range
  for (const Slot& slot : slots_) {
    const bool covered = !slot.frozen && slot.parameter->variable.grad().defined();
    if (covered && joins)
      ranges.back().size = slot.offset + slot.size - ranges.back().offset;
    else if (covered)
      ranges.push_back({slot.offset, slot.size});
    joins = covered;
  }
  return ranges;
}

ParameterSet::Range ParameterSet::range(std::string_view path) const {
  if (path.empty()) return {0, values_.size()};
  const Slot* first = nullptr;
  const Slot* last = nullptr;
  for (const Slot& slot : slots_) {
    if (!lies_under(slot.name, path)) continue;
    if (first == nullptr) first = &slot;
    last = &slot;
  }
  check(first != nullptr, "ParameterSet: expected parameters under \"", path, "\", got none");
  return {first->offset, last->offset + last->size - first->offset};
}

void ParameterSet::freeze(std::string_view path) {
  bool found = false;
  for (Slot& slot : slots_) {
    if (!lies_under(slot.name, path)) continue;
    found = true;
    slot.frozen = true;
    slot.parameter->variable = slot.parameter->variable.detach();
  }
  check(found, "ParameterSet: expected parameters to freeze under \"", path, "\", got none");
}

void ParameterSet::zero_gradients() {
  gradients_.fill(0);
  for (const Slot& slot : slots_)
    if (!slot.frozen) slot.parameter->variable.clear_grad();
}

}  // namespace decant::nn
