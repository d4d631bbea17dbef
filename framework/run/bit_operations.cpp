#include "framework/run/bit_operations.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <map>

#include "framework/base/error.h"
#include "framework/model/pass.h"

namespace quell {
namespace {

int64_t bits_of(SiteId id, const std::vector<SitePlan>& plan) {
  constexpr int64_t kFloatBits = 32;
  if (id == kNoSite) return kFloatBits;
  const SitePlan& site = plan[static_cast<size_t>(id)];
  return site.quantize ? site.spec.bits : kFloatBits;
}

// Every activation on a grid of its own, so that rows know where they come from.
SitePoints tracked_points(const Model& model, const Plugins& plugins) {
  Rule rule;
  rule.sites = {"activation:*"};
  rule.quantize = true;
  rule.bits = 8;
  Problems problems;
  SitePoints points(model.sites());
  const std::vector<Rule> rules = {rule};
  apply_plan(plan_sites(model.sites(), rules, plugins, problems), points);
  problems.throw_if_any();
  for (size_t i = 0; i < model.sites().size(); ++i) {
    SitePoint* point = points.point(static_cast<SiteId>(i));
    if (point == nullptr) continue;
    point->quantizer->init({at::ones({1}).neg(), at::ones({1})});
    point->calibrated = true;
  }
  return points;
}

}  // namespace

std::vector<LinearInput> linear_inputs(Bench& bench, const Plugins& plugins) {
  const auto batches = bench.task->calibration(bench.spec.calibration, bench.spec.seed);
  if (batches.empty()) throw ConfigError("no calibration batches; raise calibration.samples");
  bench.model->load(*bench.checkpoint);
  const SitePoints points = tracked_points(*bench.model, plugins);
  return linear_inputs(*bench.model, points, batches.front());
}

std::vector<LinearInput> linear_inputs(const Model& model, const SitePoints& points,
                                       const Batch& batch) {
  const at::NoGradGuard no_gradients;
  std::map<const SitePoint*, SiteId> sites;
  for (size_t i = 0; i < model.sites().size(); ++i) {
    sites[points.point(static_cast<SiteId>(i))] = static_cast<SiteId>(i);
  }
  PassOptions options{.quantize = points.calibrated(SiteKind::kActivation)};
  std::map<SiteId, LinearInput> found;
  options.inputs = [&](const Operand& operand, const Rows& rows) {
    const auto* linear = std::get_if<const Linear*>(&operand);
    if (linear == nullptr || (*linear)->weight_site == kNoSite) return;
    const SiteId weight = (*linear)->weight_site;
    found[weight] = {weight, rows.grid == nullptr ? kNoSite : sites.at(rows.grid),
                     (*linear)->weight.numel()};
  };
  model.forward(batch, Pass(points, std::move(options)));
  std::vector<LinearInput> linears;
  for (const auto& [weight, linear] : found) linears.push_back(linear);
  return linears;
}

int64_t bit_operations(const LinearInput& linear, const std::vector<SitePlan>& plan) {
  return linear.products * bits_of(linear.weight, plan) * bits_of(linear.input, plan);
}

}  // namespace quell
