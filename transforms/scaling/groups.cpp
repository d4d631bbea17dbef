#include "transforms/scaling/groups.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>

#include "framework/base/error.h"

namespace quell {
namespace {

bool is_usual(const ScaleGroup& group, const Site& site, UsualGroups usual) {
  if (group.norm != nullptr) return !group.outlier_suppression_skips;
  return usual == UsualGroups::kNormsAndProducts && site.role == "product";
}

std::string list_of_groups(Model& model) {
  std::vector<std::string> keys;
  for (const ScaleGroup& group : model.graph().groups) {
    keys.push_back(model.sites()[static_cast<size_t>(group.site)].key());
  }
  return fmt::format("{}", fmt::join(keys, ", "));
}

}  // namespace

bool has_biases(const ScaleGroup& group) {
  return group.norm != nullptr && group.norm->bias.defined() &&
         std::all_of(group.readers.begin(), group.readers.end(),
                     [](const Linear* reader) { return reader->bias.defined(); });
}

const std::string& name_of(const ScaleGroup& group, const Model& model) {
  return model.sites()[static_cast<size_t>(group.site)].name;
}

bool are_local(const std::vector<ScaleGroup*>& groups, const Model& model) {
  return std::all_of(groups.begin(), groups.end(), [&](const ScaleGroup* group) {
    return std::any_of(
        model.segments().begin(), model.segments().end(), [&](const Segment& segment) {
          const SiteRange sites = model.sites_of(segment);
          return sites.contains(group->site) &&
                 std::all_of(group->readers.begin(), group->readers.end(),
                             [&](const Linear* one) { return sites.contains(one->weight_site); });
        });
  });
}

std::vector<ScaleGroup*> chosen_groups(Model& model, const std::vector<std::string>& patterns,
                                       UsualGroups usual, const std::string& step) {
  std::vector<ScaleGroup*> chosen;
  std::vector<bool> used(patterns.size(), false);
  for (ScaleGroup& group : model.graph().groups) {
    const Site& site = model.sites()[static_cast<size_t>(group.site)];
    bool wanted = patterns.empty() && is_usual(group, site, usual);
    for (size_t i = 0; i < patterns.size(); ++i) {
      if (!matches(site, patterns[i])) continue;
      wanted = used[i] = true;
    }
    if (wanted) chosen.push_back(&group);
  }
  const auto unused = std::find(used.begin(), used.end(), false);
  if (unused != used.end()) {
    throw ConfigError(fmt::format(
        "{}: sites: pattern \"{}\" names no rows that could be scaled; those of this model are {}",
        step, patterns[static_cast<size_t>(unused - used.begin())], list_of_groups(model)));
  }
  if (!chosen.empty()) return chosen;
  throw ConfigError(fmt::format(
      "{}: this model has no norm in front of linears; leave the step out of the pipeline", step));
}

bool will_have_biases(const ScaleGroup& group, const Model& model) {
  const auto stored = [&](const at::Tensor& place) {
    for (const Segment& segment : model.segments()) {
      for (const ModelTensor& tensor : segment.tensors) {
        if (tensor.place == &place) return tensor.is_stored;
      }
    }
    return false;
  };
  return group.norm != nullptr && stored(group.norm->bias) &&
         std::all_of(group.readers.begin(), group.readers.end(),
                     [&](const Linear* reader) { return stored(reader->bias); });
}

std::vector<std::string> additions_to(const std::vector<GroupChange>& changes, const Model& model) {
  std::vector<std::string> additions;
  for (const GroupChange& change : changes) {
    const std::string& name = name_of(*change.group, model);
    if (!change.group->shortcuts.empty()) {
      additions.push_back(fmt::format("{}: a factor on the shortcut that reads it", name));
    }
    if (change.shifts && !will_have_biases(*change.group, model)) {
      additions.push_back(
          fmt::format("{}: biases for the shift, of its norm or of linears that read it", name));
    }
  }
  return additions;
}

Range feature_extremes(const at::Tensor& rows) {
  QuantSpec spec;
  spec.granularity = Granularity::kChannel;
  spec.axis = 1;
  return min_max(rows, spec);
}

}  // namespace quell
