// The configuration files of the published code of "Outlier Suppression+" (Wei et al., EMNLP 2023).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/schema.h"
#include "framework/import/notes.h"

namespace quell::published {

enum class PlusGranularity { kStatic, kToken, kGroup };

// quant.a_qconfig, quant.w_qconfig
struct PlusQuantizer {
  std::string quantizer;
  std::string observer;
  int64_t bit = 0;
  bool symmetric = false;
  int64_t ch_axis = -1;
  int64_t group_size = 128;
  std::optional<double> token_quantile;
  bool disable_down_proj = false;

  template <class V>
  static void describe(V& v) {
    v("quantizer", &PlusQuantizer::quantizer, "class of the quantizer", required());
    v("observer", &PlusQuantizer::observer, "class of the observer", required());
    v("bit", &PlusQuantizer::bit, "bit width", required(), in_range(2, 16));
    v("symmetric", &PlusQuantizer::symmetric, "zero point fixed at zero", required());
    v("ch_axis", &PlusQuantizer::ch_axis, "-1: one scale per tensor, 0: one per row", required(),
      in_range(-1, 1));
    v("group_size", &PlusQuantizer::group_size, "neighbours that share a scale", at_least(1));
    v("token_quantile", &PlusQuantizer::token_quantile, "of token-wise clipping",
      in_range(0.0, 1.0));
    v("disable_down_proj", &PlusQuantizer::disable_down_proj, "LLaMA's stays in float");
  }
  static void check(const PlusQuantizer& section, Report& report);
  // What the class of the quantizer says.
  PlusGranularity granularity() const;
  // As an `observer:` of a rule.
  std::string own_observer() const;
  bool clips_tokens() const;
};

struct PlusQuant {
  bool is_remove_padding = true;
  int64_t calibrate = 0;
  std::string calibrate_path;
  bool migrate = false;
  std::optional<std::vector<std::string>> except_quantizer;
  std::optional<int64_t> iters;
  std::optional<double> step;
  PlusQuantizer a_qconfig;
  PlusQuantizer w_qconfig;

  template <class V>
  static void describe(V& v) {
    v("is_remove_padding", &PlusQuant::is_remove_padding, "observers drop padding");
    v("calibrate", &PlusQuant::calibrate, "calibration samples", required(), at_least(1));
    v("calibrate_path", &PlusQuant::calibrate_path, "their file");
    v("migrate", &PlusQuant::migrate, "shift and scale");
    v("except_quantizer", &PlusQuant::except_quantizer, "nodes that stay in float");
    v("iters", &PlusQuant::iters, "quantiles of token-wise clipping", at_least(1));
    v("step", &PlusQuant::step, "distance of the quantiles", greater_than(0), at_most(0.5));
    v("a_qconfig", &PlusQuant::a_qconfig, "how activations are quantized", required());
    v("w_qconfig", &PlusQuant::w_qconfig, "how weights are quantized", required());
  }
  static void check(const PlusQuant& section, Report& report);
};

struct PlusModel {
  int64_t max_length = 2048;
  template <class V>
  static void describe(V& v) {
    v("max_length", &PlusModel::max_length, "tokens of a window", at_least(2));
  }
};

struct PlusConfig {
  PlusQuant quant;
  PlusModel model;

  template <class V>
  static void describe(V& v) {
    v("quant", &PlusConfig::quant, "what is quantized, and how", required());
    v("model", &PlusConfig::model, "the model");
  }
};

// Throws ConfigError with everything that is wrong.
PlusConfig load_plus(const std::filesystem::path& file, ImportNotes& notes);

}  // namespace quell::published
