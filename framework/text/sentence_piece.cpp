#include "framework/text/sentence_piece.h"

#include <fmt/format.h>
#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "framework/base/error.h"
#include "framework/base/file.h"
#include "framework/base/utf8.h"

namespace quell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Model = SentencePieceModel;

constexpr const char* kBlank = "\u2581";

// The fields of a message, one after another.
class Message {
 public:
  // `begin`: where the bytes lie in the file.
  Message(std::string_view bytes, size_t begin, const std::string& file)
      : bytes_(bytes), begin_(begin), file_(file) {}

  // The next field; false at the end.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t key = number();
    field_ = static_cast<int64_t>(key >> 3);
    wire_ = static_cast<int>(key & 7);
    value_ = 0;
    content_ = {};
    if (wire_ == kVarint) {
      value_ = number();
    } else if (wire_ == kFixed32 || wire_ == kFixed64) {
      content_ = take(wire_ == kFixed32 ? 4 : 8);
    } else if (wire_ == kBytes) {
      content_ = take(number());
    } else {
      fail(fmt::format("wire type {} is none of a protocol buffer of SentencePiece", wire_));
    }
    return true;
  }

  int64_t field() const { return field_; }
  uint64_t integer() const {
    if (wire_ != kVarint) fail(fmt::format("field {} is no number", field_));
    return value_;
  }
  bool flag() const { return integer() != 0; }
  float real() const {
    if (wire_ != kFixed32) fail(fmt::format("field {} is no float", field_));
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; ++i) {
      bits |= static_cast<uint32_t>(static_cast<unsigned char>(content_[i])) << (8 * i);
    }
    return std::bit_cast<float>(bits);
  }
  std::string_view bytes() const {
    if (wire_ != kBytes) fail(fmt::format("field {} is neither text nor message", field_));
    return content_;
  }
  Message message() const { return {bytes(), begin_ + at_ - content_.size(), file_}; }

  [[noreturn]] void fail(const std::string& problem) const {
    throw DataError(
        fmt::format("{}: byte {}: {}; is this the tokenizer.model of a model's folder, and whole?",
                    file_, begin_ + at_, problem));
  }

 private:
  static constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

  uint64_t number() {
    constexpr int kMostBits = 64, kBitsOfByte = 7;
    uint64_t value = 0;
    for (int shift = 0; shift < kMostBits; shift += kBitsOfByte) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number has more than 64 bits");
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) {
      fail(fmt::format("{} bytes were expected, {} are left", count, bytes_.size() - at_));
    }
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  std::string_view bytes_;
  size_t begin_, at_ = 0;
  const std::string& file_;
  int64_t field_ = 0;
  int wire_ = 0;
  uint64_t value_ = 0;
  std::string_view content_;
};

// An enumerator of 1 .. `last`.
template <class Enum>
Enum enumerator(const Message& message, Enum last) {
  const uint64_t value = message.integer();
  if (value < 1 || value > static_cast<uint64_t>(last)) {
    message.fail(fmt::format("{} is not in [1, {}]", value, static_cast<int>(last)));
  }
  return static_cast<Enum>(value);
}

Model::Piece read_piece(Message message) {
  Model::Piece piece;
  while (message.next()) {
    if (message.field() == 1) piece.text = message.bytes();
    if (message.field() == 2) piece.score = message.real();
    if (message.field() == 3) piece.kind = enumerator(message, Model::Kind::kByte);
  }
  if (piece.text.empty() || find_invalid_utf8(piece.text) != std::string_view::npos ||
      !std::isfinite(piece.score)) {
    message.fail("a piece needs a text in UTF-8, and a finite score");
  }
  return piece;
}

void read_trainer(Message message, Model& model) {
  while (message.next()) {
    if (message.field() == 3) {
      model.algorithm = enumerator(message, Model::Algorithm::kCharacters);
    }
    if (message.field() == 24) model.blanks_are_suffixes = message.flag();
    if (message.field() == 35) model.byte_fallback = message.flag();
    // Negative numbers, which stand for no token, have all upper bits set.
    if (message.field() == 41) model.bos_id = static_cast<int64_t>(message.integer());
    if (message.field() == 42) model.eos_id = static_cast<int64_t>(message.integer());
  }
}

void read_normalizer_spec(Message message, Model& model) {
  while (message.next()) {
    if (message.field() == 2) model.has_character_map = !message.bytes().empty();
    if (message.field() == 3) model.adds_blank = message.flag();
    if (message.field() == 4) model.removes_blanks = message.flag();
    if (message.field() == 5) model.escapes_blanks = message.flag();
  }
}

using Ids = std::unordered_map<std::string, int64_t>;

struct Merge {
  std::string left, right;
  float score;
};

