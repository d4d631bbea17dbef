#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/algorithm/string/replace.hpp>
#include <boost/algorithm/string/split.hpp>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/cli/print.h"
#include "framework/cli/probe_source.h"
#include "framework/cli/verb.h"
#include "framework/config/enum_name.h"
#include "framework/config/load.h"
#include "framework/io/safetensors.h"
#include "framework/kernels/grid.h"
#include "framework/run/quant_rules.h"

namespace quell {
namespace po = boost::program_options;
namespace {

using Json = nlohmann::ordered_json;
using Names = std::vector<std::string>;
using TensorList = std::vector<std::pair<std::string, at::Tensor>>;

// What was found for tensors that share a range.
struct Probe {
  Names tensors;
  TensorList gradients = {};   // of what the quantizer learns, added up over the tensors
  Range range;                 // undefined where every row has its own
  QuantParameters parameters;  // likewise
  double squared_error = 0;    // mean
  double squared_value = 0;    // mean
  double largest_error = 0;

  double sqnr_db() const {
    if (squared_error == 0) return std::numeric_limits<double>::infinity();
    return 10 * std::log10(squared_value / squared_error);
  }
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
  for (const char* option : {"bits", "granularity", "group_size", "groups", "grid"}) {
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

// What is written to --out, which is not the file that is read.
enum class Output { kNothing, kValues, kCodes };

Output read_output(const CommandLine& line, const std::string& source) {
  std::error_code missing;  // of a file that is yet to be written
  if (line.has("out") &&
      std::filesystem::equivalent(line.get<std::string>("out"), source, missing)) {
    throw ConfigError("--out names the file that is probed; write to another");
  }
  if (!line.has("codes")) return line.has("out") ? Output::kValues : Output::kNothing;
  if (!line.has("out")) throw ConfigError("--codes needs --out: the file that receives them");
  return Output::kCodes;
}

void check_finite(const Names& tensors, const QuantParameters& parameters) {
  if (at::isfinite(parameters.scale).all().item<bool>()) return;
  throw DataError(
      fmt::format("the range of {} is not finite: NaN, infinities, or extremes further apart than "
                  "float32 reaches",
                  fmt::join(tensors, ", ")));
}

void add_codes(const std::string& name, const at::Tensor& values, const ProbeLayout& layout,
               const Quantizer& quantizer, TensorList& all) {
  const IntegerCodes found = quantizer.codes(layout.rows(values));
  all.emplace_back(name, layout.restore(found.codes, values));
  all.emplace_back(name + ".scale", found.parameters.scale);
  all.emplace_back(name + ".zero_point", found.parameters.zero_point);
}

// Parameters that the file holds, and the gradient of the output; {} stands for the tensor's name.
struct Stored {
  std::string scale, zero_point, gradient;

  static at::Tensor read(const std::string& pattern, const std::string& name,
                         const ProbeSource& source) {
    return source.read(boost::algorithm::replace_all_copy(pattern, "{}", name)).to(at::kFloat);
  }
};

Stored read_stored(const CommandLine& line) {
  Stored stored;
  const std::pair<const char*, std::string*> options[] = {
      {"scale", &stored.scale}, {"zero_point", &stored.zero_point}, {"gradient", &stored.gradient}};
  for (const auto& [option, value] : options) {
    if (line.has(option)) *value = line.get<std::string>(option);
  }
  if (stored.scale.empty() && !stored.zero_point.empty()) {
    throw ConfigError("--zero_point needs --scale");
  }
  if (!stored.gradient.empty() && line.has("lengths")) {
    throw ConfigError(
        "--gradient and --lengths exclude each other: gradients are those of all rows");
  }
  return stored;
}

// Takes the stored parameters over. A negative scale counts as its absolute value, as in the
// published code.
void use_stored(const Stored& stored, const std::string& name, const ProbeSource& source,
                const ProbeLayout& layout, const QuantSpec& spec, Quantizer& quantizer) {
  const at::Tensor scale = Stored::read(stored.scale, name, source).flatten().abs();
  const at::Tensor zero_point = stored.zero_point.empty()
                                    ? at::zeros_like(scale)
                                    : Stored::read(stored.zero_point, name, source).flatten();
  if (spec.is_dynamic() || spec.granularity == Granularity::kGroup) {
    throw ConfigError("--scale needs granularity tensor or channel");
  }
  if (scale.eq(0).any().item<bool>()) {
    throw DataError(fmt::format("{}: a scale is 0, expected other numbers", name));
  }
  const bool channels = spec.granularity == Granularity::kChannel;
  const int64_t expected = channels ? layout.rows(source.read(name)).size(spec.axis) : 1;
  if (scale.numel() != expected || zero_point.numel() != expected) {
    throw DataError(fmt::format("{}: {} scales and {} zero points, expected {}", name,
                                scale.numel(), zero_point.numel(), expected));
  }
  quantizer.set_parameters(
      {scale, zero_point, kernels::levels(spec.grid, spec.bits, spec.symmetric)});
}

// The gradient of `rows` for one of the quantized rows; those of what is learned join `sums`.
at::Tensor backward(const at::Tensor& rows, const at::Tensor& upstream, Quantizer& quantizer,
                    TensorList& sums) {
  if (upstream.sizes() != rows.sizes()) {
    throw DataError(
        fmt::format("the gradient has the shape [{}], expected that of the tensor, [{}]",
                    fmt::join(upstream.sizes(), ", "), fmt::join(rows.sizes(), ", ")));
  }
  const at::AutoGradMode record(true);
  const at::Tensor leaf = rows.detach().clone().requires_grad_(true);
  auto learned = quantizer.learnable();
  for (LearnableTensor& item : learned) item.tensor.requires_grad_(true);
  quantizer.apply(leaf, /*in_place=*/false).backward(upstream);
  for (size_t i = 0; i < learned.size(); ++i) {
    const at::Tensor gradient = learned[i].tensor.grad().clone();
    learned[i].tensor.mutable_grad() = at::Tensor();
    learned[i].tensor.requires_grad_(false);
    if (sums.size() <= i) {
      sums.emplace_back(learned[i].name, gradient);
    } else {
      sums[i].second += gradient;
    }
  }
  return leaf.grad();
}

// Observes the tensors in order, then quantizes each; `quantized` receives what `output` asks for.
Probe probe(const Names& tensors, const ProbeSource& source, const ProbeLayout& layout,
            const SitePlan& plan, const Stored& stored, Output output, TensorList& quantized) {
  Probe result;
  result.tensors = tensors;
  const auto quantizer = plan.quantizer.create(plan.spec);
  if (!stored.scale.empty()) {
    use_stored(stored, tensors.front(), source, layout, plan.spec, *quantizer);
    result.parameters = quantizer->parameters();
    check_finite(tensors, result.parameters);
  } else if (!plan.spec.is_dynamic()) {
    const auto observer = plan.observer.create(plan.spec);
    for (const std::string& name : tensors) {
      observer->observe(layout.real_rows(name, source.read(name), source));
    }
    result.range = observer->range();
    const bool one_weight = plan.spec.is_weight && tensors.size() == 1;
    quantizer->init(result.range, one_weight ? layout.rows(source.read(tensors[0])) : at::Tensor());
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
    if (!stored.gradient.empty()) {
      const at::Tensor upstream = layout.rows(Stored::read(stored.gradient, name, source));
      const at::Tensor gradient = backward(rows, upstream, *quantizer, result.gradients);
      if (output != Output::kNothing) {
        quantized.emplace_back(name + ".gradient", layout.restore(gradient, values));
      }
    }
    if (output == Output::kValues) {
      quantized.emplace_back(
          name, layout.restore(quantizer->apply(layout.rows(values), /*in_place=*/false), values));
    } else if (output == Output::kCodes) {
      add_codes(name, values, layout, *quantizer, quantized);
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
  for (const auto& [name, gradient] : probe.gradients) {
    json["gradient"][name] = values_json(gradient);
  }
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

void print_report(const std::vector<Probe>& probes, const ProbeSource& source) {
  for (const Probe& probe : probes) {
    for (const auto& [name, gradient] : probe.gradients) {
      fmt::print("gradient of the {} of {}: {}\n", name, fmt::join(probe.tensors, ","),
                 cell(gradient));
    }
  }
  std::vector<std::vector<std::string>> rows = {
      {"tensor", "min", "max", "scale", "zero point", "mean squared error", "SQNR dB"}};
  for (const Probe& probe : probes) {
    rows.push_back({fmt::format("{}", fmt::join(probe.tensors, ",")), cell(probe.range.min),
                    cell(probe.range.max), cell(probe.parameters.scale),
                    cell(probe.parameters.zero_point), fmt::format("{:.6g}", probe.squared_error),
                    fmt::format("{:.2f}", probe.sqnr_db())});
  }
  fmt::print("{}", text_table(rows));
  for (const auto& [name, reason] : source.skipped) fmt::print("left out: {}: {}\n", name, reason);
}

// Every tensor of the file; what cannot be probed is left out with the reason.
std::vector<Probe> probe_all(ProbeSource& source, const std::function<Probe(const Names&)>& run) {
  std::vector<Probe> probes;
  for (const std::string& name : source.names) {
    try {
      probes.push_back(run({name}));
    } catch (const DataError& error) {
      source.skipped.emplace_back(name, error.what());
    }
  }
  return probes;
}

// Why a file has nothing to be probed.
std::string left_out(const ProbeSource& source) {
  constexpr size_t kShown = 5;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, source.skipped.size()); ++i) {
    text += fmt::format("\n  {}: {}", source.skipped[i].first, source.skipped[i].second);
  }
  return text;
}

std::vector<Names> chosen(const CommandLine& line) {
  std::vector<Names> sites;
  for (const std::string& names : line.list("tensor")) {
    boost::algorithm::split(sites.emplace_back(), names, [](char c) { return c == ','; });
  }
  return sites;
}

void add_options(CommandLine& line) {
  const auto text = [] { return po::value<std::string>(); };
  line.add()("tensor", po::value<std::vector<std::string>>()->composing(),
             "a tensor, or a,b,c: batches that share a range, observed in this order (repeatable; "
             "without it every tensor by itself that has a range)")(
      "observer", text(), "how the range is found: minmax, \"{type: mse_fast}\"")(
      "quantizer", text(), "how values are mapped to the grid: fixed")(
      "bits", text()->default_value("8"), "2 to 16")("symmetric", "zero point fixed at zero")(
      "asymmetric", "with a zero point (the default)")("grid", text(), "os, os_plus or qualcomm")(
      "granularity", text(), "tensor, channel, token, group or feature_groups")(
      "group_size", text(), "of granularity group")(
      "groups", text(), "of granularity feature_groups")("weight", "the tensors are weights")(
      "channel_axis", po::value<int64_t>(), "axis of the channels; gives each its own scale")(
      "sequence_axis", po::value<int64_t>(),
      "axis of the tokens; the first axis is then the batch (0: there is none)")(
      "lengths", text(),
      "tokens per sequence that are no padding: 5,7 or the tensor that holds them, \"{}.lens\"")(
      "scale", text(),
      "take the tensor of this name as scale in place of an observed one; {} is the tensor probed. "
      "Negative ones count as positive, as in the published code")(
      "zero_point", text(), "with --scale: the zero point; without it 0")(
      "gradient", text(),
      "the gradient of the quantized tensor, \"{}.gradient\": shows those of scale and zero point "
      "(quantizer lsq, lsq_plus); with --out also NAME.gradient, that of the tensor")(
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
  const Output output = read_output(line, files[0]);
  const Stored stored = read_stored(line);
  const SitePlan plan = read_plan(line, layout, plugins);
  ProbeSource source = open_probe_source(files[0], /*list=*/!line.has("tensor"));
  TensorList quantized;
  const auto run = [&](const Names& tensors) {
    return probe(tensors, source, layout, plan, stored, output, quantized);
  };
  std::vector<Probe> probes;
  if (!line.has("tensor")) probes = probe_all(source, run);
  for (const Names& tensors : chosen(line)) probes.push_back(run(tensors));
  if (probes.empty()) {
    throw DataError(
        fmt::format("{}: no tensor of real numbers can be probed{}", files[0], left_out(source)));
  }
  if (output != Output::kNothing) write_safetensors(line.get<std::string>("out"), quantized);
  if (line.has("json")) {
    print_json(report_json(plan, probes, source));
  } else {
    print_report(probes, source);
  }
  return 0;
}

}  // namespace quell
