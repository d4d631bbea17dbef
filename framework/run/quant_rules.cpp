#include "framework/run/quant_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/config/load.h"
#include "framework/quant/scale_map.h"

namespace quell {
namespace {

// The content of a file named by `quant.include`.
struct RuleFile {
  std::vector<std::filesystem::path> include;
  SiteGroups groups;
  std::vector<Rule> rules;

  template <class V>
  static void describe(V& v) {
    v("include", &RuleFile::include, "files whose rules come before these", existing_file(),
      or_single());
    v("groups", &RuleFile::groups, "names for sites");
    v("rules", &RuleFile::rules, "applied in order; later rules win", required());
  }
};

constexpr int kMaxIncludeDepth = 16;
// Files that include others twice each would make 2^depth of them.
constexpr size_t kMost = 10'000;

class RuleCollector {
 public:
  explicit RuleCollector(ReadContext& context) : context_(context) {}

  void append_file(const std::filesystem::path& path, int depth = 0) {
    if (path.empty()) return;  // does not exist, which is among the problems already
    if (depth > kMaxIncludeDepth) {
      throw ConfigError(fmt::format("{}: files include each other in a circle", path.string()));
    }
    const RuleFile& file = load(path);
    for (const auto& included : file.include) append_file(included, depth + 1);
    append(file.groups, file.rules);
    if (++files_ <= kMost && rules.size() <= kMost) return;
    throw ConfigError(fmt::format(
        "{}: more than {} rules or files are included; does a file include another repeatedly?",
        path.string(), kMost));
  }

  void append(const SiteGroups& more_groups, const std::vector<Rule>& more) {
    for (const auto& [name, patterns] : more_groups) groups_[name] = patterns;
    rules.insert(rules.end(), more.begin(), more.end());
  }

  // Puts patterns in the place of groups.
  void resolve_groups() {
    for (Rule& rule : rules) {
      std::vector<std::string> patterns;
      for (const std::string& pattern : rule.sites) append_patterns(pattern, rule.mark, patterns);
      rule.sites = std::move(patterns);
    }
  }

  std::vector<Rule> rules;

 private:
  void append_patterns(const std::string& pattern, const Mark& mark,
                       std::vector<std::string>& patterns) {
    if (!pattern.starts_with(kGroup)) {
      patterns.push_back(pattern);
      return;
    }
    const std::string given = pattern.substr(kGroup.size());
    const auto is_letter = [](unsigned char c) { return std::isalpha(c) != 0 || c == '_'; };
    const auto end = std::find_if_not(given.begin(), given.end(), is_letter);
    const std::string name(given.begin(), end), layer(end, given.end());
    const auto group = groups_.find(name);
    if (group == groups_.end()) {
      context_.problems.add(mark, "quant.rules", unknown_group(name));
      return;
    }
    for (std::string own : group->second) {
      const size_t place = own.find(kLayer);
      if (place == std::string::npos && !layer.empty()) {
        context_.problems.add(mark, "quant.rules",
                              fmt::format("group \"{}\" has no layers, found \"{}\"; write {}{}",
                                          name, given, kGroup, name));
        return;
      }
      if (place != std::string::npos)
        own.replace(place, kLayer.size(), layer.empty() ? "*" : layer);
      patterns.push_back(std::move(own));
    }
  }

  std::string unknown_group(const std::string& name) const {
    if (groups_.empty()) {
      return fmt::format(
          "no group \"{}\"; define it in `quant.groups`, or include a file that does, such as "
          "placements/qualcomm.yaml",
          name);
    }
    std::vector<std::string> known;
    for (const auto& [own, patterns] : groups_) known.push_back(own);
    return fmt::format("no group \"{}\"; known: {}", name, fmt::join(known, ", "));
  }

  const RuleFile& load(const std::filesystem::path& path) {
    const auto known = loaded_.find(path);
    if (known != loaded_.end()) return known->second;
    const ConfigNode node = load_yaml(path, context_.problems);
    return loaded_.emplace(path, read_config<RuleFile>(node, context_)).first->second;
  }

  static constexpr std::string_view kGroup = "group:", kLayer = "{layer}";

  ReadContext& context_;
  SiteGroups groups_;
  std::map<std::filesystem::path, RuleFile> loaded_;
  size_t files_ = 0;
};

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
  take(rule.groups, plan.spec.groups);
  take(rule.grid, plan.spec.grid);
  take(rule.observer, plan.observer);
  take(rule.quantizer, plan.quantizer);
  take(rule.during_calibration, plan.during_calibration);
}

// Marks the sites that one pattern names. False when it names none. Throws ConfigError.
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
    if (const std::string problem = granularity_problem(spec); !problem.empty()) {
      problems.add(marks[id], "quant.rules", fmt::format("{}: {}", sites[id].key(), problem));
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
  RuleCollector collector(context);
  for (const auto& path : options.include) collector.append_file(path);
  collector.append(options.groups, options.rules);
  collector.resolve_groups();
  return std::move(collector.rules);
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
      try {
        if (mark_matches(sites, pattern, hit)) continue;
        problems.add(
            rule.mark, "quant.rules",
            fmt::format("pattern \"{}\" matches no site{}", pattern, suggest_site(sites, pattern)));
      } catch (const ConfigError& error) {
        problems.add(rule.mark, "quant.rules", error.what());
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
    point->make_observer = [choice = plan[id].observer](const QuantSpec& spec) {
      return choice.create(spec);
    };
    point->make_quantizer = [choice = plan[id].quantizer](const QuantSpec& spec) {
      return choice.create(spec);
    };
    point->observer = point->make_observer(point->spec);
    point->quantizer = point->make_quantizer(point->spec);
    point->observer_name = plan[id].observer.name();
    point->observer_settings =
        to_yaml(ValueTypeOf<ObserverChoice>::get().print(&plan[id].observer));
    point->quantizer_name = plan[id].quantizer.name();
    point->calibrated = plan[id].spec.is_dynamic();
    points.set_point(static_cast<SiteId>(id), std::move(point));
  }
}

}  // namespace quell
