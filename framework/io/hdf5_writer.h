// Writes one HDF5 file: groups, datasets and attributes, the same content always as equal bytes.
#pragma once

#include <ATen/core/Tensor.h>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "framework/io/hdf5_handle.h"

namespace quell {

struct Hdf5DatasetOptions {
  int gzip_level = 0;  // 1 to 9: stored in compressed chunks of about a megabyte; 0: as it is
};

// An axis of a dataset. `scale` is a dataset that says what the entries along it stand for; empty:
// their numbers.
struct Hdf5Axis {
  std::string name;
  std::string scale = {};
};

// The file is built in memory and reaches the disk in one step at commit(): a run that is killed
// or a full disk leaves no half file. Objects are named by paths such as "sites/encoder.0/scale";
// groups on the way are created, and h5py lists them in the order of their creation. Nothing in
// the file depends on time or machine. All methods throw Error naming file and object. One thread
// at a time in the whole process: Debian's HDF5 is built without locks.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& path);

  void create_group(const std::string& group);
  // float32, float64, int64, int32, int8, uint8 or bool (h5py: bool), any shape and device; a
  // tensor without dimensions becomes a scalar. An object of that name must not exist yet.
  void write(const std::string& object, const at::Tensor& tensor,
             const Hdf5DatasetOptions& options = {});
  // Variable-length UTF-8 texts (h5py: `dataset.asstr()[()]`); zero bytes are refused.
  void write(const std::string& object, const std::string& text);
  void write(const std::string& object, const std::vector<std::string>& texts);
  // Sets or replaces an attribute of a group or dataset ("/" is the file itself). HDF5 allows
  // 64 KiB in one attribute.
  void set_attribute(const std::string& object, const std::string& name,
                     const Hdf5Attribute& value);

  // Names the axes of a dataset, all of them in order: as attribute `axes`, as labels of the
  // dimensions (h5py: dataset.dims[0].label), and with dimension scales where there are some
  // (dataset.dims[0][0]); a scale has at most 3500 users, and later ones the label alone.
  void set_axes(const std::string& object, const std::vector<Hdf5Axis>& axes);

  // Writes the file atomically. Afterwards nothing more can be written.
  void commit();

 private:
  [[noreturn]] void fail(const std::string& object, const std::string& message) const;
  void check_text(const std::string& object, const std::string& text) const;
  std::vector<const char*> pointers(const std::string& object,
                                    const std::vector<std::string>& texts) const;
  void write_data(const std::string& object, hid_t file_type, hid_t memory_type,
                  const std::vector<hsize_t>& shape, bool scalar, const void* data,
                  const Hdf5DatasetOptions& options);
  void write_attribute(const std::string& object, const std::string& name, hid_t file_type,
                       hid_t memory_type, hid_t space, const void* data);

  std::filesystem::path path_;
  internal::Hdf5Handle file_;
  std::map<std::string, int> scale_users_;
};

}  // namespace quell
