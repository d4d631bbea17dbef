#include "framework/io/hdf5_writer.h"

#include <fmt/format.h>
#include <hdf5_hl.h>
#include <algorithm>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/utf8.h"

namespace quell {

using internal::Hdf5Handle;

namespace {

constexpr size_t kMemoryStep = 1 << 20;  // bytes by which the file in memory grows
// A scale lists its users in one attribute, 16 bytes each, of which 64 KiB may hold.
constexpr int kMostScaleUsers = 3500;
constexpr hsize_t kChunkBytes = 1 << 20;  // compressed and read as one piece

Hdf5Handle space_of(const std::vector<hsize_t>& shape, bool scalar) {
  if (scalar) return {H5Screate(H5S_SCALAR), &H5Sclose};
  return {H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), &H5Sclose};
}

Hdf5Handle link_options() {
  Hdf5Handle options(H5Pcreate(H5P_LINK_CREATE), &H5Pclose);
  H5Pset_char_encoding(options.get(), H5T_CSET_UTF8);
  return options;
}

// Lists a group in the order of creation, and keeps the time of creation out of the file.
void keep_order(hid_t group_options) {
  H5Pset_link_creation_order(group_options, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  H5Pset_obj_track_times(group_options, false);
}

Hdf5Handle dataset_options(const std::vector<hsize_t>& shape, size_t element_bytes,
                           int gzip_level) {
  Hdf5Handle options(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose);
  H5Pset_obj_track_times(options.get(), false);
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  if (gzip_level == 0 || shape.empty() || empty) return options;
  // Whole rows as far as they fit: halve the leading dimension first.
  std::vector<hsize_t> chunk = shape;
  const auto bytes = [&] {
    hsize_t product = element_bytes;
    for (const hsize_t dimension : chunk) product *= dimension;
    return product;
  };
  for (hsize_t& dimension : chunk) {
    while (dimension > 1 && bytes() > kChunkBytes) dimension = (dimension + 1) / 2;
  }
  H5Pset_chunk(options.get(), static_cast<int>(chunk.size()), chunk.data());
  H5Pset_shuffle(options.get());  // bytes of equal weight together: floats compress better
  H5Pset_deflate(options.get(), static_cast<unsigned>(gzip_level));
  return options;
}

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    if (end > begin) parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path) : path_(path) {
  const internal::Hdf5Quiet quiet;
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), &H5Pclose);
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), &H5Pclose);
  H5Pset_fapl_core(access.get(), kMemoryStep, /*backing_store=*/false);
  keep_order(creation.get());
  // A name of its own: HDF5 would look at a file of the same name, or at another writer's.
  const std::string name = fmt::format("{}#{}", path.string(), fmt::ptr(this));
  file_ = {H5Fcreate(name.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), &H5Fclose};
  if (!file_.valid()) fail("/", internal::hdf5_reason());
}

void Hdf5Writer::fail(const std::string& object, const std::string& message) const {
  throw Error(fmt::format("{}: object \"{}\": cannot write: {}", path_.string(), object, message));
}

void Hdf5Writer::check_text(const std::string& object, const std::string& text) const {
  if (text.find('\0') != std::string::npos || find_invalid_utf8(text) != std::string::npos) {
    fail(object, "a text is not UTF-8 or holds a zero byte");
  }
}

std::vector<const char*> Hdf5Writer::pointers(const std::string& object,
                                              const std::vector<std::string>& texts) const {
  std::vector<const char*> result;
  for (const std::string& text : texts) {
    check_text(object, text);
    result.push_back(text.c_str());
  }
  return result;
}

