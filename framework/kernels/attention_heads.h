// How kernels of attention share the heads of all sequences out to threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

#include "framework/kernels/attention.h"
#include "framework/kernels/parallel.h"

namespace quell::kernels {

struct HeadsOfSequences {
  std::span<const AttentionSequence> sequences;
  int64_t heads, key_heads, head_size;  // as in AttentionOperands
  int64_t worth_a_thread;               // multiply-adds

  int64_t most_keys() const {
    int64_t most = 0;
    for (const AttentionSequence& sequence : sequences) most = std::max(most, sequence.valid_keys);
    return most;
  }

  // Calls attend(sequence, head of the keys, scratch) for each of them; the scratch of a thread is
  // `bytes` long and aligned to a cache line, which is the widest vector, too.
  template <class Attend>
  void for_each(int64_t bytes, ParallelFor parallel_for, const Attend& attend) const {
    if (sequences.empty()) return;
    int64_t work = 0;
    for (const AttentionSequence& sequence : sequences) {
      work += 2 * sequence.queries * sequence.keys * head_size * (heads / key_heads);
    }
    const auto count = static_cast<int64_t>(sequences.size());
    const int64_t grain = std::max<int64_t>(1, worth_a_thread / std::max<int64_t>(1, work / count));
    parallel_for(0, count * key_heads, grain, [&](int64_t begin, int64_t end) {
      const std::unique_ptr<void, Free> scratch(allocate(bytes));
      for (int64_t i = begin; i < end; ++i) {
        attend(sequences[static_cast<size_t>(i / key_heads)], i % key_heads, scratch.get());
      }
    });
  }

 private:
  struct Free {
    void operator()(void* data) const { std::free(data); }
  };

  static void* allocate(int64_t bytes) {
    constexpr int64_t kAlignment = 64;
    const int64_t lines = std::max<int64_t>(1, (bytes + kAlignment - 1) / kAlignment);
    void* data = std::aligned_alloc(kAlignment, static_cast<size_t>(lines * kAlignment));
    if (data == nullptr) throw std::bad_alloc();
    return data;
  }
};

}  // namespace quell::kernels
