#include "framework/io/torch_file.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/io/zip_archive.h"

namespace quell {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kZipStart = "PK\x03\x04";
// A pickled magic number, with its protocol before and its end mark after it.
constexpr std::string_view kOldStart = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20j\xa8P\x19."sv;
// Descriptions only: a hundred thousand tensors need less.
constexpr size_t kLargestPickle = 64 << 20;

int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t dimension : shape) count *= dimension;
  return count;
}

}  // namespace

TorchFile::TorchFile(const std::filesystem::path& path) : file_(path) {
  const std::string start = file_.read(0, std::min(file_.size(), kOldStart.size()));
  if (start.starts_with(kZipStart)) {
    open_zip();
  } else if (start == kOldStart) {
    open_row_of_pickles();
  } else {
    fail(
        "not a file of torch.save: neither a zip file nor its old layout; save the state dict "
        "with safetensors.torch.save_file");
  }
}

TorchFile::~TorchFile() = default;

void TorchFile::fail(const std::string& message) const {
  throw DataError(fmt::format("{}: {}", path().string(), message));
}

void TorchFile::open_zip() {
  archive_ = std::make_unique<ZipArchive>(path());
  constexpr std::string_view kPickle = "/data.pkl";
  for (const std::string& name : archive_->names()) {
    if (!name.ends_with(kPickle)) continue;
    if (!archive_folder_.empty()) fail("it holds more than one data.pkl");
    archive_folder_ = name.substr(0, name.size() - kPickle.size() + 1);
  }
  if (archive_folder_.empty()) fail("a zip file without data.pkl: torch.save did not write it");
  const std::string order = archive_folder_ + "byteorder";
  if (archive_->contains(order)) {
    std::string value(std::min<size_t>(archive_->size(order), 16), '\0');
    archive_->read(order, value.size(), value.data());
    if (value != "little") fail("its numbers are not little-endian; save it on another machine");
  }
  const std::string pickle = archive_folder_ + "data.pkl";
  const size_t size = archive_->size(pickle);
  if (size > kLargestPickle) fail("data.pkl is too large for a state dict");
  std::string bytes(size, '\0');
  archive_->read(pickle, size, bytes.data());
  add(PickleReader(bytes, path().string() + ": data.pkl").read_state_dict());
}

// Magic number, version, facts about the machine, the state dict, the storage keys; then each
// storage as its number of elements and its values.
void TorchFile::open_row_of_pickles() {
  constexpr int64_t kVersion = 1001;
  const std::string bytes = file_.read(0, std::min(file_.size(), kLargestPickle));
  PickleReader pickles(bytes, path().string(), kOldStart.size());
  if (pickles.read_integer() != kVersion) fail("an unknown version of torch.save's old layout");
  const auto machine = pickles.read_integers();
  if (const auto little = machine.find("little_endian");
      little != machine.end() && little->second == 0) {
    fail("its numbers are not little-endian; save it on another machine");
  }
  auto tensors = pickles.read_state_dict();
  std::map<std::string, const StorageReference*> storages;
  for (const auto& [name, tensor] : tensors) storages[tensor.storage.key] = &tensor.storage;

  const std::vector<std::string> keys = pickles.read_texts();
  size_t position = pickles.position();
  for (const std::string& key : keys) {
    uint64_t elements = 0;
    if (file_.size() - position < sizeof(elements)) fail("truncated before its last storage");
    file_.read(position, sizeof(elements), &elements);
    position += sizeof(elements);
    const auto storage = storages.find(key);
    if (storage == storages.end()) fail("a storage that no tensor uses; the file is damaged");
    const size_t element_bytes = c10::elementSize(storage->second->type);
    if (elements != static_cast<uint64_t>(storage->second->elements) ||
        elements > (file_.size() - position) / element_bytes) {
      fail("truncated or damaged: a storage has another size than its tensors say");
    }
    places_[key] = {position, elements * element_bytes};
    position += elements * element_bytes;
  }
  add(std::move(tensors));
}

void TorchFile::add(std::vector<std::pair<std::string, TensorReference>> tensors) {
  for (auto& [name, tensor] : tensors) {
    check(name, tensor);
    if (!tensors_.emplace(name, std::move(tensor)).second) {
      fail(fmt::format("tensor \"{}\" appears twice", name));
    }
    names_.push_back(name);
  }
}

void TorchFile::check(const std::string& name, const TensorReference& tensor) const {
  const auto wrong = [&](const std::string& message) {
    fail(fmt::format("tensor \"{}\": {}", name, message));
  };
  const StorageReference& storage = tensor.storage;
  if (internal::checked_bytes({storage.elements}, storage.type) < 0 ||
      internal::checked_bytes(tensor.shape, storage.type) < 0) {
    wrong("its shape has negative dimensions or too many elements");
  }
  size_t bytes = 0;
  if (archive_) {
    bytes = archive_->size(archive_folder_ + "data/" + storage.key);
  } else if (const auto place = places_.find(storage.key); place != places_.end()) {
    bytes = place->second.bytes;
  }
  if (bytes != static_cast<size_t>(storage.elements) * c10::elementSize(storage.type)) {
    wrong(fmt::format("its storage has {} bytes, expected {} elements; the file is damaged", bytes,
                      storage.elements));
  }
  const int64_t elements = element_count(tensor.shape);
  if (elements == 0) return;
  // An expanded tensor would need more memory than the file has bytes.
  if (elements > storage.elements) {
    wrong("it repeats the elements of its storage; save tensor.contiguous()");
  }
  int64_t last = tensor.offset;
  bool overflow = tensor.offset < 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    int64_t distance = 0;
    overflow |= tensor.strides[i] < 0;
    overflow |= __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &distance);
    overflow |= __builtin_add_overflow(last, distance, &last);
  }
  if (overflow || last >= storage.elements) {
    wrong(
        fmt::format("its offset and strides leave its storage of {} elements; the file is "
                    "damaged",
                    storage.elements));
  }
}

const TensorReference& TorchFile::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) internal::no_such_tensor(path(), name, names_);
  return found->second;
}

const std::vector<int64_t>& TorchFile::shape(const std::string& name) const {
  return find(name).shape;
}

at::ScalarType TorchFile::type(const std::string& name) const { return find(name).storage.type; }

at::Tensor TorchFile::read(const std::string& name) const {
  const TensorReference& tensor = find(name);
  const StorageReference& storage = tensor.storage;
  if (element_count(tensor.shape) == 0) return at::empty(tensor.shape, storage.type);
  at::Tensor flat = internal::allocate(path(), name, {storage.elements}, storage.type);
  if (archive_) {
    archive_->read(archive_folder_ + "data/" + storage.key, flat.nbytes(), flat.mutable_data_ptr());
  } else {
    file_.read(places_.at(storage.key).position, flat.nbytes(), flat.mutable_data_ptr());
  }
  if (storage.type == at::kBool) internal::normalize_bool(flat);
  const at::Tensor view = at::as_strided(flat, tensor.shape, tensor.strides, tensor.offset);
  // A part of a large storage must not keep all of it in memory.
  return view.numel() == flat.numel() ? view.contiguous()
                                      : view.clone(at::MemoryFormat::Contiguous);
}

}  // namespace quell
