#include "framework/io/hdf5_handle.h"

namespace quell::internal {
namespace {

Hdf5Handle copy_of(hid_t type) { return {H5Tcopy(type), &H5Tclose}; }

}  // namespace

Hdf5Quiet::Hdf5Quiet() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Quiet::~Hdf5Quiet() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

std::string hdf5_reason() {
  std::string reason = "unknown reason";
  const auto keep_first = [](unsigned index, const H5E_error2_t* error, void* target) -> herr_t {
    if (index == 0 && error->desc != nullptr) *static_cast<std::string*>(target) = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &reason);
  return reason;
}

Hdf5Handle hdf5_text_type() {
  Hdf5Handle type = copy_of(H5T_C_S1);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

Hdf5Handle hdf5_bool_type() {
  Hdf5Handle type(H5Tenum_create(H5T_STD_I8LE), &H5Tclose);
  for (const int8_t value : {0, 1}) {
    H5Tenum_insert(type.get(), value != 0 ? "TRUE" : "FALSE", &value);
  }
  return type;
}

Hdf5Handle hdf5_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return copy_of(H5T_IEEE_F32LE);
    case at::kDouble:
      return copy_of(H5T_IEEE_F64LE);
    case at::kLong:
      return copy_of(H5T_STD_I64LE);
    case at::kInt:
      return copy_of(H5T_STD_I32LE);
    case at::kChar:
      return copy_of(H5T_STD_I8LE);
    case at::kByte:
      return copy_of(H5T_STD_U8LE);
    case at::kBool:
      return hdf5_bool_type();
    default:
      return {};
  }
}

}  // namespace quell::internal
