// Where the files of SQuAD are.
#pragma once

#include <filesystem>
#include <string>

namespace quell {

// The file `given` (in `folder` or elsewhere) or, where none is given, the official one of the
// `split` ("train", "dev"): "train-v1.1.json" or "train-v2.0.json", else "train.json" or
// "train.jsonl". Throws ConfigError or DataError with the way out.
std::filesystem::path find_squad_file(const std::filesystem::path& folder, const std::string& given,
                                      const std::string& split, bool version_2);

}  // namespace quell
