#include "nn/files/pickle.h"

#include <bit>
#include <unordered_map>

#include "nn/files/byte_reader.h"

namespace decant::nn {
namespace {

using Kind = PickleNode::Kind;
using Items = PickleNode::Items;

constexpr int kLatestProtocol = 5;
constexpr std::string_view kOrderedDict = "collections.OrderedDict";

}  // namespace

/// The machine: a stack, marks in it, and a memo of what may be needed again.
class PickleMachine {
 public:
  PickleMachine(Pickle& result, std::span<const std::byte> bytes, std::string_view what,
                Pickle::Refusal refusal, size_t most)
      : result_(result), in_(bytes, what), what_(what), refusal_(refusal), left_(most) {}

  void run() {
    while (spend(1)) {
      const uint64_t at = in_.position();
      const auto code = in_.number<uint8_t>();
      if (code == '.') {
        result_.root_ = pop();
        result_.size_ = in_.position();
        result_.left_ = left_;
        return;
      }
      if (!number_or_text(code) && !container(code) && !memo(code) && !object(code))
        throw Error(str(what_, ": expected a pickle, got the unknown instruction ", int{code},
                        " at byte ", at));
    }
  }

 private:
  bool spend(size_t instructions) {
    check(instructions <= left_, what_, ": expected pickles of at most ", Pickle::kMost,
          " instructions, got more");
    left_ -= instructions;
    return true;
  }

  PickleNode* push(PickleNode node) {
    result_.nodes_.push_back(std::move(node));
    stack_.push_back(&result_.nodes_.back());
    return stack_.back();
  }

  void expect_above_mark(size_t count) {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    check(stack_.size() >= floor + count, what_, ": expected ", count,
          " values on the pickle's stack before byte ", in_.position(), ", got ",
          stack_.size() - floor);
  }

  PickleNode* pop() {
    expect_above_mark(1);
    PickleNode* node = stack_.back();
    stack_.pop_back();
    return node;
  }

  /// The container that an instruction adds to.
  PickleNode* top(Kind kind, const char* name) {
    expect_above_mark(1);
    check(stack_.back()->kind == kind, what_, ": expected a ", name,
          " on the pickle's stack before byte ", in_.position());
    return stack_.back();
  }

  Items pop_many(size_t count) {
    expect_above_mark(count);
    const Items items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }

