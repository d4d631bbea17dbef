#include "framework/record/outliers_file.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "framework/base/error.h"
#include "framework/config/node.h"
#include "framework/io/hdf5_writer.h"

namespace quell {
namespace {

using Axes = std::vector<std::string>;

// Those that datasets of the same name in the group `axes` explain.
constexpr std::array<std::string_view, 3> kSharedAxes = {"sigma", "quantile", "kind"};

at::Tensor integers(const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); }
at::Tensor numbers(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }

// Applies `get` to each entry.
template <class Entry, class Get>
auto column(const std::vector<Entry>& entries, const Get& get) {
  std::vector<std::decay_t<decltype(get(entries[0]))>> values;
  for (const Entry& entry : entries) values.push_back(get(entry));
  return values;
}

void put(Hdf5Writer& file, const std::string& object, const at::Tensor& values, const Axes& axes,
         const std::string& unit = "", const Hdf5DatasetOptions& options = {}) {
  file.write(object, values, options);
  std::vector<Hdf5Axis> named;
  for (const std::string& axis : axes) {
    const bool is_shared =
        std::find(kSharedAxes.begin(), kSharedAxes.end(), axis) != kSharedAxes.end();
    const std::string scale = "axes/" + axis;
    named.push_back({axis, is_shared && object != scale ? scale : ""});
  }
  file.set_axes(object, named);
  if (!unit.empty()) file.set_attribute(object, "unit", unit);
}

constexpr Hdf5DatasetOptions kCompressed{.gzip_level = 4};
constexpr const char* kValue = "value";
constexpr const char* kValues = "number of values";

// Statistics of sets of values, a column per statistic.
void put_moments(Hdf5Writer& file, const std::string& group,
                 const std::vector<kernels::Moments>& moments, const std::string& axis) {
  using kernels::Moments;
  const auto put_column = [&](const char* name, const at::Tensor& values, const char* unit) {
    put(file, group + "/" + name, values, {axis}, unit);
  };
  put_column("min", at::tensor(column(moments, [](const Moments& m) { return m.min; })), kValue);
  put_column("max", at::tensor(column(moments, [](const Moments& m) { return m.max; })), kValue);
  put_column("mean", numbers(column(moments, [](const Moments& m) { return m.mean; })), kValue);
  put_column("std",
             numbers(column(moments, [](const Moments& m) { return std::sqrt(m.variance()); })),
             kValue);
  put_column("skewness", numbers(column(moments, [](const Moments& m) { return m.skewness(); })),
             "1");
  put_column("kurtosis", numbers(column(moments, [](const Moments& m) { return m.kurtosis(); })),
             "1, 3 for normally distributed values");
}

void write_columns(Hdf5Writer& file, const std::string& group, const TokenColumns& side) {
  std::vector<int64_t> sequences;
  for (int64_t token = 0; token < side.size(); ++token) sequences.push_back(side.sequence(token));
  put(file, group + "/id", integers(side.ids), {"token"}, "token id");
  put(file, group + "/sequence", integers(sequences), {"token"}, "index into sequences");
  put(file, group + "/position", integers(side.positions), {"token"}, "0-based in the sequence");
  const auto kinds = column(side.kinds, [](TokenKind kind) { return static_cast<int64_t>(kind); });
  put(file, group + "/kind", integers(kinds), {"token"}, "index into axes/kind");
}

void write_tokens(Hdf5Writer& file, const CalibrationTokens& tokens) {
  using Entry = VocabularyEntry;
  const auto& words = tokens.vocabulary;
  put(file, "vocabulary/id", integers(column(words, [](const Entry& e) { return e.id; })), {"word"},
      "token id");
  put(file, "vocabulary/count", integers(column(words, [](const Entry& e) { return e.count; })),
      {"word"}, "occurrences");
  put(file, "vocabulary/rank", integers(column(words, [](const Entry& e) { return e.rank; })),
      {"word"}, "1 is the most frequent");
  file.write("vocabulary/text", column(words, [](const Entry& e) { return e.text; }));
  file.set_axes("vocabulary/text", {{"word"}});
  write_columns(file, "tokens", tokens.tokens);
  if (tokens.targets.size() > 0) write_columns(file, "targets", tokens.targets);
  put(file, "sequences/offset", integers(tokens.tokens.offsets), {"sequence_edge"},
      "index into tokens");
  if (tokens.targets.size() > 0) {
    put(file, "sequences/target_offset", integers(tokens.targets.offsets), {"sequence_edge"},
        "index into targets");
  }
  put(file, "sequences/example", integers(tokens.examples), {"sequence"},
      "0-based row of the calibration data");
  put(file, "sequences/batch", integers(tokens.batches), {"sequence"});
}

const std::vector<double> kQuantiles = {0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1};

// What the axes that all sites share stand for.
void write_axes(Hdf5Writer& file, const OutlierOptions& options) {
  put(file, "axes/sigma", numbers(options.sigmas), {"sigma"}, "standard deviations of the site");
  put(file, "axes/quantile", numbers(kQuantiles), {"quantile"}, "share of the rows");
  put(file, "axes/log_edge", numbers(log_bin_edges()), {"log_edge"}, "|value|");
  std::vector<std::string> kinds;
  for (int kind = 0; kind < kTokenKinds; ++kind) {
    kinds.emplace_back(to_string(static_cast<TokenKind>(kind)));
  }
  file.write("axes/kind", kinds);
}

at::Tensor quantiles_of(std::vector<float> values) {
  std::sort(values.begin(), values.end());
  std::vector<double> result;
  for (const double share : kQuantiles) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    const double part = place - static_cast<double>(below);
    result.push_back(values[below] + part * (static_cast<double>(values[above]) - values[below]));
  }
  return numbers(result);
}