void Hdf5Writer::create_group(const std::string& group) {
  const internal::Hdf5Quiet quiet;
  QUELL_ASSERT(file_.valid(), "an HDF5 file is written after commit()");
  check_text(group, group);
  const Hdf5Handle creation(H5Pcreate(H5P_GROUP_CREATE), &H5Pclose);
  keep_order(creation.get());
  const Hdf5Handle links = link_options();
  std::string path;
  for (const std::string& part : split_path(group)) {
    path += "/" + part;
    if (H5Lexists(file_.get(), path.c_str(), H5P_DEFAULT) > 0) continue;
    const Hdf5Handle created(
        H5Gcreate2(file_.get(), path.c_str(), links.get(), creation.get(), H5P_DEFAULT), &H5Gclose);
    if (!created.valid()) fail(group, internal::hdf5_reason());
  }
}

void Hdf5Writer::write_data(const std::string& object, hid_t file_type, hid_t memory_type,
                            const std::vector<hsize_t>& shape, bool scalar, const void* data,
                            const Hdf5DatasetOptions& options) {
  const internal::Hdf5Quiet quiet;
  const size_t last_slash = object.rfind('/');
  create_group(last_slash == std::string::npos ? "/" : object.substr(0, last_slash));
  check_text(object, object);
  const Hdf5Handle space = space_of(shape, scalar);
  const Hdf5Handle links = link_options();
  const Hdf5Handle creation = dataset_options(shape, H5Tget_size(file_type), options.gzip_level);
  const Hdf5Handle dataset(H5Dcreate2(file_.get(), object.c_str(), file_type, space.get(),
                                      links.get(), creation.get(), H5P_DEFAULT),
                           &H5Dclose);
  if (!dataset.valid()) fail(object, internal::hdf5_reason());
  const bool empty = H5Sget_simple_extent_npoints(space.get()) == 0;
  if (!empty && H5Dwrite(dataset.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
    fail(object, internal::hdf5_reason());
  }
}

void Hdf5Writer::write(const std::string& object, const at::Tensor& tensor,
                       const Hdf5DatasetOptions& options) {
  if (!tensor.defined()) fail(object, "the tensor is undefined");
  const Hdf5Handle type = internal::hdf5_type(tensor.scalar_type());
  if (!type.valid()) {
    fail(object, fmt::format("tensors of type {} are not written; convert it first",
                             at::toString(tensor.scalar_type())));
  }
  const at::Tensor plain = tensor.detach().cpu().contiguous();
  const std::vector<hsize_t> shape(plain.sizes().begin(), plain.sizes().end());
  write_data(object, type.get(), type.get(), shape, plain.dim() == 0, plain.const_data_ptr(),
             options);
}

void Hdf5Writer::write(const std::string& object, const std::string& text) {
  const Hdf5Handle type = internal::hdf5_text_type();
  check_text(object, text);
  const char* pointer = text.c_str();
  write_data(object, type.get(), type.get(), {}, true, &pointer, {});
}

void Hdf5Writer::write(const std::string& object, const std::vector<std::string>& texts) {
  const Hdf5Handle type = internal::hdf5_text_type();
  const auto data = pointers(object, texts);
  write_data(object, type.get(), type.get(), {texts.size()}, false, data.data(), {});
}

void Hdf5Writer::write_attribute(const std::string& object, const std::string& name,
                                 hid_t file_type, hid_t memory_type, hid_t space,
                                 const void* data) {
  const std::string shown = object + "@" + name;
  check_text(shown, object);
  check_text(shown, name);
  const Hdf5Handle owner(H5Oopen(file_.get(), object.c_str(), H5P_DEFAULT), &H5Oclose);
  if (!owner.valid()) fail(shown, "there is no such object to carry an attribute");
  if (H5Aexists(owner.get(), name.c_str()) > 0) H5Adelete(owner.get(), name.c_str());
  const Hdf5Handle options(H5Pcreate(H5P_ATTRIBUTE_CREATE), &H5Pclose);
  H5Pset_char_encoding(options.get(), H5T_CSET_UTF8);
  const Hdf5Handle attribute(
      H5Acreate2(owner.get(), name.c_str(), file_type, space, options.get(), H5P_DEFAULT),
      &H5Aclose);
  const bool empty = H5Sget_simple_extent_npoints(space) == 0;
  if (!attribute.valid() || (!empty && H5Awrite(attribute.get(), memory_type, data) < 0)) {
    fail(shown, internal::hdf5_reason());
  }
}

void Hdf5Writer::set_attribute(const std::string& object, const std::string& name,
                               const Hdf5Attribute& value) {
  const internal::Hdf5Quiet quiet;
  QUELL_ASSERT(file_.valid(), "an HDF5 file is written after commit()");
  const auto put = [&](hid_t file_type, hid_t memory_type, bool scalar, size_t count,
                       const void* data) {
    const Hdf5Handle space = space_of({count}, scalar);
    write_attribute(object, name, file_type, memory_type, space.get(), data);
  };
  const Hdf5Handle text_type = internal::hdf5_text_type();
  if (const auto* text = std::get_if<std::string>(&value)) {
    check_text(object + "@" + name, *text);
    const char* pointer = text->c_str();
    put(text_type.get(), text_type.get(), true, 1, &pointer);
  } else if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) {
    const auto data = pointers(object + "@" + name, *texts);
    put(text_type.get(), text_type.get(), false, data.size(), data.data());
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    put(H5T_STD_I64LE, H5T_NATIVE_INT64, true, 1, integer);
  } else if (const auto* number = std::get_if<double>(&value)) {
    put(H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, true, 1, number);
  } else if (const auto* integers = std::get_if<std::vector<int64_t>>(&value)) {
    put(H5T_STD_I64LE, H5T_NATIVE_INT64, false, integers->size(), integers->data());
  } else {
    const auto& numbers = std::get<std::vector<double>>(value);
    put(H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, false, numbers.size(), numbers.data());
  }
}

