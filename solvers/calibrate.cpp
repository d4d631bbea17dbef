// Calibration: observes weights once and activations over all calibration batches, or takes ranges
// from a file.

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
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
  int64_t first_batch = 0;
  int64_t batches = 0;

  template <class V>
  static void describe(V& v) {
    v("from", &Params::from,
      "file with scales and zero points (results.h5, or a JSON table by published names); sites "
      "that it does not name are observed",
      existing_file());
    v("entry", &Params::entry, "keys that lead to the table inside a JSON file", or_single());
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
    SiteSet loaded;
    if (!params_.from.empty()) load(context, loaded);
    observe_weights(context, loaded);
    observe_activations(context, loaded, selection());
  }

  // A block runs on all batches.
  bool works_by_segment() const override { return selection().all(); }

 private:
  BatchSelection selection() const { return {params_.first_batch, params_.batches}; }
  void load(PipelineContext& context, SiteSet& loaded) const;

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

// Learned rounding is part of what a file says: without it the weight would be another one.
void use_rounding(const PipelineContext& context, SiteId id, const at::Tensor& rounding) {
  const std::string key = context.model.sites()[static_cast<size_t>(id)].key();
  Quantizer& quantizer = *context.points.point(id)->quantizer;
  if (!quantizer.holds_rounding()) {
    throw ConfigError(fmt::format(
        "calibrate: the file has learned rounding for {}; give it `quantizer: adaround`, "
        "or leave it to be observed with another file",
        key));
  }
  if (rounding.sizes() != at::IntArrayRef(context.model.weight_shape(id))) {
    throw DataError(fmt::format(
        "calibrate: the rounding of {} in the file is that of a weight of another shape", key));
  }
  quantizer.set_rounding(rounding);
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

void Calibrate::load(PipelineContext& context, SiteSet& loaded) const {
  // Sites with the same groups share them.
  std::map<std::vector<int64_t>, std::shared_ptr<const FeatureGroups>> known_groups;
  const auto stored = read_stored_calibration(params_.from, params_.entry);
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
    if (point == nullptr || point->spec.is_dynamic() || !context.scope.contains(id)) continue;
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
    if (parameters.rounding.defined()) use_rounding(context, id, parameters.rounding);
    point->range = {};
    point->calibrated = true;
    context.points.weight_changed(id);
    loaded.insert(id);
    ++used;
  }
  context.log.info(fmt::format("calibrate: {} sites from {}", used, params_.from.string()));
}

}  // namespace

void register_solver_calibrate(Plugins& plugins) {
  add_plugin<Calibrate, Params>(plugins.solvers, "calibrate",
                                "Find the ranges of all sites by their observers, or load them.",
                                "OS 1.1.8, OS+ 1.2.3, Qualcomm 1.3.3 (see `during_calibration`)");
}

}  // namespace quell
