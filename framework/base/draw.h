// Drawing samples, the same on every machine.
#pragma once

#include <cstdint>
#include <vector>

namespace quell {

// `samples` of the numbers 0 .. available-1 without replacement, in the order drawn: the first
// steps of a Fisher-Yates shuffle fed by std::mt19937_64(seed), whose output the C++ standard
// fixes. Numbers below n come from the generator by rejection, so that each is equally likely.
// Requires 0 <= samples <= available.
std::vector<int64_t> draw_without_replacement(int64_t available, int64_t samples, uint64_t seed);

// A seed of its own for the index-th use of `seed`: entry `index` of the stream of SplitMix64
// (Steele, Lea and Flood 2014).
uint64_t derived_seed(uint64_t seed, uint64_t index);

}  // namespace quell
