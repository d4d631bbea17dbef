// What looking at outliers adds to a float forward pass: the pass for moments and ranges, the one
// for counts and histograms, and both, each against as many passes that compute the same
// activations and do nothing with them. And how those compare with a pass that nobody looks at, in
// which the last layer computes the first tokens only.
//
//   taskset -c 0 build/tests/outliers_forward_benchmark MODEL_FOLDER DATA_FOLDER [THREADS]
//
// 256 sentences of SST-2 in batches of 32, all activation sites. The folders default to the quick
// start's.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "framework/base/instruction_sets.h"
#include "framework/outliers/site_statistics.h"
#include "tests/benchmarks/support/environment.h"
#include "tests/benchmarks/support/paired.h"
#include "tests/benchmarks/support/program.h"
#include "tests/support/engine.h"

namespace quell {
namespace {

using AllStatistics = std::vector<std::unique_ptr<SiteStatistics>>;

std::vector<Batch> read_sentences(const std::string& model, const std::string& data) {
  Experiment experiment(fmt::format("name: benchmark\nmodel: {{path: {}}}\n"
                                    "task: {{type: glue, name: sst2, path: {}, max_length: 128, "
                                    "batch_size: 32}}\nquant: {{rules: []}}\npipeline: []\n",
                                    model, data),
                        /*run=*/false);
  return experiment.bench().task->calibration({}, /*seed=*/42);
}

AllStatistics new_statistics(const Model& model, const OutlierOptions& options,
                             const CalibrationTokens& tokens) {
  AllStatistics all;
  for (const Site& site : model.sites()) {
    all.push_back(std::make_unique<SiteStatistics>(site, options, tokens, false));
  }
  return all;
}

void print(const char* name, const benchmarks::PairedRatio& pair) {
  fmt::print("{:<32} {:>9.1f} {:>9.1f}   {:.3f} ({:.3f} to {:.3f})\n", name, 1e3 * pair.baseline_s,
             1e3 * pair.own_s, 1 / pair.ratio, 1 / pair.high, 1 / pair.low);
}

int run(int argc, const char** argv) {
  const at::NoGradGuard no_gradients;
  const std::string quick = (source_folder() / "experiments/quickstart").string();
  const std::string folder = argc > 1 ? argv[1] : quick + "/model";
  const std::vector<Batch> batches = read_sentences(folder, argc > 2 ? argv[2] : quick + "/data");
  const int threads = argc > 3 ? std::stoi(argv[3]) : 1;
  at::set_num_threads(threads);
  QuantizedNetwork network(folder, "{rules: []}");
  const OutlierOptions options;
  const CalibrationTokens tokens = calibration_tokens(batches, nullptr);
  AllStatistics statistics;
  const auto pass = [&](void (SiteStatistics::*look)(const Batch&, const at::Tensor&)) {
    for (const Batch& batch : batches) {
      const Tap tap = [&](SiteId id, const at::Tensor&, const at::Tensor& rows) {
        if (look != nullptr) (statistics[id].get()->*look)(batch, rows.contiguous());
      };
      network.model().forward(
          batch, Pass(network.points(), {.tap = tap, .tap_matrices = TapMatrices::kCompact}));
    }
  };
  const auto plain = [&] {
    for (const Batch& batch : batches) network.model().forward(batch, network.pass());
  };
  const auto start_measuring = [&] {
    statistics = new_statistics(network.model(), options, tokens);
    pass(&SiteStatistics::measure);
  };
  const benchmarks::Effort effort{
      .least_rounds = 9, .most_rounds = 9, .seconds = 0, .processor_time = threads == 1};
  fmt::print("load average {:.2f}, {} thread(s), {} tokens\n{:<32} {:>9} {:>9}   {}\n",
             benchmarks::load_average(), threads, tokens.tokens.size(), "256 sentences", "base ms",
             "own ms", "own / base (95 % interval)");
  const auto looked_at = [&] { pass(nullptr); };
  print("all activations / first tokens", benchmarks::measure(looked_at, plain, effort));
  print("moments and ranges", benchmarks::measure(start_measuring, looked_at, effort));
  start_measuring();
  for (size_t id = 0; id < statistics.size(); ++id) {
    if (network.model().sites()[id].kind == SiteKind::kActivation) statistics[id]->end_measuring();
  }
  AllStatistics measured = std::move(statistics);
  // Every pass counts from the start.
  const auto count = [&] {
    statistics.clear();
    for (const auto& site : measured) statistics.push_back(std::make_unique<SiteStatistics>(*site));
    pass(&SiteStatistics::count);
  };
  print("counts and histograms", benchmarks::measure(count, looked_at, effort));
  const auto both = [&] {
    start_measuring();
    count();
  };
  const auto twice = [&] {
    looked_at();
    looked_at();
  };
  print("both passes", benchmarks::measure(both, twice, effort));
  return 0;
}

}  // namespace
}  // namespace quell

int main(int argc, const char** argv) {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([&] { return quell::run(argc, argv); });
}
