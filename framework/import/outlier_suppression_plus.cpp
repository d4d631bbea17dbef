#include "framework/import/outlier_suppression_plus.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <array>

#include "framework/config/load.h"
#include "framework/config/scalar.h"
#include "framework/import/names.h"
#include "framework/import/plus_config.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using published::Name;
using published::PlusConfig;
using published::PlusGranularity;
using published::PlusQuantizer;

// The last parts of names of nodes; OPT's and LLaMA's, and BLOOM's. `act_fake_quant` is the input
// of the linears that do not read a norm.
constexpr Name kNodes[] = {{"first_act_fake_quant", "attention.norm"},
                           {"second_act_fake_quant", "ffn.norm"},
                           {"query_permute_post_act_fake_quant", "attention.query"},
                           {"key_transpose_post_act_fake_quant", "attention.key"},
                           {"value_permute_post_act_fake_quant", "attention.value"},
                           {"query_post_act_fake_quant", "attention.query"},
                           {"key_post_act_fake_quant", "attention.key"},
                           {"value_post_act_fake_quant", "attention.value"},
                           {"attention_probs_post_act_fake_quant", "attention.probs"},
                           {"act_fake_quant", "{attention.context,ffn.gelu,ffn.product}"}};

class Converter {
 public:
  Converter(const fs::path& file, const ImportOptions& options, const PlusConfig& config,
            ImportNotes& notes)
      : file_(file), options_(options), config_(config), notes_(notes), model_type_(model_type()) {}

  std::string yaml();

 private:
  // Of the model's folder, or what a folder on the file's path is called; empty: neither says.
  std::string model_type() const;
  bool searches() const {
    return config_.quant.a_qconfig.clips_tokens() && !config_.quant.a_qconfig.token_quantile;
  }
  std::string name() const;
  std::string task() const;
  std::string calibration();
  std::string rule(const char* sites, const PlusQuantizer& section) const;
  // Sites that stay in float, of `except_quantizer`.
  std::vector<std::string> exceptions();
  std::string rules();
  std::string pipeline();
  void note_what_is_missing();
  void note_differences();
  void note(ImportNote::Kind kind, std::string text) { notes_.push_back({kind, std::move(text)}); }
  void differs(std::string text) { note(ImportNote::Kind::kDifference, std::move(text)); }

  const fs::path& file_;
  const ImportOptions& options_;
  const PlusConfig& config_;
  ImportNotes& notes_;
  std::string model_type_;
};

std::string Converter::model_type() const {
  if (!options_.model.empty()) {
    const std::string type = published_model_type(options_.model, options_.model);
    if (!type.empty()) return type;
  }
  for (const fs::path& part : file_) {
    for (const char* type : {"opt", "bloom", "llama"}) {
      if (part.string().starts_with(type)) return type;
    }
  }
  return "";
}

std::string Converter::name() const {
  const auto& quant = config_.quant;
  std::string name = model_type_.empty() ? "" : model_type_ + "-";
  name += fmt::format("w{}a{}", quant.w_qconfig.bit, quant.a_qconfig.bit);
  if (quant.a_qconfig.granularity() == PlusGranularity::kToken) name += "-token";
  if (quant.a_qconfig.granularity() == PlusGranularity::kGroup) name += "-group";
  if (quant.a_qconfig.clips_tokens()) name += "-clipped";
  if (quant.a_qconfig.disable_down_proj) name += "-float-down-projection";
  return name + (quant.migrate ? "-shift-scale" : "");
}

std::string Converter::task() const {
  // The files with Pile have one text for each sample, those of WikiText are cut from one stream.
  const bool documents = config_.quant.calibrate_path.find("pile") != std::string::npos;
  return fmt::format(
      "task:\n  type: perplexity\n  path: {}\n  length: {}\n  calibration_cut: {}\n  batch_size: "
      "{}  # of the published commands\n",
      options_.data.empty() ? "DATA" : yaml_text(options_.data), config_.model.max_length,
      documents ? "documents" : "windows", model_type_ == "bloom" ? 12 : 16);
}

