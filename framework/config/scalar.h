// Between the text of a YAML scalar and C++ values. One strict grammar, whatever yaml-cpp thinks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "framework/config/node.h"

namespace quell {

// Whether yaml-cpp or any other YAML reader could take the plain text for null.
bool is_null_text(std::string_view text);

// Decimal integers only: no "1e3", no "0x10", no leading zeros (octal in YAML 1.1). Empty when it
// is none or does not fit.
std::optional<int64_t> parse_signed(std::string_view text);
std::optional<uint64_t> parse_unsigned(std::string_view text);

// Decimal numbers, `.inf`, `-.inf` and `.nan`. Empty when it is none, or not in the range of a
// double.
std::optional<double> parse_double(std::string_view text);

// The shortest text that parse_double() reads back to the same value, always with a point, since
// YAML 1.1 readers take "1e-05" for a string.
std::string format_double(double value);

// A string as a scalar: in quotes unless every YAML reader takes the plain text for this string.
ConfigNode string_scalar(const std::string& text);

}  // namespace quell
