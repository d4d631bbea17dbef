#include "framework/model/pipeline.h"

#include <fmt/format.h>

namespace quell {
namespace {

constexpr const char* kOriginal = "outputs of the float network";
// Logits of the whole vocabulary for every token are cheaper to compute than to store.
constexpr size_t kMostSharedBytes = size_t{64} << 20;

NamedTensors pack(const std::vector<Outputs>& outputs) {
  NamedTensors packed;
  for (size_t batch = 0; batch < outputs.size(); ++batch) {
    for (const auto& [name, tensor] : outputs[batch]) {
      packed[fmt::format("{} {}", batch, name)] = tensor;
    }
  }
  return packed;
}

std::vector<Outputs> unpack(const NamedTensors& packed, size_t batches) {
  std::vector<Outputs> outputs(batches);
  for (const auto& [key, tensor] : packed) {
    const size_t space = key.find(' ');
    outputs.at(std::stoul(key.substr(0, space)))[key.substr(space + 1)] = tensor;
  }
  return outputs;
}

size_t bytes_of(const NamedTensors& tensors) {
  size_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += tensor.nbytes();
  return bytes;
}

}  // namespace

std::vector<Outputs> calibration_outputs(PipelineContext& context, const std::string& pass) {
  std::vector<Outputs> outputs(context.calibration.size());
  const auto in_float = std::make_shared<const Pass>(context.points);
  context.execution->run(
      context.calibration, [&](size_t) { return in_float; }, BatchOrder::kInOrder,
      [&](size_t batch, const Outputs& found) { outputs[batch] = found; },
      [&](int64_t done, int64_t total) { context.log.progress("float outputs", done, total); },
      {.progress = pass.empty() ? nullptr : &context.progress, .pass = pass});
  return outputs;
}

const std::vector<Outputs>& original_outputs(PipelineContext& context) {
  if (!context.float_outputs.empty()) return context.float_outputs;
  const auto known = context.shared == nullptr ? std::nullopt : context.shared->find(kOriginal);
  context.float_outputs =
      known ? unpack(*known, context.calibration.size()) : calibration_outputs(context, "before");
  if (!known && context.shared != nullptr) {
    const NamedTensors packed = pack(context.float_outputs);
    if (bytes_of(packed) <= kMostSharedBytes) context.shared->keep(kOriginal, packed);
  }
  return context.float_outputs;
}

std::vector<Outputs> target_outputs(PipelineContext& context, Targets targets) {
  return targets == Targets::kOriginal ? original_outputs(context) : calibration_outputs(context);
}

}  // namespace quell
