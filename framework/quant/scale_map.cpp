#include "framework/quant/scale_map.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <span>

#include "framework/base/error.h"
#include "framework/config/enum_name.h"
#include "framework/kernels/interval.h"
#include "framework/quant/device.h"
#include "framework/quant/parallel.h"

namespace quell {
namespace {

void check_divides(const char* key, int64_t number, int64_t features) {
  if (number >= 1 && features % number == 0) return;
  throw ConfigError(
      fmt::format("{} {} does not divide the {} features of the site; choose a divisor", key,
                  number, features));
}

void check_features(const FeatureGroups& groups, int64_t features) {
  if (groups.features() == features) return;
  throw ConfigError(
      fmt::format("the feature groups are those of {} features, but the site has {}; groups from a "
                  "file belong to its model, and sites that share groups have equally many "
                  "features",
                  groups.features(), features));
}

}  // namespace

FeatureGroups::FeatureGroups(const std::vector<int64_t>& group_of, int64_t groups)
    : group_of_(at::tensor(group_of, at::kLong)), members_(std::max<int64_t>(groups, 0)) {
  for (size_t feature = 0; feature < group_of.size(); ++feature) {
    const int64_t group = group_of[feature];
    if (group < 0 || group >= groups) {
      throw ConfigError(
          fmt::format("feature {} belongs to group {}, but there are {} groups, counted from 0",
                      feature, group, groups));
    }
    members_[static_cast<size_t>(group)].push_back(static_cast<int64_t>(feature));
  }
  for (size_t group = 0; group < members_.size(); ++group) {
    if (!members_[group].empty()) continue;
    throw ConfigError(
        fmt::format("group {} of {} has no feature; give every group at least one", group, groups));
  }
}

ScaleMap ScaleMap::make(const QuantSpec& spec, at::IntArrayRef shape) {
  const int64_t rows = shape[0];
  const int64_t features = shape.size() > 1 ? shape[1] : 1;
  const int64_t size = c10::multiply_integers(shape);
  ScaleMap map(1, 1, size);
  switch (spec.granularity) {
    case Granularity::kTensor:
      break;
    case Granularity::kChannel:
      if (spec.axis == 0) {
        map = {1, rows, features};
      } else if (spec.axis == 1 && shape.size() > 1) {
        map = {rows, features, 1};
      } else {
        throw ConfigError(fmt::format("axis {} does not exist in a tensor of {} dimensions",
                                      spec.axis, shape.size()));
      }
      break;
    case Granularity::kToken:
      map = {1, rows, features};
      break;
    case Granularity::kGroup:
      check_divides("group_size", spec.group_size, features);
      map = {1, size / spec.group_size, spec.group_size};
      break;
    case Granularity::kFeatureGroups:
      if (spec.feature_groups != nullptr) {
        check_features(*spec.feature_groups, features);
        map = {rows, features, 1};
        map.groups_ = spec.feature_groups;
      } else {
        check_divides("groups", spec.groups, features);
        map = {rows, spec.groups, features / spec.groups};
      }
  }
  map.dynamic_ = spec.is_dynamic();
  return map;
}

ScaleMap ScaleMap::of_parameters(const QuantSpec& spec, at::IntArrayRef shape, int64_t scales) {
  if (scales == 1) return {1, 1, c10::multiply_integers(shape)};
  ScaleMap map = make(spec, shape);
  if (map.scales() == scales) return map;
  throw DataError(
      fmt::format("a calibration has {} scales for a site of {} channels; it belongs to another "
                  "granularity or model",
                  scales, map.scales()));
}

std::vector<int64_t> ScaleMap::values_per_scale() const {
  if (groups_ == nullptr) return {outer_ * inner_};
  std::vector<int64_t> counts;
  for (int64_t group = 0; group < scales(); ++group) {
    counts.push_back(outer_ * std::ssize(groups_->members(group)));
  }
  return counts;
}

Range ScaleMap::reduce(const Range& per_channel) const {
  if (groups_ == nullptr) return per_channel;
  std::vector<int64_t> sizes = per_channel.min.sizes().vec();
  sizes.back() = scales();
  Range range{at::empty(sizes, at::kFloat), at::empty(sizes, at::kFloat)};
  const float* from_min = per_channel.min.const_data_ptr<float>();
  const float* from_max = per_channel.max.const_data_ptr<float>();
  float* min = range.min.mutable_data_ptr<float>();
  float* max = range.max.mutable_data_ptr<float>();
  for (int64_t row = 0; row < per_channel.min.numel() / channels_; ++row) {
    for (int64_t group = 0; group < scales(); ++group) {
      kernels::MinMax found;
      for (const int64_t channel : groups_->members(group)) {
        const int64_t at = row * channels_ + channel;
        kernels::merge({from_min[at], from_max[at]}, found);
      }
      found = kernels::canonical(found);
      min[row * scales() + group] = found.min;
      max[row * scales() + group] = found.max;
    }
  }
  return range;
}

at::Tensor ScaleMap::expand(const at::Tensor& per_scale) const {
  return groups_ == nullptr ? per_scale : at::index_select(per_scale, 0, groups_->group_of());
}

void ScaleMap::for_each_scale(
    const at::Tensor& rows,
    const std::function<void(int64_t scale, std::vector<float> values)>& visit) const {
  QUELL_ASSERT(rows.scalar_type() == at::kFloat, "sites carry float32");
  const at::Tensor contiguous = on_host(rows, "searches of ranges").contiguous();
  const float* x = contiguous.const_data_ptr<float>();
  for_each_dynamically(scales(), [&](int64_t scale) {
    std::span<const int64_t> channels(&scale, 1);
    if (groups_ != nullptr) channels = groups_->members(scale);
    std::vector<float> values(static_cast<size_t>(outer_ * inner_) * channels.size());
    auto to = values.begin();
    for (int64_t block = 0; block < outer_; ++block) {
      for (const int64_t channel : channels) {
        const float* first = x + (block * channels_ + channel) * inner_;
        to = std::copy(first, first + inner_, to);
      }
    }
    visit(scale, std::move(values));
  });
}

std::string granularity_problem(const QuantSpec& spec) {
  if (spec.granularity == Granularity::kToken && spec.is_weight) {
    return "granularity token is for activations; use channel with axis 0 for one scale per row";
  }
  for (const auto& [key, value] : granularity_keys(spec)) {
    if (value > 0 || key == "axis") continue;
    return fmt::format("granularity {} needs {} `{}`", enum_name(spec.granularity),
                       key == "groups" ? "the number of" : "a", key);
  }
  return "";
}

std::vector<std::pair<std::string, int64_t>> granularity_keys(const QuantSpec& spec) {
  switch (spec.granularity) {
    case Granularity::kTensor:
    case Granularity::kToken:
      return {};
    case Granularity::kChannel:
      return {{"axis", spec.axis}};
    case Granularity::kGroup:
      return {{"group_size", spec.group_size}};
    case Granularity::kFeatureGroups:
      return {{"groups", spec.groups}};
  }
  QUELL_ASSERT(false, "unhandled granularity");
}

std::string granularity_text(const QuantSpec& spec) {
  std::string text = enum_name(spec.granularity);
  for (const auto& [key, value] : granularity_keys(spec)) text += fmt::format(" {}", value);
  if (spec.granularity == Granularity::kFeatureGroups && spec.feature_groups != nullptr) {
    const at::Tensor& groups = spec.feature_groups->group_of();
    const int64_t* group_of = groups.const_data_ptr<int64_t>();
    text += fmt::format(" {}", std::span(group_of, static_cast<size_t>(groups.numel())));
  }
  return text;
}

std::string scale_axis(const QuantSpec& spec) {
  switch (spec.granularity) {
    case Granularity::kTensor:
      return "tensor";
    case Granularity::kChannel:
      return spec.axis == 0 ? "rows" : "columns";
    case Granularity::kToken:
      return "tokens";
    case Granularity::kGroup:
      return "groups";
    case Granularity::kFeatureGroups:
      return "feature groups";
  }
  QUELL_ASSERT(false, "unhandled granularity");
}

std::optional<int64_t> known_scales(const QuantSpec& spec) {
  if (spec.granularity == Granularity::kTensor) return 1;
  if (spec.granularity == Granularity::kFeatureGroups) return spec.groups;
  return {};
}

}  // namespace quell