  Items pop_to_mark() {
    check(!marks_.empty(), what_, ": expected a mark on the pickle's stack before byte ",
          in_.position());
    Items items = pop_many(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  void add(PickleNode* to, const Items& items) {
    check(to->kind != Kind::dict || items.size() % 2 == 0, what_,
          ": expected keys with values before byte ", in_.position());
    to->items.insert(to->items.end(), items.begin(), items.end());
  }

  void push_text(uint64_t length) { push({.kind = Kind::text, .text = in_.text(length)}); }

  void push_integer(int64_t value) { push({.kind = Kind::integer, .integer = value}); }

  /// LONG1: two's complement, the lowest byte first.
  void push_long(size_t count) {
    const std::string_view bytes = in_.text(count);
    if (count > sizeof(int64_t)) {
      push({.kind = Kind::integer, .text = bytes});
      return;
    }
    uint64_t value = count > 0 && (bytes.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    std::memcpy(&value, bytes.data(), count);
    push_integer(static_cast<int64_t>(value));
  }

  /// BINFLOAT, the one number that lies with its highest byte first.
  double swapped_double() {
    uint64_t bits = 0;
    for (const std::byte b : in_.take(sizeof(double)))
      bits = bits << 8 | std::to_integer<uint64_t>(b);
    return std::bit_cast<double>(bits);
  }

  bool number_or_text(uint8_t code) {
    switch (code) {
      case 'N':  // NONE
        push({});
        return true;
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        push({.kind = Kind::boolean, .integer = code == 0x88});
        return true;
      case 'J':  // BININT
        push_integer(in_.number<int32_t>());
        return true;
      case 'K':  // BININT1
        push_integer(in_.number<uint8_t>());
        return true;
      case 'M':  // BININT2
        push_integer(in_.number<uint16_t>());
        return true;
      case 0x8A:  // LONG1
        push_long(in_.number<uint8_t>());
        return true;
      case 'G':  // BINFLOAT
        push({.kind = Kind::real, .real = swapped_double()});
        return true;
      case 'U':   // SHORT_BINSTRING
      case 'C':   // SHORT_BINBYTES
      case 0x8C:  // SHORT_BINUNICODE
        push_text(in_.number<uint8_t>());
        return true;
      case 'X':  // BINUNICODE
      case 'B':  // BINBYTES
      case 'T':  // BINSTRING
        push_text(in_.number<uint32_t>());
        return true;
      case 0x8D:  // BINUNICODE8
        push_text(in_.number<uint64_t>());
        return true;
      default:
        return false;
    }
  }

  bool container(uint8_t code) {
    switch (code) {
      case '(':  // MARK
        marks_.push_back(stack_.size());
        return true;
      case '0':  // POP
        pop();
        return true;
      case '1':  // POP_MARK
        pop_to_mark();
        return true;
      case ')':   // EMPTY_TUPLE
      case ']':   // EMPTY_LIST
      case 0x8F:  // EMPTY_SET
        push({.kind = Kind::sequence});
        return true;
      case '}':  // EMPTY_DICT
        push({.kind = Kind::dict});
        return true;
      case 0x85:  // TUPLE1
      case 0x86:  // TUPLE2
      case 0x87:  // TUPLE3
        push({.kind = Kind::sequence, .items = pop_many(code - 0x84U)});
        return true;
      case 't':   // TUPLE
      case 'l':   // LIST
      case 0x91:  // FROZENSET
        push({.kind = Kind::sequence, .items = pop_to_mark()});
        return true;
      case 'd': {  // DICT
        const Items items = pop_to_mark();
        add(push({.kind = Kind::dict}), items);
        return true;
      }
      case 'a': {  // APPEND
        const Items item = pop_many(1);
        add(top(Kind::sequence, "list"), item);
        return true;
      }
      case 'e':     // APPENDS
      case 0x90: {  // ADDITEMS
        const Items items = pop_to_mark();
        add(top(Kind::sequence, "list"), items);
        return true;
      }
      case 's': {  // SETITEM
        const Items pair = pop_many(2);
        add(top(Kind::dict, "dict"), pair);
        return true;
      }
      case 'u': {  // SETITEMS
        const Items items = pop_to_mark();
        add(top(Kind::dict, "dict"), items);
        return true;
      }
      default:
        return false;
    }
  }

  void memoize(uint64_t index) {
    expect_above_mark(1);
    memo_[index] = stack_.back();
  }

  void recall(uint64_t index) {
    const auto found = memo_.find(index);
    check(found != memo_.end(), what_, ": expected something in the pickle's memo at ", index,
          ", asked for before byte ", in_.position());
    stack_.push_back(found->second);
  }

  bool memo(uint8_t code) {
    switch (code) {
      case 'q':  // BINPUT
        memoize(in_.number<uint8_t>());
        return true;
      case 'r':  // LONG_BINPUT
        memoize(in_.number<uint32_t>());
        return true;
      case 0x94:  // MEMOIZE
        memoize(memo_.size());
        return true;
      case 'h':  // BINGET
        recall(in_.number<uint8_t>());
        return true;
      case 'j':  // LONG_BINGET
        recall(in_.number<uint32_t>());
        return true;
      default:
        return false;
    }
  }

  void push_global(std::string_view module, std::string_view name) {
    std::string full = str(module, '.', name);
    const std::string_view reason = refusal_(full);
    check(reason.empty(), what_, ": the pickle asks for \"", shown(full), "\", ", reason);
    result_.names_.push_back(std::move(full));
    push({.kind = Kind::global, .text = result_.names_.back()});
  }

  void push_call() {
    const Items call = pop_many(2);
    check(call[0]->kind == Kind::global && call[1]->kind == Kind::sequence, what_,
          ": expected a name and its arguments before byte ", in_.position());
    if (call[0]->text != kOrderedDict) {
      push({.kind = Kind::call, .items = call});
      return;
    }
    PickleNode* dict = push({.kind = Kind::dict});
    if (call[1]->items.empty()) return;  // or, in old files, one list of pairs
    const Items& pairs = call[1]->items[0]->items;
    spend(pairs.size());  // one list may be given to many
    for (const PickleNode* pair : pairs) {
      check(pair->kind == Kind::sequence && pair->items.size() == 2, what_,
            ": expected pairs for an OrderedDict before byte ", in_.position());
      add(dict, pair->items);
    }
  }

  bool object(uint8_t code) {
    switch (code) {
      case 0x80: {  // PROTO
        const int protocol = in_.number<uint8_t>();
        check(protocol <= kLatestProtocol, what_, ": expected a pickle of protocol ",
              kLatestProtocol, " at most, got ", protocol);
        return true;
      }
      case 0x95:  // FRAME: what follows lies as it would without
        in_.number<uint64_t>();
        return true;
      case 'c': {  // GLOBAL
        const std::string_view module = in_.line();
        push_global(module, in_.line());
        return true;
      }
      case 'i': {  // INST: a name that is called at once, known only to be refused by name
        const std::string_view module = in_.line();
        push_global(module, in_.line());
        return false;
      }
      case 0x93: {  // STACK_GLOBAL
        const Items names = pop_many(2);
        check(names[0]->kind == Kind::text && names[1]->kind == Kind::text, what_,
              ": expected a name on the pickle's stack before byte ", in_.position());
        push_global(names[0]->text, names[1]->text);
        return true;
      }
      case 'R':   // REDUCE
      case 0x81:  // NEWOBJ
        push_call();
        return true;
      case 'b':  // BUILD
        pop();
        top(Kind::dict, "dict");
        return true;
      case 'Q':  // BINPERSID
        push({.kind = Kind::persistent, .items = pop_many(1)});
        return true;
      default:
        return false;
    }
  }

  Pickle& result_;
  ByteReader in_;
  std::string_view what_;
  Pickle::Refusal refusal_;
  size_t left_;
  std::vector<PickleNode*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleNode*> memo_;
};

Pickle::Pickle(std::span<const std::byte> bytes, std::string_view what, Refusal refusal,
               size_t most) {
  PickleMachine(*this, bytes, what, refusal, most).run();
}

const PickleNode* find_key(const PickleNode& dict, std::string_view key) {
  if (dict.kind != Kind::dict) return nullptr;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2)
    if (dict.items[i]->kind == Kind::text && dict.items[i]->text == key) return dict.items[i + 1];
  return nullptr;
}

}  // namespace decant::nn
