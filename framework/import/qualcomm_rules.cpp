#include "framework/import/qualcomm_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <optional>

#include "framework/base/error.h"
#include "framework/config/scalar.h"
#include "framework/import/qualcomm_nodes.h"

namespace quell::published {
namespace {

using Kind = NodeSetting::Kind;

// What --per-embd and --per-groups are about.
constexpr const char* kFeatureSites =
    "\"activation:embeddings.{sum_*,norm}\", "
    "\"activation:encoder.*.attention.{query,key,value,context,output,residual,norm}\", "
    "\"activation:encoder.*.ffn.{output,residual,norm}\"";
// Shifts of the estimators that search: a quarter of the codes.
int64_t shifts_of(int64_t bits) { return (int64_t{1} << bits) / 4; }

class RuleWriter {
 public:
  RuleWriter(const QualcommCommand& command, bool is_bert, ImportNotes& notes)
      : command_(command), is_bert_(is_bert), notes_(notes) {}

  QualcommRules rules();

 private:
  std::string observer(const std::string& method, const std::string& search,
                       std::optional<int64_t> candidates, std::optional<int64_t> shifts = {}) const;
  std::string activation_observer() const;
  void rounding_rules();
  void setup_rules();
  void group_rules();
  void node_rules();
  std::string kept_shifts(const NodeKey& key, int64_t bits) const;
  std::string node_rule(const NodeKey& key, const NodeSetting& setting);
  void cross_entropy_rule();
  void unused(std::string text) {
    notes_.push_back({ImportNote::Kind::kNoEffect, std::move(text)});
  }

