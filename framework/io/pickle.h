// The tensors that a pickle of torch.save describes. Nothing in the pickle is ever executed.
#pragma once

#include <c10/core/ScalarType.h>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace quell {

// A flat array of numbers that lies elsewhere in the file.
struct StorageReference {
  c10::ScalarType type;
  std::string key;   // names the array within the file
  int64_t elements;  // >= 0
};

// A strided view of a storage, not yet checked against it.
struct TensorReference {
  StorageReference storage;
  int64_t offset;  // elements
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // elements, as many as the shape has
};

// Interprets the few instructions (protocol 2) that a dictionary of tensors needs. Any other
// instruction, class or function is refused with a DataError that names it.
class PickleReader {
 public:
  // `source` names the bytes in messages. Several pickles may follow each other.
  PickleReader(std::string_view bytes, std::string source, size_t position = 0);

  // Reads the next pickle, which must hold a value of that sort. Throw DataError.
  std::vector<std::pair<std::string, TensorReference>> read_state_dict();
  std::vector<std::string> read_texts();
  int64_t read_integer();
  // The values of a dictionary that are whole numbers or truth values.
  std::unordered_map<std::string, int64_t> read_integers();

  size_t position() const { return position_; }  // of the byte after the last pickle

 private:
  using Id = size_t;  // of a value in values_
  enum class Function { kOrderedDict, kRebuildTensor, kRebuildParameter };
  struct None {};
  struct Sequence {
    std::vector<Id> items;
  };
  struct Mapping {
    std::vector<std::pair<Id, Id>> items;
  };
  using Value = std::variant<None, bool, int64_t, double, std::string, Sequence, Mapping, Function,
                             c10::ScalarType, StorageReference, TensorReference>;

  [[noreturn]] void fail(const std::string& message) const;
  Id read_value();
  bool run_constant(unsigned char instruction);
  bool run_container(unsigned char instruction);
  bool run_memory(unsigned char instruction);
  bool run_call(unsigned char instruction);

  std::string_view take(size_t count);
  uint64_t take_unsigned(size_t bytes);
  std::string take_line();
  void push(Value value);
  Id pop();
  std::vector<Id> pop_to_mark();
  void push_sequence(std::vector<Id> items) { push(Sequence{std::move(items)}); }
  void append(const std::vector<Id>& items);
  void set_items(const std::vector<Id>& keys_and_values);
  void remember(uint64_t slot);
  void recall(uint64_t slot);
  void push_global(const std::string& module, const std::string& name);
  [[noreturn]] void fail_call(size_t arguments) const;
  void call(Function function, const Sequence& arguments);
  void push_storage(Id description);
  std::vector<int64_t> integers(Id list) const;
  const std::string& name(Id id, const char* what) const;
  static std::string describe(const Value& value);
  // The value if it is a T; otherwise DataError "<what> is a number".
  template <class T>
  const T& get(Id id, const char* what) const;

  std::string_view bytes_;
  std::string source_;
  size_t position_;
  std::vector<Value> values_;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint64_t, Id> memo_;
};

}  // namespace quell
