#include "framework/import/plus_config.h"

#include <fmt/format.h>

#include "framework/base/suggest.h"
#include "framework/import/names.h"
#include "framework/import/published_file.h"

namespace quell::published {
namespace {

// As observers of quell are written in a rule. AvgTokenQuantileObserver is completed by its ratio.
constexpr Name kObservers[] = {{"MinMaxObserver", "minmax"},
                               {"AvgMinMaxObserver", "avg_minmax"},
                               {"EMAMinMaxObserver", "ema_minmax"},
                               {"AvgTokenQuantileObserver", "prune_minmax"},
                               {"AvgQuantileObserver", "{type: quantile, quantile: 0.999}"},
                               {"EMAQuantileObserver", "ema_quantile"},
                               {"MSEObserver", "mse"},
                               {"AvgMSEObserver", "avg_mse"},
                               {"MSEFastObserver", "mse_fast"},
                               {"AvgMSEFastObserver", "avg_mse_fast"},
                               {"EMAMSEFastObserver", "ema_mse_fast"},
                               {"LSQPlusObserver", "lsq_init"}};

// FixedQuantize and GroupFixedQuantize hold weights as integers, which changes no value.
constexpr Name kQuantizers[] = {{"FixedFakeQuantize", "fixed"},
                                {"FixedQuantize", "fixed"},
                                {"TokenFixedFakeQuantize", "token"},
                                {"GroupFixedFakeQuantize", "group"},
                                {"GroupFixedQuantize", "group"}};

std::string unknown_name(const std::string& name, std::span<const Name> known) {
  return fmt::format("unknown \"{}\"{}", name, did_you_mean(name, published_names(known)));
}

}  // namespace

void PlusQuantizer::check(const PlusQuantizer& section, Report& report) {
  if (own_name(kQuantizers, section.quantizer).empty()) {
    report.problem("quantizer", unknown_name(section.quantizer, kQuantizers));
  }
  if (own_name(kObservers, section.observer).empty()) {
    report.problem("observer", unknown_name(section.observer, kObservers));
  }
}

void PlusQuant::check(const PlusQuant& section, Report& report) {
  if (section.w_qconfig.granularity() == PlusGranularity::kToken) {
    report.problem("w_qconfig",
                   "TokenFixedFakeQuantize has one scale per token; weights have none");
  }
  if (section.a_qconfig.granularity() == PlusGranularity::kStatic &&
      section.a_qconfig.ch_axis != -1) {
    report.problem(
        "a_qconfig",
        fmt::format("ch_axis {}: activations with fixed ranges have one scale per tensor "
                    "here (-1); after the import `granularity: channel` gives one per "
                    "feature",
                    section.a_qconfig.ch_axis));
  }
}

PlusGranularity PlusQuantizer::granularity() const {
  const std::string own = own_name(kQuantizers, quantizer);
  if (own == "token") return PlusGranularity::kToken;
  return own == "group" ? PlusGranularity::kGroup : PlusGranularity::kStatic;
}

bool PlusQuantizer::clips_tokens() const { return observer == "AvgTokenQuantileObserver"; }

std::string PlusQuantizer::own_observer() const {
  if (clips_tokens() && token_quantile) {
    return fmt::format("{{type: prune_minmax, ratio: {}}}", *token_quantile);
  }
  return own_name(kObservers, observer);
}

PlusConfig load_plus(const std::filesystem::path& file, ImportNotes& notes) {
  const std::vector<std::string> sections{"quant", "model"};
  return load_published<PlusConfig>(file, {sections, {}}, notes);
}

}  // namespace quell::published
