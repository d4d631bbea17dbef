// The model files of SentencePiece (Kudo, Richardson 2018): a protocol buffer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace quell {

struct SentencePieceModel {
  enum class Algorithm { kUnigram = 1, kBytePairs = 2, kWords = 3, kCharacters = 4 };
  enum class Kind {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  struct Piece {
    std::string text;  // UTF-8
    float score = 0;
    Kind kind = Kind::kNormal;
  };

  std::vector<Piece> pieces;  // by id
  Algorithm algorithm = Algorithm::kUnigram;
  bool byte_fallback = false;
  bool blanks_are_suffixes = false;
  int64_t bos_id = 1, eos_id = 2;  // not those of pieces: there is none
  // Of the normalizer.
  bool has_character_map = false;
  bool adds_blank = true;      // in front of a text
  bool removes_blanks = true;  // all but one of several, and those at the ends
  bool escapes_blanks = true;  // as U+2581
};

// Reads a file with its every length checked. Throws DataError naming the file, the byte and what
// was expected.
SentencePieceModel read_sentence_piece(const std::filesystem::path& file);

// The tokenizer.json that says the same, as transformers' converter makes it: a byte-pair encoding
// whose merges follow from the scores. `with_bos`, `with_eos`: what is put around texts. Throws
// DataError naming the file for models of other algorithms, and for normalizers with a map of
// characters or that remove blanks.
nlohmann::json tokenizer_json_of(const SentencePieceModel& model, const std::filesystem::path& file,
                                 bool with_bos, bool with_eos);

}  // namespace quell
