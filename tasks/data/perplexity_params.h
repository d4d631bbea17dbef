// Parameters of the task perplexity.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "framework/config/schema.h"
#include "tasks/data/data_files.h"
#include "tasks/data/text_documents.h"
#include "tasks/data/text_encoder.h"

namespace quell {

// See text_windows.h.
enum class PerplexityKind { kWindows, kStrided, kRolling };
enum class Detokenizer { kNone, kWikitext };
// What of the training text is calibrated on.
enum class CalibrationCut { kWindows, kDocuments };

template <>
struct EnumNames<PerplexityKind> {
  static constexpr std::pair<const char*, PerplexityKind> values[] = {
      {"windows", PerplexityKind::kWindows},
      {"strided", PerplexityKind::kStrided},
      {"rolling", PerplexityKind::kRolling}};
};
template <>
struct EnumNames<Detokenizer> {
  static constexpr std::pair<const char*, Detokenizer> values[] = {
      {"none", Detokenizer::kNone}, {"wikitext", Detokenizer::kWikitext}};
};
template <>
struct EnumNames<CalibrationCut> {
  static constexpr std::pair<const char*, CalibrationCut> values[] = {
      {"windows", CalibrationCut::kWindows}, {"documents", CalibrationCut::kDocuments}};
};

struct PerplexityParams {
  PerplexityKind kind = PerplexityKind::kWindows;
  std::filesystem::path path;
  std::string train_file;
  std::string dev_file;
  std::string text_column;
  std::optional<TextUnit> unit;
  Detokenizer detokenizer = Detokenizer::kNone;
  int64_t length = 0;
  int64_t stride = 0;
  int64_t max_windows = 0;
  StartToken bos = StartToken::kTokenizer;
  std::optional<int64_t> prefix_token;
  bool bos_in_every_window = false;
  int64_t calibration_length = 0;
  CalibrationCut calibration_cut = CalibrationCut::kWindows;
  int64_t batch_size = 4;
  std::string encoding = "utf-8";

  template <class V>
  static void describe(V& v) {
    v("kind", &PerplexityParams::kind,
      "windows: perplexity per token of the whole text in windows without overlap, as in the "
      "papers; strided: windows that overlap, in which only new tokens are predicted; rolling: per "
      "word and per byte, text by text, as lm-evaluation-harness");
    v("path", &PerplexityParams::path,
      "folder with train and test files: .txt, .raw, .tokens, .jsonl, .csv, .parquet",
      existing_folder());
    v("train_file", &PerplexityParams::train_file,
      "text to calibrate on, in the folder or elsewhere");
    v("dev_file", &PerplexityParams::dev_file, "text to evaluate");
    v("text_column", &PerplexityParams::text_column, "of tables; empty: text or page");
    v("unit", &PerplexityParams::unit,
      "what of a text file is a text, which two line ends set apart: whole: the file; lines: each "
      "line, as in Hugging Face's WikiText; pages: from one line \" = Title = \" to the next; left "
      "out: lines, and pages for rolling");
    v("detokenizer", &PerplexityParams::detokenizer,
      "of rolling: wikitext: take back what tokenization did to punctuation, as the task wikitext "
      "of lm-evaluation-harness");
    v("length", &PerplexityParams::length,
      "tokens of a window; 0: what the model takes, but at most 2048 unless rolling", at_least(0));
    v("stride", &PerplexityParams::stride, "of strided: tokens from window to window; 0: length",
      at_least(0));
    v("max_windows", &PerplexityParams::max_windows,
      "of windows and strided: only the first so many; 0: all", at_least(0));
    v("bos", &PerplexityParams::bos,
      "start token in front of a text: as the tokenizer does, never (lm-evaluation-harness up to "
      "0.4.9.1), or always");
    v("prefix_token", &PerplexityParams::prefix_token,
      "id of the start token, which rolling reads before a text; left out: the tokenizer's BOS, "
      "else its EOS",
      at_least(0));
    v("bos_in_every_window", &PerplexityParams::bos_in_every_window,
      "of windows: each begins with the start token, and its first token of the text is predicted");
    v("calibration_length", &PerplexityParams::calibration_length,
      "tokens of a calibration sample; 0: length", at_least(0));
    v("calibration_cut", &PerplexityParams::calibration_cut,
      "windows: of all texts together; documents: the beginning of each text");
    v("batch_size", &PerplexityParams::batch_size, "windows per batch", at_least(1));
    v("encoding", &PerplexityParams::encoding,
      "of text files: utf-8, latin-1, windows-1252, utf-16, ...");
  }

  static void check(const PerplexityParams& params, Report& report) {
    check_encoding(params.encoding, report);
    const auto belongs = [&](const char* key, bool set, bool fits, const char* kinds) {
      if (set && !fits) report.problem(key, std::string("has no meaning but with kind: ") + kinds);
    };
    const bool rolling = params.kind == PerplexityKind::kRolling;
    const bool strided = params.kind == PerplexityKind::kStrided;
    belongs("stride", params.stride > 0, strided, "strided");
    belongs("detokenizer", params.detokenizer != Detokenizer::kNone, rolling, "rolling");
    belongs("max_windows", params.max_windows > 0, !rolling, "windows or strided");
    belongs("bos_in_every_window", params.bos_in_every_window, !rolling && !strided, "windows");
    if (params.length == 1) report.problem("length", "must be 0, or at least 2");
    if (params.calibration_length == 1) {
      report.problem("calibration_length", "must be 0, or at least 2");
    }
    if (params.length > 0 && params.stride > params.length) {
      report.problem("stride", "is more than length, so that tokens would be left out");
    }
    if (params.bos_in_every_window && params.bos == StartToken::kNever) {
      report.problem("bos_in_every_window", "contradicts bos: never");
    }
  }

  TextRequest request() const {
    const TextUnit usual = kind == PerplexityKind::kRolling ? TextUnit::kPages : TextUnit::kLines;
    return {unit.value_or(usual), text_column, encoding};
  }
};

}  // namespace quell
