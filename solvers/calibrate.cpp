// Calibration: observes weights once and activations over all calibration batches, or takes ranges
// from a file.

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/quant/scale_map.h"
#include "framework/solve/calibration.h"
#include "framework/solve/stored_calibration.h"

namespace quell {
namespace {

struct Params {
  std::filesystem::path from;
  std::vector<std::string> entry;
  std::vector<std::string> sites = {"*"};
  int64_t first_batch = 0;
  int64_t batches = 0;

  template <class V>
  static void describe(V& v) {
    v("from", &Params::from,
      "file with scales and zero points (results.h5, or a JSON table by published names); sites "
      "that it does not name are observed",
      existing_file());
    v("entry", &Params::entry, "keys that lead to the table inside a JSON file", or_single());
    v("sites", &Params::sites, "patterns; other sites stay as they are", or_single(), non_empty());
    v("first_batch", &Params::first_batch,
      "activations are observed from this calibration batch on, counted from 0", at_least(0));
    v("batches", &Params::batches, "over so many calibration batches; 0: all from there on",
      at_least(0));
  }
};

class Calibrate final : public Solver {
 public:
  explicit Calibrate(const Params& params) : params_(params) {}

  void run(PipelineContext& context) override {
    SiteSet skipped = others(context);
    if (!params_.from.empty()) load(context, skipped);
    observe_weights(context, skipped);
    observe_activations(context, skipped, selection());
  }

  bool works_by_segment(Model& /*model*/) const override { return true; }
  // A block runs on all batches.
  bool works_on_block() const override { return selection().all(); }

 private:
  BatchSelection selection() const { return {params_.first_batch, params_.batches}; }
  // The quantized sites that are not chosen.
  SiteSet others(const PipelineContext& context) const;
  // Adds to `skipped` what was loaded.
  void load(PipelineContext& context, SiteSet& skipped) const;

