#include "framework/text/byte_pair_encoding.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/text/byte_level.h"
#include "framework/text/unicode.h"

namespace quell {
namespace {

constexpr int32_t kNone = -1;

uint64_t key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

// One piece of a word while it is put together.
struct BytePairEncoding::Symbol {
  int32_t id;  // kNone: was merged into the one before
  Span span;   // in code points
  int32_t previous, next;
};

// Spells a word in the pieces that merging starts with.
class BytePairEncoding::Spelling {
 public:
  Spelling(const BytePairEncoding& model, size_t size) : model_(model) { symbols_.reserve(size); }

  std::vector<Symbol> spell(std::u32string_view word) {
    for (size_t i = 0; i < word.size(); ++i) {
      at_ = static_cast<int32_t>(i);
      const std::string bytes = unicode::encode_utf8(word.substr(i, 1));
      model_.options_.byte_level ? add_bytes(bytes) : add_character(bytes);
    }
    flush_unknown();
    if (!symbols_.empty()) symbols_.back().next = kNone;
    return std::move(symbols_);
  }

 private:
  void add(int32_t id, Span span) {
    const auto index = static_cast<int32_t>(symbols_.size());
    symbols_.push_back({id, span, index - 1, index + 1});
  }

  void flush_unknown() {
    if (unknown_) add(*model_.options_.unknown_id, *unknown_);
    unknown_.reset();
  }

  void add_known(int32_t id) {
    flush_unknown();
    add(id, {at_, at_ + 1});
  }

  void add_unknown() {
    if (!model_.options_.unknown_id) return;
    if (unknown_ && model_.options_.fuse_unknown) {
      unknown_->end = at_ + 1;
      return;
    }
    flush_unknown();
    unknown_ = {at_, at_ + 1};
  }

  void add_bytes(const std::string& bytes) {
    for (const char byte : bytes) {
      const int32_t id = model_.byte_ids_[static_cast<uint8_t>(byte)];
      id == kNone ? add_unknown() : add_known(id);
    }
  }

  void add_character(const std::string& bytes) {
    const auto id = model_.vocabulary_.find(bytes);
    if (id) return add_known(*id);
    const auto fallback = [&](char byte) {
      return model_.fallback_ids_[static_cast<uint8_t>(byte)];
    };
    const bool falls_back =
        model_.options_.byte_fallback &&
        std::none_of(bytes.begin(), bytes.end(), [&](char b) { return fallback(b) == kNone; });
    if (!falls_back) return add_unknown();
    // An unknown token that is still waiting comes behind them, as in the Hugging Face library.
    for (const char byte : bytes) add(fallback(byte), {at_, at_ + 1});
  }

  const BytePairEncoding& model_;
  std::vector<Symbol> symbols_;
  int32_t at_ = 0;  // the character being spelled
  std::optional<Span> unknown_;
};

// Merges the pair of the lowest rank, the leftmost of equal ones, until there is none.
class BytePairEncoding::Merging {
 public:
  Merging(const BytePairEncoding& model, std::vector<Symbol>& symbols)
      : model_(model), symbols_(symbols) {
    for (int32_t i = 0; i + 1 < static_cast<int32_t>(symbols_.size()); ++i) consider(i);
  }

  void run() {
    while (!candidates_.empty()) {
      std::pop_heap(candidates_.begin(), candidates_.end(), comes_later);
      const Candidate candidate = candidates_.back();
      candidates_.pop_back();
      if (is_current(candidate)) merge(candidate);
    }
  }

 private:
  struct Candidate {
    int32_t rank, left, merged;
  };

  static bool comes_later(const Candidate& a, const Candidate& b) {
    return std::pair(a.rank, a.left) > std::pair(b.rank, b.left);
  }

  Symbol& symbol(int32_t index) { return symbols_[static_cast<size_t>(index)]; }

  const Rule* rule_at(int32_t left) {
    const Symbol& one = symbol(left);
    if (one.id == kNone || one.next == kNone) return nullptr;
    return model_.rule_for(one.id, symbol(one.next).id);
  }

  void consider(int32_t left) {
    const Rule* rule = rule_at(left);
    if (rule == nullptr) return;
    candidates_.push_back({rule->rank, left, rule->merged});
    std::push_heap(candidates_.begin(), candidates_.end(), comes_later);
  }

  // Its pieces may have become parts of other merges meanwhile.
  bool is_current(const Candidate& candidate) {
    const Rule* rule = rule_at(candidate.left);
    return rule != nullptr && rule->merged == candidate.merged;
  }

  void merge(const Candidate& candidate) {
    Symbol& left = symbol(candidate.left);
    Symbol& right = symbol(left.next);
    left.id = candidate.merged;
    left.span.end = right.span.end;
    left.next = right.next;
    right.id = kNone;
    if (left.next != kNone) symbol(left.next).previous = candidate.left;
    if (left.previous != kNone) consider(left.previous);
    consider(candidate.left);
  }

  const BytePairEncoding& model_;
  std::vector<Symbol>& symbols_;
  std::vector<Candidate> candidates_;  // a heap
};

BytePairEncoding::BytePairEncoding(Vocabulary vocabulary, const std::vector<Merge>& merges,
                                   const BytePairOptions& options)
    : vocabulary_(std::move(vocabulary)), options_(options) {
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t character = character_of_byte(static_cast<uint8_t>(byte));
    const std::string token = unicode::encode_utf8(std::u32string_view(&character, 1));
    byte_ids_[static_cast<size_t>(byte)] = vocabulary_.find(token).value_or(kNone);
    fallback_ids_[static_cast<size_t>(byte)] =
        vocabulary_.find(fmt::format("<0x{:02X}>", byte)).value_or(kNone);
  }
  rules_.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    // Of equal pairs the last counts, as in the Hugging Face library.
    rules_[key_of(merges[i].left, merges[i].right)] = {static_cast<int32_t>(i), merges[i].merged};
  }
}

const BytePairEncoding::Rule* BytePairEncoding::rule_for(int32_t left, int32_t right) const {
  const auto found = rules_.find(key_of(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

bool BytePairEncoding::add_whole(std::u32string_view word, std::vector<Piece>& pieces) const {
  std::string spelled = unicode::encode_utf8(word);
  if (options_.byte_level) {
    std::u32string visible;
    for (const char byte : spelled) visible += character_of_byte(static_cast<uint8_t>(byte));
    spelled = unicode::encode_utf8(visible);
  }
  const auto id = vocabulary_.find(spelled);
  if (id) pieces.push_back({*id, {0, static_cast<int32_t>(word.size())}});
  return id.has_value();
}

void BytePairEncoding::tokenize(std::u32string_view word, std::vector<Piece>& pieces) const {
  if (options_.ignore_merges && add_whole(word, pieces)) return;
  std::vector<Symbol> symbols = Spelling(*this, word.size()).spell(word);
  Merging(*this, symbols).run();
  for (const Symbol& symbol : symbols) {
    if (symbol.id != kNone) pieces.push_back({symbol.id, symbol.span});
  }
}

}  // namespace quell
