// Sums of products of codes by AMX, the tile unit of x86 servers since 2023 (Sapphire Rapids): 16
// rows times 16 outputs times 64 inputs in one instruction, exact in 32 bits (TDPBUSD: Intel 64 and
// IA-32 Architectures Software Developer's Manual, volume 2).
#pragma once

#include <cstdint>

namespace quell::kernels::amx {

constexpr int64_t kTileRows = 16;    // of rows, and of outputs
constexpr int64_t kTileInputs = 64;  // of a row
constexpr int64_t kMostRows = 32;    // of a block
constexpr int64_t kMostPanels = 2;

// Whether processor and system have it. The first call asks the system for room to keep tiles in.
bool available();

// The thread's tiles are configured while it lives. At most one in a thread.
class Tiles {
 public:
  Tiles();
  ~Tiles();
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// Two groups of 16 rows of unsigned codes, and up to two panels of 16 outputs of signed codes, in
// which the inputs of an output lie in fours: [inputs / 4, 16, 4].
struct Block {
  const uint8_t* x[2];  // the second is null: there is none
  int64_t x_stride;     // bytes
  const int8_t* panel;
  int64_t panel_stride;  // bytes
  int64_t panels;        // 1 or 2
  int64_t tiles;         // of kTileInputs inputs
  int32_t* sums;         // [kMostRows or 16, stride] are written, 16 outputs for each panel
  int64_t stride;
};

void sum_codes(const Block& block);

}  // namespace quell::kernels::amx
