// Calibration as in "Understanding and Overcoming the Challenges of Efficient Transformer
// Quantization" (Bondarenko et al. 2021) against a transcription of the published sequence of
// operations, in one process, processor time:
//
//   taskset -c 0 build/tests/qualcomm_calibration_benchmark --rounds 3
//
// - W8A8 with per-embedding groups and range-based permutation of x, h and y: 10 batches for the
//   permutation, one for the ranges. MiniLM on training sentences; models and data lie in ../shared
//   of the sources, or where --shared says. Before anything is timed both sides calibrate on the
//   same padded batches, and have to find the same ranges and permutations.
// - Ranges of least squared error for all 161 activations of a random BERT-base: some of the
//   published candidates are timed, and scaled to all. None of them may be better than what was
//   found.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>
#include <boost/program_options.hpp>
#include <cmath>
#include <iostream>

#include "framework/base/error.h"
#include "framework/base/instruction_sets.h"
#include "framework/quant/scale_map.h"
#include "tests/benchmarks/published/clock.h"
#include "tests/benchmarks/published/ranged_bert.h"
#include "tests/benchmarks/support/environment.h"
#include "tests/benchmarks/support/paired.h"
#include "tests/benchmarks/support/program.h"
#include "tests/support/engine.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

using published::PaddedBatch;
using published::RangedBert;
using published::RangeQuantizer;
using published::RangeState;
using published::Time;

constexpr int64_t kLength = 128, kPermutationBatches = 10, kGroups = 6;
constexpr const char* kRanges =
    "{include: placements/qualcomm.yaml, rules: [{sites: 'weight:*', bits: 8, symmetric: true, "
    "observer: minmax}, {sites: 'activation:*', bits: 8, symmetric: false, observer: "
    "current_minmax}, {sites: ['group:x', 'group:h', 'group:y'], granularity: feature_groups, "
    "groups: 6}]}";

struct Options {
  std::filesystem::path shared = shared_folder();
  std::vector<std::string> data = {"sst2", "cola"};
  int64_t rounds = 3, batch_size = 8, sequences = 1, candidates = 2;
  std::string only;
};

struct Problem {
  std::string name;
  std::filesystem::path model;
  std::vector<Batch> packed, kept;  // without padding, and padded to kLength
  std::vector<PaddedBatch> padded;  // what the published code sees
};

Problem problem_of(const Options& options, const std::string& name, bool pad) {
  Problem problem{name, options.shared / ("models/minilm-" + name), {}, {}, {}};
  const std::string data = name == "cola" ? "CoLA" : "SST-2";
  for (const bool keep : {false, true}) {
    const std::string yaml = fmt::format(
        "{{name: benchmark, threads: 1, model: {{path: '{}'}}, task: {{type: glue, name: {}, path: "
        "'{}', "
        "max_length: {}}}, calibration: {{samples: {}, batch_size: {}, padding: {}}}, quant: {}, "
        "pipeline: [calibrate]}}",
        problem.model.string(), name, (options.shared / "data/glue" / data).string(), kLength,
        options.batch_size * (kPermutationBatches + 1), options.batch_size,
        keep ? fmt::format("keep, pad_to: {}", kLength) : "drop", kRanges);
    Experiment experiment(yaml, /*run=*/false);
    const Bench& bench = experiment.bench();
    (keep ? problem.kept : problem.packed) =
        bench.task->calibration(bench.spec.calibration, bench.spec.seed);
  }
  for (const Batch& batch : problem.packed) {
    int64_t longest = 0;
    for (int64_t i = 0; i < batch.sequences(); ++i) longest = std::max(longest, batch.length(i));
    problem.padded.push_back(published::pad(batch, pad ? kLength : longest, /*pad_id=*/0));
  }
  return problem;
}

void calibrate_published(RangedBert& model, const std::vector<PaddedBatch>& batches) {
  const auto set = [](auto& quantizers, RangeState state) {
    for (RangeQuantizer& quantizer : quantizers) quantizer.state = state;
  };
  const auto is_grouped = [](const std::string& name) {
    return name.starts_with("encoder.") &&
           (name.ends_with("attention.norm") || name.ends_with("ffn.output") ||
            name.ends_with("ffn.residual"));
  };
  set(model.activations(), RangeState::kEstimate);
  for (RangeQuantizer& quantizer : model.activations()) {
    if (is_grouped(quantizer.name())) quantizer.state = RangeState::kFeatures;
  }
  for (int64_t i = 0; i < kPermutationBatches; ++i) model.logits(batches[static_cast<size_t>(i)]);
  for (RangeQuantizer& quantizer : model.activations()) {
    if (!is_grouped(quantizer.name())) continue;
    quantizer.order_features();
    quantizer.groups = kGroups;
  }
  set(model.weights(), RangeState::kEstimate);
  set(model.activations(), RangeState::kEstimate);
  model.logits(batches[kPermutationBatches]);
}