std::string Converter::calibration() {
  std::string text = fmt::format("calibration: {{samples: {}", config_.quant.calibrate);
  if (!config_.quant.is_remove_padding) {
    text += fmt::format(", padding: keep, pad_to: {}", config_.model.max_length);
  }
  return text + "}\n";
}

std::string Converter::rule(const char* sites, const PlusQuantizer& section) const {
  std::string granularity = "tensor";
  if (section.granularity() == PlusGranularity::kToken) {
    granularity = "token";
  } else if (section.granularity() == PlusGranularity::kGroup) {
    granularity = fmt::format("group, group_size: {}", section.group_size);
  } else if (section.ch_axis >= 0) {
    granularity = fmt::format("channel, axis: {}", section.ch_axis);
  }
  return fmt::format(
      "    - {{sites: \"{}:*\", bits: {}, symmetric: {}, granularity: {}, observer: {}}}\n", sites,
      section.bit, section.symmetric, granularity, section.own_observer());
}

std::vector<std::string> Converter::exceptions() {
  std::vector<std::string> sites;
  const auto nodes = config_.quant.except_quantizer.value_or(std::vector<std::string>());
  for (const std::string& node : nodes) {
    const std::string own = published::own_name(kNodes, node);
    if (own.empty()) {
      note(ImportNote::Kind::kUnknown,
           fmt::format("quant.except_quantizer: no node of that code is called \"{}\"", node));
      continue;
    }
    const bool permuted =
        node.find("permute") != std::string::npos || node.find("transpose") != std::string::npos;
    if (model_type_ == "bloom" && permuted) {
      differs(
          fmt::format("quant.except_quantizer: BLOOM has no node {}, so that {} is quantized "
                      "there in spite of it; here it stays in float",
                      node, own));
    }
    sites.push_back(own);
  }
  std::sort(sites.begin(), sites.end());
  sites.erase(std::unique(sites.begin(), sites.end()), sites.end());
  return sites;
}

std::string Converter::rules() {
  const auto& quant = config_.quant;
  std::vector<std::string> floats = exceptions();
  const std::vector<std::string> products{"attention.key", "attention.probs", "attention.query",
                                          "attention.value"};
  const bool usual = floats == products;
  if (usual) floats.clear();
  std::string text =
      fmt::format("quant:\n  include: placements/outlier_suppression_plus{}.yaml\n  rules:\n",
                  usual ? "_float_products" : "");
  text += rule("weight", quant.w_qconfig) + rule("activation", quant.a_qconfig);
  if (quant.a_qconfig.clips_tokens() && !usual) {
    text +=
        "    # never clipped by the published code\n"
        "    - {sites: \"activation:*.attention.probs\", observer: avg_minmax}\n";
  }
  for (const std::string& site : floats) {
    text += fmt::format("    - {{sites: \"activation:decoder.*.{}\", quantize: false}}\n", site);
  }
  if (quant.a_qconfig.disable_down_proj) {
    text +=
        "    # disable_down_proj\n"
        "    - {sites: [\"activation:*.ffn.product\", \"weight:*.ffn.output\"], quantize: false}\n";
  }
  return text;
}

std::string Converter::pipeline() {
  const auto& quant = config_.quant;
  std::string text = "pipeline:\n";
  if (quant.migrate) text += "  - shift_scale\n";
  if (!searches()) return text + "  - calibrate\n";
  constexpr int64_t kFewBits = 6, kFew = 20, kUsual = 10;
  constexpr double kStep = 0.005;
  return text +
         fmt::format(
             "  - token_wise_clipping: {{iterations: {}, step: {}, quantize_weights: true}}\n",
             quant.iters.value_or(quant.a_qconfig.bit == kFewBits ? kFew : kUsual),
             format_double(quant.step.value_or(kStep)));
}

