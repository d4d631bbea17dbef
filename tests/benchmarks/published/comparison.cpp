#include "tests/benchmarks/published/comparison.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/benchmarks/published/clock.h"

namespace quell::published {
namespace {

using nlohmann::json;

std::vector<PaddedBatch> pad_all(const std::vector<Batch>& batches, const Problem& problem,
                                 int64_t pad_id) {
  std::vector<PaddedBatch> padded;
  for (const Batch& batch : batches) padded.push_back(pad(batch, problem.length, pad_id));
  return padded;
}

Pipeline published_pipeline(const Problem& problem, const Setup& setup) {
  return {{.model = problem.model, .bits = problem.bits},
          pad_all(setup.calibration(), problem, setup.pad_id()),
          pad_all(setup.evaluation_batches(), problem, setup.pad_id())};
}

Variant whole(const Plugins& plugins) { return {.quantizer = learned_quantizer(plugins)}; }

double sum(const Seconds& seconds) {
  double total = 0;
  for (const auto& [stage, value] : seconds) total += value;
  return total;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

json spread(const std::vector<double>& values) {
  return {{"median", median(values)},
          {"lowest", *std::min_element(values.begin(), values.end())},
          {"highest", *std::max_element(values.begin(), values.end())}};
}

// Of one stage in all rounds.
struct Times {
  std::vector<double> published, ours;
};

void print_stage(const std::string& name, const Times& times, json& report) {
  json row = {{"published_s", spread(times.published)}, {"quell_s", spread(times.ours)}};
  std::string ratio = "-";
  if (median(times.ours) > 0 && median(times.published) > 0) {
    std::vector<double> ratios;
    for (size_t i = 0; i < times.ours.size(); ++i) {
      ratios.push_back(times.published[i] / times.ours[i]);
    }
    row["ratio"] = spread(ratios);
    ratio =
        fmt::format("{:.1f}x ({:.1f} to {:.1f})", median(ratios),
                    row["ratio"]["lowest"].get<double>(), row["ratio"]["highest"].get<double>());
  }
  fmt::print("  {:<16} {:>10.2f} {:>10.2f}   {}\n", name, median(times.published),
             median(times.ours), ratio);
  report["stages"][name] = std::move(row);
}

double at_or_zero(const Seconds& seconds, const std::string& stage) {
  const auto found = seconds.find(stage);
  return found == seconds.end() ? 0 : found->second;
}

}  // namespace

json compare_times(const Problem& problem, int64_t rounds, const Sample& sample,
                   const Plugins& plugins) {
  std::vector<Seconds> published, ours;
  json report = {{"data", problem.name}, {"bits", problem.bits}, {"threads", problem.threads}};
  for (int64_t round = 0; round < rounds; ++round) {
    Setup setup(problem, whole(plugins), plugins);
    at::set_num_threads(static_cast<int>(problem.threads));
    Pipeline reference = published_pipeline(problem, setup);
    published.push_back(reference.sample(sample));
    if (!has_learning(plugins)) published.back().erase("learning");
    const OurResult result = setup.run();
    ours.push_back(result.seconds);
    report["search_note"] = result.search_note;
    published.back()["whole"] = sum(published.back());
    ours.back()["whole"] = sum(ours.back());
  }
  fmt::print("{}, W{}A{}, padded to {}, {} thread(s), {} rounds; published: scaled from a part\n",
             problem.name, problem.bits, problem.bits, problem.length, problem.threads, rounds);
  fmt::print("  {:<16} {:>10} {:>10}   ratio, median (lowest to highest)\n", "seconds", "published",
             "quell");
  for (const char* stage :
       {"targets", "gamma_migration", "weights", "search", "learning", "evaluation", "whole"}) {
    Times times;
    for (size_t i = 0; i < ours.size(); ++i) {
      times.published.push_back(at_or_zero(published[i], stage));
      times.ours.push_back(at_or_zero(ours[i], stage));
    }
    if (median(times.published) > 0) print_stage(stage, times, report);
  }
  fmt::print("  {}\n", report["search_note"].get<std::string>());
  return report;
}

namespace {

double worst_difference(const std::vector<double>& found, const std::vector<double>& expected) {
  double worst = 0;
  for (size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    worst = std::max(worst, std::abs(found[i] / expected[i] - 1));
  }
  return worst;
}

using Parameters = std::map<std::string, std::pair<double, double>>;

// The largest relative difference of a scale, and how many zero points round to another integer.
std::string compare_parameters(const Parameters& found, const Parameters& expected) {
  double worst = 0;
  int zero_points = 0;
  for (const auto& [name, values] : expected) {
    const auto& [scale, zero_point] = found.at(name);
    worst = std::max(worst, std::abs(scale / values.first - 1));
    zero_points += std::rint(zero_point) != std::rint(values.second);
  }
  return fmt::format("scales within {:.2g} relative, {} of {} zero points differ", worst,
                     zero_points, expected.size());
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

}  // namespace

json compare_results(const Problem& problem, int64_t ratios, const json& golden,
                     const Plugins& plugins) {
  Variant variant = whole(plugins);
  variant.search = "early_abandon: false";  // all losses are to be known
  Setup setup(problem, variant, plugins);
  at::set_num_threads(static_cast<int>(problem.threads));
  Pipeline reference = published_pipeline(problem, setup);
  Seconds published = reference.run(ratios);
  const Metrics metrics = setup.score(reference.evaluation_logits());
  const OurResult ours = setup.run();
  const std::vector<double> losses = losses_of(ours.search);
  const double our_ratio = ours.search.candidates[ours.search.chosen].value;

  fmt::print("{}, W{}A{}, padded to {}, {} of {} ratios, everything run and measured\n",
             problem.name, problem.bits, problem.bits, problem.length, reference.losses().size(),
             ratio_count(problem.bits));
  for (size_t i = 0; i < reference.losses().size(); ++i) {
    fmt::print("  ratio {:.2f}: loss {:.6f}, quell {:.6f}{}\n",
               1.0 - kRatioStep * static_cast<double>(i), reference.losses()[i], losses[i],
               golden.is_null() ? ""
                                : fmt::format(", true published code {:.6f}",
                                              golden["loss_of_ratio"][i].get<double>()));
  }
  fmt::print("  chosen: {:.2f}, quell {:.2f}\n", reference.chosen_ratio(), our_ratio);
  fmt::print("  quell to transcription: losses within {:.2g}; {}\n",
             worst_difference(losses, reference.losses()),
             compare_parameters(ours.parameters, reference.parameters()));
  fmt::print("  metrics: {} quell: {}\n", format_metrics(metrics), format_metrics(ours.metrics));
  for (const auto& [stage, seconds] : published) {
    fmt::print("  {:<16} {:>10.2f} {:>10.2f}\n", stage, seconds, at_or_zero(ours.seconds, stage));
  }
  if (!golden.is_null()) {
    const auto expected = golden["loss_of_ratio"].get<std::vector<double>>();
    fmt::print("  transcription to the true published code: losses within {:.2g}\n",
               worst_difference(reference.losses(), expected));
    fmt::print("    coarse: {}\n    final:  {}\n",
               compare_parameters(reference.coarse(), golden_parameters(golden["coarse"])),
               compare_parameters(reference.parameters(), golden_parameters(golden["final"])));
  }
  return {{"data", problem.name},
          {"length", problem.length},
          {"published_losses", reference.losses()},
          {"quell_losses", losses},
          {"published_ratio", reference.chosen_ratio()},
          {"quell_ratio", our_ratio},
          {"published_s", published},
          {"quell_s", ours.seconds}};
}

json compare_levers(const Problem& problem, int64_t rounds, const Sample& sample,
                    const Plugins& plugins) {
  const std::pair<const char*, Variant> variants[] = {
      {"packed rows, eager operations",
       {.search = "early_abandon: false, cache_megabytes: 0", .quantizer = "eager"}},
      {"fused fake quantization", {.search = "early_abandon: false, cache_megabytes: 0"}},
      {"states of repeated prefixes", {.search = "early_abandon: false"}},
      {"early abandon (quell's search)", {}},
      {"the same on kept padding", {.keep_padding = true}}};
  std::vector<std::vector<double>> rows(2 + std::size(variants));
  for (int64_t round = 0; round < rounds; ++round) {
    Setup setup(problem, {}, plugins);
    at::set_num_threads(static_cast<int>(problem.threads));
    Pipeline reference = published_pipeline(problem, setup);
    const Seconds seconds = reference.sample(sample);
    rows[0].push_back(seconds.at("search"));
    rows[1].push_back(static_cast<double>(ratio_count(problem.bits)) *
                          reference.quantized_seconds() +
                      reference.observing_seconds());
    for (size_t i = 0; i < std::size(variants); ++i) {
      Variant variant = variants[i].second;
      variant.search_only = true;
      rows[2 + i].push_back(Setup(problem, variant, plugins).run().seconds.at("search"));
    }
  }
  fmt::print("{}, levers of the search, {} thread(s), {} rounds; seconds, ratio to the published\n",
             problem.name, problem.threads, rounds);
  json report = json::array();
  for (size_t i = 0; i < rows.size(); ++i) {
    const char* name = i == 0   ? "published (scaled from a part)"
                       : i == 1 ? "one observing pass (computed)"
                                : variants[i - 2].first;
    const double ratio = median(rows[0]) / median(rows[i]);
    fmt::print("  {:<34} {:>9.2f} {:>8.1f}x\n", name, median(rows[i]), ratio);
    report.push_back({{"lever", name}, {"seconds", spread(rows[i])}, {"ratio", ratio}});
  }
  return report;
}

at::Tensor norm_output(const Problem& problem, const Plugins& plugins) {
  Variant variant;
  variant.keep_padding = true;
  return Setup(problem, variant, plugins).rows_at("encoder.0.attention.norm");
}

}  // namespace quell::published