void calibrate_own(QuantizedNetwork& network, const std::vector<Batch>& batches,
                   const char* where) {
  network.solve("permute_groups", batches,
                fmt::format("{{network: {}, batches: {}}}", where, kPermutationBatches));
  network.calibrate(batches, fmt::format("{{first_batch: {}}}", kPermutationBatches));
}

// On the same padded batches both sides find the same.
void check_ranges(const Problem& problem) {
  RangedBert published(problem.model);
  std::vector<PaddedBatch> padded;
  for (const Batch& batch : problem.packed) {
    padded.push_back(published::pad(batch, kLength, /*pad_id=*/0));
  }
  calibrate_published(published, padded);
  QuantizedNetwork own(problem.model, kRanges);
  calibrate_own(own, problem.kept, "published");
  double largest = 0;
  std::string where;
  int64_t moved = 0;
  for (const RangeQuantizer& quantizer : published.activations()) {
    const SitePoint& point = own.point("activation:" + quantizer.name());
    const at::Tensor scale = point.quantizer->parameters().scale;
    at::Tensor expected = quantizer.scale();
    if (quantizer.groups > 0) {
      // In the order of the groups.
      expected = expected.index_select(0, quantizer.order()).view({kGroups, -1}).select(1, 0);
      const at::Tensor group_of =
          at::floor_divide(at::argsort(quantizer.order()), quantizer.order().numel() / kGroups);
      moved += point.spec.feature_groups->group_of().ne(group_of).sum().item<int64_t>();
    }
    const double error = scale.div(expected).sub(1).abs().max().item<double>();
    if (!(error <= largest)) std::tie(largest, where) = std::tuple(error, quantizer.name());
  }
  fmt::print(
      "{}, both sides on the same padded batches: scales differ by {:.1e} at most ({}), {} "
      "features are in other groups\n",
      problem.name, largest, where, moved);
}

void compare_groups(const Options& options, const std::string& name) {
  check_ranges(problem_of(options, name, /*pad=*/true));
  for (const bool pad : {true, false}) {
    const Problem problem = problem_of(options, name, pad);
    for (const char* where : {"published", "float"}) {
      std::vector<double> ratios, theirs, ours;
      for (int64_t round = 0; round < options.rounds; ++round) {
        RangedBert published(problem.model);
        QuantizedNetwork own(problem.model, kRanges);
        const Time first =
            published::timed([&] { calibrate_published(published, problem.padded); });
        const Time second = published::timed([&] { calibrate_own(own, problem.packed, where); });
        theirs.push_back(first.cpu);
        ours.push_back(second.cpu);
        ratios.push_back(first.cpu / second.cpu);
      }
      fmt::print("{:<5} {:<22} {:<24} {:>8.2f} {:>8.3f}   {:.1f}x ({:.1f} to {:.1f})\n", name,
                 pad ? "padded to 128" : "to the batch's longest",
                 fmt::format("network: {}", where), benchmarks::median(theirs),
                 benchmarks::median(ours), benchmarks::median(ratios),
                 *std::min_element(ratios.begin(), ratios.end()),
                 *std::max_element(ratios.begin(), ratios.end()));
      std::fflush(stdout);
    }
  }
}

// What the published grid tries for values with these extremes, at 8 bits.
struct Candidates {
  double reach, step, min, max;
  int64_t shifts;  // to either side; 0: no value is negative

  explicit Candidates(const at::Tensor& x)
      : min(x.min().item<double>()), max(x.max().item<double>()), shifts(min < 0 ? 64 : 0) {
    reach = std::max(std::abs(min), std::abs(max)) + 0.5;
    step = reach / 100;
  }
  int64_t count() const { return shifts == 0 ? 100 : 100 * (2 * shifts - 1); }
  std::pair<double, double> operator[](int64_t index) const {
    if (shifts == 0) return {0, step * static_cast<double>(index + 1)};
    const int64_t width = 2 * shifts - 1;
    const double half = step * static_cast<double>(index / width + 1);
    const double delta = 2 * half / 255;
    const double shift = delta * static_cast<double>(index % width - (shifts - 1));
    return {std::max(min - 0.5, -half + shift), std::min(max + 0.5, half + shift)};
  }
};