void write_channels(Hdf5Writer& file, const std::string& group, const SiteSummary& site,
                    const OutlierOptions& options) {
  const std::string axis = site.rows == RowKind::kAttention ? "head" : "channel";
  const auto sigmas = static_cast<int64_t>(options.sigmas.size());
  put_moments(file, group + "/channels", site.channels, axis);
  put(file, group + "/channels/beyond", integers(site.channel_beyond).view({sigmas, -1}),
      {"sigma", axis}, kValues);
  if (site.rows == RowKind::kAttention) return;
  const std::vector<int64_t> top = site.top_channels(options.top_channels);
  put(file, group + "/top_channels/channel", integers(top), {"top_channel"}, "index of channels");
  const auto reach = column(top, [&](int64_t i) { return site.reach(site.channels[i]); });
  put(file, group + "/top_channels/reach", numbers(reach), {"top_channel"},
      "distance from the mean of the site in its standard deviations");
}

void write_extremes(Hdf5Writer& file, const std::string& group, const SiteSummary& site) {
  using Row = ExtremeRow;
  const auto& rows = site.extremes;
  if (rows.empty()) return;
  const auto moments = column(rows, [](const Row& r) { return r.moments; });
  std::vector<int64_t> beyond;
  for (const Row& row : rows) beyond.insert(beyond.end(), row.beyond.begin(), row.beyond.end());
  put(file, group + "/row", integers(column(rows, [](const Row& r) { return r.row; })), {"top_row"},
      fmt::format("index of {}s", to_string(site.rows)));
  put(file, group + "/channel", integers(column(rows, [](const Row& r) { return r.channel; })),
      {"top_row"}, "where the value is");
  put(file, group + "/value", at::tensor(column(rows, [](const Row& r) { return r.value; })),
      {"top_row"}, kValue);
  put(file, group + "/reach",
      numbers(column(rows, [&](const Row& r) { return site.reach(r.moments); })), {"top_row"},
      "distance from the mean of the site in its standard deviations");
  put_moments(file, group, moments, "top_row");
  put(file, group + "/beyond", integers(beyond).view({static_cast<int64_t>(rows.size()), -1}).t(),
      {"sigma", "top_row"}, kValues);
}

