// What a step found out, for results.h5: named columns with units, which are written as they are.
#pragma once

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace quell {

struct RecordColumn {
  std::string name;
  at::Tensor values;      // [entries], float64 or int64
  std::string axis;       // what the entries are: "candidate", "step"
  std::string unit = {};  // empty: none is written
};

using RecordAttribute = std::variant<int64_t, double, std::string>;

// The group GROUP/NAME of the results file; several of one name get "_2", ....
struct Record {
  std::string group;  // "searches"
  std::string name;   // "token_wise_clipping"
  std::vector<RecordColumn> columns;
  std::vector<std::pair<std::string, RecordAttribute>> attributes = {};

  // The values of a column. Throws Error where there is none.
  const at::Tensor& column(const std::string& column_name) const;
};

// How gradient descent went: one entry per step, the loss of its batch before it.
Record learning_record(const std::string& solver, const std::vector<double>& loss,
                       const std::vector<double>& learning_rate);

}  // namespace quell
