// Reads HDF5 files: results of quell, and others of plain numbers and texts.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "framework/base/file_lock.h"
#include "framework/io/hdf5_handle.h"

namespace quell {

// All methods throw DataError naming file and object, what was found and what was expected. One
// thread at a time in the whole process: Debian's HDF5 is built without locks.
//
// Nothing outside of the file is read: soft and external links, external storage and virtual
// datasets are refused, and no filter plug-in is loaded. Others may read the file at the same time;
// who writes to it has it locked, which is an error here.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  // Whether there is a group or dataset at that path; every part of the path may be missing.
  bool exists(const std::string& object) const;
  bool is_group(const std::string& object) const;
  // Names in a group, in the order of creation where the file tracks it, else by name.
  std::vector<std::string> children(const std::string& group) const;
  // Paths of what lies in a group and the groups below it and is no group itself, in the order of
  // children(). A group with several names (cycles of groups have them) is looked into once.
  std::vector<std::string> leaves(const std::string& group) const;

  // float16/32/64 as float32 (float64 stays), integers of up to 32 bits in their size, larger and
  // unsigned ones as int64, h5py's bool as bool. Shape as stored.
  at::Tensor read_tensor(const std::string& object) const;
  // A scalar text, and a list of texts; fixed and variable length. UTF-8.
  std::string read_text(const std::string& object) const;
  std::vector<std::string> read_texts(const std::string& object) const;

  std::vector<std::string> attribute_names(const std::string& object) const;
  bool has_attribute(const std::string& object, const std::string& name) const;
  Hdf5Attribute read_attribute(const std::string& object, const std::string& name) const;

 private:
  [[noreturn]] void fail(const std::string& object, const std::string& message) const;
  // Of the last part of a path whose groups exist.
  bool is_hard_link(const std::string& path) const;
  internal::Hdf5Handle open(const std::string& object) const;
  internal::Hdf5Handle open_dataset(const std::string& object) const;
  void add_leaves(const std::string& group, int depth, std::set<haddr_t>& visited,
                  std::vector<std::string>& found) const;
  // Number of elements; throws where the file cannot hold so many.
  size_t checked_count(const std::string& object, hid_t space, size_t element_bytes) const;
  void check_utf8(const std::string& object, const std::vector<std::string>& texts) const;

  std::filesystem::path path_;
  size_t file_size_ = 0;  // bytes
  std::optional<FileLock> lock_;
  internal::Hdf5Handle file_;
};

}  // namespace quell
