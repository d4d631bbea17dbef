// AdaRound: whether each value of a weight is rounded up or down is learned, so that the outputs of
// its layer, or of its block, come near to those of the float network (Nagel et al. 2020; as in the
// code of Bondarenko et al. 2021. Blocks: Li et al. 2021; dropping: Wei et al. 2022).

#include <fmt/format.h>

#include "framework/base/draw.h"
#include "framework/base/error.h"
#include "framework/model/pipeline.h"
#include "framework/plugin/registry.h"
#include "framework/quant/device.h"
#include "solvers/adaround/block_reconstruction.h"
#include "solvers/adaround/grid_search.h"
#include "solvers/adaround/learned_rounding.h"
#include "solvers/adaround/networks.h"
#include "solvers/adaround/options.h"
#include "solvers/adaround/rounding_optimizer.h"

namespace quell {
namespace {

constexpr const char* kName = "adaround";

struct Params : AdaRoundOptions {
  static void check(const Params& params, Report& report);
};

void Params::check(const Params& params, Report& report) {
  const bool blocks = params.reconstruct == Reconstruct::kBlock;
  if (params.drop > 0 && !(blocks && params.quantize_activations)) {
    report.problem("drop",
                   "leaves out the quantization of activations while blocks are reconstructed; it "
                   "needs `reconstruct: block` and `quantize_activations: true`");
  }
  if (params.quantize_activations && !params.asymmetric) {
    report.problem("quantize_activations",
                   "inputs of the float network have no quantized activations; leave "
                   "`asymmetric: false` out");
  }
  if (blocks && params.grid != RoundingGrid::kCalibrated && params.grid != RoundingGrid::kMse) {
    report.problem("grid", "outputs of single layers are looked at with `reconstruct: layer` only");
  }
}

// One run of the solver.
class Learning {
 public:
  Learning(PipelineContext& context, const AdaRoundOptions& options)
      : context_(context),
        options_(options),
        memory_(options.memory << 20,
                options.scratch.empty() ? std::filesystem::temp_directory_path() : options.scratch),
        networks_(context, options.asymmetric, options.quantize_activations, memory_),
        progress_(context) {}

  void run(const std::vector<SiteId>& sites);

 private:
  struct Reconstructed {
    std::unique_ptr<Reconstruction> layer;
    std::shared_ptr<int64_t> sequences;  // that were added
  };

  void learn_layer(const Segment& segment, SiteId site);
  void learn_block(const Segment& segment, const std::vector<SiteId>& sites);
  void choose_grid(const Segment& segment, SiteId site);
  // Of the operation of a weight; a linear by `asymmetric` inputs or those of the float network.
  Reconstructed reconstruction(const Segment& segment, SiteId site, const AdaRoundOptions& options);
  const Site& site_of(SiteId id) const { return context_.model.sites()[static_cast<size_t>(id)]; }

