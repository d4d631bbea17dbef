#include "solvers/training/teacher.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include "framework/train/loss.h"

namespace quell {
namespace {

const std::string kPrefix = "teacher.";
const std::string kFirst = "/first";  // behind the name of an output

// How many rows without padding each sequence has, where it has one for each target token; empty
// where it has one.
std::vector<int64_t> rows_of_sequences(const Batch& batch, const at::Tensor& output) {
  return output.size(0) == batch.sequences() ? std::vector<int64_t>()
                                             : batch.target_valid_lengths();
}

}  // namespace

Teacher::Teacher(const PipelineContext& context, TrainingBatches& batches) {
  const at::NoGradGuard no_gradients;
  const Pass pass(context.points);
  std::map<std::string, std::vector<at::Tensor>> parts;  // by example
  for (int64_t i = 0; i < batches.per_epoch(); ++i) {
    const Batch batch = batches.at(i);
    for (const auto& [name, output] : context.model.forward(batch, pass)) {
      const at::Tensor rows = without_padding(output, batch);
      const std::vector<int64_t> counts = rows_of_sequences(batch, output);
      std::vector<at::Tensor>& all = parts[name];
      all.resize(static_cast<size_t>(batches.examples()));
      int64_t first = 0;
      for (int64_t sequence = 0; sequence < batch.sequences(); ++sequence) {
        const int64_t count = counts.empty() ? 1 : counts[sequence];
        all[batch.example_ids[sequence]] = rows.narrow(0, first, count);
        first += count;
      }
      if (!counts.empty()) outputs_[name].first = {0};
    }
    context.log.progress("qat: float outputs", i + 1, batches.per_epoch());
  }
  for (const auto& [name, all] : parts) {
    Rows& output = outputs_[name];
    output.values = at::cat(all);
    if (output.first.empty()) continue;
    for (const at::Tensor& rows : all) output.first.push_back(output.first.back() + rows.size(0));
  }
}

Teacher::Teacher(const NamedTensors& stored) {
  for (const auto& [name, tensor] : stored) {
    if (!name.starts_with(kPrefix)) continue;
    const std::string output = name.substr(kPrefix.size());
    if (!output.ends_with(kFirst)) {
      outputs_[output].values = tensor;
      continue;
    }
    const int64_t* first = tensor.const_data_ptr<int64_t>();
    outputs_[output.substr(0, output.size() - kFirst.size())].first.assign(first,
                                                                           first + tensor.numel());
  }
}

Outputs Teacher::outputs(const Batch& batch) const {
  Outputs result;
  for (const auto& [name, output] : outputs_) {
    if (output.first.empty()) {
      result[name] = at::index_select(output.values, 0, at::tensor(batch.example_ids, at::kLong));
      continue;
    }
    std::vector<at::Tensor> parts;
    for (const int64_t example : batch.example_ids) {
      const int64_t first = output.first[example];
      parts.push_back(output.values.narrow(0, first, output.first[example + 1] - first));
    }
    result[name] = at::cat(parts);
  }
  return result;
}

NamedTensors Teacher::state() const {
  NamedTensors state;
  for (const auto& [name, output] : outputs_) {
    state[kPrefix + name] = output.values;
    if (!output.first.empty()) {
      state[kPrefix + name + kFirst] = at::tensor(output.first, at::kLong);
    }
  }
  return state;
}

}  // namespace quell