  Params params_;
};

QuantParameters to_parameters(const StoredParameters& stored, const QuantSpec& spec) {
  const auto levels = kernels::levels(spec.grid, static_cast<int>(spec.bits), spec.symmetric,
                                      stored.signed_levels.value_or(true));
  return {at::tensor(stored.scale), at::tensor(stored.zero_point), levels};
}

// Whether a file has as many scales as the site needs: one for the tensor, or one per channel. How
// many channels an activation has shows only when it is quantized.
void check_count(const PipelineContext& context, SiteId id, size_t found) {
  const QuantSpec& spec = context.points.point(id)->spec;
  const std::optional<int64_t> expected =
      spec.is_weight ? ScaleMap::make(spec, context.model.weight_shape(id)).scales()
                     : known_scales(spec);
  if (found == 1 || !expected || static_cast<int64_t>(found) == *expected) return;
  throw DataError(
      fmt::format("calibrate: {} needs {} scales, the file has {}; its granularity or "
                  "its model is another",
                  context.model.sites()[id].key(), *expected, found));
}

// What a quantizer follows besides its scales, learned rounding for one, is part of what a file
// says: without it the weight would be another one.
void use_state(const PipelineContext& context, SiteId id, const StoredParameters& stored,
               const std::string& file) {
  const std::string key = context.model.sites()[static_cast<size_t>(id)].key();
  SitePoint& point = *context.points.point(id);
  if (point.quantizer_name != stored.quantizer) {
    throw ConfigError(
        fmt::format("calibrate: {} has more than scales for {}, for its quantizer {}; give it "
                    "`quantizer: {}`, or leave it to be observed with another file",
                    file, key, stored.quantizer, stored.quantizer));
  }
  NamedTensors state = point.quantizer->state();
  for (const auto& [name, tensor] : stored.state) state[name] = tensor;
  point.quantizer->set_state(state);
}

// Whether the states of these weights, of another model for all we know, fit them.
void try_states(const PipelineContext& context, const SiteSet& restored) {
  context.execution->for_each_segment([&](const Segment& segment) {
    for (const ModelTensor& tensor : segment.tensors) {
      if (tensor.site == kNoSite || !restored.contains(tensor.site)) continue;
      const Site& site = context.model.sites()[static_cast<size_t>(tensor.site)];
      try {
        context.points.point(tensor.site)->quantizer->codes(context.model.weight(tensor.site));
      } catch (const Error& error) {
        throw DataError(fmt::format("calibrate: {}: {}", site.key(), error.what()));
      }
    }
  });
}

// The groups of features of a file; those of neighbours where it has none.
std::shared_ptr<const FeatureGroups> groups_of(const StoredParameters& stored, int64_t groups,
                                               const std::string& where) {
  if (stored.group_of.empty()) return nullptr;
  try {
    return std::make_shared<FeatureGroups>(stored.group_of, groups);
  } catch (const ConfigError& error) {
    throw DataError(fmt::format("{}: {}", where, error.what()));
  }
}

SiteSet Calibrate::others(const PipelineContext& context) const {
  SiteSet others;
  bool any = false;
  for (size_t i = 0; i < context.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    if (context.points.point(id) == nullptr) continue;
    const bool chosen = std::any_of(
        params_.sites.begin(), params_.sites.end(),
        [&](const std::string& pattern) { return matches(context.model.sites()[i], pattern); });
    any |= chosen;
    if (!chosen) others.insert(id);
  }
  if (any) return others;
  throw ConfigError(
      fmt::format("calibrate: none of the quantized sites is among `sites: [{}]`; `quell check "
                  "EXPERIMENT` lists them",
                  fmt::join(params_.sites, ", ")));
}

void Calibrate::load(PipelineContext& context, SiteSet& skipped) const {
  // Sites with the same groups share them.
  std::map<std::vector<int64_t>, std::shared_ptr<const FeatureGroups>> known_groups;
  const auto stored = read_stored_calibration(params_.from, params_.entry);
  SiteSet restored;  // with more than parameters
  int64_t used = 0;
  for (const auto& [name, parameters] : stored) {
    const SiteId id = find_site(context.model.sites(), name);
    if (id == kNoSite) {
      std::vector<std::string> known;
      for (const Site& site : context.model.sites()) known.push_back(site.key());
      throw DataError(fmt::format("{}: \"{}\" is no site of this model{}", params_.from.string(),
                                  name, did_you_mean(name, known)));
    }
    SitePoint* point = context.points.point(id);
    if (point == nullptr || point->spec.is_dynamic() || !context.scope.contains(id) ||
        skipped.contains(id)) {
      continue;
    }
    check_count(context, id, parameters.scale.size());
    if (point->spec.granularity == Granularity::kFeatureGroups) {
      auto& groups = known_groups[parameters.group_of];
      if (groups == nullptr || groups->groups() != point->spec.groups) {
        groups = groups_of(parameters, point->spec.groups,
                           fmt::format("{}: {}", params_.from.string(), name));
      }
      context.points.set_feature_groups(id, groups);
    }
    point->quantizer->set_parameters(to_parameters(parameters, point->spec));
    if (!parameters.state.empty()) {
      use_state(context, id, parameters, params_.from.string());
      restored.insert(id);
    }
    point->range = {};
    point->calibrated = true;
    context.points.weight_changed(id);
    skipped.insert(id);
    ++used;
  }
  if (!restored.empty()) try_states(context, restored);
  context.log.info(fmt::format("calibrate: {} sites from {}", used, params_.from.string()));
}

}  // namespace

void register_solver_calibrate(Plugins& plugins) {
  add_plugin<Calibrate, Params>(plugins.solvers, "calibrate",
                                "Find the ranges of all sites by their observers, or load them.",
                                "OS 1.1.8, OS+ 1.2.3, Qualcomm 1.3.3 (see `during_calibration`)");
}

}  // namespace quell
