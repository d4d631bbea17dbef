// Models of any shape with random weights, as Hugging Face folders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace quell {

struct ModelShape {
  std::string type = "bert";  // "bert", "roberta", "bart" or "llama"
  int64_t layers = 12;        // of BART's encoder, and as many of its decoder
  int64_t hidden = 768;
  int64_t heads = 12;
  int64_t vocabulary = 1000;
  int64_t positions = 128;  // longest sequence
};

// Writes config.json and model.safetensors: a classifier with two classes, or a BART or LLaMA that
// writes text. Weights are normal with a standard deviation of 0.02; with `outliers` gammas are as
// in trained models, a few of them large, else 1.
void write_random_model(const std::filesystem::path& folder, const ModelShape& shape,
                        bool outliers);

}  // namespace quell
