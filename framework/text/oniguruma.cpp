#include "framework/text/oniguruma.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "framework/base/error.h"

namespace quell {
namespace {

// What a set of ICU holds, between its brackets.
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// Outside of sets, Oniguruma asks a table of Latin-1, in which these are of words as well.
constexpr std::string_view kMoreWord = R"(\u00B2\u00B3\u00B9\u00BC-\u00BE)";
constexpr std::string_view kHexadecimal = "0-9A-Fa-f";

struct NamedSet {
  std::string_view name, set;
};
constexpr std::array kPosixSets = {
    NamedSet{"alnum", R"(\p{Alphabetic}\p{Nd})"},
    NamedSet{"alpha", R"(\p{Alphabetic})"},
    NamedSet{"ascii", R"(\u0000-\u007F)"},
    NamedSet{"blank", R"(\t\p{Zs})"},
    NamedSet{"cntrl", R"(\p{Cc})"},
    NamedSet{"digit", R"(\p{Nd})"},
    NamedSet{"lower", R"(\p{Lowercase})"},
    NamedSet{"punct", R"(\p{P}\p{S})"},
    NamedSet{"space", R"(\p{White_Space})"},
    NamedSet{"upper", R"(\p{Uppercase})"},
    NamedSet{"word", kWord},
    NamedSet{"xdigit", kHexadecimal},
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hexadecimal(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

std::string set_of(std::string_view content, bool negated) {
  return fmt::format("[{}{}]", negated ? "^" : "", content);
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern), rest_(pattern) {}

  std::string translate() {
    while (!rest_.empty()) add_item();
    close_options();
    return std::move(out_);
  }

 private:
  // A part of a set; a single character may begin or end a range.
  struct Atom {
    std::string text;
    bool is_character;
  };

  struct Group {
    int open_options;  // (?i) that end with it
    bool ignores_case;
  };

  [[noreturn]] void refuse(std::string_view part) const {
    throw DataError(
        fmt::format("\"{}\": \"{}\" is not supported in a regular expression; write it "
                    "in another way",
                    pattern_, part));
  }

  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  std::string_view take_first(size_t count) {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }

  // What comes before `end`, which is used up, too.
  std::string_view take_until(std::string_view end, std::string_view beginning) {
    const size_t length = rest_.find(end);
    if (length == std::string_view::npos) refuse(beginning);
    const std::string_view taken = take_first(length);
    rest_.remove_prefix(end.size());
    return taken;
  }

  // One character of UTF-8.
  std::string_view take_character() {
    size_t length = 1;
    while (length < rest_.size() && (static_cast<unsigned char>(rest_[length]) & 0xC0) == 0x80) {
      ++length;
    }
    return take_first(length);
  }

  void close_options() {
    for (; groups_.back().open_options > 0; --groups_.back().open_options) out_ += ')';
  }

  void add_item() {
    if (rest_.starts_with('(')) return add_group();
    if (take("[")) return add(set());
    if (rest_.starts_with('{')) return add_interval();
    if (take("\\")) return add_escape();
    if (take(".")) return add(R"([^\n])");
    if (take("^")) return add(R"((?:\A|(?<=\n)(?!\z)))");
    if (take("$")) return add(R"((?:(?=\n)|\z))");
    if (take("}")) return add(R"(\})");
    if (take("]")) return add(R"(\])");
    if (take(")")) {
      close_options();
      if (groups_.size() > 1) groups_.pop_back();
      return add(")");
    }
    add(take_character());
  }

  void add(std::string_view text) { out_ += text; }

  void begin_group(std::string_view beginning) {
    add(beginning);
    groups_.push_back({0, groups_.back().ignores_case});
  }

  void add_group() {
    for (const std::string_view kind : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (take(kind)) return begin_group(kind);
    }
    if (take("(?#")) {
      take_until(")", "(?#");
    } else if (take("(?<")) {
      begin_group(fmt::format("(?<{}>", take_until(">", "(?<")));
    } else if (take("(?")) {
      add_options();
    } else {
      take("(");
      begin_group("(");
    }
  }

  // "(?i:" or "(?i)", which holds to the end of the group, alternatives included.
  void add_options() {
    const size_t length = std::min(rest_.find_first_not_of("i-"), rest_.size());
    const std::string options = fmt::format("(?{}", take_first(length));
    if (take(")")) {
      add(options + ":");
      ++groups_.back().open_options;
    } else if (length > 0 && take(":")) {
      begin_group(options + ":");
    } else {
      refuse(fmt::format("{}{}", options, take_character()));
    }
    const size_t minus = options.find('-'), sign = options.find('i');
    if (sign != std::string::npos) groups_.back().ignores_case = sign < minus;
  }

  // "{2}", "{2,}", "{2,3}", "{,3}"; another brace is a character.
  void add_interval() {
    const std::string_view before = rest_;
    take("{");
    const auto number = [&] {
      size_t length = 0;
      while (length < rest_.size() && is_digit(rest_[length])) ++length;
      return take_first(length);
    };
    const std::string_view least = number();
    const bool has_comma = take(",");
    const std::string_view most = has_comma ? number() : least;
    if ((least.empty() && most.empty()) || !take("}")) {
      rest_ = before.substr(1);
      return add(R"(\{)");
    }
    const bool is_lazy = rest_.starts_with('?');
    if (rest_.starts_with('+') || (is_lazy && !has_comma)) {
      refuse(before.substr(0, before.size() - rest_.size() + 1));
    }
    add(fmt::format("{{{}{}{}}}", least.empty() ? "0" : least, has_comma ? "," : "",
                    has_comma ? most : ""));
  }

  void add_escape() {
    const char c = rest_.empty() ? '\0' : rest_.front();
    const std::string word = fmt::format("{}{}", kWord, kMoreWord);
    if (c == 'w' || c == 'W') {
      take_first(1);
      return add(set_of(word, c == 'W'));
    }
    if (c == 'b' || c == 'B') {
      take_first(1);
      return add(fmt::format("(?:(?<=[{0}])(?{1}[{0}])|(?<![{0}])(?{2}[{0}]))", word,
                             c == 'b' ? "!" : "=", c == 'b' ? "=" : "!"));
    }
    if (take("A")) return add(R"(\A)");
    if (take("z")) return add(R"(\z)");
    if (take("Z")) return add(R"((?=\n?\z))");
    if (take("R")) return add(R"((?>\r\n|[\n-\r\u0085\u2028\u2029]))");
    if (take("N")) return add(R"([^\n])");
    if (take("O")) return add(R"([\p{White_Space}\P{White_Space}])");
    if (take("k<")) return add(fmt::format(R"(\k<{}>)", take_until(">", "\\k<")));
    const bool is_reference = is_digit(c) && c != '0' && (rest_.size() == 1 || !is_digit(rest_[1]));
    if (is_reference) return add(fmt::format("\\{}", take_first(1)));
    const Atom atom = escape();
    if (atom.text == kWord) return add(set_of(word, false));  // \p{Word}
    if (atom.is_character) return add(atom.text);
    // Cases are equal in sets only, and for characters. (A group costs ICU memory in loops.)
    const std::string content = set_of(atom.text, false);
    add(groups_.back().ignores_case ? fmt::format("(?-i:{})", content) : content);
  }

  // What \... means in a set, and outside of it, too.
  Atom escape() {
    if (rest_.empty()) refuse("\\");
    const std::string_view taken = take_character();
    if (taken.size() > 1) return {std::string(taken), true};
    const char c = taken.front();
    switch (c) {
      case 'd':
        return {R"(\p{Nd})", false};
      case 'D':
        return {R"(\P{Nd})", false};
      case 's':
        return {R"(\p{White_Space})", false};
      case 'S':
        return {R"(\P{White_Space})", false};
      case 'w':
      case 'W':
        return {c == 'w' ? std::string(kWord) : set_of(kWord, true), false};
      case 'h':
      case 'H':
        return {c == 'h' ? std::string(kHexadecimal) : set_of(kHexadecimal, true), false};
      case 'p':
      case 'P':
        return property(c == 'P');
      case 'v':
        return {R"(\x0B)", true};
      case 'x':
      case 'u':
        return number(c);
      default:
        break;
    }
    const bool is_known = std::string_view("tnrfae").find(c) != std::string_view::npos;
    if ((is_letter(c) || is_digit(c)) && !is_known) refuse(fmt::format("\\{}", c));
    return {fmt::format("\\{}", c), true};
  }

  // Behind \p or \P: {name} or {^name}.
  Atom property(bool negated) {
    if (!take("{")) refuse(negated ? "\\P" : "\\p");
    const bool is_reversed = take("^");
    const std::string_view name = take_until("}", "\\p{");
    negated ^= is_reversed;
    std::string plain;
    for (const char c : name) {
      if (is_letter(c) || is_digit(c)) plain += static_cast<char>(c | 0x20);
    }
    if (plain == "graph" || plain == "print") refuse(fmt::format("\\p{{{}}}", name));
    const std::string_view own = plain == "word" ? kWord : plain == "xdigit" ? kHexadecimal : "";
    if (own.empty()) return {fmt::format("\\{}{{{}}}", negated ? 'P' : 'p', name), false};
    return {negated ? set_of(own, true) : std::string(own), false};
  }

  // Behind \x or \u: {4E2D}, 7F or 4E2D.
  Atom number(char kind) {
    const bool in_braces = kind == 'x' && take("{");
    size_t length = 0;
    const size_t most = in_braces ? 8 : kind == 'x' ? 2 : 4;
    while (length < std::min(most, rest_.size()) && is_hexadecimal(rest_[length])) ++length;
    const std::string digits(take_first(length));
    const bool is_whole = kind == 'x' ? length > 0 : length == most;
    // A larger \xFF is a byte of UTF-8, not a character.
    const bool is_byte = kind == 'x' && !in_braces && length == 2 && digits.front() > '7';
    if (!is_whole || is_byte || (in_braces && !take("}"))) {
      refuse(fmt::format("\\{}{}{}", kind, in_braces ? "{" : "", digits));
    }
    return {fmt::format("\\x{{{}}}", digits), true};
  }

  // Behind "[". Everything is written so that ICU sees no sign of its own.
  std::string set() {
    const bool negated = take("^");
    std::vector<std::string> parts(1);  // of an intersection
    for (bool is_first = true;; is_first = false) {
      if (rest_.empty()) refuse("[");
      if (!is_first && take("]")) break;
      if (take("[:")) {
        parts.back() += posix_set();
      } else if (take("[")) {
        parts.back() += set();
      } else if (take("&&")) {
        parts.emplace_back();
      } else {
        parts.back() += range();
      }
    }
    if (parts.size() == 1) return set_of(parts.front(), negated);
    std::string all;
    for (const std::string& part : parts) {
      if (part.empty()) refuse("&&");
      all += fmt::format("{}[{}]", all.empty() ? "" : "&&", part);
    }
    return set_of(all, negated);
  }

  // Behind "[:": name:] or ^name:]
  std::string posix_set() {
    const bool negated = take("^");
    const std::string_view name = take_until(":]", "[:");
    for (const NamedSet& known : kPosixSets) {
      if (known.name == name) return set_of(known.set, negated);
    }
    refuse(fmt::format("[:{}:]", name));
  }

  std::string range() {
    if (rest_.starts_with("--[")) refuse("--[");
    const Atom first = atom();
    const bool is_range = first.is_character && rest_.size() > 1 && rest_[0] == '-' &&
                          rest_[1] != ']' && rest_[1] != '[';
    if (!is_range) return first.text;
    take("-");
    const Atom last = atom();
    if (!last.is_character) refuse(fmt::format("-{}", last.text));
    return first.text + "-" + last.text;
  }

  Atom atom() {
    if (take("\\")) {
      if (rest_.starts_with('b') || rest_.starts_with('R') || rest_.starts_with('X')) {
        refuse(fmt::format("[\\{}", take_first(1)));
      }
      return escape();
    }
    const std::string_view taken = take_character();
    const bool is_plain = taken.size() > 1 || is_letter(taken.front()) || is_digit(taken.front()) ||
                          static_cast<unsigned char>(taken.front()) <= ' ';
    return {fmt::format("{}{}", is_plain ? "" : "\\", taken), true};
  }

  std::string_view pattern_, rest_;
  std::string out_;
  std::vector<Group> groups_ = {{0, false}};  // the open ones, and the whole
};

}  // namespace

std::string icu_from_oniguruma(std::string_view pattern) { return Translator(pattern).translate(); }

}  // namespace quell
