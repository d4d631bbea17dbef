#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/experiment_options.h"
#include "framework/cli/print.h"
#include "framework/cli/verb.h"
#include "framework/config/enum_name.h"
#include "framework/quant/scale_map.h"
#include "framework/run/bench.h"
#include "framework/run/dry_run.h"
#include "framework/run/model_size.h"

namespace quell {
namespace {

constexpr double kMebibyte = 1024.0 * 1024.0;

nlohmann::ordered_json site_json(const Site& site, const SitePlan& plan) {
  nlohmann::ordered_json json;
  json["site"] = site.key();
  json["kind"] = to_string(site.kind);
  json["role"] = site.role;
  if (site.layer >= 0) json["layer"] = site.layer;
  auto& published = json["published_names"] = nlohmann::ordered_json::object();
  for (const auto& [source, name] : site.published_names) published[source] = name;
  json["quantize"] = plan.quantize;
  if (!plan.quantize) return json;
  json["bits"] = plan.spec.bits;
  json["symmetric"] = plan.spec.symmetric;
  json["granularity"] = enum_name(plan.spec.granularity);
  for (const auto& [key, value] : granularity_keys(plan.spec)) json[key] = value;
  json["grid"] = enum_name(plan.spec.grid);
  json["observer"] = plan.spec.is_dynamic() ? "dynamic" : plan.observer.name();
  json["quantizer"] = plan.quantizer.name();
  json["during_calibration"] = enum_name(plan.during_calibration);
  return json;
}

// Quantized and all sites of a kind.
std::pair<int64_t, int64_t> count_sites(const Bench& bench, SiteKind kind) {
  int64_t quantized = 0, all = 0;
  for (size_t id = 0; id < bench.plan.size(); ++id) {
    if (bench.model->sites()[id].kind != kind) continue;
    ++all;
    quantized += bench.plan[id].quantize;
  }
  return {quantized, all};
}

// The sites whose grids the engine computes in float, and why.
std::vector<std::pair<std::string, std::string>> sites_in_float(const Bench& bench) {
  std::vector<std::pair<std::string, std::string>> result;
  for (size_t id = 0; id < bench.plan.size(); ++id) {
    const Site& site = bench.model->sites()[id];
    const bool is_table_or_vector =  // no weight of a linear
        site.kind == SiteKind::kWeight &&
        (site.role == "embedding" ||
         bench.model->weight_shape(static_cast<SiteId>(id)).size() != 2);
    if (!bench.plan[id].quantize || is_table_or_vector) continue;
    std::string problem = bench.engine->problem(bench.plan[id].spec);
    if (!problem.empty()) result.emplace_back(site.key(), std::move(problem));
  }
  return result;
}

nlohmann::ordered_json plan_json(const Bench& bench, const DryRun& estimate) {
  nlohmann::ordered_json json;
  json["name"] = bench.spec.name;
  json["quantized_weights"] = count_sites(bench, SiteKind::kWeight).first;
  json["quantized_activations"] = count_sites(bench, SiteKind::kActivation).first;
  const ModelSize size = model_size(*bench.model, bench.plan);
  json["model_bytes"] = {
      {"float", size.float_bytes}, {"quantized", size.quantized_bytes}, {"ratio", size.ratio()}};
  json["estimate"] = {{"evaluation_sequences", estimate.evaluation_sequences},
                      {"evaluation_tokens", estimate.evaluation_tokens},
                      {"calibration_batches", estimate.calibration_batches},
                      {"calibration_tokens", estimate.calibration_tokens},
                      {"seconds", estimate.seconds},
                      {"memory_bytes", estimate.memory_bytes}};
  json["engine"]["type"] = engine_of(bench.spec);
  auto& in_float = json["engine"]["in_float"] = nlohmann::ordered_json::object();
  for (const auto& [site, reason] : sites_in_float(bench)) in_float[site] = reason;
  auto& sites = json["sites"] = nlohmann::ordered_json::array();
  for (size_t id = 0; id < bench.plan.size(); ++id) {
    sites.push_back(site_json(bench.model->sites()[id], bench.plan[id]));
  }
  return json;
}

void print_plan(const Bench& bench, const DryRun& estimate) {
  std::vector<std::vector<std::string>> rows = {
      {"site", "bits", "symmetric", "scale per", "grid", "observer", "quantizer"}};
  for (size_t id = 0; id < bench.plan.size(); ++id) {
    const SitePlan& plan = bench.plan[id];
    const std::string key = bench.model->sites()[id].key();
    if (!plan.quantize) {
      rows.push_back({key, "float"});
      continue;
    }
    rows.push_back({key, fmt::format("{}", plan.spec.bits), plan.spec.symmetric ? "yes" : "no",
                    granularity_text(plan.spec), enum_name(plan.spec.grid),
                    plan.spec.is_dynamic() ? "dynamic" : plan.observer.name(),
                    plan.quantizer.name()});
  }
  const auto weights = count_sites(bench, SiteKind::kWeight);
  const auto activations = count_sites(bench, SiteKind::kActivation);
  const ModelSize size = model_size(*bench.model, bench.plan);
  fmt::print("{}\n", text_table(rows));
  fmt::print("quantized: {} of {} weights, {} of {} activations\n", weights.first, weights.second,
             activations.first, activations.second);
  fmt::print("model: {:.1f} MiB in float32, {:.1f} MiB at these bits ({:.2f}x smaller)\n",
             size.float_bytes / kMebibyte, size.quantized_bytes / kMebibyte, size.ratio());
  for (const auto& [site, reason] : sites_in_float(bench)) {
    fmt::print("engine {}: in float what has to do with {}: {}\n", engine_of(bench.spec), site,
               reason);
  }
  fmt::print("data: {} sequences with {} tokens per stage, {} calibration batches with {} tokens\n",
             estimate.evaluation_sequences, estimate.evaluation_tokens,
             estimate.calibration_batches, estimate.calibration_tokens);
  fmt::print("estimate: about {:.0f} s on this machine, {:.0f} MiB of memory\n", estimate.seconds,
             estimate.memory_bytes / kMebibyte);
}

}  // namespace

int run_check(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line(
      "check EXPERIMENT [options]",
      "Checks an experiment with its model and data, and shows what it would do: which "
      "site gets what,\nand an estimate of time and memory. Nothing is run or written.");
  add_experiment_options(line);
  line.add()("resolved", "print the experiment with every default written out, and stop")(
      "json", "print JSON");
  line.positional("experiment", 1);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("experiment");
  if (files.empty()) throw ConfigError("check needs an experiment file; see `quell check --help`");
  const ExperimentSpec spec = load_experiment(files[0], line.list("set"), plugins);
  if (line.has("resolved")) {
    const ConfigNode node = to_node(spec);
    if (line.has("json")) {
      print_json(to_json(node));
    } else {
      fmt::print("{}", to_yaml(node));
    }
    return 0;
  }
  Log log(Verbosity::kQuiet);
  const Bench bench = load_bench(spec, plugins, log);
  const DryRun estimate = dry_run(bench);
  if (line.has("json")) {
    print_json(plan_json(bench, estimate));
  } else {
    print_plan(bench, estimate);
  }
  return 0;
}

}  // namespace quell