  PipelineContext& context_;
  AdaRoundOptions options_;
  RowMemory memory_;
  TwoNetworks networks_;
  RoundingProgress progress_;
};

void Learning::run(const std::vector<SiteId>& sites) {
  context_.execution->for_each_segment([&](const Segment& segment) {
    const SiteRange range = context_.model.sites_of(segment);
    if (range.first > sites.back()) return;  // nothing is left to learn
    std::vector<SiteId> own;
    for (const SiteId site : sites) {
      if (range.contains(site) && !progress_.take_over(site)) own.push_back(site);
    }
    if (options_.reconstruct == Reconstruct::kBlock && !own.empty()) {
      learn_block(segment, own);
    } else {
      for (const SiteId site : own) learn_layer(segment, site);
    }
    context_.log.progress(kName, std::ssize(progress_.results()), std::ssize(sites));
    if (range.end <= sites.back()) networks_.advance(segment);
  });
  double nearest = 0, learned = 0;
  int64_t changed = 0, values = 0;
  for (const RoundingResult& result : progress_.results()) {
    nearest += result.nearest_error;
    learned += result.learned_error;
    changed += result.changed;
    values += result.values;
  }
  context_.log.info(fmt::format(
      "{}: {} weights, sum of mean squared errors {:.4g} -> {:.4g}, {:.2f} % of {} values not "
      "rounded to the nearest",
      kName, sites.size(), nearest, learned,
      100.0 * static_cast<double>(changed) / static_cast<double>(values), values));
  context_.records.push_back(progress_.record());
}

Learning::Reconstructed Learning::reconstruction(const Segment& segment, SiteId site,
                                                 const AdaRoundOptions& options) {
  Reconstructed result{nullptr, std::make_shared<int64_t>(0)};
  const uint64_t seed = derived_seed(context_.seed, static_cast<uint64_t>(site));
  const SequenceDraw draw = [sequences = result.sequences, seed,
                             size = options.batch_size](int64_t iteration) {
    return draw_without_replacement(*sequences, std::min(size, *sequences),
                                    derived_seed(seed, static_cast<uint64_t>(iteration)));
  };
  networks_.for_each_input(segment, site,
                           [&](const Operand& operand, const OperationInputs& inputs) {
                             if (result.layer == nullptr) {
                               result.layer = make_reconstruction(operand, options, draw, memory_);
                             }
                             OperationInputs used = inputs;
                             if (!options.asymmetric) used.quantized = used.original;
                             result.layer->add(used);
                             *result.sequences += std::ssize(inputs.begins) - 1;
                           });
  return result;
}

void Learning::choose_grid(const Segment& segment, SiteId site) {
  SitePoint& point = *context_.points.point(site);
  Reconstructed outputs;
  if (options_.grid != RoundingGrid::kMse) {
    // As published, of the whole layer.
    AdaRoundOptions options = options_;
    options.asymmetric = options_.grid == RoundingGrid::kMseOutAsym;
    options.include_nonlinearity = true;
    outputs = reconstruction(segment, site, options);
  }
  const at::Tensor weight = on_host(context_.model.weight(site), kName);
  const Range range = best_range(weight, point.spec, outputs.layer.get());
  point.quantizer->init(range, weight);
  point.range = range;
}

void Learning::learn_layer(const Segment& segment, SiteId site) {
  SitePoint& point = *context_.points.point(site);
  if (options_.grid != RoundingGrid::kCalibrated) choose_grid(segment, site);
  const at::Tensor weight = on_host(context_.model.weight(site), kName);
  const Reconstructed outputs = reconstruction(segment, site, options_);
  const QuantParameters parameters = point.quantizer->parameters();
  SoftWeight soft(weight, parameters, point.spec, options_.relaxation, options_.beta_start);
  const at::Tensor nearest =
      fake_quantize(weight, parameters, point.spec, /*in_place=*/false).view(soft.values().sizes());
  RoundingResult result{site};
  result.values = weight.numel();
  result.nearest_error = outputs.layer->mean_squared_error(nearest);
  if (const at::Tensor best = outputs.layer->separate_optimum(); best.defined()) {
    soft.choose_nearer(best);
  } else {
    RoundingOptimizer optimizer(options_, *outputs.layer, soft);
    const NamedTensors reached = progress_.reached(site);
    if (!reached.empty()) optimizer.set_state(reached);
    while (!optimizer.done()) {
      optimizer.step();
      progress_.keep(site, [&] { return optimizer.state(); });
    }
  }
  const at::Tensor learned = soft.hard_values();
  result.learned_error = outputs.layer->mean_squared_error(learned);
  result.changed = learned.ne(nearest).sum().item<int64_t>();
  point.quantizer->set_rounding(soft.upper());
  progress_.finish(result);
}

void Learning::learn_block(const Segment& segment, const std::vector<SiteId>& sites) {
  if (options_.grid == RoundingGrid::kMse) {
    for (const SiteId site : sites) choose_grid(segment, site);
  }
  BlockReconstruction block(context_, options_, networks_, segment, sites);
  const double nearest = block.mean_squared_error();
  const NamedTensors reached = progress_.reached(sites.front());
  if (!reached.empty()) block.set_state(reached);
  while (!block.done()) {
    block.step();
    progress_.keep(sites.front(), [&] { return block.state(); });
  }
  const std::vector<int64_t> changed = block.decide();
  const double learned = block.mean_squared_error();
  for (size_t i = 0; i < sites.size(); ++i) {
    progress_.finish(
        {sites[i], nearest, learned, changed[i], context_.model.weight(sites[i]).numel()});
  }
}

class AdaRound final : public Solver {
 public:
  explicit AdaRound(const Params& params) : options_(params) {}

  void run(PipelineContext& context) override {
    if (context.calibration.empty()) {
      throw ConfigError(
          fmt::format("{}: no calibration batches; raise calibration.samples", kName));
    }
    Learning(context, options_).run(learned_sites(context));
  }

 private:
  static std::vector<SiteId> learned_sites(const PipelineContext& context);

  AdaRoundOptions options_;
};

std::vector<SiteId> AdaRound::learned_sites(const PipelineContext& context) {
  std::vector<SiteId> sites;
  for (size_t i = 0; i < context.model.sites().size(); ++i) {
    const auto id = static_cast<SiteId>(i);
    const SitePoint* point = context.points.point(id);
    if (point == nullptr || !point->quantizer->holds_rounding()) continue;
    if (!point->calibrated) {
      throw Error(fmt::format("{}: {} has no range yet; put `calibrate` in front of this step",
                              kName, context.model.sites()[i].key()));
    }
    sites.push_back(id);
  }
  if (!sites.empty()) return sites;
  throw ConfigError(fmt::format(
      "{}: no quantized weight has rounding to learn; give some of them `quantizer: adaround`",
      kName));
}

}  // namespace

void register_solver_adaround(Plugins& plugins) {
  add_plugin<AdaRound, Params>(
      plugins.solvers, kName,
      "Learn for each value of a weight whether to round up or down, by the outputs.",
      "Qualcomm adaround; AdaRound, Nagel et al. 2020; BRECQ, Li et al. 2021; QDrop, Wei et al. "
      "2022");
}

}  // namespace quell
