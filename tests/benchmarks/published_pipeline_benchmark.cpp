// quell's Outlier Suppression against a transcription of the published sequence of operations, in
// one process: the whole pipeline after training and the ratio search alone, what each lever
// contributes, and the search for the least squared error.
//
//   taskset -c 0 build/tests/published_pipeline_benchmark --rounds 3 --levers --mse
//   taskset -c 0 build/tests/published_pipeline_benchmark --golden     # is the transcription true?
//   build/tests/published_pipeline_benchmark --device cuda             # wall time counts
//
// Models and data lie in ../shared of the sources, or where --shared says.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <algorithm>
#include <boost/program_options.hpp>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/instruction_sets.h"
#include "framework/json/json.h"
#include "tests/benchmarks/published/comparison.h"
#include "tests/benchmarks/published/mse_search.h"
#include "tests/benchmarks/support/program.h"

namespace quell {
namespace {

namespace po = boost::program_options;
using nlohmann::json;
using published::Problem;

struct Options {
  std::filesystem::path shared = std::filesystem::path(QUELL_SOURCE_DIR) / "../shared";
  std::vector<std::string> data = {"cola", "sst2"};
  int64_t threads = 1, rounds = 3, bits = 6, length = 128, ratios = 0, candidates = 20;
  published::Sample sample;
  bool golden = false, full = false, levers = false, mse = false;
  std::string device = "cpu", json;
};

po::options_description described(Options& o) {
  po::options_description options("options");
  const auto value = [](auto& place) { return po::value(&place)->default_value(place); };
  options.add_options()("help,h", "show this help")("shared", po::value<std::string>(),
                                                    "folder with models, data and goldens")(
      "data", po::value(&o.data)->multitoken(), "cola, sst2 or both (the default)")(
      "threads", value(o.threads), "of both sides")("device", value(o.device),
                                                    "of both sides: cpu, cuda")(
      "rounds", value(o.rounds), "interleaved measurements")("bits", value(o.bits), "8, 6 or 4")(
      "length", value(o.length), "what the published code pads to")(
      "batches", value(o.sample.batches), "of each published stage that are timed, and scaled")(
      "steps", value(o.sample.learning_steps), "of learning that are timed, and scaled")(
      "levers", po::bool_switch(&o.levers), "what each lever contributes to the search")(
      "mse", po::bool_switch(&o.mse), "the search for the least squared error at 8 bits")(
      "candidates", value(o.candidates), "of that search that are timed, and scaled")(
      "full", po::bool_switch(&o.full),
      "run the published pipeline to its end and compare results")(
      "golden", po::bool_switch(&o.golden),
      "--full on the sentences of the goldens, also against what the true published code found")(
      "ratios", value(o.ratios), "with --full or --golden: only the first ratios; 0: all")(
      "json", po::value(&o.json), "write the results to this file");
  return options;
}

Problem problem_of(const Options& options, const std::string& name) {
  const bool cola = name == "cola";
  if (!cola && name != "sst2") throw ConfigError("--data: cola or sst2, found " + name);
  Problem problem{cola ? "CoLA" : "SST-2", options.shared / ("models/minilm-" + name)};
  problem.task =
      fmt::format(R"({{type: glue, name: {}, path: "{}", max_length: {}, batch_size: 32}})", name,
                  (options.shared / "data/glue" / problem.name).string(), options.length);
  problem.length = options.length;
  problem.bits = options.bits;
  problem.threads = options.threads;
  problem.device = options.device;
  return problem;
}

std::filesystem::path golden_folder(const Options& options) {
  return options.shared / "goldens/outlier_suppression/real_minilm_cola_full";
}

Problem golden_problem(const Options& options) {
  Problem problem = problem_of(options, "cola");
  problem.name += " of the goldens";
  problem.length = 64;
  problem.task = fmt::format(R"({{type: tokens, path: "{}",
  calibration_keys: "calib.b{{}}.input_ids", calibration_batches: [0-7],
  evaluation_keys: dev.input_ids, evaluation_labels: dev_labels, mask_from_padding: true,
  batch_size: 32, metrics: [matthews_correlation]}})",
                             (golden_folder(options) / "logits.safetensors").string());
  return problem;
}

