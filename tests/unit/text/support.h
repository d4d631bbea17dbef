// What the tests of tokenizers share.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/file.h"
#include "framework/text/tokenizer.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"

namespace quell::test {

inline std::filesystem::path data_folder() { return source_folder() / "tests/data/tokenizers"; }
inline std::filesystem::path shared_goldens() {
  return source_folder() / "../shared/goldens/tokenizers";
}

using quell::TemporaryFolder;

inline std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// The tokenizer of tests/data with another tokenizer_config.json.
inline std::unique_ptr<Tokenizer> bert_with(const nlohmann::json& config) {
  TemporaryFolder folder;
  std::filesystem::copy_file(data_folder() / "bert/vocab.txt", folder.path() / "vocab.txt");
  folder.write("tokenizer_config.json", config.dump());
  return load_tokenizer(folder.path());
}

}  // namespace quell::test
