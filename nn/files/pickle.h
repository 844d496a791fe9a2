#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace decant::nn {

/// A piece of what a pickle describes. Calls are kept as words: nothing is looked up, nothing run.
struct PickleNode {
  enum class Kind : uint8_t {
    none,
    boolean,     ///< integer: 0 or 1
    integer,     ///< beyond 64 bits: text holds its bytes instead
    real,        ///< real
    text,        ///< text; also raw bytes
    sequence,    ///< items: of a tuple, list or set
    dict,        ///< items: key, value, key, value, ..
    global,      ///< text: "torch.FloatStorage"
    call,        ///< items: what is called (a global), and its arguments (a sequence)
    persistent,  ///< items: the one thing that names it
  };
  using Items = std::vector<const PickleNode*>;

  Kind kind = Kind::none;
  int64_t integer = 0;
  double real = 0;
  std::string_view text = {};
  Items items = {};
};

/// Reads one pickle, a program for a machine with a stack whose instructions build Python objects,
/// and may call any function of Python by its name. This machine builds PickleNodes and can call
/// nothing. Of the names only those may occur for which `refusal` gives no reason, so that who
/// reads the nodes knows all that they can mean.
///
/// Instructions: those of protocols 2 to 5 that plain data and PyTorch's files are made of.
/// collections.OrderedDict() becomes a dict, and what BUILD would set on one (a state dict's
/// _metadata) is passed over.
/// Throws Error beginning with `what`: naming a global that is refused and why, an unknown
/// instruction with its place, an empty stack, a memo that was not filled, the end of the bytes,
/// and more than `most` instructions, which bounds the memory that a hostile file can ask for: some
/// hundred bytes each. Who reads several pickles of a file gives the next what those before have
/// left. Texts refer to `bytes`, which must outlive the Pickle. Nodes may refer to themselves: go
/// to a known depth, or count. Source: Python's pickletools.
class Pickle {
 public:
  /// Why a name may not occur, as a message goes on after it; empty where it may.
  using Refusal = std::string_view (*)(std::string_view global);

  static constexpr size_t kMost = size_t{1} << 22;

  Pickle(std::span<const std::byte> bytes, std::string_view what, Refusal refusal,
         size_t most = kMost);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleNode& root() const { return *root_; }
  /// Everything that was built, used in the end or not.
  const std::deque<PickleNode>& nodes() const { return nodes_; }
  /// Of `most` instructions those that were not needed.
  size_t left() const { return left_; }
  /// Bytes from the beginning through the last instruction.
  uint64_t size() const { return size_; }

 private:
  friend class PickleMachine;

  std::deque<PickleNode> nodes_;  // own every node: nests of any depth end without recursion
  std::deque<std::string> names_;
  const PickleNode* root_ = nullptr;
  uint64_t size_ = 0;
  size_t left_ = 0;
};

/// The value of a dict's text key; nullptr where there is none, or `dict` is no dict.
const PickleNode* find_key(const PickleNode& dict, std::string_view key);

}  // namespace decant::nn
