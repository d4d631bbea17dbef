// The `quant:` section: which sites are quantized, and how.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/config/schema.h"
#include "framework/plugin/choice.h"
#include "framework/quant/site_points.h"

namespace quell {

// One entry of `rules:`. What is absent is left as earlier rules had it.
struct Rule {
  std::vector<std::string> sites;
  std::optional<bool> quantize;
  std::optional<int64_t> bits;
  std::optional<bool> symmetric;
  std::optional<Granularity> granularity;
  std::optional<int64_t> axis;
  std::optional<int64_t> group_size;
  std::optional<int64_t> groups;
  std::optional<kernels::Grid> grid;
  std::optional<ObserverChoice> observer;
  std::optional<QuantizerChoice> quantizer;
  std::optional<DuringCalibration> during_calibration;
  Mark mark;  // where the rule is written; not a key

  template <class V>
  static void describe(V& v) {
    v("sites", &Rule::sites,
      "patterns of site names, such as \"weight:*\" or \"activation:encoder.last.ffn.*\"; `*`, "
      "`?`, `[0-3]` and `{a,b}` as in a shell; \"group:NAME\": the sites of quant.groups",
      required(), non_empty(), or_single());
    v("quantize", &Rule::quantize, "whether these sites are quantized at all");
    v("bits", &Rule::bits, "bit width", in_range(2, 16));
    v("symmetric", &Rule::symmetric, "zero point fixed at zero");
    v("granularity", &Rule::granularity,
      "which values share a scale; token and group follow each row of an activation anew");
    v("axis", &Rule::axis, "of granularity channel: 0 rows, 1 columns (weights [outputs, inputs])",
      in_range(0, 1));
    v("group_size", &Rule::group_size,
      "of granularity group: neighbouring features that share a scale", at_least(1));
    v("groups", &Rule::groups,
      "of granularity feature_groups: into how many groups of neighbours the features are divided",
      at_least(1));
    v("grid", &Rule::grid, "integer range, divisor and epsilon of a published code");
    v("observer", &Rule::observer, "how the range is found");
    v("quantizer", &Rule::quantizer, "how values are mapped to the grid");
    v("during_calibration", &Rule::during_calibration,
      "observe the float network, or a network in which each site already quantizes");
  }
};

// A rule that also knows where it was written.
class RuleType final : public ObjectType {
 public:
  RuleType() : ObjectType(schema_of<Rule>()) {}
  void read(const ReadRequest& request, void* value) const override {
    ObjectType::read(request, value);
    static_cast<Rule*>(value)->mark = request.node.mark;
  }
};

template <>
struct ValueTypeOf<Rule> {
  static const ValueType& get() {
    static const RuleType type;
    return type;
  }
};

// Names for sites, each with its patterns. A pattern may hold `{layer}`.
using SiteGroups = std::map<std::string, std::vector<std::string>>;

struct QuantOptions {
  std::vector<std::filesystem::path> include;
  SiteGroups groups;
  std::vector<Rule> rules;

  template <class V>
  static void describe(V& v) {
    v("include", &QuantOptions::include,
      "files with `rules:` that are applied before those below, such as the placements of a paper",
      existing_file(), or_single());
    v("groups", &QuantOptions::groups,
      "names of letters for sites, each with a list of patterns; rules say `group:NAME`, or "
      "`group:NAME3` of layer 3 where a pattern has {layer} in place of the number");
    v("rules", &QuantOptions::rules, "applied in order; later rules win");
  }
};

// What the rules say about one site.
struct SitePlan {
  bool quantize = false;
  QuantSpec spec;
  bool has_bits = false;
  DuringCalibration during_calibration = DuringCalibration::kObserve;
  ObserverChoice observer;
  QuantizerChoice quantizer;
};

// The rules of the included files followed by the options' own, with patterns in place of the names
// of groups. Problems in the files are added, and groups that nobody defines.
std::vector<Rule> collect_rules(const QuantOptions& options, ReadContext& context);

// Applies rules to sites in order. A rule that matches no site, a site that is to be quantized
// without bits, and settings that a site cannot have are added to `problems`.
std::vector<SitePlan> plan_sites(std::span<const Site> sites, std::span<const Rule> rules,
                                 const Plugins& plugins, Problems& problems);

// Creates the points of a plan.
void apply_plan(std::span<const SitePlan> plan, SitePoints& points);

}  // namespace quell
