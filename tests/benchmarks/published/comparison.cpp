#include "tests/benchmarks/published/comparison.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/quant/device.h"

namespace quell::published {
namespace {

using nlohmann::json;
using Parameters = std::map<std::string, std::pair<double, double>>;

std::vector<PaddedBatch> pad_all(const std::vector<Batch>& batches, const Problem& problem,
                                 int64_t pad_id) {
  std::vector<PaddedBatch> padded;
  for (const Batch& batch : batches) padded.push_back(pad(batch, problem.length, pad_id));
  return padded;
}

struct Difference {
  double worst = 0;
  int64_t within = 0, all = 0;  // how many losses are within 2 %
};

Difference difference(const std::vector<double>& found, const std::vector<double>& expected) {
  Difference result;
  for (size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    const double relative = std::abs(found[i] / expected[i] - 1);
    result.worst = std::max(result.worst, relative);
    result.within += relative <= 0.02;
    ++result.all;
  }
  return result;
}

std::string to_string(const Difference& found) {
  return fmt::format("{} of {} losses within 2 %, the worst within {:.2g}", found.within, found.all,
                     found.worst);
}

std::string compare_parameters(const Parameters& found, const Parameters& expected) {
  double worst = 0;
  int near = 0, zero_points = 0;
  for (const auto& [name, values] : expected) {
    const auto& [scale, zero_point] = found.at(name);
    worst = std::max(worst, std::abs(scale - values.first));
    near += std::abs(scale - values.first) <= 2e-6;
    zero_points += std::rint(zero_point) != std::rint(values.second);
  }
  return fmt::format("{} of {} scales within 2e-6, all within {:.2g}; {} zero points differ", near,
                     expected.size(), worst, zero_points);
}

Parameters golden_parameters(const json& table) {
  Parameters result;
  for (const auto& [name, row] : table.items()) result[name] = {row[0], row[1]};
  return result;
}

std::string format_metrics(const Metrics& metrics) {
  std::string line;
  for (const auto& [name, value] : metrics) line += fmt::format("{} {:.4f}  ", name, value);
  return line;
}

std::vector<double> losses_of(const SearchRecord& search) {
  std::vector<double> losses;
  for (const SearchCandidate& candidate : search.candidates) losses.push_back(candidate.loss);
  return losses;
}

void print_losses(const std::vector<double>& published, const std::vector<double>& ours,
                  const json& golden) {
  for (size_t i = 0; i < published.size(); ++i) {
    fmt::print("  ratio {:.2f}: loss {:.6f}, quell {:.6f}{}\n",
               1.0 - kRatioStep * static_cast<double>(i), published[i], ours[i],
               golden.is_null() ? ""
                                : fmt::format(", true published code {:.6f}",
                                              golden["loss_of_ratio"][i].get<double>()));
  }
}

void print_golden(Pipeline& reference, const json& golden) {
  const auto expected = golden["loss_of_ratio"].get<std::vector<double>>();
  fmt::print("  transcription to the true published code: {}\n",
             to_string(difference(reference.losses(), expected)));
  if (reference.losses().size() < expected.size()) return;  // perhaps another ratio
  fmt::print("    coarse stage: {}\n    at the end: {}\n",
             compare_parameters(reference.coarse(), golden_parameters(golden["coarse"])),
             compare_parameters(reference.parameters(), golden_parameters(golden["final"])));
}

}  // namespace

Pipeline published_pipeline(const Problem& problem, const Setup& setup) {
  return {{.model = problem.model,
           .bits = problem.bits,
           .device = available_devices({problem.device}).front()},
          pad_all(setup.calibration(), problem, setup.pad_id()),
          pad_all(setup.evaluation_batches(), problem, setup.pad_id())};
}

Variant whole_pipeline(const Plugins& plugins) { return {.quantizer = learned_quantizer(plugins)}; }

json compare_results(const Problem& problem, int64_t ratios, const json& golden,
                     const Plugins& plugins) {
  Variant variant = whole_pipeline(plugins);
  variant.search = "early_abandon: false";  // all losses are to be known
  Setup setup(problem, variant, plugins);
  at::set_num_threads(static_cast<int>(problem.threads));
  Pipeline reference = published_pipeline(problem, setup);
  const Times published = reference.run(ratios);
  const Metrics metrics = setup.score(reference.evaluation_logits());
  OurResult ours = setup.run();
  const std::vector<double> losses = losses_of(ours.search);
  const double our_ratio = ours.search.candidates[static_cast<size_t>(ours.search.chosen)].value;

  fmt::print("{}, W{}A{}, padded to {}, {} of {} ratios, everything run and measured\n",
             problem.name, problem.bits, problem.bits, problem.length, reference.losses().size(),
             ratio_count(problem.bits));
  print_losses(reference.losses(), losses, golden);
  fmt::print("  chosen: {:.2f}, quell {:.2f}\n", reference.chosen_ratio(), our_ratio);
  fmt::print("  quell to transcription: {}\n", to_string(difference(losses, reference.losses())));
  if (our_ratio == reference.chosen_ratio()) {
    fmt::print("    at the end: {}\n", compare_parameters(ours.parameters, reference.parameters()));
  }
  fmt::print("  metrics: {} quell: {}\n", format_metrics(metrics), format_metrics(ours.metrics));
  json seconds;
  for (const auto& [stage, time] : published) {
    fmt::print("  {:<16} {:>10.2f} {:>10.2f} s CPU\n", stage, time.cpu, ours.times[stage].cpu);
    seconds[stage] = {{"published_cpu_s", time.cpu}, {"quell_cpu_s", ours.times[stage].cpu}};
  }
  if (!golden.is_null()) print_golden(reference, golden);
  return {{"data", problem.name},
          {"length", problem.length},
          {"published_losses", reference.losses()},
          {"quell_losses", losses},
          {"published_ratio", reference.chosen_ratio()},
          {"quell_ratio", our_ratio},
          {"stages", seconds}};
}

at::Tensor norm_output(const Problem& problem, const Plugins& plugins) {
  return Setup(problem, {.keep_padding = true}, plugins).rows_at("encoder.0.attention.norm");
}

}  // namespace quell::published
