// Float evaluation with quell's own kernels against LibTorch's, for batches of few and of many
// rows; with --integer the quantized network by its codes against its simulation, and against the
// float network, both with quell's own kernels.
//
//   taskset -c 0 build/tests/engine_benchmark [--avx2] [--integer]
//
// Models with the shapes of MiniLM-L6 (hidden size 384) and of BERT-base and random weights; one
// thread. Both engines alternate in one process, on the same batch.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <hwy/targets.h>
#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>
#include <random>

#include "framework/base/error.h"
#include "framework/base/instruction_sets.h"
#include "framework/kernels/fake_quantize.h"
#include "tests/benchmarks/support/environment.h"
#include "tests/benchmarks/support/paired.h"
#include "tests/benchmarks/support/program.h"
#include "tests/support/engine.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

constexpr int64_t kVocabulary = 1000, kPositions = 128;

struct Load {
  int64_t sequences, shortest, longest;
};

Batch random_batch(const Load& load) {
  std::mt19937_64 draw(1);
  std::vector<TokenSequence> all(static_cast<size_t>(load.sequences));
  for (TokenSequence& one : all) {
    const auto choices = static_cast<uint64_t>(load.longest - load.shortest + 1);
    const size_t length = static_cast<size_t>(load.shortest) + draw() % choices;
    for (size_t i = 0; i < length; ++i)
      one.ids.push_back(static_cast<int64_t>(draw() % kVocabulary));
    one.segment_ids.assign(length, 0);
  }
  return pack(all);
}

constexpr Load kLoads[] = {{1, 25, 25}, {8, 8, 32}, {32, 24, 27}, {32, 40, 60}};
constexpr const char* kEightBits =
    "{include: placements/outlier_suppression.yaml, rules: ["
    "{sites: 'weight:*', bits: 8, symmetric: true, granularity: channel, observer: minmax}, "
    "{sites: 'activation:*', bits: 8, observer: avg_minmax}]}";

// A pass against another, on a batch.
void compare(const std::string& name, const Load& load, const Model& model, const Pass& own,
             const Pass& other, int64_t rounds, double tolerance) {
  const Batch batch = random_batch(load);
  at::Tensor expected, found;
  const benchmarks::PairedRatio pair =
      benchmarks::measure([&] { found = model.forward(batch, own).at("logits"); },
                          [&] { expected = model.forward(batch, other).at("logits"); },
                          {.least_rounds = rounds, .most_rounds = rounds, .seconds = 0});
  if (!at::allclose(found, expected, 1e-3, tolerance)) throw Error("the outputs differ");
  fmt::print(
      "{:<20} {:>3} x {:>2} to {:>2} {:>6} {:>10.2f} {:>10.2f}   {:.2f} ({:.2f} to {:.2f})\n", name,
      load.sequences, load.shortest, load.longest, batch.tokens(), 1e3 * pair.baseline_s,
      1e3 * pair.own_s, pair.ratio, pair.low, pair.high);
  std::fflush(stdout);
}

void measure(const std::string& name, const ModelShape& shape, int64_t rounds) {
  const TemporaryFolder folder;
  write_random_model(folder.path(), shape, /*outliers=*/false);
  QuantizedNetwork network(folder.path(), "{rules: []}");
  const auto engine = make_engine("packed");
  const Pass plain(network.points()), own(network.points(), {.engine = engine.get()});
  for (const Load& load : kLoads) {
    compare(name, load, network.model(), own, plain, rounds, 1e-4);
  }
}

void measure_integer(const std::string& name, const ModelShape& shape, int64_t rounds) {
  constexpr double kAnything = 1e3;  // a float network has other outputs
  const TemporaryFolder folder;
  write_random_model(folder.path(), shape, /*outliers=*/false);
  QuantizedNetwork network(folder.path(), kEightBits);
  network.calibrate(std::vector<Batch>{random_batch({8, 8, 32})});
  const auto packed = make_engine("packed"), integer = make_engine("integer");
  const SitePoints& points = network.points();
  const SiteSet all = points.calibrated(true, true);
  const Pass in_float(points, {.engine = packed.get()});
  const Pass simulated(points, {.quantize = all, .engine = packed.get()});
  const Pass own(points, {.quantize = all, .engine = integer.get()});
  for (const Load& load : kLoads) {
    compare(name + ", float", load, network.model(), own, in_float, rounds, kAnything);
    compare(name + ", simulated", load, network.model(), own, simulated, rounds, kAnything);
  }
}

int run(int argc, const char** argv) {
  namespace po = boost::program_options;
  std::string only;
  int64_t rounds = 25;
  bool avx2 = false, integer = false;
  po::options_description description("options");
  description.add_options()("help,h", "show this help")(
      "only", po::value(&only), "one of the shapes")("avx2", po::bool_switch(&avx2),
                                                     "as on a processor without AVX-512")(
      "integer", po::bool_switch(&integer), "the engine of codes")(
      "rounds", po::value(&rounds)->default_value(rounds), "interleaved measurements");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, description), values);
  po::notify(values);
  if (values.count("help") > 0) {
    std::cout << description;
    return 0;
  }
  if (avx2) hwy::DisableTargets(~(HWY_AVX2 | HWY_SCALAR));
  const at::NoGradGuard no_gradients;
  at::set_num_threads(1);
  fmt::print("load average {:.2f}, {}\n{:<20} {:>14} {:>6} {:>10} {:>10}   {}\n",
             benchmarks::load_average(), kernels::instruction_set(), "shape", "batch", "tokens",
             integer ? "packed" : "libtorch", "own [ms]", "ratio (95 % interval)");
  const std::pair<const char*, ModelShape> shapes[] = {
      {"MiniLM-L6", {"bert", 6, 384, 12, kVocabulary, kPositions}},
      {"BERT-base", {"bert", 12, 768, 12, kVocabulary, kPositions}}};
  for (const auto& [name, shape] : shapes) {
    if (!only.empty() && only != name) continue;
    (integer ? measure_integer : measure)(name, shape, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace quell

int main(int argc, const char** argv) {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([&] { return quell::run(argc, argv); });
}
