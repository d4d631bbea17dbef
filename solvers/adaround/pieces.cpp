#include "solvers/adaround/pieces.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "framework/quant/parallel.h"

namespace quell {

void for_each_piece(int64_t count, const std::function<void(int64_t)>& work) {
  // A single piece would be shared out among threads.
  for_each_dynamically(std::max<int64_t>(count, 2), [&](int64_t i) {
    if (i < count) work(i);
  });
}

double sum_over_pieces(int64_t count, int64_t size,
                       const std::function<double(int64_t, int64_t)>& work) {
  std::vector<double> sums(static_cast<size_t>((count + size - 1) / size));
  for_each_piece(std::ssize(sums), [&](int64_t i) {
    sums[static_cast<size_t>(i)] = work(i * size, std::min(count, (i + 1) * size));
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace quell
