// Decoders of tests/data with the linears of their layers quantized, and what these are in the
// file.
#pragma once

#include <fmt/format.h>
#include <filesystem>
#include <map>
#include <string>

#include "tests/support/engine.h"

namespace quell {

// Rules for the weights of linears and, unless `activations` is empty, for their inputs.
inline std::string linear_rules(const std::string& weights, const std::string& activations) {
  std::string rules =
      "[{sites: ['weight:decoder.*.attention.{query,key,value,output}', "
      "'weight:decoder.*.ffn.{gate,up,intermediate,output}'], quantize: true, observer: minmax, " +
      weights + "}";
  if (!activations.empty()) {
    rules +=
        ", {sites: ['activation:decoder.*.attention.{norm,context}', "
        "'activation:decoder.*.ffn.{norm,gelu,product}'], quantize: true, observer: minmax, " +
        activations + "}";
  }
  return rules + "]";
}

// An experiment on a model folder with `b4.input_ids` among its inputs.
inline std::string linears_experiment(const std::filesystem::path& model, const std::string& rules,
                                      const std::string& pipeline = "[calibrate]") {
  return fmt::format(
      "name: linears\nthreads: 1\nmodel: {{path: {0}}}\n"
      "task: {{type: tokens, path: {0}/inputs.safetensors, keys: 'b{{}}.input_ids', "
      "calibration_batches: [4], evaluation_batches: [4]}}\n"
      "quant: {{rules: {1}}}\npipeline: {2}\nstages: [quantized]\n",
      model.string(), rules, pipeline);
}

// The quantized weights of linears, as whole tensors of the modules that the file has.
inline std::map<std::string, at::Tensor> quantized_weights(QuantizedNetwork& network) {
  std::map<std::string, at::Tensor> weights;
  for (const Segment& segment : network.model().segments()) {
    for (const ModelTensor& tensor : segment.tensors) {
      if (tensor.site == kNoSite || network.points().point(tensor.site) == nullptr) continue;
      const std::string& name = tensor.stored.stored_name();
      const at::Tensor own = network.points().quantized_weight(tensor.site, tensor.place->detach());
      put_part(tensor.stored.part, own, weights[name.substr(0, name.rfind('.'))]);
    }
  }
  return weights;
}

}  // namespace quell
