#include "framework/run/parity.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "framework/base/error.h"
#include "framework/record/environment.h"
#include "framework/run/attention_parity.h"
#include "framework/run/timed.h"

namespace quell {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A network and one way to compute it.
struct Contestant {
  std::string name;
  std::unique_ptr<const Engine> engine;
  Pass pass;
};

std::vector<Contestant> contestants(const CalibratedNetwork& network, const ParityOptions& options,
                                    const Plugins& plugins) {
  const SitePoints& points = network.points();
  std::vector<Contestant> all;
  const auto add = [&](const std::string& name, const std::string& engine, bool quantized) {
    auto made = EngineChoice(plugins.engines, engine).create();
    const Pass pass(points,
                    {.quantize = points.calibrated(quantized, quantized), .engine = made.get()});
    all.push_back({name, std::move(made), pass});
  };
  for (const std::string& engine : options.engines) add(engine, engine, true);
  add("float", "packed", false);
  return all;
}

// The batches of an evaluation, as the task packs them.
class Batches {
 public:
  void add(const Batch& batch) {
    const std::lock_guard lock(mutex_);
    batches_.push_back(batch);
  }
  const std::vector<Batch>& all() const { return batches_; }

 private:
  std::mutex mutex_;
  std::vector<Batch> batches_;
};

Evaluation evaluate(const CalibratedNetwork& network, const Pass& pass, Batches* seen, Log& log,
                    const std::string& name) {
  const Model& model = *network.bench().model;
  const Predictor predictor{[&](const Batch& batch) {
    if (seen != nullptr) seen->add(batch);
    return model.forward(batch, pass);
  }};
  return network.bench().task->evaluate(
      predictor, [&](int64_t done, int64_t total) { log.progress(name.c_str(), done, total); });
}

void compare_predictions(const Evaluation& one, const Evaluation& other, Parity& parity) {
  double squares = 0;
  int64_t values = 0;
  for (size_t i = 0; i < one.predictions.size(); ++i) {
    const Prediction &left = one.predictions[i], &right = other.predictions[i];
    bool same = left.text == right.text;
    for (const auto& [name, outputs] : left.outputs) {
      const std::vector<float>& others = right.outputs.at(name);
      for (size_t k = 0; k < std::min(outputs.size(), others.size()); ++k) {
        const double difference = std::abs(static_cast<double>(outputs[k]) - others[k]);
        parity.largest_logit_difference = std::max(parity.largest_logit_difference, difference);
        squares += difference * difference;
        ++values;
      }
      if (left.text || outputs.size() < 2 || outputs.size() != others.size()) continue;
      const auto best = [](const std::vector<float>& all) {
        return std::max_element(all.begin(), all.end()) - all.begin();
      };
      same = same && best(outputs) == best(others);
    }
    ++parity.predictions;
    parity.different_predictions += !same;
  }
  parity.logit_rms = values == 0 ? 0 : std::sqrt(squares / static_cast<double>(values));
}

// A linear, and what entered it.
struct Entered {
  const Linear* linear;
  Rows rows;
};

// How far float32 may be from float64 behind a linear: a rounding for each product and sum, and
// some for what follows.
at::Tensor possible_error(const at::Tensor& rows, const at::Tensor& weight,
                          const at::Tensor& bias) {
  constexpr double kMore = 8, kUnit = 0x1p-24;
  const at::Tensor sizes = at::linear(rows.abs(), weight.abs(), bias);
  return sizes.mul((static_cast<double>(rows.size(1)) + kMore) * kUnit);
}

// See count_explained().
int64_t explained(const Linear& linear, const at::Tensor& rows, const at::Tensor& weight,
                  const at::Tensor& different, double scale) {
  const auto wide = [](const at::Tensor& all) { return all.defined() ? all.to(at::kDouble) : all; };
  const at::Tensor x = wide(rows), w = wide(weight), bias = wide(linear.bias);
  at::Tensor exact = at::linear(x, w, bias);
  if (linear.nonlinearity) exact = linear.nonlinearity(exact);
  const at::Tensor error = possible_error(x, w, bias.defined() ? bias.abs() : bias);
  return count_explained(different, exact, error, scale);
}

// Codes that `other` has otherwise than the reference, `after`, where it is given the same rows.
// Nothing is compared where something else lies between linear and site.
void compare_own(const SitePoints& points, const Engine& reference, const Engine& other,
                 const Entered& entered, const SitePoint& point, const at::Tensor& after,
                 SiteParity& site) {
  const Linear& linear = *entered.linear;
  const QuantParameters of = point.quantizer->parameters();
  const bool has_one_scale = of.scale.defined() && of.scale.numel() == 1;
  if (!has_one_scale || linear.weight_site == kNoSite ||
      points.point(linear.weight_site) == nullptr) {
    return;
  }
  const Weight weight(linear.weight, points, linear.weight_site);
  const auto by = [&](const Engine& engine) {
    const Rows rows = engine.quantize(*entered.rows.grid, entered.rows.values, /*in_place=*/false);
    at::Tensor values = engine.linear({.rows = rows, .weight = weight, .bias = linear.bias}).values;
    if (linear.nonlinearity) values = linear.nonlinearity(values);
    return engine.quantize(point, values, /*in_place=*/true).values;
  };
  if (!by(reference).equal(after)) return;
  const at::Tensor difference = by(other).sub(after).abs_(), different = difference.ne(0);
  const auto count = different.sum().item<int64_t>();
  site.own_values += after.numel();
  if (count == 0) return;
  site.own_different += count;
  const double largest = std::round(difference.max().item<double>() / of.scale.item<double>());
  site.own_largest_in_codes = std::max(site.own_largest_in_codes, largest);
  site.own_explained +=
      explained(linear, entered.rows.values, weight.values(), different, of.scale.item<double>());
}

// Of rows with scales of their own, which may be off by a rounding: codes differ where values
// differ by more than half a step.
void compare_steps(const QuantSpec& spec, const at::Tensor& values, const at::Tensor& difference,
                   SiteParity& site) {
  if (values.numel() == 0) return;
  QuantParameters used;
  fake_quantize_dynamic(values, spec, /*in_place=*/false, &used);
  const at::Tensor steps =
      difference.view({used.scale.numel(), -1}).div(used.scale.unsqueeze(1)).round_();
  site.different += steps.count_nonzero().item<int64_t>();
  site.largest_in_codes = std::max(site.largest_in_codes, steps.max().item<double>());
}

// The codes of the second engine against those of the first.
void compare_sites(const CalibratedNetwork& network, const Contestant& reference,
                   const Contestant& other, std::span<const Batch> batches, Parity& parity) {
  const SitePoints& points = network.points();
  const Model& model = *network.bench().model;
  std::map<SiteId, SiteParity> found;
  std::map<SiteId, at::Tensor> values;
  std::optional<Entered> entered;
  const auto pass_with = [&](const Contestant& by, Tap tap, InputTap inputs = {}) {
    return Pass(points, {.quantize = points.calibrated(true, true),
                         .tap = std::move(tap),
                         .inputs = std::move(inputs),
                         .engine = by.engine.get()});
  };
  const Pass first = pass_with(
      reference,
      [&](SiteId id, const at::Tensor&, const at::Tensor& after) {
        const SitePoint* point = points.point(id);
        if (point != nullptr) {
          values[id] = after.clone();
          if (entered) {
            compare_own(points, *reference.engine, *other.engine, *entered, *point, after,
                        found[id]);
          }
        }
        entered.reset();
      },
      [&](const Operand& operand, const Rows& rows) {
        entered.reset();
        const auto* linear = std::get_if<const Linear*>(&operand);
        if (linear != nullptr && rows.grid != nullptr) entered = Entered{*linear, rows};
      });
  const Pass second = pass_with(other, [&](SiteId id, const at::Tensor&, const at::Tensor& after) {
    const auto known = values.find(id);
    if (known == values.end() || known->second.sizes() != after.sizes()) return;
    SiteParity& site = found[id];
    const at::Tensor difference = after.sub(known->second).abs_();
    site.values += difference.numel();
    const SitePoint& point = *points.point(id);
    if (point.spec.is_dynamic()) return compare_steps(point.spec, known->second, difference, site);
    site.different += difference.count_nonzero().item<int64_t>();
    const at::Tensor scale = point.quantizer->parameters().scale;
    if (!scale.defined() || scale.numel() != 1 || difference.numel() == 0) return;
    const double codes = difference.max().item<double>() / scale.item<double>();
    site.largest_in_codes = std::max(site.largest_in_codes, std::round(codes));
  });
  const ComparedAttention attention(points, *reference.engine, *other.engine, found);
  const Pass third(points, {.quantize = points.calibrated(true, true), .engine = &attention});
  for (const Batch& batch : batches) {
    values.clear();
    model.forward(batch, first);
    model.forward(batch, second);
    model.forward(batch, third);
  }
  for (auto& [id, site] : found) {
    site.site = points.sites()[static_cast<size_t>(id)].key();
    parity.sites.push_back(site);
  }
}

// One sequence of that many tokens, of those of a batch one after another.
Batch single_sequence(const Batch& of, int64_t tokens) {
  TokenSequence sequence;
  const at::Tensor ids = of.token_ids.contiguous();
  const int64_t* from = ids.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < tokens; ++i) sequence.ids.push_back(from[i % ids.numel()]);
  sequence.segment_ids.assign(static_cast<size_t>(tokens), 0);
  return pack(std::vector<TokenSequence>{sequence});
}

