// What the settings of groups of sites cost, for `allocate`.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/run/bit_operations.h"

namespace quell {

// Groups of sites, see groups_of().
using NamedGroups = std::vector<std::pair<std::string, std::vector<SiteId>>>;

class SettingCost {
 public:
  virtual ~SettingCost() = default;
  // Of the sites of group `index`, quantized as planned.
  virtual int64_t of(size_t index, const std::vector<SitePlan>& plan) const = 0;
};

// Codes of weights in whole bytes, scales and zero points in float32. A table that several sites
// share counts where it comes first.
class BytesCost final : public SettingCost {
 public:
  // Both must live as long as the result.
  BytesCost(const Model& model, const NamedGroups& groups);

  int64_t of(size_t index, const std::vector<SitePlan>& plan) const override;
  // Values of the weights in all groups.
  int64_t values() const;

 private:
  int64_t values_of(SiteId id) const;
  int64_t of_site(SiteId id, const QuantSpec& spec) const;

  const Model& model_;
  const NamedGroups& groups_;
  SiteSet first_;
};

// Bit operations of one row in each linear whose weight or input is in the group. Throws
// ConfigError where both are, in different groups, and where no group has any.
class BitOperationsCost final : public SettingCost {
 public:
  BitOperationsCost(Bench bench, const NamedGroups& groups, const Plugins& plugins);

  int64_t of(size_t index, const std::vector<SitePlan>& plan) const override;

 private:
  std::vector<std::vector<LinearInput>> linears_;  // of each group
};

}  // namespace quell
