// A quantized forward pass against a float one of the same packed model: what simulating
// quantization costs.
//
//   taskset -c 0 build/tests/forward_benchmark
//   build/tests/forward_benchmark --device cuda --sequences 64    # wall time
//
// Models with the shapes of BERT-base and of MiniLM-L6 (hidden size 384) and random weights;
// weights and all activation sites of a placement quantized to 6 bits. Both passes alternate in one
// process.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <boost/program_options.hpp>
#include <iostream>
#include <random>

#include "framework/base/instruction_sets.h"
#include "framework/quant/device.h"
#include "tests/benchmarks/support/environment.h"
#include "tests/benchmarks/support/paired.h"
#include "tests/benchmarks/support/program.h"
#include "tests/support/engine.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

namespace quell {
namespace {

struct Options {
  std::string placement = "outlier_suppression";
  int64_t threads = 1, rounds = 25, sequences = 16;
  std::string only, device = "cpu";
};

constexpr int64_t kVocabulary = 1000, kPositions = 128;

// Sequences of 8 to 128 tokens.
Batch random_batch(int64_t sequences) {
  std::mt19937_64 draw(1);
  std::vector<TokenSequence> all(static_cast<size_t>(sequences));
  for (TokenSequence& one : all) {
    const size_t length = 8 + draw() % 121;
    for (size_t i = 0; i < length; ++i)
      one.ids.push_back(static_cast<int64_t>(draw() % kVocabulary));
    one.segment_ids.assign(length, 0);
  }
  return pack(all);
}

void measure(const std::string& name, const ModelShape& shape, const Options& options) {
  const TemporaryFolder folder;
  write_random_model(folder.path(), shape, /*outliers=*/false);
  QuantizedNetwork network(
      folder.path(),
      fmt::format("{{include: placements/{}.yaml,"
                  " rules: [{{sites: ['weight:*', 'activation:*'], bits: 6}}]}}",
                  options.placement),
      available_devices({options.device}));
  at::set_num_threads(static_cast<int>(options.threads));
  const std::vector<Batch> batches = {random_batch(options.sequences)};
  network.calibrate(batches);
  const auto forward = [&](bool quantized) {
    network.model().forward(batches[0], network.pass(quantized, quantized));
  };
  const benchmarks::PairedRatio pair = benchmarks::measure(
      [&] { forward(true); }, [&] { forward(false); },
      {.least_rounds = options.rounds,
       .most_rounds = options.rounds,
       .seconds = 0,
       .processor_time = options.device == "cpu"});  // outputs come back: a call ends with its work
  fmt::print("{:<10} {:>7} {:>10.1f} {:>12.1f}   {:.3f} ({:.3f} to {:.3f})\n", name,
             batches[0].tokens(), 1e3 * pair.baseline_s, 1e3 * pair.own_s, 1 / pair.ratio,
             1 / pair.high, 1 / pair.low);
}

int run(int argc, const char** argv) {
  namespace po = boost::program_options;
  Options options;
  po::options_description description("options");
  const auto value = [](auto& place) { return po::value(&place)->default_value(place); };
  description.add_options()("help,h", "show this help")("placement", value(options.placement),
                                                        "which sites are quantized")(
      "threads", value(options.threads), "threads")(
      "rounds", value(options.rounds), "interleaved measurements")("only", value(options.only),
                                                                   "one of the shapes")(
      "device", value(options.device), "cpu, cuda")("sequences", value(options.sequences),
                                                    "in the batch");
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, description), values);
  po::notify(values);
  if (values.count("help") > 0) {
    std::cout << description;
    return 0;
  }
  const at::NoGradGuard no_gradients;
  at::set_num_threads(static_cast<int>(options.threads));
  fmt::print("load average {:.2f}, {} thread(s), {}, {}\n{:<10} {:>7} {:>10} {:>12}   {}\n",
             benchmarks::load_average(), options.threads,
             device_names(available_devices({options.device})), options.placement, "shape",
             "tokens", "float [ms]", "quantized", "quantized / float (95 % interval)");
  const std::pair<const char*, ModelShape> shapes[] = {
      {"BERT-base", {"bert", 12, 768, 12, kVocabulary, kPositions}},
      {"MiniLM-L6", {"bert", 6, 384, 12, kVocabulary, kPositions}}};
  for (const auto& [name, shape] : shapes) {
    if (options.only.empty() || options.only == name) measure(name, shape, options);
  }
  return 0;
}

}  // namespace
}  // namespace quell

int main(int argc, const char** argv) {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([&] { return quell::run(argc, argv); });
}
