#include "framework/export/linear_schemes.h"

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "framework/base/error.h"
#include "framework/quant/scale_map.h"
#include "framework/run/bit_operations.h"

namespace quell {
namespace {

constexpr const char* kWeight = ".weight";
constexpr int64_t kNarrowBits = 4, kWideBits = 8;

// Why a weight on this grid has no place; "" where it has.
std::string weight_problem(const QuantSpec& spec, bool has_float_input) {
  if (spec.bits > kWideBits) {
    return fmt::format("{} bits of a weight, and the format has at most {}", spec.bits, kWideBits);
  }
  const bool by_row = spec.granularity == Granularity::kTensor ||
                      (spec.granularity == Granularity::kChannel && spec.axis == 0);
  const bool by_group = spec.granularity == Granularity::kGroup;
  if (!by_row && !by_group) {
    return fmt::format("a scale per {} of a weight; take tensor or channel",
                       granularity_text(spec));
  }
  if (has_float_input) return "";
  if (by_group) {
    return "a scale per group of a weight whose input is quantized, too, which vLLM multiplies as "
           "integers; take channel";
  }
  return spec.symmetric ? ""
                        : "an asymmetric weight whose input is quantized, too, and vLLM multiplies "
                          "symmetric ones; set `symmetric: true` for weights";
}

std::string input_problem(const QuantSpec& spec) {
  if (spec.bits != kWideBits) {
    return fmt::format("{} bits of an activation, and vLLM multiplies {}", spec.bits, kWideBits);
  }
  if (spec.granularity != Granularity::kTensor && spec.granularity != Granularity::kToken) {
    return fmt::format("a scale per {} of an activation; take tensor or token",
                       granularity_text(spec));
  }
  const bool ends_early = spec.grid == kernels::Grid::kOsPlus && spec.symmetric;
  if (ends_early && !spec.is_dynamic()) {
    return "a symmetric grid of `os_plus`, which ends at -127, and codes begin at -128; take "
           "`grid: os`, or `symmetric: false`";
  }
  return "";
}

// What has no place, by the reason.
class Refusals {
 public:
  explicit Refusals(const Model& model) : model_(model) {}

  void add(SiteId site, const std::string& reason) {
    if (reason.empty()) return;
    auto known = std::find_if(reasons_.begin(), reasons_.end(),
                              [&](const auto& one) { return one.first == reason; });
    if (known == reasons_.end()) known = reasons_.insert(reasons_.end(), {reason, {}});
    known->second.push_back(site);
  }
  void throw_if_any() const {
    if (reasons_.empty()) return;
    std::string text = "compressed-tensors has no place for";
    for (const auto& [reason, sites] : reasons_) {
      const Site& first = model_.sites()[static_cast<size_t>(sites.front())];
      text += fmt::format("\n  {}{}: {}", first.key(),
                          sites.size() > 1 ? fmt::format(" and {} others", sites.size() - 1) : "",
                          reason);
    }
    throw ConfigError(text +
                      "\nquantize weights of linears in layers and their inputs alone, as "
                      "placements/linears_llama.yaml does, or take --format quell");
  }

 private:
  const Model& model_;
  std::vector<std::pair<std::string, std::vector<SiteId>>> reasons_;  // in the order of sites
};

// What an experiment quantizes, seen by the linears.
class SchemeCheck {
 public:
  SchemeCheck(const Bench& bench, const std::vector<LinearInput>& linears)
      : bench_(bench), refusals_(*bench.model) {
    for (const LinearModule& module : linear_modules(*bench.model)) {
      tensors_[module.tensor->site] = module.tensor;
    }
    for (const LinearInput& linear : linears) {
      readers_[linear.input].push_back(linear.weight);
      inputs_[linear.weight] = linear.input;
    }
    for (const ScaleGroup& group : bench.model->graph().groups) {
      if (!group.shortcuts.empty()) on_shortcuts_.insert(group.site);
    }
  }

  void run() {
    bool any = false;
    for (size_t i = 0; i < bench_.plan.size(); ++i) {
      const auto id = static_cast<SiteId>(i);
      if (!quantizes(id)) continue;
      any = true;
      const bool is_weight = bench_.model->sites()[i].kind == SiteKind::kWeight;
      refusals_.add(id, is_weight ? problem_of_weight(id) : problem_of_activation(id));
    }
    if (!any) {
      throw ConfigError("the experiment quantizes nothing; take --format huggingface");
    }
    refuse_unequal_readers();
    refusals_.throw_if_any();
  }

