#include "solvers/adaround/learned_rounding.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

namespace quell {

RoundingProgress::RoundingProgress(PipelineContext& context) : context_(context) {}

std::string RoundingProgress::prefix(const char* what, SiteId site) const {
  return fmt::format("{}.{}.", what, context_.model.sites()[static_cast<size_t>(site)].key());
}

bool RoundingProgress::take_over(SiteId site) {
  NamedTensors state = part_of(context_.progress.saved(), prefix("finished", site));
  const auto errors = state.find("errors");
  if (errors == state.end()) return false;
  const auto* values = errors->second.const_data_ptr<double>();
  RoundingResult result{site, values[0], values[1], static_cast<int64_t>(values[2]),
                        static_cast<int64_t>(values[3])};
  state.erase(errors);
  context_.points.point(site)->quantizer->set_state(state);
  finish(result);
  return true;
}

NamedTensors RoundingProgress::reached(SiteId site) const {
  return part_of(context_.progress.saved(), prefix("reached", site));
}

// So seldom that storing takes no more than a twentieth of the time.
bool RoundingProgress::due() const {
  constexpr int kShare = 20;
  return context_.progress.due() && Clock::now() - last_ >= kShare * cost_;
}

void RoundingProgress::save(const std::string& prefix, const NamedTensors& state) {
  const auto begin = Clock::now();
  NamedTensors all = finished_;
  add_named(prefix, state, all);
  context_.progress.save(all);
  last_ = Clock::now();
  cost_ = last_ - begin;
}

void RoundingProgress::finish(const RoundingResult& result) {
  context_.points.weight_changed(result.site);
  results_.push_back(result);
  NamedTensors state = context_.points.point(result.site)->quantizer->state();
  state["errors"] =
      at::tensor({result.nearest_error, result.learned_error, static_cast<double>(result.changed),
                  static_cast<double>(result.values)},
                 at::kDouble);
  add_named(prefix("finished", result.site), state, finished_);
}

Record RoundingProgress::record() const {
  std::vector<int64_t> site, changed, values;
  std::vector<double> nearest, learned;
  for (const RoundingResult& result : results_) {
    site.push_back(result.site);
    changed.push_back(result.changed);
    values.push_back(result.values);
    nearest.push_back(result.nearest_error);
    learned.push_back(result.learned_error);
  }
  const auto integers = [](const std::vector<int64_t>& column) {
    return at::tensor(column, at::kLong);
  };
  const auto numbers = [](const std::vector<double>& column) {
    return at::tensor(column, at::kDouble);
  };
  Record record{"rounding", "adaround", {}};
  record.columns = {
      {"site", integers(site), "weight", "index of the site in the order of execution"},
      {"values", integers(values), "weight", "values of the weight"},
      {"changed", integers(changed), "weight", "values that do not take their nearest neighbour"},
      {"nearest_error", numbers(nearest), "weight",
       "mean squared error of the outputs, rounded to the nearest"},
      {"learned_error", numbers(learned), "weight",
       "mean squared error of the outputs, rounding learned"}};
  return record;
}

}  // namespace quell
