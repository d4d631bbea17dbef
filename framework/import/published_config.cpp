#include "framework/import/published_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cctype>

#include "framework/base/suggest.h"
#include "framework/import/names.h"
#include "framework/import/published_file.h"

namespace quell::published {
namespace {

std::string unknown_name(const std::string& name, std::span<const Name> known) {
  return fmt::format("unknown \"{}\"{}", name, did_you_mean(name, published_names(known)));
}

constexpr const char* kGlue[] = {"cola", "sst2", "mrpc", "stsb", "qqp",
                                 "mnli", "qnli", "rte",  "wnli"};

constexpr const char* kDatasets[] = {"squad", "squad_v2", "cnn_dailymail", "xsum"};

}  // namespace

void QuantizerSection::check(const QuantizerSection& section, Report& report) {
  if (own_name(quantizers(), section.quantizer).empty()) {
    report.problem("quantizer", unknown_name(section.quantizer, quantizers()));
  }
  if (own_name(observers(), section.observer).empty()) {
    report.problem("observer", unknown_name(section.observer, observers()));
  }
}

void QuantSection::check(const QuantSection& section, Report& report) {
  if (section.a_qconfig.ch_axis == -1) return;
  report.problem("a_qconfig",
                 fmt::format("ch_axis {}: activations have one scale per tensor here (-1); after "
                             "the import `granularity: channel` gives one per feature",
                             section.a_qconfig.ch_axis));
}

DataKind DataSection::kind() const {
  if (task_name) return DataKind::kGlue;
  return task().starts_with("squad") ? DataKind::kSquad : DataKind::kSummarization;
}

std::string DataSection::task() const {
  std::string name = task_name ? *task_name : dataset_name.value_or("");
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

void DataSection::check(const DataSection& section, Report& report) {
  const std::vector<std::string> known(std::begin(kGlue), std::end(kGlue));
  if (!section.task_name && section.dataset_name) {
    const std::vector<std::string> others(std::begin(kDatasets), std::end(kDatasets));
    if (std::find(others.begin(), others.end(), section.task()) != others.end()) return;
    return report.problem("dataset_name",
                          fmt::format("unknown \"{}\"; known are {}, and the tasks of GLUE "
                                      "(task_name)",
                                      *section.dataset_name, fmt::join(others, ", ")));
  }
  if (!section.task_name) {
    return report.problem(
        "task_name", fmt::format("missing: the task of GLUE, one of {}", fmt::join(known, ", ")));
  }
  if (std::find(known.begin(), known.end(), section.task()) == known.end()) {
    return report.problem("task_name", fmt::format("unknown \"{}\"{}", *section.task_name,
                                                   did_you_mean(section.task(), known)));
  }
  if (section.is_regression && section.task() != "stsb") {
    report.problem("is_regression",
                   fmt::format("{} has classes; only stsb is a regression", section.task()));
  }
}

Config load(const std::filesystem::path& file, ImportNotes& notes) {
  const std::vector<std::string> sections{"quant", "data", "model", "train", "progress"};
  return load_published<Config>(file, {sections, keys_without_effect()}, notes);
}

}  // namespace quell::published
