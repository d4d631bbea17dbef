#include "framework/export/network_folder.h"

#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/config/node.h"
#include "framework/config/schema.h"
#include "framework/export/export.h"
#include "framework/io/coded_file.h"
#include "framework/io/manifest.h"
#include "framework/quant/scale_map.h"
#include "framework/solve/stored_quantizers.h"

namespace quell {
namespace fs = std::filesystem;
namespace {

// The tensors of a model as they are stored, each with those who read it.
struct StoredTensor {
  at::Tensor values;
  std::vector<SiteId> sites;
  bool is_whole = true;  // not put together of parts
  bool is_shared_with_float = false;
};

std::map<std::string, StoredTensor> stored_tensors(const Model& model) {
  std::map<std::string, StoredTensor> result;
  std::map<const void*, std::string> names;
  for (auto& [name, values] : model.stored_parameters()) {
    result[name].values = values;
    names[values.const_data_ptr()] = name;
  }
  for (const Segment& segment : model.segments()) {
    for (const ModelTensor& tensor : segment.tensors) {
      if (!tensor.place->defined()) continue;
      const auto known = names.find(tensor.place->const_data_ptr());
      StoredTensor& stored =
          result.at(known == names.end() ? tensor.stored.stored_name() : known->second);
      stored.is_whole = stored.is_whole && tensor.stored.part.is_whole();
      if (tensor.site == kNoSite) {
        stored.is_shared_with_float = true;
      } else {
        stored.sites.push_back(tensor.site);
      }
    }
  }
  return result;
}

CodedTensor coded(const SitePoint& point, const at::Tensor& weight) {
  const IntegerCodes codes = point.quantizer->codes(weight);
  const QuantParameters& of = codes.parameters;
  const ScaleMap map = ScaleMap::of_parameters(point.spec, weight.sizes(), of.scale.numel());
  return {.codes = codes.codes,
          .bits = point.spec.bits,
          .lowest = static_cast<int64_t>(of.levels.low),
          .outer = map.outer(),
          .channels = map.channels(),
          .scale = map.expand(of.scale).contiguous(),
          .zero_point = map.expand(of.zero_point).contiguous()};
}

// Whether all who read the tensor see the same quantized values.
bool is_one_for_all(const StoredTensor& stored, const SitePoints& points) {
  if (!stored.is_whole || stored.is_shared_with_float || stored.sites.empty()) return false;
  const SiteId first = stored.sites.front();
  for (const SiteId id : stored.sites) {
    if (points.point(id) == nullptr) return false;
    if (id != first && !points.quantized_weight(id, stored.values)
                            .equal(points.quantized_weight(first, stored.values))) {
      return false;
    }
  }
  return true;
}

// What is loaded again must be what was evaluated.
void check_file(const fs::path& path, const SitePoints& points,
                const std::map<std::string, StoredTensor>& tensors) {
  const CodedFile file(path);
  for (const auto& [name, stored] : tensors) {
    if (!file.is_coded(name)) continue;
    const SiteId id = stored.sites.front();
    const SitePoint& point = *points.point(id);
    const at::Tensor values = file.read(name),
                     expected = points.quantized_weight(id, stored.values);
    const auto fresh = point.make_quantizer(point.spec);
    fresh->set_state(without_rounding(point.quantizer->state()));
    const at::Tensor again = fresh->apply(values, /*in_place=*/false);
    if (values.equal(expected) && again.equal(expected)) continue;
    throw Error(
        fmt::format("{}: its quantizer ({}) does not give the values of its own codes; use "
                    "another quantizer for it",
                    points.sites()[static_cast<size_t>(id)].key(), point.quantizer_name));
  }
}

// The experiment of the folder: the same rules, task and engine, and quantizers that are restored.
std::string experiment_of(const ExperimentSpec& spec) {
  ConfigNode root = to_node(spec);
  ConfigNode& model = *root.find("model");
  model.set("path", ConfigNode::scalar("."));
  model.remove("head");
  ConfigNode step = ConfigNode::map();
  step.set("type", ConfigNode::scalar("restore"));
  step.set("from", ConfigNode::scalar("."));
  ConfigNode pipeline = ConfigNode::sequence();
  pipeline.children.push_back(std::move(step));
  root.set("pipeline", std::move(pipeline));
  ConfigNode stages = ConfigNode::sequence();
  stages.children.push_back(ConfigNode::scalar("quantized"));
  root.set("stages", std::move(stages));
  root.remove("record");
  ConfigNode record = ConfigNode::map();
  record.set("site_errors", ConfigNode::scalar("false"));
  root.set("record", std::move(record));
  return to_yaml(root);
}

}  // namespace

void check_network_folder(Bench& /*bench*/, const Plugins& /*plugins*/) {}

void write_network_folder(const CalibratedNetwork& network, const fs::path& folder, Log& log) {
  const Bench& bench = network.bench();
  const SitePoints& points = network.points();
  std::map<std::string, CodedTensor> codes;
  std::map<std::string, at::Tensor> others;
  SiteSet on_grid;
  int64_t kept = 0;
  const std::map<std::string, StoredTensor> tensors = stored_tensors(*bench.model);
  for (const auto& [name, stored] : tensors) {
    if (!is_one_for_all(stored, points)) {
      others[name] = stored.values.detach();
      for (const SiteId id : stored.sites) kept += points.point(id) != nullptr;
      continue;
    }
    for (const SiteId id : stored.sites) on_grid.insert(id);
    codes[name] = coded(*points.point(stored.sites.front()), stored.values);
  }
  write_other_files(bench, folder);
  write_coded_file(folder / kCodedFile, codes, others);
  check_file(folder / kCodedFile, points, tensors);
  write_quantizers(folder / kQuantizersFile, points, on_grid);
  write_file(folder / "experiment.yaml", experiment_of(bench.spec));
  write_manifest(folder);
  log.info(
      fmt::format("{} weights as codes, {} other tensors as float32", codes.size(), others.size()));
  if (kept > 0) {
    log.info(fmt::format(
        "{} weights stay float32: they are parts of a fused tensor, or others read them on other "
        "grids",
        kept));
  }
}

}  // namespace quell
