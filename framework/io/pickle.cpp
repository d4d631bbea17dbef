#include "framework/io/pickle.h"

#include <fmt/format.h>
#include <algorithm>
#include <bit>
#include <unordered_set>

#include "framework/base/error.h"
#include "framework/base/utf8.h"

namespace quell {
namespace {

// A state dictionary needs about 20 values a tensor; the limit keeps a hostile file small in
// memory.
constexpr size_t kMostValues = 4'000'000;
constexpr size_t kMostArguments = 7;   // of a call
constexpr size_t kLongestName = 4096;  // bytes
constexpr const char* kWayOut =
    "; quell reads tensors only and never executes a pickle: where you trust the file, load it "
    "with torch.load and save its state dict with safetensors.torch.save_file";

struct StorageName {
  const char* name;
  c10::ScalarType type;
};
constexpr StorageName kStorages[] = {
    {"DoubleStorage", c10::ScalarType::Double}, {"FloatStorage", c10::ScalarType::Float},
    {"HalfStorage", c10::ScalarType::Half},     {"BFloat16Storage", c10::ScalarType::BFloat16},
    {"LongStorage", c10::ScalarType::Long},     {"IntStorage", c10::ScalarType::Int},
    {"ShortStorage", c10::ScalarType::Short},   {"CharStorage", c10::ScalarType::Char},
    {"ByteStorage", c10::ScalarType::Byte},     {"BoolStorage", c10::ScalarType::Bool}};

}  // namespace

PickleReader::PickleReader(std::string_view bytes, std::string source, size_t position)
    : bytes_(bytes), source_(std::move(source)), position_(position) {}

void PickleReader::fail(const std::string& message) const {
  throw DataError(fmt::format("{}: pickle at byte {}: {}", source_, position_, message));
}

std::string_view PickleReader::take(size_t count) {
  if (count > bytes_.size() - position_) fail("it ends too early; the file is truncated");
  position_ += count;
  return bytes_.substr(position_ - count, count);
}

uint64_t PickleReader::take_unsigned(size_t count) {
  const std::string_view bytes = take(count);
  uint64_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string PickleReader::take_line() {
  const size_t end = bytes_.find('\n', position_);
  if (end == std::string_view::npos) fail("it ends too early; the file is truncated");
  const std::string line(take(end - position_));
  take(1);
  return line;
}

void PickleReader::push(Value value) {
  if (values_.size() >= kMostValues) fail("too many values for a file of tensors");
  stack_.push_back(values_.size());
  values_.push_back(std::move(value));
}

PickleReader::Id PickleReader::pop() {
  const size_t bottom = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= bottom) fail("an instruction lacks its operand; the file is damaged");
  const Id id = stack_.back();
  stack_.pop_back();
  return id;
}

std::vector<PickleReader::Id> PickleReader::pop_to_mark() {
  if (marks_.empty()) fail("an instruction lacks its mark; the file is damaged");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<Id> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

std::string PickleReader::describe(const Value& value) {
  struct Describer {
    std::string operator()(None) const { return "None"; }
    std::string operator()(bool) const { return "a truth value"; }
    std::string operator()(int64_t) const { return "a whole number"; }
    std::string operator()(double) const { return "a number"; }
    std::string operator()(const std::string&) const { return "a text"; }
    std::string operator()(const Sequence&) const { return "a list"; }
    std::string operator()(const Mapping&) const { return "a dictionary"; }
    std::string operator()(Function) const { return "a function"; }
    std::string operator()(c10::ScalarType) const { return "a class"; }
    std::string operator()(const StorageReference&) const { return "a storage"; }
    std::string operator()(const TensorReference&) const { return "a tensor"; }
  };
  return std::visit(Describer{}, value);
}

template <class T>
const T& PickleReader::get(Id id, const char* what) const {
  const T* value = std::get_if<T>(&values_[id]);
  if (value == nullptr) fail(fmt::format("{} is {}", what, describe(values_[id])));
  return *value;
}

PickleReader::Id PickleReader::read_value() {
  constexpr unsigned char kStop = '.';
  stack_.clear();
  marks_.clear();
  memo_.clear();
  values_.clear();
  while (true) {
    const auto instruction = static_cast<unsigned char>(take(1)[0]);
    if (instruction == kStop) break;
    if (!run_constant(instruction) && !run_container(instruction) && !run_memory(instruction) &&
        !run_call(instruction)) {
      fail(fmt::format("instruction 0x{:02x} is not supported", instruction) + kWayOut);
    }
  }
  return pop();
}

bool PickleReader::run_constant(unsigned char instruction) {
  switch (instruction) {
    case 0x80:  // protocol version; the instructions tell more than it does
      take(1);
      return true;
    case 'N':
      push(None{});
      return true;
    case 0x88:
    case 0x89:
      push(instruction == 0x88);
      return true;
    case 'J':
      push(static_cast<int64_t>(static_cast<int32_t>(take_unsigned(4))));
      return true;
    case 'K':
      push(static_cast<int64_t>(take_unsigned(1)));
      return true;
    case 'M':
      push(static_cast<int64_t>(take_unsigned(2)));
      return true;
    case 0x8a: {  // little-endian two's complement of the given length
      const size_t count = take_unsigned(1);
      if (count > 8) fail("a whole number of more than 64 bits");
      const uint64_t value = take_unsigned(count);
      const unsigned unused = static_cast<unsigned>(64 - 8 * count);
      push(count == 0 ? int64_t{0} : static_cast<int64_t>(value << unused) >> unused);
      return true;
    }
    case 'G': {  // the only big-endian number
      uint64_t bits = 0;
      for (const char byte : take(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
      push(std::bit_cast<double>(bits));
      return true;
    }
    case 'X':
    case 'T':
      push(std::string(take(take_unsigned(4))));
      return true;
    case 0x8c:
    case 'U':
      push(std::string(take(take_unsigned(1))));
      return true;
    default:
      return false;
  }
}

bool PickleReader::run_container(unsigned char instruction) {
  switch (instruction) {
    case '(':
      marks_.push_back(stack_.size());
      return true;
    case ')':
    case ']':
      push_sequence({});
      return true;
    case 't':
      push_sequence(pop_to_mark());
      return true;
    case 0x85:
    case 0x86:
    case 0x87: {
      std::vector<Id> items(instruction - 0x84u);
      std::generate(items.rbegin(), items.rend(), [&] { return pop(); });
      push_sequence(std::move(items));
      return true;
    }
    case 'a':
      append({pop()});
      return true;
    case 'e':
      append(pop_to_mark());
      return true;
    case '}':
      push(Mapping{});
      return true;
    case 's': {
      const Id value = pop();
      set_items({pop(), value});
      return true;
    }
    case 'u':
      set_items(pop_to_mark());
      return true;
    default:
      return false;
  }
}

bool PickleReader::run_memory(unsigned char instruction) {
  switch (instruction) {
    case 'q':
      remember(take_unsigned(1));
      return true;
    case 'r':
      remember(take_unsigned(4));
      return true;
    case 'h':
      recall(take_unsigned(1));
      return true;
    case 'j':
      recall(take_unsigned(4));
      return true;
    default:
      return false;
  }
}

bool PickleReader::run_call(unsigned char instruction) {
  switch (instruction) {
    case 'c': {
      const std::string module = take_line();
      push_global(module, take_line());
      return true;
    }
    case 'R': {
      const Id arguments = pop();
      const Id function = pop();
      // Copies: a call adds values, which may move the old ones.
      const size_t count = get<Sequence>(arguments, "the argument list of a call").items.size();
      if (count > kMostArguments) fail_call(count);
      const Sequence list = get<Sequence>(arguments, "the argument list of a call");
      call(get<Function>(function, "what is called"), list);
      return true;
    }
    case 'Q':
      push_storage(pop());
      return true;
    case 'b': {  // attributes: a state dict carries its module versions, which nobody needs
      pop();
      const Id object = pop();
      get<Mapping>(object, "an object with attributes");
      stack_.push_back(object);
      return true;
    }
    default:
      return false;
  }
}

void PickleReader::append(const std::vector<Id>& items) {
  const Id list = pop();
  get<Sequence>(list, "the target of an append");
  auto& target = std::get<Sequence>(values_[list]).items;
  target.insert(target.end(), items.begin(), items.end());
  stack_.push_back(list);
}

void PickleReader::set_items(const std::vector<Id>& keys_and_values) {
  const Id mapping = pop();
  get<Mapping>(mapping, "the target of an assignment");
  if (keys_and_values.size() % 2 != 0) fail("a key without a value; the file is damaged");
  auto& target = std::get<Mapping>(values_[mapping]).items;
  for (size_t i = 0; i < keys_and_values.size(); i += 2) {
    target.emplace_back(keys_and_values[i], keys_and_values[i + 1]);
  }
  stack_.push_back(mapping);
}

void PickleReader::remember(uint64_t slot) {
  const Id id = pop();
  stack_.push_back(id);
  memo_[slot] = id;
}

void PickleReader::recall(uint64_t slot) {
  const auto found = memo_.find(slot);
  if (found == memo_.end()) fail("a value is used before it is there; the file is damaged");
  stack_.push_back(found->second);
}

void PickleReader::push_global(const std::string& module, const std::string& name) {
  if (module == "collections" && name == "OrderedDict") return push(Function::kOrderedDict);
  if (module == "torch._utils" && name == "_rebuild_tensor_v2") {
    return push(Function::kRebuildTensor);
  }
  if (module == "torch._utils" && name == "_rebuild_parameter") {
    return push(Function::kRebuildParameter);
  }
  for (const StorageName& storage : kStorages) {
    if (module == "torch" && name == storage.name) return push(storage.type);
  }
  fail(fmt::format("it needs {}.{}", shown(module), shown(name)) + kWayOut);
}

void PickleReader::fail_call(size_t arguments) const {
  fail(fmt::format("a call with {} arguments, which no tensor needs", arguments) + kWayOut);
}

void PickleReader::call(Function function, const Sequence& arguments) {
  const std::vector<Id>& items = arguments.items;
  if (function == Function::kOrderedDict && items.empty()) return push(Mapping{});
  if (function == Function::kRebuildParameter && items.size() == 3) {
    get<TensorReference>(items[0], "the data of a parameter");
    stack_.push_back(items[0]);
    return;
  }
  // Storage, offset, shape, strides; gradients, hooks and metadata mean nothing here.
  if (function == Function::kRebuildTensor && (items.size() == 6 || items.size() == 7)) {
    TensorReference tensor{get<StorageReference>(items[0], "the storage of a tensor"),
                           get<int64_t>(items[1], "the offset of a tensor"), integers(items[2]),
                           integers(items[3])};
    if (tensor.shape.size() != tensor.strides.size()) fail("a tensor's shape and strides differ");
    return push(std::move(tensor));
  }
  fail_call(items.size());
}

void PickleReader::push_storage(Id description) {
  const auto& items = get<Sequence>(description, "the description of a storage").items;
  const bool known = items.size() == 5 || items.size() == 6;
  if (!known || get<std::string>(items[0], "the kind of a storage") != "storage") {
    fail(std::string("a storage of unknown kind") + kWayOut);
  }
  if (items.size() == 6) get<None>(items[5], "the view of a storage");
  const int64_t elements = get<int64_t>(items[4], "the size of a storage");
  if (elements < 0) fail("a storage of negative size");
  push(StorageReference{get<c10::ScalarType>(items[1], "the type of a storage"),
                        name(items[2], "the key of a storage"), elements});
}

const std::string& PickleReader::name(Id id, const char* what) const {
  const std::string& text = get<std::string>(id, what);
  if (text.size() > kLongestName) {
    fail(fmt::format("{} of {} bytes, expected at most {}", what, text.size(), kLongestName));
  }
  return text;
}

std::vector<int64_t> PickleReader::integers(Id list) const {
  // Asked before anything is copied: a list may have millions of entries, and be used as often.
  constexpr size_t kMostDimensions = 64;  // of LibTorch
  const std::vector<Id>& items = get<Sequence>(list, "a shape").items;
  if (items.size() > kMostDimensions) {
    fail(fmt::format("a shape or strides of {} entries, expected at most {}", items.size(),
                     kMostDimensions));
  }
  std::vector<int64_t> result;
  for (const Id id : items) {
    result.push_back(get<int64_t>(id, "a dimension"));
  }
  return result;
}

std::vector<std::pair<std::string, TensorReference>> PickleReader::read_state_dict() {
  std::vector<std::pair<std::string, TensorReference>> result;
  std::unordered_set<Id> seen;
  const Id top = read_value();
  for (const auto& [key, value] : get<Mapping>(top,
                                               "expected a dictionary of tensors, but it"
                                               " holds something else: it")
                                      .items) {
    const std::string& text = name(key, "the name of a tensor");
    if (find_invalid_utf8(text) != std::string::npos) fail("a tensor name is not UTF-8");
    if (!seen.insert(key).second) fail(fmt::format("two tensors are named \"{}\"", shown(text)));
    if (const auto* tensor = std::get_if<TensorReference>(&values_[value])) {
      result.emplace_back(text, *tensor);
      continue;
    }
    fail(
        fmt::format("entry \"{}\" is {}, expected a tensor; save only the state dict of the model:"
                    " torch.save(model.state_dict(), ...)",
                    shown(text), describe(values_[value])));
  }
  return result;
}

std::vector<std::string> PickleReader::read_texts() {
  std::vector<std::string> result;
  std::unordered_set<Id> seen;
  const Id top = read_value();
  for (const Id id : get<Sequence>(top, "a list of texts").items) {
    result.push_back(name(id, "a text in a list"));
    if (!seen.insert(id).second) fail(fmt::format("\"{}\" is listed twice", shown(result.back())));
  }
  return result;
}

int64_t PickleReader::read_integer() { return get<int64_t>(read_value(), "a whole number"); }

std::unordered_map<std::string, int64_t> PickleReader::read_integers() {
  std::unordered_map<std::string, int64_t> result;
  const Id top = read_value();
  for (const auto& [key, value] : get<Mapping>(top, "a dictionary").items) {
    const auto* name = std::get_if<std::string>(&values_[key]);
    if (name == nullptr) continue;
    if (const auto* number = std::get_if<int64_t>(&values_[value])) result[*name] = *number;
    if (const auto* flag = std::get_if<bool>(&values_[value])) result[*name] = *flag ? 1 : 0;
  }
  return result;
}

}  // namespace quell
