// Gamma migration (Outlier Suppression, section 4.1): a norm's gamma amplifies outliers, so it
// moves out of the norm, behind the quantizer of its output, into the linears and the shortcut that
// read it.

#include <ATen/ops/abs.h>
#include <ATen/ops/ge.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <optional>

#include "framework/base/error.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"

namespace quell {
namespace {

struct Params {
  std::optional<double> epsilon;
  double smallest_gamma = 1e-5;

  template <class V>
  static void describe(V& v) {
    v("epsilon", &Params::epsilon,
      "of the norms from then on; absent: the model's own. The published code gives every migrated "
      "norm 1.0e-5, whatever the model has, which moves the float outputs of BERT",
      greater_than(0));
    v("smallest_gamma", &Params::smallest_gamma,
      "channels with a smaller absolute gamma are left alone, because beta / gamma would explode",
      greater_than(0));
  }
};

class GammaMigration final : public Transform {
 public:
  explicit GammaMigration(const Params& params) : params_(params) {}

  void run(PipelineContext& context) override {
    int64_t migrated = 0;
    for (ScaleGroup& group : context.model.graph().groups) {
      if (group.norm == nullptr || group.outlier_suppression_skips) continue;
      migrate(group, context);
      ++migrated;
    }
    if (migrated == 0) {
      throw ConfigError(
          "gamma_migration: this model has no norm whose gamma could move; leave the "
          "step out of the pipeline");
    }
    context.log.info(fmt::format("gamma_migration: {} norms", migrated));
  }

 private:
  void migrate(ScaleGroup& group, PipelineContext& context) const;
  void report(const std::string& name, const at::Tensor& movable, Log& log) const;

  Params params_;
};

// Parameters that were found for the old values are no good any more.
void values_changed(SiteId id, SitePoints& points) {
  if (SitePoint* point = points.point(id)) point->calibrated = point->spec.is_dynamic();
  points.weight_changed(id);
}

void GammaMigration::migrate(ScaleGroup& group, PipelineContext& context) const {
  Norm& norm = *group.norm;
  const at::Tensor movable = at::ge(at::abs(norm.weight), params_.smallest_gamma);
  report(context.model.sites()[static_cast<size_t>(group.site)].name, movable, context.log);
  const at::Tensor moved = at::where(movable, norm.weight, at::ones_like(norm.weight));
  if (norm.bias.defined()) norm.bias.div_(moved);
  norm.weight.div_(moved);  // exactly 1 where it moved
  if (params_.epsilon) norm.epsilon = *params_.epsilon;
  group.gamma_moved = true;
  values_changed(norm.weight_site, context.points);
  values_changed(group.site, context.points);
  for (Linear* reader : group.readers) {
    reader->weight.mul_(moved);
    values_changed(reader->weight_site, context.points);
  }
  for (Shortcut* shortcut : group.shortcuts) {
    shortcut->scale = shortcut->scale.defined() ? at::mul(shortcut->scale, moved) : moved.clone();
  }
}

void GammaMigration::report(const std::string& name, const at::Tensor& movable, Log& log) const {
  const at::Tensor left = movable.logical_not().nonzero().view({-1});
  if (left.numel() == 0) return;
  const int64_t* channels = left.const_data_ptr<int64_t>();
  log.info(
      fmt::format("gamma_migration: {} of {} channels of {} keep their gamma, which is below {}: "
                  "{}",
                  left.numel(), movable.numel(), name, params_.smallest_gamma,
                  fmt::join(channels, channels + left.numel(), ", ")));
}

}  // namespace

void register_transform_gamma_migration(Plugins& plugins) {
  add_plugin<GammaMigration, Params>(plugins.transforms, "gamma_migration",
                                     "Move each norm's gamma behind the quantizer, into the "
                                     "linears and the shortcut that read it.",
                                     "OS section 4.1");
}

}  // namespace quell
