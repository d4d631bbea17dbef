#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/algorithm/string/split.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/print.h"
#include "framework/cli/probe_source.h"
#include "framework/cli/verb.h"
#include "framework/config/enum_name.h"
#include "framework/config/load.h"
#include "framework/io/safetensors.h"
#include "framework/quant/codes.h"
#include "framework/run/quant_rules.h"

namespace quell {
namespace po = boost::program_options;
namespace {

using Json = nlohmann::ordered_json;
using Names = std::vector<std::string>;
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// What was found for tensors that share a range.
struct Probe {
  Names tensors;
  Range range;                 // undefined where every row has its own
  QuantParameters parameters;  // likewise
  double squared_error = 0;    // mean
  double squared_value = 0;    // mean
  double largest_error = 0;

  double sqnr_db() const { return 10 * std::log10(squared_value / squared_error); }
};

ConfigNode option_node(const CommandLine& line, const std::string& option, bool yaml,
                       Problems& problems) {
  const auto& text = line.get<std::string>(option);
  if (yaml) return parse_yaml(text, "--" + option, problems);
  ConfigNode node = ConfigNode::scalar(text);
  node.mark.file = fmt::format("--{} {}", option, text);
  return node;
}

// The options as one rule of an experiment, for one site.
SitePlan read_plan(const CommandLine& line, const ProbeLayout& layout, const Plugins& plugins) {
  if (line.has("symmetric") && line.has("asymmetric")) {
    throw ConfigError("--symmetric and --asymmetric exclude each other");
  }
  Problems problems;
  ConfigNode node = ConfigNode::map();
  node.set("sites", ConfigNode::scalar("*:probe"));
  node.set("quantize", ConfigNode::scalar("true"));
  for (const char* option : {"bits", "granularity", "group_size", "grid"}) {
    if (line.has(option)) node.set(option, option_node(line, option, /*yaml=*/false, problems));
  }
  for (const char* option : {"observer", "quantizer"}) {
    if (line.has(option)) node.set(option, option_node(line, option, /*yaml=*/true, problems));
  }
  if (layout.channel_axis && !line.has("granularity")) {
    node.set("granularity", ConfigNode::scalar("channel"));
  }
  node.set("axis", ConfigNode::scalar(std::to_string(layout.spec_axis())));
  node.set("symmetric", ConfigNode::scalar(line.has("symmetric") ? "true" : "false"));
  ReadContext context{problems, &plugins};
  const Rule rule = read_config<Rule>(node, context);
  problems.throw_if_any();
  Site site;
  site.name = "probe";
  site.kind = line.has("weight") ? SiteKind::kWeight : SiteKind::kActivation;
  const auto plans = plan_sites({&site, 1}, {&rule, 1}, plugins, problems);
  problems.throw_if_any();
  return plans[0];
}

ProbeLayout read_layout(const CommandLine& line) {
  ProbeLayout layout;
  if (line.has("sequence_axis")) layout.sequence_axis = line.get<int64_t>("sequence_axis");
  if (line.has("channel_axis")) layout.channel_axis = line.get<int64_t>("channel_axis");
  if (line.has("lengths")) layout.lengths = line.get<std::string>("lengths");
  if (!layout.lengths.empty() && !layout.sequence_axis) {
    throw ConfigError("--lengths needs --sequence_axis: the axis of the tokens");
  }
  const bool channels =
      line.has("granularity") && line.get<std::string>("granularity") == "channel";
  if (channels && !layout.channel_axis) {
    throw ConfigError("--granularity channel needs --channel_axis: the axis of the channels");
  }
  return layout;
}

// What is written to --out.
enum class Output { kNothing, kValues, kCodes };

Output read_output(const CommandLine& line) {
  if (!line.has("codes")) return line.has("out") ? Output::kValues : Output::kNothing;
  if (!line.has("out")) throw ConfigError("--codes needs --out: the file that receives them");
  return Output::kCodes;
}

void check_finite(const Names& tensors, const QuantParameters& parameters) {
  if (at::isfinite(parameters.scale).all().item<bool>()) return;
  throw DataError(fmt::format("the range of {} is not finite: NaN or infinities in the tensor",
                              fmt::join(tensors, ", ")));
}

void add_codes(const std::string& name, const at::Tensor& values, const ProbeLayout& layout,
               const QuantParameters& parameters, const QuantSpec& spec, NamedTensors& all) {
  const IntegerCodes found = integer_codes(layout.rows(values), parameters, spec);
  all.emplace_back(name, layout.restore(found.codes, values));
  all.emplace_back(name + ".scale", found.parameters.scale);
  all.emplace_back(name + ".zero_point", found.parameters.zero_point);
}

// Observes the tensors in order, then quantizes each; `quantized` receives what `output` asks for.
Probe probe(const Names& tensors, const ProbeSource& source, const ProbeLayout& layout,
            const SitePlan& plan, Output output, NamedTensors& quantized) {
  Probe result;
  result.tensors = tensors;
  const auto quantizer = plan.quantizer.create(plan.spec);
  if (!plan.spec.is_dynamic()) {
    const auto observer = plan.observer.create(plan.spec);
    for (const std::string& name : tensors) {
      observer->observe(layout.real_rows(name, source.read(name), source));
    }
    result.range = observer->range();
    quantizer->init(result.range);
    result.parameters = quantizer->parameters();
    check_finite(tensors, result.parameters);
  }
  double count = 0;
  for (const std::string& name : tensors) {
    const at::Tensor values = source.read(name);
    const at::Tensor rows = layout.real_rows(name, values, source);
    const at::Tensor error = (quantizer->apply(rows, /*in_place=*/false) - rows).to(at::kDouble);
    result.squared_error += error.square().sum().item<double>();
    result.squared_value += rows.to(at::kDouble).square().sum().item<double>();
    result.largest_error = std::max(result.largest_error, error.abs().max().item<double>());
    count += static_cast<double>(rows.numel());
    if (output == Output::kValues) {
      quantized.emplace_back(
          name, layout.restore(quantizer->apply(layout.rows(values), /*in_place=*/false), values));
    } else if (output == Output::kCodes) {
      add_codes(name, values, layout, result.parameters, plan.spec, quantized);
    }
  }
  result.squared_error /= count;
  result.squared_value /= count;
  return result;
}

// A number, or a list where there is a scale per channel.
Json values_json(const at::Tensor& values) {
  if (!values.defined()) return nullptr;
  if (values.numel() == 1) return values.item<double>();
  const at::Tensor numbers = values.to(at::kDouble);
  const double* data = numbers.const_data_ptr<double>();
  return std::vector<double>(data, data + numbers.numel());
}

Json probe_json(const Probe& probe) {
  Json json;
  json["tensors"] = probe.tensors;
  json["min"] = values_json(probe.range.min);
  json["max"] = values_json(probe.range.max);
  json["scale"] = values_json(probe.parameters.scale);
  json["zero_point"] = values_json(probe.parameters.zero_point);
  json["mse"] = probe.squared_error;
  json["sqnr_db"] = probe.sqnr_db();  // null where nothing was lost
  json["largest_error"] = probe.largest_error;
  return json;
}

Json report_json(const SitePlan& plan, const std::vector<Probe>& probes,
                 const ProbeSource& source) {
  Json json;
  if (!plan.spec.is_dynamic()) {
    json["observer"] = to_json(value_type<ObserverChoice>().print(&plan.observer));
  }
  json["quantizer"] = to_json(value_type<QuantizerChoice>().print(&plan.quantizer));
  json["bits"] = plan.spec.bits;
  json["symmetric"] = plan.spec.symmetric;
  json["granularity"] = enum_name(plan.spec.granularity);
  json["grid"] = enum_name(plan.spec.grid);
  auto& items = json["probes"] = Json::array();
  for (const Probe& probe : probes) items.push_back(probe_json(probe));
  for (const auto& [name, reason] : source.skipped) json["skipped"][name] = reason;
  return json;
}

std::string cell(const at::Tensor& values) {
  if (!values.defined()) return "per row";
  const double low = values.min().item<double>(), high = values.max().item<double>();
  return low == high ? fmt::format("{:.6g}", low) : fmt::format("{:.4g}..{:.4g}", low, high);
}

void print_report(const std::vector<Probe>& probes) {
  std::vector<std::vector<std::string>> rows = {
      {"tensor", "min", "max", "scale", "zero point", "mean squared error", "SQNR dB"}};
  for (const Probe& probe : probes) {
    rows.push_back({fmt::format("{}", fmt::join(probe.tensors, ",")), cell(probe.range.min),
                    cell(probe.range.max), cell(probe.parameters.scale),
                    cell(probe.parameters.zero_point), fmt::format("{:.6g}", probe.squared_error),
                    fmt::format("{:.2f}", probe.sqnr_db())});
  }
  fmt::print("{}", text_table(rows));
}

std::vector<Names> chosen(const CommandLine& line, const ProbeSource& source) {
  std::vector<Names> sites;
  for (const std::string& names : line.list("tensor")) {
    boost::algorithm::split(sites.emplace_back(), names, [](char c) { return c == ','; });
  }
  if (!line.has("tensor")) {
    for (const std::string& name : source.names) sites.push_back({name});
  }
  return sites;
}

void add_options(CommandLine& line) {
  const auto text = [] { return po::value<std::string>(); };
  line.add()("tensor", po::value<std::vector<std::string>>()->composing(),
             "a tensor, or a,b,c: batches that share a range, observed in this order (repeatable; "
             "without it every tensor of real numbers by itself)")(
      "observer", text(), "how the range is found: minmax, \"{type: mse_fast}\"")(
      "quantizer", text(), "how values are mapped to the grid: fixed")(
      "bits", text()->default_value("8"), "2 to 16")("symmetric", "zero point fixed at zero")(
      "asymmetric", "with a zero point (the default)")("grid", text(), "os, os_plus or qualcomm")(
      "granularity", text(), "tensor, channel, token or group")(
      "group_size", text(), "of granularity group")("weight", "the tensors are weights")(
      "channel_axis", po::value<int64_t>(), "axis of the channels; gives each its own scale")(
      "sequence_axis", po::value<int64_t>(),
      "axis of the tokens; the first axis is then the batch (0: there is none)")(
      "lengths", text(),
      "tokens per sequence that are no padding: 5,7 or the tensor that holds them, \"{}.lens\"")(
      "out", text(), "write the quantized tensors, padding included, to a safetensors file")(
      "codes",
      "with --out: integer codes in place of values, NAME.scale and NAME.zero_point beside them")(
      "json", "print JSON");
  line.positional("file", 1);
}

}  // namespace

int run_probe(const Plugins& plugins, const Arguments& arguments) {
  CommandLine line("probe FILE [options]",
                   "Shows what an observer and a quantizer do to the tensors of a safetensors, "
                   "torch.save or HDF5\nfile: range, scale, zero point and error.");
  add_options(line);
  if (!line.parse(arguments)) return 0;
  const auto files = line.list("file");
  if (files.empty()) throw ConfigError("probe needs a file; see `quell probe --help`");
  const ProbeLayout layout = read_layout(line);
  const Output output = read_output(line);
  const SitePlan plan = read_plan(line, layout, plugins);
  const ProbeSource source = open_probe_source(files[0], /*list=*/!line.has("tensor"));
  std::vector<Probe> probes;
  NamedTensors quantized;
  for (const Names& tensors : chosen(line, source)) {
    probes.push_back(probe(tensors, source, layout, plan, output, quantized));
  }
  if (probes.empty()) throw DataError(fmt::format("{}: no tensor of real numbers", files[0]));
  if (output != Output::kNothing) write_safetensors(line.get<std::string>("out"), quantized);
  if (line.has("json")) {
    print_json(report_json(plan, probes, source));
  } else {
    print_report(probes);
  }
  return 0;
}

}  // namespace quell
