#include "framework/run/setting_cost.h"

#include <fmt/format.h>
#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"
#include "framework/run/bit_operations.h"

namespace quell {

BytesCost::BytesCost(const Model& model, const NamedGroups& groups)
    : model_(model), groups_(groups) {
  std::set<std::string> seen;
  for (size_t id = 0; id < model_.sites().size(); ++id) {
    if (model_.sites()[id].kind != SiteKind::kWeight) continue;
    const auto site = static_cast<SiteId>(id);
    if (seen.insert(model_.weight_identity(site)).second) first_.insert(site);
  }
}

int64_t BytesCost::values_of(SiteId id) const {
  if (!first_.contains(id)) return 0;
  const auto& shape = model_.weight_shape(id);
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t BytesCost::of_site(SiteId id, const QuantSpec& spec) const {
  constexpr int64_t kBitsPerByte = 8, kFloatBytes = 4;
  const int64_t parameters = spec.symmetric ? kFloatBytes : 2 * kFloatBytes;
  if (model_.sites()[static_cast<size_t>(id)].kind == SiteKind::kActivation) {
    return parameters * known_scales(spec).value_or(0);
  }
  const int64_t codes = (values_of(id) * spec.bits + kBitsPerByte - 1) / kBitsPerByte;
  return codes == 0 ? 0
                    : codes + parameters * ScaleMap::make(spec, model_.weight_shape(id)).scales();
}

int64_t BytesCost::of(size_t index, const std::vector<SitePlan>& plan) const {
  int64_t sum = 0;
  for (const SiteId id : groups_[index].second) {
    sum += of_site(id, plan[static_cast<size_t>(id)].spec);
  }
  return sum;
}

int64_t BytesCost::values() const {
  int64_t sum = 0;
  for (const auto& [name, ids] : groups_) {
    for (const SiteId id : ids) sum += values_of(id);
  }
  return sum;
}

namespace {

constexpr size_t kNoGroup = static_cast<size_t>(-1);

size_t group_with(SiteId id, const NamedGroups& groups) {
  for (size_t i = 0; id != kNoSite && i < groups.size(); ++i) {
    const std::vector<SiteId>& ids = groups[i].second;
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) return i;
  }
  return kNoGroup;
}

}  // namespace

BitOperationsCost::BitOperationsCost(Bench bench, const NamedGroups& groups, const Plugins& plugins)
    : linears_(groups.size()) {
  bool any = false;
  for (const LinearInput& linear : linear_inputs(bench, plugins)) {
    const size_t weight = group_with(linear.weight, groups),
                 input = group_with(linear.input, groups);
    if (weight != kNoGroup && input != kNoGroup && weight != input) {
      const auto key = [&](SiteId id) {
        return bench.model->sites()[static_cast<size_t>(id)].key();
      };
      throw ConfigError(fmt::format(
          "bit operations multiply the bits of {} and of its input {}, which are chosen apart "
          "here; choose for weights with --sites 'weight:*' first, then, in the experiment that "
          "was found, for activations with --sites 'activation:*'",
          key(linear.weight), key(linear.input)));
    }
    const size_t group = weight != kNoGroup ? weight : input;
    if (group == kNoGroup) continue;
    linears_[group].push_back(linear);
    any = true;
  }
  if (any) return;
  throw ConfigError(
      "none of the chosen sites is the weight or the input of a linear, which bit operations are "
      "counted for; choose other --sites, or another budget");
}

int64_t BitOperationsCost::of(size_t index, const std::vector<SitePlan>& plan) const {
  int64_t sum = 0;
  for (const LinearInput& linear : linears_[index]) sum += bit_operations(linear, plan);
  return sum;
}

}  // namespace quell