  const QualcommCommand& command_;
  const bool is_bert_;
  ImportNotes& notes_;
  QualcommRules rules_;
};

std::string RuleWriter::observer(const std::string& method, const std::string& search,
                                 std::optional<int64_t> candidates,
                                 std::optional<int64_t> shifts) const {
  if (method == "current_minmax" || method == "allminmax") {
    return method == "allminmax" ? "minmax" : method;
  }
  if (method == "running_minmax") {
    if (!command_.momentum) return "ema_minmax";
    return fmt::format("{{type: ema_minmax, momentum: {}}}", format_double(*command_.momentum));
  }
  std::string text = method == "MSE" ? "{type: summed_mse" : "{type: cross_entropy";
  if (search == "golden_section") text += ", search: brent";
  if (candidates) text += fmt::format(", candidates: {}", *candidates);
  if (shifts) text += fmt::format(", shifts: {}", *shifts);
  return text + "}";
}

std::string RuleWriter::activation_observer() const {
  if (command_.percentile && *command_.percentile > 0) {
    return fmt::format("{{type: current_minmax, percentile: {}, sides: low}}",
                       format_double(*command_.percentile));
  }
  return observer(command_.activation_method, command_.activation_search,
                  command_.activation_candidates);
}

// The last layer has estimators of its own by --quant-setup, in BERT.
void RuleWriter::setup_rules() {
  if (command_.setup == "all") return;
  if (!is_bert_) {
    return unused(
        fmt::format("--quant-setup {}: of BERT alone, in the published code, too", command_.setup));
  }
  rules_.yaml += command_.setup == "FP_logits"
                     ? "    - {sites: \"group:C\", quantize: false}\n"
                     : "    - {sites: \"group:C\", observer: {type: summed_mse, search: brent}}\n";
}

void RuleWriter::group_rules() {
  if (!command_.per_embedding && !command_.groups) return;
  if (!is_bert_)
    return unused("--per-embd, --per-groups: of BERT alone, in the published code, too");
  std::string sites = kFeatureSites;
  if (command_.per_embedding) sites += ", \"group:P\"";
  rules_.yaml +=
      fmt::format("    - {{sites: [{}],\n       granularity: {}", sites,
                  command_.groups ? fmt::format("feature_groups, groups: {}", *command_.groups)
                                  : "channel, axis: 1");
  rules_.yaml += command_.percentile ? ", observer: current_minmax}\n" : "}\n";
  if (command_.permute) {
    rules_.permuted.emplace_back(kFeatureSites);
  } else {
    rules_.all_permuted = false;
  }
}

// Where --quant-dict changes the bits of what a search has a range for, its estimator, made before,
// keeps the shifts of the old bits.
std::string RuleWriter::kept_shifts(const NodeKey& key, int64_t bits) const {
  const std::string_view letter = key.node->letter;
  const bool weight = key.node->pattern.starts_with("weight:");
  const int64_t before = weight ? command_.weight_bits : command_.activation_bits;
  const bool symmetric = weight ? command_.symmetric_weights : command_.symmetric_activations;
  if (symmetric || bits == before) return "";
  const std::string& method = weight ? command_.weight_method : command_.activation_method;
  const std::string& search = weight ? command_.weight_search : command_.activation_search;
  const auto candidates = weight ? command_.weight_candidates : command_.activation_candidates;
  const bool brent = letter == "Et" || (letter == "C" && command_.setup == "MSE_logits");
  if (brent) return ", observer: " + observer("MSE", "golden_section", {}, shifts_of(before));
  if (method != "MSE" && method != "cross_entropy") return "";
  return ", observer: " + observer(method, search, candidates, shifts_of(before));
}

// The bits or groups of a node, and what else follows from that.
std::string RuleWriter::node_rule(const NodeKey& key, const NodeSetting& setting) {
  const std::string observed = command_.percentile ? ", observer: current_minmax" : "";
  switch (setting.kind) {
    case Kind::kBits:
      return fmt::format("bits: {}{}", setting.number, kept_shifts(key, setting.number));
    case Kind::kFloat:
      return "quantize: false";
    case Kind::kPerEmbedding:
      return "granularity: channel, axis: 1" + observed;
    case Kind::kGroups:
      rules_.all_permuted = false;
      break;
    case Kind::kPermutedGroups:
      if (!command_.permute && !command_.permute_shared) {
        rules_.never_quantized = true;
        return "quantize: false";
      }
      rules_.permuted.push_back(fmt::format("\"{}\"", key.pattern()));
  }
  return fmt::format("granularity: feature_groups, groups: {}{}", setting.number, observed);
}

void RuleWriter::node_rules() {
  if (command_.nodes.empty()) return;
  if (command_.nodes.count("Et") > 0) {
    rules_.yaml += "    - {sites: \"group:Et\", observer: {type: summed_mse, search: brent}}\n";
  }
  if (!is_bert_) {
    return unused(
        "--quant-dict: of BERT alone, in the published code, too, but for the estimator of word "
        "embeddings, which 'Et' changes");
  }
  // In the order of the published code, where what comes later wins: within a letter that of all
  // layers. Neighbours with equal settings are one rule.
  std::vector<std::pair<std::string, std::vector<std::string>>> rules;
  for (const QuantNode& node : quant_nodes()) {
    std::vector<std::pair<NodeKey, NodeSetting>> own;
    for (const auto& [name, setting] : command_.nodes) {
      const auto key = find_node(name);
      if (key->node == &node) own.emplace_back(*key, setting);
    }
    std::stable_sort(own.begin(), own.end(), [](const auto& a, const auto& b) {
      return a.first.layer.has_value() && !b.first.layer.has_value();
    });
    for (auto [key, setting] : own) {
      if (node.letter == "wP") {
        key = *find_node("P");
        notes_.push_back({ImportNote::Kind::kDifference,
                          "--quant-dict: 'wP' changes the pooler's output in the published code, "
                          "not its weight; so it does here"});
      }
      const std::string rule = node_rule(key, setting);
      if (rules.empty() || rules.back().first != rule) rules.push_back({rule, {}});
      rules.back().second.push_back(fmt::format("\"{}\"", key.group()));
    }
  }
  for (const auto& [rule, sites] : rules) {
    std::string list = fmt::format("{}", fmt::join(sites, ", "));
    if (sites.size() > 1) list = "[" + list + "]";
    rules_.yaml += fmt::format("    - {{sites: {}, {}}}\n", list, rule);
  }
}

void RuleWriter::cross_entropy_rule() {
  const std::string& layer = command_.cross_entropy_layer;
  if (layer.empty()) return;
  const bool logits = layer == (is_bert_ ? "classifier" : "classifier.out_proj");
  if (!logits && layer != "bert.pooler.dense_act.0") {
    throw ConfigError(
        fmt::format("--cross-entropy-layer: {} is not imported; leave the option out, and add a "
                    "rule with `observer: cross_entropy` for its site",
                    layer));
  }
  const bool brent = logits && is_bert_ && command_.setup == "MSE_logits";
  rules_.yaml += fmt::format("    - {{sites: \"group:{}\", observer: {}}}\n", logits ? "C" : "P",
                             brent ? "{type: cross_entropy, search: brent}" : "cross_entropy");
}

void RuleWriter::rounding_rules() {
  if (!command_.rounding) return;
  std::vector<std::string> sites;
  for (const std::string& layer : command_.rounding->layers) {
    sites.push_back(fmt::format("\"weight:{}\"", weight_site_of(layer)));
  }
  rules_.yaml +=
      fmt::format("    - {{sites: [{}], quantizer: adaround}}\n",
                  sites.empty() ? "\"weight:*\"" : fmt::format("{}", fmt::join(sites, ", ")));
}

QualcommRules RuleWriter::rules() {
  const char* learned =
      command_.trains && command_.training.learns_ranges ? ", quantizer: learned_range" : "";
  rules_.yaml = fmt::format(
      "quant:\n  include: placements/qualcomm.yaml\n  rules:\n"
      "    - {{sites: \"weight:*\", bits: {}, symmetric: {}, granularity: {}, observer: {}{}}}\n"
      "    - {{sites: \"activation:*\", bits: {}, symmetric: {}, observer: {}{}}}\n",
      command_.weight_bits, command_.symmetric_weights,
      command_.per_channel ? "channel, axis: 0" : "tensor",
      observer(command_.weight_method, command_.weight_search, command_.weight_candidates), learned,
      command_.activation_bits, command_.symmetric_activations, activation_observer(), learned);
  rounding_rules();
  setup_rules();
  group_rules();
  node_rules();
  cross_entropy_rule();
  if (!command_.quantize_weights) rules_.yaml += "    - {sites: \"weight:*\", quantize: false}\n";
  if (!command_.quantize_activations) {
    rules_.yaml += "    - {sites: \"activation:*\", quantize: false}\n";
    rules_.permuted.clear();
  }
  return std::move(rules_);
}

}  // namespace

QualcommRules quant_rules(const QualcommCommand& command, bool is_bert, ImportNotes& notes) {
  return RuleWriter(command, is_bert, notes).rules();
}

}  // namespace quell::published
