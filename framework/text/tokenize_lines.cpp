#include "framework/text/tokenize_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <istream>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <vector>

#include "framework/base/error.h"
#include "framework/base/suggest.h"
#include "framework/json/json.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 11> kOwnKeys = {
    "text",    "pair",     "op",      "ids",     "types",       "tokens",
    "offsets", "sequence", "windows", "decoded", "decoded_skip"};

const std::vector<std::string>& option_names() {
  static const std::vector<std::string> names = {"special", "max_length", "strategy",
                                                 "stride",  "overflow",   "decode"};
  return names;
}

bool is_blank(const std::string& line) {
  return line.find_first_not_of(" \t\r") == std::string::npos;
}

// Nothing when the line is no JSON, or gives a key twice, or is nested so deeply that writing it
// out is not safe.
std::optional<Json> parse(const std::string& line) {
  const std::string text =
      unicode::is_valid_utf8(line) ? line : unicode::encode_utf8(unicode::decode_utf8(line));
  try {
    return parse_ordered_json(text, "a line");
  } catch (const DataError&) {
    return std::nullopt;
  }
}

bool looks_like_json_lines(const std::string& line) {
  const auto object = parse(line);
  return object && object->is_object() && object->contains("text");
}

// One line of input.
struct Request {
  std::string text;
  std::optional<std::string> pair;
  TokenizerOptions options;
  bool decode = false;
  Json extra = Json::object();
};

class RequestReader {
 public:
  RequestReader(std::string source, const TokenizeLinesOptions& defaults)
      : source_(std::move(source)), defaults_(defaults) {}

  Request plain(std::string line) const {
    return {std::move(line), std::nullopt, defaults_.tokenizer, defaults_.decode};
  }

  Request json(const std::string& line, int64_t number) {
    line_ = number;
    const auto object = parse(line);
    if (!object || !object->is_object()) {
      fail("not a JSON object; expected {\"text\": ...}, or plain text with the plain format");
    }
    if (!object->contains("text")) fail("\"text\" is missing");
    Request request = plain(as_string(*object, "text"));
    if (const auto pair = object->find("pair"); pair != object->end() && !pair->is_null()) {
      request.pair = as_string(*object, "pair");
    }
    if (object->contains("op")) read_options((*object)["op"], request);
    for (const auto& [key, value] : object->items()) {
      const bool is_ours = std::find(kOwnKeys.begin(), kOwnKeys.end(), key) != kOwnKeys.end();
      if (!is_ours && key != "error") request.extra[key] = value;
    }
    return request;
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const {
    throw DataError(fmt::format("{}:{}: {}", source_, line_, problem));
  }

  std::string as_string(const Json& object, const char* key) const {
    if (!object[key].is_string()) fail(fmt::format("\"{}\" is not a string", key));
    return object[key].get<std::string>();
  }
  bool as_bool(const std::string& key, const Json& value) const {
    if (!value.is_boolean()) fail(fmt::format("op: \"{}\" is not true or false", key));
    return value.get<bool>();
  }
  int64_t as_integer(const std::string& key, const Json& value) const {
    if (!value.is_number_integer() || value.get<int64_t>() < 0 ||
        value.get<int64_t>() > INT32_MAX) {
      fail(fmt::format("op: \"{}\" is {}, expected an integer from 0 to {}", key, value.dump(),
                       INT32_MAX));
    }
    return value.get<int64_t>();
  }
  Truncation as_truncation(const Json& value) const {
    try {
      return parse_truncation(value.is_string() ? value.get<std::string>() : value.dump());
    } catch (const ConfigError& error) {
      fail(fmt::format("op: {}", error.what()));
    }
  }

  void read_options(const Json& op, Request& request) const {
    if (!op.is_object()) fail("\"op\" is not an object");
    TokenizerOptions& options = request.options;
    for (const auto& [key, value] : op.items()) {
      if (key == "special") {
        options.special_tokens = as_bool(key, value);
      } else if (key == "max_length") {
        options.max_length = as_integer(key, value);
      } else if (key == "strategy") {
        options.truncation = as_truncation(value);
      } else if (key == "stride") {
        options.stride = as_integer(key, value);
      } else if (key == "overflow") {
        options.overflow = as_bool(key, value);
      } else if (key == "decode") {
        request.decode = as_bool(key, value);
      } else {
        fail(fmt::format("op: unknown member \"{}\"{}", key, did_you_mean(key, option_names())));
      }
    }
  }

  std::string source_;
  const TokenizeLinesOptions& defaults_;
  int64_t line_ = 0;
};

void add_window(const Tokenizer& tokenizer, const Encoding& encoding, bool decode, Json& out) {
  out["ids"] = encoding.ids;
  out["types"] = encoding.type_ids;
  out["tokens"] = encoding.tokens;
  out["offsets"] = encoding.offsets;
  out["sequence"] = encoding.sequence;
  if (!decode) return;
  out["decoded"] = tokenizer.decode(encoding.ids, false);
  out["decoded_skip"] = tokenizer.decode(encoding.ids, true);
}

Json answer(const Tokenizer& tokenizer, const Request& request) {
  Json out = request.extra;
  try {
    const auto encodings = tokenizer.encode(request.text, request.pair, request.options);
    if (!request.options.overflow) {
      add_window(tokenizer, encodings.at(0), request.decode, out);
      return out;
    }
    Json windows = Json::array();
    for (const Encoding& encoding : encodings) {
      add_window(tokenizer, encoding, request.decode, windows.emplace_back());
    }
    out["windows"] = std::move(windows);
  } catch (const Error& error) {
    out["error"] = error.what();
  }
  return out;
}

}  // namespace

Truncation parse_truncation(const std::string& name) {
  if (name == "longest_first") return Truncation::kLongestFirst;
  if (name == "only_first") return Truncation::kOnlyFirst;
  if (name == "only_second") return Truncation::kOnlySecond;
  const std::vector<std::string> known = {"longest_first", "only_first", "only_second"};
  throw ConfigError(
      fmt::format("unknown truncation strategy \"{}\"{}", name, did_you_mean(name, known)));
}

TokenizeLinesSummary tokenize_lines(const Tokenizer& tokenizer, std::istream& in,
                                    const std::string& source, std::ostream& out,
                                    const TokenizeLinesOptions& options) {
  RequestReader reader(source, options);
  LineFormat format = options.format;
  TokenizeLinesSummary summary;
  int64_t blank_lines = 0;  // read before the format is known
  const auto write = [&](const Request& request) {
    const Json result = answer(tokenizer, request);
    out << result.dump(-1, ' ', options.ascii) << '\n';
    if (!out) throw Error("the output of tokenize cannot be written; is the disk full?");
    ++summary.lines;
    summary.refused += result.contains("error") ? 1 : 0;
  };
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    if (line.ends_with('\r')) line.pop_back();
    if (format == LineFormat::kAuto && is_blank(line)) {
      ++blank_lines;
      continue;
    }
    if (format == LineFormat::kAuto) {
      format = looks_like_json_lines(line) ? LineFormat::kJson : LineFormat::kPlain;
      for (; format == LineFormat::kPlain && blank_lines > 0; --blank_lines)
        write(reader.plain(""));
    }
    if (format == LineFormat::kPlain) {
      write(reader.plain(std::move(line)));
    } else if (!is_blank(line)) {
      write(reader.json(line, number));
    }
  }
  for (; format == LineFormat::kAuto && blank_lines > 0; --blank_lines) write(reader.plain(""));
  if (in.bad()) throw DataError(fmt::format("{}: reading failed", source));
  out.flush();
  return summary;
}

}  // namespace quell