void write_kinds(Hdf5Writer& file, const std::string& group, const SiteSummary& site) {
  std::vector<int64_t> rows, beyond;
  std::vector<double> mean_min, mean_max;
  for (const KindSummary& kind : site.kinds) {
    rows.push_back(kind.rows);
    mean_min.push_back(kind.mean_min);
    mean_max.push_back(kind.mean_max);
    beyond.insert(beyond.end(), kind.beyond.begin(), kind.beyond.end());
  }
  put(file, group + "/rows", integers(rows), {"kind"}, "number of rows");
  put(file, group + "/mean_min", numbers(mean_min), {"kind"}, "mean of the rows' minima");
  put(file, group + "/mean_max", numbers(mean_max), {"kind"}, "mean of the rows' maxima");
  put(file, group + "/beyond", integers(beyond).view({kTokenKinds, -1}).t(), {"sigma", "kind"},
      kValues);
}

void write_rows(Hdf5Writer& file, const std::string& group, const SiteSummary& site,
                const OutlierOptions& options) {
  if (site.rows == RowKind::kAttention) return;
  const std::string axis = to_string(site.rows);
  put(file, group + "/row_quantiles/min", quantiles_of(site.row_min), {"quantile"}, kValue);
  put(file, group + "/row_quantiles/max", quantiles_of(site.row_max), {"quantile"}, kValue);
  write_extremes(file, group + "/top_rows", site);
  if (site.rows == RowKind::kTokens || site.rows == RowKind::kTargets) {
    write_kinds(file, group + "/kinds", site);
  }
  if (options.all_tokens) {
    put(file, group + "/rows/min", at::tensor(site.row_min), {axis}, kValue, kCompressed);
    put(file, group + "/rows/max", at::tensor(site.row_max), {axis}, kValue, kCompressed);
    const auto sigmas = static_cast<int64_t>(options.sigmas.size());
    put(file, group + "/rows/beyond", at::tensor(site.row_beyond, at::kInt).view({-1, sigmas}).t(),
        {"sigma", axis}, kValues, kCompressed);
  }
  if (!site.raw.empty()) {
    put(file, group + "/raw", at::cat(site.raw), {axis, "channel"}, kValue, {.gzip_level = 1});
  }
}

void write_histograms(Hdf5Writer& file, const std::string& group, const SiteSummary& site) {
  const std::string linear = group + "/histogram", logarithmic = group + "/log_histogram";
  put(file, linear, integers(site.histogram), {"bin"}, kValues);
  file.set_attribute(linear, "low", static_cast<double>(site.all.min));
  file.set_attribute(linear, "high", static_cast<double>(site.all.max));
  put(file, logarithmic, integers(site.log_histogram), {"log_bin"}, kValues);
  file.set_attribute(logarithmic, "below", site.log_below);
  file.set_attribute(logarithmic, "above", site.log_above);
}

void write_identity(Hdf5Writer& file, const std::string& group, const Site& site,
                    const SiteSummary& summary) {
  file.create_group(group);
  file.set_attribute(group, "key", site.key());
  file.set_attribute(group, "role", site.role);
  file.set_attribute(group, "layer", site.layer);
  file.set_attribute(group, "rows", std::string(to_string(summary.rows)));
  file.set_attribute(group, "row_count", summary.row_count);
  file.set_attribute(group, "value_count", summary.all.count);
  file.set_attribute(group, "min", static_cast<double>(summary.all.min));
  file.set_attribute(group, "max", static_cast<double>(summary.all.max));
  file.set_attribute(group, "mean", summary.all.mean);
  file.set_attribute(group, "std", summary.deviation());
  file.set_attribute(group, "skewness", summary.all.skewness());
  file.set_attribute(group, "kurtosis", summary.all.kurtosis());
  file.set_attribute(group, "reach", summary.reach(summary.all));
}

void write_attention(Hdf5Writer& file, const std::string& group, const AttentionMass& mass) {
  if (mass.first.empty()) return;
  const char* unit = "share of the attention, mean over queries";
  put(file, group + "/first", numbers(mass.first), {"head"}, unit);
  put(file, group + "/last", numbers(mass.last), {"head"}, unit);
  put(file, group + "/separators", numbers(mass.separators), {"head"}, unit);
}

