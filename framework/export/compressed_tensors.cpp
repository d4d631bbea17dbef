#include "framework/export/compressed_tensors.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "framework/base/error.h"
#include "framework/export/compressed_codes.h"
#include "framework/export/huggingface.h"
#include "framework/export/linear_schemes.h"
#include "framework/record/model_folder.h"
#include "framework/run/bit_operations.h"

namespace quell {
namespace {

using Json = nlohmann::ordered_json;

// A linear of transformers: one of quell's, or, where a model has them fused, several.
struct CompressedLinear {
  LinearScheme scheme;
  CompressedWeight weight;
  InputGrid input;  // of a static one
};

// What `make` says, with the site's key in front of what it cannot.
template <class Make>
auto named(const SitePoints& points, SiteId site, const Make& make) {
  try {
    return make();
  } catch (const Error& error) {
    throw Error(
        fmt::format("{}: {}", points.sites()[static_cast<size_t>(site)].key(), error.what()));
  }
}

// By module.
std::map<std::string, CompressedLinear> compressed_linears(const CalibratedNetwork& network) {
  const Bench& bench = network.bench();
  const SitePoints& points = network.points();
  const auto batches = bench.task->calibration(bench.spec.calibration, bench.spec.seed);
  std::map<SiteId, LinearModule> modules;
  for (LinearModule& one : linear_modules(*bench.model)) modules[one.tensor->site] = one;
  std::map<std::string, CompressedLinear> result;
  for (const LinearInput& linear : linear_inputs(*bench.model, points, batches.front())) {
    const SitePoint* weight = points.point(linear.weight);
    if (weight == nullptr) continue;
    const SitePoint* input = linear.input == kNoSite ? nullptr : points.point(linear.input);
    const auto& [name, tensor] = modules.at(linear.weight);
    CompressedLinear& to = result[name];
    to.scheme = linear_scheme(weight->spec, input == nullptr ? nullptr : &input->spec);
    const CompressedWeight part = named(points, linear.weight, [&] {
      return compressed_weight(weight->quantizer->codes(tensor->place->detach()), weight->spec,
                               to.scheme.weight_bits);
    });
    const StoredPart& place = tensor->stored.part;
    put_part(place, part.codes, to.weight.codes);
    put_part(place, part.scale, to.weight.scale);
    if (part.zero_point.defined()) put_part(place, part.zero_point, to.weight.zero_point);
    if (to.scheme.input != InputScheme::kStatic) continue;
    to.input = named(points, linear.input, [&] {
      const InputGrid grid = input_grid(input->quantizer->parameters());
      return to.scheme.symmetric_input ? grid : safe_for_vllm(grid);
    });
  }
  return result;
}

void put_tensors(const std::string& name, const CompressedLinear& linear,
                 std::map<std::string, at::Tensor>& tensors) {
  const auto& [codes, scale, zero_point] = linear.weight;
  const int64_t bits = linear.scheme.weight_bits;
  tensors[name + ".weight_scale"] = scale;
  if (linear.scheme.has_float_input()) {
    tensors.erase(name + ".weight");
    tensors[name + ".weight_packed"] = packed_codes(codes, bits);
    tensors[name + ".weight_shape"] = at::tensor(codes.sizes(), at::kLong);
    // Packed along the outputs.
    if (zero_point.defined()) {
      tensors[name + ".weight_zero_point"] = packed_codes(zero_point.t(), bits).t().contiguous();
    }
    return;
  }
  tensors[name + ".weight"] = codes;
  if (linear.scheme.input != InputScheme::kStatic) return;
  tensors[name + ".input_scale"] = at::full({1}, linear.input.scale, at::kFloat);
  if (linear.scheme.symmetric_input) return;
  tensors[name + ".input_zero_point"] = at::full({1}, linear.input.zero_point, at::kChar);
}

std::string format_of(const LinearScheme& scheme) {
  return scheme.has_float_input() ? "pack-quantized" : "int-quantized";
}

Json grid_json(int64_t bits, bool symmetric, const std::string& strategy, bool dynamic) {
  return {{"num_bits", bits},
          {"type", "int"},
          {"symmetric", symmetric},
          {"strategy", strategy},
          {"dynamic", dynamic}};
}

Json group_json(const LinearScheme& scheme, std::vector<std::string> targets) {
  Json group = {{"targets", std::move(targets)}, {"format", format_of(scheme)}};
  group["weights"] = grid_json(scheme.weight_bits, scheme.symmetric_weight,
                               scheme.group_size > 0 ? "group" : "channel", /*dynamic=*/false);
  if (scheme.group_size > 0) group["weights"]["group_size"] = scheme.group_size;
  group["input_activations"] = nullptr;
  if (!scheme.has_float_input()) {
    const bool dynamic = scheme.input == InputScheme::kDynamic;
    group["input_activations"] =
        grid_json(8, scheme.symmetric_input, dynamic ? "token" : "tensor", dynamic);
  }
  group["output_activations"] = nullptr;
  return group;
}

// All linears that stay float.
std::vector<std::string> ignored(const Model& model,
                                 const std::map<std::string, CompressedLinear>& linears) {
  std::set<std::string> names;
  for (const LinearModule& module : linear_modules(model)) {
    if (linears.count(module.name) == 0) names.insert(module.name);
  }
  return {names.begin(), names.end()};
}

Json quantization_config(const Model& model,
                         const std::map<std::string, CompressedLinear>& linears) {
  std::map<LinearScheme, std::vector<std::string>> targets;
  std::set<std::string> formats;
  for (const auto& [name, linear] : linears) {
    targets[linear.scheme].push_back(name);
    formats.insert(format_of(linear.scheme));
  }
  if (targets.size() == 1) targets.begin()->second = {"Linear"};  // all of this class
  Json config = {{"quant_method", "compressed-tensors"},
                 {"format", formats.size() > 1 ? "mixed-precision" : *formats.begin()},
                 {"quantization_status", "compressed"}};
  for (const auto& [scheme, names] : targets) {
    config["config_groups"][fmt::format("group_{}", config["config_groups"].size())] =
        group_json(scheme, names);
  }
  config["ignore"] = ignored(model, linears);
  config["kv_cache_scheme"] = nullptr;
  return config;
}

}  // namespace

void check_compressed_tensors(Bench& bench, const Plugins& plugins) {
  check_huggingface(bench, plugins);
  check_schemes(bench, plugins);
}

void write_compressed_tensors(const CalibratedNetwork& network, const std::filesystem::path& folder,
                              Log& log) {
  const Bench& bench = network.bench();
  const std::map<std::string, CompressedLinear> linears = compressed_linears(network);
  TrainedModel model = huggingface_model(network, at::kFloat, log);
  for (const auto& [name, linear] : linears) put_tensors(name, linear, model.tensors);
  Json config = Json::parse(model.config);
  config["quantization_config"] = quantization_config(*bench.model, linears);
  model.config = config.dump(2) + "\n";
  write_model_folder(folder, model, bench.checkpoint->folder());
  log.info(fmt::format("{}: {} linears", config["quantization_config"]["format"].get<std::string>(),
                       linears.size()));
}

}  // namespace quell
