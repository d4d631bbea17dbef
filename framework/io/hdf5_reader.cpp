#include "framework/io/hdf5_reader.h"

#include <fmt/format.h>
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string_view>

#include "framework/base/error.h"
#include "framework/base/input_file.h"
#include "framework/base/utf8.h"
#include "framework/io/tensor_file.h"

namespace quell {

using internal::Hdf5Handle;

namespace {

// How a stored numeric type is read.
struct NumberType {
  at::ScalarType type;
  Hdf5Handle memory;
};

NumberType of(at::ScalarType type) { return {type, internal::hdf5_type(type)}; }

bool is_bool(hid_t type) {
  const Hdf5Handle known = internal::hdf5_bool_type();
  return H5Tequal(type, known.get()) > 0;
}

// Invalid memory type for what is not a number.
NumberType number_type(hid_t stored) {
  const size_t size = H5Tget_size(stored);
  switch (H5Tget_class(stored)) {
    case H5T_FLOAT:
      return of(size <= sizeof(float) ? at::kFloat : at::kDouble);
    case H5T_INTEGER:
      if (H5Tget_sign(stored) == H5T_SGN_NONE) return of(size == 1 ? at::kByte : at::kLong);
      return of(size == 1 ? at::kChar : size <= 4 ? at::kInt : at::kLong);
    case H5T_ENUM:
      if (is_bool(stored)) return of(at::kBool);
      return {};
    default:
      return {};
  }
}

// Reads `count` texts of a stored type; `read(memory_type, buffer)` is the HDF5 call. False where
// that fails.
bool read_text_list(hid_t stored, hid_t space, size_t count,
                    const std::function<herr_t(hid_t, void*)>& read,
                    std::vector<std::string>& result) {
  const Hdf5Handle memory(H5Tcopy(stored), &H5Tclose);
  if (H5Tis_variable_str(stored) > 0) {
    std::vector<char*> pointers(count, nullptr);
    if (count > 0 && read(memory.get(), pointers.data()) < 0) return false;
    for (const char* pointer : pointers) result.emplace_back(pointer != nullptr ? pointer : "");
    if (count > 0) H5Dvlen_reclaim(memory.get(), space, H5P_DEFAULT, pointers.data());
    return true;
  }
  const size_t size = H5Tget_size(stored);
  std::string buffer(count * size, '\0');
  if (count > 0 && read(memory.get(), buffer.data()) < 0) return false;
  for (size_t i = 0; i < count; ++i) {
    std::string text = buffer.substr(i * size, size);
    text.resize(std::min(text.size(), text.find('\0')));
    if (H5Tget_strpad(stored) == H5T_STR_SPACEPAD) text.resize(text.find_last_not_of(' ') + 1);
    result.push_back(std::move(text));
  }
  return true;
}

// What the library's own variable says.
bool uses_locks() {
  const char* setting = std::getenv("HDF5_USE_FILE_LOCKING");
  const std::string_view text = setting == nullptr ? "" : setting;
  return text != "FALSE" && text != "0";
}

}  // namespace

Hdf5Reader::Hdf5Reader(const std::filesystem::path& path) : path_(path) {
  const internal::Hdf5Quiet quiet;
  H5PLset_loading_state(0);  // filters come from nowhere but the library
  file_size_ = InputFile(path).size();
  if (uses_locks()) lock_ = FileLock::shared(path);
  if (lock_ && lock_->state() == FileLock::State::kBusy) {
    throw DataError(fmt::format(
        "{}: in use: another program holds a lock on it, as one does that writes to it; wait until "
        "that has ended, or read it nevertheless with HDF5_USE_FILE_LOCKING=FALSE in the "
        "environment",
        path.string()));
  }
  // HDF5's own lock would be an error on file systems without locks.
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), &H5Pclose);
  H5Pset_file_locking(access.get(), /*use_file_locking=*/false, /*ignore_when_disabled=*/true);
  file_ = {H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), &H5Fclose};
  if (!file_.valid()) {
    throw DataError(fmt::format("{}: not an HDF5 file, or truncated: {}", path.string(),
                                internal::hdf5_reason()));
  }
}

void Hdf5Reader::fail(const std::string& object, const std::string& message) const {
  throw DataError(fmt::format("{}: object \"{}\": {}", path_.string(), shown(object), message));
}

bool Hdf5Reader::is_hard_link(const std::string& path) const {
  H5L_info_t link{};
  return H5Lget_info(file_.get(), path.c_str(), &link, H5P_DEFAULT) >= 0 &&
         link.type == H5L_TYPE_HARD;
}

bool Hdf5Reader::exists(const std::string& object) const {
  const internal::Hdf5Quiet quiet;
  // HDF5 wants every group on the way asked for by itself.
  for (size_t end = object.find('/', 1);; end = object.find('/', end + 1)) {
    const std::string part = object.substr(0, end);
    if (!part.empty() && part != "/") {
      if (H5Lexists(file_.get(), part.c_str(), H5P_DEFAULT) <= 0) return false;
      if (!is_hard_link(part)) fail(part, "is a soft or external link, which is not followed");
      if (H5Oexists_by_name(file_.get(), part.c_str(), H5P_DEFAULT) <= 0) return false;
    }
    if (end == std::string::npos) return !object.empty();
  }
}

