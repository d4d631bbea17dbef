#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/benchmarks/published/comparison.h"

namespace quell::published {
namespace {

using nlohmann::json;

Time sum(const Times& times) {
  Time total;
  for (const auto& [stage, time] : times) total += time;
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

// One stage in all rounds.
struct Rounds {
  std::vector<Time> published, ours;
};

json spread(const std::vector<Time>& times, double Time::*clock) {
  std::vector<double> values;
  for (const Time& time : times) values.push_back(time.*clock);
  return spread(values);
}

json ratio_spread(const Rounds& rounds, double Time::*clock) {
  std::vector<double> ratios;
  for (size_t i = 0; i < rounds.ours.size(); ++i) {
    ratios.push_back(rounds.published[i].*clock / std::max(rounds.ours[i].*clock, 1e-9));
  }
  return spread(ratios);
}

std::string format_ratio(const json& ratio) {
  return fmt::format("{:.1f}x ({:.1f} to {:.1f})", ratio["median"].get<double>(),
                     ratio["lowest"].get<double>(), ratio["highest"].get<double>());
}

json stage_report(const std::string& name, const Rounds& rounds) {
  json row;
  for (const auto& [kind, clock] : {std::pair{"wall", &Time::wall}, std::pair{"cpu", &Time::cpu}}) {
    row[kind] = {{"published_s", spread(rounds.published, clock)},
                 {"quell_s", spread(rounds.ours, clock)},
                 {"ratio", ratio_spread(rounds, clock)}};
  }
  const auto seconds = [&](const char* side) {
    return fmt::format("{:>9.2f} {:>9.2f}", row["wall"][side]["median"].get<double>(),
                       row["cpu"][side]["median"].get<double>());
  };
  const bool both = row["wall"]["quell_s"]["median"] > 0.01;
  fmt::print("  {:<16} {} {}   {:<24} {}\n", name, seconds("published_s"), seconds("quell_s"),
             both ? format_ratio(row["wall"]["ratio"]) : "-",
             both ? format_ratio(row["cpu"]["ratio"]) : "-");
  return row;
}

void print_heading() {
  fmt::print("  {:<16} {:>19} {:>19}   median ratio (lowest to highest)\n", "", "published",
             "quell");
  fmt::print("  {:<16} {:>9} {:>9} {:>9} {:>9}   {:<24} {}\n", "seconds", "wall", "CPU", "wall",
             "CPU", "wall", "CPU");
}

// Of both sides in one round; the model and the data are loaded anew.
std::pair<Times, OurResult> run_both(const Problem& problem, const Sample& sample,
                                     const Plugins& plugins) {
  Setup setup(problem, whole_pipeline(plugins), plugins);
  at::set_num_threads(static_cast<int>(problem.threads));
  const Sample part{sample.batches, has_learning(plugins) ? sample.learning_steps : 0};
  Times published = published_pipeline(problem, setup).sample(part);
  published["whole"] = sum(published);
  OurResult ours = setup.run();
  ours.times["whole"] = sum(ours.times);
  return {published, ours};
}

}  // namespace

json compare_times(const Problem& problem, int64_t rounds, const Sample& sample,
                   const Plugins& plugins) {
  std::map<std::string, Rounds> stages;
  json report = {{"data", problem.name}, {"bits", problem.bits}, {"threads", problem.threads}};
  for (int64_t round = 0; round < rounds; ++round) {
    auto [published, ours] = run_both(problem, sample, plugins);
    for (const auto& [stage, time] : published) {
      stages[stage].published.push_back(time);
      stages[stage].ours.push_back(ours.times[stage]);
    }
    report["search_note"] = ours.search_note;
  }
  fmt::print("{}, W{}A{}, padded to {}, {} thread(s), {} rounds; published: scaled from a part\n",
             problem.name, problem.bits, problem.bits, problem.length, problem.threads, rounds);
  print_heading();
  for (const char* stage :
       {"targets", "gamma_migration", "weights", "search", "learning", "evaluation", "whole"}) {
    const auto found = stages.find(stage);
    if (found != stages.end()) report["stages"][stage] = stage_report(stage, found->second);
  }
  fmt::print("  {}\n", report["search_note"].get<std::string>());
  return report;
}

namespace {

struct Lever {
  const char* name;
  Variant variant;
};

// Each one adds to those before it.
const Lever kLevers[] = {
    {"packed rows, eager operations",
     {.search = "early_abandon: false, cache_megabytes: 0", .quantizer = "eager"}},
    {"fused fake quantization", {.search = "early_abandon: false, cache_megabytes: 0"}},
    {"states of equal prefixes", {.search = "early_abandon: false"}},
    {"early abandon: quell's search", {}},
    {"all of it on kept padding", {.keep_padding = true}}};

json lever_report(const char* name, const Rounds& rounds) {
  const json wall = ratio_spread(rounds, &Time::wall), cpu = ratio_spread(rounds, &Time::cpu);
  const json seconds = spread(rounds.ours, &Time::wall),
             cpu_seconds = spread(rounds.ours, &Time::cpu);
  fmt::print("  {:<32} {:>9.2f} {:>9.2f}   {:<24} {}\n", name, seconds["median"].get<double>(),
             cpu_seconds["median"].get<double>(), format_ratio(wall), format_ratio(cpu));
  return {{"lever", name},
          {"wall", {{"seconds", seconds}, {"ratio", wall}}},
          {"cpu", {{"seconds", cpu_seconds}, {"ratio", cpu}}}};
}

}  // namespace

json compare_levers(const Problem& problem, int64_t rounds, const Sample& sample,
                    const Plugins& plugins) {
  std::vector<Time> published;
  Rounds once;
  std::vector<std::vector<Time>> ours(std::size(kLevers));
  for (int64_t round = 0; round < rounds; ++round) {
    const Setup setup(problem, {}, plugins);
    at::set_num_threads(static_cast<int>(problem.threads));
    Pipeline reference = published_pipeline(problem, setup);
    Times times;
    published.push_back(reference.sample_search(static_cast<size_t>(sample.batches), times));
    once.ours.push_back(static_cast<double>(ratio_count(problem.bits)) *
                            reference.quantized_time() +
                        reference.observing_time());
    for (size_t i = 0; i < std::size(kLevers); ++i) {
      Variant variant = kLevers[i].variant;
      variant.search_only = true;
      ours[i].push_back(Setup(problem, variant, plugins).run().times.at("search"));
    }
  }
  fmt::print("{}, search alone, each lever added to those above, {} thread(s), {} rounds\n",
             problem.name, problem.threads, rounds);
  fmt::print("  {:<32} {:>9} {:>9}   ratio to the published: wall, CPU\n", "seconds", "wall",
             "CPU");
  json report = json::array();
  report.push_back(lever_report("published, scaled from a part", {published, published}));
  report.push_back(lever_report("observing once, computed", {published, once.ours}));
  for (size_t i = 0; i < std::size(kLevers); ++i) {
    report.push_back(lever_report(kLevers[i].name, {published, ours[i]}));
  }
  return report;
}

}  // namespace quell::published
