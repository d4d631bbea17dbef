#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>
#include <sstream>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/utf8.h"
#include "framework/config/load.h"
#include "framework/config/scalar.h"

namespace quell {
namespace {

constexpr size_t kLargestYaml = size_t{64} << 20;  // bytes

constexpr const char* kStarHint =
    "\"*\" starts an alias, which is not supported: put text that starts with * in quotes, and "
    "share settings with \"base:\"";

// yaml-cpp counts bytes, editors count characters.
Mark mark_at(const std::string& file, std::string_view text, const YAML::Mark& position) {
  const auto column = static_cast<size_t>(position.column);
  const size_t end = std::min(static_cast<size_t>(position.pos), text.size());
  const std::string_view before = text.substr(end - std::min(column, end), std::min(column, end));
  const auto starts = std::count_if(before.begin(), before.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  });
  return {file, position.line + 1, static_cast<int>(starts) + 1};
}

// Builds our tree from yaml-cpp's events. Its own nodes lose marks when copied, accept repeated
// keys, and let an alias make the tree endless.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& file, std::string_view text, Problems& problems)
      : file_(file), text_(text), problems_(problems) {}

  // The document. Throws what was refused in it.
  ConfigNode take() {
    if (!refusal_.empty()) throw ConfigError(refusal_);
    return std::move(root_);
  }

  // Where the last scalar in quotes starts. yaml-cpp forgives one that is never closed.
  const std::optional<YAML::Mark>& last_quote() const { return last_quote_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& position, YAML::anchor_t) override {
    ConfigNode node;
    node.mark = mark(position);
    add(std::move(node));
  }

  void OnAlias(const YAML::Mark& position, YAML::anchor_t) override {
    refuse(mark(position), kStarHint);
  }

  void OnScalar(const YAML::Mark& position, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    check_tag(position, tag);
    if (tag == "!") last_quote_ = position;
    ConfigNode node = ConfigNode::scalar(value, tag == "!");
    if (!node.quoted && is_null_text(value)) node = ConfigNode();
    node.mark = mark(position);
    add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& position, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    check_tag(position, tag);
    open(ConfigNode::sequence(), position);
  }

  void OnMapStart(const YAML::Mark& position, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    check_tag(position, tag);
    open(ConfigNode::map(), position);
  }

  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  // A sequence or map whose end has not come yet, and the key whose value is next.
  struct Open {
    ConfigNode node;
    bool has_key = false;
    std::string key;
    Mark key_mark;
  };

  Mark mark(const YAML::Mark& position) const { return mark_at(file_, text_, position); }

  // The first refusal counts, and only when the document turns out to be valid YAML at all; what
  // follows it is skipped.
  void refuse(const Mark& position, const std::string& message) {
    if (refusal_.empty()) refusal_ = fmt::format("{}: {}", position.text(), message);
  }

  void refuse_key(const ConfigNode& node) {
    refuse(node.mark, fmt::format("a key must be plain text, found {}", node.found()));
  }

  void check_tag(const YAML::Mark& position, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    refuse(mark(position), fmt::format("the tag {} is not supported: leave it out", tag));
  }

  bool wants_key() const {
    return !open_.empty() && open_.back().node.is_map() && !open_.back().has_key;
  }

  void open(ConfigNode node, const YAML::Mark& position) {
    node.mark = mark(position);
    if (wants_key()) refuse_key(node);
    if (!refusal_.empty()) return;
    open_.push_back({std::move(node)});
  }

