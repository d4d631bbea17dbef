#include "framework/kernels/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#define QUELL_AMX 1
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define QUELL_AMX 0
#endif

namespace quell::kernels::amx {

#if QUELL_AMX
namespace {

// What LDTILECFG reads.
struct alignas(64) Configuration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

bool has_processor() {
  constexpr unsigned kTile = 1U << 24, kInt8 = 1U << 25;  // of leaf 7, EDX
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kTile) != 0 && (d & kInt8) != 0;
}

// Linux keeps tiles only for processes that ask for it.
bool has_system() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 weights: one of rows and one of panels, and so on.
// The instructions are written out because compilers have their intrinsics only in functions that
// are compiled for them.
#define QUELL_LOAD_TILE(tile, from, stride) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"(stride) : "memory")
#define QUELL_STORE_TILE(tile, to, stride) \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"(stride) : "memory")
#define QUELL_ZERO_TILE(tile) asm volatile("tilezero %%tmm" #tile : :)
#define QUELL_MULTIPLY_TILES(sums, x, w) \
  asm volatile("tdpbusd %%tmm" #w ", %%tmm" #x ", %%tmm" #sums : :)

template <bool kTwoRows, bool kTwoPanels>
void sum_tiles(const Block& of) {
  constexpr int64_t kPanelBytes = 64;  // of four inputs
  const uint8_t *x = of.x[0], *other_x = of.x[1];
  const int8_t *panel = of.panel, *other_panel = of.panel + of.panel_stride;
  QUELL_ZERO_TILE(0);
  if constexpr (kTwoPanels) QUELL_ZERO_TILE(1);
  if constexpr (kTwoRows) QUELL_ZERO_TILE(2);
  if constexpr (kTwoRows && kTwoPanels) QUELL_ZERO_TILE(3);
  for (int64_t i = 0; i < of.tiles; ++i) {
    QUELL_LOAD_TILE(4, x, of.x_stride);
    QUELL_LOAD_TILE(6, panel, kPanelBytes);
    QUELL_MULTIPLY_TILES(0, 4, 6);
    if constexpr (kTwoPanels) {
      QUELL_LOAD_TILE(7, other_panel, kPanelBytes);
      QUELL_MULTIPLY_TILES(1, 4, 7);
    }
    if constexpr (kTwoRows) {
      QUELL_LOAD_TILE(5, other_x, of.x_stride);
      QUELL_MULTIPLY_TILES(2, 5, 6);
      if constexpr (kTwoPanels) QUELL_MULTIPLY_TILES(3, 5, 7);
      other_x += kTileInputs;
    }
    x += kTileInputs;
    panel += kTileInputs / 4 * kPanelBytes;
    other_panel += kTileInputs / 4 * kPanelBytes;
  }
  const auto stride = of.stride * static_cast<int64_t>(sizeof(int32_t));
  int32_t* below = of.sums + kTileRows * of.stride;
  QUELL_STORE_TILE(0, of.sums, stride);
  if constexpr (kTwoPanels) QUELL_STORE_TILE(1, of.sums + kTileRows, stride);
  if constexpr (kTwoRows) QUELL_STORE_TILE(2, below, stride);
  if constexpr (kTwoRows && kTwoPanels) QUELL_STORE_TILE(3, below + kTileRows, stride);
}

}  // namespace

bool available() {
  static const bool has = has_processor() && has_system();
  return has;
}

Tiles::Tiles() {
  static const Configuration whole = [] {
    constexpr int64_t kTiles = 8;
    Configuration all;
    for (int64_t i = 0; i < kTiles; ++i) {
      all.row_bytes[i] = kTileInputs;
      all.rows[i] = kTileRows;
    }
    return all;
  }();
  asm volatile("ldtilecfg %0" : : "m"(whole));
}

Tiles::~Tiles() { asm volatile("tilerelease" : :); }

void sum_codes(const Block& block) {
  const bool two_panels = block.panels == kMostPanels;
  if (block.x[1] == nullptr) {
    (two_panels ? sum_tiles<false, true> : sum_tiles<false, false>)(block);
  } else {
    (two_panels ? sum_tiles<true, true> : sum_tiles<true, false>)(block);
  }
}

#else

bool available() { return false; }
Tiles::Tiles() = default;
Tiles::~Tiles() = default;
void sum_codes(const Block&) {}

#endif

}  // namespace quell::kernels::amx