Hdf5Handle Hdf5Reader::open(const std::string& object) const {
  if (!exists(object)) fail(object, "there is none of that name");
  Hdf5Handle result(H5Oopen(file_.get(), object.c_str(), H5P_DEFAULT), &H5Oclose);
  if (!result.valid()) fail(object, fmt::format("cannot open: {}", internal::hdf5_reason()));
  return result;
}

Hdf5Handle Hdf5Reader::open_dataset(const std::string& object) const {
  Hdf5Handle result = open(object);
  const H5I_type_t type = H5Iget_type(result.get());
  if (type == H5I_GROUP) fail(object, "is a group, expected a dataset");
  if (type != H5I_DATASET) fail(object, "is a type, expected a dataset");
  const Hdf5Handle creation(H5Dget_create_plist(result.get()), &H5Pclose);
  // Both read other files, whichever the file names.
  if (H5Pget_layout(creation.get()) == H5D_VIRTUAL || H5Pget_external_count(creation.get()) != 0) {
    fail(object,
         "has its values in other files, which are not read; copy them into this one with "
         "h5repack");
  }
  return result;
}

bool Hdf5Reader::is_group(const std::string& object) const {
  const internal::Hdf5Quiet quiet;
  return H5Iget_type(open(object).get()) == H5I_GROUP;
}

std::vector<std::string> Hdf5Reader::children(const std::string& group) const {
  const internal::Hdf5Quiet quiet;
  const Hdf5Handle handle = open(group);
  if (H5Iget_type(handle.get()) != H5I_GROUP) fail(group, "is a dataset, expected a group");
  const Hdf5Handle creation(H5Gget_create_plist(handle.get()), &H5Pclose);
  unsigned order = 0;
  H5Pget_link_creation_order(creation.get(), &order);
  const H5_index_t index =
      (order & H5P_CRT_ORDER_TRACKED) != 0 ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME;
  H5G_info_t info{};
  if (H5Gget_info(handle.get(), &info) < 0) fail(group, internal::hdf5_reason());
  std::vector<std::string> result;
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    const auto name = [&](char* buffer, size_t size) {
      return H5Lget_name_by_idx(handle.get(), ".", index, H5_ITER_INC, i, buffer, size,
                                H5P_DEFAULT);
    };
    const ssize_t size = name(nullptr, 0);
    if (size < 0) fail(group, internal::hdf5_reason());
    std::string text(static_cast<size_t>(size) + 1, '\0');
    name(text.data(), text.size());
    text.pop_back();
    result.push_back(std::move(text));
  }
  return result;
}

std::vector<std::string> Hdf5Reader::leaves(const std::string& group) const {
  std::set<haddr_t> visited;
  std::vector<std::string> found;
  add_leaves(group, 0, visited, found);
  return found;
}

void Hdf5Reader::add_leaves(const std::string& group, int depth, std::set<haddr_t>& visited,
                            std::vector<std::string>& found) const {
  constexpr int kDeepest = 100;
  if (depth > kDeepest) fail(group, fmt::format("nested deeper than {} groups", kDeepest));
  H5O_info_t info{};
  if (H5Oget_info2(open(group).get(), &info, H5O_INFO_BASIC) < 0)
    fail(group, internal::hdf5_reason());
  if (!visited.insert(info.addr).second) return;
  for (const std::string& child : children(group)) {
    const std::string path = group == "/" ? child : group + "/" + child;
    if (is_hard_link(path) && is_group(path)) {
      add_leaves(path, depth + 1, visited, found);
    } else {
      found.push_back(path);
    }
  }
}

size_t Hdf5Reader::checked_count(const std::string& object, hid_t space,
                                 size_t element_bytes) const {
  // gzip reaches a factor of 1032: whatever is larger cannot be in this file.
  constexpr size_t kMostCompression = 1100;
  constexpr size_t kAlwaysFine = 1 << 20;
  const hssize_t count = H5Sget_simple_extent_npoints(space);
  const size_t limit = std::max(kAlwaysFine, kMostCompression * file_size_) / element_bytes;
  if (count < 0 || static_cast<size_t>(count) > limit) {
    fail(object, "it has more elements than the file can hold; the file is damaged");
  }
  return static_cast<size_t>(count);
}

