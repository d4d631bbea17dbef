#include "framework/solve/stored_quantizers.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "framework/base/error.h"
#include "framework/config/enum_name.h"
#include "framework/io/safetensors.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

constexpr const char* kOnGrid = "; on its grid";
constexpr const char* kGroups = "group_of";
constexpr const char *kQuantizer = "quantizer/", *kObserver = "observer/";

// What must be the same where a state is restored.
std::string description(const SitePoint& point) {
  const QuantSpec& spec = point.spec;
  return fmt::format("{} bits, {}, scales per {}, grid {}, quantizer {}", spec.bits,
                     spec.symmetric ? "symmetric" : "asymmetric", granularity_text(spec),
                     enum_name(spec.grid), point.quantizer_name);
}

NamedTensors tensors_of(const SafetensorsFile& file, const std::string& prefix) {
  NamedTensors result;
  for (const std::string& name : file.names()) {
    if (name.starts_with(prefix)) result[name.substr(prefix.size())] = file.read(name);
  }
  return result;
}

std::vector<int64_t> as_vector(const at::Tensor& numbers) {
  const at::Tensor all = numbers.to(at::kLong).contiguous();
  const int64_t* data = all.const_data_ptr<int64_t>();
  return {data, data + all.numel()};
}

// Groups are shared by sites that have the same.
class SharedGroups {
 public:
  std::shared_ptr<const FeatureGroups> get(const std::vector<int64_t>& group_of, int64_t groups) {
    auto& known = known_[group_of];
    if (known == nullptr) known = std::make_shared<const FeatureGroups>(group_of, groups);
    return known;
  }

 private:
  std::map<std::vector<int64_t>, std::shared_ptr<const FeatureGroups>> known_;
};

void check_sites(const SafetensorsFile& file, const SitePoints& points) {
  std::map<std::string, std::string> stored = file.metadata();
  for (size_t i = 0; i < points.sites().size(); ++i) {
    const SitePoint* point = points.point(static_cast<SiteId>(i));
    if (point == nullptr) continue;
    const std::string key = points.sites()[i].key(), expected = description(*point);
    const auto found = stored.find(key);
    if (found == stored.end()) {
      throw DataError(fmt::format("{}: knows nothing of {}, which the experiment quantizes",
                                  file.path().string(), key));
    }
    const std::string text = found->second.substr(0, found->second.find(kOnGrid));
    if (text != expected) {
      throw DataError(
          fmt::format("{}: {} has {}, and the experiment says {}; use the experiment "
                      "that was exported with it",
                      file.path().string(), key, text, expected));
    }
    stored.erase(found);
  }
  if (!stored.empty()) {
    throw DataError(fmt::format("{}: has {}, which the experiment does not quantize",
                                file.path().string(), stored.begin()->first));
  }
}

}  // namespace

NamedTensors without_rounding(NamedTensors state) {
  state.erase("rounding");
  return state;
}

NamedTensors calibration_of(const SitePoints& points, SiteRange sites) {
  NamedTensors all;
  const SiteId end = std::min(sites.end, static_cast<SiteId>(points.sites().size()));
  for (SiteId id = sites.first; id < end; ++id) {
    const SitePoint* point = points.point(id);
    if (point == nullptr || !point->calibrated || point->spec.is_dynamic()) continue;
    NamedTensors own;
    add_named(kQuantizer, point->quantizer->state(), own);
    const std::vector<at::Tensor> seen = point->observer->state();
    for (size_t i = 0; i < seen.size(); ++i) own[kObserver + std::to_string(i)] = seen[i];
    if (point->range.min.defined()) {
      own["min"] = point->range.min;
      own["max"] = point->range.max;
    }
    if (point->spec.feature_groups) own[kGroups] = point->spec.feature_groups->group_of();
    add_named(points.sites()[static_cast<size_t>(id)].key() + "/", own, all);
  }
  return all;
}

void set_calibration(const NamedTensors& state, SitePoints& points) {
  SharedGroups groups;
  size_t taken = 0;
  for (SiteId id = 0; id < std::ssize(points.sites()); ++id) {
    SitePoint* point = points.point(id);
    const NamedTensors own = part_of(state, points.sites()[static_cast<size_t>(id)].key() + "/");
    if (point == nullptr || own.empty()) continue;
    if (const auto found = own.find(kGroups); found != own.end()) {
      points.set_feature_groups(id, groups.get(as_vector(found->second), point->spec.groups));
    }
    point->quantizer->set_state(part_of(own, kQuantizer));
    std::vector<at::Tensor> seen;
    for (auto one = own.find(kObserver + std::string("0")); one != own.end();
         one = own.find(kObserver + std::to_string(seen.size()))) {
      seen.push_back(one->second);
    }
    if (!seen.empty()) point->observer->set_state(seen);
    point->range = {};
    if (own.contains("min")) point->range = {own.at("min"), stored_tensor(own, "max")};
    point->calibrated = true;
    points.weight_changed(id);
    taken += own.size();
  }
  if (taken == state.size()) return;
  throw DataError("what was stored of quantizers is of sites that this experiment has not");
}

void write_quantizers(const std::filesystem::path& path, const SitePoints& points,
                      const SiteSet& on_grid) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  std::map<std::string, std::string> metadata;
  for (size_t i = 0; i < points.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    const SitePoint* point = points.point(id);
    if (point == nullptr) continue;
    const std::string key = points.sites()[i].key();
    metadata[key] = description(*point) + (on_grid.contains(id) ? kOnGrid : "");
    NamedTensors state = point->quantizer->state();
    if (on_grid.contains(id)) state = without_rounding(std::move(state));
    for (const auto& [name, tensor] : state) tensors.emplace_back(key + "/" + name, tensor);
    if (point->spec.feature_groups) {
      tensors.emplace_back(key + "/" + kGroups, point->spec.feature_groups->group_of());
    }
  }
  write_safetensors(path, tensors, metadata);
}

void read_quantizers(const std::filesystem::path& path, Execution& execution, SitePoints& points) {
  const SafetensorsFile file(path);
  SiteSet on_grid;
  check_sites(file, points);
  SharedGroups groups;
  for (size_t i = 0; i < points.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    SitePoint* point = points.point(id);
    if (point == nullptr) continue;
    const std::string key = points.sites()[i].key();
    NamedTensors state = tensors_of(file, key + "/");
    if (const auto found = state.find(kGroups); found != state.end()) {
      points.set_feature_groups(id, groups.get(as_vector(found->second), point->spec.groups));
      state.erase(found);
    }
    if (!point->spec.is_dynamic()) point->quantizer->set_state(state);
    point->calibrated = true;
    points.weight_changed(id);
    if (file.metadata().at(key).ends_with(kOnGrid)) on_grid.insert(id);
  }
  execution.for_each_segment([&](const Segment& segment) {
    for (const ModelTensor& tensor : segment.tensors) {
      if (tensor.site == kNoSite || !on_grid.contains(tensor.site)) continue;
      const at::Tensor& weight = *tensor.place;
      Quantizer& quantizer = *points.point(tensor.site)->quantizer;
      if (quantizer.apply(weight, /*in_place=*/false).equal(weight)) continue;
      throw DataError(fmt::format(
          "{}: the model's {} does not lie on the grid of the file, which belongs to another model",
          path.string(), points.sites()[static_cast<size_t>(tensor.site)].key()));
    }
  });
}

}  // namespace quell