void Hdf5Writer::set_axes(const std::string& object, const std::vector<Hdf5Axis>& axes) {
  std::vector<std::string> names;
  for (const Hdf5Axis& axis : axes) names.push_back(axis.name);
  set_attribute(object, "axes", names);
  const internal::Hdf5Quiet quiet;
  const auto open = [&](const std::string& path) {
    Hdf5Handle dataset(H5Dopen2(file_.get(), path.c_str(), H5P_DEFAULT), &H5Dclose);
    if (!dataset.valid()) fail(path, internal::hdf5_reason());
    return dataset;
  };
  const Hdf5Handle dataset = open(object);
  for (unsigned i = 0; i < axes.size(); ++i) {
    if (H5DSset_label(dataset.get(), i, axes[i].name.c_str()) < 0) {
      fail(object, internal::hdf5_reason());
    }
    if (axes[i].scale.empty() || scale_users_[axes[i].scale]++ >= kMostScaleUsers) continue;
    const Hdf5Handle scale = open(axes[i].scale);
    const bool is_scale = H5DSis_scale(scale.get()) > 0;
    if ((!is_scale && H5DSset_scale(scale.get(), axes[i].name.c_str()) < 0) ||
        H5DSattach_scale(dataset.get(), scale.get(), i) < 0) {
      fail(object, internal::hdf5_reason());
    }
  }
}

void Hdf5Writer::commit() {
  const internal::Hdf5Quiet quiet;
  QUELL_ASSERT(file_.valid(), "an HDF5 file is committed twice");
  if (H5Fflush(file_.get(), H5F_SCOPE_GLOBAL) < 0) fail("/", internal::hdf5_reason());
  const ssize_t size = H5Fget_file_image(file_.get(), nullptr, 0);
  if (size <= 0) fail("/", internal::hdf5_reason());
  std::string image(static_cast<size_t>(size), '\0');
  if (H5Fget_file_image(file_.get(), image.data(), image.size()) != size) {
    fail("/", internal::hdf5_reason());
  }
  file_.reset();
  write_file(path_, image);
}

}  // namespace quell