 private:
  const QuantSpec& spec(SiteId id) const { return bench_.plan[static_cast<size_t>(id)].spec; }
  bool quantizes(SiteId id) const {
    return id != kNoSite && bench_.plan[static_cast<size_t>(id)].quantize;
  }

  std::string problem_of_weight(SiteId id) const {
    const auto tensor = tensors_.find(id);
    if (tensor == tensors_.end()) return "no weight of a linear";
    if (bench_.model->sites()[static_cast<size_t>(id)].layer < 0) {
      return "a linear outside of the layers, which vLLM keeps in float";
    }
    if (tensor->second->stored.part.transposed) {
      return "a Conv1D, which is no Linear to transformers";
    }
    return weight_problem(spec(id), !quantizes(inputs_.at(id)));
  }

  std::string problem_of_activation(SiteId id) const {
    const auto readers = readers_.find(id);
    if (readers == readers_.end()) {
      return "an activation that no linear reads, and only inputs of linears are quantized";
    }
    if (on_shortcuts_.count(id) > 0) {
      return "an activation that is added by a shortcut, too, which stays float in this format";
    }
    for (const SiteId weight : readers->second) {
      if (!quantizes(weight)) return "the input of a linear whose weight is float";
    }
    return input_problem(spec(id));
  }

  LinearScheme scheme(SiteId weight) const {
    const SiteId input = inputs_.at(weight);
    return linear_scheme(spec(weight), quantizes(input) ? &spec(input) : nullptr);
  }

  // vLLM makes one linear of query, key and value, and of gate and up.
  void refuse_unequal_readers() {
    for (const auto& [input, weights] : readers_) {
      const SiteId first = weights.front();
      for (const SiteId weight : weights) {
        const bool equal = quantizes(weight) == quantizes(first) &&
                           (!quantizes(weight) || scheme(weight) == scheme(first));
        if (input == kNoSite || equal) continue;
        refusals_.add(weight, fmt::format("it reads the same rows as {}, and vLLM makes one linear "
                                          "of them; quantize both alike",
                                          bench_.model->sites()[static_cast<size_t>(first)].key()));
      }
    }
  }

  const Bench& bench_;
  std::map<SiteId, const ModelTensor*> tensors_;   // by weight
  std::map<SiteId, std::vector<SiteId>> readers_;  // weights, by what they read
  std::map<SiteId, SiteId> inputs_;                // by weight
  std::set<SiteId> on_shortcuts_;
  Refusals refusals_;
};

}  // namespace

LinearScheme linear_scheme(const QuantSpec& weight, const QuantSpec* input) {
  LinearScheme scheme{.symmetric_weight = weight.symmetric};
  if (weight.granularity == Granularity::kGroup) scheme.group_size = weight.group_size;
  if (input == nullptr) {
    scheme.weight_bits = weight.bits <= kNarrowBits ? kNarrowBits : kWideBits;
    return scheme;
  }
  scheme.input = input->is_dynamic() ? InputScheme::kDynamic : InputScheme::kStatic;
  // Without negative values Qualcomm's symmetric grid has unsigned codes.
  const bool may_be_unsigned = input->grid == kernels::Grid::kQualcomm && !input->is_dynamic();
  scheme.symmetric_input = input->symmetric && !may_be_unsigned;
  return scheme;
}

std::vector<LinearModule> linear_modules(const Model& model) {
  constexpr size_t kMatrix = 2;
  std::vector<LinearModule> modules;
  for (const Segment& segment : model.segments()) {
    for (const ModelTensor& tensor : segment.tensors) {
      const std::string& name = tensor.stored.stored_name();
      const bool is_table = tensor.site != kNoSite &&
                            model.sites()[static_cast<size_t>(tensor.site)].role == "embedding";
      if (is_table || tensor.stored.shape.size() != kMatrix || !name.ends_with(kWeight)) continue;
      modules.push_back({name.substr(0, name.size() - std::string(kWeight).size()), &tensor});
    }
  }
  return modules;
}

void check_schemes(Bench& bench, const Plugins& plugins) {
  SchemeCheck(bench, linear_inputs(bench, plugins)).run();
}

}  // namespace quell
