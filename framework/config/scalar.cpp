#include "framework/config/scalar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

namespace quell {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

template <class Integer>
std::optional<Integer> parse_integer(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) return {};
  if (digits.size() > 1 && digits[0] == '0') return {};
  Integer value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return {};
  return value;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// Digits with at most one point, then perhaps an exponent; no "010", no "0x1p3", no "infinity".
bool has_decimal_form(std::string_view text) {
  const std::string_view mantissa = text.substr(0, text.find_first_of("eE"));
  const size_t point = std::min(mantissa.find('.'), mantissa.size());
  const std::string_view whole = mantissa.substr(0, point);
  if (whole.size() > 1 && whole[0] == '0') return false;
  if (!std::any_of(mantissa.begin(), mantissa.end(), is_digit)) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return is_digit(c) || c == '.' || c == 'e' || c == 'E' || c == '-' || c == '+';
  });
}

// Texts that some YAML version reads as null, a bool or a merge.
bool is_reserved(std::string_view text) {
  constexpr std::array<std::string_view, 11> kReserved = {
      "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"};
  const std::string name = lower(text);
  return std::find(kReserved.begin(), kReserved.end(), name) != kReserved.end();
}

}  // namespace

bool is_null_text(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

std::optional<int64_t> parse_signed(std::string_view text) { return parse_integer<int64_t>(text); }

std::optional<uint64_t> parse_unsigned(std::string_view text) {
  return parse_integer<uint64_t>(text);
}

std::optional<double> parse_double(std::string_view text) {
  const std::string name = lower(text);
  if (name == ".nan") return std::numeric_limits<double>::quiet_NaN();
  if (text.starts_with('+')) text.remove_prefix(1);
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (lower(text) == ".inf") {
    return negative ? -std::numeric_limits<double>::infinity()
                    : std::numeric_limits<double>::infinity();
  }
  if (!has_decimal_form(text)) return {};
  double value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return {};
  return negative ? -value : value;
}

std::string format_double(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  std::string text = fmt::format("{}", value);
  if (text.find('.') != std::string::npos) return text;
  return text.insert(std::min(text.find('e'), text.size()), ".0");
}

ConfigNode string_scalar(const std::string& text) {
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '/' || c == '.' ||
           c == '-';
  };
  const bool plain =
      !text.empty() && std::all_of(text.begin(), text.end(), is_word) &&
      (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/' || text[0] == '_') &&
      !is_reserved(text);
  return ConfigNode::scalar(text, !plain);
}

}  // namespace quell
