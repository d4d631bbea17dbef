// The threshold search of Outlier Suppression+ against the published sequence of operations, of
// which a few candidates are timed and scaled to all of them.
//
//   taskset -c 0 build/tests/threshold_search_benchmark [HIDDEN] [SEQUENCES] [LENGTH]
//   taskset -c 0 build/tests/threshold_search_benchmark --llama FOLDER TEXT [SEQUENCES] [LENGTH]
//   [LAYER]...
//
// The two groups of a layer of a random BERT with outliers: attention (query, key, value up to the
// context) and feed-forward block (its first linear); or the three groups of layers (without any:
// of the first one) of a LLaMA on the beginning of a text. One thread.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sub.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/instruction_sets.h"
#include "framework/text/tokenizer.h"
#include "tests/benchmarks/published/threshold_search.h"
#include "tests/benchmarks/support/environment.h"
#include "tests/benchmarks/support/paired.h"
#include "tests/benchmarks/support/program.h"
#include "tests/support/engine.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"
#include "transforms/scaling/groups.h"
#include "transforms/thresholds/segment_walk.h"
#include "transforms/thresholds/threshold_search.h"

namespace quell {
namespace {

constexpr int64_t kHeadSize = 64, kVocabulary = 1000, kTimed = 4;
constexpr const char* kRules =
    "{rules: [{sites: ['weight:*', 'activation:*'], quantize: true, bits: 6, grid: os_plus, "
    "symmetric: false}, {sites: 'weight:*', granularity: channel}]}";

Batch sequences(int64_t count, int64_t length) {
  std::vector<TokenSequence> list(static_cast<size_t>(count));
  for (int64_t i = 0; i < count * length; ++i) {
    list[static_cast<size_t>(i / length)].ids.push_back((7 * i + 13 * (i / length)) % kVocabulary);
  }
  return pack(list);
}

published::SearchedGroup published_group(const ScaleGroup& group, const GroupInput& input,
                                         const Model& model) {
  std::vector<at::Tensor> weights, biases;
  bool gated = false;
  for (const Linear* reader : group.readers) {
    weights.push_back(reader->weight);
    if (reader->bias.defined()) biases.push_back(reader->bias);
    gated |= model.sites()[static_cast<size_t>(reader->weight_site)].role == "gate";
  }
  const int64_t count = input.batch->sequences(), length = input.batch->length(0);
  const int64_t features = input.rows.size(1);
  published::SearchedGroup result{input.rows.view({count, length, features}),
                                  at::ones({count, length}, at::kBool), at::cat(weights)};
  if (!biases.empty()) result.bias = at::cat(biases);
  result.gated = gated;
  if (!group.combined || gated) return result;
  result.heads = weights[0].size(0) / kHeadSize;
  result.key_heads = weights[1].size(0) / kHeadSize;
  const RotaryAngles angles = model.bind(*input.batch).rotary;
  if (angles.cosines.defined()) {
    result.cosines = angles.cosines.slice(0, 0, length);
    result.sines = angles.sines.slice(0, 0, length);
    result.causal = true;
  }
  return result;
}

void compare(const ScaleGroup& group, GroupInput input, const Model& model,
             const SitePoints& points) {
  Range features = feature_extremes(input.rows);
  if (has_biases(group)) {
    const at::Tensor shift = shift_of(features);
    input.rows.sub_(shift);
    features = {at::sub(features.min, shift), at::sub(features.max, shift)};
  }
  const published::SearchedGroup published = published_group(group, input, model);
  const std::vector<double> thresholds = threshold_grid(features, 100, 0.1);
  ThresholdSearch found;
  const auto own = [&] {
    const auto loss = threshold_loss({group, model, points, features}, {input});
    found = search_thresholds(*loss, thresholds, /*early_abandon=*/true);
  };
  own();
  const at::Tensor outputs = published::float_outputs(published);
  const auto loss_of = [&](size_t candidate) {
    const auto threshold = static_cast<float>(thresholds[candidate]);
    return published::threshold_loss(published, outputs, scale_of(features, threshold), threshold);
  };
  const auto chosen = static_cast<size_t>(found.chosen);
  if (std::abs(loss_of(chosen) / found.losses[chosen] - 1) > 1e-5) {
    throw Error(
        fmt::format("the published loss is {}, ours {}", loss_of(chosen), found.losses[chosen]));
  }
  const auto sample = [&] {
    for (size_t i = 0; i < kTimed; ++i) {
      if (loss_of(i * thresholds.size() / kTimed) >= found.losses[chosen] * (1 - 1e-5)) continue;
      throw Error("a published candidate is better than what was found");
    }
  };
  const benchmarks::PairedRatio pair = benchmarks::measure(
      own, sample, {.least_rounds = 3, .most_rounds = 9, .seconds = 20, .processor_time = true});
  const double all = static_cast<double>(thresholds.size()) / kTimed;
  fmt::print("{:<24} {:>6} {:>10} {:>9.2f} {:>9.2f}   {:.2f} ({:.2f} to {:.2f})\n",
             name_of(group, model), input.rows.size(0), thresholds.size(), pair.baseline_s * all,
             pair.own_s, pair.ratio * all, pair.low * all, pair.high * all);
}

// All groups of the chosen layers.
void compare_layers(QuantizedNetwork& network, const Batch& batch,
                    const std::vector<int64_t>& layers) {
  Log log(Verbosity::kQuiet);
  PipelineContext context{network.model(), network.points(), {&batch, 1}, log};
  fmt::print("load average {:.2f}\n{:<24} {:>6} {:>10} {:>9} {:>9}   {}\n",
             benchmarks::load_average(), "group", "tokens", "thresholds", "theirs s", "own s",
             "theirs / own (95 % interval)");
  SegmentWalk walk(context, 1, /*quantized=*/false);
  const auto groups =
      chosen_groups(network.model(), {}, UsualGroups::kNormsAndProducts, "benchmark");
  for (const Segment& segment : network.model().segments()) {
    for (const ScaleGroup* group : groups) {
      const Site& site = network.model().sites()[static_cast<size_t>(group->site)];
      const bool wanted =
          layers.empty() || std::count(layers.begin(), layers.end(), site.layer) > 0;
      if (!wanted || !network.model().sites_of(segment).contains(group->site)) continue;
      compare(*group, walk.rows(segment, group->site)[0], network.model(), network.points());
    }
    walk.advance(segment);
  }
}

int run_llama(int argc, const char** argv) {
  constexpr int kOptions = 4, kFirstLayer = 6;
  if (argc < kOptions) throw Error("--llama needs a folder and a text");
  const int64_t count = argc > kOptions ? std::stoll(argv[kOptions]) : 8;
  const int64_t length = argc > kOptions + 1 ? std::stoll(argv[kOptions + 1]) : 512;
  std::vector<int64_t> layers;
  for (int i = kFirstLayer; i < argc; ++i) layers.push_back(std::stoll(argv[i]));
  if (layers.empty()) layers = {0};
  QuantizedNetwork network(argv[2], kRules);
  const auto ids = load_tokenizer(argv[2])->encode(read_file(argv[3]), std::nullopt, {})[0].ids;
  std::vector<TokenSequence> list;
  for (int64_t i = 0; i < count; ++i) {
    list.push_back({{ids.begin() + i * length, ids.begin() + (i + 1) * length}});
  }
  at::set_num_threads(1);
  compare_layers(network, pack(list), layers);
  return 0;
}

int run(int argc, const char** argv) {
  const at::NoGradGuard no_gradients;
  if (argc > 1 && std::string(argv[1]) == "--llama") return run_llama(argc, argv);
  const auto argument = [&](int index, int64_t usual) {
    return argc > index ? std::stoll(argv[index]) : usual;
  };
  const int64_t hidden = argument(1, 576), count = argument(2, 8), length = argument(3, 512);
  const TemporaryFolder folder;
  write_random_model(folder.path(), {"bert", 1, hidden, hidden / kHeadSize, kVocabulary, length},
                     /*outliers=*/true);
  QuantizedNetwork network(folder.path(), kRules);
  at::set_num_threads(1);
  compare_layers(network, sequences(count, length), {});
  return 0;
}

}  // namespace
}  // namespace quell

int main(int argc, const char** argv) {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([&] { return quell::run(argc, argv); });
}
