// SmoothQuant (Xiao et al., ICML 2023): a factor of each channel moves from activations into the
// weights that read them, so that both have ranges of like size.

#include <ATen/ops/amax.h>
#include <ATen/ops/maximum.h>
#include <fmt/format.h>
#include <map>
#include <string>

#include "framework/base/error.h"
#include "framework/plugin/registry.h"
#include "framework/quant/device.h"
#include "transforms/scaling/groups.h"

namespace quell {
namespace {

constexpr const char* kName = "smooth_quant";
constexpr double kSmallest = 1e-5;  // of a factor and of a weight's largest value, as published

struct Params {
  double alpha = 0.5;
  std::vector<std::string> sites;

  template <class V>
  static void describe(V& v) {
    v("alpha", &Params::alpha,
      "migration strength: a channel's factor is max|x|^alpha / max|w|^(1 - alpha); 0 leaves the "
      "activations as they are wide, 1 makes all channels equally wide",
      in_range(0, 1));
    v("sites", &Params::sites,
      "patterns of the activations that are scaled; empty: as published, what norms hand to the "
      "linears of layers",
      or_single());
  }
};

class SmoothQuant final : public Transform {
 public:
  explicit SmoothQuant(const Params& params) : params_(params) {}

  std::vector<std::string> additions(Model& model, const SiteSet&) const override {
    std::vector<GroupChange> changes;
    for (const ScaleGroup* group :
         chosen_groups(model, params_.sites, UsualGroups::kNorms, kName)) {
      changes.push_back({group});
    }
    return additions_to(changes, model);
  }

  void run(PipelineContext& context) override {
    if (context.calibration.empty()) {
      throw ConfigError(
          fmt::format("{}: no calibration batches; raise calibration.samples", kName));
    }
    std::vector<ScaleGroup*> groups =
        chosen_groups(context.model, params_.sites, UsualGroups::kNorms, kName);
    std::erase_if(groups,
                  [&](const ScaleGroup* group) { return !context.scope.contains(group->site); });
    if (groups.empty()) return;  // of a block
    const std::map<SiteId, at::Tensor> largest = largest_values(context, groups);
    size_t scaled = 0;
    context.execution->for_each_segment([&](const Segment& segment) {
      const SiteRange sites = context.model.sites_of(segment);
      for (const ScaleGroup* group : groups) {
        if (!sites.contains(group->readers.back()->weight_site)) continue;
        context.rewrites->add(*group, {.scale = factor(*group, largest.at(group->site))});
        ++scaled;
      }
    });
    QUELL_ASSERT(scaled == groups.size(), "readers that no segment has");
    context.log.info(
        fmt::format("{}: {} groups of linears, alpha {}", kName, groups.size(), params_.alpha));
  }

  bool works_by_segment(Model& model) const override {
    return are_local(chosen_groups(model, params_.sites, UsualGroups::kNorms, kName), model);
  }
  bool works_on_block() const override { return true; }

 private:
  at::Tensor factor(const ScaleGroup& group, const at::Tensor& largest_rows) const {
    at::Tensor weights;
    for (const Linear* reader : group.readers) {
      const at::Tensor own = on_host(at::amax(reader->weight.abs(), 0), "extremes of weights");
      weights = weights.defined() ? at::maximum(weights, own) : own;
    }
    return largest_rows.pow(params_.alpha)
        .div_(weights.clamp_min_(kSmallest).pow_(1 - params_.alpha))
        .clamp_min_(kSmallest);
  }

  // Of each feature the largest absolute value in the float network, [features].
  static std::map<SiteId, at::Tensor> largest_values(const PipelineContext& context,
                                                     const std::vector<ScaleGroup*>& groups) {
    SiteSet wanted;
    for (const ScaleGroup* group : groups) wanted.insert(group->site);
    std::map<SiteId, at::Tensor> found;
    const auto look = [&](SiteId id, const at::Tensor& rows, const at::Tensor&) {
      if (!wanted.contains(id)) return;
      const Range range = feature_extremes(rows);
      const at::Tensor largest = at::maximum(range.max, range.min.neg());
      at::Tensor& known = found[id];
      known = known.defined() ? at::maximum(known, largest) : largest;
    };
    const auto pass = [&](size_t index) {
      const Batch& batch = context.calibration[index];
      PassOptions options{.tap = look, .tap_matrices = TapMatrices::kCompact};
      if (batch.padding_unobserved) {
        options.tap = [look, real = RealRows(batch.offsets, batch.valid_lengths)](
                          SiteId id, const at::Tensor& rows, const at::Tensor& same) {
          look(id, real.of(rows), same);
        };
      }
      return std::make_shared<const Pass>(context.points, std::move(options));
    };
    Resumable resumable{&context.progress, "looked"};
    resumable.collected = [&](size_t) {
      NamedTensors all;
      for (const auto& [id, largest] : found) all[std::to_string(id)] = largest;
      return all;
    };
    resumable.take = [&](const NamedTensors& all) {
      for (const auto& [id, largest] : all) found[std::stoi(id)] = largest;
    };
    context.execution->run(
        context.calibration, pass, BatchOrder::kInOrder, {},
        [&](int64_t done, int64_t total) { context.log.progress(kName, done, total); }, resumable);
    return found;
  }

  Params params_;
};

}  // namespace

void register_transform_smooth_quant(Plugins& plugins) {
  add_plugin<SmoothQuant, Params>(plugins.transforms, kName,
                                  "Move a factor of each channel from activations into weights, "
                                  "so that both are equally hard to quantize.",
                                  "Xiao et al. 2023, equation 4");
}

}  // namespace quell