  void close() {
    if (!refusal_.empty()) return;
    ConfigNode node = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(node));
  }

  // Of the value that comes next.
  std::string path() const {
    std::string path;
    for (const Open& level : open_) {
      path = level.node.is_map() ? join_path(path, level.key)
                                 : index_path(path, level.node.children.size());
    }
    return path;
  }

  void take_key(const ConfigNode& node) {
    Open& parent = open_.back();
    if (!node.is_scalar()) return refuse_key(node);
    if (node.text == "<<" && !node.quoted) {
      return refuse(node.mark, "merge keys (<<) are not supported: share settings with \"base:\"");
    }
    parent.has_key = true;
    parent.key = node.text;
    parent.key_mark = node.mark;
  }

  void add(ConfigNode node) {
    if (!refusal_.empty()) return;
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    if (wants_key()) return take_key(node);
    Open& parent = open_.back();
    if (!parent.node.is_map()) {
      parent.node.children.push_back(std::move(node));
      return;
    }
    if (const ConfigNode* first = parent.node.find(parent.key)) {
      problems_.add(parent.key_mark, path(),
                    fmt::format("this key is set twice, first in line {}", first->key_mark.line));
      parent.has_key = false;
      return;
    }
    parent.has_key = false;
    // yaml-cpp puts a missing value at whatever comes next.
    if (node.is_null() && node.mark.line != parent.key_mark.line) node.mark = parent.key_mark;
    node.key = parent.key;
    node.key_mark = parent.key_mark;
    parent.node.children.push_back(std::move(node));
  }

  const std::string& file_;
  std::string_view text_;
  Problems& problems_;
  ConfigNode root_;
  std::vector<Open> open_;
  std::optional<YAML::Mark> last_quote_;
  std::string refusal_;
};

void check_encoding(std::string_view text, const std::string& file) {
  const size_t wrong = std::min(find_invalid_utf8(text), text.find('\0'));
  if (wrong == std::string_view::npos) return;
  const auto line =
      1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(wrong), '\n');
  throw ConfigError(fmt::format("{}:{}: the file is not UTF-8 text", file, line));
}

// Whether the quoted scalar that starts at `at` ends. Anything but a quote there counts as closed:
// block text.
bool is_closed(std::string_view text, size_t at) {
  if (at >= text.size() || (text[at] != '"' && text[at] != '\'')) return true;
  const char quote = text[at];
  for (size_t i = at + 1; i < text.size(); ++i) {
    const bool escape = quote == '"' ? text[i] == '\\' : text.substr(i).starts_with("''");
    if (escape) {
      ++i;
    } else if (text[i] == quote) {
      return true;
    }
  }
  return false;
}

std::string explain(const YAML::ParserException& error) {
  if (error.msg.starts_with(YAML::ErrorMsg::UNKNOWN_ANCHOR)) return kStarHint;
  return "not valid YAML: " + error.msg;
}

}  // namespace

ConfigNode parse_yaml(std::string_view text, const std::string& file, Problems& problems) {
  check_encoding(text, file);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // yaml-cpp does not count it
  std::istringstream stream{std::string(text)};
  TreeBuilder builder(file, text, problems);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    if (const auto& quote = builder.last_quote();
        quote && !is_closed(text, static_cast<size_t>(quote->pos))) {
      throw ConfigError(mark_at(file, text, *quote).text() + ": this quote is never closed");
    }
    ConfigNode root = builder.take();
    TreeBuilder rest(file, text, problems);
    if (parser.HandleNextDocument(rest)) {
      throw ConfigError(rest.take().mark.text() +
                        ": a second YAML document (---) is not supported: use one file each");
    }
    return root;
  } catch (const YAML::ParserException& error) {
    const Mark mark = mark_at(file, text, error.mark);
    throw ConfigError(fmt::format("{}: {}", mark.text(), explain(error)));
  }
}

ConfigNode load_yaml(const std::filesystem::path& path, Problems& problems) {
  std::string text;
  try {
    text = read_file(path, kLargestYaml);
  } catch (const DataError& error) {
    throw ConfigError(error.what());
  }
  ConfigNode root = parse_yaml(text, path.string(), problems);
  if (root.is_null()) {
    root = ConfigNode::map();
    root.mark = {path.string(), 1, 1};
  }
  return root;
}

}  // namespace quell
