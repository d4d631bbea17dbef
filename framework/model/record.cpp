#include "framework/model/record.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "framework/base/error.h"

namespace quell {

const at::Tensor& Record::column(const std::string& column_name) const {
  for (const RecordColumn& one : columns) {
    if (one.name == column_name) return one.values;
  }
  throw Error(fmt::format("{}/{} has no column \"{}\"", group, name, column_name));
}

Record learning_record(const std::string& solver, const std::vector<double>& loss,
                       const std::vector<double>& learning_rate) {
  return {"learning",
          solver,
          {{"loss", at::tensor(loss, at::kDouble), "step"},
           {"learning_rate", at::tensor(learning_rate, at::kDouble), "step"}}};
}

}  // namespace quell
