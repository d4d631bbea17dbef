// What the largest values of a network are good for (Sun et al., "Massive Activations in Large
// Language Models", COLM 2024, section 3): they are set to zero, or to their mean. No transform
// like the others: the float outputs change, and by how much is what one wants to know.

#include <ATen/ops/abs.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "framework/base/error.h"
#include "framework/model/pipeline.h"
#include "framework/outliers/hidden_states.h"
#include "framework/plugin/registry.h"

namespace quell {

enum class HeldAt { kZero, kMean };

template <>
struct EnumNames<HeldAt> {
  static constexpr std::pair<const char*, HeldAt> values[] = {{"zero", HeldAt::kZero},
                                                              {"mean", HeldAt::kMean}};
};

namespace {

constexpr const char* kName = "massive_activations";

struct Params {
  HeldAt set_to = HeldAt::kZero;
  double least = 100;
  double ratio = 1000;

  template <class V>
  static void describe(V& v) {
    v("set_to", &Params::set_to,
      "what becomes of a massive value: zero, or the mean of those of its channel over the "
      "calibration set");
    v("least", &Params::least, "magnitude from which a value is massive, if it also has the ratio",
      greater_than(0));
    v("ratio", &Params::ratio, "to the median magnitude of what the layer gives, from which it is",
      at_least(1));
  }
};

// Massive values of one layer, [features] each.
struct MassiveValues {
  double limit = 0;   // from which they are massive
  at::Tensor sums;    // float64
  at::Tensor counts;  // int64
};

// The tensors of a layer that hold its values, see models/blocks/held_values.h; null: none.
at::Tensor* held(const Segment& segment, const std::string& part) {
  for (const ModelTensor& tensor : segment.tensors) {
    if (tensor.stored.name == segment.name + ".held." + part) return tensor.place;
  }
  return nullptr;
}

class MassiveActivations final : public Transform {
 public:
  explicit MassiveActivations(const Params& params) : params_(params) {}

  std::vector<std::string> additions(Model&, const SiteSet&) const override {
    return {"limits for values behind layers"};
  }

  void run(PipelineContext& context) override {
    if (context.calibration.empty()) {
      throw ConfigError(
          fmt::format("{}: no calibration batches; raise calibration.samples", kName));
    }
    const auto& segments = context.model.segments();
    std::set<int64_t> held_before;  // channels; what a layer gives passes by the later ones
    for (const auto& [index, values] : massive_values(context)) {
      hold(segments[index], values, held_before, context.log);
    }
    if (held_before.empty()) {
      context.log.info(
          fmt::format("{}: no layer gives a value of {:g} that is {:g} times the "
                      "median; nothing is changed",
                      kName, params_.least, params_.ratio));
    }
  }

 private:
  using Look = std::function<void(size_t segment, const at::Tensor& rows)>;

  // Rows behind the layers that can hold values, over the calibration set, without padding.
  static void look_at_all(const PipelineContext& context, const Look& look) {
    const Pass pass(context.points);
    for (const Batch& batch : context.calibration) {
      const RealRows real(batch.target_offsets(), batch.target_valid_lengths());
      for_each_hidden_state(context.model, batch, pass, [&](size_t segment, const at::Tensor& all) {
        if (held(context.model.segments()[segment], "limit") == nullptr) return;
        look(segment, all.size(0) == batch.target_tokens() ? real.of(all) : all);
      });
    }
  }

  // By segment, in the order of execution: limits from a first pass, sums from a second.
  std::map<size_t, MassiveValues> massive_values(const PipelineContext& context) const {
    std::map<size_t, MagnitudeCounts> magnitudes;
    look_at_all(context,
                [&](size_t segment, const at::Tensor& rows) { magnitudes[segment].add(rows); });
    std::map<size_t, MassiveValues> found;
    look_at_all(context, [&](size_t segment, const at::Tensor& rows) {
      MassiveValues& values = found[segment];
      if (!values.sums.defined()) {
        values.limit = std::max(params_.least, params_.ratio * magnitudes[segment].median());
        values.sums = at::zeros({rows.size(1)}, at::kDouble);
        values.counts = at::zeros({rows.size(1)}, at::kLong);
      }
      const at::Tensor is_massive = at::abs(rows).ge(values.limit);
      values.counts.add_(is_massive.sum(0));
      values.sums.add_(at::where(is_massive, rows.to(at::kDouble), 0.0).sum(0));
    });
    return found;
  }

  void hold(const Segment& segment, const MassiveValues& values, std::set<int64_t>& held_before,
            Log& log) const {
    // Of channels that hold nothing: finite, since a stored parameter has to be.
    constexpr float kNever = std::numeric_limits<float>::max();
    at::Tensor limit = at::full({values.sums.numel()}, kNever);
    at::Tensor value = at::zeros({values.sums.numel()});
    bool any = false;
    for (int64_t channel = 0; channel < values.sums.numel(); ++channel) {
      const int64_t count = values.counts[channel].item<int64_t>();
      if (count == 0 || !held_before.insert(channel).second) continue;
      const double mean = values.sums[channel].item<double>() / static_cast<double>(count);
      limit[channel] = static_cast<float>(values.limit);
      if (params_.set_to == HeldAt::kMean) value[channel] = static_cast<float>(mean);
      any = true;
      log.info(fmt::format(
          "{}: behind {} channel {} has {} values of {:.4g} and more, {:.5g} on "
          "average: set to {:.5g}",
          kName, segment.name, channel, count, values.limit, mean, value[channel].item<double>()));
    }
    if (!any) return;
    *held(segment, "limit") = limit.to(segment.device);
    *held(segment, "value") = value.to(segment.device);
  }

  Params params_;
};

}  // namespace

void register_transform_massive_activations(Plugins& plugins) {
  add_plugin<MassiveActivations, Params>(
      plugins.transforms, kName,
      "Set massive activations to zero or to their mean, behind the layer that makes them: an "
      "intervention, which changes what the network computes.",
      "Sun et al. 2024, sections 2 and 3");
}

}  // namespace quell
