// LibTorch's thread pool.
#pragma once

#include <cstdint>
#include <functional>

namespace quell {

// Calls body(first, last) on parts of [begin, end), on as many threads as at::get_num_threads()
// says and parts of at least `grain` allow. Nested calls are serial. An exception in a part is
// rethrown here.
void parallel_for(int64_t begin, int64_t end, int64_t grain,
                  const std::function<void(int64_t, int64_t)>& body);

}  // namespace quell