// Every way to make a piece of two others. Pieces with a higher score come first, as SentencePiece
// merges them.
json merges_of(const Model& model, const Ids& ids) {
  std::vector<Merge> merges;
  for (const Model::Piece& piece : model.pieces) {
    std::vector<Merge> own;
    for (size_t cut = 1; cut < piece.text.size(); ++cut) {
      if ((static_cast<unsigned char>(piece.text[cut]) & 0xC0) == 0x80) continue;
      Merge merge{piece.text.substr(0, cut), piece.text.substr(cut), piece.score};
      if (ids.contains(merge.left) && ids.contains(merge.right)) own.push_back(std::move(merge));
    }
    std::stable_sort(own.begin(), own.end(), [&](const Merge& a, const Merge& b) {
      return std::pair(ids.at(a.left), ids.at(a.right)) <
             std::pair(ids.at(b.left), ids.at(b.right));
    });
    std::move(own.begin(), own.end(), std::back_inserter(merges));
  }
  std::stable_sort(merges.begin(), merges.end(),
                   [](const Merge& a, const Merge& b) { return a.score > b.score; });
  json list = json::array();
  for (const Merge& merge : merges) list.push_back({merge.left, merge.right});
  return list;
}

void check_supported(const Model& model, const std::string& file) {
  const auto refuse = [&](bool refused, const char* what) {
    if (!refused) return;
    throw DataError(fmt::format(
        "{}: {}; store the tokenizer as tokenizer.json with transformers' save_pretrained", file,
        what));
  };
  refuse(model.algorithm != Model::Algorithm::kBytePairs,
         "a model of another algorithm than byte-pair encoding is not supported");
  refuse(model.has_character_map, "a normalizer with a map of characters is not supported");
  refuse(model.removes_blanks, "a normalizer that removes blanks is not supported");
  refuse(!model.escapes_blanks || model.blanks_are_suffixes,
         "blanks are not written as U+2581 in front of words");
}

json normalizer_of(const Model& model) {
  json normalizers = json::array();
  if (model.adds_blank) normalizers.push_back({{"type", "Prepend"}, {"prepend", kBlank}});
  normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kBlank}});
  return {{"type", "Sequence"}, {"normalizers", normalizers}};
}

json decoder_of(const Model& model) {
  json decoders =
      json::array({{{"type", "Replace"}, {"pattern", {{"String", kBlank}}}, {"content", " "}},
                   {{"type", "ByteFallback"}},
                   {{"type", "Fuse"}}});
  if (model.adds_blank) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", decoders}};
}

// What stands around one text, and around two.
json post_processor_of(const std::string& bos, int64_t bos_id, const std::string& eos,
                       int64_t eos_id) {
  json special = json::object();
  const auto around = [&](const char* text, int type) {
    json parts = json::array();
    const auto add = [&](const std::string& token, int64_t id) {
      if (token.empty()) return;
      parts.push_back({{"SpecialToken", {{"id", token}, {"type_id", type}}}});
      special[token] = {{"id", token}, {"ids", {id}}, {"tokens", {token}}};
    };
    add(bos, bos_id);
    parts.push_back({{"Sequence", {{"id", text}, {"type_id", type}}}});
    add(eos, eos_id);
    return parts;
  };
  json single = around("A", 0), pair = single;
  for (json& part : around("B", 1)) pair.push_back(std::move(part));
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

}  // namespace

Model read_sentence_piece(const fs::path& path) {
  const std::string file = path.string(), content = read_file(path);
  Message message(content, 0, file);
  Model model;
  while (message.next()) {
    if (message.field() == 1) model.pieces.push_back(read_piece(message.message()));
    if (message.field() == 2) read_trainer(message.message(), model);
    if (message.field() == 3) read_normalizer_spec(message.message(), model);
  }
  if (model.pieces.empty()) message.fail("no pieces");
  return model;
}

json tokenizer_json_of(const Model& model, const fs::path& path, bool with_bos, bool with_eos) {
  const std::string file = path.string();
  check_supported(model, file);
  Ids ids;
  json vocabulary = json::object(), added = json::array();
  std::string unknown;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const Model::Piece& piece = model.pieces[i];
    const auto id = static_cast<int64_t>(i);
    if (!ids.emplace(piece.text, id).second) {
      throw DataError(fmt::format("{}: the piece of id {} stands there twice", file, id));
    }
    vocabulary[piece.text] = id;
    const bool special = piece.kind == Model::Kind::kUnknown || piece.kind == Model::Kind::kControl;
    if (piece.kind == Model::Kind::kUnknown && unknown.empty()) unknown = piece.text;
    if (!special && piece.kind != Model::Kind::kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", piece.text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  }
  if (unknown.empty()) throw DataError(fmt::format("{}: no piece for what is unknown", file));
  json result = {{"version", "1.0"},
                 {"added_tokens", added},
                 {"normalizer", normalizer_of(model)},
                 {"decoder", decoder_of(model)},
                 {"model",
                  {{"type", "BPE"},
                   {"unk_token", unknown},
                   {"fuse_unk", true},
                   {"byte_fallback", model.byte_fallback},
                   {"vocab", vocabulary},
                   {"merges", merges_of(model, ids)}}}};
  const auto token = [&](bool wanted, int64_t id) {
    const bool exists = id >= 0 && id < std::ssize(model.pieces);
    return wanted && exists ? model.pieces[static_cast<size_t>(id)].text : std::string();
  };
  const std::string bos = token(with_bos, model.bos_id), eos = token(with_eos, model.eos_id);
  if (!bos.empty() || !eos.empty()) {
    result["post_processor"] = post_processor_of(bos, model.bos_id, eos, model.eos_id);
  }
  return result;
}

}  // namespace quell
