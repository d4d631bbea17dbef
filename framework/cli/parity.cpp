#include "framework/run/parity.h"

#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/kernels/integer_product.h"
#include "framework/record/environment.h"

namespace quell {
namespace po = boost::program_options;
namespace {

constexpr double kMebibyte = 1024.0 * 1024.0;

double share(int64_t part, int64_t all) {
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

nlohmann::ordered_json to_json(const Parity& parity, const ParityOptions& options) {
  nlohmann::ordered_json json;
  json["processor"] = processor();
  json["instruction_sets"] = instruction_sets();
  json["integer_instruction_set"] = kernels::integer_instruction_set();
  json["engines"] = options.engines;
  auto& sites = json["sites"] = nlohmann::ordered_json::array();
  for (const SiteParity& site : parity.sites) {
    sites.push_back({{"site", site.site},
                     {"values", site.values},
                     {"different", site.different},
                     {"largest_in_codes", site.largest_in_codes},
                     {"own_different", site.own_different},
                     {"own_explained", site.own_explained},
                     {"own_largest_in_codes", site.own_largest_in_codes},
                     {"own_values", site.own_values}});
  }
  json["logits"] = {{"largest_difference", parity.largest_logit_difference},
                    {"rms", parity.logit_rms}};
  json["predictions"] = {{"all", parity.predictions}, {"different", parity.different_predictions}};
  for (size_t i = 0; i < parity.metrics.size(); ++i) {
    auto& metrics = json["metrics"][options.engines[i]] = nlohmann::ordered_json::object();
    for (const auto& [name, value] : parity.metrics[i]) metrics[name] = value;
  }
  auto& times = json["times"] = nlohmann::ordered_json::array();
  for (const EngineTimes& one : parity.times) {
    times.push_back({{"engine", one.engine},
                     {"single_ms", one.single_ms},
                     {"tokens_per_second", one.tokens_per_second},
                     {"bytes", one.bytes}});
  }
  json["peak_bytes"] = parity.peak_bytes;
  json["notes"] = parity.notes;
  return json;
}

void print_sites(const Parity& parity) {
  std::vector<std::vector<std::string>> rows = {{"site", "values", "other codes", "share [%]",
                                                 "largest [codes]", "own", "explained",
                                                 "own largest [codes]"}};
  for (const SiteParity& site : parity.sites) {
    rows.push_back({site.site, fmt::format("{}", site.values), fmt::format("{}", site.different),
                    fmt::format("{:.4f}", 100 * share(site.different, site.values)),
                    site.largest_in_codes > 0 ? fmt::format("{:.0f}", site.largest_in_codes) : "",
                    site.own_values > 0 ? fmt::format("{}", site.own_different) : "",
                    site.own_values > 0 ? fmt::format("{}", site.own_explained) : "",
                    site.own_values > 0 ? fmt::format("{:.0f}", site.own_largest_in_codes) : ""});
  }
  fmt::print("{}", text_table(rows));
  fmt::print(
      "own: from the same rows, behind linears and attention's two products; explained: the number "
      "in\nfloat64 is as close to where codes change as float32 sums may be off\n\n");
}

void print_times(const Parity& parity) {
  if (parity.times.empty()) return;
  std::vector<std::vector<std::string>> rows = {{"engine"}};
  for (size_t i = 0; i < parity.times[0].single_ms.size(); ++i) {
    rows[0].push_back(fmt::format("{} tokens [ms]", kSingleTokens[i]));
  }
  rows[0].insert(rows[0].end(), {"batches [tokens/s]", "held [MiB]"});
  for (const EngineTimes& one : parity.times) {
    std::vector<std::string>& row = rows.emplace_back(std::vector<std::string>{one.engine});
    for (const double ms : one.single_ms) row.push_back(fmt::format("{:.2f}", ms));
    row.push_back(fmt::format("{:.0f}", one.tokens_per_second));
    row.push_back(fmt::format("{:.1f}", static_cast<double>(one.bytes) / kMebibyte));
  }
  fmt::print("\n{}", text_table(rows));
}

void print_parity(const Parity& parity, const ParityOptions& options) {
  fmt::print("{}; {}; integers: {}\n\n", processor(), instruction_sets(),
             kernels::integer_instruction_set());
  print_sites(parity);
  for (size_t i = 0; i < parity.metrics[0].size(); ++i) {
    const auto& [name, value] = parity.metrics[0][i];
    fmt::print("{}: {} by {}, {} by {}\n", name, metric_text(name, value), options.engines[0],
               metric_text(name, parity.metrics[1][i].second), options.engines[1]);
  }
  fmt::print("predictions: {} of {} differ; logits: by {:.3g} at most, {:.3g} rms\n",
             parity.different_predictions, parity.predictions, parity.largest_logit_difference,
             parity.logit_rms);
  print_times(parity);
  fmt::print("peak memory of the process: {:.0f} MiB\n",
             static_cast<double>(parity.peak_bytes) / kMebibyte);
  for (const std::string& note : parity.notes) fmt::print("{}\n", note);
}

}  // namespace

int run_parity(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "parity EXPERIMENT|RUN [options]",
      "Runs the pipeline of an experiment, then evaluates the quantized network by two engines: "
      "which\ncodes differ at each site, logits, predictions, metrics; and times of both, and of "
      "the float\nnetwork, in turn.");
  add_experiment_options(line);
  line.add()("engines",
             po::value<std::vector<std::string>>()->multitoken()->default_value(
                 ParityOptions().engines, "libtorch integer"),
             "the reference, and the other")(
      "batches", po::value<int64_t>()->default_value(ParityOptions().batches),
      "batches on which sites are compared")(
      "rounds", po::value<int64_t>()->default_value(ParityOptions().rounds),
      "of all engines in turn, for times; 0: none are measured")("quiet", "print no progress")(
      "json", "print JSON");
  line.positional("experiment", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("experiment");
  if (files.empty()) {
    throw ConfigError("parity needs an experiment file; see `quell parity --help`");
  }
  ParityOptions options;
  options.engines = line.list("engines");
  options.batches = line.get<int64_t>("batches");
  options.rounds = line.get<int64_t>("rounds");
  if (options.engines.size() != 2 || options.batches < 0 || options.rounds < 0) {
    throw ConfigError(
        "parity compares two engines, such as `--engines libtorch integer`, on 0 or "
        "more batches and rounds");
  }
  const ExperimentSpec spec = load_experiment_or_run(files[0], line, plugins);
  const bool quiet = line.has("quiet") || line.has("json");
  Log log(quiet ? Verbosity::kQuiet : Log::default_verbosity());
  if (!spec.model.is_on_cpu()) {
    throw ConfigError("parity: engines compute on the CPU; add --set model.device=cpu");
  }
  const CalibratedNetwork network(load_bench(spec, plugins, log), log);
  const Parity parity = compare_engines(network, options, plugins, log);
  if (line.has("json")) {
    print_json(to_json(parity, options));
  } else {
    print_parity(parity, options);
  }
  return 0;
}

}  // namespace quell
