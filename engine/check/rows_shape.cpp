#include "engine/check/op_row.h"
#include "engine/ops/dropout.h"
#include "engine/ops/shape_ops.h"

namespace decant {
namespace {

using Inputs = std::vector<Variable>;

void add_joins(std::vector<OpRow>& table) {
  struct Join {
    const char* variant;
    Shape a, b, c;
    int axis;
    bool large = false;
  };
  for (const Join& j :
       {Join{"channels", {2, 2, 3, 2}, {2, 2, 3, 1}, {2, 2, 3, 4}, 3},
        Join{"first axis", {1, 3}, {2, 3}, {1, 3}, 0},
        Join{"middle axis, counted from the end", {2, 1, 3}, {2, 2, 3}, {2, 1, 3}, -2},
        Join{"rows of four", {3, 2, 4}, {3, 2, 8}, {3, 2, 4}, 2},
        Join{"many rows", {70, 80, 3}, {70, 80, 5}, {70, 80, 1}, 2, true}})
    table.push_back(
        {.op = "concat",
         .variant = j.variant,
         .inputs = {randn(j.a, 1), randn(j.b, 2), randn(j.c, 3)},
         .call = [axis = j.axis](const Inputs& x) { return concat({x[0], x[1], x[2]}, axis); },
         .large = j.large});
  table.push_back({.op = "concat",
                   .variant = "a single tensor",
                   .inputs = {randn({2, 3})},
                   .call = [](const Inputs& x) { return concat({x[0]}, 0); }});

  struct Slice {
    const char* variant;
    Shape x;
    int axis;
    int64_t begin, end;
    bool large = false;
  };
  for (const Slice& s :
       {Slice{"channels", {2, 2, 3, 5}, 3, 1, 4}, Slice{"first axis", {4, 3}, 0, 2, 4},
        Slice{"counted from the end", {2, 5, 2}, -2, -4, -1}, Slice{"everything", {2, 3}, 1, 0, 3},
        Slice{"many rows", {9000, 9}, 1, 2, 7, true}})
    table.push_back({.op = "slice",
                     .variant = s.variant,
                     .inputs = {randn(s.x)},
                     .call = [axis = s.axis, begin = s.begin, end = s.end](
                                 const Inputs& x) { return slice(x[0], axis, begin, end); },
                     .large = s.large});
}

void add_moves(std::vector<OpRow>& table) {
  table.push_back(
      {.op = "pad",
       .variant = "every axis, with a value",
       .inputs = {randn({2, 3, 2})},
       .call = [](const Inputs& x) { return pad(x[0], {{1, 0}, {2, 1}, {0, 3}}, 0.5); }});
  table.push_back({.op = "pad",
                   .variant = "pixels",
                   .inputs = {randn({2, 3, 2, 3})},
                   .call = [](const Inputs& x) { return pad2d(x[0], 1, 0, 2, 3); }});
  table.push_back(
      {.op = "pad", .variant = "nothing", .inputs = {randn({2, 3})}, .call = [](const Inputs& x) {
         return pad(x[0], {{0, 0}, {0, 0}});
       }});
  table.push_back({.op = "pad",
                   .variant = "many rows",
                   .inputs = {randn({2, 90, 91, 5})},
                   .call = [](const Inputs& x) { return pad2d(x[0], 3, 2, 1, 4, -1); },
                   .large = true});

  table.push_back({.op = "reshape",
                   .variant = "three axes to two",
                   .inputs = {randn({2, 3, 4})},
                   .call = [](const Inputs& x) { return reshape(x[0], {6, 4}); }});
  table.push_back({.op = "reshape",
                   .variant = "to a scalar",
                   .inputs = {randn({1, 1})},
                   .call = [](const Inputs& x) { return reshape(x[0], {}); }});

  struct Order {
    const char* variant;
    Shape x;
    std::vector<int> order;
    bool large = false;
  };
  for (const Order& o :
       {Order{"a matrix", {3, 4}, {1, 0}}, Order{"channels first", {2, 3, 2, 4}, {0, 3, 1, 2}},
        Order{"last axis stays", {2, 3, 4}, {1, 0, 2}},
        Order{"counted from the end", {2, 3, 4}, {-1, -3, -2}},
        Order{"nothing moves", {2, 3}, {0, 1}},
        Order{"five axes", {2, 1, 3, 2, 2}, {4, 2, 0, 1, 3}},
        Order{"channels first, many rows", {2, 60, 61, 9}, {0, 3, 1, 2}, true},
        Order{"tiles and their rests, and axes beside", {2, 3, 45, 2, 40}, {0, 4, 3, 1, 2}, true}})
    table.push_back({.op = "permute",
                     .variant = o.variant,
                     .inputs = {randn(o.x)},
                     .call = [order = o.order](const Inputs& x) { return permute(x[0], order); },
                     .large = o.large});
}

std::vector<OpRow> rows() {
  std::vector<OpRow> table;
  add_joins(table);
  add_moves(table);
  for (const double p : {0.1, 0.6})
    for (const bool large : {false, true})
      table.push_back(
          {.op = "dropout",
           .variant = str("p ", p, large ? ", several chunks and a rest" : ""),
           .inputs = {randn(large ? Shape{3, 9001} : Shape{5, 7})},
           .call = [p](const Inputs& x) { return dropout(x[0], p, RngKey::of(1, "dropout", 7)); },
           .large = large});
  for (const DropoutOf of : {DropoutOf::channels, DropoutOf::samples})
    for (const Shape& shape : {Shape{5, 7}, Shape{3, 2, 3, 5}, Shape{4, 41, 41, 12}})
      table.push_back({.op = "dropout",
                       .variant = str(name_of(of), " of ", shape),
                       .inputs = {randn(shape)},
                       .call =
                           [of](const Inputs& x) {
                             return dropout(x[0], 0.4, RngKey::of(1, "dropout", 3), of);
                           },
                       .large = shape.size() > 1000});
  return table;
}

Variable zeros(Shape shape) {
  return Variable(Tensor::zeros(shape));
}

std::vector<RejectRow> rejects() {
  return {
      {.op = "concat",
       .what = "shapes that differ elsewhere",
       .call = [] { concat({zeros({2, 3}), zeros({3, 3})}, 1); },
       .message = "[2, 3] and [3, 3]"},
      {.op = "concat",
       .what = "other ranks",
       .call = [] { concat({zeros({2, 3}), zeros({2, 3, 1})}, 1); },
       .message = "[2, 3] and [2, 3, 1]"},
      {.op = "concat", .what = "nothing", .call = [] { concat({}, 0); }, .message = "got none"},
      {.op = "slice",
       .what = "an end beyond the axis",
       .call = [] { slice(zeros({2, 3}), 1, 1, 4); },
       .message = "<= 3, got 1 and 4 for axis 1 of shape [2, 3]"},
      {.op = "slice",
       .what = "no elements",
       .call = [] { slice(zeros({2, 3}), 1, 2, 2); },
       .message = "got 2 and 2"},
      {.op = "pad",
       .what = "a negative amount",
       .call = [] { pad(zeros({2}), {{-1, 0}}); },
       .message = "got {-1, 0} for axis 0 of shape [2]"},
      {.op = "pad",
       .what = "another number of axes",
       .call = [] { pad(zeros({2, 2}), {{1, 0}}); },
       .message = "shape [2, 2], got 1"},
      {.op = "reshape",
       .what = "another size",
       .call = [] { reshape(zeros({2, 3}), {5}); },
       .message = "from [2, 3] to [5]"},
      {.op = "permute",
       .what = "an axis named twice",
       .call = [] { permute(zeros({2, 3}), {0, -2}); },
       .message = "axis -2 is named twice for shape [2, 3]"},
      {.op = "permute",
       .what = "another number of axes",
       .call = [] { permute(zeros({2, 3}), {0}); },
       .message = "2 axes for shape [2, 3], got 1"},
      {.op = "dropout",
       .what = "a certain loss",
       .call = [] { dropout(zeros({2}), 1, {}); },
       .message = "got 1"},
      {.op = "dropout",
       .what = "channels of a list",
       .call = [] { dropout(zeros({2}), 0.5, {}, DropoutOf::channels); },
       .message = "channels of, got [2]"},
  };
}

[[maybe_unused]] const bool kRegistered = register_rows(rows, rejects);

}  // namespace
}  // namespace decant