// Of the published search: the time of some candidates of every activation, scaled to all.
double published_search(RangedBert& model, const PaddedBatch& batch, QuantizedNetwork& own,
                        int64_t timed) {
  double seconds = published::timed([&] { model.logits(batch); }).cpu;
  for (RangeQuantizer& quantizer : model.activations()) {
    const at::Tensor x = quantizer.values();
    const auto loss_of = [&](std::pair<double, double> range) {
      return (quantizer.apply_range(x, range.first, range.second) - x)
          .square()
          .sum()
          .item<double>();
    };
    const Range& found = own.point("activation:" + quantizer.name()).range;
    const double own_loss =
        loss_of({found.min.item<double>(), found.max.item<double>()});  // warms up, too
    const Candidates candidates(x);
    double best = std::numeric_limits<double>::infinity();
    const Time time = published::timed([&] {
      for (int64_t i = 0; i < timed; ++i) {
        best = std::min(best, loss_of(candidates[(2 * i + 1) * candidates.count() / (2 * timed)]));
      }
    });
    if (best < own_loss * (1 - 1e-5)) {
      throw Error(fmt::format("{}: a published candidate has the loss {}, what was found {}",
                              quantizer.name(), best, own_loss));
    }
    seconds += time.cpu * static_cast<double>(candidates.count()) / static_cast<double>(timed);
  }
  return seconds;
}

void compare_search(const Options& options) {
  const TemporaryFolder folder;
  write_random_model(folder.path(), {"bert", 12, 768, 12, 1000, kLength}, /*outliers=*/true);
  std::vector<TokenSequence> list(static_cast<size_t>(options.sequences));
  for (int64_t i = 0; i < options.sequences * kLength; ++i) {
    list[static_cast<size_t>(i / kLength)].ids.push_back((7 * i + 13 * (i / kLength)) % 1000);
  }
  for (TokenSequence& one : list) one.segment_ids.assign(one.ids.size(), 0);
  const std::vector<Batch> batches = {pack(list)};
  const PaddedBatch padded = published::pad(batches[0], kLength, 0);
  RangedBert model(folder.path());
  for (RangeQuantizer& quantizer : model.activations()) quantizer.state = RangeState::kRemember;
  std::vector<double> ratios, theirs, ours;
  size_t sites = 0;
  for (int64_t round = 0; round < options.rounds; ++round) {
    QuantizedNetwork own(folder.path(),
                         "{include: placements/qualcomm.yaml, rules: [{sites: 'weight:*', "
                         "quantize: false}, {sites: 'activation:*', bits: 8, symmetric: false, "
                         "observer: summed_mse, during_calibration: observe}]}");
    const double own_s = published::timed([&] { own.calibrate(batches); }).cpu;
    const double all = published_search(model, padded, own, options.candidates);
    sites = model.activations().size();
    theirs.push_back(all);
    ours.push_back(own_s);
    ratios.push_back(all / own_s);
  }
  fmt::print(
      "least squared error, {} activations of BERT-base, {} sequence(s) of {}: published "
      "{:.0f} s (scaled from {} candidates each), own {:.2f} s: {:.0f}x ({:.0f} to {:.0f})\n",
      sites, options.sequences, kLength, benchmarks::median(theirs), options.candidates,
      benchmarks::median(ours), benchmarks::median(ratios),
      *std::min_element(ratios.begin(), ratios.end()),
      *std::max_element(ratios.begin(), ratios.end()));
}

int run(int argc, const char** argv) {
  namespace po = boost::program_options;
  const at::NoGradGuard no_gradients;
  Options options;
  po::options_description description("options");
  const auto value = [](auto& place) { return po::value(&place)->default_value(place); };
  description.add_options()("help,h", "show this help")("shared", po::value<std::string>(),
                                                        "folder with models and data")(
      "data", po::value(&options.data)->multitoken(), "cola, sst2 or both (the default)")(
      "rounds", value(options.rounds), "interleaved measurements")(
      "batch-size", value(options.batch_size), "sequences of a batch of MiniLM")(
      "sequences", value(options.sequences), "of 128 tokens for BERT-base")(
      "candidates", value(options.candidates), "of each search that are timed, and scaled")(
      "only", value(options.only), "groups or mse");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, description), values);
  po::notify(values);
  if (values.count("help") > 0) {
    std::cout << description;
    return 0;
  }
  if (values.count("shared") > 0) options.shared = values["shared"].as<std::string>();
  at::set_num_threads(1);
  fmt::print("load average {:.2f}, one thread, {} rounds, processor time\n",
             benchmarks::load_average(), options.rounds);
  if (options.only != "mse") {
    fmt::print("{:<5} {:<22} {:<24} {:>8} {:>8}   {}\n", "data", "the published batches are",
               "quell", "theirs s", "own s", "theirs / own");
    for (const std::string& name : options.data) compare_groups(options, name);
  }
  if (options.only != "groups") compare_search(options);
  return 0;
}

}  // namespace
}  // namespace quell

int main(int argc, const char** argv) {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([&] { return quell::run(argc, argv); });
}
