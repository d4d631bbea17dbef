// Which values share a scale: all that a granularity means is said here.
#pragma once

#include <ATen/core/Tensor.h>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/quant/spec.h"

namespace quell {

// Features in groups that share a scale, wherever they lie and however many a group has. Sites that
// have the same groups share the object: QuantSpec::feature_groups.
class FeatureGroups {
 public:
  // group_of[feature] is in [0, groups). Throws ConfigError for other numbers and empty groups.
  FeatureGroups(const std::vector<int64_t>& group_of, int64_t groups);

  int64_t features() const { return group_of_.numel(); }
  int64_t groups() const { return std::ssize(members_); }
  // int64 [features].
  const at::Tensor& group_of() const { return group_of_; }
  // Features of a group, in ascending order.
  const std::vector<int64_t>& members(int64_t group) const {
    return members_[static_cast<size_t>(group)];
  }

 private:
  at::Tensor group_of_;
  std::vector<std::vector<int64_t>> members_;
};

// The scales of a tensor of a certain shape. Kernels see the tensor as [outer, channels, inner]
// with parameters per channel; a scale belongs to one channel, or (feature groups) to several.
class ScaleMap {
 public:
  // Of a tensor [n, features], or a vector [n], read as [n, 1]. Throws ConfigError where the shape
  // does not have what the granularity asks for.
  static ScaleMap make(const QuantSpec& spec, at::IntArrayRef shape);
  // For that many given parameters: a single scale is that of all values. Throws DataError for
  // another number than that of make().
  static ScaleMap of_parameters(const QuantSpec& spec, at::IntArrayRef shape, int64_t scales);

  int64_t scales() const { return groups_ ? groups_->groups() : channels_; }
  // Whether scales follow from the values at hand.
  bool dynamic() const { return dynamic_; }
  // How many values share a scale: one number where it is the same for all.
  std::vector<int64_t> values_per_scale() const;

  int64_t outer() const { return outer_; }
  int64_t channels() const { return channels_; }
  int64_t inner() const { return inner_; }
  // From extremes [..., channels] to those of scales, [..., scales].
  Range reduce(const Range& per_channel) const;
  // From [scales] to [channels]; gradients go back as sums.
  at::Tensor expand(const at::Tensor& per_scale) const;

  // Calls visit(scale, values) for every scale, in parallel, with a copy of the values of `rows`
  // (float32, of the map's shape) that share it, in the order in which they lie.
  void for_each_scale(
      const at::Tensor& rows,
      const std::function<void(int64_t scale, std::vector<float> values)>& visit) const;

 private:
  ScaleMap(int64_t outer, int64_t channels, int64_t inner)
      : outer_(outer), channels_(channels), inner_(inner) {}

  int64_t outer_, channels_, inner_;
  std::shared_ptr<const FeatureGroups> groups_;  // null: a channel is a scale
  bool dynamic_ = false;
};

// What the granularity of `spec` lacks, or cannot be for; "" where it is all right. No shape is
// needed to know.
std::string granularity_problem(const QuantSpec& spec);
// The keys of a rule that its granularity reads, with their values.
std::vector<std::pair<std::string, int64_t>> granularity_keys(const QuantSpec& spec);
// The granularity with all that belongs to it, for people: "channel 0". Differs where maps differ.
std::string granularity_text(const QuantSpec& spec);
// What the entries of a parameter stand for: "tensor", "rows", "columns", ...
std::string scale_axis(const QuantSpec& spec);
// How many scales a site has, where that does not depend on its shape.
std::optional<int64_t> known_scales(const QuantSpec& spec);

}  // namespace quell