at::Tensor Hdf5Reader::read_tensor(const std::string& object) const {
  const internal::Hdf5Quiet quiet;
  const Hdf5Handle dataset = open_dataset(object);
  const Hdf5Handle stored(H5Dget_type(dataset.get()), &H5Tclose);
  const Hdf5Handle space(H5Dget_space(dataset.get()), &H5Sclose);
  const NumberType number = number_type(stored.get());
  if (!number.memory.valid()) fail(object, "holds no numbers, expected a tensor");
  const size_t count = checked_count(object, space.get(), c10::elementSize(number.type));
  const int dimensions = std::max(0, H5Sget_simple_extent_ndims(space.get()));
  std::vector<hsize_t> extent(static_cast<size_t>(dimensions));
  if (dimensions > 0) H5Sget_simple_extent_dims(space.get(), extent.data(), nullptr);
  at::Tensor tensor = internal::allocate(
      path_, object, std::vector<int64_t>(extent.begin(), extent.end()), number.type);
  if (count > 0 && H5Dread(dataset.get(), number.memory.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                           tensor.mutable_data_ptr()) < 0) {
    fail(object, fmt::format("cannot read: {}", internal::hdf5_reason()));
  }
  if (number.type == at::kBool) internal::normalize_bool(tensor);
  return tensor;
}

std::vector<std::string> Hdf5Reader::read_texts(const std::string& object) const {
  const internal::Hdf5Quiet quiet;
  const Hdf5Handle dataset = open_dataset(object);
  const Hdf5Handle stored(H5Dget_type(dataset.get()), &H5Tclose);
  const Hdf5Handle space(H5Dget_space(dataset.get()), &H5Sclose);
  if (H5Tget_class(stored.get()) != H5T_STRING) fail(object, "holds no text");
  const size_t count = checked_count(object, space.get(), H5Tget_size(stored.get()));
  std::vector<std::string> result;
  const auto read = [&](hid_t memory, void* buffer) {
    return H5Dread(dataset.get(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer);
  };
  if (!read_text_list(stored.get(), space.get(), count, read, result)) {
    fail(object, fmt::format("cannot read: {}", internal::hdf5_reason()));
  }
  check_utf8(object, result);
  return result;
}

std::string Hdf5Reader::read_text(const std::string& object) const {
  const std::vector<std::string> texts = read_texts(object);
  if (texts.size() != 1) fail(object, fmt::format("holds {} texts, expected one", texts.size()));
  return texts[0];
}

void Hdf5Reader::check_utf8(const std::string& object,
                            const std::vector<std::string>& texts) const {
  for (const std::string& text : texts) {
    if (find_invalid_utf8(text) != std::string::npos) fail(object, "a text is not valid UTF-8");
  }
}

std::vector<std::string> Hdf5Reader::attribute_names(const std::string& object) const {
  const internal::Hdf5Quiet quiet;
  const Hdf5Handle owner = open(object);
  std::vector<std::string> result;
  const auto keep = [](hid_t, const char* name, const H5A_info_t*, void* target) -> herr_t {
    static_cast<std::vector<std::string>*>(target)->emplace_back(name);
    return 0;
  };
  if (H5Aiterate2(owner.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, keep, &result) < 0) {
    fail(object, internal::hdf5_reason());
  }
  return result;
}

bool Hdf5Reader::has_attribute(const std::string& object, const std::string& name) const {
  const internal::Hdf5Quiet quiet;
  return H5Aexists(open(object).get(), name.c_str()) > 0;
}

Hdf5Attribute Hdf5Reader::read_attribute(const std::string& object, const std::string& name) const {
  const internal::Hdf5Quiet quiet;
  const std::string place = object + "@" + name;
  const Hdf5Handle owner = open(object);
  const Hdf5Handle attribute(H5Aopen(owner.get(), name.c_str(), H5P_DEFAULT), &H5Aclose);
  if (!attribute.valid()) fail(place, "there is no such attribute");
  const Hdf5Handle stored(H5Aget_type(attribute.get()), &H5Tclose);
  const Hdf5Handle space(H5Aget_space(attribute.get()), &H5Sclose);
  const bool scalar = H5Sget_simple_extent_type(space.get()) == H5S_SCALAR;
  const size_t count = checked_count(place, space.get(), H5Tget_size(stored.get()));
  const auto read = [&](hid_t memory, void* buffer) {
    return H5Aread(attribute.get(), memory, buffer);
  };
  const auto numbers = [&](auto& values, hid_t memory) -> Hdf5Attribute {
    values.resize(count);
    if (count > 0 && read(memory, values.data()) < 0) fail(place, internal::hdf5_reason());
    if (scalar) return values[0];
    return values;
  };
  std::vector<std::string> texts;
  std::vector<int64_t> integers;
  std::vector<double> reals;
  switch (H5Tget_class(stored.get())) {
    case H5T_STRING:
      if (!read_text_list(stored.get(), space.get(), count, read, texts)) {
        fail(place, internal::hdf5_reason());
      }
      check_utf8(place, texts);
      if (scalar) return texts[0];
      return texts;
    case H5T_INTEGER:
      return numbers(integers, H5T_NATIVE_INT64);
    case H5T_FLOAT:
      return numbers(reals, H5T_NATIVE_DOUBLE);
    default:
      fail(place, "holds neither text nor numbers");
  }
}

}  // namespace quell
