// How a reduction over x [outer, channels, inner] is cut into blocks. The cut, and with it the
// order of every sum, depends on the shape alone: not on the GPU, the addresses or the stream.
#pragma once

#include <algorithm>
#include <cstdint>

namespace quell::kernels::cuda {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;

// The head of every workspace: counters of finished blocks, zero between launches.
constexpr int64_t kCounters = 1024;
constexpr int64_t kCounterBytes = kCounters * 4;

// About as many blocks as keep a large GPU busy.
constexpr int64_t kEnoughBlocks = 132 * 8;

// Rows up to this length are one warp's work where every row is a result of its own.
constexpr int64_t kLongestRow = 16384;

constexpr int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// So many rows of columns at least are worth the partial result that a block leaves behind.
template <class Sum>
constexpr int64_t kRowsPerChunk = sizeof(Sum) < 32 ? 32 : static_cast<int64_t>(sizeof(Sum));

struct Partition {
  bool columns = false;    // inner == 1: a panel of neighbouring channels per block
  bool by_fours = false;   // four neighbouring values at a time
  int64_t panels = 0;      // single channels, or panels of kWarp (* 4) channels
  int64_t chunks = 0;      // blocks per panel
  int64_t chunk_size = 0;  // rows, or values of a channel, per block
};

inline Partition partition(int64_t outer, int64_t channels, int64_t inner, int64_t rows_per_chunk) {
  Partition cut;
  cut.columns = inner == 1 && channels > 1;
  const int64_t values = outer * inner;  // of a channel
  int64_t smallest = rows_per_chunk;
  if (cut.columns) {
    cut.by_fours = channels % 4 == 0;
    cut.panels = divide_up(channels, kWarp * (cut.by_fours ? 4 : 1));
  } else {
    cut.by_fours = inner % 4 == 0 || channels == 1;
    cut.panels = channels;
    smallest = kThreads * 8;
  }
  const int64_t most =
      cut.panels > kCounters ? 1 : std::max<int64_t>(1, kEnoughBlocks / cut.panels);
  cut.chunks = std::max<int64_t>(1, std::min(most, divide_up(values, smallest)));
  // Chunks of fours begin at fours.
  cut.chunk_size = divide_up(divide_up(values, cut.chunks), 4) * 4;
  cut.chunks = std::max<int64_t>(1, divide_up(values, cut.chunk_size > 0 ? cut.chunk_size : 4));
  return cut;
}

}  // namespace quell::kernels::cuda
