// Integer codes in memory. C++17: nvcc reads this header.
#pragma once

#include "framework/kernels/grid.h"

namespace quell::kernels {

enum class CodeType { kInt8, kUint8, kInt16, kUint16 };

// The smallest type that holds all codes of a grid of 2 to 16 bits.
constexpr CodeType code_type(Levels levels) {
  if (levels.low < 0) {
    return levels.low >= -128 && levels.high <= 127 ? CodeType::kInt8 : CodeType::kInt16;
  }
  return levels.high <= 255 ? CodeType::kUint8 : CodeType::kUint16;
}

// Memory for codes of that type, as many as there are values. The type holds all levels in use.
struct Codes {
  void* data = nullptr;
  CodeType type = CodeType::kInt8;
};

}  // namespace quell::kernels