// Of the processor where one thread works, which other programs lengthen less; else by the clock.
template <class Work>
double seconds_of(const Work& work) {
  const PartTime time = timed("", work);
  return at::get_num_threads() == 1 ? time.processor_seconds : time.seconds;
}

void measure_single(const Model& model, const Batch& batch, const std::vector<Contestant>& all,
                    int64_t rounds, std::vector<EngineTimes>& times) {
  constexpr int64_t kRepeats = 5;  // in each round
  std::vector<std::vector<double>> seconds(all.size());
  for (int64_t i = 0; i < rounds * kRepeats; ++i) {
    for (size_t k = 0; k < all.size(); ++k) {
      seconds[k].push_back(seconds_of([&] { model.forward(batch, all[k].pass); }));
    }
  }
  for (size_t k = 0; k < all.size(); ++k) times[k].single_ms.push_back(1e3 * median(seconds[k]));
}

void measure_times(const CalibratedNetwork& network, const std::vector<Contestant>& all,
                   const std::vector<Batch>& batches, int64_t rounds, Parity& parity) {
  const Model& model = *network.bench().model;
  for (const Contestant& one : all) parity.times.push_back({.engine = one.name});
  const bool has_sequences = !batches.empty() && !batches[0].decoder_token_ids.defined();
  for (const int64_t tokens : kSingleTokens) {
    if (!has_sequences || tokens > model.max_positions()) continue;
    measure_single(model, single_sequence(batches[0], tokens), all, rounds, parity.times);
  }
  int64_t tokens = 0;
  for (const Batch& batch : batches) tokens += batch.tokens();
  for (int64_t round = 0; round < rounds; ++round) {
    for (size_t k = 0; k < all.size(); ++k) {
      const auto run = [&] {
        for (const Batch& batch : batches) model.forward(batch, all[k].pass);
      };
      const double seconds = seconds_of(run);
      EngineTimes& time = parity.times[k];
      time.tokens_per_second =
          std::max(time.tokens_per_second, static_cast<double>(tokens) / seconds);
      time.bytes = all[k].engine->bytes();
    }
  }
}

}  // namespace

Parity compare_engines(const CalibratedNetwork& network, const ParityOptions& options,
                       const Plugins& plugins, Log& log) {
  const at::NoGradGuard no_gradients;
  QUELL_ASSERT(options.engines.size() == 2, "two engines");
  const std::vector<Contestant> all = contestants(network, options, plugins);
  Parity parity;
  Batches batches;
  const Evaluation one = evaluate(network, all[0].pass, &batches, log, all[0].name);
  const Evaluation other = evaluate(network, all[1].pass, nullptr, log, all[1].name);
  parity.metrics = {one.metrics, other.metrics};
  compare_predictions(one, other, parity);
  const auto compared =
      std::min<size_t>(static_cast<size_t>(options.batches), batches.all().size());
  compare_sites(network, all[0], all[1], std::span(batches.all()).first(compared), parity);
  if (options.rounds > 0) measure_times(network, all, batches.all(), options.rounds, parity);
  for (const Contestant& contestant : all) {
    for (const std::string& note : contestant.engine->notes()) parity.notes.push_back(note);
  }
  parity.peak_bytes = peak_memory_bytes();
  return parity;
}

}  // namespace quell