json measure_mse(const Options& options, const Plugins& plugins) {
  constexpr int64_t kBits = 8;
  const at::Tensor rows =
      published::norm_output(problem_of(options, options.data.front()), plugins);
  at::set_num_threads(static_cast<int>(options.threads));
  std::vector<published::MseSearch> rounds;
  for (int64_t round = 0; round < options.rounds; ++round) {
    rounds.push_back(published::search_mse(rows, kBits, options.candidates, plugins));
  }
  const auto ratio = [](const published::MseSearch& search) {
    return search.eager.cpu / search.ours.cpu;
  };
  std::sort(rounds.begin(), rounds.end(),
            [&](const auto& a, const auto& b) { return ratio(a) < ratio(b); });
  const published::MseSearch& middle = rounds[rounds.size() / 2];
  fmt::print(
      "Least squared error, {} bits, {} candidates on a norm's output [{}, {}], {} thread(s)\n"
      "  published {:.1f} s CPU (scaled from {} candidates), quell {:.3f} s CPU: {:.0f}x ({:.0f} "
      "to "
      "{:.0f})\n  published loss at quell's range {:.6g}, at the best of those timed {:.6g}\n",
      kBits, middle.candidates, rows.size(0), rows.size(1), options.threads, middle.eager.cpu,
      middle.timed, middle.ours.cpu, ratio(middle), ratio(rounds.front()), ratio(rounds.back()),
      middle.eager_loss, middle.best_timed_loss);
  return {{"bits", kBits},
          {"rows", rows.size(0)},
          {"features", rows.size(1)},
          {"candidates", middle.candidates},
          {"timed_candidates", middle.timed},
          {"published_cpu_s", middle.eager.cpu},
          {"quell_cpu_s", middle.ours.cpu},
          {"ratio", ratio(middle)}};
}

json host() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  fmt::print("load average {:.2f} on {} cores\n", load, std::thread::hardware_concurrency());
  return {{"load_before", load}, {"cores", std::thread::hardware_concurrency()}};
}

json measure(const Options& options, const Plugins& plugins) {
  json report = {{"host", host()}};
  if (options.golden) {
    const std::string run = fmt::format("twc/b{}", options.bits);
    const json golden = read_json_file(golden_folder(options) / "real.json")["runs"][run];
    report["golden"] =
        published::compare_results(golden_problem(options), options.ratios, golden, plugins);
    return report;
  }
  for (const std::string& name : options.data) {
    const Problem problem = problem_of(options, name);
    if (options.full) {
      report["full"].push_back(
          published::compare_results(problem, options.ratios, nullptr, plugins));
      continue;
    }
    report["times"].push_back(
        published::compare_times(problem, options.rounds, options.sample, plugins));
    if (options.levers) {
      report["levers"][problem.name] =
          published::compare_levers(problem, options.rounds, options.sample, plugins);
    }
  }
  if (options.mse) report["mse"] = measure_mse(options, plugins);
  return report;
}

int run(int argc, const char** argv) {
  const at::NoGradGuard no_gradients;
  Options options;
  const po::options_description description = described(options);
  po::variables_map values;
  po::store(po::parse_command_line(argc, argv, description), values);
  po::notify(values);
  if (values.count("help") > 0) {
    std::cout << description;
    return 0;
  }
  if (values.count("shared") > 0) options.shared = values["shared"].as<std::string>();
  Plugins plugins;
  register_all_plugins(plugins);
  published::register_eager_quantizer(plugins);
  const json report = measure(options, plugins);
  if (!options.json.empty()) write_file(options.json, report.dump(2) + "\n");
  return 0;
}

}  // namespace
}  // namespace quell

int main(int argc, const char** argv) {
  quell::fix_instruction_sets();
  return quell::benchmarks::guarded([&] { return quell::run(argc, argv); });
}
