// What `quell probe` reads: tensors of a file, as rows of values.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/quant/spec.h"

namespace quell {

struct ProbeSource {
  // Where the tensors were asked for: names of those that hold real numbers, in the file's order,
  // and the others with the reason.
  std::vector<std::string> names;
  std::vector<std::pair<std::string, std::string>> skipped;
  // The tensor in its stored shape. Throws DataError.
  std::function<at::Tensor(const std::string& name)> read;
};

// Opens a safetensors, torch.save or HDF5 file, and lists its tensors if asked to. Throws
// DataError.
ProbeSource open_probe_source(const std::string& path, bool list);

// Where tokens and channels lie in the tensors.
struct ProbeLayout {
  std::optional<int64_t> sequence_axis;
  std::optional<int64_t> channel_axis;
  std::string lengths;  // "": no padding; "{}.lens": name of a tensor; "5,7": numbers

  // QuantSpec::axis of the rows below.
  int64_t spec_axis() const { return sequence_axis ? 1 : 0; }
  // All values of the tensor as [rows, features] float32. Rows are tokens where there is a sequence
  // axis, else channels where there is a channel axis, else everything but the last axis. Throws
  // ConfigError where an axis does not exist.
  at::Tensor rows(const at::Tensor& values) const;
  // The rows that are no padding.
  at::Tensor real_rows(const std::string& name, const at::Tensor& values,
                       const ProbeSource& source) const;
  // From rows() back to the shape of the tensor.
  at::Tensor restore(const at::Tensor& rows, const at::Tensor& like) const;

 private:
  std::vector<int64_t> read_lengths(const std::string& name, const ProbeSource& source) const;
};

}  // namespace quell