void Converter::note_what_is_missing() {
  if (options_.model.empty()) {
    note(ImportNote::Kind::kToSet,
         "model.path: the file names no model; say `--model FOLDER`, or `quell run ... --set "
         "model.path=FOLDER`");
  }
  if (options_.data.empty()) {
    note(ImportNote::Kind::kToSet,
         "task.path: the folder with texts to calibrate and evaluate on; say `--data FOLDER`, or "
         "`quell run ... --set task.path=FOLDER`");
  }
  const auto& known = options_.model_types;
  if (!model_type_.empty() && std::find(known.begin(), known.end(), model_type_) == known.end()) {
    note(ImportNote::Kind::kToSet, fmt::format("model: {} models are not there yet (today: {})",
                                               model_type_, fmt::join(known, ", ")));
  }
}

void Converter::note_differences() {
  const auto& quant = config_.quant;
  const auto& rows = quant.a_qconfig;
  const auto unused = [&](const char* key, const char* reason) {
    note(ImportNote::Kind::kNoEffect, fmt::format("{}: {}", key, reason));
  };
  differs(
      "calibration: other texts are drawn, since the random generators differ; `calibration: "
      "{file: "
      "FILE}` takes given ones");
  if (quant.migrate) {
    differs(
        "quant.migrate: the search there takes query, key and value for one weight, and mixes up "
        "BLOOM's heads; `shift_scale: {losses: published}` does so, too. Padding, which its shifts "
        "and ranges see, has no part in them here");
  }
  if (quant.migrate && rows.observer == "AvgMinMaxObserver" &&
      rows.granularity() == PlusGranularity::kStatic) {
    differs(
        "AvgMinMaxObserver: with quant.migrate the first batch counts twice there, and once here");
  }
  if (searches()) {
    differs(
        "quant.a_qconfig without token_quantile: the quantile there is the one of the least "
        "cross-entropy on the calibration text, here that of the outputs nearest to the float "
        "ones");
  }
  if (!rows.clips_tokens() && rows.token_quantile) {
    unused("quant.a_qconfig.token_quantile", "only AvgTokenQuantileObserver clips tokens");
  }
  if (!searches() && (quant.iters || quant.step)) {
    unused("quant.iters, quant.step", "only a search for the token quantile has them");
  }
  if (!quant.calibrate_path.empty()) {
    unused("quant.calibrate_path", "the texts are those of task.path, or task.train_file");
  }
  if (rows.disable_down_proj && !model_type_.empty() && model_type_ != "llama") {
    unused("quant.a_qconfig.disable_down_proj", "only LLaMA has a down projection");
  }
}

std::string Converter::yaml() {
  note_what_is_missing();
  note_differences();
  std::string text = fmt::format(
      "# Made by `quell import` from {}, a configuration file of\n"
      "# the published code of \"Outlier Suppression+\" (Wei et al., EMNLP 2023).\n",
      yaml_text(file_.generic_string()));
  if (options_.model.empty() || options_.data.empty()) {
    text += "# Say where model and data are: --set model.path=FOLDER --set task.path=FOLDER\n";
  }
  text += fmt::format("name: {}\nseed: 42\nmodel: {{path: {}}}\n", name(),
                      options_.model.empty() ? "MODEL" : yaml_text(options_.model));
  return text + task() + calibration() + rules() + pipeline();
}

}  // namespace

bool is_outlier_suppression_plus(const fs::path& file) {
  if (!fs::is_regular_file(file)) return false;
  Problems problems;
  const ConfigNode root = load_yaml(file, problems);
  if (!problems.empty() || !root.is_map() || root.find("data") || root.find("root")) return false;
  const ConfigNode *quant = root.find("quant"), *model = root.find("model");
  const auto has = [](const ConfigNode* section, const char* key) {
    return section != nullptr && section->is_map() && section->find(key) != nullptr;
  };
  return has(model, "max_length") || has(quant, "migrate") || has(quant, "except_quantizer") ||
         has(quant, "calibrate_path");
}

ImportedExperiment import_outlier_suppression_plus(const fs::path& file,
                                                   const ImportOptions& options) {
  ImportedExperiment imported;
  const PlusConfig config = published::load_plus(file, imported.notes);
  imported.yaml = Converter(file, options, config, imported.notes).yaml();
  return imported;
}

}  // namespace quell