void write_site(Hdf5Writer& file, const std::string& group, const Site& site,
                const SiteSummary& summary, const OutlierOptions& options) {
  write_identity(file, group, site, summary);
  put(file, group + "/beyond", integers(summary.beyond), {"sigma"}, kValues);
  write_channels(file, group, summary, options);
  write_rows(file, group, summary, options);
  write_histograms(file, group, summary);
  write_attention(file, group + "/attention", summary.attention);
}

void write_norms(Hdf5Writer& file, const std::string& parent, const OutlierStage& stage,
                 const std::vector<Site>& sites) {
  for (const NormSummary& norm : stage.norms) {
    const std::string group = parent + "/" + norm.name;
    file.create_group(group);
    file.set_attribute(group, "site", sites[norm.output_site].name);
    file.set_attribute(group, "layer", sites[norm.output_site].layer);
    file.set_attribute(group, "left_alone", static_cast<int64_t>(norm.left_alone));
    put(file, group + "/gamma", norm.gamma, {"channel"}, "1");
    if (norm.beta.defined()) put(file, group + "/beta", norm.beta, {"channel"}, kValue);
    for (const auto& [id, summary] : stage.sites) {
      if (id != norm.output_site) continue;
      const auto largest = column(summary.channels, [](const kernels::Moments& m) {
        return std::max(std::abs(m.min), std::abs(m.max));
      });
      put(file, group + "/channel_max", at::tensor(largest), {"channel"}, "largest |value|");
    }
  }
}

void write_hidden_states(Hdf5Writer& file, const std::string& parent,
                         std::span<const HiddenStateSummary> states) {
  for (const HiddenStateSummary& state : states) {
    const std::string group = parent + "/" + state.segment;
    file.create_group(group);
    file.set_attribute(group, "layer", state.layer);
    file.set_attribute(group, "row_count", state.row_count);
    file.set_attribute(group, "median", state.median);
    const auto& top = state.largest;
    put(file, group + "/row", integers(column(top, [](const LargeValue& v) { return v.row; })),
        {"top_value"}, "index of tokens");
    put(file, group + "/channel",
        integers(column(top, [](const LargeValue& v) { return v.channel; })), {"top_value"},
        "index of channels");
    put(file, group + "/value",
        at::tensor(column(top, [](const LargeValue& v) { return v.value; })), {"top_value"},
        kValue);
  }
}

void write_stage(Hdf5Writer& file, const RunRecord& run, const OutlierStage& stage) {
  const std::vector<Site>& sites = run.sites;
  const std::string parent = "stages/" + stage.name;
  for (const auto& [id, summary] : stage.sites) {
    const std::string group = fmt::format("{}/sites/{}", parent, sites[id].name);
    write_site(file, group, sites[id], summary, run.outliers->options);
    const auto error = run.site_errors.find(id);
    if (!stage.quantized || error == run.site_errors.end()) continue;
    file.set_attribute(group, "sqnr_db", error->second.sqnr_db);
    file.set_attribute(group, "network_sqnr_db", error->second.network_sqnr_db);
    file.set_attribute(group, "cosine_to_float", error->second.cosine_to_float);
  }
  write_norms(file, parent + "/norms", stage, sites);
}

}  // namespace

void write_outliers_file(const std::filesystem::path& path, const RunRecord& run) {
  QUELL_ASSERT(run.outliers.has_value(), "outliers were recorded");
  const OutlierRecord& found = *run.outliers;
  Hdf5Writer file(path);
  file.set_attribute("/", "format", std::string(kOutliersFormat));
  file.set_attribute("/", "version", kOutliersVersion);
  file.set_attribute("/", "name", run.name);
  file.set_attribute("/", "stages",
                     column(found.stages, [](const OutlierStage& stage) { return stage.name; }));
  file.write("config", run.config);
  write_axes(file, found.options);
  write_tokens(file, found.tokens);
  for (const OutlierStage& stage : found.stages) write_stage(file, run, stage);
  write_hidden_states(file, "stages/float/hidden_states", run.hidden_states);
  file.commit();
}

}  // namespace quell
