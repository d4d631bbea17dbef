// Gamma migration (Outlier Suppression, section 4.1): a norm's gamma amplifies outliers, so it
// moves out of the norm, behind the quantizer of its output, into the linears and the shortcut that
// read it.

#include <ATen/ops/abs.h>
#include <ATen/ops/ge.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <optional>

#include "framework/base/error.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/quant/device.h"
#include "transforms/scaling/groups.h"

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

  std::vector<std::string> additions(Model& model, const SiteSet&) const override {
    std::vector<GroupChange> changes;
    for (const ScaleGroup& group : model.graph().groups) {
      if (moves(group)) changes.push_back({&group});
    }
    std::vector<std::string> added = additions_to(changes, model);
    if (params_.epsilon) added.emplace_back("another epsilon of the norms whose gamma moves");
    return added;
  }

  bool works_by_segment(Model& /*model*/) const override { return true; }

  void run(PipelineContext& context) override {
    int64_t migrated = 0;
    context.execution->for_each_segment([&](const Segment& segment) {
      for (ScaleGroup& group : context.model.graph().groups) {
        if (!moves(group) || !context.model.sites_of(segment).contains(group.site)) continue;
        migrate(group, context);
        ++migrated;
      }
    });
    if (migrated == 0) {
      throw ConfigError(
          "gamma_migration: this model has no norm whose gamma could move; leave the "
          "step out of the pipeline");
    }
    context.log.info(fmt::format("gamma_migration: {} norms", migrated));
  }

 private:
  static bool moves(const ScaleGroup& group) {
    return group.norm != nullptr && !group.outlier_suppression_skips;
  }
  void migrate(ScaleGroup& group, PipelineContext& context) const;
  void report(const std::string& name, const at::Tensor& movable, Log& log) const;

  Params params_;
};

void GammaMigration::migrate(ScaleGroup& group, PipelineContext& context) const {
  Norm& norm = *group.norm;
  const at::Tensor movable = at::ge(at::abs(norm.weight), params_.smallest_gamma);
  report(name_of(group, context.model), movable, context.log);
  const at::Tensor moved = at::where(movable, norm.weight, at::ones_like(norm.weight));
  context.rewrites->add(group, {.scale = moved});  // the weight is exactly 1 where it moved
  if (params_.epsilon) norm.epsilon = *params_.epsilon;
  group.gamma_moved = true;
}

void GammaMigration::report(const std::string& name, const at::Tensor& movable, Log& log) const {
  const at::Tensor left = on_host(movable, "gammas").logical_not().nonzero().view({-1});
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
