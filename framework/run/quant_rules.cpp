#include "framework/run/quant_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/config/load.h"

namespace quell {
namespace {

// The content of a file named by `quant.include`.
struct RuleFile {
  std::vector<std::filesystem::path> include;
  std::vector<Rule> rules;

  template <class V>
  static void describe(V& v) {
    v("include", &RuleFile::include, "files whose rules come before these", existing_file(),
      or_single());
    v("rules", &RuleFile::rules, "applied in order; later rules win", required());
  }
};

constexpr int kMaxIncludeDepth = 16;

void append_file(const std::filesystem::path& path, ReadContext& context, int depth,
                 std::vector<Rule>& rules) {
  if (path.empty()) return;  // does not exist, which is among the problems already
  if (depth > kMaxIncludeDepth) {
    throw ConfigError(fmt::format("{}: files include each other in a circle", path.string()));
  }
  const RuleFile file = read_config<RuleFile>(load_yaml(path, context.problems), context);
  for (const auto& included : file.include) append_file(included, context, depth + 1, rules);
  rules.insert(rules.end(), file.rules.begin(), file.rules.end());
}

template <class T>
void take(const std::optional<T>& from, T& to) {
  if (from) to = *from;
}

void apply_rule(const Rule& rule, SitePlan& plan) {
  take(rule.quantize, plan.quantize);
  plan.has_bits |= rule.bits.has_value();
  take(rule.bits, plan.spec.bits);
  take(rule.symmetric, plan.spec.symmetric);
  take(rule.granularity, plan.spec.granularity);
  take(rule.axis, plan.spec.axis);
  take(rule.group_size, plan.spec.group_size);
  take(rule.grid, plan.spec.grid);
  take(rule.observer, plan.observer);
  take(rule.quantizer, plan.quantizer);
  take(rule.during_calibration, plan.during_calibration);
}

// Marks the sites that one pattern names. False when it names none.
bool mark_matches(std::span<const Site> sites, const std::string& pattern, std::vector<bool>& hit) {
  bool any = false;
  for (size_t id = 0; id < sites.size(); ++id) {
    if (!matches(sites[id], pattern)) continue;
    hit[id] = true;
    any = true;
  }
  return any;
}

std::string suggest_site(std::span<const Site> sites, const std::string& pattern) {
  std::vector<std::string> keys;
  for (const Site& site : sites) keys.push_back(site.key());
  if (const auto match = closest_match(pattern, keys)) {
    return fmt::format("; did you mean \"{}\"?", *match);
  }
  return "; `quell check EXPERIMENT` lists the sites of the model";
}

// Reports what a site cannot have. `marks` holds the last rule that names each site.
void check_plan(std::span<const Site> sites, std::span<const SitePlan> plans,
                std::span<const Mark> marks, Problems& problems) {
  std::vector<size_t> without_bits;
  for (size_t id = 0; id < sites.size(); ++id) {
    const QuantSpec& spec = plans[id].spec;
    if (!plans[id].quantize) continue;
    if (!plans[id].has_bits) without_bits.push_back(id);
    const auto problem = [&](const char* message) {
      problems.add(marks[id], "quant.rules", fmt::format("{}: {}", sites[id].key(), message));
    };
    if (spec.granularity == Granularity::kToken && spec.is_weight) {
      problem(
          "granularity token is for activations; use channel with axis 0 for one scale per row");
    }
    if (spec.granularity == Granularity::kGroup && spec.group_size < 1) {
      problem("granularity group needs a `group_size`");
    }
  }
  if (without_bits.empty()) return;
  const size_t first = without_bits[0];
  const std::string others =
      without_bits.size() == 1 ? " is" : fmt::format(" and {} more are", without_bits.size() - 1);
  problems.add(marks[first], "quant.rules",
               fmt::format("{}{} to be quantized, but no rule gives `bits`; add one, such as "
                           "{{sites: \"{}:*\", bits: 8}}",
                           sites[first].key(), others, to_string(sites[first].kind)));
}

}  // namespace

std::vector<Rule> collect_rules(const QuantOptions& options, ReadContext& context) {
  std::vector<Rule> rules;
  for (const auto& path : options.include) append_file(path, context, 0, rules);
  rules.insert(rules.end(), options.rules.begin(), options.rules.end());
  return rules;
}

std::vector<SitePlan> plan_sites(std::span<const Site> sites, std::span<const Rule> rules,
                                 const Plugins& plugins, Problems& problems) {
  SitePlan defaults;
  defaults.observer = ObserverChoice(plugins.observers, "minmax");
  defaults.quantizer = QuantizerChoice(plugins.quantizers, "fixed");
  std::vector<SitePlan> plans(sites.size(), defaults);
  std::vector<Mark> marks(sites.size());
  for (size_t id = 0; id < sites.size(); ++id) {
    QuantSpec& spec = plans[id].spec;
    spec.is_weight = sites[id].kind == SiteKind::kWeight;
    spec.symmetric = spec.is_weight;
    spec.axis = spec.is_weight ? 0 : 1;
  }
  for (const Rule& rule : rules) {
    std::vector<bool> hit(sites.size(), false);
    for (const std::string& pattern : rule.sites) {
      if (!mark_matches(sites, pattern, hit)) {
        problems.add(
            rule.mark, "quant.rules",
            fmt::format("pattern \"{}\" matches no site{}", pattern, suggest_site(sites, pattern)));
      }
    }
    for (size_t id = 0; id < sites.size(); ++id) {
      if (!hit[id]) continue;
      apply_rule(rule, plans[id]);
      marks[id] = rule.mark;
    }
  }
  check_plan(sites, plans, marks, problems);
  return plans;
}

void apply_plan(std::span<const SitePlan> plan, SitePoints& points) {
  for (size_t id = 0; id < plan.size(); ++id) {
    if (!plan[id].quantize) continue;
    auto point = std::make_unique<SitePoint>();
    point->spec = plan[id].spec;
    point->during_calibration = plan[id].during_calibration;
    point->observer = plan[id].observer.create(plan[id].spec);
    point->quantizer = plan[id].quantizer.create(plan[id].spec);
    point->observer_name = plan[id].observer.name();
    point->observer_settings =
        to_yaml(ValueTypeOf<ObserverChoice>::get().print(&plan[id].observer));
    point->quantizer_name = plan[id].quantizer.name();
    point->calibrated = plan[id].spec.is_dynamic();
    points.set_point(static_cast<SiteId>(id), std::move(point));
  }
}

}  // namespace quell
