// Work shared out to threads, whose number shows in no bit of what comes out.
#pragma once

#include <cstdint>
#include <functional>

namespace quell {

// Calls work(i) for i in [0, count) from several threads. What each call does is serial, so that
// its bits do not depend on their number.
void for_each_piece(int64_t count, const std::function<void(int64_t)>& work);

// The sum of work(first, last) over parts of [0, count), each but the last one of `size`, in their
// order; from several threads, as above.
double sum_over_pieces(int64_t count, int64_t size,
                       const std::function<double(int64_t, int64_t)>& work);

}  // namespace quell
